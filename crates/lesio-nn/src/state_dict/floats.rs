//! Floats of all lengths as `f32`.

/// A type of floats in a file, lowest byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    /// IEEE 754 binary16.
    Half,
    /// bfloat16.
    Brain,
    Single,
    /// Rounded to `f32`.
    Double,
}

impl Float {
    /// The bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Half | Self::Brain => 2,
            Self::Single => 4,
            Self::Double => 8,
        }
    }

    /// The numbers at these places. Those past the end are left out.
    pub(super) fn values(self, bytes: &[u8], places: impl Iterator<Item = usize>) -> Vec<f32> {
        match self {
            Self::Half => numbers(bytes, places, |bytes| f32_from_half(u16::from_le_bytes(bytes))),
            Self::Brain => {
                numbers(bytes, places, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
            }
            Self::Single => numbers(bytes, places, f32::from_le_bytes),
            Self::Double => numbers(bytes, places, |bytes| f64::from_le_bytes(bytes) as f32),
        }
    }
}

fn numbers<const N: usize>(
    bytes: &[u8],
    places: impl Iterator<Item = usize>,
    of: impl Fn([u8; N]) -> f32,
) -> Vec<f32> {
    let all = bytes.as_chunks::<N>().0;
    places.filter_map(|place| all.get(place)).map(|bytes| of(*bytes)).collect()
}

/// Converts an IEEE 754 binary16 number.
#[must_use]
pub fn f32_from_half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from((bits >> 10) & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_all_lengths_are_converted() {
        let half = [0x3c00_u16, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00].map(u16::to_le_bytes).concat();
        let expected = [1.0, -2.0, 65504.0, 6.103_515_6e-5, 5.960_464_5e-8, f32::INFINITY];
        assert_eq!(Float::Half.values(&half, 0..9), expected);
        assert!(Float::Half.values(&[1, 0x7c], 0..1)[0].is_nan());
        assert_eq!(Float::Brain.values(&[0xc0, 0x3f, 0, 0xc0], 0..2), [1.5, -2.0]);
        assert_eq!(Float::Single.values(&[1.5_f32, 2.5].map(f32::to_le_bytes).concat(), 1..2), [2.5]);
        assert_eq!(Float::Double.values(&0.1_f64.to_le_bytes(), 0..1), [0.1]);
    }
}
