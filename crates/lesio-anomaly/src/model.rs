//! The models a localizer can hold.

use std::sync::Arc;

use candle_core::Device;
use lesio_nn::{ParameterSet, Shape};
use lesio_vae::{BuildError, Denoiser, DenoiserConfig, Reconstructor, Vae, VaeConfig, VariationalModel};
use serde::{Deserialize, Serialize};

/// A model of normal images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// A variational autoencoder: every predictor works.
    Vae(Arc<Vae>),
    /// A denoiser: the predictors work that compare an image with its reconstruction.
    Denoiser(Arc<Denoiser>),
}

/// What a model is made of, without its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelConfig {
    /// A variational autoencoder.
    Vae {
        /// Its configuration.
        config: VaeConfig,
        /// The weight of the divergence in its bound.
        beta: f64,
    },
    /// A denoiser.
    Denoiser {
        /// Its configuration.
        config: DenoiserConfig,
    },
}

impl Model {
    /// A model of a configuration and its parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
    pub fn new(config: ModelConfig, parameters: ParameterSet, device: &Device) -> Result<Self, BuildError> {
        Ok(match config {
            ModelConfig::Vae { config, beta } => {
                Self::Vae(Arc::new(Vae::from_parameters(config, beta, parameters, device)?))
            }
            ModelConfig::Denoiser { config } => {
                Self::Denoiser(Arc::new(Denoiser::from_parameters(config, parameters, device)?))
            }
        })
    }

    /// What the model is made of.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        match self {
            Self::Vae(vae) => ModelConfig::Vae { config: vae.config().clone(), beta: vae.beta() },
            Self::Denoiser(denoiser) => ModelConfig::Denoiser { config: denoiser.config().clone() },
        }
    }

    /// The model's parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        match self {
            Self::Vae(vae) => vae.parameters(),
            Self::Denoiser(denoiser) => denoiser.parameters(),
        }
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        match self {
            Self::Vae(vae) => vae.config().image_shape(),
            Self::Denoiser(denoiser) => denoiser.config().image_shape(),
        }
    }

    /// The model as one that reconstructs.
    #[must_use]
    pub fn reconstructor(&self) -> Arc<dyn Reconstructor> {
        match self {
            Self::Vae(vae) => vae.clone(),
            Self::Denoiser(denoiser) => denoiser.clone(),
        }
    }

    /// The model as a variational one, where it is.
    #[must_use]
    pub fn variational(&self) -> Option<Arc<dyn VariationalModel>> {
        match self {
            Self::Vae(vae) => Some(vae.clone()),
            Self::Denoiser(_) => None,
        }
    }

    /// What the model is called in messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Vae(_) => "variational autoencoder",
            Self::Denoiser(_) => "denoiser",
        }
    }
}
