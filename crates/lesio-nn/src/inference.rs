//! A network with fixed parameters, on any device, from any thread.

use std::sync::{Mutex, PoisonError};

use crate::device::Device;
use crate::engine::{Engine, EngineError};
use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::ParameterSet;
use crate::plan::{Differentiate, Plan, PlanError, PlanWeights};

/// A network with fixed parameters, ready to be computed from any thread.
///
/// The parameters are stored once, in the layout of the engine. Buffers are allocated on demand and kept for the next
/// call.
#[derive(Debug)]
pub struct Inference {
    network: Network,
    backend: Backend,
}

enum Backend {
    Plan {
        differentiate: Differentiate,
        weights: PlanWeights,
        plans: Mutex<Vec<Plan>>,
    },
    #[cfg(feature = "candle")]
    Candle {
        network: crate::candle::CandleNetwork,
        device: candle_core::Device,
        differentiate: Differentiate,
        memory: Mutex<Vec<crate::candle::HostMemory>>,
    },
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plan { differentiate, .. } => {
                f.debug_struct("Plan").field("differentiate", differentiate).finish_non_exhaustive()
            }
            #[cfg(feature = "candle")]
            Self::Candle { device, .. } => {
                f.debug_struct("Candle").field("device", device).finish_non_exhaustive()
            }
        }
    }
}

/// Number of buffers kept: more simultaneous calls allocate new ones.
const KEPT: usize = 4;

/// An [`Inference`] with the buffers of its passes, which it gives back when it is dropped.
pub struct FixedEngine<'a> {
    inference: &'a Inference,
    /// `None` before the first pass.
    buffers: Option<Buffers>,
}

enum Buffers {
    Plan(Plan),
    #[cfg(feature = "candle")]
    Candle(crate::candle::HostPass),
}

impl std::fmt::Debug for FixedEngine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FixedEngine").field("inference", &self.inference).finish_non_exhaustive()
    }
}

impl Engine for FixedEngine<'_> {
    fn network(&self) -> &Network {
        &self.inference.network
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError> {
        match &self.inference.backend {
            Backend::Plan { differentiate, weights, plans } => {
                let mut plan = match self.buffers.take() {
                    Some(Buffers::Plan(plan)) if plan.capacity() >= samples => plan,
                    other => {
                        self.buffers = other;
                        self.give_back();
                        match kept(plans, samples) {
                            Some(plan) => plan,
                            None => Plan::new(&self.inference.network, samples.max(1), *differentiate)?,
                        }
                    }
                };
                let done = plan.forward(weights, inputs, samples, Mode::Evaluate);
                self.buffers = Some(Buffers::Plan(plan));
                Ok(done?)
            }
            #[cfg(feature = "candle")]
            Backend::Candle { network, device, differentiate, memory } => {
                // What an earlier pass holds is freed before the next needs as much.
                self.give_back();
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
                let (pass, _) = crate::candle::HostPass::new(
                    network,
                    device,
                    inputs,
                    samples,
                    *differentiate,
                    Mode::Evaluate,
                    memory,
                )?;
                self.buffers = Some(Buffers::Candle(pass));
                Ok(())
            }
        }
    }

    fn output(&self, index: usize) -> &[f32] {
        match &self.buffers {
            None => &[],
            Some(Buffers::Plan(plan)) => plan.output(index),
            #[cfg(feature = "candle")]
            Some(Buffers::Candle(pass)) => pass.output(index),
        }
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        match (&mut self.buffers, &self.inference.backend) {
            (Some(Buffers::Plan(plan)), Backend::Plan { weights, .. }) => {
                Ok(plan.backward(weights, output_gradients, None)?)
            }
            #[cfg(feature = "candle")]
            (Some(Buffers::Candle(pass)), Backend::Candle { network, .. }) => {
                pass.backward(network, output_gradients).map(|_| ())
            }
            _ => Err(PlanError::NoForwardPass.into()),
        }
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        match &self.buffers {
            None => &[],
            Some(Buffers::Plan(plan)) => plan.input_gradient(index),
            #[cfg(feature = "candle")]
            Some(Buffers::Candle(pass)) => pass.input_gradient(index),
        }
    }
}

impl FixedEngine<'_> {
    /// Keeps the buffers for the next engine.
    fn give_back(&mut self) {
        match (self.buffers.take(), &self.inference.backend) {
            (Some(Buffers::Plan(plan)), Backend::Plan { plans, .. }) => keep(plans, plan),
            #[cfg(feature = "candle")]
            (Some(Buffers::Candle(pass)), Backend::Candle { memory, .. }) => keep(memory, pass.into_memory()),
            _ => {}
        }
    }
}

impl Drop for FixedEngine<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Inference {
    /// A network with its parameters on a device; the set may hold others too. `differentiate` says whether backward
    /// passes will be requested: [`Differentiate::Nothing`] or [`Differentiate::Inputs`].
    ///
    /// # Errors
    /// For parameters that do not fit the network, [`EngineError::Precision`] for a network in bfloat16 on another
    /// device than
    /// [`Device::Cpu`], and if the device fails.
    pub fn new(
        network: &Network,
        parameters: &ParameterSet,
        differentiate: Differentiate,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let backend = match device {
            Device::Cpu => Backend::Plan {
                differentiate,
                weights: PlanWeights::new(network, parameters)?,
                plans: Mutex::default(),
            },
            #[cfg(feature = "candle")]
            Device::Candle(candle) => {
                device.check_precision(network)?;
                let single = candle_core::DType::F32;
                let network = crate::candle::CandleNetwork::new(network, parameters, single, candle)?;
                Backend::Candle { network, device: candle.clone(), differentiate, memory: Mutex::default() }
            }
        };
        Ok(Self { network: network.clone(), backend })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A copy of the parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(match &self.backend {
            Backend::Plan { weights, .. } => weights.to_parameters(),
            #[cfg(feature = "candle")]
            Backend::Candle { network, .. } => network.parameters()?,
        })
    }

    /// An engine of this network in evaluation mode. Any number may be used at the same time.
    #[must_use]
    pub fn engine(&self) -> FixedEngine<'_> {
        FixedEngine { inference: self, buffers: None }
    }

    /// Computes the outputs for `samples` samples in evaluation mode. The returned engine gives access to them and runs
    /// backward passes.
    ///
    /// # Errors
    /// For inputs of another number or length than declared, and if the device fails.
    pub fn run(&self, inputs: &[&[f32]], samples: usize) -> Result<FixedEngine<'_>, EngineError> {
        let mut engine = self.engine();
        engine.forward(inputs, samples)?;
        Ok(engine)
    }
}

fn keep<T>(all: &Mutex<Vec<T>>, one: T) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() < KEPT {
        all.push(one);
    }
}

/// The smallest kept plan that is large enough.
fn kept(plans: &Mutex<Vec<Plan>>, samples: usize) -> Option<Plan> {
    let mut plans = plans.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = plans.iter().enumerate().filter(|(_, plan)| plan.capacity() >= samples);
    let (index, _) = fits.min_by_key(|(_, plan)| plan.capacity())?;
    Some(plans.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bias, Initialization, Layer, NetworkBuilder, Shape};

    #[test]
    fn a_wrong_length_is_told_with_both_numbers() {
        let mut net = NetworkBuilder::new();
        let input = net.input("x", Shape::vector(3));
        let linear = net.layer("a", Layer::Linear { features: 2, bias: Bias::Learned }, &[input]).unwrap();
        let network = net.finish(&[linear]).unwrap();
        let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 1);
        let inference = Inference::new(&network, &parameters, Differentiate::Inputs, &Device::Cpu).unwrap();
        // In the message itself, and not again in a cause.
        let told = |error: EngineError| {
            assert!(std::error::Error::source(&error).is_none(), "{error:?}");
            error.to_string()
        };
        let short = inference.run(&[&[0.0; 5]], 2).unwrap_err();
        assert_eq!(told(short), "input 0 holds 5 values, expected 6");
        let none = inference.run(&[], 1).unwrap_err();
        assert_eq!(told(none), "0 inputs given, expected 1");
        let mut engine = inference.run(&[&[0.0; 6]], 2).unwrap();
        let short = engine.backward(&[&[0.0; 3]]).unwrap_err();
        assert_eq!(told(short), "output gradient 0 holds 3 values, expected 4");
        let early = inference.engine().backward(&[&[0.0; 4]]).unwrap_err();
        assert_eq!(told(early), "a backward pass needs a forward pass before it");
    }
}
