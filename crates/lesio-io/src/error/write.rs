//! Errors of writing a file.

use std::io;
use std::path::Path;

use crate::error::file_error::FileError;

/// Why an image or a volume could not be written: the file and the kind of failure.
///
/// In every case, an earlier file of the same name remains complete.
pub type ImageWriteError = FileError<ImageWriteErrorKind>;

/// Why an image or a volume could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageWriteErrorKind {
    /// The file exists, the disk is full, the system or the encoder failed: see there.
    #[error(transparent)]
    File(#[from] lesio_files::WriteErrorKind),
    /// The name has no ending of a supported format.
    #[error("the name ends in none of {}", expected.join(", "))]
    UnknownFormat {
        /// The supported endings.
        expected: &'static [&'static str],
    },
    /// The two files of a pair cannot be replaced in one step, so an existing pair is never replaced.
    #[error("a pair of files cannot be replaced in one step: remove it first, or write .nii or .nii.gz")]
    PairExists,
    /// There are no voxels to write.
    #[error("an axis has no voxels: the shape is {shape:?}")]
    EmptyVolume {
        /// The shape.
        shape: [usize; 3],
    },
    /// NIfTI-1 counts the voxels of an axis with 15 bits.
    #[error("axis {axis} has {size} voxels, NIfTI-1 holds at most 32767: write NIfTI-2")]
    DimTooLargeForNifti1 {
        /// The axis.
        axis: usize,
        /// Its voxels.
        size: usize,
    },
    /// Readers interpret this shape in NIfTI-1 as a FreeSurfer surface and unfold it.
    #[error(
        "a shape of 27307 x 1 x 6 in NIfTI-1 is read as the 163842 vertices of a FreeSurfer surface: write \
         NIfTI-2"
    )]
    FoldedShape,
    /// A header extension is too large for its 32-bit size.
    #[error("header extension {index} has {bytes} bytes, more than NIfTI holds")]
    ExtensionTooLarge {
        /// Which, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// NIfTI-1 keeps the affine in 32-bit floats, in which this one overflows or collapses.
    #[error("the affine does not fit the 32-bit floats of NIfTI-1: write NIfTI-2")]
    AffineOutOfRange,
    /// An image that the format cannot hold.
    #[error("an image of {channels} channels, {width} by {height} pixels cannot be written as {format}")]
    UnsupportedImage {
        /// Its channels.
        channels: usize,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
        /// The format.
        format: &'static str,
    },
}

impl ImageWriteErrorKind {
    /// The variant's name, as used in reports: `"OutputExists"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(kind) => kind.name(),
            Self::UnknownFormat { .. } => "UnknownFormat",
            Self::PairExists => "PairExists",
            Self::EmptyVolume { .. } => "EmptyVolume",
            Self::DimTooLargeForNifti1 { .. } => "DimTooLargeForNifti1",
            Self::FoldedShape => "FoldedShape",
            Self::ExtensionTooLarge { .. } => "ExtensionTooLarge",
            Self::AffineOutOfRange => "AffineOutOfRange",
            Self::UnsupportedImage { .. } => "UnsupportedImage",
        }
    }

    pub(crate) fn io(operation: &'static str, source: io::Error) -> Self {
        lesio_files::WriteErrorKind::io(operation, source).into()
    }

    pub(crate) fn at(self, path: &Path) -> ImageWriteError {
        FileError::new(path, self)
    }
}

impl From<lesio_files::WriteError> for ImageWriteError {
    fn from(error: lesio_files::WriteError) -> Self {
        let (path, kind) = error.into_parts();
        ImageWriteErrorKind::from(kind).at(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_the_way_keeps_its_name() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for kind in [
            lesio_files::WriteErrorKind::io("write", full()),
            lesio_files::WriteErrorKind::io("write", io::Error::other("no")),
            lesio_files::WriteErrorKind::OutputExists,
            lesio_files::WriteErrorKind::NoFileName,
        ] {
            let (name, text) = (kind.name(), kind.to_string());
            let here = ImageWriteErrorKind::from(kind);
            assert_eq!((here.name(), here.to_string()), (name, text));
        }
        assert_eq!(ImageWriteErrorKind::io("write", full()).name(), "StorageFull");
    }
}
