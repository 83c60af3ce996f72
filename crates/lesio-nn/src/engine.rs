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

/// A network on a device, and the passes through it.
///
/// Values are `[samples, channels, rows, columns]`, row-major. All engines give the same numbers up to rounding.
pub trait Engine {
    /// The network.
    fn network(&self) -> &Network;

    /// Computes the outputs of `samples` samples.
    ///
    /// # Errors
    /// Inputs of another number or length than declared, or a failure of the device.
    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError>;

    /// An output of the last forward pass; empty before the first, and where there is none of this index.
    fn output(&self, index: usize) -> &[f32];

    /// Computes the gradients by the inputs, where the engine was made for it, from those by the outputs of the last
    /// forward pass; may be called again with others. In training the gradients by the parameters are added to those
    /// there are.
    ///
    /// # Errors
    /// Gradients of another number or length than the outputs, an engine that was made for none, no forward pass, or a
    /// failure of the device.
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;

    /// Gradient by an input from the last backward pass; empty before the first, and where the engine was not made for it.
    fn input_gradient(&self, index: usize) -> &[f32];
}

/// A network in training: weights, gradients and Adam's moments, and the passes over them.
///
/// An objective is written once against this trait, whatever the device.
pub trait TrainingEngine: Engine + Send {
    /// Whether the next passes are of training or evaluate; [`Mode::Train`] at first. A [`Trainer`](crate::Trainer) sets it.
    fn set_mode(&mut self, mode: Mode);

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

    /// Moves the mean of the parameters by this share of the distance towards the present ones. The first call makes it
    /// equal to them.
    ///
    /// # Errors
    /// A failure of the device.
    fn average(&mut self, share: f32) -> Result<(), EngineError>;

    /// Exchanges the parameters for their mean, and back: moments and gradients stay. Changes nothing where there is no
    /// mean.
    ///
    /// # Errors
    /// A failure of the device.
    fn exchange_mean(&mut self) -> Result<(), EngineError>;

    /// The present parameters.
    ///
    /// # Errors
    /// A failure of the device.
    fn parameters(&self) -> Result<ParameterSet, EngineError>;

    /// The mean of the parameters; `None` before the first [`TrainingEngine::average`].
    ///
    /// # Errors
    /// A failure of the device.
    fn mean(&self) -> Result<Option<ParameterSet>, EngineError>;

    /// Adam's first and second moments, under the parameters' names.
    ///
    /// # Errors
    /// A failure of the device.
    fn moments(&self) -> Result<[ParameterSet; 2], EngineError>;

    /// Takes over a state, as saved. Gradients are cleared.
    ///
    /// # Errors
    /// Names or shapes that are not the network's.
    fn restore(&mut self, state: &EngineState) -> Result<(), EngineError>;
}

/// Everything of an engine that a training goes on from. Sets may hold other networks' parameters too.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineState {
    /// The parameters.
    pub parameters: ParameterSet,
    /// Adam's first and second moments.
    pub moments: [ParameterSet; 2],
    /// The mean of the parameters, where they are averaged.
    pub mean: Option<ParameterSet>,
}

/// Which gradients an engine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradients {
    /// Those of the parameters alone.
    Skip,
    /// Those of the inputs too.
    Compute,
}
