//! The engines that compute the networks: the one place that chooses them.

use lesio_nn::{
    Differentiate, EngineError, InputGradients, Mode, Network, ParameterSet, Plan, PlanEngine, PlanWeights,
    TrainingEngine,
};

/// Samples that an engine makes room for at first.
const CAPACITY: usize = 16;

/// An engine for a network that is trained; the set may hold other networks' parameters too.
pub(crate) fn engine(
    network: &Network,
    parameters: &ParameterSet,
    input_gradients: InputGradients,
) -> Result<Box<dyn TrainingEngine>, EngineError> {
    Ok(Box::new(PlanEngine::new(network, parameters, CAPACITY, input_gradients)?))
}

/// A network as a link of a chain: passes forth and back, trained or not.
pub(crate) trait Link: Send {
    /// Computes the outputs of `samples` samples.
    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError>;
    /// An output of the last forward pass.
    fn output(&self, index: usize) -> &[f32];
    /// Computes the gradients by the inputs (and by the parameters, where they are trained).
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;
    /// The gradient by an input from the last backward pass.
    fn input_gradient(&self, index: usize) -> &[f32];
}

impl Link for Box<dyn TrainingEngine> {
    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError> {
        self.as_mut().forward(inputs, samples, mode)
    }

    fn output(&self, index: usize) -> &[f32] {
        self.as_ref().output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        self.as_mut().backward(output_gradients)
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.as_ref().input_gradient(index)
    }
}

/// A network with fixed parameters, of which gradients by the inputs alone are asked.
pub(crate) struct Frozen {
    network: Network,
    plan: Plan,
    weights: PlanWeights,
}

impl Frozen {
    /// A network with its parameters; the set may hold others too.
    pub(crate) fn new(network: &Network, parameters: &ParameterSet) -> Result<Self, EngineError> {
        Ok(Self {
            network: network.clone(),
            plan: Plan::new(network, CAPACITY, Differentiate::Inputs)?,
            weights: PlanWeights::new(network, parameters)?,
        })
    }
}

impl Link for Frozen {
    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError> {
        if samples > self.plan.capacity() {
            self.plan = Plan::new(&self.network, samples, Differentiate::Inputs)?;
        }
        Ok(self.plan.forward(&self.weights, inputs, samples, mode)?)
    }

    fn output(&self, index: usize) -> &[f32] {
        self.plan.output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        Ok(self.plan.backward(&self.weights, output_gradients, None)?)
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.plan.input_gradient(index)
    }
}
