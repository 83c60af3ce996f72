//! Neural networks declared as values, computed by candle or by a planned CPU engine.
//!
//! A [`Network`] is a small graph of [`Layer`]s with checked shapes. Its parameters live in a
//! [`ParameterSet`], initialized from a seed. [`CandleNetwork`] computes it on any device and
//! differentiates automatically; a [`Plan`] computes it with own kernels on a CPU, several times as fast,
//! and gives the same numbers up to rounding. A [`Trainer`] trains one or more networks for an [`Objective`], from a
//! seed to the same bytes each time, and goes on from its checkpoint as if it had never stopped.
//! [`candle_ops`] has the kernels' layers as candle operations, for models composed by hand.
//! [`model_file`] keeps parameters and configuration in one safetensors file.

#![forbid(unsafe_code)]

mod candle_network;
pub mod candle_ops;
mod checkpoint;
mod engine;
mod layer;
pub mod model_file;
mod network;
mod optimizer;
mod parameters;
mod plan;
mod plan_engine;
pub mod random;
mod shape;
mod storage;
mod trainer;

pub use candle_network::{BatchStatistics, CandleNetwork, Mode};
pub use checkpoint::CheckpointError;
pub use engine::{CandleEngine, EngineError, InputGradients, TrainingEngine};
pub use layer::{Activation, Bias, Convolution, Layer};
pub use lesio_settings::SettingError;
pub use model_file::{LoadError, SaveError};
pub use network::{
    LARGEST_PARAMETERS, LARGEST_VALUES, Network, NetworkBuilder, NetworkError, Node, NodeId, Operation,
    Precision,
};
pub use optimizer::{AdamConfig, AdamUpdate, Schedule};
pub use parameters::{Initialization, Parameter, ParameterError, ParameterSet, ParameterSpec, Role};
pub use plan::{AdamMoments, Differentiate, Gradients, Plan, PlanError, PlanWeights};
pub use plan_engine::{Inference, PlanEngine};
pub use shape::Shape;
pub use trainer::{Batch, Ending, EpochRecord, Event, Objective, Terms, TrainConfig, TrainError, Trainer};
