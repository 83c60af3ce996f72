//! A network as a value: layers with names, shapes and skips, and nothing about how it is computed.

mod builder;
mod error;
mod graph;
mod shapes;

pub use builder::{LARGEST_PARAMETERS, LARGEST_VALUES, NetworkBuilder};
pub use error::NetworkError;
pub use graph::{Network, Node, NodeId, Operation};
