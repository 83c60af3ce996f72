//! The methods of estimation: the networks of each, and how they are joined.

mod description;
mod direct;
mod rec_reg;
mod regression;
mod second_opinion;
mod shape_only;
mod wiring;

use lesio_nn::{Device, Differentiate, Inference, Initialization, Network, ParameterSet};

use crate::config::{EstimatorConfig, Method};
use crate::error::QualityBuildError;
use crate::reconstructor;

pub use description::ModelNetwork;
pub(crate) use description::in_order;
pub(crate) use wiring::{Batch, OutputGradients, Outputs, Weigh, Wiring, check, whole_samples};

/// The networks of an estimator.
pub(crate) struct Networks {
    /// Those that are trained together, in the order of their engines.
    pub(crate) trained: Vec<Network>,
    /// The network that the method builds upon, trained before: REC-Net, or the regressor of [`Method::ShapeOnly`].
    pub(crate) pretrained: Option<Network>,
}

impl Networks {
    /// All of them, those that are trained together first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Network> {
        self.trained.iter().chain(&self.pretrained)
    }
}

impl EstimatorConfig {
    /// Initial parameters of the networks that are trained together, and of that on which they build.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn initial_parameters(&self, seed: u64) -> Result<ParameterSet, QualityBuildError> {
        let mut parameters = ParameterSet::new();
        for network in networks(self)?.all() {
            parameters.extend(ParameterSet::initialize(network, Initialization::HeNormal, seed));
        }
        Ok(parameters)
    }
}

/// The networks of a configuration.
///
/// # Errors
/// A configuration that is refused.
pub(crate) fn networks(config: &EstimatorConfig) -> Result<Networks, QualityBuildError> {
    config.validate()?;
    let (trained, pretrained) = match config.method {
        Method::RecReg => (vec![rec_reg::network(config)?], Some(reconstructor::network(config)?)),
        Method::Direct => (vec![direct::network(config)?], None),
        Method::ShapeOnly => (vec![shape_only::network(config)?], None),
        Method::SecondOpinion => (second_opinion::networks(config)?, Some(shape_only::network(config)?)),
    };
    Ok(Networks { trained, pretrained })
}

/// The wiring of a configuration on a device; `parameters` hold those of the pretrained network.
///
/// # Errors
/// A configuration that is refused, parameters that do not fit it, and failures of the device.
pub(crate) fn wiring(
    config: &EstimatorConfig,
    parameters: &ParameterSet,
    device: &Device,
) -> Result<Box<dyn Wiring>, QualityBuildError> {
    config.validate()?;
    let frozen =
        |network: &Network, differentiate| Inference::new(network, parameters, differentiate, device);
    Ok(match config.method {
        Method::RecReg => {
            let network = reconstructor::network(config)?;
            Box::new(rec_reg::RecReg { reconstructor: frozen(&network, Differentiate::Inputs)? })
        }
        Method::Direct => Box::new(direct::Direct),
        Method::ShapeOnly => Box::new(shape_only::ShapeOnly),
        Method::SecondOpinion => {
            let shape_only = frozen(&shape_only::network(config)?, Differentiate::Nothing)?;
            Box::new(second_opinion::SecondOpinion { shape_only, class_of: config.class_indices() })
        }
    })
}
