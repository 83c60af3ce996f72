//! Variational autoencoders of images: configuration, evidence lower bound, training.

#![forbid(unsafe_code)]

mod augmentation;
mod config;
mod corruption;
mod denoiser;
mod examples;
mod fast;
mod likelihood;
mod model;
mod network;
mod training;
mod vae;

pub use augmentation::{Augmentation, Mirror};
pub use config::{ConfigError, Latent, Normalization, VaeConfig};
pub use corruption::Corruption;
pub use denoiser::{Denoiser, DenoiserConfig, DenoiserObjective, DenoiserTraining};
pub use examples::{Examples, ExamplesError};
pub use likelihood::{LOG_SCALE_RANGE, Likelihood};
pub use model::{
    Gradients, LOG_VARIANCE_RANGE, Posterior, Reconstruction, Reconstructor, VariationalModel, Wanted,
    gradients_by_autograd,
};
pub use training::{Divergence, ENGINES, VaeObjective, VaeTraining};
pub use vae::{BuildError, Vae, initial_parameters, networks};
