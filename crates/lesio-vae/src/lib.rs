//! Models of normal images: variational autoencoders, denoisers, and networks trained with synthetic anomalies.
//!
//! - Training data: [`Examples`], normal images of one [`Shape`](lesio_nn::Shape), each with its region of
//!   interest; [`Augmentation`] and [`Corruption`] change them at random.
//! - The model: [`VaeConfig`] declares a [`Vae`], with a dense or spatial [`Latent`] space and a [`Likelihood`].
//!   [`DenoiserConfig`] declares a [`Denoiser`], which only reconstructs.
//! - Training: a [`VaeObjective`] computes the negative evidence lower bound of batches and its gradients, with a
//!   [`Divergence`] that has a warm-up, a capacity or free bits; a [`Trainer`](lesio_nn::Trainer) runs it.
//!   [`DenoiserObjective`] is the objective of a denoiser.
//! - Networks trained with [`SyntheticAnomalies`]: a [`Restorer`] removes them, an [`AnomalySegmenter`] segments them;
//!   [`SyntheticObjective`] is the objective of both, and [`synthetic_examples`] shows what it teaches.
//! - Your own models: implement [`Reconstructor`] or [`VariationalModel`] on plain slices. A [`NetworkVae`] combines
//!   any two declared networks; with the feature `candle`, the module `candle` adapts models written with candle,
//!   with gradients by automatic differentiation.
//!
//! The bound of an image x is `log p(x | z) - beta KL(q(z | x) | p(z))`, where q is normal with the mean and
//! log-variance from the encoder, p is the standard normal, and z is a draw from q in training and its mean otherwise.
//! KL is `1/2 sum(mean^2 + variance - log variance - 1)`, in nats. The same seed gives the same model for
//! any number of threads.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use lesio_nn::{AdamConfig, Device, ImageBatch, InputGradients, TrainConfig, Trainer};
//! use lesio_vae::{
//!     Examples, Latent, Vae, VaeConfig, VaeObjective, VaeTraining, VariationalModel, RequestedGradients, initial_parameters,
//!     networks,
//! };
//!
//! // Normal images: a bright square of any brightness in the middle.
//! let config = VaeConfig::new(1, 8, 8).widths([4, 8]).latent(Latent::Dense { dimensions: 2 });
//! let square = |bright: f32| (0..64).map(move |k| if (2..6).contains(&(k / 8)) && (2..6).contains(&(k % 8)) { bright } else { 0.1 });
//! let mut normals = Examples::new(config.image_shape());
//! for k in 0..64 {
//!     normals.push(&square(0.5 + k as f32 / 128.0).collect::<Vec<_>>())?;
//! }
//!
//! let train = TrainConfig::default().epochs(40).adam(AdamConfig::default().rate(5e-3));
//! let training = VaeTraining::default().train(train);
//! let (encoder, decoder) = networks(&config)?;
//! let parameters = initial_parameters(&config, training.train.seed)?;
//! let objective = VaeObjective::new(config.clone(), training.clone(), normals, Examples::new(config.image_shape()))?;
//! let mut trainer = Trainer::new(
//!     objective,
//!     [
//!         Device::Cpu.training_engine(&encoder, &parameters, 32, InputGradients::Skip)?,
//!         Device::Cpu.training_engine(&decoder, &parameters, 32, InputGradients::Compute)?,
//!     ],
//!     training.train,
//! )?;
//! trainer.run(|_| ControlFlow::Continue(()))?;
//! let vae = Vae::from_parameters(config.clone(), 1.0, &trainer.parameters()?, &Device::Cpu)?;
//!
//! // A bright pixel in the corner occurs in no normal image: it has the lowest likelihood of all pixels.
//! let mut image: Vec<f32> = square(0.7).collect();
//! image[7] = 0.9;
//! let loss = vae.gradients(ImageBatch::new(&image, config.image_shape())?, RequestedGradients::BOTH)?.loss;
//! assert!(loss.iter().enumerate().all(|(k, &own)| k == 7 || own < loss[7]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod anomaly_segmenter;
mod augmentation;
#[cfg(feature = "candle")]
pub mod candle;
mod config;
mod corruption;
mod denoiser;
mod error;
mod examples;
mod likelihood;
mod model;
mod network;
mod network_reconstructor;
mod network_vae;
mod noise;
mod restorer;
mod synthetic;
mod synthetic_training;
mod taught;
mod training;
mod turn;
mod vae;

pub use anomaly_segmenter::AnomalySegmenter;
pub use augmentation::{Augmentation, Mirror};
pub use config::{ConfigError, Latent, Normalization, VaeConfig};
pub use corruption::Corruption;
pub use denoiser::{Denoiser, DenoiserConfig, DenoiserObjective, DenoiserTraining};
pub use error::BuildError;
pub use examples::{Examples, ExamplesError};
pub use lesio_settings::SettingError;
pub use likelihood::{LOG_SCALE_RANGE, Likelihood};
pub use model::{
    ImageGradients, LOG_VARIANCE_RANGE, ModelError, Posterior, Reconstructor, RequestedGradients,
    SegmentationModel, Segmented, VariationalModel,
};
pub use network_reconstructor::{NetworkReconstructor, NetworkSegmenter};
pub use network_vae::NetworkVae;
pub use restorer::Restorer;
pub use synthetic::{
    AnomalyContent, Areas, Content, ContentInput, OwnContent, SyntheticAnomalies, WeightedContent,
};
pub use synthetic_training::{SyntheticExample, SyntheticObjective, SyntheticTraining, synthetic_examples};
pub use taught::TaughtConfig;
pub use training::{Divergence, ENGINES, VaeObjective, VaeTraining};
pub use vae::{Vae, initial_parameters, networks};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
