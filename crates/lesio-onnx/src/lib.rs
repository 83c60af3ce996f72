//! Import and export of ONNX models. An ONNX graph becomes a [`Network`](lesio_nn::Network) with its parameters,
//! which both engines compute, including gradients with respect to inputs.
//!
//! | to | see |
//! |---|---|
//! | read a model | [`OnnxModel::read`] |
//! | convert it, or a part, to a network | [`OnnxModel::network`] |
//! | convert one or two models to the encoder and decoder of a VAE | [`ConvertedVae`] |
//! | import a model for a localizer | [`ImportConfig::import`] |
//! | write a localizer or a network as ONNX | [`ExportConfig::export`], [`network_to_onnx`] |
//! | replace weights by those of a `state_dict` | [`OnnxModel::replace_weights`] |
//!
//! lesio reads operators of opsets 9 to 24, if it has a layer that computes the same, or if the weights
//! can be rearranged so that a layer does. An operator that is not supported is an error that names the operator, the
//! opset and the node. A network takes any batch size, even if the model fixes one.
//!
//! ```
//! use lesio_onnx::{OnnxError, OnnxModel};
//!
//! let damaged = OnnxModel::from_bytes(&[0x3a, 0x05, 0x01]);
//! assert!(matches!(damaged, Err(OnnxError::Model(_))));
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod args;
mod census;
mod error;
mod export;
mod extract;
mod fold;
#[cfg(test)]
mod hostile;
mod image;
mod import;
mod ir;
mod lower;
mod model;
mod network;
mod proto;
mod sampling;
mod simplify;
mod tensor;
mod vae;
mod views;

pub use error::{NodeName, OnnxError};
pub use export::{ExportConfig, ExportError, Exported, OPSET, Scaling, network_to_onnx};
pub use extract::Converted;
pub use import::{ImportConfig, ImportError, Imported, ImportedKind};
pub use model::{LARGEST_FILE, OnnxModel};
pub use network::{OutputForm, Sigmoid};
pub use vae::{ConvertedVae, VaeTensors};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
