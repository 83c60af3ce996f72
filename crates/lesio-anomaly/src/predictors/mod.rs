//! The built-in predictors. A predictor in the table below has a name in files and programs, and takes part in
//! calibration, ensembles and evaluation.

pub(crate) mod combination;
pub(crate) mod gradient;
pub(crate) mod marks;
pub(crate) mod pixel;
pub(crate) mod projection;
pub(crate) mod restoration;
mod ssim;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lesio_settings::SettingError;
use lesio_vae::{Reconstructor, SegmentationModel, VariationalModel};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::PredictError;
use crate::model::Model;
use crate::own_name::OwnName;
use crate::predictor::Predictor;
use crate::predictors::combination::{Combination, Combined};
use crate::predictors::gradient::{GradientPredictor, Target};
use crate::predictors::marks::AnomalyLogit;
use crate::predictors::pixel::{Distance, PixelError, PixelIntensity, PixelLikelihood};
use crate::predictors::projection::Projection;
use crate::predictors::restoration::Restoration;
use crate::settings::PredictorSettings;
use crate::settings::gradient::GradientConfig;
use crate::settings::projection::{ProjectionConfig, ProjectionMap};

/// The requirements of a predictor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// No model.
    Nothing,
    /// Any model that reconstructs.
    Reconstructor,
    /// A model that segments anomalies.
    Segmentation,
    /// A variational model.
    Variational,
    /// A variational model, and many passes of it for each image.
    ManyPasses,
    /// A localizer with an ensemble.
    Ensemble,
}

impl Needs {
    /// What they are called in messages.
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "no model",
            Self::Reconstructor => "a model that reconstructs the normal image",
            Self::Segmentation => "a model that segments anomalies",
            Self::Variational | Self::ManyPasses => "a variational autoencoder",
            Self::Ensemble => "an ensemble",
        }
    }
}

/// The parts for making predictors.
struct Parts<'p> {
    name: PredictorName,
    /// Of a model that says what an image is when it is normal.
    reconstructor: Option<Arc<dyn Reconstructor>>,
    variational: Option<Arc<dyn VariationalModel>>,
    segmentation: Option<Arc<dyn SegmentationModel>>,
    /// The kind of model, for errors.
    kind: &'p str,
    settings: &'p PredictorSettings,
}

type Made = Result<Box<dyn Predictor>, PredictError>;

/// Declares [`PredictorName`] from a table: documentation, variant, name, requirements, constructor.
macro_rules! predictors {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $needs:expr, $make:expr;)*) => {
        /// A predictor's name, as in reports, files and on command lines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum PredictorName {
            $($(#[$doc])* $variant,)*
            /// The ensemble of a localizer that has one
            /// ([`Localizer::with_ensemble`](crate::Localizer::with_ensemble)).
            Ensemble,
            /// A user-defined predictor, see [`PredictorName::own`].
            Own(OwnName),
        }

        impl PredictorName {
            /// All built-in predictors of a model, the cheap ones first.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Ensemble => "ensemble",
                    Self::Own(name) => name.as_str(),
                }
            }

            fn needs(self) -> Needs {
                match self {
                    $(Self::$variant => $needs,)*
                    Self::Ensemble => Needs::Ensemble,
                    Self::Own(_) => Needs::Nothing,
                }
            }

            fn make(self, parts: &Parts<'_>) -> Made {
                match self {
                    $(Self::$variant => {
                        let make: fn(&Parts<'_>) -> Made = $make;
                        make(parts)
                    })*
                    Self::Ensemble => Err(PredictError::NoEnsemble),
                    Self::Own(name) => Err(PredictError::NotRegistered { predictor: name.to_string() }),
                }
            }
        }
    };
}

predictors! {
    /// The image value itself.
    Intensity, "intensity", Needs::Nothing, |_| Ok(Box::new(PixelIntensity));
    /// `|x - y|`.
    PixelL1, "pixel-l1", Needs::Reconstructor, |parts| parts.pixel_error(Distance::Absolute);
    /// `max(x - y, 0)`.
    PixelPositive, "pixel-positive", Needs::Reconstructor, |parts| parts.pixel_error(Distance::Positive);
    /// `max(y - x, 0)`.
    PixelNegative, "pixel-negative", Needs::Reconstructor, |parts| parts.pixel_error(Distance::Negative);
    /// `(x - y)^2`.
    PixelL2, "pixel-l2", Needs::Reconstructor, |parts| parts.pixel_error(Distance::Squared);
    /// `-log p(x | z)`.
    PixelNll, "pixel-nll", Needs::Variational, |parts| Ok(Box::new(PixelLikelihood::new(parts.model()?)));
    /// `1 - SSIM`.
    PixelSsim, "pixel-ssim", Needs::Reconstructor, |parts| parts.pixel_error(Distance::Structural);
    /// The logit of a model that segments anomalies.
    AnomalyLogit, "anomaly-logit", Needs::Segmentation, |parts| Ok(Box::new(AnomalyLogit::new(parts.marks()?)));
    /// Gradient of the divergence.
    GradKl, "grad-kl", Needs::Variational, |parts| parts.gradient(Target::Divergence);
    /// Gradient of the reconstruction term.
    GradRec, "grad-rec", Needs::Variational, |parts| parts.gradient(Target::Reconstruction);
    /// Gradient of the bound.
    GradElbo, "grad-elbo", Needs::Variational, |parts| parts.gradient(Target::Bound);
    /// `grad-kl` times `pixel-nll`.
    CombiProduct, "combi-product", Needs::Variational, |parts| parts.combined(Combination::Product);
    /// `grad-kl` plus `pixel-nll`.
    CombiSum, "combi-sum", Needs::Variational, |parts| parts.combined(Combination::Sum);
    /// Energy-based projection: how far pixels moved.
    Projection, "projection", Needs::ManyPasses, |parts| parts.projection(ProjectionMap::Moved);
    /// Energy-based projection: distance from the projected image's reconstruction.
    ProjectionReconstruction, "projection-reconstruction", Needs::ManyPasses,
        |parts| parts.projection(ProjectionMap::Reconstructed);
    /// Restoration with total variation.
    Restoration, "restoration", Needs::ManyPasses,
        |parts| parts.restoration();
}

/// Makes the predictor of a name for a model.
///
/// # Errors
/// [`PredictError::Unsupported`] if the model does not support it, [`PredictError::Setting`] for
/// settings out of range, [`PredictError::NotRegistered`] for the name of a user-defined predictor.
pub fn predictor(
    name: PredictorName,
    model: &Model,
    settings: &PredictorSettings,
) -> Result<Box<dyn Predictor>, PredictError> {
    settings.check_range()?;
    let reconstructor = model.restores().then(|| model.reconstructor());
    let (variational, segmentation) = (model.variational(), model.segmentation());
    name.make(&Parts { name, reconstructor, variational, segmentation, kind: &model.kind(), settings })
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
    settings.check_range()?;
    let reconstructor: Option<Arc<dyn Reconstructor>> = Some(model.clone());
    let variational = Some(model);
    let kind = "variational model";
    name.make(&Parts { name, reconstructor, variational, segmentation: None, kind, settings })
}

/// Returns an error for a name that occurs twice, since maps are identified by name.
pub(crate) fn check_unique(names: &[PredictorName]) -> Result<(), PredictError> {
    match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
        Some((_, name)) => Err(PredictError::Repeated { predictor: name.to_string() }),
        None => Ok(()),
    }
}

impl Parts<'_> {
    fn model(&self) -> Result<Arc<dyn VariationalModel>, PredictError> {
        self.variational.clone().ok_or_else(|| self.unsupported())
    }

    fn reconstructor(&self) -> Result<Arc<dyn Reconstructor>, PredictError> {
        self.reconstructor.clone().ok_or_else(|| self.unsupported())
    }

    fn marks(&self) -> Result<Arc<dyn SegmentationModel>, PredictError> {
        self.segmentation.clone().ok_or_else(|| self.unsupported())
    }

    fn unsupported(&self) -> PredictError {
        let (needs, model) = (self.name.needs().text(), self.kind.to_owned());
        PredictError::Unsupported { predictor: self.name.to_string(), needs, model }
    }

    fn pixel_error(&self, distance: Distance) -> Made {
        Ok(Box::new(PixelError::new(self.reconstructor()?, distance).range(self.settings.inputs())))
    }

    fn gradient(&self, target: Target) -> Made {
        Ok(Box::new(GradientPredictor::new(self.model()?, target, self.gradients())?))
    }

    fn combined(&self, combination: Combination) -> Made {
        Ok(Box::new(Combined::new(self.model()?, combination, self.gradients())?))
    }

    fn gradients(&self) -> GradientConfig {
        self.settings.gradient.clone().scaled(self.settings.width())
    }

    fn restoration(&self) -> Made {
        let (config, width) = (self.settings.restoration.clone(), self.settings.width());
        Ok(Box::new(Restoration::for_width(self.model()?, config, width)?))
    }

    fn projection(&self, map: ProjectionMap) -> Made {
        let own = &self.settings.projection;
        let range = own.range.or(self.settings.range);
        let config = ProjectionConfig { map, range, ..own.clone() }.scaled(self.settings.width());
        Ok(Box::new(Projection::new(self.model()?, config)?))
    }
}

impl PredictorName {
    /// The name of a user-defined predictor.
    ///
    /// # Errors
    /// [`SettingError`] as [`OwnName::new`], and for the name of a built-in predictor or of the ensemble.
    pub fn own(name: &str) -> Result<Self, SettingError> {
        if name.parse::<Self>().is_ok() {
            return Err(SettingError::new("name", name, "a name that no built-in predictor has"));
        }
        OwnName::new(name).map(Self::Own)
    }

    /// Whether it needs many passes of the model for an image.
    #[must_use]
    pub fn is_iterative(self) -> bool {
        self.needs() == Needs::ManyPasses
    }

    /// Whether a model supports it. An ensemble is supported by no model, but by a localizer that has one.
    #[must_use]
    pub fn is_served_by(self, model: &Model) -> bool {
        match self.needs() {
            Needs::Nothing => true,
            Needs::Reconstructor => model.restores(),
            Needs::Segmentation => model.segmentation().is_some(),
            Needs::Variational | Needs::ManyPasses => model.variational().is_some(),
            Needs::Ensemble => false,
        }
    }
}

impl fmt::Display for PredictorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no predictor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a predictor, expected one of {}", names())]
pub struct UnknownPredictor {
    /// The text.
    pub found: String,
}

fn names() -> String {
    let all = PredictorName::ALL.into_iter().chain([PredictorName::Ensemble]);
    all.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

impl FromStr for PredictorName {
    type Err = UnknownPredictor;

    /// The name of a built-in predictor or `ensemble`; see [`PredictorName::own`] for others.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .chain([Self::Ensemble])
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownPredictor { found: text.to_owned() })
    }
}

impl Serialize for PredictorName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PredictorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().or_else(|_| Self::own(&text)).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_agree_with_files() {
        let own = PredictorName::own("my-own-2").unwrap();
        for name in PredictorName::ALL.into_iter().chain([PredictorName::Ensemble, own]) {
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(text, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<PredictorName>(&text).unwrap(), name);
        }
        assert_eq!("grad-kl".parse(), Ok(PredictorName::GradKl));
        let error = "pixel-l3".parse::<PredictorName>().unwrap_err().to_string();
        assert!(error.contains("pixel-l3") && error.contains("grad-kl"));
        assert!(PredictorName::own("pixel-l1").is_err());
        assert!(serde_json::from_str::<PredictorName>("\"A\"").is_err());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let [a, b] = [PredictorName::PixelL1, PredictorName::GradKl];
        assert!(check_unique(&[a, b]).is_ok() && check_unique(&[]).is_ok());
        let error = check_unique(&[a, b, a]).unwrap_err();
        assert!(matches!(error, PredictError::Repeated { predictor } if predictor == "pixel-l1"));
    }
}
