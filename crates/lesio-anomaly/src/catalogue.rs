//! The built-in predictors by name.

use std::sync::Arc;

use lesio_settings::SettingError;
use lesio_vae::{Reconstructor, VariationalModel};
use serde::{Deserialize, Serialize};

use crate::combination::{Combination, Combined};
use crate::error::PredictError;
use crate::gradient::{GradientConfig, GradientPredictor, Target};
use crate::model::Model;
use crate::name::PredictorName;
use crate::pixel::{Distance, Intensity, PixelError, PixelLikelihood};
use crate::predictor::Predictor;
use crate::projection::{Projection, ProjectionConfig, ProjectionMap};
use crate::restoration::{Restoration, RestorationConfig};

/// The settings of the predictors that have some.
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

/// Refuses names of which one stands twice: maps go by name.
pub(crate) fn check_unique(names: &[PredictorName]) -> Result<(), PredictError> {
    match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
        Some((_, name)) => Err(PredictError::Repeated { predictor: name.to_string() }),
        None => Ok(()),
    }
}

/// The predictor of a name for a model.
///
/// # Errors
/// [`PredictError::Unsupported`] where the model cannot serve it, [`PredictError::Setting`] for
/// settings out of range, [`PredictError::NotRegistered`] for the name of a predictor of one's own.
pub fn predictor(
    name: PredictorName,
    model: &Model,
    settings: &PredictorSettings,
) -> Result<Box<dyn Predictor>, PredictError> {
    make(name, model.reconstructor(), model.variational(), &model.kind(), settings)
}

/// The predictor of a name for a variational model of your own.
///
/// # Errors
/// [`PredictError::Setting`] for settings out of range.
pub fn predictor_over(
    name: PredictorName,
    model: Arc<dyn VariationalModel>,
    settings: &PredictorSettings,
) -> Result<Box<dyn Predictor>, PredictError> {
    make(name, model.clone(), Some(model), "variational model", settings)
}

fn make(
    name: PredictorName,
    reconstructor: Arc<dyn Reconstructor>,
    variational: Option<Arc<dyn VariationalModel>>,
    kind: &str,
    settings: &PredictorSettings,
) -> Result<Box<dyn Predictor>, PredictError> {
    use PredictorName as P;
    let variational = || {
        let unsupported =
            || PredictError::Unsupported { predictor: name.to_string(), model: kind.to_owned() };
        variational.clone().ok_or_else(unsupported)
    };
    let pixel =
        |distance| -> Box<dyn Predictor> { Box::new(PixelError::new(reconstructor.clone(), distance)) };
    let gradient = |target| -> Result<Box<dyn Predictor>, PredictError> {
        Ok(Box::new(GradientPredictor::new(variational()?, target, settings.gradient.clone())?))
    };
    let combined = |combination| -> Result<Box<dyn Predictor>, PredictError> {
        Ok(Box::new(Combined::new(variational()?, combination, settings.gradient.clone())?))
    };
    let projection = |map| -> Result<Box<dyn Predictor>, PredictError> {
        let config = ProjectionConfig { map, ..settings.projection.clone() };
        Ok(Box::new(Projection::new(variational()?, config)?))
    };
    Ok(match name {
        P::Intensity => Box::new(Intensity),
        P::PixelL1 => pixel(Distance::Absolute),
        P::PixelPositive => pixel(Distance::Positive),
        P::PixelNegative => pixel(Distance::Negative),
        P::PixelL2 => pixel(Distance::Squared),
        P::PixelSsim => pixel(Distance::Structural),
        P::PixelNll => Box::new(PixelLikelihood::new(variational()?)),
        P::GradKl => gradient(Target::Divergence)?,
        P::GradRec => gradient(Target::Reconstruction)?,
        P::GradElbo => gradient(Target::Bound)?,
        P::CombiProduct => combined(Combination::Product)?,
        P::CombiSum => combined(Combination::Sum)?,
        P::Projection => projection(ProjectionMap::Moved)?,
        P::ProjectionReconstruction => projection(ProjectionMap::Reconstructed)?,
        P::Restoration => Box::new(Restoration::new(variational()?, settings.restoration.clone())?),
        P::Own(name) => return Err(PredictError::NotRegistered { predictor: name.to_string() }),
    })
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

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let [a, b] = [PredictorName::PixelL1, PredictorName::GradKl];
        assert!(check_unique(&[a, b]).is_ok() && check_unique(&[]).is_ok());
        let error = check_unique(&[a, b, a]).unwrap_err();
        assert!(matches!(error, PredictError::Repeated { predictor } if predictor == "pixel-l1"));
    }
}
