//! The types of voxels that NIfTI knows.

use std::fmt;

/// NIfTI's types of voxels, with the codes of `nifti1.h`.
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

impl Datatype {
    /// All supported types.
    pub const ALL: [Self; 14] = [
        Self::Uint8,
        Self::Int16,
        Self::Int32,
        Self::Float32,
        Self::Complex64,
        Self::Float64,
        Self::Rgb24,
        Self::Int8,
        Self::Uint16,
        Self::Uint32,
        Self::Int64,
        Self::Uint64,
        Self::Complex128,
        Self::Rgba32,
    ];

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

    /// Its name as NumPy spells it, `uint8` to `complex128`, and `rgb24` and `rgba32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Float32 => "float32",
            Self::Complex64 => "complex64",
            Self::Float64 => "float64",
            Self::Rgb24 => "rgb24",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Complex128 => "complex128",
            Self::Rgba32 => "rgba32",
        }
    }

    /// Whether a voxel is one real number.
    #[must_use]
    pub fn is_real(self) -> bool {
        !matches!(self, Self::Complex64 | Self::Complex128 | Self::Rgb24 | Self::Rgba32)
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
