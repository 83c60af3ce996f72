//! Networks on the devices of candle, and layers as candle operations.
//!
//! [`CandleNetwork`] is a [`Network`](crate::Network) in candle operations: differentiable, and a basis for your own
//! models. [`CandleEngine`] trains it. [`ops`] has the kernels' layers for models composed by hand.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod engine;
mod layers;
mod network;
pub mod ops;
mod pass;
mod tape;

pub use engine::CandleEngine;
pub use network::{BatchStatistics, CandleNetwork};
pub(crate) use pass::{HostMemory, HostPass};
