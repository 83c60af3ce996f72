//! Opening regular files and reading them as a stream, plain or gzip-compressed.

use std::fs::{self, File, FileType};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::ReadErrorKind;
use crate::file_kind::describe;
use crate::gzip::GzipReader;

/// Deflate spends at least one bit on 258 bytes in its tightest form, with overhead: zlib's documentation
/// (technical details, maximum compression factor) gives 1032 to 1 as the limit.
pub(crate) const MOST_PER_COMPRESSED_BYTE: u64 = 1032;

/// Bytes that are read or decompressed at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Opens a regular file and tells its length.
///
/// The type is asked before opening, because to open a pipe for reading waits for a writer; and again
/// afterwards, because the name may have come to mean something else in between.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), ReadErrorKind> {
    let before = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => ReadErrorKind::DanglingLink { target },
            Err(_) => ReadErrorKind::NotFound,
        },
        _ => ReadErrorKind::Io { operation: "look up the file", source },
    })?;
    expect_regular(before.file_type())?;
    let file = File::open(path).map_err(|source| ReadErrorKind::Io { operation: "open the file", source })?;
    let metadata =
        file.metadata().map_err(|source| ReadErrorKind::Io { operation: "look up the file", source })?;
    expect_regular(metadata.file_type())?;
    Ok((file, metadata.len()))
}

fn expect_regular(kind: FileType) -> Result<(), ReadErrorKind> {
    if kind.is_file() { Ok(()) } else { Err(ReadErrorKind::NotRegularFile { found: describe(kind) }) }
}

/// Reads a whole file into memory, if it has at most `limit` bytes.
pub(crate) fn read_all(path: &Path, limit: u64) -> Result<Vec<u8>, ReadErrorKind> {
    let (mut file, length) = open_regular(path)?;
    if length > limit {
        return Err(ReadErrorKind::LimitExceeded { need: length, limit });
    }
    let mut bytes = Vec::new();
    reserve(&mut bytes, length)?;
    // A file that grows meanwhile is read no further than it was checked.
    Read::by_ref(&mut file)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|source| ReadErrorKind::Io { operation: "read the file", source })?;
    Ok(bytes)
}

/// Makes room for `extra` more values, or tells that there is no memory for them.
pub(crate) fn reserve<T>(values: &mut Vec<T>, extra: u64) -> Result<(), ReadErrorKind> {
    let bytes = extra.saturating_mul(size_of::<T>() as u64);
    usize::try_from(extra)
        .ok()
        .and_then(|extra| values.try_reserve_exact(extra).ok())
        .ok_or(ReadErrorKind::OutOfMemory { bytes })
}

/// A file's content from its start: its bytes, or what they decompress to.
#[derive(Debug)]
pub(crate) enum Stream<'a> {
    Plain { file: &'a File },
    Gzip(Box<GzipReader<&'a File>>),
}

impl<'a> Stream<'a> {
    /// The content of `file` from its start.
    pub(crate) fn new(file: &'a File, compressed: bool) -> Result<Self, ReadErrorKind> {
        let mut start = file;
        start
            .seek(SeekFrom::Start(0))
            .map_err(|source| ReadErrorKind::Io { operation: "go to the start of the file", source })?;
        Ok(if compressed { Self::Gzip(Box::new(GzipReader::new(file))) } else { Self::Plain { file } })
    }

    /// Fills `buffer` as far as the content reaches, and tells how far.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadErrorKind> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match self {
                Self::Plain { file } => match file.read(rest) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => {
                        other.map_err(|source| ReadErrorKind::Io { operation: "read the file", source })?
                    }
                },
                Self::Gzip(reader) => reader.read(rest)?,
            };
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Passes over `count` bytes, and tells how many there were.
    ///
    /// Past the end of a plain file this succeeds, and the next read finds nothing.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, ReadErrorKind> {
        match self {
            Self::Plain { file } => {
                let step = i64::try_from(count).unwrap_or(i64::MAX);
                file.seek(SeekFrom::Current(step))
                    .map_err(|source| ReadErrorKind::Io { operation: "move in the file", source })?;
                Ok(count)
            }
            Self::Gzip(reader) => {
                let mut buffer = vec![0; CHUNK];
                let mut passed = 0;
                while passed < count {
                    let most = usize::try_from(count - passed).unwrap_or(CHUNK).min(CHUNK);
                    let read = reader.read(buffer.get_mut(..most).unwrap_or_default())?;
                    if read == 0 {
                        break;
                    }
                    passed += read as u64;
                }
                Ok(passed)
            }
        }
    }

    /// Reads a compressed file to its end, so that every member's checksum and length are verified.
    ///
    /// A small file can go on for terabytes: past `limit` bytes it is refused.
    pub(crate) fn verify_rest(&mut self, limit: u64) -> Result<(), ReadErrorKind> {
        if matches!(self, Self::Plain { .. }) {
            return Ok(());
        }
        let passed = self.skip(limit)?;
        if passed == limit && self.read(&mut [0])? > 0 {
            return Err(ReadErrorKind::LongRest { limit });
        }
        Ok(())
    }
}
