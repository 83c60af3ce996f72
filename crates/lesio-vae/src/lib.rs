//! Variational autoencoders of images: configuration, evidence lower bound, training; and a denoiser beside
//! them.
//!
//! - What is learnt from: [`Examples`], normal images of one [`Shape`](lesio_nn::Shape) with the region of each
//!   that matters; [`Augmentation`] and [`Corruption`] change them as they are drawn.
//! - The model: [`VaeConfig`] declares a [`Vae`], with a dense or spatial [`Latent`] space and a [`Likelihood`].
//!   [`DenoiserConfig`] declares a [`Denoiser`], which reconstructs and nothing more.
//! - Its training: a [`VaeObjective`] turns batches into the negative evidence lower bound and its gradients,
//!   with a [`Divergence`] that rises, has a capacity or leaves bits free; a [`Trainer`](lesio_nn::Trainer)
//!   does the rest. [`DenoiserObjective`] is the denoiser's.
//! - Networks that are taught with [`SyntheticAnomalies`]: a [`Restorer`] paints them away, an [`AnomalySegmenter`] marks
//!   them; [`SyntheticObjective`] teaches both.
//! - What others build on: [`Reconstructor`] and [`VariationalModel`], which a model of your own implements over plain
//!   slices. A [`NetworkVae`] is one of any two declared networks; with the feature `candle`, [`candle`] makes one of
//!   anything written with candle, whose gradients follow by automatic differentiation.
//!
//! The bound of an image x is `log p(x | z) - beta KL(q(z | x) | p(z))`, where q is normal with the mean and
//! log-variance that the encoder gives, p the standard normal, and z a draw of q in training, its mean else.
//! KL is `1/2 sum(mean^2 + variance - log variance - 1)`, in nats. The same seed gives the same model, whatever
//! the number of threads.
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
//! // One pixel in the corner that no normal image has: its likelihood is the lowest of all.
//! let mut image: Vec<f32> = square(0.7).collect();
//! image[7] = 0.9;
//! let loss = vae.gradients(ImageBatch::new(&image, config.image_shape())?, RequestedGradients::BOTH)?.loss;
//! assert!(loss.iter().enumerate().all(|(k, &own)| k == 7 || own < loss[7]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod network_vae;
mod restorer;
mod synthetic;
mod synthetic_training;
mod taught;
mod training;
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
    Gradients, LOG_VARIANCE_RANGE, ModelError, Posterior, Reconstructor, RequestedGradients,
    SegmentationModel, Segmented, VariationalModel,
};
pub use network_vae::NetworkVae;
pub use restorer::Restorer;
pub use synthetic::{AnomalyContent, Content, ContentInput, OwnContent, SyntheticAnomalies, WeightedContent};
pub use synthetic_training::{SyntheticObjective, SyntheticTraining};
pub use taught::TaughtConfig;
pub use training::{Divergence, ENGINES, VaeObjective, VaeTraining};
pub use vae::{Vae, initial_parameters, networks};
