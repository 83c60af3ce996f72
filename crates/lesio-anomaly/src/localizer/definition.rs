//! A trained model with its preprocessing, post-processing, calibration and provenance.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lesio_image::{FittedPreprocessing, PreprocessError, ScanError, SlicePosition};
use lesio_nn::{Device, Precision};
use lesio_vae::BuildError;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::catalogue::{PredictorName, predictor};
use crate::chosen::ChosenPredictor;
use crate::error::PredictError;
use crate::model::{Model, ModelConfig};
use crate::own_name::OwnName;
use crate::position::PositionCalibration;
use crate::postprocessing::PostProcessing;
use crate::predictor::Predictor;
use crate::provenance::Provenance;
use crate::settings::PredictorSettings;

/// A model of normal images with its preprocessing, post-processing and provenance: scores volumes
/// and images on their own grids.
#[derive(Clone)]
pub struct Localizer {
    pub(super) model: Model,
    pub(super) document: Document,
    /// Saved as tensors beside the model's.
    pub(super) position_normals: PositionCalibration,
    /// Predictors that are not built in.
    pub(super) own: BTreeMap<OwnName, Arc<dyn Predictor>>,
}

impl fmt::Debug for Localizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Localizer")
            .field("model", &self.model)
            .field("document", &self.document)
            .field("own", &self.own.keys())
            .finish_non_exhaustive()
    }
}

/// The metadata in a localizer's file, in addition to tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) model: ModelConfig,
    pub(super) preprocessing: FittedPreprocessing,
    pub(super) settings: PredictorSettings,
    pub(super) postprocessing: PostProcessing,
    #[serde(default)]
    pub(super) calibration: Calibration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<ChosenPredictor>,
    /// Names of the channels in the model's order, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) channels: Vec<String>,
    pub(super) provenance: Provenance,
}

impl Localizer {
    /// Makes a localizer of a trained model.
    ///
    /// # Errors
    /// [`PredictError::Config`] if model and preprocessing do not fit together: another grid, or a channel with the
    /// slice's position, which predictors would score like an image.
    pub fn new(
        model: Model,
        preprocessing: FittedPreprocessing,
        provenance: Provenance,
    ) -> Result<Self, PredictError> {
        let shape = model.image_shape();
        let grid = preprocessing.config().grid();
        if grid != [shape.height, shape.width] {
            let text = format!("the preprocessing makes images of {grid:?}, the model takes {shape}");
            return Err(PredictError::Config(text));
        }
        if preprocessing.config().slice_position != SlicePosition::Omit {
            let text = "the preprocessing adds a channel with the slice's position, which cannot be scored";
            return Err(PredictError::Config(text.to_owned()));
        }
        let document = Document {
            model: model.config(),
            preprocessing,
            settings: PredictorSettings::default(),
            postprocessing: PostProcessing::default(),
            calibration: Calibration::new(),
            chosen: None,
            channels: Vec::new(),
            provenance,
        };
        Ok(Self { model, document, position_normals: PositionCalibration::default(), own: BTreeMap::new() })
    }

    /// Replaces the settings of the predictors, which are checked when they are used and when the localizer is saved.
    /// Drops the calibration and the selected predictor, which are valid only for the old settings.
    #[must_use]
    pub fn settings(mut self, settings: PredictorSettings) -> Self {
        if settings != self.document.settings {
            self.document.calibration = Calibration::new();
            self.document.chosen = None;
            self.position_normals = PositionCalibration::default();
        }
        self.document.settings = settings;
        self
    }

    /// Replaces the post-processing, which is checked when it is used and when the localizer is saved. Drops the
    /// calibration and the selected predictor, which are valid only for the old maps.
    #[must_use]
    pub fn postprocessing(mut self, postprocessing: PostProcessing) -> Self {
        let own = &self.document.postprocessing;
        if (PostProcessing { smallest: own.smallest, ..postprocessing.clone() }) != *own {
            self.document.calibration = Calibration::new();
            self.document.chosen = None;
        }
        self.document.postprocessing = postprocessing;
        self
    }

    /// Normalizes scores by position: before post-processing, maps of the predictors in `normals` are converted to
    /// standard deviations from the mean of normal scores at each position. Raw maps are unchanged. Drops the
    /// calibration, which is valid only for the old maps.
    ///
    /// # Errors
    /// [`PredictError::Config`] for positions on another grid.
    pub fn normalized_by_position(mut self, normals: PositionCalibration) -> Result<Self, PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if !normals.fits(grid) {
            return Err(PredictError::Config(format!(
                "the normal scores by position are on another grid than {grid:?}"
            )));
        }
        if normals != self.position_normals {
            self.document.calibration = Calibration::new();
            self.document.chosen = None;
        }
        self.position_normals = normals;
        Ok(self)
    }

    /// Sets the calibration: the scores of normal subjects by this localizer after post-processing.
    #[must_use]
    pub fn calibrated(mut self, calibration: Calibration) -> Self {
        self.document.calibration = calibration;
        self
    }

    /// Sets the predictor that was selected on validation data, or `None`.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`ChosenPredictor::validate`]; [`PredictError::Unsupported`] for a predictor that
    /// the model does not support.
    pub fn choosing(mut self, chosen: Option<ChosenPredictor>) -> Result<Self, PredictError> {
        if let Some(chosen) = &chosen {
            chosen.validate()?;
            // Fails with the reason if it cannot be made.
            self.predictor(chosen.predictor)?;
        }
        self.document.chosen = chosen;
        Ok(self)
    }

    /// Sets the names of the channels in the order of the model. The channels of a scan with names are then brought
    /// into this order; other names are an error. Without names, any order is accepted.
    ///
    /// # Errors
    /// [`PredictError::Preprocess`] for another number of names than channels, and for a name that occurs twice.
    pub fn channels(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, PredictError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let (found, expected) = (names.len(), self.model.image_shape().channels);
        if !names.is_empty() && found != expected {
            return Err(PreprocessError::from(ScanError::Names { found, expected }).into());
        }
        if let Some(name) =
            names.iter().enumerate().find_map(|(k, name)| names[..k].contains(name).then_some(name))
        {
            return Err(PreprocessError::from(ScanError::Repeated { name: name.clone() }).into());
        }
        self.document.channels = names;
        Ok(self)
    }

    /// Computes the model in another precision on the CPU: see
    /// [`VaeConfig::precision`](lesio_vae::VaeConfig::precision). A denoiser would not gain from it and is unchanged.
    /// The calibration was made in the old precision; it is valid as far as the maps are the same.
    ///
    /// # Errors
    /// If the device fails.
    pub fn in_precision(mut self, precision: Precision, device: &Device) -> Result<Self, BuildError> {
        if let ModelConfig::Vae { config, beta } = self.model.config() {
            let config = ModelConfig::Vae { config: config.precision(precision), beta };
            self.model = Model::new(&config, &self.model.parameters()?, device)?;
            self.document.model = config;
        }
        Ok(self)
    }

    /// Adds a user-defined predictor. Like built-in ones, it takes part in calibration, ensembles, selection and
    /// saving.
    ///
    /// # Errors
    /// [`PredictError::Setting`] for an invalid name, see [`PredictorName::own`].
    pub fn with_predictor(mut self, own: Arc<dyn Predictor>) -> Result<Self, PredictError> {
        match PredictorName::own(&own.name())? {
            PredictorName::Own(name) => self.own.insert(name, own),
            _ => None,
        };
        Ok(self)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The preprocessing of images.
    #[must_use]
    pub fn preprocessing(&self) -> &FittedPreprocessing {
        &self.document.preprocessing
    }

    /// The settings of the predictors.
    #[must_use]
    pub fn predictor_settings(&self) -> &PredictorSettings {
        &self.document.settings
    }

    /// The post-processing of maps.
    #[must_use]
    pub fn map_filters(&self) -> &PostProcessing {
        &self.document.postprocessing
    }

    /// The calibration: scores of normal subjects after post-processing.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.document.calibration
    }

    /// The predictor that was selected on validation data; `None` if no validation data contained a lesion.
    #[must_use]
    pub fn chosen(&self) -> Option<&ChosenPredictor> {
        self.document.chosen.as_ref()
    }

    /// Normal scores at each position of the network's grid.
    #[must_use]
    pub fn position_normals(&self) -> &PositionCalibration {
        &self.position_normals
    }

    /// Where the localizer comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.document.provenance
    }

    /// The names of its channels in the model's order; empty if unknown.
    #[must_use]
    pub fn channel_names(&self) -> &[String] {
        &self.document.channels
    }

    /// The predictors that this model supports.
    #[must_use]
    pub fn predictors(&self) -> Vec<PredictorName> {
        let built_in = PredictorName::ALL.into_iter().filter(|name| name.is_served_by(&self.model));
        built_in.chain(self.own.keys().copied().map(PredictorName::Own)).collect()
    }

    /// The predictor of a name for this model.
    pub(super) fn predictor(&self, name: PredictorName) -> Result<Box<dyn Predictor>, PredictError> {
        match name {
            PredictorName::Own(own) => match self.own.get(&own) {
                Some(predictor) => Ok(Box::new(predictor.clone())),
                None => Err(PredictError::NotRegistered { predictor: own.to_string() }),
            },
            built_in => predictor(built_in, &self.model, &self.document.settings),
        }
    }
}
