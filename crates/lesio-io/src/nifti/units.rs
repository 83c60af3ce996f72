//! Conversion between the unit of a header and millimeters.

use std::fmt;

/// The unit of a header's coordinates and voxel sizes: the lowest three bits of `xyzt_units`.
///
/// A [`Geometry`](lesio_image::Geometry) is always in millimeters: numbers are converted when a header becomes a
/// geometry, and converted back when a volume is written with
/// [`WriteOptions::like`](crate::nifti::WriteOptions::like).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpaceUnit {
    /// Code 0, no unit. Millimeters are assumed, since most writers that leave the field empty use them. The invalid
    /// codes 4 to 7 count as this one and are reported as an
    /// [`Oddity`](crate::nifti::Oddity).
    #[default]
    Unknown,
    /// Code 1.
    Meter,
    /// Code 2.
    Millimeter,
    /// Code 3.
    Micrometer,
}

impl SpaceUnit {
    /// The unit of a code in `xyzt_units`, or the code if it is invalid.
    pub(crate) fn of(xyzt_units: i32) -> Result<Self, i32> {
        match xyzt_units & 7 {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Meter),
            2 => Ok(Self::Millimeter),
            3 => Ok(Self::Micrometer),
            code => Err(code),
        }
    }

    /// A length of this unit in millimeters.
    #[must_use]
    pub fn to_millimeters(self, length: f64) -> f64 {
        match self {
            Self::Meter => length * 1000.0,
            Self::Unknown | Self::Millimeter => length,
            // Division rounds once; a factor of a thousandth would be rounded, too.
            Self::Micrometer => length / 1000.0,
        }
    }

    /// A length in millimeters in this unit.
    #[must_use]
    pub fn from_millimeters(self, length: f64) -> f64 {
        match self {
            Self::Meter => length / 1000.0,
            Self::Unknown | Self::Millimeter => length,
            Self::Micrometer => length * 1000.0,
        }
    }
}

impl fmt::Display for SpaceUnit {
    /// `m`, `mm`, `um`, and `of unknown unit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "of unknown unit",
            Self::Meter => "m",
            Self::Millimeter => "mm",
            Self::Micrometer => "um",
        })
    }
}
