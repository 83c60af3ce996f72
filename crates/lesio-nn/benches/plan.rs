//! Passes of the plan on the networks of docs/performance.md, on their own: no peer, no files.
//!
//! `cargo bench -p lesio-nn --bench plan -- [NAME PART]... [--seconds N] [--layers]`. Prints, for each
//! case, the least and the median wall time and the least processor time of one pass; with `--layers`
//! the processor time of each layer alone. On a machine that others use too, compare processor times
//! with one thread (`RAYON_NUM_THREADS=1`).

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A program that prints.

use std::time::{Duration, Instant};

use lesio_nn::{
    Activation, AdamConfig, AdamMoments, Bias, Convolution, Differentiate, Gradients, Initialization, Layer,
    Mode, Network, NetworkBuilder, NodeId, ParameterSet, Plan, PlanWeights, Shape,
};

const LEAKY: Layer = Layer::Activation(Activation::LeakyRelu { slope: 0.2 });
const LATENT: usize = 128;

fn linear(features: usize) -> Layer {
    Layer::Linear { features, bias: Bias::Learned }
}

/// 1-32-64-128-256 channels, 4x4 stride 2, then mean and log-variance of 128.
fn encoder() -> Network {
    let mut net = NetworkBuilder::new();
    let mut node = net.input("image", Shape::new(1, 128, 128));
    for (k, channels) in [32, 64, 128, 256].into_iter().enumerate() {
        let convolution = Convolution::new(channels, 4).stride(2).padding(1);
        node = net.layer(format!("e{k}"), Layer::Convolution(convolution), &[node]).unwrap();
        node = net.layer(format!("e{k}.leaky"), LEAKY, &[node]).unwrap();
    }
    let mean = net.layer("mean", linear(LATENT), &[node]).unwrap();
    let log_variance = net.layer("log_variance", linear(LATENT), &[node]).unwrap();
    net.finish(&[mean, log_variance]).unwrap()
}

fn decoder() -> Network {
    let mut net = NetworkBuilder::new();
    let z = net.input("z", Shape::vector(LATENT));
    let mut node = net.layer("wide", linear(256 * 64), &[z]).unwrap();
    node = net.layer("wide.leaky", LEAKY, &[node]).unwrap();
    node = net.layer("wide.image", Layer::Reshape(Shape::new(256, 8, 8)), &[node]).unwrap();
    for (k, channels) in [128, 64, 32, 1].into_iter().enumerate() {
        let convolution = Convolution::new(channels, 4).stride(2).padding(1);
        node = net.layer(format!("d{k}"), Layer::TransposedConvolution(convolution), &[node]).unwrap();
        if channels > 1 {
            node = net.layer(format!("d{k}.leaky"), LEAKY, &[node]).unwrap();
        }
    }
    net.finish(&[node]).unwrap()
}

fn unet(normalized: bool) -> Network {
    let mut net = NetworkBuilder::new();
    let mut name = 0;
    let pair = |net: &mut NetworkBuilder, mut node: NodeId, channels: usize, name: &mut usize| {
        for _ in 0..2 {
            *name += 1;
            let convolution = Layer::Convolution(Convolution::new(channels, 3).padding(1));
            node = net.layer(format!("c{name}"), convolution, &[node]).unwrap();
            if normalized {
                let norm = Layer::GroupNormalization { groups: 8, epsilon: 1e-5 };
                node = net.layer(format!("n{name}"), norm, &[node]).unwrap();
            }
            node = net.layer(format!("r{name}"), Layer::Activation(Activation::RELU), &[node]).unwrap();
        }
        node
    };
    let mut node = net.input("image", Shape::new(1, 128, 128));
    let mut skips = Vec::new();
    for (k, channels) in [16, 32, 64, 128].into_iter().enumerate() {
        if k > 0 {
            skips.push(node);
            node = net.layer(format!("pool{k}"), Layer::MaxPool { window: [2, 2] }, &[node]).unwrap();
        }
        node = pair(&mut net, node, channels, &mut name);
    }
    for (k, channels) in [64, 32, 16].into_iter().enumerate() {
        node = net.layer(format!("up{k}"), Layer::UpsampleNearest { factor: 2 }, &[node]).unwrap();
        node = net.layer(format!("join{k}"), Layer::Concatenate, &[node, skips.pop().unwrap()]).unwrap();
        node = pair(&mut net, node, channels, &mut name);
    }
    let out = net.layer("out", Layer::Convolution(Convolution::new(1, 1)), &[node]).unwrap();
    net.finish(&[out]).unwrap()
}

fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|k| ((k * 7919) % 10_007) as f32 / 10_007.0).collect()
}

/// A network in training or with frozen weights.
struct Model {
    weights: PlanWeights,
    gradients: Gradients,
    moments: AdamMoments,
    plan: Plan,
}

impl Model {
    fn new(network: &Network, capacity: usize, differentiate: Differentiate) -> Self {
        let parameters = ParameterSet::initialize(network, Initialization::HeNormal, 1);
        let weights = PlanWeights::new(network, &parameters).unwrap();
        let gradients = Gradients::zeros(&weights);
        let moments = AdamMoments::zeros(&weights);
        let plan = Plan::new(network, capacity, differentiate).unwrap();
        Self { weights, gradients, moments, plan }
    }

    fn step(&mut self) {
        let update = AdamConfig::default().update(10, 1000, 1.0);
        self.weights.adam_step(&self.gradients, &mut self.moments, &update).unwrap();
    }

    fn backward(&mut self, output_gradients: &[&[f32]], parameters: bool) {
        self.gradients.clear();
        self.plan
            .backward(&self.weights, output_gradients, parameters.then_some(&mut self.gradients))
            .unwrap();
    }
}

/// Encoder, reparameterization, decoder; gradients of squared error and divergence.
struct Vae {
    encoder: Model,
    decoder: Model,
    x: Vec<f32>,
    z: Vec<f32>,
    samples: usize,
    train: bool,
}

impl Vae {
    fn new(samples: usize, forward: Differentiate) -> Self {
        let inner = match forward {
            Differentiate::Parameters => Differentiate::Both,
            other => other,
        };
        Self {
            encoder: Model::new(&encoder(), samples, forward),
            decoder: Model::new(&decoder(), samples, inner),
            x: noise(samples * 128 * 128),
            z: vec![0.0; samples * LATENT],
            samples,
            train: forward == Differentiate::Parameters,
        }
    }

    fn forward(&mut self) {
        let (encoder, samples) = (&mut self.encoder, self.samples);
        encoder.plan.forward(&encoder.weights, &[&self.x], samples, Mode::Train).unwrap();
        let (mean, log_variance) = (encoder.plan.output(0), encoder.plan.output(1));
        for (k, z) in self.z.iter_mut().enumerate() {
            *z = mean[k] + (0.5 * log_variance[k]).exp() * ((k % 7) as f32 - 3.0) * 0.5;
        }
        self.decoder.plan.forward(&self.decoder.weights, &[&self.z], samples, Mode::Train).unwrap();
    }

    fn backward(&mut self) {
        let share = 2.0 / self.samples as f32;
        let gradient: Vec<f32> =
            self.decoder.plan.output(0).iter().zip(&self.x).map(|(y, x)| (y - x) * share).collect();
        self.decoder.backward(&[&gradient], self.train);
        let gz = self.decoder.plan.input_gradient(0);
        let (mean, log_variance) = (self.encoder.plan.output(0), self.encoder.plan.output(1));
        let g_mean: Vec<f32> = gz.iter().zip(mean).map(|(g, m)| g + m * share * 0.5).collect();
        let g_log: Vec<f32> = gz.iter().zip(log_variance).map(|(g, l)| 0.5 * g * (0.5 * l).exp()).collect();
        self.encoder.backward(&[&g_mean, &g_log], self.train);
    }

    fn train(&mut self) {
        self.forward();
        self.backward();
        self.encoder.step();
        self.decoder.step();
    }
}

/// Processor time of the whole process.
fn processor_time() -> Duration {
    // Fields 14 and 15 of /proc/self/stat are user and system time in hundredths of a second; too coarse
    // for one pass, good for many.
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: u64 = stat.split(' ').next().and_then(|v| v.parse().ok()).unwrap_or(0);
    let mut all = own;
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        all = 0;
        for task in tasks.flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            all += stat.split(' ').next().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(all)
}

fn measure(name: &str, budget: Duration, mut work: impl FnMut()) {
    work();
    work();
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while start.elapsed() < budget || wall.len() < 3 {
        let (clock, before) = (Instant::now(), processor_time());
        work();
        wall.push(clock.elapsed().as_secs_f64() * 1e3);
        processor.push((processor_time() - before).as_secs_f64() * 1e3);
    }
    wall.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    println!(
        "{name:24} least {:8.2} ms  median {:8.2} ms  processor {:8.2} ms  ({} passes)",
        wall[0],
        wall[wall.len() / 2],
        processor[0],
        wall.len()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut names, mut budget) = (Vec::new(), Duration::from_secs(3));
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => budget = Duration::from_secs_f64(arguments.next().unwrap().parse().unwrap()),
            _ => names.push(argument),
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    if wanted("vae-train-32") {
        let mut vae = Vae::new(32, Differentiate::Parameters);
        measure("vae-train-32", budget, || vae.train());
    }
    for samples in [1, 32] {
        let name = format!("vae-forward-{samples}");
        if wanted(&name) {
            let mut vae = Vae::new(samples, Differentiate::Nothing);
            measure(&name, budget, || vae.forward());
        }
    }
    for samples in [1, 16] {
        let name = format!("vae-input-gradient-{samples}");
        if wanted(&name) {
            let mut vae = Vae::new(samples, Differentiate::Inputs);
            measure(&name, budget, || {
                vae.forward();
                vae.backward();
            });
        }
    }
    for (name, normalized) in [("unet-train-8", false), ("unet-gn-train-8", true)] {
        if wanted(name) {
            let x = noise(8 * 128 * 128);
            let mut model = Model::new(&unet(normalized), 8, Differentiate::Parameters);
            measure(name, budget, || {
                model.plan.forward(&model.weights, &[&x], 8, Mode::Train).unwrap();
                let gradient: Vec<f32> =
                    model.plan.output(0).iter().zip(&x).map(|(y, x)| (y - x) * 1e-5).collect();
                model.backward(&[&gradient], true);
                model.step();
            });
        }
    }
}
