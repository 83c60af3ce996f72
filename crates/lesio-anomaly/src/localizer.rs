//! A trained model with everything that belongs to it, in one file.

use std::path::Path;

use candle_core::{Device, Tensor};
use lesio_image::{FittedPreprocessing, Geometry, Image, Plane, PreparedPlane, SlicePosition, Volume};
use lesio_nn::{LoadError, SaveError, model_file};
use lesio_vae::{BuildError, Wanted};
use ndarray::{Array2, Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::catalogue::{PredictorName, PredictorSettings, predictor};
use crate::error::PredictError;
use crate::model::{Model, ModelConfig};
use crate::postprocessing::{PostProcessing, lowest_within};
use crate::predictor::Predictor;
use crate::shared::SharedPass;

const KIND: &str = "a localizer";
const VERSION: u32 = 1;

/// Slices scored in one batch: enough to fill two cores, few enough to stay in their caches.
const BATCH: usize = 16;

/// A model of normal images with its preprocessing, post-processing and provenance: scores volumes
/// and images on their own grids.
#[derive(Clone, Debug)]
pub struct Localizer {
    model: Model,
    document: Document,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    model: ModelConfig,
    preprocessing: FittedPreprocessing,
    settings: PredictorSettings,
    postprocessing: PostProcessing,
    #[serde(default)]
    calibration: Calibration,
    provenance: Provenance,
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
    /// The scores after post-processing.
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
    /// The scores after post-processing.
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
}

/// The maps of one predictor on the network's grid.
#[derive(Clone)]
struct GridMaps {
    planes: Vec<Array2<f32>>,
    /// The lowest score inside a foreground, for what the model was not shown: a predictor's scores may
    /// be negative, and 0 would stand out.
    lowest: f32,
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
            provenance,
        };
        Ok(Self { model, document })
    }

    /// With other settings of the predictors.
    #[must_use]
    pub fn settings(mut self, settings: PredictorSettings) -> Self {
        self.document.settings = settings;
        self
    }

    /// With another post-processing.
    #[must_use]
    pub fn postprocessing(mut self, postprocessing: PostProcessing) -> Self {
        self.document.postprocessing = postprocessing;
        self
    }

    /// With the scores of normal subjects.
    #[must_use]
    pub fn calibrated(mut self, calibration: Calibration) -> Self {
        self.document.calibration = calibration;
        self
    }

    /// Reads a localizer.
    ///
    /// # Errors
    /// A file that cannot be read, is no localizer's, is damaged, or does not fit its own configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, document): (_, Document) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        let refused = |reason: String| LoadError::Refused { path: path.to_owned(), reason };
        let model = Model::new(document.model.clone(), parameters, device).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => refused(other.to_string()),
        })?;
        let made = Self::new(model, document.preprocessing, document.provenance)
            .map_err(|error| refused(error.to_string()))?;
        if let Some(name) = document.calibration.fault() {
            return Err(refused(format!("the calibration of {name} is not in order")));
        }
        let made = made.settings(document.settings).postprocessing(document.postprocessing);
        Ok(made.calibrated(document.calibration))
    }

    /// Writes the localizer to one safetensors file. The same localizer gives the same bytes.
    ///
    /// # Errors
    /// A failure of the file system; what stood under the name still does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        model_file::save(path, KIND, VERSION, self.model.parameters(), &self.document)
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
    /// Slices without foreground are not shown to the model.
    ///
    /// # Errors
    /// A volume that cannot be preprocessed (empty, constant, NaN voxels, nothing in the foreground), a
    /// predictor that the model cannot serve, or a model of several channels.
    pub fn score(&self, volume: &Volume<f32>, names: &[PredictorName]) -> Result<ScoredVolume, PredictError> {
        let prepared = self.document.preprocessing.prepare(volume)?;
        self.check_channels(1)?;
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let (maps, reconstructions) = self.score_planes(&planes, names)?;
        let plane = self.document.preprocessing.config().plane;
        let mut scores = Vec::with_capacity(names.len());
        for (&predictor, maps) in names.iter().zip(maps) {
            let map = prepared.restore_map(&maps.planes, maps.lowest)?;
            let raw = quiet_outside(map, &prepared.foreground);
            let postprocessed = self.document.postprocessing.apply(&raw, &prepared.foreground, plane)?;
            scores.push(VolumeScore { predictor, raw, postprocessed });
        }
        let expected: Vec<Array2<f32>> =
            reconstructions.into_iter().map(|image| image.index_axis_move(Axis(0), 0)).collect();
        let mut reconstruction = prepared.restore_intensities(&expected)?;
        keep_outside(&mut reconstruction.data_mut(), volume.data(), prepared.foreground.data());
        Ok(ScoredVolume { scores, reconstruction, foreground: prepared.foreground })
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
        self.check_channels(image.channels())?;
        let prepared = self.document.preprocessing.prepare_image(image)?;
        let (maps, mut reconstructions) = self.score_planes(&[&prepared.plane], names)?;
        let foreground = as_volume(prepared.foreground.clone());
        let mut scores = Vec::with_capacity(names.len());
        for (&predictor, maps) in names.iter().zip(maps) {
            let map = prepared.restore_map(&maps.planes[0], maps.lowest)?;
            let raw = quiet_outside(as_volume(map), &foreground);
            let postprocessed = self.document.postprocessing.apply(&raw, &foreground, Plane::Axial)?;
            let (raw, postprocessed) = (as_plane(&raw), as_plane(&postprocessed));
            scores.push(ImageScore { predictor, raw, postprocessed });
        }
        let reconstruction = reconstructions.pop().unwrap_or_else(|| Array3::zeros((0, 0, 0)));
        let mut reconstruction = prepared.restore_intensities(&reconstruction)?.into_data();
        for (mut channel, own) in reconstruction.outer_iter_mut().zip(image.data().outer_iter()) {
            keep_outside(&mut channel, &own, &prepared.foreground);
        }
        let reconstruction = Image::new(reconstruction);
        Ok(ScoredImage { scores, reconstruction, foreground: prepared.foreground })
    }

    /// Maps of prepared slices by predictor, and the slices' reconstructions.
    fn score_planes(
        &self,
        planes: &[&PreparedPlane],
        names: &[PredictorName],
    ) -> Result<(Vec<GridMaps>, Vec<Array3<f32>>), PredictError> {
        let shape = self.model.image_shape();
        let (height, width) = (shape.height, shape.width);
        let predictors: Vec<Box<dyn Predictor>> = names
            .iter()
            .map(|&name| predictor(name, &self.model, &self.document.settings))
            .collect::<Result<_, _>>()?;
        let expected = predictors.iter().fold(Wanted::NOTHING, |all, one| all.union(one.wants()));
        let unseen = vec![Array2::zeros((height, width)); planes.len()];
        let mut maps = vec![GridMaps { planes: unseen, lowest: f32::INFINITY }; names.len()];
        let mut reconstructions = vec![Array3::zeros((shape.channels, height, width)); planes.len()];
        let seen: Vec<usize> =
            (0..planes.len()).filter(|&k| planes[k].mask.iter().any(|&inside| inside)).collect();
        let reconstructor = self.model.reconstructor();
        for batch in seen.chunks(BATCH) {
            let values: Vec<f32> = batch.iter().flat_map(|&k| planes[k].input.iter().copied()).collect();
            let dims = (batch.len(), shape.channels, height, width);
            let images = Tensor::from_vec(values, dims, &Device::Cpu)?;
            let pass = SharedPass::new(&images, expected);
            for (predictor, maps) in predictors.iter().zip(&mut maps) {
                let scores: Vec<f32> = predictor.score_shared(&pass)?.flatten_all()?.to_vec1()?;
                for (&k, score) in batch.iter().zip(scores.chunks_exact(height * width)) {
                    for ((out, &value), &inside) in maps.planes[k].iter_mut().zip(score).zip(&planes[k].mask) {
                        *out = value;
                        if inside {
                            maps.lowest = maps.lowest.min(value);
                        }
                    }
                }
            }
            let expected: Vec<f32> = pass.reconstruction(&reconstructor)?.flatten_all()?.to_vec1()?;
            for (&k, image) in batch.iter().zip(expected.chunks_exact(shape.len())) {
                reconstructions[k].iter_mut().zip(image).for_each(|(out, &value)| *out = value);
            }
        }
        for maps in &mut maps {
            if !maps.lowest.is_finite() {
                maps.lowest = 0.0;
            }
            for (k, plane) in maps.planes.iter_mut().enumerate() {
                if seen.binary_search(&k).is_err() {
                    plane.fill(maps.lowest);
                }
            }
        }
        Ok((maps, reconstructions))
    }

    fn check_channels(&self, channels: usize) -> Result<(), PredictError> {
        let found = self.document.preprocessing.config().input_channels(channels);
        let expected = self.model.image_shape().channels;
        if found == expected { Ok(()) } else { Err(PredictError::Channels { found, expected }) }
    }
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

/// Sets what is outside the foreground to the lowest score inside.
fn quiet_outside(mut map: Volume<f32>, foreground: &Volume<bool>) -> Volume<f32> {
    let lowest = lowest_within(map.data(), foreground.data());
    ndarray::Zip::from(map.data_mut()).and(foreground.data()).for_each(|value, &inside| {
        if !inside {
            *value = lowest;
        }
    });
    map
}

/// A plane as a volume of one axial slice: its columns are the first axis.
fn as_volume<T>(plane: Array2<T>) -> Volume<T> {
    Volume::new(plane.reversed_axes().insert_axis(Axis(2)), Geometry::default())
}

/// The plane of a volume made by [`as_volume`].
fn as_plane(volume: &Volume<f32>) -> Array2<f32> {
    volume.data().index_axis(Axis(2), 0).reversed_axes().as_standard_layout().into_owned()
}
