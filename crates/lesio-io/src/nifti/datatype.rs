//! The types of voxels that NIfTI knows.

use lesio_settings::named;

/// NIfTI's types of voxels, with the codes of `nifti1.h`. Names are those of NumPy, `uint8` to `complex128`, and
/// `rgb24` and `rgba32`.
///
/// Real types are read as any [`Voxel`](crate::nifti::Voxel); complex and color types have their own
/// methods ([`NiftiImage::read_complex`](crate::nifti::NiftiImage::read_complex),
/// [`NiftiImage::read_rgba`](crate::nifti::NiftiImage::read_rgba)). Opening a file of bits
/// or 128-bit floats is an error that names the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i16)]
pub enum Datatype {
    /// Unsigned 8-bit integer.
    Uint8 = 2,
    /// Signed 16-bit integer.
    Int16 = 4,
    /// Signed 32-bit integer.
    Int32 = 8,
    /// 32-bit float.
    Float32 = 16,
    /// Two 32-bit floats: real, imaginary.
    Complex64 = 32,
    /// 64-bit float.
    Float64 = 64,
    /// Three bytes: red, green, blue.
    Rgb24 = 128,
    /// Signed 8-bit integer.
    Int8 = 256,
    /// Unsigned 16-bit integer.
    Uint16 = 512,
    /// Unsigned 32-bit integer.
    Uint32 = 768,
    /// Signed 64-bit integer.
    Int64 = 1024,
    /// Unsigned 64-bit integer.
    Uint64 = 1280,
    /// Two 64-bit floats: real, imaginary.
    Complex128 = 1792,
    /// Four bytes: red, green, blue, opacity.
    Rgba32 = 2304,
}

named!(Datatype, "type of voxels", {
    "uint8" => Self::Uint8,
    "int16" => Self::Int16,
    "int32" => Self::Int32,
    "float32" => Self::Float32,
    "complex64" => Self::Complex64,
    "float64" => Self::Float64,
    "rgb24" => Self::Rgb24,
    "int8" => Self::Int8,
    "uint16" => Self::Uint16,
    "uint32" => Self::Uint32,
    "int64" => Self::Int64,
    "uint64" => Self::Uint64,
    "complex128" => Self::Complex128,
    "rgba32" => Self::Rgba32,
});

impl Datatype {
    /// The type of a code, or the name of an unsupported type.
    pub(crate) fn from_code(code: i16) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|datatype| datatype.code() == code).ok_or(match code {
            0 => "unknown",
            1 => "single bits",
            255 => "all",
            1536 => "128-bit float",
            2048 => "256-bit complex",
            _ => "no NIfTI type",
        })
    }

    /// The code in the header's `datatype`.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Bytes of one voxel.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Rgb24 => 3,
            Self::Int32 | Self::Uint32 | Self::Float32 | Self::Rgba32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
        }
    }

    /// Whether a voxel is one real number.
    #[must_use]
    pub fn is_real(self) -> bool {
        !matches!(self, Self::Complex64 | Self::Complex128 | Self::Rgb24 | Self::Rgba32)
    }
}
