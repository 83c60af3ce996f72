//! The built-in predictors. A predictor in the table below has a name in files and programs, and takes part in
//! calibration, ensembles and evaluation.

mod entry;
mod ssim;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lesio_settings::SettingError;
use lesio_vae::{Reconstructor, VariationalModel};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::PredictError;
use crate::model::Model;
use crate::own_name::OwnName;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Needs, Parts};
use crate::settings::PredictorSettings;

/// Declares the modules of predictors and [`PredictorName`] from a table: in each module, variants with their [`Entry`] and
/// documentation.
macro_rules! predictors {
    ($(mod $module:ident { $($variant:ident = $entry:ident, $doc:literal;)* })*) => {
        $(pub(crate) mod $module;)*

        /// A predictor's name, as in reports, files and on command lines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum PredictorName {
            $($(#[doc = $doc] $variant,)*)*
            /// The ensemble of a localizer that has one
            /// ([`Localizer::with_ensemble`](crate::Localizer::with_ensemble)).
            Ensemble,
            /// A user-defined predictor, see [`PredictorName::own`].
            Own(OwnName),
        }

        impl PredictorName {
            /// All built-in predictors of a model, the cheap ones first.
            pub const ALL: [Self; [$($($module::$entry.name),*),*].len()] = [$($(Self::$variant),*),*];

            /// What the file of a built-in predictor says of it.
            fn entry(self) -> Option<&'static Entry> {
                match self {
                    $($(Self::$variant => Some(&$module::$entry),)*)*
                    Self::Ensemble | Self::Own(_) => None,
                }
            }
        }
    };
}

predictors! {
    mod pixel {
        Intensity = INTENSITY, "The image value itself.";
        PixelL1 = PIXEL_L1, "`|x - y|`.";
        PixelPositive = PIXEL_POSITIVE, "`max(x - y, 0)`.";
        PixelNegative = PIXEL_NEGATIVE, "`max(y - x, 0)`.";
        PixelL2 = PIXEL_L2, "`(x - y)^2`.";
        PixelNll = PIXEL_NLL, "`-log p(x | z)`.";
        PixelSsim = PIXEL_SSIM, "`1 - SSIM`.";
    }
    mod pixel_gms { PixelGms = PIXEL_GMS, "One minus the gradient magnitude similarity, on several scales."; }
    mod marks { AnomalyLogit = ANOMALY_LOGIT, "The logit of a model that segments anomalies."; }
    mod gradient {
        GradKl = GRAD_KL, "Gradient of the divergence.";
        GradRec = GRAD_REC, "Gradient of the reconstruction term.";
        GradElbo = GRAD_ELBO, "Gradient of the bound.";
    }
    mod combination {
        CombiProduct = COMBI_PRODUCT, "`grad-kl` times `pixel-nll`.";
        CombiSum = COMBI_SUM, "`grad-kl` plus `pixel-nll`.";
    }
    mod projection {
        Projection = PROJECTION, "Energy-based projection: how far pixels moved.";
        ProjectionReconstruction = PROJECTION_RECONSTRUCTION,
            "Energy-based projection: distance from the projected image's reconstruction.";
    }
    mod restoration { Restoration = RESTORATION, "Restoration with total variation."; }
}

impl PredictorName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(name) => name.as_str(),
            other => other.entry().map_or("ensemble", |entry| entry.name),
        }
    }

    fn needs(self) -> Needs {
        match self {
            Self::Ensemble => Needs::Ensemble,
            other => other.entry().map_or(Needs::Nothing, |entry| entry.needs),
        }
    }

    fn built_in(self) -> Result<&'static Entry, PredictError> {
        self.entry().ok_or_else(|| match self {
            Self::Own(name) => PredictError::NotRegistered { predictor: name.to_string() },
            _ => PredictError::NoEnsemble,
        })
    }
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
    let (entry, kind) = (name.built_in()?, &model.kind());
    (entry.make)(&Parts { entry, reconstructor, variational, segmentation, kind, settings })
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
    let (entry, kind) = (name.built_in()?, "variational model");
    (entry.make)(&Parts { entry, reconstructor, variational, segmentation: None, kind, settings })
}

/// Returns an error for a name that occurs twice, since maps are identified by name.
pub(crate) fn check_unique(names: &[PredictorName]) -> Result<(), PredictError> {
    match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
        Some((_, name)) => Err(PredictError::Repeated { predictor: name.to_string() }),
        None => Ok(()),
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
