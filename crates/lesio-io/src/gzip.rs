//! Reading gzip (RFC 1952) to the last trailer: every member, every checksum, every length.

use std::io::{self, Read};

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

use crate::error::{GzipFault, ReadErrorKind};

/// Compressed bytes held at a time.
const INPUT: usize = 32 * 1024;

const HAS_HEADER_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Decompresses a file of one or more gzip members.
///
/// A caller who reads to the end has verified the checksum and the length of every member, and gets an error for any
/// data after the last one. Zeros there are allowed, since tapes pad with them and `gzip` ignores them.
#[derive(Debug)]
pub(crate) struct GzipReader<R> {
    inner: R,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    inflate: Decompress,
    checksum: Hasher,
    length: u32,
    member: u64,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Before a member, or at the end of the file.
    Between,
    Inside,
    Done,
}

impl<R: Read> GzipReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            input: vec![0; INPUT].into_boxed_slice(),
            start: 0,
            end: 0,
            inflate: Decompress::new(false),
            checksum: Hasher::new(),
            length: 0,
            member: 0,
            state: State::Between,
        }
    }

    /// Decompresses into `output` and returns the number of bytes; 0 for an `output` that is not empty means that the
    /// file ended correctly.
    pub(crate) fn read(&mut self, output: &mut [u8]) -> Result<usize, ReadErrorKind> {
        loop {
            match self.state {
                State::Done => return Ok(0),
                State::Between => self.begin_member()?,
                State::Inside => {
                    let written = self.inflate_some(output)?;
                    if written > 0 || output.is_empty() {
                        return Ok(written);
                    }
                }
            }
        }
    }

    fn inflate_some(&mut self, output: &mut [u8]) -> Result<usize, ReadErrorKind> {
        self.refill()?;
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let available = self.input.get(self.start..self.end).unwrap_or_default();
        let at_end = available.is_empty();
        let status = self
            .inflate
            .decompress(available, output, FlushDecompress::None)
            .map_err(|_| self.fault(GzipFault::Data))?;
        // Both are at most the lengths of the slices given.
        let consumed = (self.inflate.total_in() - before.0) as usize;
        let written = (self.inflate.total_out() - before.1) as usize;
        self.start += consumed;
        self.checksum.update(output.get(..written).unwrap_or_default());
        // RFC 1952: the length is kept modulo 2^32.
        self.length = self.length.wrapping_add(written as u32);
        match status {
            Status::StreamEnd => self.end_member()?,
            _ if at_end && written == 0 && !output.is_empty() => {
                return Err(self.fault(GzipFault::Ends { part: "data" }));
            }
            _ => {}
        }
        Ok(written)
    }

    fn begin_member(&mut self) -> Result<(), ReadErrorKind> {
        self.member += 1;
        let Some(first) = self.byte()? else {
            // An empty file is not a gzip file; after a member, the end of the file is correct.
            return if self.member == 1 {
                Err(self.fault(GzipFault::Ends { part: "header" }))
            } else {
                self.state = State::Done;
                Ok(())
            };
        };
        if first == 0 && self.member > 1 {
            return self.skip_padding();
        }
        let mut header = Hasher::new();
        header.update(&[first]);
        let second = match first {
            0x1f => self.header_byte(&mut header)?,
            _ => self.byte()?.unwrap_or(0),
        };
        if [first, second] != [0x1f, 0x8b] {
            let fault = match self.member {
                1 => GzipFault::Magic { found: [first, second] },
                _ => GzipFault::Trailing,
            };
            return Err(self.fault(fault));
        }
        let method = self.header_byte(&mut header)?;
        if method != 8 {
            return Err(self.fault(GzipFault::Method { method }));
        }
        let flags = self.header_byte(&mut header)?;
        if flags & RESERVED != 0 {
            return Err(self.fault(GzipFault::Flags { flags }));
        }
        // Modification time, extra flags, operating system.
        for _ in 0..6 {
            self.header_byte(&mut header)?;
        }
        if flags & HAS_EXTRA != 0 {
            let low = self.header_byte(&mut header)?;
            let high = self.header_byte(&mut header)?;
            for _ in 0..u16::from_le_bytes([low, high]) {
                self.header_byte(&mut header)?;
            }
        }
        for flag in [HAS_NAME, HAS_COMMENT] {
            if flags & flag != 0 {
                while self.header_byte(&mut header)? != 0 {}
            }
        }
        if flags & HAS_HEADER_CHECKSUM != 0 {
            let found = header.clone().finalize() as u16;
            let low = self.header_byte(&mut header)?;
            let high = self.header_byte(&mut header)?;
            let expected = u16::from_le_bytes([low, high]);
            if found != expected {
                return Err(self.fault(GzipFault::HeaderChecksum { found, expected }));
            }
        }
        self.inflate.reset(false);
        self.checksum = Hasher::new();
        self.length = 0;
        self.state = State::Inside;
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), ReadErrorKind> {
        let mut trailer = [0; 8];
        for slot in &mut trailer {
            *slot = self.byte()?.ok_or_else(|| self.fault(GzipFault::Ends { part: "trailer" }))?;
        }
        let [a, b, c, d, e, f, g, h] = trailer;
        let expected = u32::from_le_bytes([a, b, c, d]);
        let found = self.checksum.clone().finalize();
        if found != expected {
            return Err(self.fault(GzipFault::Checksum { found, expected }));
        }
        let expected = u32::from_le_bytes([e, f, g, h]);
        if self.length != expected {
            return Err(self.fault(GzipFault::Length { found: self.length, expected }));
        }
        self.state = State::Between;
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<(), ReadErrorKind> {
        while let Some(byte) = self.byte()? {
            if byte != 0 {
                return Err(self.fault(GzipFault::Trailing));
            }
        }
        self.state = State::Done;
        Ok(())
    }

    fn header_byte(&mut self, checksum: &mut Hasher) -> Result<u8, ReadErrorKind> {
        let byte = self.byte()?.ok_or_else(|| self.fault(GzipFault::Ends { part: "header" }))?;
        checksum.update(&[byte]);
        Ok(byte)
    }

    fn byte(&mut self) -> Result<Option<u8>, ReadErrorKind> {
        self.refill()?;
        let available = self.input.get(self.start..self.end).unwrap_or_default();
        let byte = available.first().copied();
        self.start += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Refills the buffer if it is empty; afterwards it is empty only at the end of the file.
    fn refill(&mut self) -> Result<(), ReadErrorKind> {
        while self.start == self.end {
            match self.inner.read(&mut self.input) {
                Ok(0) => break,
                Ok(read) => (self.start, self.end) = (0, read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadErrorKind::Io { operation: "read the file", source }),
            }
        }
        Ok(())
    }

    fn fault(&self, fault: GzipFault) -> ReadErrorKind {
        ReadErrorKind::GzipCorrupt { member: self.member, fault }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<u8>, GzipFault> {
        let mut reader = GzipReader::new(bytes);
        let mut all = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(all),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(ReadErrorKind::GzipCorrupt { fault, .. }) => return Err(fault),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn members_follow_each_other_and_zeros_may_end_the_file() {
        let mut bytes = member(b"first, ");
        bytes.extend(member(b""));
        bytes.extend(member(b"third"));
        bytes.extend([0; 700]);
        for step in [1, 3, 4096] {
            assert_eq!(read(&bytes, step).unwrap(), b"first, third");
        }
    }

    #[test]
    fn every_cut_and_every_flip_is_found() {
        let content: Vec<u8> = (0..2000_u32).map(|i| (i * i % 251) as u8).collect();
        let good = member(&content);
        for cut in 0..good.len() {
            assert!(matches!(read(&good[..cut], 333), Err(GzipFault::Ends { .. })), "cut at {cut}");
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // The text flag, time, extra flags and system carry no meaning, and neither do the bits
                // between the end of the compressed data and the trailer.
                let meaningless = (4..10).contains(&at) || (at, bit) == (3, 0);
                let last = at == good.len() - 9;
                match read(&bad, 333) {
                    Ok(same) => assert!((meaningless || last) && same == content, "byte {at} bit {bit}"),
                    Err(_) => assert!(!meaningless, "byte {at} bit {bit}"),
                }
            }
        }
    }

    #[test]
    fn header_fields_are_passed_over_and_their_checksum_is_verified() {
        let plain = member(b"payload");
        let mut header = vec![0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 255, 3, 0, b'a', b'b', b'c'];
        header.extend(b"name\0a comment\0");
        let mut hasher = Hasher::new();
        hasher.update(&header);
        let checksum = hasher.finalize() as u16;
        let mut good = header.clone();
        good.extend(checksum.to_le_bytes());
        good.extend(&plain[10..]);
        assert_eq!(read(&good, 100).unwrap(), b"payload");
        let mut bad = header;
        bad.extend((checksum ^ 1).to_le_bytes());
        bad.extend(&plain[10..]);
        let expected = checksum ^ 1;
        assert_eq!(read(&bad, 100), Err(GzipFault::HeaderChecksum { found: checksum, expected }));
    }

    #[test]
    fn what_follows_the_last_member_is_named() {
        let mut bytes = member(b"x");
        bytes.extend(b"junk");
        assert_eq!(read(&bytes, 10), Err(GzipFault::Trailing));
        let mut bytes = member(b"x");
        bytes.extend([0, 0, 1]);
        assert_eq!(read(&bytes, 10), Err(GzipFault::Trailing));
        assert_eq!(read(b"", 10), Err(GzipFault::Ends { part: "header" }));
        assert_eq!(read(b"plain text", 10), Err(GzipFault::Magic { found: *b"pl" }));
    }
}
