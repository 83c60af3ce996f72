//! A network as a value: layers with names, shapes and skip connections, independent of how it is computed.

mod builder;
mod document;
mod error;
mod graph;
mod shapes;

pub use builder::NetworkBuilder;
pub use error::NetworkError;
pub use graph::{Network, Node, NodeId, Operation};
pub use shapes::{LARGEST_PARAMETERS, LARGEST_VALUES};
