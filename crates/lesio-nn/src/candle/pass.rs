//! One pass of a network on a candle device, with its values on the host.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use super::network::{BatchStatistics, CandleNetwork};
use crate::engine::EngineError;
use crate::mode::Mode;
use crate::plan::{Differentiate, PlanError};

/// A forward pass, and the backward passes that may follow it. Values are slices of the host.
#[derive(Debug)]
pub(crate) struct HostPass {
    differentiate: Differentiate,
    inputs: Vec<Var>,
    outputs: Vec<Tensor>,
    host_outputs: Vec<Vec<f32>>,
    host_input_gradients: Vec<Vec<f32>>,
}

impl HostPass {
    /// A pass in evaluation mode.
    pub(crate) fn new(
        network: &CandleNetwork,
        device: &Device,
        inputs: &[&[f32]],
        samples: usize,
        differentiate: Differentiate,
    ) -> Result<Self, EngineError> {
        let made = Self::in_mode(network, device, inputs, samples, differentiate, Mode::Evaluate)?;
        Ok(made.0)
    }

    /// A pass in either mode, and the statistics of its batch normalizations.
    pub(crate) fn in_mode(
        network: &CandleNetwork,
        device: &Device,
        inputs: &[&[f32]],
        samples: usize,
        differentiate: Differentiate,
        mode: Mode,
    ) -> Result<(Self, Vec<BatchStatistics>), EngineError> {
        let shapes = network.network().input_shapes();
        if inputs.len() != shapes.len() {
            let (found, expected) = (inputs.len(), shapes.len());
            return Err(EngineError::Length { what: "the list of inputs".into(), found, expected });
        }
        let mut variables = Vec::with_capacity(inputs.len());
        for (index, (values, shape)) in inputs.iter().zip(shapes).enumerate() {
            let (found, expected) = (values.len(), samples.saturating_mul(shape.len()));
            if found != expected {
                return Err(EngineError::Length { what: format!("input {index}"), found, expected });
            }
            let dims = (samples, shape.channels, shape.height, shape.width);
            variables.push(Var::from_tensor(&Tensor::from_slice(values, dims, device)?)?);
        }
        let tensors: Vec<Tensor> = match differentiate.inputs() {
            true => variables.iter().map(|var| var.as_tensor().clone()).collect(),
            false => variables.iter().map(Var::as_detached_tensor).collect(),
        };
        let (outputs, statistics) = network.forward_mode(&tensors, mode)?;
        let host_outputs = outputs.iter().map(host).collect::<Result<_, _>>()?;
        let host_input_gradients = vec![Vec::new(); variables.len()];
        let pass = Self { differentiate, inputs: variables, outputs, host_outputs, host_input_gradients };
        Ok((pass, statistics))
    }

    pub(crate) fn output(&self, index: usize) -> &[f32] {
        self.host_outputs.get(index).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn input_gradient(&self, index: usize) -> &[f32] {
        self.host_input_gradients.get(index).map_or(&[], Vec::as_slice)
    }

    /// Computes the gradients by the inputs.
    pub(crate) fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        if self.differentiate == Differentiate::Nothing {
            return Err(PlanError::NotPrepared { what: "inputs or parameters" }.into());
        }
        self.differentiate(output_gradients).map(|_| ())
    }

    /// Computes the gradients by the inputs, where they are wanted, and gives those of all variables.
    pub(crate) fn differentiate(&mut self, output_gradients: &[&[f32]]) -> Result<GradStore, EngineError> {
        if output_gradients.len() != self.outputs.len() {
            let (found, expected) = (output_gradients.len(), self.outputs.len());
            return Err(EngineError::Length { what: "the list of output gradients".into(), found, expected });
        }
        let mut sum: Option<Tensor> = None;
        for (index, (output, gradient)) in self.outputs.iter().zip(output_gradients).enumerate() {
            if gradient.len() != output.elem_count() {
                let (found, expected) = (gradient.len(), output.elem_count());
                let what = format!("output gradient {index}");
                return Err(EngineError::Length { what, found, expected });
            }
            let gradient = Tensor::from_slice(gradient, output.shape(), output.device())?;
            let own = (output * gradient)?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        let sum = match sum {
            Some(sum) => sum,
            None => Tensor::zeros((), DType::F32, &Device::Cpu)?,
        };
        let store = sum.backward()?;
        if self.differentiate.inputs() {
            for (held, var) in self.host_input_gradients.iter_mut().zip(&self.inputs) {
                *held = match store.get(var) {
                    Some(gradient) => host(gradient)?,
                    None => vec![0.0; var.elem_count()],
                };
            }
        }
        Ok(store)
    }
}

/// The values of a tensor, row-major.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f32>, candle_core::Error> {
    tensor.flatten_all()?.to_vec1::<f32>()
}
