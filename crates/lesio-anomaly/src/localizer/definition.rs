//! A trained model with its preprocessing, post-processing, calibration and provenance.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lesio_image::{FittedPreprocessing, ScanError, SlicePosition};
use lesio_nn::{Device, Precision};
use lesio_vae::BuildError;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::chosen::ChosenPredictor;
use crate::error::PredictError;
use crate::localizer_ensemble::LocalizerEnsemble;
use crate::model::{Model, ModelConfig};
use crate::own_name::OwnName;
use crate::position::PositionCalibration;
use crate::postprocessing::PostProcessing;
use crate::predictor::Predictor;
use crate::predictors::{PredictorName, predictor};
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
    /// The other localizers of the ensemble.
    pub(super) others: Vec<Localizer>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ensemble: Option<LocalizerEnsemble>,
    /// The documents of the other localizers of the ensemble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) others: Vec<Document>,
}

impl Document {
    /// The same without the selected predictors.
    pub(super) fn without_choices(mut self) -> Self {
        self.chosen = None;
        self.others = self.others.into_iter().map(Self::without_choices).collect();
        self
    }
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
            ensemble: None,
            others: Vec::new(),
        };
        let position_normals = PositionCalibration::default();
        Ok(Self { model, document, position_normals, own: BTreeMap::new(), others: Vec::new() })
    }

    /// Replaces the settings of the predictors, which are checked when they are used and when the localizer is saved.
    /// Drops calibration, selected predictor and ensemble, which are valid only for the old settings.
    #[must_use]
    pub fn with_settings(mut self, settings: PredictorSettings) -> Self {
        if settings != self.document.settings {
            self.drop_calibration();
            self.position_normals = PositionCalibration::default();
        }
        self.document.settings = settings;
        self
    }

    /// Replaces the post-processing, which is checked when it is used and when the localizer is saved. Drops
    /// calibration, selected predictor and ensemble, which are valid only for the old maps.
    #[must_use]
    pub fn with_postprocessing(mut self, postprocessing: PostProcessing) -> Self {
        let own = &self.document.postprocessing;
        if (PostProcessing { smallest: own.smallest, ..postprocessing.clone() }) != *own {
            self.drop_calibration();
        }
        self.document.postprocessing = postprocessing;
        self
    }

    /// Normalizes scores by position: before post-processing, maps of the predictors in `normals` are converted to
    /// standard deviations from the mean of normal scores at each position. Raw maps are unchanged. Drops calibration,
    /// selected predictor and ensemble, which are valid only for the old maps.
    ///
    /// # Errors
    /// [`PredictError::Config`] for positions on another grid.
    pub fn with_position_normals(mut self, normals: PositionCalibration) -> Result<Self, PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if !normals.fits(grid) {
            return Err(PredictError::Config(format!(
                "the normal scores by position are on another grid than {grid:?}"
            )));
        }
        if normals != self.position_normals {
            self.drop_calibration();
        }
        self.position_normals = normals;
        Ok(self)
    }

    /// Adds an ensemble as the predictor `ensemble`; it takes part in calibration, selection and saving like any other
    /// predictor. `others` are the localizers of members beside this one, in the order of
    /// [`EnsembleMember::localizer`](crate::EnsembleMember::localizer). They are saved in the same file. In place of
    /// another ensemble, or of one with other localizers, it drops the calibration of the predictor `ensemble`, and the
    /// selected predictor if it is the ensemble, which are valid only for the old maps.
    ///
    /// # Errors
    /// [`PredictError::Ensemble`] for a rule that does not fit the members; [`PredictError::Config`] for a member of a
    /// localizer or predictor that does not exist, and for localizers with other channels or another slice plane, or
    /// with an ensemble of their own; those of [`Localizer::fingerprint`].
    pub fn with_ensemble(
        mut self,
        ensemble: LocalizerEnsemble,
        others: Vec<Localizer>,
    ) -> Result<Self, PredictError> {
        let refused = |text: String| Err(PredictError::Config(text));
        ensemble.config.check(ensemble.members.len())?;
        for member in &ensemble.members {
            let (name, predictor) = (&member.name, member.predictor);
            let of = match member.localizer.checked_sub(1) {
                None => Some(&self),
                Some(other) => others.get(other),
            };
            let Some(of) = of else {
                let (found, count) = (member.localizer, others.len());
                return refused(format!("member {name} is of localizer {found}, the last is {count}"));
            };
            if predictor == PredictorName::Ensemble {
                return refused(format!("member {name} is itself an ensemble"));
            }
            // Fails with the reason if it cannot be made.
            of.predictor(predictor)?;
        }
        for other in &others {
            if other.document.ensemble.is_some() {
                return refused("a localizer of an ensemble has an ensemble of its own".to_owned());
            }
            let input = |of: &Self| (of.model.image_shape().channels, of.document.channels.clone());
            if input(other) != input(&self) {
                let [found, expected] = [input(other), input(&self)];
                return refused(format!(
                    "the channels of the localizers differ: {found:?}, expected {expected:?}"
                ));
            }
            let plane = |of: &Self| of.document.preprocessing.config().plane;
            if plane(other) != plane(&self) {
                let [found, expected] = [plane(other), plane(&self)];
                return refused(format!(
                    "the slice planes of the localizers differ: {found:?}, expected {expected:?}"
                ));
            }
        }
        // Documents do not hold the weights, so fingerprints are compared.
        let prints = |of: &[Self]| of.iter().map(Self::fingerprint).collect::<Result<Vec<_>, _>>();
        // Without an ensemble so far, as on loading, what is known of the predictor is about this one.
        let is_another = match &self.document.ensemble {
            Some(own) => *own != ensemble || prints(&self.others)? != prints(&others)?,
            None => false,
        };
        if is_another {
            self = self.without_ensemble();
        }
        self.document.ensemble = Some(ensemble);
        self.document.others = others.iter().map(|other| other.document.clone()).collect();
        self.others = others;
        Ok(self)
    }

    /// Drops the ensemble with its other localizers, its calibration, and the selected predictor if it is the ensemble.
    #[must_use]
    pub fn without_ensemble(mut self) -> Self {
        self.document.ensemble = None;
        self.document.others = Vec::new();
        self.others = Vec::new();
        self.document.calibration.remove(PredictorName::Ensemble);
        self.document.chosen.take_if(|chosen| chosen.predictor == PredictorName::Ensemble);
        self
    }

    /// The ensemble, if the localizer has one.
    #[must_use]
    pub fn ensemble(&self) -> Option<&LocalizerEnsemble> {
        self.document.ensemble.as_ref()
    }

    /// The other localizers of its ensemble.
    #[must_use]
    pub fn others(&self) -> &[Self] {
        &self.others
    }

    /// Drops everything that was made from the maps as they were.
    fn drop_calibration(&mut self) {
        self.document.calibration = Calibration::new();
        self.document.chosen = None;
        self.drop_ensemble();
    }

    /// Drops everything that was made from the maps of one predictor.
    fn drop_predictor(&mut self, name: PredictorName) {
        self.document.calibration.remove(name);
        self.position_normals.remove(name);
        self.document.chosen.take_if(|chosen| chosen.predictor == name);
        let ensemble = self.document.ensemble.as_ref();
        if ensemble.is_some_and(|ensemble| ensemble.predictors_of(0).contains(&name)) {
            // It holds the normal scores of its members.
            self.drop_ensemble();
            self.drop_predictor(PredictorName::Ensemble);
        }
    }

    fn drop_ensemble(&mut self) {
        self.document.ensemble = None;
        self.document.others.clear();
        self.others.clear();
    }

    /// Sets the calibration: the scores of normal subjects by this localizer after post-processing.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.document.calibration = calibration;
        self
    }

    /// Sets the predictor that was selected on validation data, or `None`.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`ChosenPredictor::validate`]; [`PredictError::Unsupported`] for a predictor that
    /// the model does not support.
    pub fn with_chosen(mut self, chosen: Option<ChosenPredictor>) -> Result<Self, PredictError> {
        if let Some(chosen) = &chosen {
            chosen.validate()?;
            if chosen.predictor == PredictorName::Ensemble && self.document.ensemble.is_none() {
                return Err(PredictError::NoEnsemble);
            } else if chosen.predictor != PredictorName::Ensemble {
                // Fails with the reason if it cannot be made.
                self.predictor(chosen.predictor)?;
            }
        }
        self.document.chosen = chosen;
        Ok(self)
    }

    /// Sets the names of the channels in the order of the model. Several channels of a scan with names are then brought
    /// into this order; other names are an error. A single channel of another name is accepted, since a file may have any
    /// name. Without names, any order is accepted.
    ///
    /// # Errors
    /// [`PredictError::ChannelNames`] for another number of names than channels, and for a name that occurs twice.
    pub fn with_channel_names(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, PredictError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let (found, expected) = (names.len(), self.model.image_shape().channels);
        if !names.is_empty() && found != expected {
            return Err(PredictError::ChannelNames(ScanError::Names { found, expected }));
        }
        if let Some(name) =
            names.iter().enumerate().find_map(|(k, name)| names[..k].contains(name).then_some(name))
        {
            return Err(PredictError::ChannelNames(ScanError::Repeated { name: name.clone() }));
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
    pub fn with_precision(mut self, precision: Precision, device: &Device) -> Result<Self, BuildError> {
        if let ModelConfig::Vae { config, beta } = self.model.config() {
            let config = ModelConfig::Vae { config: config.precision(precision), beta };
            self.model = Model::new(&config, &self.model.parameters()?, device)?;
            self.document.model = config;
        }
        let others = std::mem::take(&mut self.others).into_iter();
        self.others =
            others.map(|other| other.with_precision(precision, device)).collect::<Result<_, _>>()?;
        self.document.others = self.others.iter().map(|other| other.document.clone()).collect();
        Ok(self)
    }

    /// Adds a user-defined predictor. Like built-in ones, it takes part in calibration, ensembles, selection and
    /// saving. In place of another predictor of its name, it drops what is valid only for the old maps: the normal
    /// scores of this name, also those by position, the selected predictor if it has this name, and an ensemble with
    /// such a member, with the ensemble's own normal scores and selection.
    ///
    /// # Errors
    /// [`PredictError::Setting`] for an invalid name, see [`PredictorName::own`].
    pub fn with_predictor(mut self, own: Arc<dyn Predictor>) -> Result<Self, PredictError> {
        let name = PredictorName::own(&own.name())?;
        if let PredictorName::Own(key) = name
            && self.own.insert(key, own).is_some()
        {
            self.drop_predictor(name);
        }
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
    pub fn settings(&self) -> &PredictorSettings {
        &self.document.settings
    }

    /// The post-processing of maps.
    #[must_use]
    pub fn postprocessing(&self) -> &PostProcessing {
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

    /// The predictors that this model supports, with the ensemble if there is one.
    #[must_use]
    pub fn predictors(&self) -> Vec<PredictorName> {
        let built_in = PredictorName::ALL.into_iter().filter(|name| name.is_served_by(&self.model));
        let ensemble = self.document.ensemble.as_ref().map(|_| PredictorName::Ensemble);
        built_in.chain(self.own.keys().copied().map(PredictorName::Own)).chain(ensemble).collect()
    }

    /// The predictor of a name for this model.
    pub(super) fn predictor(&self, name: PredictorName) -> Result<Box<dyn Predictor>, PredictError> {
        match name {
            PredictorName::Own(own) => match self.own.get(&own) {
                Some(predictor) => Ok(Box::new(predictor.clone())),
                None => Err(PredictError::NotRegistered { predictor: own.to_string() }),
            },
            // Its maps are those of its members.
            PredictorName::Ensemble => Err(PredictError::NoEnsemble),
            built_in => predictor(built_in, &self.model, &self.predictor_settings()),
        }
    }

    /// The settings, with the range of the model's inputs where it is known.
    fn predictor_settings(&self) -> PredictorSettings {
        let settings = self.document.settings.clone();
        let clip = self.document.preprocessing.config().clip.filter(|[low, high]| low < high);
        let range = settings.range.or(clip);
        settings.range(range)
    }
}
