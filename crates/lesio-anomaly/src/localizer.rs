//! A trained model with everything that belongs to it, in one file.

use std::path::Path;

use candle_core::{Device, Tensor};
use lesio_image::{
    FittedPreprocessing, Image, ImageError, Plane, PreparedImage, PreparedPlane, PreparedVolume,
    SlicePosition, Volume,
};
use lesio_nn::{LoadError, Precision, SaveError, model_file};
use lesio_settings::{SettingError, in_range};
use lesio_vae::{BuildError, Wanted};
use ndarray::{Array2, Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::catalogue::{PredictorName, PredictorSettings, check_unique, predictor};
use crate::error::PredictError;
use crate::location::{LocationBuilder, LocationCalibration};
use crate::model::{Model, ModelConfig};
use crate::postprocessing::{LengthUnit, PostProcessing, as_plane, as_volume, image_geometry, quiet_outside};
use crate::predictor::Predictor;
use crate::resolution::{Resolution, ResolutionDoubt};
use crate::shared::SharedPass;

const KIND: &str = "a localizer";
const VERSION: u32 = 2;
/// Had filters in pixels of the image, and no chosen predictor.
const VERSION_IN_PIXELS: u32 = 1;

/// Slices scored in one batch: enough to fill two cores, few enough to stay in their caches.
const BATCH: usize = 16;

/// A model of normal images with its preprocessing, post-processing and provenance: scores volumes
/// and images on their own grids.
#[derive(Clone, Debug)]
pub struct Localizer {
    model: Model,
    document: Document,
    /// Saved as tensors beside the model's.
    locations: LocationCalibration,
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
    provenance: Provenance,
}

/// The predictor that validation data chose among those of a model: the one of the highest average precision on
/// slices with lesions, after post-processing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChosenPredictor {
    /// The predictor.
    pub predictor: PredictorName,
    /// Its average precision on the validation data, 0 to 1.
    pub average_precision: f64,
    /// Validation subjects with a lesion, at least 1.
    pub subjects: usize,
}

impl ChosenPredictor {
    /// A choice by these figures. A test set must never make one.
    #[must_use]
    pub fn new(predictor: PredictorName, average_precision: f64, subjects: usize) -> Self {
        Self { predictor, average_precision, subjects }
    }

    /// Refuses an average precision outside of 0 to 1, and a choice by no subject.
    ///
    /// # Errors
    /// Names the figure.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("average precision", self.average_precision, 0.0..=1.0)?;
        in_range("subjects with a lesion", self.subjects, 1..=usize::MAX)
    }
}

/// Where a localizer comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Provenance {
    /// Version of lesio that trained it.
    pub lesio: String,
    /// Seed of its training.
    pub seed: u64,
    /// Checksums of training data and configuration.
    pub data: String,
    /// Whatever the caller noted, by name.
    pub notes: std::collections::BTreeMap<String, String>,
}

impl Provenance {
    /// The provenance of a training by this version of lesio.
    #[must_use]
    pub fn new(seed: u64, data: impl Into<String>) -> Self {
        let lesio = env!("CARGO_PKG_VERSION").to_owned();
        Self { lesio, seed, data: data.into(), notes: std::collections::BTreeMap::new() }
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, name: &str, text: impl Into<String>) -> Self {
        self.notes.insert(name.to_owned(), text.into());
        self
    }
}

/// The maps of one predictor for a volume, on its own grid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeScore {
    /// The predictor.
    pub predictor: PredictorName,
    /// Its scores, unfiltered; outside the foreground the lowest inside.
    pub raw: Volume<f32>,
    /// The scores after post-processing; before that, counted in deviations from what is usual at their
    /// place where that is known ([`Localizer::located`]).
    pub postprocessed: Volume<f32>,
}

/// The maps of one predictor for an image, `[row, column]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageScore {
    /// The predictor.
    pub predictor: PredictorName,
    /// Its scores, unfiltered; outside the foreground the lowest inside.
    pub raw: Array2<f32>,
    /// The scores after post-processing; before that, counted in deviations from what is usual at their
    /// place where that is known ([`Localizer::located`]).
    pub postprocessed: Array2<f32>,
}

/// Everything a localizer says of a volume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredVolume {
    /// One score per predictor asked for.
    pub scores: Vec<VolumeScore>,
    /// What the model takes for normal, in the volume's intensities.
    pub reconstruction: Volume<f32>,
    /// What belongs to the object.
    pub foreground: Volume<bool>,
    /// How finely the volume is sampled.
    pub resolution: Resolution,
    /// Why the calibration may not hold at this resolution; `None` where it should, and where nothing is known of
    /// the calibration subjects.
    pub doubt: Option<ResolutionDoubt>,
}

/// Everything a localizer says of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredImage {
    /// One score per predictor asked for.
    pub scores: Vec<ImageScore>,
    /// What the model takes for normal, in the image's intensities.
    pub reconstruction: Image<f32>,
    /// What belongs to the object, `[row, column]`.
    pub foreground: Array2<bool>,
    /// How finely the image is sampled.
    pub resolution: Resolution,
    /// As [`ScoredVolume::doubt`].
    pub doubt: Option<ResolutionDoubt>,
}

/// The maps of one predictor on the network's grid.
#[derive(Clone, Debug)]
struct GridMaps {
    planes: Vec<Array2<f32>>,
    /// The lowest score inside a foreground, for what the model was not shown: a predictor's scores may
    /// be negative, and 0 would stand out.
    lowest: f32,
}

impl GridMaps {
    /// Sets the planes that the model was not shown to the lowest score inside a foreground.
    fn quiet_unseen(&mut self, planes: &[&PreparedPlane]) {
        let inside = |(map, plane): (&Array2<f32>, &&PreparedPlane)| {
            let scores = map.iter().zip(&plane.mask).filter(|&(_, &inside)| inside);
            scores.map(|(&score, _)| score).fold(f32::INFINITY, f32::min)
        };
        let lowest = self.planes.iter().zip(planes).filter(|(_, plane)| is_seen(plane)).map(inside);
        let lowest = lowest.fold(f32::INFINITY, f32::min);
        self.lowest = if lowest.is_finite() { lowest } else { 0.0 };
        for (map, plane) in self.planes.iter_mut().zip(planes) {
            if !is_seen(plane) {
                map.fill(self.lowest);
            }
        }
    }
}

/// Whether a slice is shown to the model.
fn is_seen(plane: &PreparedPlane) -> bool {
    plane.mask.iter().any(|&inside| inside)
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
            provenance,
        };
        Ok(Self { model, document, locations: LocationCalibration::default() })
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
            predictor(chosen.predictor, &self.model, &self.document.settings)?;
        }
        self.document.chosen = chosen;
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
            self.model = Model::new(config.clone(), self.model.parameters().clone(), device)?;
            self.document.model = config;
        }
        Ok(self)
    }

    /// Reads a localizer.
    ///
    /// One of version 1 works as it did: its filters are in pixels of the image. A warning says that its calibration
    /// holds only for images of the resolution that it was made on.
    ///
    /// # Errors
    /// A file that cannot be read, is no localizer's, is damaged, or does not fit its own configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let load = |version| model_file::load(path, KIND, version, model_file::DEFAULT_LIMIT);
        let (tensors, document): (_, Document) = match load(VERSION) {
            Err(other @ LoadError::Kind { .. }) => match load(VERSION_IN_PIXELS) {
                // Neither: what is looked for is the newest.
                Err(LoadError::Kind { .. }) => return Err(other),
                loaded => loaded?,
            },
            loaded => loaded?,
        };
        let refused = |reason: String| LoadError::Refused { path: path.to_owned(), reason };
        let (parameters, locations) = LocationCalibration::split(tensors).map_err(refused)?;
        let model = Model::new(document.model.clone(), parameters, device).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => refused(other.to_string()),
        })?;
        let made = Self::new(model, document.preprocessing, document.provenance)
            .map_err(|error| refused(error.to_string()))?;
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
        made.choosing(document.chosen).map_err(|error| refused(error.to_string()))
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
        tensors.extend(self.model.parameters().clone());
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

    /// The predictors that this model can serve.
    #[must_use]
    pub fn predictors(&self) -> Vec<PredictorName> {
        PredictorName::ALL.into_iter().filter(|name| name.works_with(&self.model)).collect()
    }

    /// Scores a volume of any size and orientation; the maps are on its grid.
    ///
    /// Slices without foreground are not shown to the model. A volume that is sampled much more finely or coarsely than
    /// those that calibrated the localizer is warned of, see [`ScoredVolume::doubt`].
    ///
    /// # Errors
    /// A volume that cannot be preprocessed (empty, constant, NaN voxels, nothing in the foreground), a
    /// predictor that the model cannot serve or that is named twice, or a model of several channels.
    pub fn score(&self, volume: &Volume<f32>, names: &[PredictorName]) -> Result<ScoredVolume, PredictError> {
        let scored = self.volume_maps(volume, names)?;
        let mut scores = Vec::with_capacity(names.len());
        for maps in scored.maps() {
            let raw = maps.raw()?;
            let postprocessed = maps.postprocessed(raw.clone())?;
            scores.push(VolumeScore { predictor: maps.predictor(), raw, postprocessed });
        }
        let reconstruction = scored.reconstruction(volume)?;
        let (resolution, doubt) = (scored.resolution, scored.doubt.clone());
        Ok(ScoredVolume { scores, reconstruction, foreground: scored.into_foreground(), resolution, doubt })
    }

    /// Scores a volume as [`Localizer::score`] does, and makes its maps one at a time, as they are asked for: where a
    /// volume is large, its maps need not be in memory together.
    ///
    /// # Errors
    /// As [`Localizer::score`].
    pub fn volume_maps(
        &self,
        volume: &Volume<f32>,
        names: &[PredictorName],
    ) -> Result<VolumeMaps<'_>, PredictError> {
        let prepared = self.document.preprocessing.prepare(volume)?;
        self.check_channels(1)?;
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let (maps, reconstructions) = self.score_planes(&planes, names)?;
        let resolution = Resolution::of_volume(volume, self.document.preprocessing.config().plane);
        let doubt = self.doubt(&resolution);
        let maps = names.iter().copied().zip(maps).collect();
        Ok(VolumeMaps { localizer: self, prepared, maps, reconstructions, resolution, doubt })
    }

    /// As [`Localizer::volume_maps`], of an image.
    ///
    /// # Errors
    /// As [`Localizer::score_image`].
    pub fn image_maps(
        &self,
        image: &Image<f32>,
        names: &[PredictorName],
    ) -> Result<ImageMaps<'_>, PredictError> {
        self.check_channels(image.channels())?;
        let prepared = self.document.preprocessing.prepare_image(image)?;
        let (maps, mut reconstructions) = self.score_planes(&[&prepared.plane], names)?;
        let reconstruction = reconstructions.pop().unwrap_or_else(|| Array3::zeros((0, 0, 0)));
        let geometry = image_geometry(&prepared.plane.placement)?;
        let foreground = as_volume(prepared.foreground.clone(), geometry);
        let resolution = Resolution::of_image(&prepared.plane.placement);
        let doubt = self.doubt(&resolution);
        let maps = names.iter().copied().zip(maps).collect();
        Ok(ImageMaps { localizer: self, prepared, foreground, maps, reconstruction, resolution, doubt })
    }

    /// Scores an image of any size; the maps are on its grid.
    ///
    /// # Errors
    /// As [`Localizer::score`]; also an image of another number of channels than the model's.
    pub fn score_image(
        &self,
        image: &Image<f32>,
        names: &[PredictorName],
    ) -> Result<ScoredImage, PredictError> {
        let scored = self.image_maps(image, names)?;
        let mut scores = Vec::with_capacity(names.len());
        for maps in scored.maps() {
            let raw = maps.raw()?;
            let postprocessed = maps.postprocessed(raw.clone())?;
            scores.push(ImageScore { predictor: maps.predictor(), raw, postprocessed });
        }
        let reconstruction = scored.reconstruction(image)?;
        let (resolution, doubt) = (scored.resolution, scored.doubt.clone());
        Ok(ScoredImage { scores, reconstruction, foreground: scored.into_foreground(), resolution, doubt })
    }

    /// Adds the slices of a normal volume, or the normal slices of any, to what is usual by place. The
    /// volume must not have been trained on. `normal` is asked for each slice in the order of
    /// [`Volume::plane`](lesio_image::Volume::plane) of the volume in RAS+.
    ///
    /// # Errors
    /// As [`Localizer::score`]; [`PredictError::Config`] for a builder on another grid.
    pub fn add_normal_volume(
        &self,
        builder: &mut LocationBuilder,
        volume: &Volume<f32>,
        normal: impl Fn(usize) -> bool,
    ) -> Result<(), PredictError> {
        let prepared = self.document.preprocessing.prepare(volume)?;
        self.check_channels(1)?;
        let planes = prepared.planes.iter().enumerate().filter(|(index, _)| normal(*index));
        self.add_normal_planes(builder, &planes.map(|(_, plane)| plane).collect::<Vec<_>>())
    }

    /// As [`Localizer::add_normal_volume`], of a normal image.
    ///
    /// # Errors
    /// As [`Localizer::score_image`]; [`PredictError::Config`] for a builder on another grid.
    pub fn add_normal_image(
        &self,
        builder: &mut LocationBuilder,
        image: &Image<f32>,
    ) -> Result<(), PredictError> {
        self.check_channels(image.channels())?;
        let prepared = self.document.preprocessing.prepare_image(image)?;
        self.add_normal_planes(builder, &[&prepared.plane])
    }

    fn add_normal_planes(
        &self,
        builder: &mut LocationBuilder,
        planes: &[&PreparedPlane],
    ) -> Result<(), PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if builder.grid() != grid {
            let text = format!(
                "normal scores are gathered on a grid of {:?}, the model's is {grid:?}",
                builder.grid()
            );
            return Err(PredictError::Config(text));
        }
        let (maps, _) = self.score_planes(planes, &builder.names())?;
        for (place, maps) in maps.iter().enumerate() {
            for (map, plane) in maps.planes.iter().zip(planes).filter(|(_, plane)| is_seen(plane)) {
                builder.add(place, plane.position, map, &plane.mask);
            }
        }
        Ok(())
    }

    /// Maps of prepared slices by predictor, and the slices' reconstructions.
    fn score_planes(
        &self,
        planes: &[&PreparedPlane],
        names: &[PredictorName],
    ) -> Result<(Vec<GridMaps>, Vec<Array3<f32>>), PredictError> {
        check_unique(names)?;
        let shape = self.model.image_shape();
        let (height, width) = (shape.height, shape.width);
        let predictors: Vec<Box<dyn Predictor>> = names
            .iter()
            .map(|&name| predictor(name, &self.model, &self.document.settings))
            .collect::<Result<_, _>>()?;
        let expected = predictors.iter().fold(Wanted::NOTHING, |all, one| all.union(one.wants()));
        let unseen = vec![Array2::zeros((height, width)); planes.len()];
        let mut maps = vec![GridMaps { planes: unseen, lowest: 0.0 }; names.len()];
        let mut reconstructions = vec![Array3::zeros((shape.channels, height, width)); planes.len()];
        let seen: Vec<usize> = (0..planes.len()).filter(|&k| is_seen(planes[k])).collect();
        let reconstructor = self.model.reconstructor();
        for batch in seen.chunks(BATCH) {
            let values: Vec<f32> = batch.iter().flat_map(|&k| planes[k].input.iter().copied()).collect();
            let dims = (batch.len(), shape.channels, height, width);
            let images = Tensor::from_vec(values, dims, &Device::Cpu)?;
            let pass = SharedPass::new(&images, expected);
            for (predictor, maps) in predictors.iter().zip(&mut maps) {
                let scores: Vec<f32> = predictor.score_shared(&pass)?.flatten_all()?.to_vec1()?;
                for (&k, score) in batch.iter().zip(scores.chunks_exact(height * width)) {
                    maps.planes[k].iter_mut().zip(score).for_each(|(out, &value)| *out = value);
                }
            }
            let expected: Vec<f32> = pass.reconstruction(&reconstructor)?.flatten_all()?.to_vec1()?;
            for (&k, image) in batch.iter().zip(expected.chunks_exact(shape.len())) {
                reconstructions[k].iter_mut().zip(image).for_each(|(out, &value)| *out = value);
            }
        }
        maps.iter_mut().for_each(|maps| maps.quiet_unseen(planes));
        Ok((maps, reconstructions))
    }

    /// The maps in deviations from what is usual at each place, where that is known.
    fn standardized(
        &self,
        predictor: PredictorName,
        maps: &GridMaps,
        planes: &[&PreparedPlane],
    ) -> Option<GridMaps> {
        let normals = self.locations.get(predictor)?;
        let mut own = maps.clone();
        for (map, plane) in own.planes.iter_mut().zip(planes) {
            normals.standardize(plane.position, map);
        }
        own.quiet_unseen(planes);
        Some(own)
    }

    /// Why the calibration may not hold for an image of this resolution, which a warning says too.
    fn doubt(&self, resolution: &Resolution) -> Option<ResolutionDoubt> {
        let doubt = self.document.calibration.resolutions().doubt(resolution);
        if let Some(doubt) = &doubt {
            tracing::warn!("an image is not sampled as finely as those that calibrated the model: {doubt}");
        }
        doubt
    }

    fn check_channels(&self, channels: usize) -> Result<(), PredictError> {
        let found = self.document.preprocessing.config().input_channels(channels);
        let expected = self.model.image_shape().channels;
        if found == expected { Ok(()) } else { Err(PredictError::Channels { found, expected }) }
    }
}

/// A volume scored on the network's grid: makes the maps on the volume's own grid one at a time.
///
/// See [`Localizer::volume_maps`].
#[derive(Debug)]
pub struct VolumeMaps<'a> {
    resolution: Resolution,
    doubt: Option<ResolutionDoubt>,
    localizer: &'a Localizer,
    prepared: PreparedVolume,
    maps: Vec<(PredictorName, GridMaps)>,
    reconstructions: Vec<Array3<f32>>,
}

/// The maps of one predictor of [`VolumeMaps`].
#[derive(Clone, Copy, Debug)]
pub struct PredictorVolumeMaps<'a> {
    of: &'a VolumeMaps<'a>,
    predictor: PredictorName,
    maps: &'a GridMaps,
}

impl VolumeMaps<'_> {
    /// The resolution of what was scored.
    #[must_use]
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// Why the calibration may not hold at this resolution.
    #[must_use]
    pub fn doubt(&self) -> Option<&ResolutionDoubt> {
        self.doubt.as_ref()
    }

    /// The maps of each predictor, in the order in which they were asked for.
    pub fn maps(&self) -> impl Iterator<Item = PredictorVolumeMaps<'_>> {
        self.maps.iter().map(|(predictor, maps)| PredictorVolumeMaps {
            of: self,
            predictor: *predictor,
            maps,
        })
    }

    /// What belongs to the object.
    #[must_use]
    pub fn foreground(&self) -> &Volume<bool> {
        &self.prepared.foreground
    }

    /// What belongs to the object, alone.
    #[must_use]
    pub fn into_foreground(self) -> Volume<bool> {
        self.prepared.foreground
    }

    /// What the model takes for normal, in the intensities of the volume that was scored, which is shown itself outside
    /// the foreground.
    ///
    /// # Errors
    /// [`PredictError::Image`] for another shape than that of the volume that was scored.
    pub fn reconstruction(&self, volume: &Volume<f32>) -> Result<Volume<f32>, PredictError> {
        let foreground = self.prepared.foreground.data();
        if volume.shape() != self.prepared.foreground.shape() {
            return Err(unlike("volume", &volume.shape(), &self.prepared.foreground.shape()));
        }
        let expected: Vec<Array2<f32>> =
            self.reconstructions.iter().map(|image| image.index_axis(Axis(0), 0).to_owned()).collect();
        let mut reconstruction = self.prepared.restore_intensities(&expected)?;
        keep_outside(&mut reconstruction.data_mut(), volume.data(), foreground);
        Ok(reconstruction)
    }

    /// One slice of the reconstruction inside the foreground, as [`Volume::plane`] shows it of the volume in RAS+;
    /// `None` past the last. Outside the foreground it says nothing.
    ///
    /// # Errors
    /// None in practice: the slices are of the network's grid.
    pub fn reconstructed_slice(&self, index: usize) -> Result<Option<Array2<f32>>, PredictError> {
        let Some((slice, plane)) = self.reconstructions.get(index).zip(self.prepared.planes.get(index))
        else {
            return Ok(None);
        };
        let mut restored = plane.placement.to_image(&slice.index_axis(Axis(0), 0), 0.0)?;
        restored.mapv_inplace(|value| self.prepared.scale.inverse(value));
        Ok(Some(restored))
    }
}

impl PredictorVolumeMaps<'_> {
    /// The predictor.
    #[must_use]
    pub fn predictor(&self) -> PredictorName {
        self.predictor
    }

    /// Its scores, unfiltered: see [`VolumeScore::raw`].
    ///
    /// # Errors
    /// None in practice: the maps are of the network's grid.
    pub fn raw(&self) -> Result<Volume<f32>, PredictError> {
        self.restored(self.maps)
    }

    /// The scores after post-processing, in the memory of the raw map: see [`VolumeScore::postprocessed`].
    ///
    /// # Errors
    /// A map whose scores are not finite, and one of another shape than the volume.
    pub fn postprocessed(&self, raw: Volume<f32>) -> Result<Volume<f32>, PredictError> {
        let VolumeMaps { localizer, prepared, .. } = self.of;
        if raw.shape() != prepared.foreground.shape() {
            return Err(unlike("map", &raw.shape(), &prepared.foreground.shape()));
        }
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let before = match localizer.standardized(self.predictor, self.maps, &planes) {
            Some(maps) => {
                drop(raw);
                self.restored(&maps)?
            }
            None => raw,
        };
        let Document { preprocessing, postprocessing, .. } = &localizer.document;
        postprocessing.apply_to(before, &prepared.foreground, preprocessing.config().plane)
    }

    fn restored(&self, maps: &GridMaps) -> Result<Volume<f32>, PredictError> {
        let prepared = &self.of.prepared;
        let mut map = prepared.restore_map(&maps.planes, maps.lowest)?;
        quiet_outside(&mut map.data_mut(), prepared.foreground.data());
        Ok(map)
    }
}

/// An image scored on the network's grid: makes the maps on the image's own grid one at a time.
///
/// See [`Localizer::image_maps`].
#[derive(Debug)]
pub struct ImageMaps<'a> {
    resolution: Resolution,
    doubt: Option<ResolutionDoubt>,
    localizer: &'a Localizer,
    prepared: PreparedImage,
    foreground: Volume<bool>,
    maps: Vec<(PredictorName, GridMaps)>,
    reconstruction: Array3<f32>,
}

/// The maps of one predictor of [`ImageMaps`].
#[derive(Clone, Copy, Debug)]
pub struct PredictorImageMaps<'a> {
    of: &'a ImageMaps<'a>,
    predictor: PredictorName,
    maps: &'a GridMaps,
}

impl ImageMaps<'_> {
    /// The resolution of what was scored.
    #[must_use]
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// Why the calibration may not hold at this resolution.
    #[must_use]
    pub fn doubt(&self) -> Option<&ResolutionDoubt> {
        self.doubt.as_ref()
    }

    /// The maps of each predictor, in the order in which they were asked for.
    pub fn maps(&self) -> impl Iterator<Item = PredictorImageMaps<'_>> {
        self.maps.iter().map(|(predictor, maps)| PredictorImageMaps { of: self, predictor: *predictor, maps })
    }

    /// What belongs to the object, `[row, column]`.
    #[must_use]
    pub fn foreground(&self) -> &Array2<bool> {
        &self.prepared.foreground
    }

    /// What belongs to the object, alone.
    #[must_use]
    pub fn into_foreground(self) -> Array2<bool> {
        self.prepared.foreground
    }

    /// What the model takes for normal, in the intensities of the image that was scored, which is shown itself outside
    /// the foreground.
    ///
    /// # Errors
    /// [`PredictError::Image`] for another shape than that of the image that was scored.
    pub fn reconstruction(&self, image: &Image<f32>) -> Result<Image<f32>, PredictError> {
        let mut reconstruction = self.prepared.restore_intensities(&self.reconstruction)?.into_data();
        if reconstruction.dim() != image.data().dim() {
            return Err(unlike("image", image.data().shape(), reconstruction.shape()));
        }
        for (mut channel, own) in reconstruction.outer_iter_mut().zip(image.data().outer_iter()) {
            keep_outside(&mut channel, &own, &self.prepared.foreground);
        }
        Ok(Image::new(reconstruction))
    }
}

impl PredictorImageMaps<'_> {
    /// The predictor.
    #[must_use]
    pub fn predictor(&self) -> PredictorName {
        self.predictor
    }

    /// Its scores, unfiltered: see [`ImageScore::raw`].
    ///
    /// # Errors
    /// None in practice: the maps are of the network's grid.
    pub fn raw(&self) -> Result<Array2<f32>, PredictError> {
        Ok(as_plane(self.restored(self.maps)?))
    }

    /// The scores after post-processing, in the memory of the raw map: see [`ImageScore::postprocessed`].
    ///
    /// # Errors
    /// A map whose scores are not finite, and one of another shape than the image.
    pub fn postprocessed(&self, raw: Array2<f32>) -> Result<Array2<f32>, PredictError> {
        let ImageMaps { localizer, prepared, foreground, .. } = self.of;
        if raw.dim() != prepared.foreground.dim() {
            return Err(unlike("map", raw.shape(), prepared.foreground.shape()));
        }
        let before = match localizer.standardized(self.predictor, self.maps, &[&prepared.plane]) {
            Some(maps) => {
                drop(raw);
                self.restored(&maps)?
            }
            None => as_volume(raw, *foreground.geometry()),
        };
        Ok(as_plane(localizer.document.postprocessing.apply_to(before, foreground, Plane::Axial)?))
    }

    fn restored(&self, maps: &GridMaps) -> Result<Volume<f32>, PredictError> {
        let map = self.of.prepared.restore_map(&maps.planes[0], maps.lowest)?;
        let mut map = as_volume(map, *self.of.foreground.geometry());
        quiet_outside(&mut map.data_mut(), self.of.foreground.data());
        Ok(map)
    }
}

fn unlike(what: &'static str, found: &[usize], expected: &[usize]) -> PredictError {
    let (found, expected) = (found.to_vec(), expected.to_vec());
    ImageError::ShapeMismatch { what, found, expected }.into()
}

/// Shows the image itself outside the foreground, of which a model knows nothing.
fn keep_outside<D: ndarray::Dimension>(
    reconstruction: &mut ndarray::ArrayRef<f32, D>,
    image: &ndarray::ArrayRef<f32, D>,
    foreground: &ndarray::ArrayRef<bool, D>,
) {
    ndarray::Zip::from(reconstruction).and(image).and(foreground).for_each(|value, &own, &inside| {
        if !inside {
            *value = own;
        }
    });
}
