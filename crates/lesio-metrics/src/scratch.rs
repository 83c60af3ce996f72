//! Storage outside of memory.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::error::MetricError;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;
/// Runs that are merged at once: what is in memory of each adds up, and more runs are merged in several passes.
const MOST_RUNS: usize = 64;

/// A store of bytes that can be read again: a file, or a `Cursor<Vec<u8>>`.
trait Store: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Store for T {}

/// Storage for streams of scores outside of memory; any number of streams can share one.
///
/// The format is private, and the content is useless without the streams that wrote it. Typically it is a temporary
/// file that is deleted with its handle.
///
/// ```
/// use std::io::Cursor;
///
/// let scratch = lesio_metrics::Scratch::new(Cursor::new(Vec::new()));
/// assert_eq!(scratch.bytes(), 0);
/// ```
pub struct Scratch {
    store: Box<dyn Store>,
    end: u64,
    /// Where reading or writing goes on without a seek.
    position: Option<u64>,
    /// Most runs that are merged at once: a test takes few.
    pub(crate) most_runs: usize,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("bytes", &self.end).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Stores scores in an empty file, or in any other empty store.
    pub fn new(store: impl Read + Write + Seek + Send + 'static) -> Self {
        Self { store: Box::new(store), end: 0, position: None, most_runs: MOST_RUNS }
    }

    /// Bytes kept so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Copies everything that is kept here, as [`Scratch::absorb_from`] takes it.
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn copy_to(&mut self, mut out: impl Write) -> Result<(), MetricError> {
        self.for_each_piece(|piece| out.write_all(piece).map_err(|error| failed("write", &error)))
    }

    /// Appends everything that another scratch holds. The streams of the other one are then read from here, see
    /// [`StreamedPatients::absorb`](crate::StreamedPatients::absorb).
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn absorb(&mut self, other: &mut Self) -> Result<Moved, MetricError> {
        let moved = Moved(self.end);
        other.for_each_piece(|piece| self.append(piece).map(drop))?;
        Ok(moved)
    }

    /// Appends the bytes that [`Scratch::copy_to`] wrote, up to the end of the reader. Other bytes give other scores, or an
    /// error when they are read: who keeps them in a file guards them with a checksum.
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn absorb_from(&mut self, mut from: impl Read) -> Result<Moved, MetricError> {
        let moved = Moved(self.end);
        let mut piece = Vec::new();
        loop {
            piece.clear();
            from.by_ref().take(PIECE).read_to_end(&mut piece).map_err(|error| failed("read", &error))?;
            if piece.is_empty() {
                return Ok(moved);
            }
            self.append(&piece)?;
        }
    }

    fn for_each_piece(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), MetricError>,
    ) -> Result<(), MetricError> {
        let mut start = 0;
        while start < self.end {
            let length = (self.end - start).min(PIECE);
            each(&self.read(start, length as usize)?)?;
            start += length;
        }
        Ok(())
    }

    /// Appends bytes, to be read with [`Scratch::kept`].
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Result<Place, MetricError> {
        Ok(Place { start: self.append(bytes)?, length: bytes.len() })
    }

    /// The bytes at a place of this scratch.
    pub(crate) fn kept(&mut self, place: Place) -> Result<Vec<u8>, MetricError> {
        self.read(place.start, place.length)
    }

    /// Forgets what lies from here on.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.end = self.end.min(end);
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, MetricError> {
        let start = self.end;
        self.seek(start)?;
        self.store.write_all(bytes).map_err(|error| failed("write", &error))?;
        self.end += bytes.len() as u64;
        self.position = Some(self.end);
        Ok(start)
    }

    pub(crate) fn read(&mut self, start: u64, length: usize) -> Result<Vec<u8>, MetricError> {
        // Before memory is taken for them: places may come from a file.
        if start.checked_add(length as u64).is_none_or(|end| end > self.end) {
            return Err(failed("read", &io::ErrorKind::UnexpectedEof.into()));
        }
        self.seek(start)?;
        let mut bytes = vec![0; length];
        self.store.read_exact(&mut bytes).map_err(|error| failed("read", &error))?;
        self.position = Some(start + length as u64);
        Ok(bytes)
    }

    fn seek(&mut self, to: u64) -> Result<(), MetricError> {
        // Unknown until the operation after it has succeeded.
        if self.position.take() != Some(to) {
            self.store.seek(SeekFrom::Start(to)).map_err(|error| failed("seek", &error))?;
        }
        Ok(())
    }
}

fn failed(operation: &'static str, error: &io::Error) -> MetricError {
    MetricError::Scratch { operation, kind: error.kind(), message: error.to_string() }
}

/// The error for bytes that no stream has written.
pub(crate) fn damaged() -> MetricError {
    failed("read", &io::ErrorKind::InvalidData.into())
}

/// Where bytes lie in a scratch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    start: u64,
    length: usize,
}

/// By how much the places of streams moved, when their [`Scratch`] was absorbed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved(pub(crate) u64);

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
pub(crate) fn push(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Takes the first value that [`push`] wrote; `None` for other bytes.
pub(crate) fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_fails_is_an_error() {
        struct Full;
        impl Read for Full {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
        }
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Seek for Full {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let error = Scratch::new(Full).append(&[1]).unwrap_err();
        assert!(
            matches!(
                error,
                MetricError::Scratch { operation: "write", kind: io::ErrorKind::StorageFull, .. }
            ),
            "{error}"
        );
    }

    #[test]
    fn what_comes_after_a_failure_lies_where_it_is_read() {
        /// Writes three bytes of the first request, fails the second, and works from then on.
        struct Once(io::Cursor<Vec<u8>>, usize);
        impl Read for Once {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0.read(into)
            }
        }
        impl Write for Once {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => self.0.write(&bytes[..3]),
                    2 => Err(io::ErrorKind::StorageFull.into()),
                    _ => self.0.write(bytes),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Seek for Once {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
        let mut scratch = Scratch::new(Once(io::Cursor::new(Vec::new()), 0));
        scratch.position = Some(0);
        assert!(scratch.keep(b"lost!").is_err());
        let place = scratch.keep(b"kept").unwrap();
        assert_eq!(scratch.kept(place).unwrap(), b"kept");
    }
}
