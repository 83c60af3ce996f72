//! The interface of methods: estimates from images and segmentations, and gradients with respect to the images.

use lesio_nn::{Engine, EngineError};

use crate::config::EstimatorConfig;

/// The connection of the networks of one method.
///
/// The implementor holds the pretrained network that the method builds upon; those in training come with each call, in the
/// order in which the method declares them. Nothing of a call is kept.
pub(crate) trait Wiring: std::fmt::Debug + Send + Sync {
    /// Estimates a batch. Returns the estimates, and the gradient by the images, `[n, channels, h, w]`, of what `weigh` weighs; it is
    /// empty where `weigh` wants none. Networks in training add up the gradients of their parameters.
    ///
    /// # Errors
    /// Another number of networks than declared, failures of the device, and what `weigh` reports.
    fn pass(
        &self,
        networks: &mut [&mut dyn Engine],
        batch: &Batch<'_>,
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError>;
}

/// The gradients by the estimates that are to be passed back; `None` for no backward pass.
pub(crate) type Weigh<'a> = dyn FnMut(&Outputs) -> Result<Option<OutputGradients>, EngineError> + 'a;

/// Samples on the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// Images, `[n, channels, h, w]`.
    pub(crate) images: &'a [f32],
    /// Segmentations, one plane of 0 and 1 a label, `[n, labels, h, w]`.
    pub(crate) masks: &'a [f32],
    pub(crate) samples: usize,
    pub(crate) channels: usize,
    pub(crate) labels: usize,
    /// Pixels of a channel.
    pub(crate) pixels: usize,
}

impl<'a> Batch<'a> {
    /// Samples of an estimator.
    ///
    /// # Errors
    /// Slices that are not of whole samples, or of another number of samples each.
    pub(crate) fn new(
        images: &'a [f32],
        masks: &'a [f32],
        config: &EstimatorConfig,
    ) -> Result<Self, EngineError> {
        let (channels, labels) = (config.channels, config.framing.labels.len());
        let pixels = config.framing.pixels();
        let samples = images.len() / (channels * pixels);
        check("images", images.len(), samples * channels * pixels)?;
        check("segmentations", masks.len(), samples * labels * pixels)?;
        Ok(Self { images, masks, samples, channels, labels, pixels })
    }
}

/// What a method estimates of a batch.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Dice, `[n, labels]`, in 0 to 1.
    pub(crate) dice: Vec<f32>,
    /// Encoded distances, `[n, labels]`, in 0 to 1.
    pub(crate) distance: Vec<f32>,
    /// The images as REC-Net reconstructs them, `[n, channels, h, w]`; empty for methods that do not reconstruct.
    pub(crate) reconstruction: Vec<f32>,
    /// Probabilities of the classes, `[n, classes + 1, h, w]`; empty for methods that do not segment.
    pub(crate) probability: Vec<f32>,
}

/// Gradients by the estimates of a batch.
#[derive(Debug, Default)]
pub(crate) struct OutputGradients {
    /// By each Dice, `[n, labels]`.
    pub(crate) dice: Vec<f32>,
    /// By each encoded distance, `[n, labels]`; empty for none.
    pub(crate) distance: Vec<f32>,
    /// By the logits of the classes, `[n, classes + 1, h, w]`; empty for none.
    pub(crate) logits: Vec<f32>,
}

/// Returns an error for a wrong number of values.
pub(crate) fn check(what: &str, found: usize, expected: usize) -> Result<(), EngineError> {
    if found == expected { Ok(()) } else { Err(EngineError::Length { what: what.into(), found, expected }) }
}

/// The number of samples of so many pixels in a slice of so many values.
///
/// # Errors
/// For a slice that does not end with a sample.
pub(crate) fn whole_samples(what: &str, found: usize, pixels: usize) -> Result<usize, EngineError> {
    // Rounded up: of a slice that is too short for one sample, one is expected, not none.
    let samples = found.div_ceil(pixels.max(1));
    check(what, found, samples * pixels)?;
    Ok(samples)
}

/// The only network of a method that trains one.
pub(crate) fn single<'l, 'a>(
    networks: &'l mut [&'a mut dyn Engine],
) -> Result<&'l mut &'a mut dyn Engine, EngineError> {
    let found = networks.len();
    match networks {
        [only] => Ok(only),
        _ => Err(EngineError::Length { what: "the list of engines".into(), found, expected: 1 }),
    }
}

pub(crate) fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}
