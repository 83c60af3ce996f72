//! What is wrong with a header and yet has one sensible reading.

use std::fmt;

use crate::nifti::datatype::Datatype;

/// A fault of a header that leaves no doubt how to read the file.
///
/// Everything in doubt is an error. These are read as nibabel reads them, and told: to `tracing` when a
/// volume is read, and by [`NiftiImage::oddities`](crate::nifti::NiftiImage::oddities).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Oddity {
    /// `bitpix` contradicts the datatype, which decides.
    BitsPerVoxel {
        /// The `bitpix` found.
        found: i16,
        /// The datatype.
        datatype: Datatype,
    },
    /// The slope is NaN or infinite, which means that voxels are not scaled.
    SlopeIgnored {
        /// The slope.
        slope: f64,
    },
    /// A voxel size is zero, for which 1 is taken, or negative, for which its magnitude is taken.
    Spacing {
        /// The axis, from 0.
        axis: usize,
        /// The size found.
        found: f64,
    },
    /// `pixdim[0]` is neither 1 nor -1 though a quaternion is used; 1 is taken.
    QuaternionSign {
        /// The value found.
        found: f64,
    },
    /// A code of a space that does not exist; the form is not used.
    FormCode {
        /// `qform_code` or `sform_code`.
        field: &'static str,
        /// The value found.
        found: i32,
    },
    /// The size of an extension is no multiple of 16; it is followed as it stands.
    ExtensionSize {
        /// Which, from 0.
        index: usize,
        /// Its size.
        size: i32,
    },
    /// The magic says that voxels are in the other place than they are, by the file's name.
    Arrangement {
        /// How the magic starts: `ni` in a single file, `n+` in a pair.
        magic: &'static str,
    },
    /// `dim[1]` is -1 and the unused field `glmin` holds the size, as FreeSurfer writes surfaces.
    LongAxis {
        /// The size.
        size: i64,
    },
    /// The four bytes that end the magic of NIfTI-2 are zero; they tell no version and no byte order.
    MagicEnd,
    /// Bytes follow the last voxel.
    TrailingBytes {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BitsPerVoxel { found, datatype } => {
                write!(
                    f,
                    "bitpix is {found}, the datatype {datatype} has {} bits and decides",
                    datatype.bytes() * 8
                )
            }
            Self::SlopeIgnored { slope } => write!(f, "scl_slope is {slope}, so voxels are not scaled"),
            Self::Spacing { axis, found } => {
                let taken = if *found == 0.0 { 1.0 } else { found.abs() };
                write!(f, "pixdim[{}] is {found}, {taken} is taken", axis + 1)
            }
            Self::QuaternionSign { found } => write!(f, "pixdim[0] is {found}, expected 1 or -1; 1 is taken"),
            Self::FormCode { field, found } => {
                write!(f, "{field} is {found}, expected 0 to 5; it is not used")
            }
            Self::ExtensionSize { index, size } => {
                write!(f, "header extension {index} has size {size}, no multiple of 16")
            }
            Self::Arrangement { magic } => {
                write!(f, "the magic starts with {magic}, which contradicts the file's name")
            }
            Self::LongAxis { size } => {
                write!(f, "dim[1] is -1, and {size} stands in glmin, as FreeSurfer writes surfaces")
            }
            Self::MagicEnd => write!(f, "the magic ends in zeros, expected 0d 0a 1a 0a"),
            Self::TrailingBytes { count } => write!(f, "{count} bytes follow the last voxel"),
        }
    }
}
