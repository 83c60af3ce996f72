//! The settings of the built-in predictors.

pub(crate) mod gradient;
pub(crate) mod projection;
pub(crate) mod restoration;

use lesio_settings::{SettingError, setters};
use serde::{Deserialize, Serialize};

use gradient::GradientConfig;
use projection::{ProjectionConfig, check_range};
use restoration::RestorationConfig;

/// The settings of all predictors that have any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct PredictorSettings {
    /// The range of the model's inputs, within a million. Default `None`: a localizer takes that to which its preprocessing
    /// clips; without either, a range of width 1 is assumed. Similarities (`pixel-ssim`, `pixel-gms`) are those of images
    /// brought from this range to [0, 1]. Noise, steps and weights of the other settings are for a range of width 1, and are scaled to
    /// this one: a model of images from -1 to 1 gives the same maps as that model for images from 0 to 1, in its own units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f32; 2]>,
    /// Of the gradients.
    pub gradient: GradientConfig,
    /// Of the projection.
    pub projection: ProjectionConfig,
    /// Of the restoration.
    pub restoration: RestorationConfig,
}

setters!(PredictorSettings {
    range: Option<[f32; 2]>,
    gradient: GradientConfig,
    projection: ProjectionConfig,
    restoration: RestorationConfig,
});

impl PredictorSettings {
    pub(crate) fn check_range(&self) -> Result<(), SettingError> {
        self.range.map_or(Ok(()), check_range)
    }

    /// The range of the model's inputs that predictors assume.
    pub(crate) fn inputs(&self) -> [f32; 2] {
        self.range.unwrap_or([0.0, 1.0])
    }

    /// The width of that range.
    pub(crate) fn width(&self) -> f64 {
        let [low, high] = self.inputs().map(f64::from);
        high - low
    }

    /// The settings of gradients, for this range.
    pub(crate) fn gradients(&self) -> GradientConfig {
        self.gradient.clone().scaled(self.width())
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.check_range()?;
        self.gradient.validate().map_err(|error| error.within("gradient"))?;
        self.projection.validate().map_err(|error| error.within("projection"))?;
        self.restoration.validate().map_err(|error| error.within("restoration"))
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::refusals;

    use super::*;
    use crate::settings::projection::StepRule;

    #[test]
    fn misspelled_settings_are_named() {
        for (text, name) in [
            (r#"{"gradients": {}}"#, "gradients"),
            (r#"{"gradient": {"smooth": 1.0}}"#, "smooth"),
            (r#"{"projection": {"step": 5}}"#, "step"),
            (r#"{"restoration": {"step": 5}}"#, "step"),
        ] {
            let error = serde_json::from_str::<PredictorSettings>(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("unknown field `{name}`")), "{error}");
        }
        let error = serde_json::from_str::<crate::PostProcessing>(r#"{"medians": [1, 3, 3]}"#).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `medians`"), "{error}");
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let (valid, check) = (PredictorSettings::default, PredictorSettings::validate);
        let refused = refusals(valid(), check, [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e7, 1e18]);
        refused("gradient.smoothing", |own, value| own.gradient.smoothing = value);
        refused("gradient.deviation", |own, value| own.gradient.deviation = value);
        refused("projection.rate", |own, value| own.projection.rate = value);
        refused("projection.distance", |own, value| own.projection.distance = value);
        refused("projection.step_rule.bounded.largest", |own, largest| {
            own.projection.step_rule = StepRule::Bounded { largest };
        });
        refused("projection.range", |own, value| own.projection.range = Some([value as f32, 1.0]));
        refused("projection.range", |own, value| own.projection.range = Some([0.0, value as f32]));
        refused("range", |own, value| own.range = Some([0.0, value as f32]));
        refused("restoration.rate", |own, value| own.restoration.rate = value);
        refused("restoration.total_variation", |own, value| own.restoration.total_variation = value);
        refused("restoration.largest_change", |own, value| own.restoration.largest_change = value as f32);
        let refused = refusals(valid(), check, [1_000_000_000, usize::MAX]);
        refused("gradient.copies", |own, value| own.gradient.copies = value);
        refused("projection.steps", |own, value| own.projection.steps = value);
        refused("restoration.steps", |own, value| own.restoration.steps = value);
        refusals(valid(), check, [f64::NAN])("projection.stop", |own, stop| own.projection.stop = Some(stop));
    }
}
