//! Saving and loading of localizers.

use std::error::Error;
use std::path::Path;

use lesio_nn::{Device, EngineError, LoadError, ParameterSet, SaveError, model_file};
use lesio_vae::{BuildError, ModelError};

use super::definition::{Document, Localizer};
use crate::error::PredictError;
use crate::loading::Loading;
use crate::model::{Model, ModelConfig};
use crate::position::{PREFIX, PositionCalibration};
use crate::postprocessing::LengthUnit;
use crate::predictors::PredictorName;

const KIND: &str = "a localizer";
const VERSION: u32 = 2;
/// Version 1 had filters in pixels of the image, and no selected predictor.
const VERSION_IN_PIXELS: u32 = 1;

impl Localizer {
    /// Loads a localizer with built-in models and predictors.
    ///
    /// # Errors
    /// Those of [`Localizer::load_with`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        Self::load_with(path, &Loading::new(device))
    }

    /// Loads a localizer, whose model and predictors may be user-defined.
    ///
    /// A file of version 1 works as before: its filters are in pixels of the image. A warning says that its calibration
    /// is valid only for images of the resolution of the calibration subjects.
    ///
    /// # Errors
    /// For a file that cannot be read, is not a localizer, is damaged, or contradicts its configuration, and for a
    /// user-defined model or predictor for which `loading` has no function. [`LoadError::Setting`] for a precision that
    /// the device does not compute in.
    pub fn load_with(path: impl AsRef<Path>, loading: &Loading) -> Result<Self, LoadError> {
        let path = path.as_ref();
        loading.check_precision().map_err(LoadError::Setting)?;
        let versions = VERSION_IN_PIXELS..=VERSION;
        let (version, tensors, mut document) =
            model_file::load_versions::<Document>(path, KIND, versions, model_file::DEFAULT_LIMIT)?;
        if version == VERSION_IN_PIXELS {
            // Such a file does not state the unit.
            document.postprocessing.unit = LengthUnit::ImagePixels;
        }
        let others = std::mem::take(&mut document.others);
        let ensemble = document.ensemble.take();
        let chosen = document.chosen.take();
        let (own, tensors) = split_members(tensors, others.len());
        let mut made = Self::assembled(path, own, document, loading)?;
        let refused =
            |error: PredictError| LoadError::Refused { path: path.to_owned(), reason: with_source(&error) };
        let nested = others.iter().any(|other| other.ensemble.is_some() || !other.others.is_empty());
        if nested || (ensemble.is_none() && !others.is_empty()) {
            let reason = "it contains localizers without an ensemble that uses them".to_owned();
            return Err(LoadError::Refused { path: path.to_owned(), reason });
        }
        if let Some(ensemble) = ensemble {
            let mut members = Vec::with_capacity(others.len());
            for (tensors, mut document) in tensors.into_iter().zip(others) {
                let chosen = document.chosen.take();
                let other = Self::assembled(path, tensors, document, loading)?;
                members.push(other.with_chosen(chosen).map_err(refused)?);
            }
            made = made.with_ensemble(ensemble, members).map_err(refused)?;
        }
        made.with_chosen(chosen).map_err(refused)
    }

    /// Makes a localizer of the tensors and the document of a file, without selected predictor and ensemble.
    fn assembled(
        path: &Path,
        tensors: ParameterSet,
        mut document: Document,
        loading: &Loading,
    ) -> Result<Self, LoadError> {
        let refused = |reason: String| LoadError::Refused { path: path.to_owned(), reason };
        let (parameters, normals) = PositionCalibration::split(tensors).map_err(refused)?;
        if let (Some(precision), ModelConfig::Vae { config, .. }) =
            (loading.chosen_precision(), &mut document.model)
        {
            config.precision = precision;
        }
        let model = make_model(&document.model, &parameters, loading).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => refused(other.to_string()),
        })?;
        // The checksum of the model is part of the weights.
        drop(parameters);
        let mut made = Self::new(model, document.preprocessing, document.provenance)
            .map_err(|error| refused(error.to_string()))?;
        for (name, make) in loading.predictor_makers() {
            let own = make(&made.model).map_err(|error| refused(format!("predictor {name}: {error}")))?;
            let found = own.name();
            if found != name.as_str() {
                return Err(refused(format!(
                    "predictor {name}: its function makes one with the name {found:?}"
                )));
            }
            made.own.insert(name, own);
        }
        document.settings.validate().map_err(|error| refused(error.within("settings").to_string()))?;
        let filters = &document.postprocessing;
        filters.validate().map_err(|error| refused(error.within("postprocessing").to_string()))?;
        if filters.unit == LengthUnit::ImagePixels {
            tracing::warn!(
                "{path:?} has filters in pixels of the image: its calibration holds only for images of the resolution \
                 that it was made on; train again for filters in millimeters"
            );
        }
        let made = made.with_settings(document.settings).with_postprocessing(document.postprocessing);
        let made = made.with_position_normals(normals).map_err(|error| refused(error.to_string()))?;
        let made = made.with_calibration(document.calibration);
        let made =
            made.with_channel_names(document.channels).map_err(|error| refused(with_source(&error)))?;
        let missing = made.unknown_predictors();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Err(refused(format!(
                "it uses predictors that are not built in, and no function was registered for them: {names}"
            )));
        }
        Ok(made)
    }

    /// A fingerprint of everything that affects maps, thresholds or p-values: weights, preprocessing, settings, filters,
    /// calibration. The selected predictor does not affect them. Use the fingerprint to check that results come from this
    /// localizer; it does not protect against forgery. It does not cover the code of user-defined models and predictors.
    ///
    /// # Errors
    /// If the device that holds the weights fails.
    pub fn fingerprint(&self) -> Result<String, PredictError> {
        let tensors = self.tensors().map_err(ModelError::from)?;
        let document = serde_json::to_string(&self.document.clone().without_choices()).unwrap_or_default();
        let (weights, document) = (tensors.checksum(), crc32fast::hash(document.as_bytes()));
        Ok(format!("weights {weights:08x}, document {document:08x}"))
    }

    /// Names of calibrated predictors that are neither built in nor registered.
    fn unknown_predictors(&self) -> Vec<String> {
        let named = self.document.calibration.predictors().chain(self.position_normals.predictors());
        let unknown =
            named.filter(|name| matches!(name, PredictorName::Own(own) if !self.own.contains_key(own)));
        unknown.map(|name| name.to_string()).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Writes the localizer to one safetensors file. The same localizer gives the same bytes.
    ///
    /// # Errors
    /// If the file system fails, and for settings, filters or names of parameters with which the file could not be
    /// loaded. An existing file then remains.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let path = path.as_ref();
        let refused = |reason: String| SaveError::Content { path: path.to_owned(), reason };
        let Document { settings, postprocessing, .. } = &self.document;
        settings.validate().map_err(|error| refused(error.within("settings").to_string()))?;
        postprocessing.validate().map_err(|error| refused(error.within("postprocessing").to_string()))?;
        for other in &self.others {
            let Document { settings, postprocessing, .. } = &other.document;
            settings.validate().map_err(|error| refused(error.within("settings").to_string()))?;
            postprocessing.validate().map_err(|error| refused(error.within("postprocessing").to_string()))?;
        }
        for own in std::iter::once(self).chain(&self.others) {
            // A file has other tensors of such names.
            let parameters = own.model.parameters()?;
            let reserved = [PREFIX, MEMBER];
            let taken = |name: &&str| reserved.iter().any(|prefix| name.starts_with(prefix));
            if let Some(name) = parameters.iter().map(|(name, _)| name).find(taken) {
                return Err(refused(format!(
                    "the parameter {name:?} of its model cannot be saved: names that begin with {PREFIX:?} or {MEMBER:?} are \
                     those of other tensors"
                )));
            }
        }
        model_file::save(path, KIND, VERSION, &self.tensors()?, &self.document)
    }

    /// The tensors of a file: its own, and those of the other localizers of the ensemble with a prefix.
    fn tensors(&self) -> Result<ParameterSet, EngineError> {
        let mut tensors = self.position_normals.tensors();
        tensors.extend(self.model.parameters()?);
        for (other, localizer) in self.others.iter().enumerate() {
            for (name, tensor) in localizer.tensors()?.iter() {
                tensors.insert(format!("{}{name}", member_prefix(other)), tensor.clone());
            }
        }
        Ok(tensors)
    }
}

fn with_source(error: &PredictError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// How names of the tensors of the other localizers of an ensemble begin.
const MEMBER: &str = "member.";

/// The prefix of the tensors of one of these.
fn member_prefix(other: usize) -> String {
    format!("{MEMBER}{}.", other + 1)
}

/// The tensors of the localizer itself, and those of the others of its ensemble.
fn split_members(tensors: ParameterSet, others: usize) -> (ParameterSet, Vec<ParameterSet>) {
    if others == 0 {
        return (tensors, Vec::new());
    }
    let prefixes: Vec<String> = (0..others).map(member_prefix).collect();
    let mut own = ParameterSet::new();
    let mut members = vec![ParameterSet::new(); others];
    for (name, tensor) in tensors.iter() {
        let found = prefixes
            .iter()
            .zip(&mut members)
            .find_map(|(prefix, set)| name.strip_prefix(prefix.as_str()).map(|rest| (set, rest)));
        match found {
            Some((set, rest)) => set.insert(rest, tensor.clone()),
            None => own.insert(name, tensor.clone()),
        }
    }
    (own, members)
}

/// The model of a file; a user-defined model is made by the function registered for its name.
fn make_model(
    config: &ModelConfig,
    parameters: &ParameterSet,
    loading: &Loading,
) -> Result<Model, BuildError> {
    let ModelConfig::Own { name, config: own } = config else {
        return Model::new(config, parameters, loading.device());
    };
    let make = loading.model_maker(name).ok_or_else(|| {
        BuildError::Networks(format!(
            "its model {name:?} is not built in, and no function was registered for it (Loading::model)"
        ))
    })?;
    let made = make(parameters, own, loading.device())
        .map_err(|error| BuildError::Networks(format!("its model {name:?} could not be made: {error}")))?;
    Ok(made.parameters(parameters.clone()).config(own.clone()).into())
}
