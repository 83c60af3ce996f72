//! Estimators of quality: the trait they share, and the trained networks behind it.

use std::path::Path;

use lesio_nn::{EngineError, LoadError, Mode, ParameterSet, SaveError, model_file};

use crate::chain::{By, Chain};
use crate::config::{EstimatorConfig, Method};
use crate::distance;
use crate::engine::Frozen;
use crate::error::BuildError;
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
    fn reconstruction(&self) -> Option<&[f32]> {
        None
    }

    /// Probability of each label graded, `[n, labels, h, w]` of the last estimate; `None` for methods
    /// that do not look for the structures themselves.
    fn probability(&self) -> Option<Vec<f32>> {
        None
    }
}

/// What was estimated of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Estimates {
    /// Dice of each label, `[n, labels]`, in 0 to 1.
    pub dice: Vec<f32>,
    /// HD95 of each label in image pixels, `[n, labels]`, at least 0.
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
    planes: Vec<f32>,
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Estimator").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the file of an estimator is, and the version of its layout.
const KIND: &str = "a quality estimator";
const VERSION: u32 = 1;

impl Estimator {
    /// An estimator of trained parameters; [`Method::RecReg`](crate::Method::RecReg) needs those of REC-Net too.
    ///
    /// # Errors
    /// A configuration that is refused, and parameters that do not fit it.
    pub fn new(config: EstimatorConfig, parameters: ParameterSet) -> Result<Self, BuildError> {
        let mut networks = config.networks()?;
        if config.method == Method::RecReg {
            networks.push(config.reconstructor()?);
        }
        parameters.check(&networks.iter().collect::<Vec<_>>())?;
        let frozen = networks.iter().map(|network| Frozen::new(network, &parameters));
        let mut networks = frozen.collect::<Result<Vec<_>, _>>()?;
        let reconstructor = if config.method == Method::RecReg { networks.pop() } else { None };
        let chain = Chain::new(&config, reconstructor);
        Ok(Self { config, parameters, networks, chain, planes: Vec::new() })
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
        self.planes.resize(samples * labels * pixels, 0.0);
        for (planes, indices) in
            self.planes.chunks_exact_mut(labels * pixels).zip(segmentations.chunks_exact(pixels))
        {
            one_hot(indices, labels, planes);
        }
        self.chain.forward(&mut self.networks, images, &self.planes, samples, Mode::Evaluate)?;
        let scale = distance::scale(&self.config.framing);
        let distance = self.chain.distance().iter().map(|&code| distance::decode(code, scale)).collect();
        Ok(Estimates { dice: self.chain.dice().to_vec(), distance })
    }

    fn image_gradient(&mut self, weights: &[f32]) -> Result<&[f32], EngineError> {
        let by = By { dice: weights, distance: &[], logits: &[] };
        self.chain.backward(&mut self.networks, &by)
    }

    fn reconstruction(&self) -> Option<&[f32]> {
        Some(self.chain.reconstruction()).filter(|values| !values.is_empty())
    }

    fn probability(&self) -> Option<Vec<f32>> {
        let (pixels, classes) = (self.config.framing.pixels(), self.config.classes.len() + 1);
        let all = Some(self.chain.probability()).filter(|values| !values.is_empty())?;
        let mut own = Vec::new();
        for sample in all.chunks_exact(classes * pixels) {
            for class in self.config.class_indices() {
                own.extend_from_slice(&sample[class * pixels..(class + 1) * pixels]);
            }
        }
        Some(own)
    }
}
