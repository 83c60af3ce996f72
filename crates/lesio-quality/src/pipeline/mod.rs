//! Trains models on slices with their truth; models of one data set share segmenters, candidates and REC-Net.

pub(crate) mod cache;
pub(crate) mod config;
pub(crate) mod progress;
pub(crate) mod segmenters;
mod steps;

use std::collections::BTreeSet;

use lesio_image::Orientation;
use lesio_nn::{Device, ParameterSet};
use ndarray::Axis;

use crate::config::{EstimatorConfig, Method};
use crate::conformal::{COVERAGE, Conformal};
use crate::error::InputError;
use crate::estimator::Estimator;
use crate::evaluation::Scored;
use crate::model::{QualityModel, QualityProvenance};
use crate::novelty::Novelty;
use crate::pipeline::cache::StepCache;
use crate::pipeline::config::PipelineConfig;
use crate::pipeline::progress::{PipelineError, PipelineObserver};
use crate::pipeline::segmenters::Segmenters;
use crate::reconstructor::RecNet;
use crate::samples::Samples;
use crate::slices::TrueSlice;

/// Fraction of held-out patients' images that count as usual.
const USUAL: f64 = 0.99;

/// Segmenters, candidates and REC-Net of one data set, from which models of any [`Method`] are trained.
///
/// Networks learn from training patients; held-out patients choose the epoch and calibrate intervals and limits.
#[derive(Debug)]
pub struct QualityPipeline {
    config: PipelineConfig,
    estimators: EstimatorConfig,
    cache: StepCache,
    device: Device,
    segmenters: Segmenters,
    reconstruction: ParameterSet,
    training: Samples,
    held_out: Samples,
    /// Patients for training, and held-out ones.
    patients: [BTreeSet<String>; 2],
    /// Least and greatest side of a pixel of the training images, in millimeters.
    pixel_millimeters: Option<[f64; 2]>,
    /// Orientation of the training images.
    orientation: Option<Orientation>,
}

impl QualityPipeline {
    /// Trains segmenters and REC-Net on a device, and makes candidates of training and held-out patients.
    ///
    /// Where slices hold segmentations by networks in use ([`TrueSlice::given`]), these are candidates, too.
    ///
    /// The method of `estimators` does not matter here. Models are trained and used on the same device.
    /// A cache that was begun on another device is continued; where rounding gives other candidates, what learns from them
    /// is trained anew.
    ///
    /// # Errors
    /// For an invalid configuration, for a grid that the segmenters or the networks of any [`Method`] cannot be made
    /// for, and for patients that are for training and held out ([`PipelineError::SharedPatients`]), before anything is
    /// trained; for slices that cannot be used, and if a training fails or is stopped.
    pub fn prepare(
        config: PipelineConfig,
        estimators: EstimatorConfig,
        training: &[TrueSlice],
        held_out: &[TrueSlice],
        cache: StepCache,
        device: &Device,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<Self, PipelineError> {
        // Before anything is trained: the networks that are trained last must not be the first to refuse the grid.
        config.validate()?;
        config.check_networks(&estimators)?;
        let patients = [training, held_out]
            .map(|slices| slices.iter().map(|slice| slice.patient.clone()).collect::<BTreeSet<_>>());
        check_apart(&patients)?;
        for slice in training.iter().chain(held_out) {
            let (found, expected) = (slice.image.len_of(Axis(0)), estimators.channels);
            if found != expected {
                return Err(PipelineError::of_slice(slice)(InputError::Channels { found, expected }));
            }
        }
        let (framing, classes) = (&estimators.framing, &estimators.classes);
        let segmenters = config.segmenters(&estimators, training, &cache, device, observer)?;
        let reconstruction = config.reconstruction(&estimators, training, &cache, device, observer)?;
        let per_bin = [config.training_per_bin, config.validation_per_bin];
        let mut pools = Vec::new();
        for (slices, per_bin) in [training, held_out].into_iter().zip(per_bin) {
            let candidates = config.candidates(&segmenters, slices, observer)?;
            pools.push(config.samples(framing, classes, slices, &candidates, per_bin)?);
        }
        let (pixel_millimeters, orientation) = (pixel_millimeters(training), orientation(training));
        let (held_out, training) = (pools.pop().unwrap_or_default(), pools.pop().unwrap_or_default());
        let device = device.clone();
        Ok(Self {
            config,
            estimators,
            cache,
            device,
            segmenters,
            reconstruction,
            training,
            held_out,
            patients,
            pixel_millimeters,
            orientation,
        })
    }

    /// Candidates of other patients, at most `per_bin` for each twentieth of the Dice.
    ///
    /// # Errors
    /// Slices that cannot be used.
    pub fn pool(
        &self,
        slices: &[TrueSlice],
        per_bin: usize,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<Samples, PipelineError> {
        let candidates = self.config.candidates(&self.segmenters, slices, observer)?;
        let (framing, classes) = (&self.estimators.framing, &self.estimators.classes);
        self.config.samples(framing, classes, slices, &candidates, per_bin)
    }

    /// Trains an estimator and calibrates it.
    ///
    /// # Errors
    /// If a training fails or is stopped.
    pub fn model(
        &self,
        method: Method,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<QualityModel, PipelineError> {
        let samples = [&self.training, &self.held_out];
        let mut train = |method, pretrained: &ParameterSet| {
            let config = self.estimators.clone().method(method);
            self.config.estimator(&config, pretrained, samples, &self.cache, &self.device, observer)
        };
        // The published methods stay as they were published: one view.
        let ((parameters, fingerprint), views) = match method {
            Method::SecondOpinion => {
                let (shape, _) = train(Method::ShapeOnly, &ParameterSet::new())?;
                (train(method, &shape)?, self.config.views)
            }
            _ => (train(method, &self.reconstruction)?, 1),
        };
        let config = self.estimators.clone().method(method).views(views);
        let estimator = Estimator::new(config.clone(), parameters, &self.device)?;
        let estimates = estimator.estimate_samples(&self.held_out, None)?;
        let conformal = (0..config.framing.labels.len())
            .map(|label| {
                let scored = Scored::of_label(&self.held_out, &estimates.dice, label);
                Conformal::fit(&scored.patients, &scored.predicted, &scored.truth, COVERAGE)
            })
            .collect::<Result<Vec<_>, _>>()?;
        conformal.iter().take(1).for_each(Conformal::warn_if_few);
        let novelty = Novelty::fit(
            self.training.iter().map(|sample| (sample.image.as_slice(), sample.segmentation.as_slice())),
            self.held_out.iter().map(|sample| {
                (sample.patient.as_str(), sample.image.as_slice(), sample.segmentation.as_slice())
            }),
            config.framing.grid[1],
            USUAL,
        )?;
        let reconstructor = RecNet::new(&config, self.reconstruction.clone(), &self.device)?;
        let [learned, chosen] = &self.patients;
        let provenance = QualityProvenance::new(self.config.seed, fingerprint).patients(learned, chosen);
        let model = QualityModel::new(estimator, reconstructor, conformal, novelty, provenance)?;
        Ok(model.with_pixel_millimeters(self.pixel_millimeters)?.with_orientation(self.orientation))
    }

    /// Samples of the training patients.
    #[must_use]
    pub fn training(&self) -> &Samples {
        &self.training
    }

    /// Samples of the held-out patients.
    #[must_use]
    pub fn held_out(&self) -> &Samples {
        &self.held_out
    }

    /// The segmenters, for what they give for a slice that they never saw.
    #[must_use]
    pub fn segmenters(&self) -> &Segmenters {
        &self.segmenters
    }
}

/// The number of patients that an error names.
const LISTED: usize = 10;

/// Returns an error for patients that are for training and held out.
fn check_apart([training, held_out]: &[BTreeSet<String>; 2]) -> Result<(), PipelineError> {
    let count = training.intersection(held_out).count();
    if count == 0 {
        return Ok(());
    }
    let patients = training.intersection(held_out).take(LISTED).cloned().collect();
    Err(PipelineError::SharedPatients { patients, count })
}

/// Least and greatest side of a pixel, in millimeters; `None` where a slice does not tell.
fn pixel_millimeters(slices: &[TrueSlice]) -> Option<[f64; 2]> {
    let mut range: Option<[f64; 2]> = None;
    for slice in slices {
        let own = slice.pixel_millimeters?;
        let [least, most] = range.unwrap_or([own; 2]);
        range = Some([least.min(own), most.max(own)]);
    }
    range
}

/// The orientation of all slices; `None` where one does not tell it, and, with a warning, where they differ.
fn orientation(slices: &[TrueSlice]) -> Option<Orientation> {
    let first = slices.first()?.orientation?;
    let other = slices.iter().map(|slice| slice.orientation).find(|other| *other != Some(first));
    let Some(other) = other else { return Some(first) };
    if let Some(other) = other {
        tracing::warn!(
            %first,
            %other,
            "the training volumes have different orientations: slices are those along the last axis of each array, also in \
             volumes to grade"
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ops::{ControlFlow, Range};

    use ndarray::Array2;

    use super::*;
    use crate::framing::Framing;
    use crate::network::Widths;
    use crate::pipeline::progress::PipelineProgress;

    /// How the preparation of a pipeline on a grid fails, and whether a step of it had begun.
    fn refused(config: PipelineConfig, grid: [usize; 2], widths: [usize; 3]) -> (String, bool) {
        let (error, began) = fails(config, grid, widths, 0..2, 2..4);
        (error.to_string(), began)
    }

    /// The same, of these patients for training and held out.
    fn fails(
        config: PipelineConfig,
        grid: [usize; 2],
        widths: [usize; 3],
        training: Range<usize>,
        held_out: Range<usize>,
    ) -> (PipelineError, bool) {
        let slice = |patient: usize| {
            let image = Array2::from_shape_fn((40, 40), |(i, j)| (i * 40 + j + patient) as f32);
            let truth = Array2::from_shape_fn((40, 40), |(i, j)| u8::from(i > 10 && i < 20 && j > 20));
            TrueSlice::alone(&format!("p{patient:02}"), image.insert_axis(Axis(0)), truth).unwrap()
        };
        let [training, held_out] = [training, held_out].map(|all| all.map(slice).collect::<Vec<_>>());
        let estimators = EstimatorConfig::new(Method::SecondOpinion, Framing::new([1]).grid(grid))
            .widths(Widths::uniform(widths));
        let mut began = false;
        let mut observer = |_: &PipelineProgress<'_>| {
            began = true;
            ControlFlow::Break(())
        };
        let (cache, device) = (StepCache::none(), Device::Cpu);
        let failed =
            QualityPipeline::prepare(config, estimators, &training, &held_out, cache, &device, &mut observer);
        (failed.unwrap_err(), began)
    }

    #[test]
    fn patients_that_are_learned_from_are_not_held_out() {
        let mut config = PipelineConfig::new(1).scaled(1e-4);
        config.segmenters = vec![vec![4, 8]];
        let refused = |training, held_out| fails(config.clone(), [16, 16], [4, 4, 8], training, held_out);
        let (error, began) = refused(0..6, 5..8);
        let is_named = matches!(
            &error,
            PipelineError::SharedPatients { patients, count: 1 } if *patients == ["p05"]
        );
        assert!(is_named && !began, "{error:?}");
        let (error, began) = refused(0..20, 1..30);
        let expected = "the training and the held-out slices have patients in common: p01, p02, p03, p04, p05, p06, \
                        p07, p08, p09, p10 and 9 more";
        assert_eq!((error.to_string().as_str(), began), (expected, false));
        // Apart, the training begins.
        assert!(refused(0..6, 6..8).1);
    }

    #[test]
    fn a_grid_that_a_network_refuses_is_refused_before_anything_is_trained() {
        let config = |segmenter: &[usize]| {
            let mut config = PipelineConfig::new(1).scaled(1e-4);
            config.segmenters = vec![segmenter.to_vec()];
            config
        };
        // Segmenters and the U-Nets can be made for 12 x 12, the regressors cannot.
        let (error, began) = refused(config(&[4, 8]), [12, 12], [4, 4, 8]);
        assert!(error.contains("[12, 12]") && error.contains("halved 3 times") && !began, "{error}");
        // All estimators can be made for 24 x 24, the segmenters cannot.
        let (error, began) = refused(config(&[4, 4, 4, 8, 8]), [24, 24], [4, 4, 8]);
        assert!(error.contains("[24, 24]") && error.contains("halved 4 times") && !began, "{error}");
        // A setting out of range.
        let mut wrong = config(&[4, 8]);
        wrong.views = 3;
        let (error, began) = refused(wrong, [16, 16], [4, 4, 8]);
        assert!(error.contains("views") && !began, "{error}");
        // What all networks can be made for is begun.
        assert!(refused(config(&[4, 8]), [16, 16], [4, 4, 8]).1);
    }
}
