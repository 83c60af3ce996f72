//! A model whose every formula is known, and small trained ones.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

mod altered;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor};
use lesio_anomaly::{Model, ModelConfig};
use lesio_nn::{
    Device, Engines, ImageBatch, InputGradients, Objective, ParameterSet, Shape, TrainConfig, Trainer,
    TrainingEngine, random,
};
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_vae::candle::{CandleModel, CandlePosterior, CandleReconstruction, FromCandle};
use lesio_vae::{
    AnomalySegmenter, Denoiser, DenoiserConfig, DenoiserObjective, DenoiserTraining, Divergence, Examples,
    Latent, Restorer, SyntheticAnomalies, SyntheticObjective, SyntheticTraining, TaughtConfig, Vae,
    VaeConfig, VaeObjective, VaeTraining, initial_parameters, networks,
};

pub use altered::Altered;

pub const CHANNELS: usize = 2;
pub const HEIGHT: usize = 6;
pub const WIDTH: usize = 7;
pub const SIZE: usize = CHANNELS * HEIGHT * WIDTH;
pub const SHAPE: Shape = Shape::new(CHANNELS, HEIGHT, WIDTH);
const LATENT: usize = 3;

/// A variational autoencoder that is linear, as a downstream crate would write it with candle:
/// z has mean `E x` and variance `v`, y = `D z`, pixels are normal around y with deviation `s`.
pub struct Linear {
    pub encoder: Vec<f32>,
    pub decoder: Vec<f32>,
    pub variance: f64,
    pub scale: f64,
    pub beta: f64,
}

impl Linear {
    pub fn new() -> Self {
        let draw = |stream, size: f32| {
            let mut values = vec![0.0; LATENT * SIZE];
            random::fill_normal(&mut random::generator(8, stream), &mut values);
            values.iter_mut().for_each(|value| *value *= size);
            values
        };
        Self { encoder: draw(1, 0.1), decoder: draw(2, 0.3), variance: 0.4, scale: 0.5, beta: 3.0 }
    }

    /// `E x`.
    pub fn code(&self, x: &[f32]) -> Vec<f64> {
        self.encoder.chunks(SIZE).map(|row| dot(row, x)).collect()
    }

    /// `D E x`.
    pub fn expected(&self, x: &[f32]) -> Vec<f64> {
        let code = self.code(x);
        (0..SIZE)
            .map(|k| (0..LATENT).map(|j| f64::from(self.decoder[j * SIZE + k]) * code[j]).sum())
            .collect()
    }

    /// KL, `sum((Ex)^2 + v - log v - 1) / 2`.
    pub fn divergence(&self, x: &[f32]) -> f64 {
        self.code(x).iter().map(|m| 0.5 * (m * m + self.variance - self.variance.ln() - 1.0)).sum()
    }

    /// `-log p` by pixel.
    pub fn loss(&self, x: &[f32]) -> Vec<f64> {
        let constant = (self.scale * (2.0 * std::f64::consts::PI).sqrt()).ln();
        let y = self.expected(x);
        x.iter().zip(y).map(|(&x, y)| 0.5 * ((f64::from(x) - y) / self.scale).powi(2) + constant).collect()
    }

    /// `E^T E x`.
    pub fn by_divergence(&self, x: &[f32]) -> Vec<f64> {
        let code = self.code(x);
        (0..SIZE)
            .map(|k| (0..LATENT).map(|j| f64::from(self.encoder[j * SIZE + k]) * code[j]).sum())
            .collect()
    }

    /// `(I - DE)^T (I - DE) x / s^2`.
    pub fn by_reconstruction(&self, x: &[f32]) -> Vec<f64> {
        let y = self.expected(x);
        let rest: Vec<f64> = x.iter().zip(y).map(|(&x, y)| (f64::from(x) - y) / self.scale.powi(2)).collect();
        let back: Vec<f64> = self
            .decoder
            .chunks(SIZE)
            .map(|row| row.iter().zip(&rest).map(|(&d, r)| f64::from(d) * r).sum())
            .collect();
        let through =
            |k: usize| -> f64 { (0..LATENT).map(|j| f64::from(self.encoder[j * SIZE + k]) * back[j]).sum() };
        (0..SIZE).map(|k| rest[k] - through(k)).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `rows x` for each image, by products and sums whose order does not depend on the batch.
fn apply(rows: &[f32], count: usize, x: &Tensor) -> Result<Tensor> {
    let size = rows.len() / count;
    let rows = Tensor::from_slice(rows, (1, count, size), x.device())?;
    x.unsqueeze(1)?.broadcast_mul(&rows)?.sum(2)
}

/// As predictors take it, with gradients by automatic differentiation.
pub fn linear() -> Arc<FromCandle<Linear>> {
    over(Linear::new())
}

pub fn over(model: Linear) -> Arc<FromCandle<Linear>> {
    Arc::new(FromCandle::new(model, SHAPE, candle_core::Device::Cpu))
}

impl CandleModel for Linear {
    fn encode(&self, images: &Tensor) -> Result<CandlePosterior> {
        let mean = apply(&self.encoder, LATENT, &images.flatten_from(1)?)?;
        let log_variance = mean.zeros_like()?.affine(1.0, self.variance.ln())?;
        Ok(CandlePosterior { mean, log_variance })
    }

    fn decode(&self, latent: &Tensor) -> Result<CandleReconstruction> {
        let turned: Vec<f32> = (0..SIZE)
            .flat_map(|k| (0..LATENT).map(move |j| (j, k)))
            .map(|(j, k)| self.decoder[j * SIZE + k])
            .collect();
        let mean = apply(&turned, SIZE, latent)?.reshape((latent.dim(0)?, CHANNELS, HEIGHT, WIDTH))?;
        Ok(CandleReconstruction { outputs: mean.clone(), mean })
    }

    fn log_likelihood(&self, images: &Tensor, reconstruction: &CandleReconstruction) -> Result<Tensor> {
        let constant = (self.scale * (2.0 * std::f64::consts::PI).sqrt()).ln();
        let square = ((images - &reconstruction.mean)? / self.scale)?.sqr()?;
        (square * -0.5)? - constant
    }

    fn beta(&self) -> f64 {
        self.beta
    }
}

/// Images and their shape.
#[derive(Clone)]
pub struct Images(pub Vec<f32>, pub Shape);

impl Images {
    pub fn batch(&self) -> ImageBatch<'_> {
        ImageBatch::new(&self.0, self.1).unwrap()
    }

    /// `count` of them from `first` on.
    pub fn rows(&self, first: usize, count: usize) -> Self {
        let size = self.1.len();
        Self(self.0[first * size..(first + count) * size].to_vec(), self.1)
    }
}

/// Images for [`Linear`], values in [0, 1).
pub fn small_images(count: usize) -> Images {
    Images((0..count * SIZE).map(|k| ((k * 37 + k / 5) % 101) as f32 / 101.0).collect(), SHAPE)
}

/// Side of the trained models' images.
pub const SIDE: usize = 32;

pub fn phantom() -> BrainPhantom {
    BrainPhantom::new(BrainConfig::new([SIDE, SIDE], Contrast::Flair, 3)).unwrap()
}

/// A healthy head scaled to [0, 1], and where it is.
pub fn head(subject: u64) -> (Vec<f32>, Vec<bool>) {
    let slice = phantom().slice(subject);
    let highest = slice.image.iter().copied().fold(0.0, f32::max);
    let image: Vec<f32> = slice.image.iter().map(|value| (value / highest).clamp(0.0, 1.0)).collect();
    let region = image.iter().map(|&value| value > 0.1).collect();
    (image, region)
}

fn heads(subjects: std::ops::Range<u64>) -> Examples {
    let mut examples = Examples::new(Shape::new(1, SIDE, SIDE));
    for (image, region) in subjects.map(head) {
        examples.push_region(&image, &region).unwrap();
    }
    examples
}

/// Heads as a batch.
pub fn head_images(subjects: std::ops::Range<u64>) -> Images {
    Images(subjects.flat_map(|subject| head(subject).0).collect(), Shape::new(1, SIDE, SIDE))
}

fn train_config() -> TrainConfig {
    let mut train = TrainConfig::default();
    train.epochs = 30;
    train.batch_size = 8;
    train.adam.rate = 2e-3;
    train
}

fn trained<const N: usize>(objective: impl Objective<N>, engines: Engines<N>) -> ParameterSet {
    let mut trainer = Trainer::new(objective, engines, train_config()).unwrap();
    trainer.run(|_| ControlFlow::Continue(())).unwrap();
    trainer.parameters().unwrap()
}

fn engine(
    network: &lesio_nn::Network,
    parameters: &ParameterSet,
    gradients: InputGradients,
) -> Box<dyn TrainingEngine> {
    Device::Cpu.training_engine(network, parameters, 8, gradients).unwrap()
}

/// A small VAE that knows heads.
pub fn vae() -> Arc<Vae> {
    static TRAINED: OnceLock<Arc<Vae>> = OnceLock::new();
    let make = || {
        let config =
            VaeConfig::new(1, SIDE, SIDE).widths([6, 12, 16]).latent(Latent::Dense { dimensions: 8 });
        let (encoder, decoder) = networks(&config).unwrap();
        let parameters = initial_parameters(&config, 1).unwrap();
        let engines = [
            engine(&encoder, &parameters, InputGradients::Skip),
            engine(&decoder, &parameters, InputGradients::Compute),
        ];
        let mut training = VaeTraining::default();
        training.train = train_config();
        training.divergence = Divergence::Beta { beta: 1.0, warm_up: 0.1 };
        let objective = VaeObjective::new(config.clone(), training, heads(0..48), heads(100..108)).unwrap();
        let parameters = trained(objective, engines);
        Arc::new(Vae::from_parameters(config, 1.0, &parameters, &Device::Cpu).unwrap())
    };
    TRAINED.get_or_init(make).clone()
}

/// The same as a [`Model`].
pub fn vae_model() -> Model {
    let vae = vae();
    let config = ModelConfig::Vae { config: vae.config().clone(), beta: 1.0 };
    Model::new(&config, &vae.parameters().unwrap(), &Device::Cpu).unwrap()
}

/// A small denoiser that knows heads.
pub fn denoiser_model() -> Model {
    static TRAINED: OnceLock<Model> = OnceLock::new();
    let make = || {
        let config = DenoiserConfig::new(1, SIDE, SIDE).widths([6, 12]);
        let parameters = Denoiser::initial_parameters(&config, 1).unwrap();
        let engines = [engine(&config.network().unwrap(), &parameters, InputGradients::Skip)];
        let mut training = DenoiserTraining::default();
        training.train = train_config();
        let objective = DenoiserObjective::new(&config, training, heads(0..24), heads(100..104)).unwrap();
        let parameters = trained(objective, engines);
        Model::new(&ModelConfig::Denoiser { config }, &parameters, &Device::Cpu).unwrap()
    };
    TRAINED.get_or_init(make).clone()
}

/// A small restorer, or a segmenter, that knows heads and brighter lesions in them.
pub fn taught_model(segments: bool) -> Model {
    static TRAINED: [OnceLock<Model>; 2] = [OnceLock::new(), OnceLock::new()];
    TRAINED[usize::from(segments)].get_or_init(|| train_taught(segments)).clone()
}

fn train_taught(segments: bool) -> Model {
    let network = DenoiserConfig::new(1, SIDE, SIDE).widths([6, 12]);
    let mut anomalies = SyntheticAnomalies::medical();
    anomalies.contents.truncate(1);
    let mut training = SyntheticTraining::default();
    training.train = train_config();
    let (examples, validation) = (heads(0..24), heads(100..104));
    let config = TaughtConfig::new(network, anomalies);
    let untrained = match segments {
        true => AnomalySegmenter::initial_parameters(&config, 1),
        false => Restorer::initial_parameters(&config, 1),
    };
    let network = if segments { config.segmenter() } else { config.restorer() };
    let engines = [engine(&network.unwrap(), &untrained.unwrap(), InputGradients::Skip)];
    let objective = match segments {
        true => SyntheticObjective::segmenter(&config, training, examples, validation, &[]),
        false => SyntheticObjective::restorer(&config, training, examples, validation, &[]),
    };
    let parameters = trained(objective.unwrap(), engines);
    let config = match segments {
        true => ModelConfig::Segmenter { config },
        false => ModelConfig::Restorer { config },
    };
    Model::new(&config, &parameters, &Device::Cpu).unwrap()
}
