//! Decodes the bytes of a file into numbers.

use crate::nifti::byte_order::ByteOrder;
use crate::nifti::datatype::Datatype;

mod sealed {
    /// The part of the trait that only the reader uses.
    pub trait Sealed: Copy + Send + Sync + std::fmt::Debug + PartialEq + 'static {
        fn from_f64(value: f64) -> Self;
        fn holds_f64(value: f64) -> bool;
        fn from_i64(value: i64) -> Self;
        fn holds_i64(value: i64) -> bool;
        fn from_u64(value: u64) -> Self;
        fn holds_u64(value: u64) -> bool;
        fn append_le(self, bytes: &mut Vec<u8>);
        fn is_nan(self) -> bool;
    }
}

pub(crate) use sealed::Sealed;

/// The types that voxels can be read and written as: `u8` to `u64`, `i8` to `i64`, `f32` and `f64`.
///
/// Reading as an integer type keeps every value exactly or fails with
/// [`LossyConversion`](crate::ReadErrorKind::LossyConversion); integers never pass through floats on
/// the way. Reading as `f32` or `f64` rounds to the nearest number of the type, and fails only where a
/// finite value would become infinite. Scaling, if the file has any, is computed in `f64`.
pub trait Voxel: sealed::Sealed {
    /// The type in a file that holds these values.
    const DATATYPE: Datatype;
}

macro_rules! integer_voxel {
    ($($type:ty: $datatype:ident),*) => {$(
        impl Voxel for $type {
            const DATATYPE: Datatype = Datatype::$datatype;
        }

        impl Sealed for $type {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_f64(value: f64) -> bool {
                // The upper end is exclusive because MAX itself may round up to it; NaN fails both.
                const END: f64 = (<$type>::MAX / 2 + 1) as f64 * 2.0;
                value >= <$type>::MIN as f64 && value < END && value.trunc() == value
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_i64(value: i64) -> bool {
                Self::try_from(value).is_ok()
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_u64(value: u64) -> bool {
                Self::try_from(value).is_ok()
            }
            #[inline(always)]
            fn append_le(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
        }
    )*};
}

integer_voxel!(u8: Uint8, i8: Int8, u16: Uint16, i16: Int16, u32: Uint32, i32: Int32, u64: Uint64, i64: Int64);

macro_rules! float_voxel {
    ($($type:ty: $datatype:ident, $holds:expr);*) => {$(
        impl Voxel for $type {
            const DATATYPE: Datatype = Datatype::$datatype;
        }

        impl Sealed for $type {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_f64(value: f64) -> bool {
                ($holds)(value)
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_i64(_: i64) -> bool {
                true
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn holds_u64(_: u64) -> bool {
                true
            }
            #[inline(always)]
            fn append_le(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }
        }
    )*};
}

float_voxel!(
    f32: Float32, |value: f64| !value.is_finite() | (value as f32).is_finite();
    f64: Float64, |_: f64| true
);

/// How the bytes of a real voxel are decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoding {
    pub(crate) datatype: Datatype,
    pub(crate) order: ByteOrder,
    pub(crate) scaling: Option<(f64, f64)>,
}

/// A value that does not fit the requested type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lossy {
    /// The index of the voxel.
    pub(crate) index: usize,
    pub(crate) value: f64,
}

impl Decoding {
    /// Decodes whole voxels and appends them to `out`, which has room for them.
    ///
    /// The datatype is real: callers have checked.
    pub(crate) fn decode<T: Voxel>(&self, bytes: &[u8], out: &mut Vec<T>) -> Result<(), Lossy> {
        macro_rules! decode {
            ($from_bytes:ident) => {
                match self.datatype {
                    Datatype::Uint8 => small(bytes, self.scaling, out, |b: [u8; 1]| b[0]),
                    Datatype::Int8 => small(bytes, self.scaling, out, |b: [u8; 1]| i8::from_ne_bytes(b)),
                    Datatype::Uint16 => small(bytes, self.scaling, out, u16::$from_bytes),
                    Datatype::Int16 => small(bytes, self.scaling, out, i16::$from_bytes),
                    Datatype::Uint32 => small(bytes, self.scaling, out, u32::$from_bytes),
                    Datatype::Int32 => small(bytes, self.scaling, out, i32::$from_bytes),
                    Datatype::Float32 => small(bytes, self.scaling, out, f32::$from_bytes),
                    Datatype::Float64 => small(bytes, self.scaling, out, f64::$from_bytes),
                    Datatype::Int64 => match self.scaling {
                        None => {
                            convert(bytes, out, i64::$from_bytes, T::holds_i64, T::from_i64, |v| v as f64)
                        }
                        // 64-bit integers have no `From` into `f64`; scaling rounds them to 53 bits.
                        scaling => small(bytes, scaling, out, |b| i64::$from_bytes(b) as f64),
                    },
                    Datatype::Uint64 => match self.scaling {
                        None => {
                            convert(bytes, out, u64::$from_bytes, T::holds_u64, T::from_u64, |v| v as f64)
                        }
                        scaling => small(bytes, scaling, out, |b| u64::$from_bytes(b) as f64),
                    },
                    Datatype::Complex64 | Datatype::Complex128 | Datatype::Rgb24 | Datatype::Rgba32 => Ok(()),
                }
            };
        }
        match self.order {
            ByteOrder::Little => decode!(from_le_bytes),
            ByteOrder::Big => decode!(from_be_bytes),
        }
    }
}

/// Decodes a type whose values all fit an `f64`.
fn small<T: Voxel, S: Into<f64>, const N: usize>(
    bytes: &[u8],
    scaling: Option<(f64, f64)>,
    out: &mut Vec<T>,
    read: impl Fn([u8; N]) -> S,
) -> Result<(), Lossy> {
    match scaling {
        None => convert(bytes, out, |b| read(b).into(), T::holds_f64, T::from_f64, |v| v),
        Some((slope, intercept)) => {
            convert(bytes, out, |b| read(b).into() * slope + intercept, T::holds_f64, T::from_f64, |v| v)
        }
    }
}

/// Converts all voxels before it checks whether each of them fits: without branches the loop can be vectorized.
fn convert<T: Voxel, V: Copy, const N: usize>(
    bytes: &[u8],
    out: &mut Vec<T>,
    read: impl Fn([u8; N]) -> V,
    holds: impl Fn(V) -> bool,
    cast: impl Fn(V) -> T,
    report: impl Fn(V) -> f64,
) -> Result<(), Lossy> {
    let (voxels, _) = bytes.as_chunks::<N>();
    let mut all_held = true;
    out.extend(voxels.iter().map(|&voxel| {
        let value = read(voxel);
        all_held &= holds(value);
        cast(value)
    }));
    if all_held {
        return Ok(());
    }
    let lost = voxels.iter().map(|&voxel| read(voxel)).enumerate().find(|&(_, value)| !holds(value));
    lost.map_or(Ok(()), |(index, value)| Err(Lossy { index, value: report(value) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<T: Voxel>(datatype: Datatype, bytes: &[u8]) -> Result<Vec<T>, Lossy> {
        let mut out = Vec::new();
        let decoding = Decoding { datatype, order: ByteOrder::Little, scaling: None };
        decoding.decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn integers_keep_every_bit() {
        let value = (1_i64 << 53) + 1;
        assert_eq!(decode::<i64>(Datatype::Int64, &value.to_le_bytes()), Ok(vec![value]));
        assert_eq!(decode::<u64>(Datatype::Uint64, &u64::MAX.to_le_bytes()), Ok(vec![u64::MAX]));
        assert_eq!(decode::<i32>(Datatype::Int32, &16_777_217_i32.to_le_bytes()), Ok(vec![16_777_217]));
    }

    #[test]
    fn what_does_not_fit_is_found_with_its_place() {
        let bytes: Vec<u8> = [1.0_f32, 2.0, 2.5].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(decode::<u8>(Datatype::Float32, &bytes), Err(Lossy { index: 2, value: 2.5 }));
        assert_eq!(decode::<u8>(Datatype::Int16, &[0, 1]), Err(Lossy { index: 0, value: 256.0 }));
        assert_eq!(decode::<i64>(Datatype::Uint64, &u64::MAX.to_le_bytes()).unwrap_err().index, 0);
        assert_eq!(decode::<f32>(Datatype::Float64, &1e300_f64.to_le_bytes()).unwrap_err().value, 1e300);
        assert!(decode::<u8>(Datatype::Float32, &f32::NAN.to_le_bytes()).is_err());
        assert!(decode::<f32>(Datatype::Float32, &f32::NAN.to_le_bytes()).unwrap()[0].is_nan());
        assert_eq!(decode::<f32>(Datatype::Float64, &f64::INFINITY.to_le_bytes()), Ok(vec![f32::INFINITY]));
    }

    #[test]
    fn ends_of_integer_ranges_are_exact() {
        assert!(u64::holds_f64(18_446_744_073_709_549_568.0));
        assert!(!u64::holds_f64(18_446_744_073_709_551_616.0));
        assert!(i64::holds_f64(-9_223_372_036_854_775_808.0));
        assert!(!i64::holds_f64(9_223_372_036_854_775_808.0));
        assert!(i8::holds_f64(127.0) && !i8::holds_f64(128.0) && i8::holds_f64(-128.0));
        assert!(u8::holds_f64(-0.0) && !u8::holds_f64(-1.0));
    }
}
