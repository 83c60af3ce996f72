//! The engine that computes the networks: the one place that chooses it.

use candle_core::Device;
use lesio_nn::{CandleEngine, EngineError, InputGradients, Network, ParameterSet, TrainingEngine};

/// An engine for a network.
pub(crate) fn engine(
    network: &Network,
    parameters: &ParameterSet,
    input_gradients: InputGradients,
) -> Result<Box<dyn TrainingEngine>, EngineError> {
    let own = subset(network, parameters);
    Ok(Box::new(CandleEngine::new(network, &own, &Device::Cpu, input_gradients)?))
}

/// The parameters of one network out of a set of several networks'.
pub(crate) fn subset(network: &Network, parameters: &ParameterSet) -> ParameterSet {
    let mut own = ParameterSet::new();
    for spec in network.parameters() {
        if let Some(parameter) = parameters.get(&spec.name) {
            own.insert(spec.name, parameter.clone());
        }
    }
    own
}
