//! Opens regular files, and reads files or bytes in memory as a stream, plain or gzip-compressed.

use std::borrow::Cow;
use std::fs::{self, File, FileType};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::ReadErrorKind;
use crate::file_kind::describe;
use crate::gzip::GzipReader;

/// Deflate spends at least one bit on 258 bytes in its tightest form, with overhead: zlib's documentation
/// (technical details, maximum compression factor) gives 1032 to 1 as the limit.
pub(crate) const MOST_PER_COMPRESSED_BYTE: u64 = 1032;

/// Bytes that are read or decompressed at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Opens a regular file and returns its length.
///
/// The type is checked before opening, because opening a pipe for reading waits for a writer, and again afterwards,
/// because the name may refer to something else by then.
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

/// The name of bytes in messages.
pub(crate) const BYTES: &str = "<bytes>";

/// A file by its name, or the bytes of a file in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    File(&'a Path),
    /// The bytes, and their name in messages.
    Bytes(&'a [u8], &'static str),
}

impl<'a> Input<'a> {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'a Path {
        match self {
            Self::File(path) => path,
            Self::Bytes(_, name) => Path::new(name),
        }
    }

    /// The whole content, if it has at most `limit` bytes.
    pub(crate) fn read_all(self, limit: u64) -> Result<Cow<'a, [u8]>, ReadErrorKind> {
        match self {
            Self::File(path) => read_all(path, limit).map(Cow::Owned),
            Self::Bytes(bytes, _) if bytes.len() as u64 > limit => {
                Err(ReadErrorKind::LimitExceeded { need: bytes.len() as u64, limit })
            }
            Self::Bytes(bytes, _) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

/// Reads a whole file into memory, if it has at most `limit` bytes.
pub(crate) fn read_all(path: &Path, limit: u64) -> Result<Vec<u8>, ReadErrorKind> {
    let (mut file, length) = open_regular(path)?;
    if length > limit {
        return Err(ReadErrorKind::LimitExceeded { need: length, limit });
    }
    let mut bytes = Vec::new();
    reserve(&mut bytes, length)?;
    // If a file grows meanwhile, only the checked length is read.
    Read::by_ref(&mut file)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|source| ReadErrorKind::Io { operation: "read the file", source })?;
    Ok(bytes)
}

/// Allocates room for `extra` more values, or returns an error if there is not enough memory.
pub(crate) fn reserve<T>(values: &mut Vec<T>, extra: u64) -> Result<(), ReadErrorKind> {
    let bytes = extra.saturating_mul(size_of::<T>() as u64);
    usize::try_from(extra)
        .ok()
        .and_then(|extra| values.try_reserve_exact(extra).ok())
        .ok_or(ReadErrorKind::OutOfMemory { bytes })
}

pub(crate) mod sealed {
    use std::fs::File;

    /// Content that can be read from its start more than once: an open file, or bytes in memory.
    #[derive(Clone, Copy, Debug)]
    pub enum Content<'a> {
        File(&'a File),
        Bytes(&'a [u8]),
    }

    /// An owner of such content.
    pub trait Holder {
        fn content(&self) -> Content<'_>;
    }

    impl Holder for File {
        fn content(&self) -> Content<'_> {
            Content::File(self)
        }
    }

    impl Holder for &[u8] {
        fn content(&self) -> Content<'_> {
            Content::Bytes(self)
        }
    }
}

pub(crate) use sealed::Content;

/// Stored content, read from an independent position.
#[derive(Debug)]
pub(crate) enum Plain<'a> {
    File(&'a File),
    Bytes(Cursor<&'a [u8]>),
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Bytes(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Plain<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Bytes(bytes) => bytes.seek(to),
        }
    }
}

/// Content from its start: its bytes, or the decompressed bytes.
#[derive(Debug)]
pub(crate) enum Stream<'a> {
    Plain(Plain<'a>),
    Gzip(Box<GzipReader<Plain<'a>>>),
}

impl<'a> Stream<'a> {
    /// `content` from its start.
    pub(crate) fn new(content: Content<'a>, compressed: bool) -> Result<Self, ReadErrorKind> {
        let mut plain = match content {
            Content::File(file) => Plain::File(file),
            Content::Bytes(bytes) => Plain::Bytes(Cursor::new(bytes)),
        };
        plain
            .seek(SeekFrom::Start(0))
            .map_err(|source| ReadErrorKind::Io { operation: "go to the start of the file", source })?;
        Ok(if compressed { Self::Gzip(Box::new(GzipReader::new(plain))) } else { Self::Plain(plain) })
    }

    /// Fills `buffer` as far as the content reaches, and returns the number of bytes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadErrorKind> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match self {
                Self::Plain(plain) => match plain.read(rest) {
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

    /// Skips `count` bytes, and returns the number of skipped bytes.
    ///
    /// Past the end of a plain file this succeeds, and the next read finds nothing.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, ReadErrorKind> {
        match self {
            Self::Plain(plain) => {
                let step = i64::try_from(count).unwrap_or(i64::MAX);
                plain
                    .seek(SeekFrom::Current(step))
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

    /// Reads a compressed file to its end, so that every member's checksum and length are verified, and returns the
    /// number of bytes that were left; 0 for a file that is not compressed, of which nothing is read.
    ///
    /// A small file can decompress to terabytes: more than `limit` bytes are an error.
    pub(crate) fn verify_rest(&mut self, limit: u64) -> Result<u64, ReadErrorKind> {
        if matches!(self, Self::Plain(_)) {
            return Ok(0);
        }
        let passed = self.skip(limit)?;
        if passed == limit && self.read(&mut [0])? > 0 {
            return Err(ReadErrorKind::LongRest { limit });
        }
        Ok(passed)
    }
}
