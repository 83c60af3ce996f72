//! Neural networks declared as values, computed by a planned CPU engine or on any device of candle.
//!
//! A [`Network`] is a small graph of [`Layer`]s with checked shapes. Its parameters live in a
//! [`ParameterSet`], initialized from a seed. A [`Device`] says where it is computed: by a [`Plan`] with own kernels on the
//! CPU, or, with the feature `candle`, on any device of candle, which gives the same numbers up to rounding.
//! [`Inference`] is a network with fixed parameters; a [`Trainer`] trains one or more networks for an [`Objective`], from a
//! seed to the same bytes each time, and goes on from its checkpoint as if it had never stopped.
//! [`model_file`] keeps parameters and configuration in one safetensors file; a [`StateDict`] has those that other programs
//! trained. What crosses the boundary between models and
//! whoever asks them is an [`ImageBatch`].
//!
//! With the feature `candle`, [`candle`] has networks as candle modules, and the kernels' layers as candle operations for
//! models composed by hand.

#![forbid(unsafe_code)]

mod batch;
#[cfg(feature = "candle")]
pub mod candle;
mod checkpoint;
mod device;
mod engine;
mod inference;
mod layer;
mod mode;
pub mod model_file;
mod network;
mod optimizer;
mod parameters;
mod plan;
mod plan_engine;
pub mod random;
mod shape;
mod state_dict;
mod storage;
mod trainer;

pub use batch::{BatchError, ImageBatch};
pub use checkpoint::{CheckpointError, exists as checkpoint_exists};
pub use device::{Device, DeviceError};
pub use engine::{EngineError, InputGradients, TrainingEngine};
pub use inference::{Inference, Pass};
pub use layer::{Activation, Bias, Convolution, Layer};
pub use lesio_settings::SettingError;
pub use mode::Mode;
pub use model_file::{LoadError, SaveError};
pub use network::{
    LARGEST_PARAMETERS, LARGEST_VALUES, Network, NetworkBuilder, NetworkError, Node, NodeId, Operation,
    Precision,
};
pub use optimizer::{AdamConfig, AdamUpdate, Schedule};
pub use parameters::{Initialization, Parameter, ParameterError, ParameterSet, ParameterSpec, Role};
pub use plan::{AdamMoments, Differentiate, Gradients, Plan, PlanError, PlanWeights};
pub use plan_engine::PlanEngine;
pub use shape::Shape;
pub use state_dict::{NameMap, StateDict, StateDictError};
pub use trainer::{
    Batch, EarlierCheckpoint, Ending, EpochRecord, Event, Objective, Terms, TrainConfig, TrainError, Trainer,
};
