//! A trained model with everything that belongs to it, in one file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lesio_image::{
    FittedPreprocessing, ImageError, PreparedPlane, PreparedScan, PreprocessError, Scan, ScanError,
    SlicePosition, Volume,
};
use lesio_nn::{Device, ImageBatch, LoadError, ParameterSet, Precision, SaveError, model_file};
use lesio_vae::{BuildError, Wanted};
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use crate::calibration::{Calibration, Judgement};
use crate::catalogue::{PredictorSettings, check_unique, predictor};
use crate::chosen::ChosenPredictor;
use crate::error::PredictError;
use crate::loading::Loading;
use crate::location::{LocationBuilder, LocationCalibration};
use crate::maps::{GridMaps, MapParts, ScanMaps, ScoredScan, is_seen};
use crate::model::{Model, ModelConfig};
use crate::name::{OwnName, PredictorName};
use crate::postprocessing::{LengthUnit, PostProcessing, highest_within};
use crate::predictor::Predictor;
use crate::provenance::Provenance;
use crate::resolution::Resolution;
use crate::shared::SharedPass;

const KIND: &str = "a localizer";
const VERSION: u32 = 2;
/// Had filters in pixels of the image, and no chosen predictor.
const VERSION_IN_PIXELS: u32 = 1;

/// Slices scored in one batch: enough to fill two cores, few enough to stay in their caches.
const BATCH: usize = 16;

/// A model of normal images with its preprocessing, post-processing and provenance: scores volumes
/// and images on their own grids.
#[derive(Clone)]
pub struct Localizer {
    model: Model,
    document: Document,
    /// Saved as tensors beside the model's.
    locations: LocationCalibration,
    /// Predictors that are not built in.
    own: BTreeMap<OwnName, Arc<dyn Predictor>>,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    model: ModelConfig,
    preprocessing: FittedPreprocessing,
    settings: PredictorSettings,
    postprocessing: PostProcessing,
    #[serde(default)]
    calibration: Calibration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<ChosenPredictor>,
    /// Names of the channels, in the model's order, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    provenance: Provenance,
}

impl Localizer {
    /// A localizer of a trained model.
    ///
    /// # Errors
    /// [`PredictError::Config`] where model and preprocessing do not fit together: another grid, or a
    /// channel with the slice's position, which every predictor would score as if it were the image.
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
        Ok(Self { model, document, locations: LocationCalibration::default(), own: BTreeMap::new() })
    }

    /// With other settings of the predictors, which are checked when they are used and when the localizer is saved; what
    /// was calibrated or chosen with the old ones is dropped.
    #[must_use]
    pub fn settings(mut self, settings: PredictorSettings) -> Self {
        if settings != self.document.settings {
            self.document.calibration = Calibration::new();
            self.document.chosen = None;
            self.locations = LocationCalibration::default();
        }
        self.document.settings = settings;
        self
    }

    /// With another post-processing; what was calibrated or chosen on other maps is dropped. Its settings are checked
    /// where it is used, and when the localizer is saved.
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

    /// With what normal images score at each place: maps of the predictors it knows are counted in
    /// deviations from that before they are post-processed, and raw maps stay as they are. What was
    /// calibrated on other maps is dropped.
    ///
    /// # Errors
    /// [`PredictError::Config`] for places on another grid.
    pub fn located(mut self, locations: LocationCalibration) -> Result<Self, PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if !locations.fits(grid) {
            return Err(PredictError::Config(format!("places are on another grid than {grid:?}")));
        }
        if locations != self.locations {
            self.document.calibration = Calibration::new();
            self.document.chosen = None;
        }
        self.locations = locations;
        Ok(self)
    }

    /// With the scores of normal subjects, as this localizer gives them after post-processing.
    #[must_use]
    pub fn calibrated(mut self, calibration: Calibration) -> Self {
        self.document.calibration = calibration;
        self
    }

    /// With the predictor that validation data chose; `None` where none did.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`ChosenPredictor::validate`]; [`PredictError::Unsupported`] for a predictor that
    /// the model cannot serve.
    pub fn choosing(mut self, chosen: Option<ChosenPredictor>) -> Result<Self, PredictError> {
        if let Some(chosen) = &chosen {
            chosen.validate()?;
            // Says why where it cannot be made.
            self.predictor(chosen.predictor)?;
        }
        self.document.chosen = chosen;
        Ok(self)
    }

    /// With the names of its channels, in the order of the model: a scan whose channels are named is then brought into this
    /// order, or refused. No name says that any order is right.
    ///
    /// # Errors
    /// [`PredictError::Preprocess`] for another number of names than channels, and for one that stands twice.
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

    /// With a model that multiplies in another precision on the CPU: see
    /// [`VaeConfig::precision`](lesio_vae::VaeConfig::precision). A denoiser gains nothing by it and stays as it is.
    /// Calibrations were made in the precision before; they hold as far as maps are the same.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn in_precision(mut self, precision: Precision, device: &Device) -> Result<Self, BuildError> {
        if let ModelConfig::Vae { config, beta } = self.model.config() {
            let config = ModelConfig::Vae { config: config.precision(precision), beta };
            self.model = Model::new(&config, &self.model.parameters()?, device)?;
            self.document.model = config;
        }
        Ok(self)
    }

    /// With a predictor of one's own, which then has a part in all that built-in ones have: calibration, ensembles,
    /// choice and saving.
    ///
    /// # Errors
    /// [`PredictError::Setting`] for a name that no predictor of one's own may have, see [`PredictorName::own`].
    pub fn with_predictor(mut self, own: Arc<dyn Predictor>) -> Result<Self, PredictError> {
        match PredictorName::own(&own.name())? {
            PredictorName::Own(name) => self.own.insert(name, own),
            _ => None,
        };
        Ok(self)
    }

    /// Reads a localizer of built-in models and predictors.
    ///
    /// # Errors
    /// As [`Localizer::load_with`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        Self::load_with(path, &Loading::new(device))
    }

    /// Reads a localizer, whose model and predictors may be one's own.
    ///
    /// One of version 1 works as it did: its filters are in pixels of the image. A warning says that its calibration
    /// holds only for images of the resolution that it was made on.
    ///
    /// # Errors
    /// A file that cannot be read, is no localizer's, is damaged, or does not fit its own configuration; a model or
    /// a predictor that is not built in and for which `loading` has no function, by name.
    pub fn load_with(path: impl AsRef<Path>, loading: &Loading) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let load = |version| model_file::load(path, KIND, version, model_file::DEFAULT_LIMIT);
        let (tensors, mut document): (_, Document) = match load(VERSION) {
            Err(other @ LoadError::Kind { .. }) => match load(VERSION_IN_PIXELS) {
                // Neither: what is looked for is the newest.
                Err(LoadError::Kind { .. }) => return Err(other),
                loaded => loaded?,
            },
            loaded => loaded?,
        };
        let refused = |reason: String| LoadError::Refused { path: path.to_owned(), reason };
        let (parameters, locations) = LocationCalibration::split(tensors).map_err(refused)?;
        if let (Some(precision), ModelConfig::Vae { config, .. }) =
            (loading.chosen_precision(), &mut document.model)
        {
            config.precision = precision;
        }
        let model = make_model(&document.model, &parameters, loading).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => refused(other.to_string()),
        })?;
        // The model has its own.
        drop(parameters);
        let mut made = Self::new(model, document.preprocessing, document.provenance)
            .map_err(|error| refused(error.to_string()))?;
        for (name, make) in loading.predictor_makers() {
            let own = make(&made.model).map_err(|error| refused(format!("predictor {name}: {error}")))?;
            made.own.insert(name, own);
        }
        document.settings.validate().map_err(|error| refused(error.within("settings").to_string()))?;
        let filters = &document.postprocessing;
        filters.validate().map_err(|error| refused(error.within("postprocessing").to_string()))?;
        if filters.unit == LengthUnit::ImagePixels {
            tracing::warn!(
                "{path:?} has filters in pixels of the image: its calibration holds only for images of the resolution \
                 that it was made on; train again for filters in millimetres"
            );
        }
        let made = made.settings(document.settings).postprocessing(document.postprocessing);
        let made = made.located(locations).map_err(|error| refused(error.to_string()))?;
        let made = made.calibrated(document.calibration);
        let made = made.channels(document.channels).map_err(|error| refused(error.to_string()))?;
        let missing = made.unknown_predictors();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Err(refused(format!(
                "it knows predictors that are not built in, and for which no function was registered: {names}"
            )));
        }
        made.choosing(document.chosen).map_err(|error| refused(error.to_string()))
    }

    /// Names of predictors that something was calibrated for, and that are neither built in nor registered.
    fn unknown_predictors(&self) -> Vec<String> {
        let named = self.document.calibration.predictors().chain(self.locations.predictors());
        let unknown =
            named.filter(|name| matches!(name, PredictorName::Own(own) if !self.own.contains_key(own)));
        unknown.map(|name| name.to_string()).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// The predictor of a name for this model.
    fn predictor(&self, name: PredictorName) -> Result<Box<dyn Predictor>, PredictError> {
        match name {
            PredictorName::Own(own) => match self.own.get(&own) {
                Some(predictor) => Ok(Box::new(predictor.clone())),
                None => Err(PredictError::NotRegistered { predictor: own.to_string() }),
            },
            built_in => predictor(built_in, &self.model, &self.document.settings),
        }
    }

    /// Writes the localizer to one safetensors file. The same localizer gives the same bytes.
    ///
    /// # Errors
    /// A failure of the file system, or settings or filters with which it could not be read again; what stood under the
    /// name still does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let path = path.as_ref();
        let refused = |reason: String| SaveError::Content { path: path.to_owned(), reason };
        let Document { settings, postprocessing, .. } = &self.document;
        settings.validate().map_err(|error| refused(error.within("settings").to_string()))?;
        postprocessing.validate().map_err(|error| refused(error.within("postprocessing").to_string()))?;
        let mut tensors = self.locations.tensors();
        tensors.extend(self.model.parameters()?);
        model_file::save(path, KIND, VERSION, &tensors, &self.document)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How images come to the network's grid.
    #[must_use]
    pub fn preprocessing(&self) -> &FittedPreprocessing {
        &self.document.preprocessing
    }

    /// The settings of the predictors.
    #[must_use]
    pub fn predictor_settings(&self) -> &PredictorSettings {
        &self.document.settings
    }

    /// How maps are filtered.
    #[must_use]
    pub fn map_filters(&self) -> &PostProcessing {
        &self.document.postprocessing
    }

    /// What normal subjects score, after post-processing.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.document.calibration
    }

    /// The predictor that validation data chose for this model; `None` where no validation data held a lesion.
    #[must_use]
    pub fn chosen(&self) -> Option<&ChosenPredictor> {
        self.document.chosen.as_ref()
    }

    /// What normal images score at each place of the network's grid.
    #[must_use]
    pub fn locations(&self) -> &LocationCalibration {
        &self.locations
    }

    /// Where the localizer comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.document.provenance
    }

    /// The names of its channels, in the model's order; none where they are not known.
    #[must_use]
    pub fn channel_names(&self) -> &[String] {
        &self.document.channels
    }

    /// The predictors that this model can serve.
    #[must_use]
    pub fn predictors(&self) -> Vec<PredictorName> {
        let variational = self.model.variational().is_some();
        let built_in = PredictorName::ALL.into_iter().filter(|name| variational || !name.is_variational());
        built_in.chain(self.own.keys().copied().map(PredictorName::Own)).collect()
    }

    /// Scores a scan of any size and orientation; the maps are on its grid.
    ///
    /// Slices without foreground are not shown to the model. A scan that is sampled much more finely or coarsely than
    /// those that calibrated the localizer is warned of, see [`ScoredScan::doubt`]. Channels that have names are taken in
    /// the model's order.
    ///
    /// # Errors
    /// A scan that cannot be preprocessed (empty, constant, NaN voxels, nothing in the foreground), of another number
    /// of channels than the model's or of channels of other names; a predictor that the model cannot serve or that is
    /// named twice.
    pub fn score(&self, scan: &Scan, names: &[PredictorName]) -> Result<ScoredScan, PredictError> {
        self.maps(scan, names)?.all(scan)
    }

    /// Scores several scans, whose slices go through the model in common batches; the result is that of
    /// [`Localizer::score`] for each. Their maps are in memory together.
    ///
    /// # Errors
    /// As [`Localizer::score`], for the first scan that fails.
    pub fn score_all<'s>(
        &self,
        scans: impl IntoIterator<Item = &'s Scan>,
        names: &[PredictorName],
    ) -> Result<Vec<ScoredScan>, PredictError> {
        let scans: Vec<&Scan> = scans.into_iter().collect();
        let prepared: Vec<PreparedScan> =
            scans.iter().map(|scan| self.prepare(scan)).collect::<Result<_, _>>()?;
        let planes: Vec<&PreparedPlane> = prepared.iter().flat_map(|own| &own.planes).collect();
        let (maps, reconstructions) = self.score_planes(&planes, names)?;
        let mut maps: Vec<_> = maps.into_iter().map(Vec::into_iter).collect();
        let mut reconstructions = reconstructions.into_iter();
        let mut scored = Vec::with_capacity(scans.len());
        for (scan, prepared) in scans.into_iter().zip(prepared) {
            let count = prepared.planes.len();
            let own = maps.iter_mut().map(|maps| maps.by_ref().take(count).collect()).collect();
            let expected = reconstructions.by_ref().take(count).collect();
            scored.push(self.gather(scan, prepared, names, own, expected).all(scan)?);
        }
        Ok(scored)
    }

    /// Scores a scan as [`Localizer::score`] does, and makes its maps one at a time, as they are asked for: where a
    /// volume is large, its maps need not be in memory together.
    ///
    /// # Errors
    /// As [`Localizer::score`].
    pub fn maps(&self, scan: &Scan, names: &[PredictorName]) -> Result<ScanMaps<'_>, PredictError> {
        let prepared = self.prepare(scan)?;
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let (maps, reconstructions) = self.score_planes(&planes, names)?;
        Ok(self.gather(scan, prepared, names, maps, reconstructions))
    }

    /// Scores each channel of a scan by itself, unfiltered, in the model's order of channels; `None` where the predictor
    /// has no score of a single channel.
    ///
    /// # Errors
    /// As [`Localizer::score`].
    pub fn channel_maps(
        &self,
        scan: &Scan,
        name: PredictorName,
    ) -> Result<Option<Vec<Volume<f32>>>, PredictError> {
        let prepared = self.prepare(scan)?;
        let predictor = self.predictor(name)?;
        let shape = self.model.image_shape();
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let mut channels =
            vec![vec![Array2::zeros((shape.height, shape.width)); planes.len()]; shape.channels];
        let is_known = self.each_batch(&planes, predictor.wants(), |batch, pass| {
            let Some(scores) = predictor.score_channels(pass)? else { return Ok(false) };
            check_scores(&*predictor, &scores, batch.len() * shape.len())?;
            for (&k, image) in batch.iter().zip(scores.chunks_exact(shape.len())) {
                for (channel, score) in channels.iter_mut().zip(image.chunks_exact(shape.pixels())) {
                    channel[k].iter_mut().zip(score).for_each(|(out, &value)| *out = value);
                }
            }
            Ok(true)
        })?;
        if !is_known {
            return Ok(None);
        }
        let restored = channels.into_iter().map(|own| GridMaps::new(own, &planes).restored(&prepared));
        restored.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Says of a map that this localizer made whether anything in it is abnormal: by its highest score inside the
    /// foreground, against the highest scores of the normal subjects that calibrated it (post-processed maps). `level`, 0 to
    /// 1, is the chance of a false alarm for a normal subject.
    ///
    /// # Errors
    /// [`PredictError::NotCalibrated`], [`PredictError::Setting`] for the level, [`PredictError::Image`] for a foreground of
    /// another shape.
    pub fn judge(
        &self,
        predictor: PredictorName,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        level: f64,
    ) -> Result<Judgement, PredictError> {
        let normals = self.document.calibration.get(predictor);
        let normals =
            normals.ok_or_else(|| PredictError::NotCalibrated { predictor: predictor.to_string() })?;
        if map.shape() != foreground.shape() {
            let (found, expected) = (foreground.shape().to_vec(), map.shape().to_vec());
            return Err(ImageError::ShapeMismatch { what: "foreground", found, expected }.into());
        }
        Ok(normals.judge(highest_within(map.data(), foreground.data()), level)?)
    }

    /// Adds the slices of a normal scan, or the normal slices of any, to what is usual by place. The
    /// scan must not have been trained on. `normal` is asked for each slice in the order of [`Scan::slice`].
    ///
    /// # Errors
    /// As [`Localizer::score`]; [`PredictError::Config`] for a builder on another grid.
    pub fn add_normal(
        &self,
        builder: &mut LocationBuilder,
        scan: &Scan,
        normal: impl Fn(usize) -> bool,
    ) -> Result<(), PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if builder.grid() != grid {
            let text = format!(
                "normal scores are gathered on a grid of {:?}, the model's is {grid:?}",
                builder.grid()
            );
            return Err(PredictError::Config(text));
        }
        let prepared = self.prepare(scan)?;
        let planes = prepared.planes.iter().enumerate().filter(|(index, _)| normal(*index));
        let planes: Vec<&PreparedPlane> = planes.map(|(_, plane)| plane).collect();
        let (maps, _) = self.score_planes(&planes, &builder.names())?;
        for (place, maps) in maps.iter().enumerate() {
            for (map, plane) in maps.iter().zip(&planes).filter(|(_, plane)| is_seen(plane)) {
                builder.add(place, plane.position, map, &plane.mask);
            }
        }
        Ok(())
    }

    /// A scan on the network's grid, its channels in the model's order.
    fn prepare(&self, scan: &Scan) -> Result<PreparedScan, PredictError> {
        let found = self.document.preprocessing.config().input_channels(scan.channels());
        let expected = self.model.image_shape().channels;
        if found != expected {
            return Err(PredictError::Channels { found, expected });
        }
        let own = &self.document.channels;
        if own.len() > 1 && !scan.names().is_empty() && scan.names() != own {
            let ordered = scan.clone().with_channels(own).map_err(PreprocessError::from)?;
            return Ok(self.document.preprocessing.prepare(&ordered)?);
        }
        Ok(self.document.preprocessing.prepare(scan)?)
    }

    fn gather(
        &self,
        scan: &Scan,
        prepared: PreparedScan,
        names: &[PredictorName],
        maps: Vec<Vec<Array2<f32>>>,
        reconstructions: Vec<Array3<f32>>,
    ) -> ScanMaps<'_> {
        let Document { preprocessing, postprocessing, calibration, channels, .. } = &self.document;
        let plane = scan.plane(preprocessing.config().plane);
        let resolution = Resolution::of_scan(scan, plane, &prepared);
        let doubt = calibration.resolutions().doubt(&resolution);
        if let Some(doubt) = &doubt {
            tracing::warn!("an image is not sampled as finely as those that calibrated the model: {doubt}");
        }
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let maps = maps.into_iter().map(|maps| GridMaps::new(maps, &planes));
        let maps = names.iter().copied().zip(maps).collect();
        let parts = MapParts { locations: &self.locations, postprocessing, channels, plane };
        ScanMaps::new(parts, prepared, maps, reconstructions, resolution, doubt)
    }

    /// Hands on the slices that are shown to the model, batch by batch, as a pass whose readers want these gradients; ends
    /// early where `each` says so by `false`.
    fn each_batch(
        &self,
        planes: &[&PreparedPlane],
        wanted: Wanted,
        mut each: impl FnMut(&[usize], &SharedPass<'_>) -> Result<bool, PredictError>,
    ) -> Result<bool, PredictError> {
        let shape = self.model.image_shape();
        let seen: Vec<usize> = (0..planes.len()).filter(|&k| is_seen(planes[k])).collect();
        let mut values = Vec::with_capacity(BATCH.min(seen.len()) * shape.len());
        for batch in seen.chunks(BATCH) {
            values.clear();
            batch.iter().for_each(|&k| values.extend(&planes[k].input));
            let pass = SharedPass::new(ImageBatch::new(&values, shape)?, wanted);
            if !each(batch, &pass)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Maps of prepared slices by predictor, and the slices' reconstructions.
    #[allow(clippy::type_complexity, reason = "maps by predictor and slice, reconstructions by slice")]
    fn score_planes(
        &self,
        planes: &[&PreparedPlane],
        names: &[PredictorName],
    ) -> Result<(Vec<Vec<Array2<f32>>>, Vec<Array3<f32>>), PredictError> {
        check_unique(names)?;
        let shape = self.model.image_shape();
        let (height, width) = (shape.height, shape.width);
        let predictors: Vec<Box<dyn Predictor>> =
            names.iter().map(|&name| self.predictor(name)).collect::<Result<_, _>>()?;
        let wanted = predictors.iter().fold(Wanted::NOTHING, |all, one| all.union(one.wants()));
        let mut maps = vec![vec![Array2::zeros((height, width)); planes.len()]; names.len()];
        let mut reconstructions = vec![Array3::zeros((shape.channels, height, width)); planes.len()];
        let reconstructor = self.model.reconstructor();
        self.each_batch(planes, wanted, |batch, pass| {
            for (predictor, maps) in predictors.iter().zip(&mut maps) {
                let scores = predictor.score_shared(pass)?;
                check_scores(&**predictor, &scores, batch.len() * shape.pixels())?;
                for (&k, score) in batch.iter().zip(scores.chunks_exact(shape.pixels())) {
                    maps[k].iter_mut().zip(score).for_each(|(out, &value)| *out = value);
                }
            }
            let expected = pass.reconstruction(&reconstructor)?;
            for (&k, image) in batch.iter().zip(expected.chunks_exact(shape.len())) {
                reconstructions[k].iter_mut().zip(image).for_each(|(out, &value)| *out = value);
            }
            Ok(true)
        })?;
        Ok((maps, reconstructions))
    }
}

/// Refuses another number of scores than there are pixels: a predictor may be the caller's own.
fn check_scores(predictor: &dyn Predictor, scores: &[f32], expected: usize) -> Result<(), PredictError> {
    let found = scores.len();
    if found == expected {
        return Ok(());
    }
    Err(PredictError::Scores { predictor: predictor.name(), found, expected })
}

/// The model of a file, by the function for its name where it is not built in.
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
