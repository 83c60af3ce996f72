//! Export of networks and localizers to ONNX.

mod description;
mod error;
mod graph;
mod localizer;

pub use error::ExportError;
pub use graph::OPSET;
pub use localizer::{ExportConfig, Exported, Scaling, network_to_onnx};
