//! The whole cases that lesio is measured by.
//!
//! A [`Case`] is one piece of work, such as a training step of a VAE, with its data prepared:
//! [`prepare`] makes it by name from the files that [`export`] and `peers/store.py` write. Two
//! programs run the cases: `benches/cases.rs` with criterion, and the worker that `peers/run` sets
//! against PyTorch, ONNX Runtime, scikit-learn, scipy and nibabel.

mod cases;
mod networks;
mod objective;
mod process;
mod sgemm;
mod tensors;

pub use cases::{Case, NAMES, export, prepare};
pub use networks::{IMAGE, LATENT, Normalization, unet, vae_decoder, vae_encoder};
pub use objective::{ElboGradients, negative_elbo, sample, squared_error};
pub use process::{peak_bytes, reset_peak, resident_bytes, waited_seconds};
pub use tensors::{Tensor, Tensors, Values};

/// Results of a program that only reports what went wrong.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
