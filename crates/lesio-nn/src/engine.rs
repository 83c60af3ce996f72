//! The interface of engines: a network in inference and in training, on any device.

use lesio_kernels::AdamUpdate;

use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::ParameterSet;

/// Why an engine could not compute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// candle failed.
    #[cfg(feature = "candle")]
    #[error("candle could not compute the network")]
    Candle(#[from] candle_core::Error),
    /// The plan failed.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// A slice given to the engine has another length than the network needs.
    #[error("{what} holds {found} values, expected {expected}")]
    Length {
        /// Which slice.
        what: String,
        /// Its length.
        found: usize,
        /// The length the network needs.
        expected: usize,
    },
    /// A number that stands for a class, of which there are not so many.
    #[error("{what} holds class {found}, expected 0 to {last}")]
    Class {
        /// Which slice.
        what: String,
        /// The number.
        found: usize,
        /// The largest there is.
        last: usize,
    },
    /// A network in a precision that only the CPU engine supports.
    #[error("device {device} computes only in single precision, and the network is declared in bfloat16")]
    Precision {
        /// The device.
        device: String,
    },
    /// Moments or parameters do not fit the network.
    #[error(transparent)]
    Parameters(#[from] crate::parameters::ParameterError),
    /// An objective failed outside of its engines.
    #[error("the objective could not be computed")]
    Objective(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    /// The error of an [`Objective`](crate::Objective) that failed outside of its engines.
    pub fn objective(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Objective(Box::new(error))
    }
}

/// A network on a device, and the passes through it.
///
/// Values are `[samples, channels, rows, columns]`, row-major. All engines give the same numbers up to rounding.
pub trait Engine {
    /// The network.
    fn network(&self) -> &Network;

    /// Computes the outputs of `samples` samples.
    ///
    /// # Errors
    /// For inputs of another number or length than declared, and if the device fails.
    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError>;

    /// An output of the last forward pass; empty before the first pass, and for an invalid index.
    fn output(&self, index: usize) -> &[f32];

    /// Computes the gradients with respect to the inputs, if the engine was made for it, from those with respect to the
    /// outputs of the last forward pass; it can be called again with others. In training, the gradients with respect to
    /// the parameters are accumulated.
    ///
    /// # Errors
    /// For gradients of another number or length than the outputs, for an engine without gradients, without a forward
    /// pass, and if the device fails.
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;

    /// Gradient with respect to an input from the last backward pass; empty before the first pass, and if the engine
    /// was not made for it.
    fn input_gradient(&self, index: usize) -> &[f32];
}

/// A network in training: weights, gradients and Adam's moments, and the passes over them.
///
/// An objective is written once against this trait, for all devices.
pub trait TrainingEngine: Engine + Send {
    /// Sets whether the next passes are for training or evaluation; [`Mode::Train`] at first. A
    /// [`Trainer`](crate::Trainer) sets it.
    fn set_mode(&mut self, mode: Mode);

    /// Sets all gradients to 0 and forgets the statistics of batch normalizations not yet used.
    fn clear_gradients(&mut self);

    /// Sum of the squared gradients, in f64 and in a fixed order.
    ///
    /// # Errors
    /// If the device fails.
    fn squared_gradient_norm(&self) -> Result<f64, EngineError>;

    /// Changes the parameters by one Adam update, and the running statistics of batch normalizations
    /// by those of the forward passes in [`Mode::Train`] since the last update.
    ///
    /// # Errors
    /// If the device fails.
    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError>;

    /// Moves the mean of the parameters by this fraction of the distance toward the present ones. The first call sets
    /// the mean to them.
    ///
    /// # Errors
    /// If the device fails.
    fn average(&mut self, share: f32) -> Result<(), EngineError>;

    /// Exchanges the parameters with their mean, and back: moments and gradients are kept. Does nothing without a mean.
    ///
    /// # Errors
    /// If the device fails.
    fn exchange_mean(&mut self) -> Result<(), EngineError>;

    /// The present parameters.
    ///
    /// # Errors
    /// If the device fails.
    fn parameters(&self) -> Result<ParameterSet, EngineError>;

    /// The mean of the parameters; `None` before the first [`TrainingEngine::average`].
    ///
    /// # Errors
    /// If the device fails.
    fn mean(&self) -> Result<Option<ParameterSet>, EngineError>;

    /// Adam's first and second moments, under the parameters' names.
    ///
    /// # Errors
    /// If the device fails.
    fn moments(&self) -> Result<[ParameterSet; 2], EngineError>;

    /// Restores a saved state. Gradients, and statistics not yet used, are cleared.
    ///
    /// # Errors
    /// For names or shapes that do not match the network.
    fn restore(&mut self, state: &EngineState) -> Result<(), EngineError>;
}

/// The state of an engine that is needed to continue a training. Sets may contain parameters of other networks, too.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineState {
    /// The parameters.
    pub parameters: ParameterSet,
    /// Adam's first and second moments.
    pub moments: [ParameterSet; 2],
    /// The mean of the parameters, if they are averaged.
    pub mean: Option<ParameterSet>,
}

/// The gradients that an engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradients {
    /// Only those of the parameters.
    Skip,
    /// Also those of the inputs.
    Compute,
}
