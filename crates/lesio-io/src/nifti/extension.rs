//! The extensions between the header and the voxels of a NIfTI file.

use crate::error::ReadErrorKind;
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::oddity::Oddity;
use crate::source::{CHUNK, Stream, reserve};

/// Size and code before the content of an extension.
const PREFIX: u64 = 8;

/// A header extension: a code registered with the standard, and bytes in a format defined by its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension {
    /// The owner: 4 AFNI, 6 a comment, 32 CIFTI, ...
    pub code: i32,
    /// The content, with the zeros that pad it.
    pub content: Vec<u8>,
}

impl Extension {
    /// An extension to write. Together with its prefix it is padded with zeros to a multiple of 16 bytes.
    #[must_use]
    pub fn new(code: i32, content: Vec<u8>) -> Self {
        Self { code, content }
    }
}

/// Where extensions end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Room {
    /// After this many bytes, where the voxels start.
    Bytes(u64),
    /// At the end of the header file.
    ToEnd,
}

/// Reads extensions; the stream is positioned after the four bytes that announce them.
///
/// Memory grows with the bytes actually read, up to `limit` bytes of content.
pub(crate) fn read_extensions(
    stream: &mut Stream<'_>,
    order: ByteOrder,
    room: Room,
    limit: u64,
    oddities: &mut Vec<Oddity>,
) -> Result<Vec<Extension>, ReadErrorKind> {
    let mut extensions = Vec::new();
    let mut left = match room {
        Room::Bytes(bytes) => bytes,
        Room::ToEnd => u64::MAX,
    };
    let mut kept = 0_u64;
    // Fewer bytes than the smallest extension has are padding.
    while left >= 16 {
        let mut prefix = [0; PREFIX as usize];
        let read = stream.read(&mut prefix)?;
        if read == 0 && room == Room::ToEnd {
            break;
        }
        if read < prefix.len() {
            return Err(truncated(PREFIX, read as u64));
        }
        let [a, b, c, d, e, f, g, h] = prefix;
        let (size, code) = match order {
            ByteOrder::Little => (i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])),
            ByteOrder::Big => (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h])),
        };
        let index = extensions.len();
        let bad = |expected: String| ReadErrorKind::BadExtension { index, size: i64::from(size), expected };
        // Extensions without content would let a small file claim millions of them.
        let bytes =
            u64::try_from(size).ok().filter(|&bytes| bytes >= 16).ok_or_else(|| bad("at least 16".into()))?;
        if bytes > left {
            return Err(bad(format!("at most {left}, which remain before the voxels")));
        }
        if size % 16 != 0 {
            oddities.push(Oddity::ExtensionSize { index, size });
        }
        kept = kept.saturating_add(bytes);
        if kept > limit {
            return Err(ReadErrorKind::LimitExceeded { need: kept, limit });
        }
        extensions.push(Extension { code, content: read_content(stream, bytes - PREFIX)? });
        left -= bytes;
    }
    Ok(extensions)
}

fn read_content(stream: &mut Stream<'_>, bytes: u64) -> Result<Vec<u8>, ReadErrorKind> {
    let mut content = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let step = left.min((CHUNK as u64).max(content.len() as u64));
        reserve(&mut content, step)?;
        let start = content.len();
        content.resize(start.saturating_add(usize::try_from(step).unwrap_or(CHUNK)), 0);
        let read = stream.read(content.get_mut(start..).unwrap_or_default())? as u64;
        if read < step {
            return Err(truncated(bytes, start as u64 + read));
        }
        left -= step;
    }
    Ok(content)
}

fn truncated(need: u64, have: u64) -> ReadErrorKind {
    ReadErrorKind::Truncated { what: "a header extension", need, have }
}
