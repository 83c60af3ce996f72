//! Training by candle.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use lesio_kernels::AdamUpdate;

use super::network::{BatchStatistics, CandleNetwork};
use super::pass::{HostPass, host};
use crate::engine::{Engine, EngineError, EngineState, InputGradients, TrainingEngine};
use crate::mode::Mode;
use crate::network::Network;
use crate::parameters::{Parameter, ParameterSet};
use crate::plan::{Differentiate, PlanError};

/// Training by candle, on any of its devices.
#[derive(Debug)]
pub struct CandleEngine {
    net: CandleNetwork,
    device: Device,
    differentiate: Differentiate,
    mode: Mode,
    pass: Option<HostPass>,
    mean: Option<BTreeMap<String, Tensor>>,
    /// Gradients that no backward pass has reached are missing and count as 0.
    gradients: BTreeMap<String, Tensor>,
    /// First and second moments `[2, ...]` of every parameter that is trained.
    moments: BTreeMap<String, Tensor>,
    statistics: Vec<BatchStatistics>,
}

impl CandleEngine {
    /// An engine for a network on a device.
    ///
    /// # Errors
    /// For parameters that do not fit, and if the device fails.
    pub fn new(
        network: &Network,
        parameters: &ParameterSet,
        device: &Device,
        input_gradients: InputGradients,
    ) -> Result<Self, EngineError> {
        let net = CandleNetwork::new(network, parameters, DType::F32, device)?;
        let differentiate = match input_gradients {
            InputGradients::Skip => Differentiate::Parameters,
            InputGradients::Compute => Differentiate::Both,
        };
        let mut engine = Self {
            net,
            device: device.clone(),
            differentiate,
            mode: Mode::Train,
            pass: None,
            mean: None,
            gradients: BTreeMap::new(),
            moments: BTreeMap::new(),
            statistics: Vec::new(),
        };
        for spec in network.parameters().into_iter().filter(|spec| spec.role.is_trained()) {
            let shape = [&[2], spec.shape.as_slice()].concat();
            engine.moments.insert(spec.name, Tensor::zeros(shape, DType::F32, device)?);
        }
        Ok(engine)
    }

    /// A copy of all parameters on the device.
    fn copied(&self) -> Result<BTreeMap<String, Tensor>, EngineError> {
        let copy = |(name, var): (&str, &Var)| Ok((name.to_owned(), var.as_tensor().copy()?.detach()));
        self.net.variables().map(copy).collect()
    }
}

fn named(tensors: &BTreeMap<String, Tensor>) -> Result<ParameterSet, EngineError> {
    let mut set = ParameterSet::new();
    for (name, tensor) in tensors {
        if let Some(parameter) = Parameter::new(tensor.dims().to_vec(), host(tensor)?) {
            set.insert(name.clone(), parameter);
        }
    }
    Ok(set)
}

impl Engine for CandleEngine {
    fn network(&self) -> &Network {
        self.net.network()
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError> {
        let memory = self.pass.take().map(HostPass::into_memory).unwrap_or_default();
        let (pass, statistics) =
            HostPass::new(&self.net, &self.device, inputs, samples, self.differentiate, self.mode, memory)?;
        self.statistics.extend(statistics);
        self.pass = Some(pass);
        Ok(())
    }

    fn output(&self, index: usize) -> &[f32] {
        self.pass.as_ref().map_or(&[], |pass| pass.output(index))
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        let pass = self.pass.as_mut().ok_or(PlanError::NoForwardPass)?;
        for (name, gradient) in pass.backward(&self.net, output_gradients)? {
            let sum = match self.gradients.remove(&name) {
                Some(held) => (held + gradient)?,
                None => gradient,
            };
            self.gradients.insert(name, sum);
        }
        Ok(())
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.pass.as_ref().map_or(&[], |pass| pass.input_gradient(index))
    }
}

impl TrainingEngine for CandleEngine {
    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn clear_gradients(&mut self) {
        self.statistics.clear();
        self.gradients.clear();
    }

    fn squared_gradient_norm(&self) -> Result<f64, EngineError> {
        #[cfg(feature = "cuda")]
        if self.device.is_cuda() {
            return Ok(super::cuda::square_sum(self.gradients.values())?);
        }
        let mut sum = 0.0;
        for gradient in self.gradients.values() {
            sum += host(gradient)?.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        }
        Ok(sum)
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError> {
        for (name, moments) in &mut self.moments {
            let Some(var) = self.net.variable(name) else { continue };
            let gradient = match self.gradients.get(name) {
                Some(gradient) => gradient.clone(),
                None => var.as_detached_tensor().zeros_like()?,
            };
            adam(var, moments, &gradient, update)?;
        }
        for found in self.statistics.drain(..) {
            for (what, value) in [("running_mean", &found.mean), ("running_variance", &found.variance)] {
                let Some(var) = self.net.variable(&format!("{}.{what}", found.layer)) else { continue };
                let momentum = f64::from(found.momentum);
                var.set(&((var.as_detached_tensor() * (1.0 - momentum))? + (value * momentum)?)?)?;
            }
        }
        Ok(())
    }

    fn average(&mut self, share: f32) -> Result<(), EngineError> {
        let Some(mean) = &mut self.mean else {
            self.mean = Some(self.copied()?);
            return Ok(());
        };
        for (name, mean) in mean {
            let Some(var) = self.net.variable(name) else { continue };
            *mean = (&*mean + ((var.as_detached_tensor() - &*mean)? * f64::from(share))?)?;
        }
        Ok(())
    }

    fn exchange_mean(&mut self) -> Result<(), EngineError> {
        if self.mean.is_none() {
            return Ok(());
        }
        let present = self.copied()?;
        for (name, mean) in self.mean.replace(present).iter().flatten() {
            let Some(var) = self.net.variable(name) else { continue };
            var.set(mean)?;
        }
        Ok(())
    }

    fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(self.net.parameters()?)
    }

    fn mean(&self) -> Result<Option<ParameterSet>, EngineError> {
        self.mean.as_ref().map(named).transpose()
    }

    fn moments(&self) -> Result<[ParameterSet; 2], EngineError> {
        let part = |index| {
            let found = self.moments.iter().map(|(name, both)| Ok((name.clone(), both.get(index)?)));
            named(&found.collect::<Result<_, EngineError>>()?)
        };
        Ok([part(0)?, part(1)?])
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), EngineError> {
        let network = self.net.network().clone();
        self.net = CandleNetwork::new(&network, &state.parameters, DType::F32, &self.device)?;
        for (name, held) in &mut self.moments {
            let [first, second] = &state.moments;
            let part = |saved| tensor_of(saved, name, &self.device);
            *held = Tensor::stack(&[part(first)?, part(second)?], 0)?;
        }
        let names = network.parameters().into_iter().map(|spec| spec.name);
        let mean: Option<Result<_, EngineError>> = state.mean.as_ref().map(|saved| {
            names.map(|name| Ok((name.clone(), tensor_of(saved, &name, &self.device)?))).collect()
        });
        self.mean = mean.transpose()?;
        self.clear_gradients();
        Ok(())
    }
}

/// Changes the moments of a parameter by its gradient, and then the parameter by its moments.
fn adam(var: &Var, moments: &mut Tensor, gradient: &Tensor, update: &AdamUpdate) -> Result<(), EngineError> {
    #[cfg(feature = "cuda")]
    if super::cuda::has_kernels(gradient) {
        return Ok(super::cuda::adam(var.as_tensor(), moments, gradient, update)?);
    }
    let correction1 = 1.0 - update.beta1.powf(update.step as f64);
    let correction2 = 1.0 - update.beta2.powf(update.step as f64);
    let gradient = (gradient * update.gradient_scale)?;
    let first = ((moments.get(0)? * update.beta1)? + (&gradient * (1.0 - update.beta1))?)?;
    let second = ((moments.get(1)? * update.beta2)? + (gradient.sqr()? * (1.0 - update.beta2))?)?;
    *moments = Tensor::stack(&[&first, &second], 0)?;
    let denominator = ((second / correction2)?.sqrt()? + update.epsilon)?;
    let direction = ((first / correction1)? / denominator)?;
    let kept = (var.as_detached_tensor() * (1.0 - update.rate * update.weight_decay))?;
    var.set(&(kept - (direction * update.rate)?)?)?;
    Ok(())
}

fn tensor_of(set: &ParameterSet, name: &str, device: &Device) -> Result<Tensor, EngineError> {
    let missing = || crate::parameters::ParameterError::Missing { name: name.to_owned() };
    let parameter = set.get(name).ok_or_else(missing)?;
    Ok(Tensor::from_slice(parameter.values(), parameter.shape(), device)?)
}
