//! One network while it trains, on any device.

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
    #[error("the plan could not compute the network")]
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
    /// A network whose precision only the engine of the CPU has.
    #[error("device {device} computes in single precision alone, and the network is declared in bfloat16")]
    Precision {
        /// The device.
        device: String,
    },
    /// Moments or parameters do not fit the network.
    #[error(transparent)]
    Parameters(#[from] crate::parameters::ParameterError),
}

/// A network in training: weights, gradients and Adam's moments, and the passes over them.
///
/// Values are `[samples, channels, rows, columns]`, row-major. Both engines give the same numbers up
/// to rounding; an objective is written once against this trait.
pub trait TrainingEngine: Send {
    /// The network.
    fn network(&self) -> &Network;

    /// Computes the outputs of `samples` samples.
    ///
    /// # Errors
    /// Inputs of another number or length than declared, or a failure of the device.
    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError>;

    /// An output of the last forward pass; empty before the first.
    fn output(&self, index: usize) -> &[f32];

    /// Adds the parameters' gradients for these gradients of the outputs of the last forward pass,
    /// and computes the inputs' where the engine was made for it.
    ///
    /// # Errors
    /// Gradients of another number or length than the outputs, or a failure of the device.
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;

    /// Gradient of an input from the last backward pass; empty where the engine was not made for it.
    fn input_gradient(&self, index: usize) -> &[f32];

    /// Sets all gradients to 0 and forgets the statistics of batch normalizations not yet used.
    fn clear_gradients(&mut self);

    /// Sum of the squared gradients, in f64 and in a fixed order.
    ///
    /// # Errors
    /// A failure of the device.
    fn squared_gradient_norm(&self) -> Result<f64, EngineError>;

    /// Changes the parameters by one Adam update, and the running statistics of batch normalizations
    /// by those of the forward passes in [`Mode::Train`] since the last update.
    ///
    /// # Errors
    /// A failure of the device.
    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError>;

    /// The present parameters.
    ///
    /// # Errors
    /// A failure of the device.
    fn parameters(&self) -> Result<ParameterSet, EngineError>;

    /// Adam's first and second moments, under the parameters' names.
    ///
    /// # Errors
    /// A failure of the device.
    fn moments(&self) -> Result<[ParameterSet; 2], EngineError>;

    /// Takes over parameters and moments, as saved.
    ///
    /// # Errors
    /// Names or shapes that are not the network's.
    fn restore(
        &mut self,
        parameters: &ParameterSet,
        moments: Option<&[ParameterSet; 2]>,
    ) -> Result<(), EngineError>;
}

/// Which gradients an engine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradients {
    /// Those of the parameters alone.
    Skip,
    /// Those of the inputs too.
    Compute,
}
