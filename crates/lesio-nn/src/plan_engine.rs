//! Training by a plan.

use lesio_kernels::AdamUpdate;

use crate::engine::{Engine, EngineError, EngineState, InputGradients, TrainingEngine};
use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::ParameterSet;
use crate::plan::{AdamMoments, Differentiate, Gradients, MeasuredStatistics, Plan, PlanWeights};

/// Training by a [`Plan`]: the fast engine on a CPU.
pub struct PlanEngine {
    network: Network,
    differentiate: Differentiate,
    plan: Plan,
    mode: Mode,
    weights: PlanWeights,
    mean: Option<PlanWeights>,
    gradients: Gradients,
    moments: AdamMoments,
    /// Of the passes in training since the last update.
    statistics: MeasuredStatistics,
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
    /// For parameters that do not fit the network.
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
            mode: Mode::Train,
            mean: None,
            gradients: Gradients::zeros(&weights),
            moments: AdamMoments::zeros(&weights),
            statistics: MeasuredStatistics::default(),
            weights,
        })
    }
}

impl Engine for PlanEngine {
    fn network(&self) -> &Network {
        &self.network
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError> {
        if samples > self.plan.capacity() {
            self.plan = Plan::new(&self.network, samples, self.differentiate)?;
        }
        self.plan.forward(&self.weights, inputs, samples, self.mode)?;
        self.plan.collect_statistics(&mut self.statistics);
        Ok(())
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
}

impl TrainingEngine for PlanEngine {
    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn clear_gradients(&mut self) {
        self.gradients.clear();
        self.statistics.clear();
    }

    fn squared_gradient_norm(&self) -> Result<f64, EngineError> {
        Ok(self.gradients.squared_norm())
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError> {
        self.weights.adam_step(&self.gradients, &mut self.moments, update)?;
        self.statistics.apply(&mut self.weights);
        self.statistics.clear();
        Ok(())
    }

    fn average(&mut self, share: f32) -> Result<(), EngineError> {
        match &mut self.mean {
            Some(mean) => Ok(mean.move_towards(&self.weights, share)?),
            None => {
                self.mean = Some(self.weights.clone());
                Ok(())
            }
        }
    }

    fn exchange_mean(&mut self) -> Result<(), EngineError> {
        if let Some(mean) = &mut self.mean {
            std::mem::swap(mean, &mut self.weights);
            self.weights.pack()?;
        }
        Ok(())
    }

    fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(self.weights.to_parameters())
    }

    fn mean(&self) -> Result<Option<ParameterSet>, EngineError> {
        Ok(self.mean.as_ref().map(PlanWeights::to_parameters))
    }

    fn moments(&self) -> Result<[ParameterSet; 2], EngineError> {
        Ok(self.moments.to_parameters())
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), EngineError> {
        let weights = PlanWeights::new(&self.network, &state.parameters)?;
        let [first, second] = &state.moments;
        self.moments = AdamMoments::from_parameters(&weights, [first, second])?;
        self.mean = state.mean.as_ref().map(|mean| PlanWeights::new(&self.network, mean)).transpose()?;
        self.gradients = Gradients::zeros(&weights);
        self.statistics.clear();
        self.weights = weights;
        Ok(())
    }
}
