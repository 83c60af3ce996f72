//! The training of REC-Net.

use lesio_nn::{
    Batch, Device, EngineError, Engines, Initialization, InputGradients, Objective, ParameterSet, Terms,
    TrainConfig, TrainingEngine,
};
use rayon::prelude::*;

use crate::augmentation::SampleAugmentation;
use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::objective::{CAPACITY, changed, fingerprint};
use crate::reconstructor::{self, blank, outside};
use crate::samples::Samples;

/// Trains REC-Net to reconstruct an image from the part outside its true segmentation.
///
/// The samples' segmentations must be the truth: since the network never sees a wrong segmentation, it reconstructs the
/// image that fits a segmentation. The loss is the mean absolute error over the image plus the one within the hole, over all channels, for
/// a [`Trainer`](lesio_nn::Trainer) with one engine.
#[derive(Debug)]
pub struct ReconstructionObjective {
    grid: [usize; 2],
    channels: usize,
    train: TrainConfig,
    augmentation: SampleAugmentation,
    samples: Samples,
    validation: Samples,
    fingerprint: String,
    images: Vec<f32>,
    outside: Vec<f32>,
    gradient: Vec<f32>,
}

impl ReconstructionObjective {
    /// An objective on samples whose segmentations are true; validation may be empty.
    #[must_use]
    pub fn new(
        config: &EstimatorConfig,
        train: TrainConfig,
        augmentation: SampleAugmentation,
        samples: Samples,
        validation: Samples,
    ) -> Self {
        let widths = &config.widths.reconstruction;
        let fingerprint =
            fingerprint(&(widths, &config.framing, &train, &augmentation), &samples, &validation);
        let (images, outside, gradient) = (Vec::new(), Vec::new(), Vec::new());
        let (grid, channels) = (config.framing.grid, config.channels);
        Self {
            grid,
            channels,
            train,
            augmentation,
            samples,
            validation,
            fingerprint,
            images,
            outside,
            gradient,
        }
    }

    /// The engine of an untrained REC-Net on a device, in the list that a trainer takes.
    ///
    /// # Errors
    /// A configuration that is refused, and failures of the device.
    pub fn engines(
        config: &EstimatorConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Engines<1>, QualityBuildError> {
        config.validate()?;
        let network = reconstructor::network(config)?;
        let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, seed);
        Ok([device.training_engine(&network, &parameters, CAPACITY, InputGradients::Skip)?])
    }

    /// Reconstructs a batch and returns its loss; learns from it unless it is of validation.
    fn pass(
        &mut self,
        engine: &mut dyn TrainingEngine,
        batch: &Batch<'_>,
        validation: bool,
    ) -> Result<f64, EngineError> {
        let (set, augmentation) = match validation {
            true => (&self.validation, &SampleAugmentation::none()),
            false => (&self.samples, &self.augmentation),
        };
        let (channels, pixels) = (self.channels, self.grid[0] * self.grid[1]);
        let own = changed(batch, set, augmentation, self.grid);
        self.images.resize(own.len() * channels * pixels, 0.0);
        self.outside.resize(own.len() * pixels, 0.0);
        own.par_iter()
            .zip(self.images.par_chunks_exact_mut(channels * pixels))
            .zip(self.outside.par_chunks_exact_mut(pixels))
            .for_each(|(((sample, change), image), left)| {
                change.place_image(&sample.image, image);
                change.place(&outside(&sample.segmentation), left);
            });
        let blanked = blank(&self.images, &self.outside, channels, pixels);
        engine.forward(&[&blanked], own.len())?;
        let output = engine.output(0);
        self.gradient.resize(output.len(), 0.0);
        let share = 1.0 / (own.len() * channels).max(1) as f32;
        let losses: Vec<f64> = self
            .gradient
            .par_chunks_exact_mut(channels * pixels)
            .zip(output.par_chunks_exact(channels * pixels))
            .zip(self.images.par_chunks_exact(channels * pixels))
            .zip(self.outside.par_chunks_exact(pixels))
            .map(|(((gradient, output), image), outside)| {
                let hole = outside.iter().map(|&outside| 1.0 - f64::from(outside)).sum::<f64>().max(1.0);
                let mut loss = 0.0;
                // Every channel has the same outside.
                for (((gradient, &output), &image), &outside) in
                    gradient.iter_mut().zip(output).zip(image).zip(outside.iter().cycle())
                {
                    let weight = 1.0 / pixels as f64 + (1.0 - f64::from(outside)) / hole;
                    let error = output - image;
                    loss += weight * f64::from(error.abs());
                    let sign = if error == 0.0 { 0.0 } else { error.signum() };
                    *gradient = share * weight as f32 * sign;
                }
                loss / channels as f64
            })
            .collect();
        if !validation {
            engine.backward(&[&self.gradient])?;
        }
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }
}

impl Objective<1> for ReconstructionObjective {
    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        let loss = self.pass(engine.as_mut(), batch, false)?;
        Ok(Terms::new(loss).with("absolute error", loss))
    }

    fn validate(&mut self, [engine]: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut sum = 0.0;
        for chunk in all.chunks(self.train.batch_size.max(1)) {
            let batch = Batch::new(chunk, self.train.seed);
            sum += self.pass(engine.as_mut(), &batch, true)? * chunk.len() as f64;
        }
        let loss = sum / all.len() as f64;
        Ok(Some(Terms::new(loss).with("absolute error", loss)))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
