//! The header of a NIfTI-1 or NIfTI-2 file, field by field.

use crate::error::ReadErrorKind;
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::datatype::Datatype;
use crate::nifti::extension::Extension;

/// Bytes of a NIfTI-1 header.
pub(crate) const SIZE_1: usize = 348;
/// Bytes of a NIfTI-2 header.
pub(crate) const SIZE_2: usize = 540;

/// Which NIfTI standard a header follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NiftiVersion {
    /// NIfTI-1: at most 32767 voxels along an axis, 32-bit floats. The default when writing, because
    /// every program reads it.
    #[default]
    One,
    /// NIfTI-2: 64-bit sizes and floats.
    Two,
}

impl NiftiVersion {
    /// 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Bytes of the header, without the four that announce extensions.
    pub(crate) fn header_bytes(self) -> usize {
        match self {
            Self::One => SIZE_1,
            Self::Two => SIZE_2,
        }
    }
}

/// The header of a NIfTI image, the same for both versions.
///
/// Numbers are those of the file, widened to 64 bits and in the file's units; [`Oddity`](crate::nifti::Oddity) lists
/// values that are ignored or corrected. Texts are bytes up to the first zero, since the standard names no encoding.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NiftiHeader {
    /// Which standard it follows.
    pub version: NiftiVersion,
    /// The order of bytes in the file.
    pub byte_order: ByteOrder,
    /// Voxels along each axis, 1 to 7 axes of at least 1; the first varies fastest in the file.
    pub shape: Vec<u64>,
    /// The type of a voxel in the file.
    pub datatype: Datatype,
    /// `bitpix` as found; the datatype alone decides.
    pub bits_per_voxel: i16,
    /// `pixdim`: the sign of the first axis in a qform, then the size of a voxel along each axis.
    pub pixdim: [f64; 8],
    /// Bytes before the first voxel.
    pub vox_offset: u64,
    /// `scl_slope`; 0 and values that are not finite mean that voxels are not scaled.
    pub scl_slope: f64,
    /// `scl_inter`, added after multiplying.
    pub scl_inter: f64,
    /// Display range, lower end.
    pub cal_min: f64,
    /// Display range, upper end.
    pub cal_max: f64,
    /// Which axes are frequency, phase and slice.
    pub dim_info: u8,
    /// First slice of the timing.
    pub slice_start: i64,
    /// Last slice of the timing.
    pub slice_end: i64,
    /// Order of the slices in time.
    pub slice_code: i32,
    /// Time of one slice.
    pub slice_duration: f64,
    /// Shift of the time axis.
    pub toffset: f64,
    /// Units of space (lowest three bits) and time; see [`NiftiHeader::space_unit`].
    pub xyzt_units: i32,
    /// What the numbers mean.
    pub intent_code: i32,
    /// Parameters of the intent.
    pub intent_parameters: [f64; 3],
    /// Name of the intent, at most 16 bytes.
    pub intent_name: Vec<u8>,
    /// Free text, at most 80 bytes.
    pub description: Vec<u8>,
    /// Name of a file beside, at most 24 bytes.
    pub auxiliary_file: Vec<u8>,
    /// `qform_code`, the space of the quaternion; 0 means that it is not used.
    pub qform_code: i32,
    /// `sform_code`, the space of the matrix; 0 means that it is not used.
    pub sform_code: i32,
    /// `quatern_b`, `quatern_c`, `quatern_d`.
    pub quaternion: [f64; 3],
    /// World coordinates of the first voxel for the quaternion.
    pub quaternion_offset: [f64; 3],
    /// The first three rows of the matrix.
    pub srow: [[f64; 4]; 3],
    /// The header extensions.
    pub extensions: Vec<Extension>,
    /// How `dim` holds the first axis.
    pub(crate) first_axis: FirstAxis,
}

/// How `dim` of a NIfTI-1 header holds the size of the first axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FirstAxis {
    /// As it is.
    #[default]
    Plain,
    /// -1, and the size stands in `glmin`.
    InGlmin,
    /// 27307 x 1 x 6, which are 163842.
    Folded,
}

/// Vertices of FreeSurfer's finest icosahedron, and the shape in which they are folded.
pub(crate) const FOLDED: ([u64; 3], [u64; 3]) = ([163_842, 1, 1], [27_307, 1, 6]);

/// Whether the voxels are in the file of the header or in a separate one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    Single,
    Pair,
}

impl Arrangement {
    /// The start of the corresponding magic.
    pub(crate) fn magic(self) -> &'static str {
        match self {
            Self::Single => "n+",
            Self::Pair => "ni",
        }
    }
}

impl NiftiHeader {
    /// Whether the voxels may start where the header says.
    pub(crate) fn check_offset(&self, arrangement: Arrangement) -> Result<(), ReadErrorKind> {
        let least = self.version.header_bytes() as u64 + 4;
        if arrangement == Arrangement::Single && self.vox_offset < least {
            return Err(ReadErrorKind::BadVoxOffset {
                found: self.vox_offset as f64,
                expected: format!("at least {least}, where header and extension flag end"),
            });
        }
        Ok(())
    }

    /// Number of voxels.
    ///
    /// # Errors
    /// [`ReadErrorKind::ImpossibleClaim`] where it does not fit 64 bits.
    pub(crate) fn voxels(&self) -> Result<u64, ReadErrorKind> {
        self.shape
            .iter()
            .try_fold(1_u64, |product, &size| product.checked_mul(size))
            .ok_or(ReadErrorKind::ImpossibleClaim { claimed: u64::MAX, bytes: 0, most: 0 })
    }

    /// Slope and intercept, if voxels are scaled.
    pub(crate) fn scaling(&self) -> Result<Option<(f64, f64)>, ReadErrorKind> {
        if self.scl_slope == 0.0 || !self.scl_slope.is_finite() {
            return Ok(None);
        }
        if !self.scl_inter.is_finite() {
            return Err(ReadErrorKind::BadScaling { slope: self.scl_slope, intercept: self.scl_inter });
        }
        Ok((self.scl_slope != 1.0 || self.scl_inter != 0.0).then_some((self.scl_slope, self.scl_inter)))
    }

    /// Size along an axis, 1 for an absent axis.
    pub(crate) fn size(&self, axis: usize) -> u64 {
        self.shape.get(axis).copied().unwrap_or(1)
    }
}
