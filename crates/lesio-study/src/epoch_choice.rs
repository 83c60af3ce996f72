//! The choice of a training's epoch by the lesions of validation images.

use lesio_anomaly::{Model, ModelConfig, PredictError, PredictorSettings, predictor};
use lesio_image::{FittedPreprocessing, PreparedPlane};
use lesio_metrics::{MetricError, PixelCurve};
use lesio_nn::{Batch, Device, EngineError, Engines, ImageBatch, Objective, ParameterSet, Terms};
use lesio_settings::named;
use lesio_vae::{BuildError, Examples, ExamplesError};
use ndarray::Array2;
use rayon::prelude::*;

use crate::error::{StudyError, TruthError};
use crate::normal_slices::has_foreground;
use crate::predictor_choice::usual_predictor;
use crate::subject::Subject;

/// How the epoch is chosen whose parameters a model gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpochChoice {
    /// By the lowest validation loss. The default, since it needs no lesions. The loss of restorers and segmenters is
    /// that of synthetic anomalies; after a long training it may still fall while real lesions are detected worse.
    #[default]
    Loss,
    /// By the highest average precision on the lesions of the validation subjects.
    Lesions,
}

named!(EpochChoice, "choice of the epoch", { "loss" => Self::Loss, "lesions" => Self::Lesions });

/// Name of the part of validation losses that states the average precision on lesions.
pub(crate) const PRECISION: &str = "average precision on lesions";

/// Slices of validation subjects with their lesions, on a network's grid. They choose the epoch of a training by the
/// average precision of the model's usual predictor: the logits of a segmenter, otherwise the absolute error. All pixels
/// of the foreground are pooled, and maps are raw.
///
/// There are up to 256 slices with a lesion and as many without, spread evenly over all.
#[derive(Clone, Debug)]
pub struct LesionSlices {
    slices: Examples,
    /// Which pixels are abnormal, slice after slice.
    truth: Vec<bool>,
}

/// Most slices with and without a lesion: more would take a considerable part of an epoch.
const MOST: usize = 256;
/// Slices that are scored at once.
const AT_ONCE: usize = 16;

/// A slice on the network's grid and its abnormal pixels there.
type Slice = (PreparedPlane, Array2<bool>);

impl LesionSlices {
    /// The slices of subjects whose truth is known.
    ///
    /// # Errors
    /// For a subject that cannot be preprocessed or whose truth does not match its image, and
    /// [`StudyError::Nothing`] if no slice has a lesion.
    pub fn new(preprocessing: &FittedPreprocessing, subjects: &[Subject]) -> Result<Self, StudyError> {
        let all: Vec<Vec<Slice>> =
            subjects.par_iter().map(|subject| slices(preprocessing, subject)).collect::<Result<_, _>>()?;
        let is_abnormal = |slice: &Slice| slice.1.iter().any(|&inside| inside);
        let (abnormal, normal): (Vec<_>, Vec<_>) = all.into_iter().flatten().partition(is_abnormal);
        let Some((first, _)) = abnormal.first() else {
            let what = "no validation slice has a lesion, which is needed to choose the epoch by".to_owned();
            return Err(StudyError::Nothing { what });
        };
        let (channels, height, width) = first.input.dim();
        let mut chosen =
            Self { slices: Examples::new(lesio_nn::Shape::new(channels, height, width)), truth: Vec::new() };
        for (plane, truth) in spread(&abnormal).chain(spread(&normal)) {
            let image: Vec<f32> = plane.input.iter().copied().collect();
            let region: Vec<bool> = plane.mask.iter().copied().collect();
            chosen.slices.push_region(&image, &region)?;
            chosen.truth.extend(truth.iter());
        }
        Ok(chosen)
    }

    /// Number of slices.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Every so many of the slices, to measure the speed of a training.
    pub(crate) fn thinned(&self, every: usize) -> Result<Self, ExamplesError> {
        let pixels = self.slices.shape().pixels();
        let slices = self.slices.thinned(every)?;
        let truth = self.truth.chunks_exact(pixels).step_by(every.max(1)).flatten().copied().collect();
        Ok(Self { slices, truth })
    }

    /// The average precision of a model; 0 if its maps are not finite, as after an update that went too far, so that
    /// the training continues and another epoch is chosen.
    fn average_precision(&self, model: &Model) -> Result<f64, ChoiceError> {
        let predictor = predictor(usual_predictor(model), model, &PredictorSettings::default())?;
        let (shape, count) = (self.slices.shape(), self.slices.len());
        let mut pixels = PixelCurve::new();
        let mut images = Vec::new();
        for start in (0..count).step_by(AT_ONCE) {
            let batch = start..(start + AT_ONCE).min(count);
            images.clear();
            batch.clone().for_each(|slice| images.extend_from_slice(self.slices.image(slice)));
            let maps = predictor.score(ImageBatch::new(&images, shape).map_err(PredictError::from)?)?;
            for (slice, map) in batch.zip(maps.chunks_exact(shape.pixels())) {
                let truth = &self.truth[slice * shape.pixels()..][..shape.pixels()];
                let region = self.slices.region(slice);
                let inside = |pixel: &usize| region.is_none_or(|region| region[*pixel]);
                let (scores, abnormal): (Vec<f32>, Vec<bool>) =
                    (0..shape.pixels()).filter(inside).map(|pixel| (map[pixel], truth[pixel])).unzip();
                match pixels.update(&scores, &abnormal) {
                    Err(MetricError::NotANumber { .. }) => return Ok(0.0),
                    updated => updated?,
                }
            }
        }
        Ok(pixels.rank()?.average_precision())
    }

    fn checksum(&self) -> u32 {
        let bytes: Vec<u8> = self.truth.iter().map(|&inside| u8::from(inside)).collect();
        self.slices.checksum() ^ crc32fast::hash(&bytes).rotate_left(16)
    }
}

/// The slices of a subject with enough foreground; none if its truth is unknown.
fn slices(preprocessing: &FittedPreprocessing, subject: &Subject) -> Result<Vec<Slice>, StudyError> {
    let Some(truth) = subject.truth()? else { return Ok(Vec::new()) };
    let failed = |source| StudyError::Preprocess { case: subject.id.clone(), source };
    let planes = preprocessing.prepare(&subject.scan).map_err(failed)?.planes;
    let placed = subject.scan.placed(truth.into_owned());
    let plane = subject.scan.plane(preprocessing.config().plane);
    let mut found = Vec::new();
    for (index, prepared) in planes.into_iter().enumerate() {
        let Some(truth) = placed.upright_plane(plane, index) else { continue };
        let size = |source| StudyError::Truth { case: subject.id.clone(), source: TruthError::Size(source) };
        let abnormal = prepared.placement.mask_to_grid(&truth).map_err(size)?;
        if has_foreground(&prepared) {
            found.push((prepared, abnormal));
        }
    }
    Ok(found)
}

/// At most [`MOST`] slices, spread evenly.
fn spread(slices: &[Slice]) -> impl Iterator<Item = &Slice> {
    let count = slices.len().min(MOST);
    (0..count).map(move |place| &slices[place * slices.len() / count])
}

/// An objective whose epochs are compared by the lesions of validation images, if there are any.
pub(crate) struct ByLesions<'a, O> {
    pub(crate) objective: O,
    pub(crate) lesions: Option<&'a LesionSlices>,
    pub(crate) config: &'a ModelConfig,
    pub(crate) device: &'a Device,
}

/// Why a model could not be measured on lesions.
#[derive(Debug, thiserror::Error)]
enum ChoiceError {
    #[error("the model could not be made")]
    Build(#[from] BuildError),
    #[error("the model could not score the validation lesions")]
    Score(#[from] PredictError),
    #[error("the average precision on validation lesions could not be computed")]
    Metric(#[from] MetricError),
}

impl<O: Objective<N>, const N: usize> Objective<N> for ByLesions<'_, O> {
    fn samples(&self) -> usize {
        self.objective.samples()
    }

    fn learn(&mut self, engines: &mut Engines<N>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        self.objective.learn(engines, batch)
    }

    fn validate(&mut self, engines: &mut Engines<N>) -> Result<Option<Terms>, EngineError> {
        let terms = self.objective.validate(engines)?;
        let Some(lesions) = self.lesions else { return Ok(terms) };
        let mut parameters = ParameterSet::new();
        for engine in engines.iter() {
            parameters.extend(engine.parameters()?);
        }
        let model = Model::new(self.config, &parameters, self.device).map_err(ChoiceError::from);
        let precision = model.and_then(|model| lesions.average_precision(&model));
        let precision = precision.map_err(EngineError::objective)?;
        // Without normal validation images, there is no loss beside.
        Ok(Some(terms.unwrap_or_else(|| Terms::new(1.0 - precision)).with(PRECISION, precision)))
    }

    fn criterion(&self, validation: &Terms) -> f64 {
        match validation.part(PRECISION) {
            Some(precision) => 1.0 - precision,
            None => self.objective.criterion(validation),
        }
    }

    fn fingerprint(&self) -> String {
        let own = self.objective.fingerprint();
        match self.lesions {
            Some(lesions) => format!("{own}, lesions {:08x}", lesions.checksum()),
            None => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use lesio_image::{Image, Intensity, Preprocessing, Scan, Volume};
    use lesio_nn::{Parameter, Shape, TrainConfig};
    use lesio_vae::{AnomalySegmenter, DenoiserConfig, SyntheticAnomalies, SyntheticTraining, TaughtConfig};
    use ndarray::Array3;

    use super::*;
    use crate::training::{ModelTraining, TrainOptions, train};

    const SIZE: usize = 16;

    /// A picture of gentle waves, some with a bright square, and its truth.
    fn picture(number: usize) -> Subject {
        let has_lesion = number.is_multiple_of(2);
        let inside =
            |(row, column): (usize, usize)| has_lesion && (5..8).contains(&row) && (4..8).contains(&column);
        let values = Array3::from_shape_fn((1, SIZE, SIZE), |(_, row, column)| {
            let wave = 0.4 + 0.1 * (0.7 * row as f32 + number as f32).sin() * (0.5 * column as f32).cos();
            if inside((row, column)) { wave + 0.3 } else { wave }
        });
        let truth = Array3::from_shape_fn((SIZE, SIZE, 1), |(column, row, _)| inside((row, column)));
        let scan = Scan::from(Image::new(values));
        let truth = Volume::new(truth, *scan.geometry());
        Subject::new(format!("picture {number}"), scan, Some(truth))
    }

    fn preprocessing() -> FittedPreprocessing {
        let config = Preprocessing::new([SIZE, SIZE]).intensity(Intensity::Unchanged);
        config.fit([] as [Scan; 0]).unwrap()
    }

    #[test]
    fn the_model_is_that_of_the_epoch_that_detects_lesions_best() {
        let preprocessing = preprocessing();
        let subjects: Vec<Subject> = (0..8).map(picture).collect();
        let lesions = Arc::new(LesionSlices::new(&preprocessing, &subjects).unwrap());
        assert_eq!(lesions.slices(), 8);
        let mut examples = Examples::new(Shape::new(1, SIZE, SIZE));
        for number in 0..12 {
            let image = preprocessing.prepare(&picture(2 * number + 1).scan).unwrap().planes.remove(0).input;
            examples.push(image.as_slice().unwrap()).unwrap();
        }
        let network = DenoiserConfig::new(1, SIZE, SIZE).widths([4, 8]);
        let model = TaughtConfig::new(network, SyntheticAnomalies::natural());
        let config = TrainConfig::default().epochs(12).batch_size(4);
        let training = SyntheticTraining::default().train(config);
        let model = ModelTraining::Segmenter { model, training };
        let trained = |options: &TrainOptions| {
            let validation = examples.clone();
            train(&model, preprocessing.clone(), examples.clone(), validation, options, |_| {
                ControlFlow::Continue(())
            })
            .unwrap()
        };
        let by_lesions = trained(&TrainOptions::default().lesions(Some(lesions.clone())));
        let figures: Vec<f64> = by_lesions
            .history
            .iter()
            .map(|record| record.validation.as_ref().unwrap().part(PRECISION).unwrap())
            .collect();
        let highest = figures.iter().copied().fold(0.0, f64::max);
        let of = |localizer: &lesio_anomaly::Localizer| lesions.average_precision(localizer.model()).unwrap();
        assert_eq!(of(&by_lesions.localizer), highest, "{figures:?}");
        // Another epoch has the lowest loss here, and its model detects the lesions less well.
        let by_loss = trained(&TrainOptions::default());
        assert!(of(&by_loss.localizer) < highest, "{figures:?}");
        assert_ne!(by_lesions.localizer.provenance().data, by_loss.localizer.provenance().data);
    }

    /// After an update that went too far, values overflow; the next epochs may be sound again.
    #[test]
    fn a_model_whose_maps_overflow_detects_nothing() {
        let subjects: Vec<Subject> = (0..4).map(picture).collect();
        let lesions = LesionSlices::new(&preprocessing(), &subjects).unwrap();
        let network = DenoiserConfig::new(1, SIZE, SIZE).widths([4, 8]);
        let config = TaughtConfig::new(network, SyntheticAnomalies::natural());
        let sound = AnomalySegmenter::initial_parameters(&config, 1).unwrap();
        let mut far = ParameterSet::new();
        for (name, parameter) in sound.iter() {
            let values = parameter.values().iter().map(|value| value * 1e38).collect();
            far.insert(name, Parameter::new(parameter.shape().to_vec(), values).unwrap());
        }
        let precision = |parameters: &ParameterSet| {
            let model =
                Model::new(&ModelConfig::Segmenter { config: config.clone() }, parameters, &Device::Cpu)
                    .unwrap();
            lesions.average_precision(&model).unwrap()
        };
        assert!(precision(&sound) > 0.0);
        assert_eq!(precision(&far), 0.0);
    }

    #[test]
    fn choosing_needs_a_lesion() {
        let normal: Vec<Subject> = (0..3).map(|number| picture(2 * number + 1)).collect();
        let error = LesionSlices::new(&preprocessing(), &normal).unwrap_err();
        assert!(matches!(error, StudyError::Nothing { .. }));
        assert!(error.to_string().contains("no validation slice has a lesion"), "{error}");
    }

    #[test]
    fn slices_are_spread_evenly() {
        let subjects: Vec<Subject> = (0..2 * MOST + 4).map(picture).collect();
        let lesions = LesionSlices::new(&preprocessing(), &subjects).unwrap();
        assert_eq!(lesions.slices(), 2 * MOST);
        let part = lesions.thinned(4).unwrap();
        assert_eq!((part.slices(), part.truth.len()), (MOST / 2, MOST / 2 * SIZE * SIZE));
    }
}
