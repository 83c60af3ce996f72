//! An engine that keeps what an objective gives it, and small data to learn from.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor, Var};
use lesio_nn::candle::CandleNetwork;
use lesio_nn::{
    AdamUpdate, Engine, EngineError, EngineState, Mode, Network, ParameterSet, Shape, TrainingEngine, random,
};
use lesio_vae::{Examples, LOG_SCALE_RANGE, Likelihood};

/// Computes a network by candle in f64 and keeps inputs, outputs and gradients for a test to look at.
pub struct Probe {
    net: CandleNetwork,
    mode: Mode,
    seen: Arc<Mutex<Seen>>,
    inputs: Vec<Var>,
    outputs: Vec<Tensor>,
    host: Vec<Vec<f32>>,
    input_gradients: Vec<Vec<f32>>,
}

/// What went through a [`Probe`].
#[derive(Default)]
pub struct Seen {
    pub inputs: Vec<Vec<f32>>,
    pub outputs: Vec<Vec<f32>>,
    pub modes: Vec<Mode>,
    /// Gradients of the parameters, summed over backward passes.
    pub gradients: BTreeMap<String, Vec<f64>>,
}

impl Probe {
    #[allow(clippy::new_ret_no_self)] // An engine, as the trainer holds it.
    pub fn new(network: &Network, parameters: &ParameterSet) -> (Box<dyn TrainingEngine>, Arc<Mutex<Seen>>) {
        let net = CandleNetwork::new(network, parameters, DType::F64, &Device::Cpu).unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let (host, input_gradients) =
            (vec![Vec::new(); network.outputs().len()], vec![Vec::new(); network.inputs().len()]);
        let (inputs, outputs) = (Vec::new(), Vec::new());
        let probe =
            Self { net, mode: Mode::Train, seen: seen.clone(), inputs, outputs, host, input_gradients };
        (Box::new(probe), seen)
    }
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn single(tensor: &Tensor) -> Vec<f32> {
    values(tensor).into_iter().map(|value| value as f32).collect()
}

/// `[samples, c, h, w]` in f64.
pub fn batch(values: &[f32], samples: usize, shape: Shape) -> Tensor {
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Tensor::from_vec(values, (samples, shape.channels, shape.height, shape.width), &Device::Cpu).unwrap()
}

impl Engine for Probe {
    fn network(&self) -> &Network {
        self.net.network()
    }

    fn forward(&mut self, inputs: &[&[f32]], samples: usize) -> Result<(), EngineError> {
        let shapes = self.net.network().input_shapes();
        let tensors = inputs.iter().zip(shapes).map(|(values, shape)| batch(values, samples, shape));
        self.inputs = tensors.map(|tensor| Var::from_tensor(&tensor).unwrap()).collect();
        let given: Vec<Tensor> = self.inputs.iter().map(|var| var.as_tensor().clone()).collect();
        (self.outputs, _) = self.net.forward_mode(&given, self.mode)?;
        self.host = self.outputs.iter().map(single).collect();
        let mut seen = self.seen.lock().unwrap();
        seen.inputs = inputs.iter().map(|input| input.to_vec()).collect();
        seen.outputs = self.host.clone();
        seen.modes.push(self.mode);
        Ok(())
    }

    fn output(&self, index: usize) -> &[f32] {
        &self.host[index]
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu)?;
        for (output, gradient) in self.outputs.iter().zip(output_gradients) {
            let gradient: Vec<f64> = gradient.iter().map(|&value| f64::from(value)).collect();
            let gradient = Tensor::from_vec(gradient, output.shape(), &Device::Cpu)?;
            sum = (sum + (output * gradient)?.sum_all()?)?;
        }
        let store = sum.backward()?;
        let mut seen = self.seen.lock().unwrap();
        for (name, var) in self.net.variables() {
            let gradient = store.get(var).map_or_else(|| vec![0.0; var.elem_count()], values);
            let held = seen.gradients.entry(name.to_owned()).or_insert_with(|| vec![0.0; gradient.len()]);
            held.iter_mut().zip(gradient).for_each(|(held, own)| *held += own);
        }
        self.input_gradients = self
            .inputs
            .iter()
            .map(|var| store.get(var).map_or_else(|| vec![0.0; var.elem_count()], single))
            .collect();
        Ok(())
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        &self.input_gradients[index]
    }
}

impl TrainingEngine for Probe {
    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn clear_gradients(&mut self) {
        self.seen.lock().unwrap().gradients.clear();
    }

    fn squared_gradient_norm(&self) -> Result<f64, EngineError> {
        let seen = self.seen.lock().unwrap();
        Ok(seen.gradients.values().flatten().map(|g| g * g).sum())
    }

    fn update(&mut self, _: &AdamUpdate) -> Result<(), EngineError> {
        Ok(())
    }

    fn average(&mut self, _: f32) -> Result<(), EngineError> {
        Ok(())
    }

    fn exchange_mean(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn parameters(&self) -> Result<ParameterSet, EngineError> {
        Ok(self.net.parameters()?)
    }

    fn mean(&self) -> Result<Option<ParameterSet>, EngineError> {
        Ok(None)
    }

    fn moments(&self) -> Result<[ParameterSet; 2], EngineError> {
        Ok([ParameterSet::new(), ParameterSet::new()])
    }

    fn restore(&mut self, _: &EngineState) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Smooth blobs on a background, values in (0, 1), with a region that leaves out the border.
pub fn blobs(shape: Shape, count: usize, seed: u64) -> Examples {
    let mut examples = Examples::new(shape);
    for sample in 0..count {
        let mut draws = vec![0.0; 4 * shape.channels];
        random::fill_normal(&mut random::generator(seed, sample as u64), &mut draws);
        let image: Vec<f32> = (0..shape.len())
            .map(|k| {
                let draw = &draws[4 * (k / shape.pixels())..];
                let (row, column) = (k % shape.pixels() / shape.width, k % shape.width);
                let down = row as f32 / shape.height as f32 - 0.5 - 0.1 * draw[0];
                let right = column as f32 / shape.width as f32 - 0.5 - 0.1 * draw[1];
                let size = 0.25 * (0.2 * draw[2]).exp();
                0.1 + 0.7
                    * (1.0 + 0.1 * draw[3]).clamp(0.5, 1.2)
                    * (-(down * down + right * right) / (size * size)).exp()
            })
            .collect();
        let region: Vec<bool> = (0..shape.pixels())
            .map(|p| {
                let (row, column) = (p / shape.width, p % shape.width);
                (1..shape.height - 1).contains(&row) && (1..shape.width - 1).contains(&column)
            })
            .collect();
        examples.push_region(&image, &region).unwrap();
    }
    examples
}

/// `-log p` of each pixel, from the definitions of the densities.
pub fn pixel_losses(likelihood: &Likelihood, x: &Tensor, outputs: &Tensor) -> candle_core::Result<Tensor> {
    match *likelihood {
        Likelihood::Gaussian { scale } => {
            let z = ((x - outputs)? / scale)?;
            (z.sqr()? * 0.5)? + (scale * (2.0 * PI).sqrt()).ln()
        }
        Likelihood::GaussianLearned => {
            let channels = x.dim(1)?;
            let mean = outputs.narrow(1, 0, channels)?;
            let [low, high] = LOG_SCALE_RANGE.map(f64::from);
            let log_scale = outputs.narrow(1, channels, channels)?.clamp(low, high)?;
            let z = ((x - mean)? / log_scale.exp()?)?;
            ((z.sqr()? * 0.5)? + log_scale)? + 0.5 * (2.0 * PI).ln()
        }
        Likelihood::Laplace { scale } => ((x - outputs)?.abs()? / scale)? + (2.0 * scale).ln(),
        Likelihood::Bernoulli => {
            let p = ((outputs.neg()?.exp()? + 1.0)?).recip()?;
            let one_minus = |t: &Tensor| t.neg()? + 1.0;
            let ones = (x * p.log()?)?;
            let zeros = (one_minus(x)? * one_minus(&p)?.log()?)?;
            (ones + zeros)?.neg()
        }
        _ => panic!("a likelihood without a formula here"),
    }
}
