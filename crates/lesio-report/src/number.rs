//! Formatting of numbers for readers.

/// The text for an undefined number, such as an average precision without positives.
pub(crate) const UNDEFINED: &str = "\u{2013}";

/// Largest number of decimals: a double has no more. (The standard library panics on more than 65535.)
const MOST_DECIMALS: usize = 17;

/// A number with a fixed count of decimals, at most 17, and a true minus sign; [`UNDEFINED`] if it is not finite.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return UNDEFINED.to_owned();
    }
    let decimals = decimals.min(MOST_DECIMALS);
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        // A number that rounds to zero has no sign.
        Some(digits) if digits.bytes().all(|b| matches!(b, b'0' | b'.')) => digits.to_owned(),
        Some(digits) => format!("\u{2212}{digits}"),
        None => text,
    }
}

/// A number with up to three significant digits and no zeros at the end, such as the ends of a scale: `0.0125`. Powers of ten
/// stand where plain digits would be long, below .0001 and from a million: `2e−5`. A number that is not finite is a dash.
///
/// ```
/// assert_eq!(lesio_report::compact(0.000_123_4), "0.000123");
/// ```
#[must_use]
pub fn compact(value: f64) -> String {
    significant(value, 3)
}

/// A number with up to so many significant digits, from 1 to 17, and otherwise as [`compact`].
pub(crate) fn significant(value: f64, most: usize) -> String {
    if !value.is_finite() || value == 0.0 {
        return fixed(value, 0);
    }
    let decimals = most.clamp(1, MOST_DECIMALS) - 1;
    let scientific = format!("{value:.decimals$e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        return format!("{}e{exponent}", trimmed(digits)).replace('-', "\u{2212}");
    }
    trimmed(&fixed(value, usize::try_from(decimals as i32 - exponent).unwrap_or(0))).to_owned()
}

/// Removes zeros at the end of a decimal fraction.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_decimals() {
        assert_eq!(fixed(0.5, usize::MAX), "0.50000000000000000");
        assert_eq!(fixed(0.5, 3), "0.500");
        assert_eq!(fixed(-1.25, 1), "\u{2212}1.2");
        assert_eq!(fixed(-0.0001, 2), "0.00");
        assert_eq!(fixed(f64::NAN, 2), UNDEFINED);
        assert_eq!(fixed(f64::NEG_INFINITY, 2), UNDEFINED);
    }

    #[test]
    fn compact_digits() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (4.0, "4"),
            (0.999_9, "1"),
            (1_234.0, "1234"),
            (-0.05, "\u{2212}0.05"),
            (1.7e6, "1.7e6"),
            (2e-7, "2e\u{2212}7"),
            (1e300, "1e300"),
        ];
        for (value, text) in cases {
            assert_eq!(compact(value), text);
        }
    }

    #[test]
    fn significant_digits() {
        let cases = [
            (0.0, 7, "0"),
            (0.123_452, 7, "0.123452"),
            (0.123_452, 2, "0.12"),
            (123_456.789, 8, "123456.79"),
            (-1_198_000.0, 4, "\u{2212}1.198e6"),
            (0.000_012_345_6, 5, "1.2346e\u{2212}5"),
            (0.999_99, 4, "1"),
            (2.5, 99, "2.5"),
        ];
        for (value, most, text) in cases {
            assert_eq!(significant(value, most), text);
        }
    }
}
