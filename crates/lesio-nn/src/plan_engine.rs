//! Training by a plan.

use lesio_kernels::AdamUpdate;

use crate::engine::{EngineError, InputGradients, TrainingEngine};
use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::ParameterSet;
use crate::plan::{AdamMoments, Differentiate, Gradients, Plan, PlanWeights};

/// Training by a [`Plan`]: the fast engine on a CPU.
pub struct PlanEngine {
    network: Network,
    differentiate: Differentiate,
    plan: Plan,
    weights: PlanWeights,
    gradients: Gradients,
    moments: AdamMoments,
}

impl std::fmt::Debug for PlanEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanEngine").field("capacity", &self.plan.capacity()).finish_non_exhaustive()
    }
}

impl PlanEngine {
    /// An engine for batches of up to `capacity` samples; a larger batch makes it grow.
    ///
    /// # Errors
    /// Parameters that do not fit the network.
    pub fn new(
        network: &Network,
        parameters: &ParameterSet,
        capacity: usize,
        input_gradients: InputGradients,
    ) -> Result<Self, EngineError> {
        let differentiate = match input_gradients {
            InputGradients::Skip => Differentiate::Parameters,
            InputGradients::Compute => Differentiate::Both,
        };
        let weights = PlanWeights::new(network, parameters)?;
        Ok(Self {
            network: network.clone(),
            differentiate,
            plan: Plan::new(network, capacity, differentiate)?,
            gradients: Gradients::zeros(&weights),
            moments: AdamMoments::zeros(&weights),
            weights,
        })
    }
}

impl TrainingEngine for PlanEngine {
    fn network(&self) -> &Network {
        &self.network
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError> {
        if samples > self.plan.capacity() {
            self.plan = Plan::new(&self.network, samples, self.differentiate)?;
        }
        Ok(self.plan.forward(&self.weights, inputs, samples, mode)?)
    }

    fn output(&self, index: usize) -> &[f32] {
        self.plan.output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        Ok(self.plan.backward(&self.weights, output_gradients, Some(&mut self.gradients))?)
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.plan.input_gradient(index)
    }

    fn clear_gradients(&mut self) {
        self.gradients.clear();
    }

    fn squared_gradient_norm(&self) -> Result<f64, EngineError> {
        Ok(self.gradients.squared_norm())
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError> {
        self.weights.adam_step(&self.gradients, &mut self.moments, update)?;
        self.plan.update_running_statistics(&mut self.weights);
        Ok(())
    }

    fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(self.weights.to_parameters())
    }

    fn moments(&self) -> Result<[ParameterSet; 2], EngineError> {
        Ok(self.moments.to_parameters())
    }

    fn restore(
        &mut self,
        parameters: &ParameterSet,
        moments: Option<&[ParameterSet; 2]>,
    ) -> Result<(), EngineError> {
        let weights = PlanWeights::new(&self.network, parameters)?;
        let moments = match moments {
            Some([first, second]) => AdamMoments::from_parameters(&weights, [first, second])?,
            None => AdamMoments::zeros(&weights),
        };
        self.gradients = Gradients::zeros(&weights);
        self.weights = weights;
        self.moments = moments;
        Ok(())
    }
}
