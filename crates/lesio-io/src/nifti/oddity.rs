//! Defects of a header that have one sensible interpretation.

use std::fmt;

use crate::error::AffineError;
use crate::nifti::datatype::Datatype;
use crate::nifti::units::SpaceUnit;

/// A defect of a header with one usual interpretation.
///
/// Any other doubtful header is an error. Oddities are interpreted as nibabel does, and reported: as `tracing` events
/// when a volume is read, and by [`NiftiImage::oddities`](crate::nifti::NiftiImage::oddities). If the forms of a header
/// contradict each other, [`ReadOptions::affine`](crate::ReadOptions::affine) selects one of them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Oddity {
    /// `bitpix` of a NIfTI-1 header contradicts the datatype, which is used: old writers store wrong values.
    /// In NIfTI-2 it is an error.
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
    /// A voxel size is zero, and 1 is used, or negative, and its magnitude is used.
    Spacing {
        /// The axis, from 0.
        axis: usize,
        /// The size found.
        found: f64,
    },
    /// `pixdim[0]` is neither 1 nor -1 although a quaternion is used; 1 is used.
    QuaternionSign {
        /// The value found.
        found: f64,
    },
    /// An invalid code of a space; the form is not used.
    FormCode {
        /// `qform_code` or `sform_code`.
        field: &'static str,
        /// The value found.
        found: i32,
    },
    /// The size of an extension is not a multiple of 16; the size is used as it is.
    ExtensionSize {
        /// Which, from 0.
        index: usize,
        /// Its size.
        size: i32,
    },
    /// The voxel offset and the name say that it is a pair of files, the magic says that it is a single file. Every
    /// other contradiction of magic and name is an error.
    Arrangement {
        /// The start of the magic: `n+`.
        magic: &'static str,
    },
    /// `dim[1]` is -1 and the unused field `glmin` holds the size, as FreeSurfer writes surfaces.
    LongAxis {
        /// The size.
        size: i64,
    },
    /// The shape in the file is 27307 x 1 x 6, as FreeSurfer writes a surface of 163842 vertices, which are
    /// too many for a NIfTI-1 axis.
    FoldedAxis,
    /// The code of the unit of space is invalid; millimeters are assumed.
    SpaceUnit {
        /// The lowest three bits of `xyzt_units`.
        found: i32,
    },
    /// The header names meters or micrometers, but the resulting voxels are larger or smaller than those of any scanner
    /// or microscope: the numbers may be millimeters.
    UnlikelyUnit {
        /// The unit of the header.
        unit: SpaceUnit,
        /// The voxel sizes that it gives, in millimeters.
        spacing: [f64; 3],
    },
    /// Neither form has a code: only the voxel sizes are known, and which side is left is a convention.
    NoForm,
    /// A form that is not used has a code, but its numbers give no affine.
    UnusableForm {
        /// `sform` or `qform`.
        form: &'static str,
        /// What is wrong with it.
        fault: AffineError,
        /// The form that is used.
        taken: &'static str,
    },
    /// The voxel sizes of two sources differ by more than a thousandth.
    SpacingConflict {
        /// The source that is used.
        taken: &'static str,
        /// The contradicting source.
        other: &'static str,
        /// The voxel sizes of the used source and of the other, in millimeters.
        spacing: [[f64; 3]; 2],
    },
    /// The axes have different directions in the two forms.
    OrientationConflict {
        /// The form that is used.
        taken: &'static str,
        /// The contradicting form.
        other: &'static str,
        /// The letters of the axes by the used form and by the other.
        axes: [String; 2],
        /// Whether one is a mirror image of the other.
        mirrored: bool,
    },
    /// The two forms describe the same space, but their positions of a corner of the grid differ by more than a tenth
    /// of the shortest side of a voxel.
    PlaceConflict {
        /// The form that is used.
        taken: &'static str,
        /// The contradicting form.
        other: &'static str,
        /// The greatest distance, in millimeters.
        distance: f64,
    },
    /// The last four bytes of the magic of NIfTI-2 are zero; version and byte order do not depend on them.
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
            Self::FoldedAxis => {
                write!(f, "the shape is 27307 x 1 x 6, as FreeSurfer folds the 163842 vertices of a surface")
            }
            Self::SpaceUnit { found } => {
                write!(
                    f,
                    "the unit of space in xyzt_units is {found}, expected 0 to 3; millimeters are assumed"
                )
            }
            Self::UnlikelyUnit { unit, spacing } => {
                write!(
                    f,
                    "voxels are {} mm since the header's unit is {unit}: is that right?",
                    Sizes(*spacing)
                )
            }
            Self::NoForm => write!(
                f,
                "neither sform nor qform has a code, so pixdim alone places the voxels, and left and right are \
                 a convention"
            ),
            Self::UnusableForm { form, fault, taken } => {
                write!(f, "{form} gives no affine: {fault}; {taken} is taken")
            }
            Self::SpacingConflict { taken, other, spacing: [one, two] } => write!(
                f,
                "voxels are {} mm by {taken} and {} mm by {other}; {taken} is taken",
                Sizes(*one),
                Sizes(*two)
            ),
            Self::OrientationConflict { taken, other, axes: [one, two], mirrored } => {
                let mirror = if *mirrored { ", a mirror image" } else { "" };
                write!(f, "axes run to {one} by {taken} and to {two} by {other}{mirror}; {taken} is taken")
            }
            Self::PlaceConflict { taken, other, distance } => write!(
                f,
                "{taken} and {other} place the same voxel up to {distance:.3} mm apart; {taken} is taken"
            ),
            Self::MagicEnd => write!(f, "the magic ends in zeros, expected 0d 0a 1a 0a"),
            Self::TrailingBytes { count } => write!(f, "{count} bytes follow the last voxel"),
        }
    }
}

/// Voxel sizes for messages, without digits that come from rounding to 32 bits.
struct Sizes([f64; 3]);

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0.map(|size| size as f32);
        write!(f, "{x} x {y} x {z}")
    }
}
