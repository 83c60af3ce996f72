//! Arguments for the filters of maps.

use std::str::FromStr;

/// The greatest length of a filter.
const GREATEST: f64 = 1000.0;

/// The window of a median along slices, rows and columns, as `3,5,5`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianLengths(pub [f64; 3]);

impl FromStr for MedianLengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found: Vec<&str> = text.split(',').map(str::trim).collect();
        let parts = <[&str; 3]>::try_from(found).map_err(|found| {
            format!("expected three lengths (slices, rows, columns), found {}", found.len())
        })?;
        let mut lengths = [0.0; 3];
        for (length, part) in lengths.iter_mut().zip(parts) {
            *length = length_of(part)?;
            if *length > 0.0 && *length % 2.0 == 0.0 {
                return Err(format!(
                    "{part} lies between the windows of {} and {} voxels of length 1; expected odd numbers, or 0 to \
                     leave an axis alone",
                    *length - 1.0,
                    *length + 1.0
                ));
            }
        }
        Ok(Self(lengths))
    }
}

/// Parses a length from 0 to 1000.
///
/// # Errors
/// For any other text; the message names the range.
pub fn length_of(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(length) if (0.0..=GREATEST).contains(&length) => Ok(length),
        _ => Err(format!("{text:?} is not a length from 0 to {GREATEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lengths_are_a_window() {
        let read = |text: &str| text.parse::<MedianLengths>();
        assert_eq!(read("3,5,5"), Ok(MedianLengths([3.0, 5.0, 5.0])));
        assert_eq!(read("0, 4.5 ,255"), Ok(MedianLengths([0.0, 4.5, 255.0])));
        for (text, words) in [
            ("3,5", "three"),
            ("3,5,5,5", "three"),
            ("", "three"),
            ("2,2,2", "1 and 3"),
            ("1,1,100001", "0 to 1000"),
            ("1,-5,5", "0 to 1000"),
            ("1,nan,5", "0 to 1000"),
            ("1,inf,5", "0 to 1000"),
            ("1,5,x", "0 to 1000"),
            ("1,5,", "0 to 1000"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn lengths_have_bounds() {
        assert_eq!([length_of("0"), length_of("4.5"), length_of("1e3")], [Ok(0.0), Ok(4.5), Ok(1000.0)]);
        for text in ["-1", "nan", "inf", "1e9", "1001", "", "five"] {
            assert!(length_of(text).is_err(), "{text}");
        }
    }
}
