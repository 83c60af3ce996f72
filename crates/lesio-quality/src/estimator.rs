//! Estimators of quality: the trait they share, and the trained networks behind it.

use std::path::Path;

use lesio_nn::{EngineError, LoadError, Mode, ParameterSet, SaveError, model_file};

use crate::chain::{By, Chain};
use crate::change::{Change, views};
use crate::config::EstimatorConfig;
use crate::distance;
use crate::engine::Frozen;
use crate::error::BuildError;
use crate::error_map;
use crate::samples::one_hot;

/// Estimates the quality of segmentations on their grid, and tells how the image bears on it.
///
/// What [`QualityEstimator::estimate`] returns for a sample depends on that sample alone.
pub trait QualityEstimator: Send {
    /// What it is made of.
    fn config(&self) -> &EstimatorConfig;

    /// Estimates samples: images `[n, h, w]` in deviations from the mean, and segmentations `[n, h, w]`
    /// of 0 or 1 + the position of the label, as in a [`Frame`](crate::Frame).
    ///
    /// # Errors
    /// Slices that are not of whole samples, and failures of the device.
    fn estimate(&mut self, images: &[f32], segmentations: &[u8]) -> Result<Estimates, EngineError>;

    /// The gradient by the images `[n, h, w]` of the sum of each Dice of the last estimate times its
    /// weight `[n, labels]`; empty before the first.
    ///
    /// # Errors
    /// Another number of weights, and failures of the device.
    fn image_gradient(&mut self, weights: &[f32]) -> Result<&[f32], EngineError>;

    /// What the image would be if the segmentation were right, `[n, h, w]` of the last estimate; `None`
    /// for methods that do not paint.
    fn reconstruction(&self) -> Option<Vec<f32>> {
        None
    }

    /// Probability of each label graded, `[n, labels, h, w]` of the last estimate; `None` for methods
    /// that do not look for the structures themselves.
    fn probability(&self) -> Option<Vec<f32>> {
        None
    }

    /// Where segmentations are wrong: the probability, 0 to 1, that a pixel's label is, `[n, h, w]`, by
    /// [`QualityEstimator::probability`] of the last estimate; `None` where that is, and where the segmentations are not
    /// as many as were estimated.
    fn error_map(&self, segmentations: &[u8]) -> Option<Vec<f32>> {
        let (pixels, labels) = (self.config().framing.pixels(), self.config().framing.labels.len());
        error_map::wrongness(&self.probability()?, segmentations, pixels, labels)
    }
}

/// What was estimated of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Estimates {
    /// Dice of each label, `[n, labels]`, in 0 to 1.
    pub dice: Vec<f32>,
    /// HD95 of each label in grid pixels, `[n, labels]`, at least 0: times [`Frame::pixel`](crate::Frame::pixel) it is
    /// in image pixels.
    pub distance: Vec<f32>,
}

/// A trained estimator.
///
/// ```
/// use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, QualityEstimator, Widths};
///
/// let framing = Framing::new([1]).grid([16, 16]);
/// let config = EstimatorConfig::new(Method::Direct, framing).widths(Widths::uniform([8, 8]));
/// let untrained = config.initial_parameters(1)?;
/// let mut estimator = Estimator::new(config, untrained)?;
/// let estimates = estimator.estimate(&[0.5; 256], &[1; 256])?;
/// assert!((0.0..=1.0).contains(&estimates.dice[0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Estimator {
    config: EstimatorConfig,
    parameters: ParameterSet,
    networks: Vec<Frozen>,
    chain: Chain,
    views: Vec<Change>,
    /// All views of a sample stand together: `[n, views, h, w]`, and the labels' planes alike.
    images: Vec<f32>,
    planes: Vec<f32>,
    by_image: Vec<f32>,
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
    /// An estimator of trained parameters; [`Method::RecReg`](crate::Method::RecReg) needs those of REC-Net too, and
    /// [`Method::SecondOpinion`](crate::Method::SecondOpinion) those of the segmentation alone.
    ///
    /// # Errors
    /// A configuration that is refused, and parameters that do not fit it.
    pub fn new(config: EstimatorConfig, parameters: ParameterSet) -> Result<Self, BuildError> {
        let (networks, foundation) = (config.networks()?, config.foundation()?);
        parameters.check(&networks.iter().chain(&foundation).collect::<Vec<_>>())?;
        let frozen = networks.iter().map(|network| Frozen::new(network, &parameters));
        let networks = frozen.collect::<Result<Vec<_>, _>>()?;
        let foundation = foundation.map(|network| Frozen::new(&network, &parameters)).transpose()?;
        let chain = Chain::new(&config, foundation);
        let views = views(config.framing.grid, config.views);
        let (images, planes, by_image) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { config, parameters, networks, chain, views, images, planes, by_image })
    }

    /// Reads an estimator from a file of its own.
    ///
    /// # Errors
    /// A file that cannot be read, is no estimator's, or does not fit its own configuration.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, config) = model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::new(config, parameters).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
        })
    }

    /// Writes the estimator to one safetensors file.
    ///
    /// # Errors
    /// A failure of the file system; what stood under the name still does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        model_file::save(path, KIND, VERSION, &self.parameters, &self.config)
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }
}

impl QualityEstimator for Estimator {
    fn config(&self) -> &EstimatorConfig {
        &self.config
    }

    fn estimate(&mut self, images: &[f32], segmentations: &[u8]) -> Result<Estimates, EngineError> {
        let (pixels, labels) = (self.config.framing.pixels(), self.config.framing.labels.len());
        let samples = images.len() / pixels;
        if images.len() != samples * pixels || segmentations.len() != images.len() {
            let what = "the segmentations of whole images".to_owned();
            let (found, expected) = (segmentations.len(), samples * pixels);
            return Err(EngineError::Length { what, found, expected });
        }
        let views = self.views.len();
        self.images.resize(samples * views * pixels, 0.0);
        self.planes.resize(samples * views * labels * pixels, 0.0);
        let mut viewed = vec![0; pixels];
        for sample in 0..samples {
            let own = sample * pixels..(sample + 1) * pixels;
            for (number, view) in self.views.iter().enumerate() {
                let k = sample * views + number;
                view.place(&images[own.clone()], &mut self.images[k * pixels..(k + 1) * pixels]);
                view.place(&segmentations[own.clone()], &mut viewed);
                let planes = k * labels * pixels..(k + 1) * labels * pixels;
                one_hot(&viewed, labels, &mut self.planes[planes]);
            }
        }
        self.chain.forward(
            &mut self.networks,
            &self.images,
            &self.planes,
            samples * views,
            Mode::Evaluate,
        )?;
        let scale = distance::scale(&self.config.framing);
        let distance = mean_over_views(self.chain.distance(), views, labels);
        Ok(Estimates {
            dice: mean_over_views(self.chain.dice(), views, labels),
            distance: distance.into_iter().map(|code| distance::decode(code, scale)).collect(),
        })
    }

    fn image_gradient(&mut self, weights: &[f32]) -> Result<&[f32], EngineError> {
        let (pixels, labels) = (self.config.framing.pixels(), self.config.framing.labels.len());
        let views = self.views.len();
        let share = 1.0 / views as f32;
        let of_views: Vec<f32> = weights
            .chunks_exact(labels)
            .flat_map(|own| std::iter::repeat_n(own, views).flatten().map(|weight| weight * share))
            .collect();
        let by = By { dice: &of_views, distance: &[], logits: &[] };
        let gradient = self.chain.backward(&mut self.networks, &by)?;
        self.by_image.clear();
        self.by_image.resize(gradient.len() / views, 0.0);
        let mut back = vec![0.0; pixels];
        for (sum, own) in self.by_image.chunks_exact_mut(pixels).zip(gradient.chunks_exact(views * pixels)) {
            for (view, part) in self.views.iter().zip(own.chunks_exact(pixels)) {
                view.place(part, &mut back);
                sum.iter_mut().zip(&back).for_each(|(sum, part)| *sum += part);
            }
        }
        Ok(&self.by_image)
    }

    fn reconstruction(&self) -> Option<Vec<f32>> {
        let all = Some(self.chain.reconstruction()).filter(|values| !values.is_empty())?;
        Some(self.over_views(all, 1, &[0]))
    }

    fn probability(&self) -> Option<Vec<f32>> {
        let all = Some(self.chain.probability()).filter(|values| !values.is_empty())?;
        Some(self.over_views(all, self.config.classes.len() + 1, &self.config.class_indices()))
    }
}

impl Estimator {
    /// Means over the views of chosen planes of maps `[n, views, planes, h, w]`, each turned back.
    fn over_views(&self, maps: &[f32], planes: usize, chosen: &[usize]) -> Vec<f32> {
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
        means
    }
}

/// Means of values `[n, views, labels]`.
fn mean_over_views(values: &[f32], views: usize, labels: usize) -> Vec<f32> {
    let sample = |own: &[f32]| -> Vec<f32> {
        let of_label = |label: usize| own.iter().skip(label).step_by(labels).sum::<f32>();
        (0..labels).map(|label| of_label(label) / views as f32).collect()
    };
    values.chunks_exact((views * labels).max(1)).flat_map(sample).collect()
}
