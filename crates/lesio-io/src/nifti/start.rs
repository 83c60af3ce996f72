//! Reads the part of a file before the voxels.

use std::path::{Path, PathBuf};

use crate::endings::VOLUME_ENDINGS;
use crate::error::{ReadError, ReadErrorKind};
use crate::nifti::extension::{Room, read_extensions};
use crate::nifti::header::{Arrangement, NiftiHeader, SIZE_1, SIZE_2};
use crate::nifti::names::NiftiName;
use crate::nifti::oddity::Oddity;
use crate::nifti::parse::Signature;
use crate::options::ReadOptions;
use crate::source::{Content, Stream, open_regular};

/// Reads a header with its extensions, even without a voxel file: a `.hdr` file may be alone. For an `.img` file, its
/// header file is read.
///
/// # Errors
/// If the file cannot be read or its header is invalid. The claims of the header about the voxels are not compared with
/// the file.
pub fn read_header(path: impl AsRef<Path>) -> Result<NiftiHeader, ReadError> {
    let path = path.as_ref();
    let name = name_of(path)?;
    let path = header_path(path, &name)?;
    let limit = ReadOptions::new().limit();
    open_regular(&path)
        .and_then(|(file, _)| read_start(Content::File(&file), name.arrangement, is_compressed(&path), limit))
        .map(|(header, _)| header)
        .map_err(|kind| kind.at(&path))
}

/// Reads a header with its extensions.
pub(super) fn read_start(
    content: Content<'_>,
    arrangement: Arrangement,
    compressed: bool,
    limit: u64,
) -> Result<(NiftiHeader, Vec<Oddity>), ReadErrorKind> {
    parse_start(content, arrangement, compressed, limit).map_err(|kind| {
        // A header from a damaged stream is meaningless, so the error is about the damage. The search for it reads no
        // more than a correct file has.
        let damage = Stream::new(content, compressed).and_then(|mut stream| stream.verify_rest(limit));
        match damage {
            Err(damage @ ReadErrorKind::GzipCorrupt { .. }) => damage,
            _ => kind,
        }
    })
}

fn parse_start(
    content: Content<'_>,
    arrangement: Arrangement,
    compressed: bool,
    limit: u64,
) -> Result<(NiftiHeader, Vec<Oddity>), ReadErrorKind> {
    let mut stream = Stream::new(content, compressed)?;
    let mut buffer = [0; SIZE_2];
    let mut have = stream.read(buffer.get_mut(..SIZE_1).unwrap_or_default())?;
    let longer = buffer
        .first_chunk()
        .and_then(|start| Signature::of(*start).ok())
        .is_some_and(|signature| have == SIZE_1 && signature.version.header_bytes() > SIZE_1);
    if longer {
        have += stream.read(buffer.get_mut(SIZE_1..).unwrap_or_default())?;
    }
    let (mut header, magic, mut oddities) =
        NiftiHeader::parse_with_oddities(buffer.get(..have).unwrap_or_default())?;
    check_magic(magic, arrangement, &header, &mut oddities)?;
    header.check_offset(arrangement)?;
    let end = header.version.header_bytes() as u64 + 4;
    let mut flag = [0; 4];
    let flag_bytes = stream.read(&mut flag)? as u64;
    let room = match arrangement {
        Arrangement::Single if flag_bytes < 4 => {
            let have = end - 4 + flag_bytes;
            return Err(ReadErrorKind::Truncated { what: "the extension flag", need: end, have });
        }
        Arrangement::Single => Room::Bytes(header.vox_offset.saturating_sub(end)),
        Arrangement::Pair => Room::ToEnd,
    };
    if flag[0] != 0 {
        header.extensions = read_extensions(&mut stream, header.byte_order, room, limit, &mut oddities)?;
    }
    if arrangement == Arrangement::Pair {
        stream.verify_rest(limit)?;
    }
    Ok((header, oddities))
}

/// Compares the magic with the file's name: single file or pair.
fn check_magic(
    magic: Arrangement,
    arrangement: Arrangement,
    header: &NiftiHeader,
    oddities: &mut Vec<Oddity>,
) -> Result<(), ReadErrorKind> {
    let reason = match (arrangement, magic) {
        (Arrangement::Single, Arrangement::Single) | (Arrangement::Pair, Arrangement::Pair) => return Ok(()),
        // The voxels of a single file never start at 0, so they must be in the other file.
        (Arrangement::Pair, Arrangement::Single) if header.vox_offset == 0 => {
            oddities.push(Oddity::Arrangement { magic: magic.magic() });
            return Ok(());
        }
        (Arrangement::Single, Arrangement::Pair) => {
            "the magic starts with ni, as in the .hdr file of a pair, whose voxels are in another file"
        }
        (Arrangement::Pair, Arrangement::Single) => {
            "the magic starts with n+, and the voxels have an offset, as in a .nii file, which is not a pair"
        }
    };
    Err(ReadErrorKind::NotNifti { reason: reason.to_owned() })
}

/// The file that holds the header.
pub(super) fn header_path(path: &Path, name: &NiftiName) -> Result<PathBuf, ReadError> {
    // The named file is checked first, so that an error about it does not name the other.
    open_regular(path).map_err(|kind| kind.at(path))?;
    if name.holds_header() {
        return Ok(path.to_owned());
    }
    name.other_half(path).map_err(|kind| kind.at(path))
}

/// Whether a file is compressed, by its name. Each half of a pair may be compressed or not.
pub(super) fn is_compressed(path: &Path) -> bool {
    NiftiName::of(path).is_some_and(|name| name.compressed)
}

pub(super) fn name_of(path: &Path) -> Result<NiftiName, ReadError> {
    NiftiName::of(path).ok_or_else(|| {
        // A folder or a missing file is reported first.
        let kind =
            open_regular(path).err().unwrap_or(ReadErrorKind::UnknownFormat { expected: &VOLUME_ENDINGS });
        kind.at(path)
    })
}
