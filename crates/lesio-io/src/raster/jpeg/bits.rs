//! The bits of coded data, and Huffman tables to decode them.

use super::super::fault::damaged_jpeg as damaged;
use crate::error::ReadErrorKind;

/// Number of padding bytes that are allowed after the last code of a scan.
const MOST_PADDING: usize = 8;

/// A Huffman table.
#[derive(Debug)]
pub(super) struct Table {
    /// For the next 8 bits: length and symbol of their first code; length 0 for a code of more than 8 bits.
    short: [(u8, u8); 256],
    /// For each length: the first code beyond the codes of this length, and the offset from a code to the index of its
    /// symbol.
    long: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Table {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, ReadErrorKind> {
        let mut table = Self { short: [(0, 0); 256], long: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, &count) in (1_usize..).zip(counts) {
            let first = code;
            let offset = index as i32 - first as i32;
            for _ in 0..count {
                if length <= 8 {
                    let symbol = symbols.get(index).copied().unwrap_or_default();
                    let start = (code as usize) << (8 - length);
                    let range = start..start + (1 << (8 - length));
                    for entry in table.short.get_mut(range).into_iter().flatten() {
                        *entry = (length as u8, symbol);
                    }
                }
                code += 1;
                index += 1;
            }
            if code > 1 << length {
                return Err(damaged("a Huffman table has more codes than fit"));
            }
            if let Some(long) = table.long.get_mut(length) {
                *long = (code, offset);
            }
            code <<= 1;
        }
        Ok(table)
    }
}

/// Bits of coded data, up to the next marker.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The position of the next byte.
    at: usize,
    /// Buffered bits, the next one highest.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, held: 0, count: 0 }
    }

    /// Fills the buffer with bytes as far as possible.
    #[inline]
    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                // In coded data, every 0xff is followed by a 0.
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..]) | Some([]) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn drop(&mut self, count: u32) -> Result<(), ReadErrorKind> {
        if count > self.count {
            return Err(match self.bytes.get(self.at..) {
                Some([0xff, marker, ..]) => {
                    damaged(format!("the data of a scan end before its pixels do, at marker {marker:02x}"))
                }
                _ => {
                    let have = self.bytes.len() as u64;
                    ReadErrorKind::Truncated {
                        what: "the data of a scan, which has more pixels,",
                        need: have + 1,
                        have,
                    }
                }
            });
        }
        self.held <<= count;
        self.count -= count;
        Ok(())
    }

    /// The next 0 to 16 bits as a number.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, ReadErrorKind> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
        }
        let value = (self.held >> (64 - count)) as u32;
        self.drop(count)?;
        Ok(value)
    }

    #[inline]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, ReadErrorKind> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = table.short[(self.held >> 56) as usize];
        if length > 0 {
            self.drop(u32::from(length))?;
            return Ok(symbol);
        }
        for (length, &(beyond, offset)) in (0_u32..).zip(&table.long).skip(1) {
            let code = (self.held >> (64 - length)) as u32;
            if code < beyond {
                self.drop(length)?;
                let index = code as i32 + offset;
                return usize::try_from(index)
                    .ok()
                    .and_then(|index| table.symbols.get(index).copied())
                    .ok_or_else(|| damaged("a code is in no Huffman table"));
            }
        }
        // An invalid code may be due to missing bits.
        self.drop(16)?;
        Err(damaged("a code is in no Huffman table"))
    }

    /// Continues after the restart marker of this number.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), ReadErrorKind> {
        let mut at = self.end()?;
        while let Some([0xff, 0xff, ..]) = self.bytes.get(at..) {
            at += 1;
        }
        match self.bytes.get(at..) {
            Some([0xff, marker, ..]) if *marker == 0xd0 + number => {
                *self = Self::new(self.bytes, at + 2);
                Ok(())
            }
            Some([0xff, marker, ..]) => Err(damaged(format!(
                "found marker {marker:02x}, expected restart marker {:02x}",
                0xd0 + number
            ))),
            _ => Err(damaged("a restart marker is missing")),
        }
    }

    /// The position of the marker after the codes.
    pub(super) fn end(&mut self) -> Result<usize, ReadErrorKind> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let more = rest
            .windows(2)
            .position(|pair| matches!(pair, [0xff, next] if !matches!(next, 0)))
            .unwrap_or(rest.len());
        let unread = more + self.count as usize / 8;
        if unread > MOST_PADDING {
            return Err(damaged(format!("{unread} bytes of data follow the last pixel of a scan")));
        }
        Ok(self.at + more)
    }
}
