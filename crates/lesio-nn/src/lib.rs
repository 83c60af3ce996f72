//! Neural networks declared as values, computed by candle or by a planned CPU engine.
//!
//! A [`Network`] is a small graph of [`Layer`]s with checked shapes. Its parameters live in a
//! [`ParameterSet`], initialized from a seed.

#![forbid(unsafe_code)]

mod candle_network;
mod layer;
mod network;
mod parameters;
pub mod random;
mod shape;

pub use candle_network::{BatchStatistics, CandleNetwork, Mode};
pub use layer::{Activation, Bias, Convolution, Layer};
pub use network::{Network, NetworkBuilder, NetworkError, Node, NodeId, Operation};
pub use parameters::{Initialization, Parameter, ParameterError, ParameterSet, ParameterSpec, Role};
pub use shape::Shape;
