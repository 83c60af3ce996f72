//! A network with fixed parameters, on any device, from any thread.

use std::sync::{Mutex, PoisonError};

use crate::device::Device;
use crate::engine::EngineError;
use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::ParameterSet;
use crate::plan::{Differentiate, Plan, PlanWeights};

/// A network with fixed parameters, ready to be computed from any thread.
///
/// The parameters are held once, in the layout of the engine. Buffers are made when they are needed and kept for the
/// next call.
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

/// Plans kept: more than this many calls at once make new ones.
const KEPT: usize = 4;

/// A forward pass that was made, and the backward passes that may follow it.
#[derive(Debug)]
pub struct Pass<'a>(Made<'a>);

enum Made<'a> {
    Plan {
        plan: &'a mut Plan,
        weights: &'a PlanWeights,
    },
    #[cfg(feature = "candle")]
    Candle(crate::candle::HostPass),
}

impl std::fmt::Debug for Made<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plan { .. } => "Plan",
            #[cfg(feature = "candle")]
            Self::Candle(_) => "Candle",
        })
    }
}

impl Pass<'_> {
    /// An output, `[samples, channels, rows, columns]`, row-major; empty where there is none.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        match &self.0 {
            Made::Plan { plan, .. } => plan.output(index),
            #[cfg(feature = "candle")]
            Made::Candle(pass) => pass.output(index),
        }
    }

    /// Computes the gradients by the inputs from those by the outputs; may be called again with others.
    ///
    /// # Errors
    /// Gradients of another number or length than the outputs, a network that was not made for gradients, or a failure
    /// of the device.
    pub fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        match &mut self.0 {
            Made::Plan { plan, weights } => Ok(plan.backward(weights, output_gradients, None)?),
            #[cfg(feature = "candle")]
            Made::Candle(pass) => pass.backward(output_gradients),
        }
    }

    /// The gradient by an input from the last backward pass; empty before the first.
    #[must_use]
    pub fn input_gradient(&self, index: usize) -> &[f32] {
        match &self.0 {
            Made::Plan { plan, .. } => plan.input_gradient(index),
            #[cfg(feature = "candle")]
            Made::Candle(pass) => pass.input_gradient(index),
        }
    }
}

impl Inference {
    /// A network with its parameters on a device; the set may hold others too. `differentiate` says whether backward
    /// passes will be asked for: [`Differentiate::Nothing`] or [`Differentiate::Inputs`].
    ///
    /// # Errors
    /// Parameters that do not fit the network, [`EngineError::Precision`] for a network in bfloat16 on another device than
    /// [`Device::Cpu`], or a failure of the device.
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
                Backend::Candle { network, device: candle.clone(), differentiate }
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
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(match &self.backend {
            Backend::Plan { weights, .. } => weights.to_parameters(),
            #[cfg(feature = "candle")]
            Backend::Candle { network, .. } => network.parameters()?,
        })
    }

    /// Computes the outputs for `samples` samples in evaluation mode, hands them to `then`, which may run backward
    /// passes, and keeps the buffers.
    ///
    /// # Errors
    /// Inputs of another number or length than declared, a failure of the device, and what `then` reports.
    pub fn run<T, E: From<EngineError>>(
        &self,
        inputs: &[&[f32]],
        samples: usize,
        then: impl FnOnce(&mut Pass<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.backend {
            Backend::Plan { differentiate, weights, plans } => {
                let mut plan = match kept(plans, samples) {
                    Some(plan) => plan,
                    None => {
                        Plan::new(&self.network, samples.max(1), *differentiate).map_err(EngineError::from)?
                    }
                };
                plan.forward(weights, inputs, samples, Mode::Evaluate).map_err(EngineError::from)?;
                let result = then(&mut Pass(Made::Plan { plan: &mut plan, weights }));
                let mut plans = plans.lock().unwrap_or_else(PoisonError::into_inner);
                if plans.len() < KEPT {
                    plans.push(plan);
                }
                result
            }
            #[cfg(feature = "candle")]
            Backend::Candle { network, device, differentiate } => {
                let pass = crate::candle::HostPass::new(network, device, inputs, samples, *differentiate)?;
                then(&mut Pass(Made::Candle(pass)))
            }
        }
    }
}

/// The smallest kept plan that is large enough.
fn kept(plans: &Mutex<Vec<Plan>>, samples: usize) -> Option<Plan> {
    let mut plans = plans.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = plans.iter().enumerate().filter(|(_, plan)| plan.capacity() >= samples);
    let (index, _) = fits.min_by_key(|(_, plan)| plan.capacity())?;
    Some(plans.swap_remove(index))
}
