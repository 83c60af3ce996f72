//! Neural networks declared as values, computed by a planned CPU engine or on any device of candle.
//!
//! | task | items |
//! |---|---|
//! | declare a network | [`NetworkBuilder`], [`Layer`], [`Network`] |
//! | store its parameters, initialized from a seed | [`ParameterSet`], [`Initialization`] |
//! | choose the device | [`Device`]: lesio's kernels on the CPU, or with the feature `candle` any device of candle |
//! | compute it, with gradients with respect to its inputs | [`Inference`], [`Engine`], [`ImageBatch`] |
//! | train it | [`Objective`], [`Trainer`], [`TrainConfig`], [`TrainingEngine`] |
//! | save parameters and configuration in one file | [`model_file`] |
//! | load parameters from other programs | [`StateDict`], [`NameMap`] |
//! | plan and reuse buffers explicitly | [`Plan`], [`PlanWeights`] |
//! | compose a model of candle operations | `candle`, with the feature of that name |
//!
//! Training with the same seed gives the same bytes, and a training that continues from a checkpoint gives the same
//! bytes as an uninterrupted one.
//!
//! ```
//! use lesio_nn::{
//!     Activation, Convolution, Device, Differentiate, Engine, Inference, Initialization, Layer, NetworkBuilder,
//!     ParameterSet, Shape,
//! };
//!
//! let mut net = NetworkBuilder::new();
//! let image = net.input("image", Shape::new(1, 16, 16));
//! let features = net.layer("features", Layer::Convolution(Convolution::new(8, 3).padding(1)), &[image])?;
//! let active = net.layer("active", Layer::Activation(Activation::RELU), &[features])?;
//! let score = net.layer("score", Layer::Convolution(Convolution::new(1, 1)), &[active])?;
//! let network = net.finish(&[score])?;
//!
//! let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 0);
//! let inference = Inference::new(&network, &parameters, Differentiate::Inputs, &Device::Cpu)?;
//! let images = vec![0.5; 2 * 16 * 16];
//! let mut pass = inference.run(&[&images], 2)?;
//! assert_eq!(pass.output(0).len(), images.len());
//! pass.backward(&[&[1.0; 2 * 16 * 16]])?;
//! assert_eq!(pass.input_gradient(0).len(), images.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The feature `cuda` has the one function that starts kernels on a card.
#![cfg_attr(not(feature = "cuda"), forbid(unsafe_code))]
#![cfg_attr(feature = "cuda", deny(unsafe_code))]

mod batch;
#[cfg(feature = "candle")]
pub mod candle;
mod device;
mod engine;
mod inference;
mod layer;
mod mode;
pub mod model_file;
mod network;
mod optimizer;
mod parameter_spec;
mod parameters;
mod plan;
mod plan_engine;
pub mod random;
mod shape;
mod state_dict;
mod training;

pub use batch::{BatchError, ImageBatch};
pub use device::{Device, DeviceError};
pub use engine::{Engine, EngineError, EngineState, InputGradients, TrainingEngine};
pub use inference::{FixedEngine, Inference};
pub use layer::{Activation, Bias, Convolution, Layer};
pub use lesio_kernels::{AdamUpdate, Precision};
pub use lesio_settings::SettingError;
pub use mode::Mode;
pub use model_file::{LoadError, SaveError};
pub use network::{
    LARGEST_PARAMETERS, LARGEST_VALUES, Network, NetworkBuilder, NetworkError, Node, NodeId, Operation,
};
pub use optimizer::{AdamConfig, Schedule};
pub use parameter_spec::{ParameterSpec, Role};
pub use parameters::{Initialization, Parameter, ParameterError, ParameterSet};
pub use plan::{AdamMoments, Differentiate, Gradients, Plan, PlanError, PlanWeights};
pub use plan_engine::PlanEngine;
pub use shape::Shape;
#[doc(hidden)]
pub use state_dict::f32_from_half;
pub use state_dict::{NameMap, StateDict, StateDictError};
pub use training::{
    Batch, CheckpointError, EarlierCheckpoint, Ending, Engines, EpochRecord, Event, Objective, Terms,
    TrainConfig, TrainError, Trainer, checkpoint_epochs, checkpoint_exists, fingerprint,
};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
