//! One network while it trains, on either engine.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::candle_network::{BatchStatistics, CandleNetwork, Mode};
use crate::network::Network;
use crate::optimizer::AdamUpdate;
use crate::parameters::{Parameter, ParameterSet};

/// Why an engine could not compute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// candle failed.
    #[error("candle could not compute the network")]
    Candle(#[from] candle_core::Error),
    /// The plan failed.
    #[error("the plan could not compute the network")]
    Plan(#[from] crate::plan::PlanError),
    /// A slice given to the engine has another length than the network needs.
    #[error("{what} holds {found} values, expected {expected}")]
    Length {
        /// Which slice.
        what: String,
        /// Its length.
        found: usize,
        /// The length the network needs.
        expected: usize,
    },
    /// Moments or parameters do not fit the network.
    #[error(transparent)]
    Parameters(#[from] crate::parameters::ParameterError),
}

/// A network in training: weights, gradients and Adam's moments, and the passes over them.
///
/// Values are `[samples, channels, rows, columns]`, row-major. Both engines give the same numbers up
/// to rounding; an objective is written once against this trait.
pub trait TrainingEngine: Send {
    /// The network.
    fn network(&self) -> &Network;

    /// Computes the outputs of `samples` samples.
    ///
    /// # Errors
    /// Inputs of another number or length than declared, or a failure of the device.
    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError>;

    /// An output of the last forward pass; empty before the first.
    fn output(&self, index: usize) -> &[f32];

    /// Adds the parameters' gradients for these gradients of the outputs of the last forward pass,
    /// and computes the inputs' where the engine was made for it.
    ///
    /// # Errors
    /// Gradients of another number or length than the outputs, or a failure of the device.
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;

    /// Gradient of an input from the last backward pass; empty where the engine was not made for it.
    fn input_gradient(&self, index: usize) -> &[f32];

    /// Sets all gradients to 0 and forgets the statistics of batch normalizations not yet used.
    fn clear_gradients(&mut self);

    /// Sum of the squared gradients, in f64 and in a fixed order.
    ///
    /// # Errors
    /// A failure of the device.
    fn squared_gradient_norm(&self) -> Result<f64, EngineError>;

    /// Changes the parameters by one Adam update, and the running statistics of batch normalizations
    /// by those of the forward passes in [`Mode::Train`] since the last update.
    ///
    /// # Errors
    /// A failure of the device.
    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError>;

    /// The present parameters.
    ///
    /// # Errors
    /// A failure of the device.
    fn parameters(&self) -> Result<ParameterSet, EngineError>;

    /// Adam's first and second moments, under the parameters' names.
    ///
    /// # Errors
    /// A failure of the device.
    fn moments(&self) -> Result<[ParameterSet; 2], EngineError>;

    /// Takes over parameters and moments, as saved.
    ///
    /// # Errors
    /// Names or shapes that are not the network's.
    fn restore(
        &mut self,
        parameters: &ParameterSet,
        moments: Option<&[ParameterSet; 2]>,
    ) -> Result<(), EngineError>;
}

/// Which gradients an engine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradients {
    /// Those of the parameters alone.
    Skip,
    /// Those of the inputs too.
    Compute,
}

/// Training by candle's automatic differentiation: on any device, and the reference for the plan.
#[derive(Debug)]
pub struct CandleEngine {
    net: CandleNetwork,
    device: Device,
    input_gradients: InputGradients,
    inputs: Vec<candle_core::Var>,
    outputs: Vec<Tensor>,
    host_outputs: Vec<Vec<f32>>,
    host_input_gradients: Vec<Vec<f32>>,
    gradients: BTreeMap<String, Tensor>,
    first: BTreeMap<String, Tensor>,
    second: BTreeMap<String, Tensor>,
    statistics: Vec<BatchStatistics>,
}

impl CandleEngine {
    /// An engine for a network on a device.
    ///
    /// # Errors
    /// Parameters that do not fit, or a failure of the device.
    pub fn new(
        network: &Network,
        parameters: &ParameterSet,
        device: &Device,
        input_gradients: InputGradients,
    ) -> Result<Self, EngineError> {
        let net = CandleNetwork::new(network, parameters, DType::F32, device)?;
        let mut engine = Self {
            net,
            device: device.clone(),
            input_gradients,
            inputs: Vec::new(),
            outputs: Vec::new(),
            host_outputs: vec![Vec::new(); network.outputs().len()],
            host_input_gradients: vec![Vec::new(); network.inputs().len()],
            gradients: BTreeMap::new(),
            first: BTreeMap::new(),
            second: BTreeMap::new(),
            statistics: Vec::new(),
        };
        for spec in network.parameters().into_iter().filter(|spec| spec.role.is_trained()) {
            let zeros = Tensor::zeros(spec.shape.as_slice(), DType::F32, device)?;
            engine.gradients.insert(spec.name.clone(), zeros.clone());
            engine.first.insert(spec.name.clone(), zeros.clone());
            engine.second.insert(spec.name, zeros);
        }
        Ok(engine)
    }
}

fn host(tensor: &Tensor) -> Result<Vec<f32>, candle_core::Error> {
    tensor.flatten_all()?.to_vec1::<f32>()
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

impl TrainingEngine for CandleEngine {
    fn network(&self) -> &Network {
        self.net.network()
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize, mode: Mode) -> Result<(), EngineError> {
        self.inputs.clear();
        for (index, (values, shape)) in inputs.iter().zip(self.net.network().input_shapes()).enumerate() {
            let expected = samples * shape.len();
            if values.len() != expected {
                return Err(EngineError::Length {
                    what: format!("input {index}"),
                    found: values.len(),
                    expected,
                });
            }
            let dims = (samples, shape.channels, shape.height, shape.width);
            let tensor = Tensor::from_slice(values, dims, &self.device)?;
            self.inputs.push(candle_core::Var::from_tensor(&tensor)?);
        }
        let tensors: Vec<Tensor> = match self.input_gradients {
            InputGradients::Compute => self.inputs.iter().map(|var| var.as_tensor().clone()).collect(),
            InputGradients::Skip => self.inputs.iter().map(|var| var.as_detached_tensor()).collect(),
        };
        let (outputs, statistics) = self.net.forward_mode(&tensors, mode)?;
        self.statistics.extend(statistics);
        for (held, output) in self.host_outputs.iter_mut().zip(&outputs) {
            *held = host(output)?;
        }
        self.outputs = outputs;
        Ok(())
    }

    fn output(&self, index: usize) -> &[f32] {
        self.host_outputs.get(index).map_or(&[], Vec::as_slice)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        if output_gradients.len() != self.outputs.len() {
            let (found, expected) = (output_gradients.len(), self.outputs.len());
            return Err(EngineError::Length { what: "the list of output gradients".into(), found, expected });
        }
        let mut sum = Tensor::zeros((), DType::F32, &self.device)?;
        for (index, (output, gradient)) in self.outputs.iter().zip(output_gradients).enumerate() {
            if gradient.len() != output.elem_count() {
                let (found, expected) = (gradient.len(), output.elem_count());
                return Err(EngineError::Length {
                    what: format!("output gradient {index}"),
                    found,
                    expected,
                });
            }
            let gradient = Tensor::from_slice(gradient, output.shape(), &self.device)?;
            sum = (sum + (output * gradient)?.sum_all()?)?;
        }
        let store = sum.backward()?;
        for (name, held) in &mut self.gradients {
            if let Some(gradient) = self.net.variable(name).and_then(|var| store.get(var)) {
                *held = (&*held + gradient)?.detach();
            }
        }
        if self.input_gradients == InputGradients::Compute {
            for (held, var) in self.host_input_gradients.iter_mut().zip(&self.inputs) {
                *held = match store.get(var) {
                    Some(gradient) => host(gradient)?,
                    None => vec![0.0; var.elem_count()],
                };
            }
        }
        Ok(())
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.host_input_gradients.get(index).map_or(&[], Vec::as_slice)
    }

    fn clear_gradients(&mut self) {
        self.statistics.clear();
        for gradient in self.gradients.values_mut() {
            if let Ok(zeros) = gradient.zeros_like() {
                *gradient = zeros;
            }
        }
    }

    fn squared_gradient_norm(&self) -> Result<f64, EngineError> {
        let mut sum = 0.0;
        for gradient in self.gradients.values() {
            sum += host(gradient)?.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        }
        Ok(sum)
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<(), EngineError> {
        let correction1 = 1.0 - update.beta1.powf(update.step as f64);
        let correction2 = 1.0 - update.beta2.powf(update.step as f64);
        for (name, gradient) in &self.gradients {
            let Some(var) = self.net.variable(name) else { continue };
            let (Some(first), Some(second)) = (self.first.get_mut(name), self.second.get_mut(name)) else {
                continue;
            };
            let gradient = (gradient * update.gradient_scale)?;
            *first = ((&*first * update.beta1)? + (&gradient * (1.0 - update.beta1))?)?;
            *second = ((&*second * update.beta2)? + (gradient.sqr()? * (1.0 - update.beta2))?)?;
            let denominator = ((&*second / correction2)?.sqrt()? + update.epsilon)?;
            let direction = ((&*first / correction1)? / denominator)?;
            let kept = (var.as_detached_tensor() * (1.0 - update.rate * update.weight_decay))?;
            var.set(&(kept - (direction * update.rate)?)?)?;
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

    fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(self.net.parameters()?)
    }

    fn moments(&self) -> Result<[ParameterSet; 2], EngineError> {
        Ok([named(&self.first)?, named(&self.second)?])
    }

    fn restore(
        &mut self,
        parameters: &ParameterSet,
        moments: Option<&[ParameterSet; 2]>,
    ) -> Result<(), EngineError> {
        let network = self.net.network().clone();
        self.net = CandleNetwork::new(&network, parameters, DType::F32, &self.device)?;
        let Some([first, second]) = moments else { return Ok(()) };
        for (held, saved) in [(&mut self.first, first), (&mut self.second, second)] {
            for (name, tensor) in held {
                let missing = || crate::parameters::ParameterError::Missing { name: name.clone() };
                let parameter = saved.get(name).ok_or_else(missing)?;
                *tensor = Tensor::from_slice(parameter.values(), parameter.shape(), &self.device)?;
            }
        }
        Ok(())
    }
}
