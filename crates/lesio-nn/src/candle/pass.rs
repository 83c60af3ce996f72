//! One pass of a network on a candle device, with its values on the host.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::network::{BatchStatistics, CandleNetwork};
use super::tape::{Gradients, Tape};
use crate::engine::EngineError;
use crate::mode::Mode;
use crate::plan::{Differentiate, PlanError};

/// A forward pass, and the backward passes that may follow it. Values are slices of the host.
#[derive(Debug)]
pub(crate) struct HostPass {
    differentiate: Differentiate,
    device: Device,
    /// Where backward passes may follow.
    tape: Option<Tape>,
    output_shapes: Vec<Vec<usize>>,
    input_lengths: Vec<usize>,
    memory: HostMemory,
}

/// What a pass gives to the host. The next pass writes to the same memory.
#[derive(Debug, Default)]
pub(crate) struct HostMemory {
    outputs: Vec<Vec<f32>>,
    input_gradients: Vec<Vec<f32>>,
}

impl HostPass {
    /// A pass, and the statistics of its batch normalizations.
    pub(crate) fn new(
        network: &CandleNetwork,
        device: &Device,
        inputs: &[&[f32]],
        samples: usize,
        differentiate: Differentiate,
        mode: Mode,
        memory: HostMemory,
    ) -> Result<(Self, Vec<BatchStatistics>), EngineError> {
        let shapes = network.network().input_shapes();
        if inputs.len() != shapes.len() {
            let (found, expected) = (inputs.len(), shapes.len());
            return Err(EngineError::Length { what: "the list of inputs".into(), found, expected });
        }
        let mut tensors = Vec::with_capacity(inputs.len());
        for (index, (values, shape)) in inputs.iter().zip(shapes).enumerate() {
            let (found, expected) = (values.len(), samples.saturating_mul(shape.len()));
            if found != expected {
                return Err(EngineError::Length { what: format!("input {index}"), found, expected });
            }
            let dims = (samples, shape.channels, shape.height, shape.width);
            tensors.push(Tensor::from_slice(values, dims, device)?);
        }
        let (tape, statistics) = Tape::record(network, &tensors, mode)?;
        let outputs = tape.outputs(network);
        let mut pass = Self {
            differentiate,
            device: device.clone(),
            tape: (differentiate != Differentiate::Nothing).then_some(tape),
            output_shapes: outputs.iter().map(|output| output.dims().to_vec()).collect(),
            input_lengths: inputs.iter().map(|values| values.len()).collect(),
            memory,
        };
        pass.memory.outputs.resize(outputs.len(), Vec::new());
        pass.memory.input_gradients.resize(inputs.len(), Vec::new());
        for (output, values) in outputs.iter().zip(&mut pass.memory.outputs) {
            read(output, values)?;
        }
        for values in &mut pass.memory.input_gradients {
            values.clear();
        }
        Ok((pass, statistics))
    }

    pub(crate) fn into_memory(self) -> HostMemory {
        self.memory
    }

    pub(crate) fn output(&self, index: usize) -> &[f32] {
        self.memory.outputs.get(index).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn input_gradient(&self, index: usize) -> &[f32] {
        self.memory.input_gradients.get(index).map_or(&[], Vec::as_slice)
    }

    /// Computes the gradients by the inputs, where they are wanted, and gives those by the parameters, likewise.
    pub(crate) fn backward(
        &mut self,
        network: &CandleNetwork,
        output_gradients: &[&[f32]],
    ) -> Result<BTreeMap<String, Tensor>, EngineError> {
        let Some(tape) = &self.tape else {
            return Err(PlanError::NotPrepared { what: "inputs or parameters" }.into());
        };
        if output_gradients.len() != self.output_shapes.len() {
            let (found, expected) = (output_gradients.len(), self.output_shapes.len());
            return Err(EngineError::Length { what: "the list of output gradients".into(), found, expected });
        }
        let mut by_outputs = Vec::with_capacity(output_gradients.len());
        for (index, (shape, gradient)) in self.output_shapes.iter().zip(output_gradients).enumerate() {
            let (found, expected) = (gradient.len(), shape.iter().product());
            if found != expected {
                let what = format!("output gradient {index}");
                return Err(EngineError::Length { what, found, expected });
            }
            by_outputs.push(Tensor::from_slice(gradient, shape.as_slice(), &self.device)?);
        }
        let Gradients { inputs, parameters } = tape.gradients(network, by_outputs, self.differentiate)?;
        if self.differentiate.inputs() {
            let lengths = self.input_lengths.iter();
            for ((held, found), &len) in self.memory.input_gradients.iter_mut().zip(inputs).zip(lengths) {
                match found {
                    Some(gradient) => read(&gradient, held)?,
                    None => *held = vec![0.0; len],
                }
            }
        }
        Ok(parameters)
    }
}

/// Puts the values of a tensor into memory that is there.
fn read(tensor: &Tensor, values: &mut Vec<f32>) -> Result<(), candle_core::Error> {
    #[cfg(feature = "cuda")]
    if super::cuda::has_kernels(tensor) {
        return super::cuda::read(tensor, values);
    }
    *values = host(tensor)?;
    Ok(())
}

/// The values of a tensor, row-major.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f32>, candle_core::Error> {
    tensor.flatten_all()?.to_vec1::<f32>()
}
