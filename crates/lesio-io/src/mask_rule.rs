//! Which values of a mask are inside.

use std::path::Path;

use lesio_settings::{SettingError, require};

/// Which values of a mask are inside. The default is every value except 0; in JPEG files, whose compression blurs
/// values, those above 127.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MaskRule {
    /// Finite.
    above: Option<f64>,
}

impl Eq for MaskRule {}

impl MaskRule {
    /// Values above a threshold are inside, in the units of the file: 127 halves the smooth edges of a drawn mask of 8
    /// bits, .5 those of a resampled mask of 0 and 1.
    ///
    /// # Errors
    /// For a threshold that is not finite.
    pub fn above(threshold: f64) -> Result<Self, SettingError> {
        require(threshold.is_finite(), "mask threshold", threshold, "a finite number")?;
        Ok(Self { above: Some(threshold) })
    }

    /// The same, with a threshold if there is none.
    pub(crate) fn or_above(self, threshold: f64) -> Self {
        Self { above: self.above.or(Some(threshold)) }
    }

    /// Whether every value except 0 is inside.
    pub(crate) fn is_default(self) -> bool {
        self.above.is_none()
    }

    pub(crate) fn is_inside(self, value: f64) -> bool {
        self.above.map_or(value != 0.0, |threshold| value > threshold)
    }
}

/// Tells of a mask that is inside everywhere.
pub(crate) fn tell_full(is_full: bool, path: &Path) {
    if is_full {
        tracing::warn!(mask = %path.display(), "all of this mask is inside: nothing of the image counts as normal");
    }
}
