//! The models a localizer can hold.

use std::fmt;
use std::sync::Arc;

use lesio_nn::{Device, EngineError, ParameterSet, Shape};
use lesio_settings::SettingError;
use lesio_vae::{
    AnomalySegmenter, BuildError, Denoiser, DenoiserConfig, Reconstructor, Restorer, SegmentationModel,
    TaughtConfig, Vae, VaeConfig, VariationalModel,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::declared::{DeclaredConfig, DeclaredModel};
use crate::own_name::OwnName;

/// A model of normal images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// A variational autoencoder: every predictor but [`AnomalyLogit`](crate::PredictorName::AnomalyLogit) works.
    Vae(Arc<Vae>),
    /// A denoiser: only predictors that compare an image with its reconstruction work.
    Denoiser(Arc<Denoiser>),
    /// A restorer, trained with synthetic anomalies: works like a denoiser.
    Restorer(Arc<Restorer>),
    /// A segmenter, trained with synthetic anomalies: works like a denoiser, and with the predictor of its logits.
    Segmenter(Arc<AnomalySegmenter>),
    /// A model whose networks are data, such as an imported one. Its kind decides which predictors it supports.
    Declared(DeclaredModel),
    /// A user-defined model.
    Own(OwnModel),
}

/// The configuration of a model, without its parameters.
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
    /// A restorer.
    Restorer {
        /// Its configuration, including the synthetic anomalies of its training.
        config: TaughtConfig,
    },
    /// A segmenter.
    Segmenter {
        /// Its configuration, including the synthetic anomalies of its training.
        config: TaughtConfig,
    },
    /// A model whose networks are data.
    Declared {
        /// The networks.
        config: DeclaredConfig,
    },
    /// A user-defined model, made by the function that is registered for its name.
    Own {
        /// The name.
        name: String,
        /// The configuration for that function.
        config: Value,
    },
}

/// A user-defined model: a reconstructor, a segmentation model or a variational model.
///
/// A localizer's file contains its name, parameters and configuration, but not its code: to load it, pass
/// [`Localizer::load_with`](crate::Localizer::load_with) a function that makes it.
#[derive(Clone)]
pub struct OwnModel {
    name: OwnName,
    config: Value,
    parameters: ParameterSet,
    reconstructor: Arc<dyn Reconstructor>,
    variational: Option<Arc<dyn VariationalModel>>,
    segmentation: Option<Arc<dyn SegmentationModel>>,
}

impl fmt::Debug for OwnModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnModel")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl OwnModel {
    /// A variational model: every predictor but [`AnomalyLogit`](crate::PredictorName::AnomalyLogit) works.
    ///
    /// # Errors
    /// [`SettingError`] as [`OwnName::new`].
    pub fn variational<M: VariationalModel + 'static>(
        name: &str,
        model: Arc<M>,
    ) -> Result<Self, SettingError> {
        let mut own = Self::reconstructor(name, model.clone())?;
        own.variational = Some(model);
        Ok(own)
    }

    /// A model that segments anomalies: its logits are a predictor, and predictors that compare an image with its
    /// reconstruction work, too.
    ///
    /// # Errors
    /// [`SettingError`] as [`OwnName::new`].
    pub fn segmentation<M: SegmentationModel + 'static>(
        name: &str,
        model: Arc<M>,
    ) -> Result<Self, SettingError> {
        let mut own = Self::reconstructor(name, model.clone())?;
        own.segmentation = Some(model);
        Ok(own)
    }

    /// A model that reconstructs: only predictors that compare an image with its reconstruction work.
    ///
    /// # Errors
    /// [`SettingError`] as [`OwnName::new`].
    pub fn reconstructor<M: Reconstructor + 'static>(
        name: &str,
        model: Arc<M>,
    ) -> Result<Self, SettingError> {
        let name = OwnName::new(name)?;
        let parameters = ParameterSet::new();
        Ok(Self {
            name,
            config: Value::Null,
            parameters,
            reconstructor: model,
            variational: None,
            segmentation: None,
        })
    }

    /// Sets the parameters that are saved with it. Default none.
    #[must_use]
    pub fn parameters(mut self, parameters: ParameterSet) -> Self {
        self.parameters = parameters;
        self
    }

    /// Sets a configuration that is saved with it. Default null.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl From<OwnModel> for Model {
    fn from(own: OwnModel) -> Self {
        Self::Own(own)
    }
}

impl Model {
    /// Makes a built-in model of a configuration and its parameters.
    ///
    /// # Errors
    /// For an invalid configuration, the configuration of a user-defined model, parameters that do not fit, and if the
    /// device fails.
    pub fn new(config: &ModelConfig, parameters: &ParameterSet, device: &Device) -> Result<Self, BuildError> {
        Ok(match config.clone() {
            ModelConfig::Vae { config, beta } => {
                Self::Vae(Arc::new(Vae::from_parameters(config, beta, parameters, device)?))
            }
            ModelConfig::Denoiser { config } => {
                Self::Denoiser(Arc::new(Denoiser::from_parameters(config, parameters, device)?))
            }
            ModelConfig::Restorer { config } => {
                Self::Restorer(Arc::new(Restorer::from_parameters(config, parameters, device)?))
            }
            ModelConfig::Segmenter { config } => {
                Self::Segmenter(Arc::new(AnomalySegmenter::from_parameters(config, parameters, device)?))
            }
            ModelConfig::Declared { config } => {
                Self::Declared(DeclaredModel::new(config, parameters, device)?)
            }
            ModelConfig::Own { name, .. } => {
                return Err(BuildError::Networks(format!(
                    "the model {name:?} is not built in, and no function was registered for it"
                )));
            }
        })
    }

    /// The configuration of the model.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        match self {
            Self::Vae(vae) => ModelConfig::Vae { config: vae.config().clone(), beta: vae.beta() },
            Self::Denoiser(denoiser) => ModelConfig::Denoiser { config: denoiser.config().clone() },
            Self::Restorer(restorer) => ModelConfig::Restorer { config: restorer.config().clone() },
            Self::Segmenter(segmenter) => ModelConfig::Segmenter { config: segmenter.config().clone() },
            Self::Declared(declared) => ModelConfig::Declared { config: declared.config().clone() },
            Self::Own(own) => ModelConfig::Own { name: own.name().to_owned(), config: own.config.clone() },
        }
    }

    /// A copy of the model's parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        match self {
            Self::Vae(vae) => vae.parameters(),
            Self::Denoiser(denoiser) => denoiser.parameters(),
            Self::Restorer(restorer) => restorer.parameters(),
            Self::Segmenter(segmenter) => segmenter.parameters(),
            Self::Declared(declared) => declared.parameters(),
            Self::Own(own) => Ok(own.parameters.clone()),
        }
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        self.reconstructor().image_shape()
    }

    /// The model as a reconstructor.
    #[must_use]
    pub fn reconstructor(&self) -> Arc<dyn Reconstructor> {
        match self {
            Self::Vae(vae) => vae.clone(),
            Self::Denoiser(denoiser) => denoiser.clone(),
            Self::Restorer(restorer) => restorer.clone(),
            Self::Segmenter(segmenter) => segmenter.clone(),
            Self::Declared(declared) => declared.reconstructor(),
            Self::Own(own) => own.reconstructor.clone(),
        }
    }

    /// The model as a variational model, if it is one.
    #[must_use]
    pub fn variational(&self) -> Option<Arc<dyn VariationalModel>> {
        match self {
            Self::Vae(vae) => Some(vae.clone()),
            Self::Denoiser(_) | Self::Restorer(_) | Self::Segmenter(_) => None,
            Self::Declared(declared) => declared.variational(),
            Self::Own(own) => own.variational.clone(),
        }
    }

    /// The model as a segmentation model, if it is one.
    #[must_use]
    pub fn segmentation(&self) -> Option<Arc<dyn SegmentationModel>> {
        match self {
            Self::Segmenter(segmenter) => Some(segmenter.clone()),
            Self::Declared(declared) => declared.segmentation(),
            Self::Own(own) => own.segmentation.clone(),
            _ => None,
        }
    }

    /// Whether the model reconstructs the normal image. A declared segmenter does not.
    #[must_use]
    pub fn restores(&self) -> bool {
        match self {
            Self::Declared(declared) => declared.restores(),
            _ => true,
        }
    }

    /// The name of the model in messages.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Vae(_) => "variational autoencoder".to_owned(),
            Self::Denoiser(_) => "denoiser".to_owned(),
            Self::Restorer(_) => "restorer".to_owned(),
            Self::Segmenter(_) => "segmenter".to_owned(),
            Self::Declared(declared) => declared.kind().to_owned(),
            Self::Own(own) => format!("model {:?}", own.name()),
        }
    }
}
