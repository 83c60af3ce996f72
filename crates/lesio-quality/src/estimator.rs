//! Trained estimators of quality, and their estimates.

use std::path::Path;

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, FixedEngine, Inference, LoadError, ParameterSet, SaveError,
    model_file,
};

use crate::change::{Change, views};
use crate::config::EstimatorConfig;
use crate::distance;
use crate::error::QualityBuildError;
use crate::error_map;
use crate::methods::{
    Batch, OutputGradients, Outputs, Weigh, Wiring, check, networks, whole_samples, wiring,
};
use crate::samples::{Samples, one_hot};

/// Samples that are computed at once.
const BATCH: usize = 16;

/// The estimates for a batch of samples.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QualityEstimate {
    /// Dice of each label, `[n, labels]`, in 0 to 1.
    pub dice: Vec<f32>,
    /// HD95 of each label in grid pixels, `[n, labels]`, at least 0: times [`FramedSlice::pixel`](crate::FramedSlice::pixel) it is
    /// in image pixels.
    pub distance: Vec<f32>,
    /// The images as they would be if the segmentations were correct, `[n, channels, h, w]`; `None` for methods that do not
    /// reconstruct.
    pub reconstruction: Option<Vec<f32>>,
    /// Probability of each label graded, `[n, labels, h, w]`; `None` for methods that do not segment.
    pub probability: Option<Vec<f32>>,
    /// The error map: the probability, 0 to 1, that a pixel's label is wrong, `[n, h, w]`; `None` where
    /// [`QualityEstimate::probability`] is.
    pub error: Option<Vec<f32>>,
}

/// Dice and distances of [`Samples`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SampleEstimates {
    /// Dice of each label, `[n, labels]`, in 0 to 1.
    pub dice: Vec<f32>,
    /// HD95 of each label in pixels of the image, `[n, labels]`, at least 0.
    pub distance: Vec<f32>,
}

/// A trained estimator of the quality of segmentations on their grid.
///
/// Images are `[n, channels, h, w]` in deviations from the mean, and segmentations `[n, h, w]` of 0 or 1 + the position of the
/// label, as in a [`FramedSlice`](crate::FramedSlice). The estimate of a sample depends on that sample alone. Several
/// threads may use one estimator at once.
///
/// ```
/// use lesio_nn::Device;
/// use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, Widths};
///
/// let framing = Framing::new([1]).grid([16, 16]);
/// let config = EstimatorConfig::new(Method::Direct, framing).widths(Widths::uniform([8, 8]));
/// let untrained = config.initial_parameters(1)?;
/// let estimator = Estimator::new(config, untrained, &Device::Cpu)?;
/// let estimate = estimator.estimate(&[0.5; 256], &[1; 256])?;
/// assert!((0.0..=1.0).contains(&estimate.dice[0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Estimator {
    config: EstimatorConfig,
    parameters: ParameterSet,
    networks: Vec<Inference>,
    wiring: Box<dyn Wiring>,
    views: Vec<Change>,
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Estimator").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the file of an estimator is, and the version of its layout.
const KIND: &str = "a quality estimator";
const VERSION: u32 = 3;

impl Estimator {
    /// Makes an estimator of trained parameters on a device; [`Method::RecReg`](crate::Method::RecReg) needs those of
    /// REC-Net too, and
    /// [`Method::SecondOpinion`](crate::Method::SecondOpinion) those of the segmentation alone.
    ///
    /// # Errors
    /// For an invalid configuration, and for parameters that do not fit it.
    pub fn new(
        config: EstimatorConfig,
        parameters: ParameterSet,
        device: &Device,
    ) -> Result<Self, QualityBuildError> {
        let networks = networks(&config)?;
        parameters.check(&networks.all().collect::<Vec<_>>())?;
        let frozen = |network| Inference::new(network, &parameters, Differentiate::Inputs, device);
        let networks = networks.trained.iter().map(frozen).collect::<Result<Vec<_>, _>>()?;
        let wiring = wiring(&config, &parameters, device)?;
        let views = views(config.framing.grid, config.views);
        Ok(Self { config, parameters, networks, wiring, views })
    }

    /// Loads an estimator onto a device from a file that contains nothing else.
    ///
    /// # Errors
    /// If the file cannot be read, is not an estimator, or contradicts its configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, config) = model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::new(config, parameters, device).map_err(|error| error.into_load_error(path))
    }

    /// Writes the estimator to one safetensors file.
    ///
    /// # Errors
    /// If the file system fails; an existing file then remains.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        model_file::save(path, KIND, VERSION, &self.parameters, &self.config)
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &EstimatorConfig {
        &self.config
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    /// Estimates samples: images `[n, channels, h, w]` and segmentations `[n, h, w]`.
    ///
    /// # Errors
    /// Slices that are not of whole samples, [`EngineError::Class`] for a segmentation with more than the labels
    /// graded, and failures of the device.
    pub fn estimate(&self, images: &[f32], segmentations: &[u8]) -> Result<QualityEstimate, EngineError> {
        let (pixels, labels) = (self.config.framing.pixels(), self.config.framing.labels.len());
        let channels: Vec<usize> = (0..self.config.channels).collect();
        let scale = distance::scale(&self.config.framing);
        let (outputs, _) = self.pass(images, segmentations, &mut |_| Ok(None))?;
        let (classes, graded) = (self.config.classes.len() + 1, self.config.class_indices());
        let probability = self.over_views(&outputs.probability, classes, &graded);
        let wrong = |probability| error_map::error_probability(probability, segmentations, pixels, labels);
        let distance = self.mean_over_views(&outputs.distance);
        Ok(QualityEstimate {
            dice: self.mean_over_views(&outputs.dice),
            distance: distance.into_iter().map(|code| distance::decode(code, scale)).collect(),
            reconstruction: self.over_views(&outputs.reconstruction, channels.len(), &channels),
            error: probability.as_deref().map(wrong),
            probability,
        })
    }

    /// Estimates Dice and distances of samples with other images, `[n, channels, h, w]`, or with their own where `images` is `None`.
    ///
    /// # Errors
    /// [`EngineError::Length`] for images of another number of values than the samples'; failures of the device.
    pub fn estimate_samples(
        &self,
        samples: &Samples,
        images: Option<&[f32]>,
    ) -> Result<SampleEstimates, EngineError> {
        let (values, labels) = (self.values(), self.config.framing.labels.len());
        if let Some(images) = images {
            check("the slice of images", images.len(), samples.len() * values)?;
        }
        let mut estimates = SampleEstimates::default();
        for first in (0..samples.len()).step_by(BATCH) {
            let positions = first..(first + BATCH).min(samples.len());
            let images = images.map(|images| &images[positions.start * values..positions.end * values]);
            let batch = samples.select(&positions.collect::<Vec<_>>());
            let own = batch.images();
            let part = self.estimate(images.unwrap_or(&own), &batch.segmentations())?;
            estimates.dice.extend(part.dice);
            let of_image = part.distance.chunks(labels).zip(batch.iter());
            let of_image = of_image.flat_map(|(own, sample)| own.iter().map(|d| d * sample.pixel as f32));
            estimates.distance.extend(of_image);
        }
        Ok(estimates)
    }

    /// The gradient by the images `[n, channels, h, w]` of the sum of each Dice times its weight; `weigh` gives the weights
    /// `[n, labels]` of the estimated Dice.
    ///
    /// # Errors
    /// Those of [`Estimator::estimate`], and another number of weights.
    pub fn image_gradient(
        &self,
        images: &[f32],
        segmentations: &[u8],
        weigh: &dyn Fn(&[f32]) -> Vec<f32>,
    ) -> Result<Vec<f32>, EngineError> {
        let (pixels, labels) = (self.config.framing.pixels(), self.config.framing.labels.len());
        let views = self.views.len();
        let (_, gradient) = self.pass(images, segmentations, &mut |outputs| {
            let dice = self.mean_over_views(&outputs.dice);
            let weights = weigh(&dice);
            check("weights of the dice", weights.len(), dice.len())?;
            let share = |weight: &f32| weight * (1.0 / views as f32);
            let of_sample = |own: &[f32]| own.iter().map(share).collect::<Vec<_>>().repeat(views);
            let dice = weights.chunks_exact(labels).flat_map(of_sample).collect();
            Ok(Some(OutputGradients { dice, ..OutputGradients::default() }))
        })?;
        let mut by_image = vec![0.0; images.len()];
        let (mut back, values) = (vec![0.0; pixels], self.values());
        for (sum, own) in by_image.chunks_exact_mut(values).zip(gradient.chunks_exact(views * values)) {
            for (view, part) in self.views.iter().zip(own.chunks_exact(values)) {
                for (sum, part) in sum.chunks_exact_mut(pixels).zip(part.chunks_exact(pixels)) {
                    view.place(part, &mut back);
                    sum.iter_mut().zip(&back).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        Ok(by_image)
    }

    /// Number of values of an image.
    pub(crate) fn values(&self) -> usize {
        self.config.channels * self.config.framing.pixels()
    }

    /// Passes all views of samples through the networks, those of a sample together.
    fn pass(
        &self,
        images: &[f32],
        segmentations: &[u8],
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let (pixels, labels) = (self.config.framing.pixels(), self.config.framing.labels.len());
        let values = self.values();
        let samples = whole_samples("the slice of images", images.len(), values)?;
        check("the slice of segmentations", segmentations.len(), samples * pixels)?;
        if let Some(&class) = segmentations.iter().find(|&&class| usize::from(class) > labels) {
            let what = "the slice of segmentations".to_owned();
            return Err(EngineError::Class { what, found: class.into(), last: labels });
        }
        let views = self.views.len();
        let mut viewed = vec![0.0; samples * views * values];
        let mut planes = vec![0.0; samples * views * labels * pixels];
        let mut labeled = vec![0; pixels];
        for (k, (viewed, planes)) in
            viewed.chunks_exact_mut(values).zip(planes.chunks_exact_mut(labels * pixels)).enumerate()
        {
            let (sample, view) = (k / views, &self.views[k % views]);
            let image = images[sample * values..(sample + 1) * values].chunks_exact(pixels);
            image.zip(viewed.chunks_exact_mut(pixels)).for_each(|(own, viewed)| view.place(own, viewed));
            view.place(&segmentations[sample * pixels..(sample + 1) * pixels], &mut labeled);
            one_hot(&labeled, labels, planes);
        }
        let mut engines: Vec<FixedEngine<'_>> = self.networks.iter().map(Inference::engine).collect();
        let mut networks: Vec<&mut dyn Engine> = engines.iter_mut().map(|engine| engine as _).collect();
        self.wiring.pass(&mut networks, &Batch::new(&viewed, &planes, &self.config)?, weigh)
    }

    /// Means of values `[n, views, labels]`.
    fn mean_over_views(&self, values: &[f32]) -> Vec<f32> {
        let (views, labels) = (self.views.len(), self.config.framing.labels.len());
        let sample = |own: &[f32]| -> Vec<f32> {
            let of_label = |label: usize| own.iter().skip(label).step_by(labels).sum::<f32>();
            (0..labels).map(|label| of_label(label) / views as f32).collect()
        };
        values.chunks_exact(views * labels).flat_map(sample).collect()
    }

    /// Means over the views of chosen planes of maps `[n, views, planes, h, w]`, each turned back; `None` of no maps.
    fn over_views(&self, maps: &[f32], planes: usize, chosen: &[usize]) -> Option<Vec<f32>> {
        let (pixels, views) = (self.config.framing.pixels(), self.views.len());
        let mut means = Vec::with_capacity(maps.len() / (planes * views).max(1) * chosen.len());
        let mut back = vec![0.0; pixels];
        for sample in maps.chunks_exact(views * planes * pixels) {
            for &plane in chosen {
                let mut mean = vec![0.0; pixels];
                for (view, part) in self.views.iter().zip(sample.chunks_exact(planes * pixels)) {
                    view.place(&part[plane * pixels..(plane + 1) * pixels], &mut back);
                    mean.iter_mut().zip(&back).for_each(|(mean, value)| *mean += value / views as f32);
                }
                means.append(&mut mean);
            }
        }
        (!maps.is_empty()).then_some(means)
    }
}
