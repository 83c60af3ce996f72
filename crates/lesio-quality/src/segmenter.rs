//! Segmenters whose outputs are graded: U-Nets of several sizes and stages of training.

use lesio_nn::{
    Activation, Batch, Device, Differentiate, Engine, EngineError, Engines, Inference, Initialization,
    InputGradients, Network, Objective, ParameterSet, Terms, TrainConfig,
};
use lesio_settings::{in_range, setters};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::agreement::softmax;
use crate::augmentation::SampleAugmentation;
use crate::config::{MOST_CHANNELS, is_one, one};
use crate::error::QualityBuildError;
use crate::methods::whole_samples;
use crate::network::{Summary, u_net};
use crate::objective::{CAPACITY, changed, fingerprint};
use crate::samples::Samples;
use crate::segmentation_loss::loss;

/// Samples that are segmented at once.
const BATCH: usize = 16;

/// Configuration of a [`Segmenter`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct SegmenterConfig {
    /// Rows and columns of its grid.
    pub grid: [usize; 2],
    /// Number of labels but the background, 1 to 255.
    pub labels: usize,
    /// Channels at each resolution, finest first: as many as it is deep.
    pub widths: Vec<usize>,
    /// Channels of its images, 1 to 256. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub channels: usize,
}

impl SegmenterConfig {
    /// A segmenter of these widths, of images of one channel.
    #[must_use]
    pub fn new(grid: [usize; 2], labels: usize, widths: impl Into<Vec<usize>>) -> Self {
        Self { grid, labels, widths: widths.into(), channels: 1 }
    }

    pub(crate) fn network(&self) -> Result<Network, QualityBuildError> {
        in_range("labels", self.labels, 1..=255)?;
        in_range("channels", self.channels, 1..=MOST_CHANNELS)?;
        u_net(
            "segmenter",
            self.grid,
            &[("image", self.channels)],
            self.labels + 1,
            &self.widths,
            Activation::RELU,
            Summary::Omit,
        )
    }
}

setters!(SegmenterConfig { channels: usize });

/// A segmenter at one stage of its training.
#[derive(Debug)]
pub struct Segmenter {
    config: SegmenterConfig,
    network: Inference,
}

impl Segmenter {
    /// A segmenter of trained parameters on a device.
    ///
    /// # Errors
    /// A configuration that is refused, and parameters that do not fit it.
    pub fn new(
        config: SegmenterConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, QualityBuildError> {
        let network = config.network()?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, parameters, Differentiate::Nothing, device)?;
        Ok(Self { config, network })
    }

    /// Segments images `[n, channels, h, w]`: the most probable class of each pixel, 0 for the background.
    ///
    /// # Errors
    /// A slice that is not of whole images, and failures of the device.
    pub fn segment(&self, images: &[f32]) -> Result<Vec<u8>, EngineError> {
        let pixels = self.config.grid[0] * self.config.grid[1];
        let (classes, values) = (self.config.labels + 1, self.config.channels * pixels);
        whole_samples("the slice of images", images.len(), values)?;
        let mut segmentations = Vec::with_capacity(images.len() / self.config.channels);
        for chunk in images.chunks(BATCH * values) {
            let samples = chunk.len() / values;
            let pass = self.network.run(&[chunk], samples)?;
            for logits in pass.output(0).chunks_exact(classes * pixels) {
                let value = |class: usize, pixel: usize| logits[class * pixels + pixel];
                // The first of equals, so that ties do not depend on anything.
                let most =
                    |pixel| {
                        (1..classes).fold(0, |best, class| {
                            if value(class, pixel) > value(best, pixel) { class } else { best }
                        })
                    };
                segmentations.extend((0..pixels).map(|pixel| most(pixel) as u8));
            }
        }
        Ok(segmentations)
    }
}

/// Trains a segmenter on the truth of samples, not on their candidates, by cross-entropy and
/// soft Dice, for a [`Trainer`](lesio_nn::Trainer) with one engine.
#[derive(Debug)]
pub struct SegmenterObjective {
    config: SegmenterConfig,
    augmentation: SampleAugmentation,
    samples: Samples,
    fingerprint: String,
    images: Vec<f32>,
    truth: Vec<u8>,
    probability: Vec<f32>,
    gradient: Vec<f32>,
}

impl SegmenterObjective {
    /// An objective on samples of training patients.
    #[must_use]
    pub fn new(
        config: SegmenterConfig,
        train: &TrainConfig,
        augmentation: SampleAugmentation,
        samples: Samples,
    ) -> Self {
        let fingerprint = fingerprint(&(&config, train, &augmentation), &samples, &Samples::new());
        let (images, truth, probability, gradient) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { config, augmentation, samples, fingerprint, images, truth, probability, gradient }
    }

    /// The engine of an untrained segmenter on a device, in the list that a trainer takes.
    ///
    /// # Errors
    /// A configuration that is refused, and failures of the device.
    pub fn engines(
        config: &SegmenterConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Engines<1>, QualityBuildError> {
        let network = config.network()?;
        let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, seed);
        Ok([device.training_engine(&network, &parameters, CAPACITY, InputGradients::Skip)?])
    }
}

impl Objective<1> for SegmenterObjective {
    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        let pixels = self.config.grid[0] * self.config.grid[1];
        let (classes, values) = (self.config.labels + 1, self.config.channels * pixels);
        let samples = changed(batch, &self.samples, &self.augmentation, self.config.grid);
        self.images.resize(samples.len() * values, 0.0);
        self.truth.resize(samples.len() * pixels, 0);
        samples
            .par_iter()
            .zip(self.images.par_chunks_exact_mut(values))
            .zip(self.truth.par_chunks_exact_mut(pixels))
            .for_each(|(((sample, change), image), truth)| {
                change.place_image(&sample.image, image);
                change.place(&sample.truth, truth);
            });
        engine.forward(&[&self.images], samples.len())?;
        let logits = engine.output(0);
        self.probability.resize(logits.len(), 0.0);
        self.gradient.clear();
        self.gradient.resize(logits.len(), 0.0);
        let share = 1.0 / samples.len().max(1) as f32;
        let losses: Vec<f64> = self
            .gradient
            .par_chunks_exact_mut(classes * pixels)
            .zip(self.probability.par_chunks_exact_mut(classes * pixels))
            .zip(logits.par_chunks_exact(classes * pixels))
            .zip(self.truth.par_chunks_exact(pixels))
            .map(|(((by, probability), logits), truth)| {
                softmax(logits, pixels, probability);
                loss(probability, truth, by, share)
            })
            .collect();
        engine.backward(&[&self.gradient])?;
        Ok(Terms::new(losses.iter().sum::<f64>() * f64::from(share)))
    }

    fn validate(&mut self, _: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        // Every stage is wanted, the best as well as the worst.
        Ok(None)
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
