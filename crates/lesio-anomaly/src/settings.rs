//! The settings of the built-in predictors.

use lesio_settings::{SettingError, setters};
use serde::{Deserialize, Serialize};

use crate::gradient::GradientConfig;
use crate::projection::ProjectionConfig;
use crate::restoration::RestorationConfig;

/// The settings of all predictors that have any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct PredictorSettings {
    /// Of the gradients.
    pub gradient: GradientConfig,
    /// Of the projection.
    pub projection: ProjectionConfig,
    /// Of the restoration.
    pub restoration: RestorationConfig,
}

setters!(PredictorSettings {
    gradient: GradientConfig,
    projection: ProjectionConfig,
    restoration: RestorationConfig,
});

impl PredictorSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.gradient.validate().map_err(|error| error.within("gradient"))?;
        self.projection.validate().map_err(|error| error.within("projection"))?;
        self.restoration.validate().map_err(|error| error.within("restoration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::StepRule;

    #[test]
    fn settings_that_cannot_be_are_named() {
        assert_eq!(PredictorSettings::default().validate(), Ok(()));
        type Change = fn(&mut PredictorSettings, f64);
        let numbers: [(&str, Change); 10] = [
            ("gradient.smoothing", |own, value| own.gradient.smoothing = value),
            ("gradient.deviation", |own, value| own.gradient.deviation = value),
            ("projection.rate", |own, value| own.projection.rate = value),
            ("projection.distance", |own, value| own.projection.distance = value),
            ("projection.step_rule.bounded.largest", |own, largest| {
                own.projection.step_rule = StepRule::Bounded { largest };
            }),
            ("projection.range", |own, value| own.projection.range[0] = value as f32),
            ("projection.range", |own, value| own.projection.range[1] = value as f32),
            ("restoration.rate", |own, value| own.restoration.rate = value),
            ("restoration.total_variation", |own, value| own.restoration.total_variation = value),
            ("restoration.largest_change", |own, value| own.restoration.largest_change = value as f32),
        ];
        for (setting, change) in numbers {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e7, 1e18] {
                let mut settings = PredictorSettings::default();
                change(&mut settings, value);
                assert_eq!(settings.validate().unwrap_err().setting, setting, "{value}");
            }
        }
        let counts: [(&str, fn(&mut PredictorSettings, usize)); 3] = [
            ("gradient.copies", |own, value| own.gradient.copies = value),
            ("projection.steps", |own, value| own.projection.steps = value),
            ("restoration.steps", |own, value| own.restoration.steps = value),
        ];
        for (setting, change) in counts {
            for value in [1_000_000_000, usize::MAX] {
                let mut settings = PredictorSettings::default();
                change(&mut settings, value);
                assert_eq!(settings.validate().unwrap_err().setting, setting, "{value}");
            }
        }
        let mut settings = PredictorSettings::default();
        settings.projection.stop = Some(f64::NAN);
        assert_eq!(settings.validate().unwrap_err().setting, "projection.stop");
    }
}
