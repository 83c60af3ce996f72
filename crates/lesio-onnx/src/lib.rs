//! Models of other programs, by way of ONNX: an ONNX graph becomes a [`Network`](lesio_nn::Network) with its parameters, which
//! both engines compute, gradients with respect to inputs included.
//!
//! | to | see |
//! |---|---|
//! | read a model | [`OnnxModel::read`] |
//! | make a network of it, or of a part | [`OnnxModel::network`] |
//! | make encoder and decoder of a VAE, from one model or two | [`ConvertedVae`] |
//! | make a model of a localizer | [`ImportConfig::import`] |
//! | write a localizer or a network as ONNX | [`ExportConfig::export`], [`network_to_onnx`] |
//! | take weights of a `state_dict` instead | [`OnnxModel::replace_weights`] |
//!
//! Operators are read as opsets 9 to 24 define them, as far as lesio has a layer that computes the same or weights can be
//! rearranged so that one does. Whatever is not supported is an error that names operator, opset and node. A network takes
//! any batch size, also where the model fixes one.
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
mod import;
mod ir;
mod lower;
mod model;
mod network;
mod proto;
mod simplify;
mod tensor;
mod vae;
mod views;

pub use error::{NodeName, OnnxError};
pub use export::{ExportConfig, ExportError, Exported, OPSET, Scaling, network_to_onnx};
pub use extract::Converted;
pub use import::{ImportConfig, ImportError, Imported, ImportedKind};
pub use model::{LARGEST_FILE, OnnxModel};
pub use network::{Ending, Sigmoid};
pub use vae::{ConvertedVae, VaeTensors};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
