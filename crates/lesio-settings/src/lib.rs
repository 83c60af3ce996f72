//! Range checks for configuration values, with one error type.
//!
//! A configuration with public fields has a method `validate` that checks every number with [`in_range`]. It is called
//! when the configuration is used and when it is read from a file, so an invalid value gives the same message
//! regardless of its source. NaN is in no range; infinities are in no finite range.
//!
//! ```
//! use lesio_settings::{SettingError, in_range};
//!
//! struct Blur {
//!     deviation: f64,
//!     passes: usize,
//! }
//!
//! impl Blur {
//!     fn validate(&self) -> Result<(), SettingError> {
//!         in_range("deviation", self.deviation, 0.0..=1e3)?;
//!         in_range("passes", self.passes, 1..=16)
//!     }
//! }
//!
//! assert!(Blur { deviation: 0.5, passes: 2 }.validate().is_ok());
//! let error = Blur { deviation: f64::NAN, passes: 2 }.validate().unwrap_err();
//! assert_eq!(error.to_string(), "deviation is NaN, expected 0.0 to 1000.0");
//! assert_eq!(error.within("blur").setting, "blur.deviation");
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod defaults;
#[cfg(feature = "mutation")]
pub mod mutation;
mod names;
mod setters;

use std::fmt::Debug;
use std::ops::RangeInclusive;

pub use names::UnknownName;

/// An invalid setting: its name, its value and the expected values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {found}, expected {expected}")]
pub struct SettingError {
    /// The setting; in a part of a configuration, `part.setting`.
    pub setting: String,
    /// Its value.
    pub found: String,
    /// The expected values.
    pub expected: String,
}

impl SettingError {
    /// The error of a setting, whose value is formatted with `{:?}`.
    pub fn new(setting: impl Into<String>, found: impl Debug, expected: impl Into<String>) -> Self {
        Self { setting: setting.into(), found: format!("{found:?}"), expected: expected.into() }
    }

    /// The same error for a setting inside this part of a larger configuration.
    #[must_use]
    pub fn within(mut self, part: &str) -> Self {
        self.setting = format!("{part}.{}", self.setting);
        self
    }
}

/// Returns an error for a number outside a range, and for NaN.
///
/// # Errors
/// [`SettingError`] that states the range.
pub fn in_range<T: PartialOrd + Debug>(
    setting: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), SettingError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(SettingError::new(setting, value, format!("{:?} to {:?}", range.start(), range.end())))
}

/// Returns an error for a value that does not meet a condition; for conditions other than ranges of numbers.
///
/// # Errors
/// [`SettingError`] with the words of `expected`.
pub fn require(
    holds: bool,
    setting: &str,
    found: impl Debug,
    expected: impl Into<String>,
) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError::new(setting, found, expected)) }
}

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_no_range_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9, 1.0 + 1e-9, f64::MAX] {
            let error = in_range("share", value, 0.0..=1.0).unwrap_err();
            assert_eq!(error, SettingError::new("share", value, "0.0 to 1.0"));
        }
        for value in [0.0, -0.0, 0.5, 1.0] {
            assert_eq!(in_range("share", value, 0.0..=1.0), Ok(()));
        }
        assert!(in_range("count", 0, 1..=usize::MAX).is_err());
        assert!(in_range("count", u64::MAX, 0..=1 << 40).is_err());
    }

    #[test]
    fn the_message_names_setting_value_and_range() {
        let error = in_range("steps", usize::MAX, 1..=100).unwrap_err().within("projection");
        assert_eq!(error.to_string(), format!("projection.steps is {}, expected 1 to 100", usize::MAX));
        let error = require(false, "labels", [3, 1], "ascending labels").unwrap_err();
        assert_eq!(error.to_string(), "labels is [3, 1], expected ascending labels");
    }
}
