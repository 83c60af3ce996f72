//! Models whose networks are data: they need no code of their own to be read again.

use std::sync::Arc;

use lesio_nn::{Device, EngineError, Network, ParameterSet};
use lesio_vae::{
    BuildError, Likelihood, NetworkReconstructor, NetworkSegmenter, NetworkVae, Reconstructor,
    SegmentationModel, VariationalModel,
};
use serde::{Deserialize, Serialize};

/// What a [`DeclaredModel`] is made of, without its parameters: networks as values, such as another program declared them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeclaredConfig {
    /// A variational autoencoder, see [`NetworkVae`].
    Vae {
        /// Image to mean and log-variance.
        encoder: Network,
        /// Latent vector to the parameters of the likelihood.
        decoder: Network,
        /// The distribution of pixels.
        likelihood: Likelihood,
        /// The weight of the divergence in its bound.
        beta: f64,
    },
    /// An autoencoder or a denoiser: image to image.
    Reconstructor {
        /// The network.
        network: Network,
    },
    /// A network that marks anomalies: image to one logit a pixel.
    Segmenter {
        /// The network.
        network: Network,
    },
}

/// A model of networks that are data, with fixed parameters.
#[derive(Clone, Debug)]
pub struct DeclaredModel {
    config: DeclaredConfig,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Vae(Arc<NetworkVae>),
    Reconstructor(Arc<NetworkReconstructor>),
    Segmenter(Arc<NetworkSegmenter>),
}

impl DeclaredModel {
    /// A model of its networks and their parameters.
    ///
    /// # Errors
    /// As [`NetworkVae::new`], [`NetworkReconstructor::new`] and [`NetworkSegmenter::new`].
    pub fn new(
        config: DeclaredConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let kind = match &config {
            DeclaredConfig::Vae { encoder, decoder, likelihood, beta } => {
                Kind::Vae(NetworkVae::new(encoder, decoder, *likelihood, *beta, parameters, device)?.into())
            }
            DeclaredConfig::Reconstructor { network } => {
                Kind::Reconstructor(NetworkReconstructor::new(network, parameters, device)?.into())
            }
            DeclaredConfig::Segmenter { network } => {
                Kind::Segmenter(NetworkSegmenter::new(network, parameters, device)?.into())
            }
        };
        Ok(Self { config, kind })
    }

    /// What the model is made of.
    #[must_use]
    pub fn config(&self) -> &DeclaredConfig {
        &self.config
    }

    /// A copy of the parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        match &self.kind {
            Kind::Vae(vae) => vae.parameters(),
            Kind::Reconstructor(model) => model.parameters(),
            Kind::Segmenter(model) => model.parameters(),
        }
    }

    pub(crate) fn reconstructor(&self) -> Arc<dyn Reconstructor> {
        match &self.kind {
            Kind::Vae(vae) => vae.clone(),
            Kind::Reconstructor(model) => model.clone(),
            Kind::Segmenter(model) => model.clone(),
        }
    }

    pub(crate) fn variational(&self) -> Option<Arc<dyn VariationalModel>> {
        match &self.kind {
            Kind::Vae(vae) => Some(vae.clone()),
            _ => None,
        }
    }

    pub(crate) fn segmentation(&self) -> Option<Arc<dyn SegmentationModel>> {
        match &self.kind {
            Kind::Segmenter(model) => Some(model.clone()),
            _ => None,
        }
    }

    /// What the model is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Vae(_) => "declared variational autoencoder",
            Kind::Reconstructor(_) => "declared reconstructor",
            Kind::Segmenter(_) => "declared segmenter",
        }
    }

    /// Whether reconstructions say anything.
    pub(crate) fn restores(&self) -> bool {
        !matches!(self.kind, Kind::Segmenter(_))
    }
}
