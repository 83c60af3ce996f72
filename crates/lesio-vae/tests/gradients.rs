//! What a VAE says of an image, on either device, against its formulas in f64 and their central differences.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use candle_core::{DType, Tensor};
use lesio_nn::candle::CandleNetwork;
use lesio_nn::{Device, ImageBatch, ParameterSet};
use lesio_vae::{
    LOG_VARIANCE_RANGE, Latent, Likelihood, Normalization, Reconstructor, RequestedGradients, Vae, VaeConfig,
    VariationalModel, initial_parameters, networks,
};
use support::{batch, pixel_losses, values};

const LIKELIHOODS: [Likelihood; 4] = [
    Likelihood::Gaussian { scale: 0.3 },
    Likelihood::GaussianLearned,
    Likelihood::Laplace { scale: 0.2 },
    Likelihood::Bernoulli,
];

fn configs() -> Vec<VaeConfig> {
    let latents = [Latent::Dense { dimensions: 4 }, Latent::Spatial { channels: 3 }];
    let normalizations = [Normalization::None, Normalization::Group, Normalization::Batch];
    let of = |number: usize, latent| {
        VaeConfig::new(2, 8, 12)
            .widths([3, 5])
            .latent(latent)
            .likelihood(LIKELIHOODS[number])
            .normalization(normalizations[number % 3])
    };
    (0..LIKELIHOODS.len()).flat_map(|number| latents.map(|latent| of(number, latent))).collect()
}

fn images() -> Vec<f32> {
    (0..2 * 2 * 8 * 12).map(|k| ((k * 37 + k / 7) % 101) as f32 / 101.0).collect()
}

/// The formulas in f64.
struct Exact {
    config: VaeConfig,
    encoder: CandleNetwork,
    decoder: CandleNetwork,
}

impl Exact {
    fn new(config: &VaeConfig, parameters: &ParameterSet) -> Self {
        let (encoder, decoder) = networks(config).unwrap();
        let net = |net| CandleNetwork::new(&net, parameters, DType::F64, &candle_core::Device::Cpu).unwrap();
        Self { config: config.clone(), encoder: net(encoder), decoder: net(decoder) }
    }

    /// Expected image, `-log p` by pixel, divergence by image.
    fn terms(&self, x: &Tensor) -> [Vec<f64>; 3] {
        let outputs = self.encoder.forward(std::slice::from_ref(x)).unwrap();
        let [low, high] = LOG_VARIANCE_RANGE.map(f64::from);
        let log_variance = outputs[1].clamp(low, high).unwrap();
        let of = |mean: f64, l: f64| 0.5 * (mean * mean + l.exp() - l - 1.0);
        let size = values(&outputs[0]).len() / x.dim(0).unwrap();
        let each: Vec<f64> =
            values(&outputs[0]).iter().zip(values(&log_variance)).map(|(&m, l)| of(m, l)).collect();
        let divergence = each.chunks(size).map(|own| own.iter().sum()).collect();
        let out = self.decoder.forward(&outputs[..1]).unwrap().remove(0);
        let loss = pixel_losses(&self.config.likelihood, x, &out).unwrap();
        let first = out.narrow(1, 0, self.config.channels).unwrap();
        let logistic = |y: f64| 1.0 / (1.0 + (-y).exp());
        let mean = values(&first);
        let mean = match self.config.likelihood {
            Likelihood::Bernoulli => mean.into_iter().map(logistic).collect(),
            _ => mean,
        };
        [mean, values(&loss), divergence]
    }
}

fn magnitude(values: &[f64]) -> f64 {
    values.iter().fold(0.0f64, |a, b| a.max(b.abs()))
}

fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = magnitude(expected);
    for (k, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(found) - expected).abs() < tolerance * scale,
            "{what}, {k}: {found}, expected {expected}"
        );
    }
}

/// Terms are the formulas, and both gradients, pixel by pixel, are derivatives of the terms: through encoder and decoder.
#[test]
fn terms_and_gradients_are_the_formulas() {
    for device in ["cpu", "candle-cpu"] {
        let device: Device = device.parse().unwrap();
        for config in configs() {
            let parameters = initial_parameters(&config, 11).unwrap();
            let vae = Vae::from_parameters(config.clone(), 2.0, &parameters, &device).unwrap();
            let exact = Exact::new(&config, &parameters);
            let (x, shape) = (images(), config.image_shape());
            let given = ImageBatch::new(&x, shape).unwrap();
            let found = vae.gradients(given, RequestedGradients::BOTH).unwrap();
            let what = |part: &str| format!("{device}, {:?}, {part}", config.likelihood);

            let [mean, loss, divergence] = exact.terms(&batch(&x, 2, shape));
            assert_close(&what("mean"), &found.mean, &mean, 2e-5);
            assert_close(&what("loss"), &found.loss, &loss, 2e-5);
            assert_close(&what("divergence"), &found.divergence, &divergence, 2e-5);
            let posterior = vae.encode(given).unwrap();
            assert_eq!(posterior.divergence(), found.divergence, "{}", what("posterior"));
            assert_eq!(vae.decode(&posterior.mean).unwrap(), found.mean, "{}", what("decode"));
            assert_eq!(vae.reconstruct(given).unwrap(), found.mean, "{}", what("reconstruct"));

            // In steps that f64 resolves.
            let start = batch(&x, 2, shape);
            let sums = |k: usize, delta: f64| {
                let mut moved = values(&start);
                moved[k] += delta;
                let x = Tensor::from_vec(moved, start.shape(), &candle_core::Device::Cpu).unwrap();
                let [_, loss, divergence] = exact.terms(&x);
                [divergence.iter().sum::<f64>(), loss.iter().sum::<f64>()]
            };
            let places: Vec<usize> = (0..x.len()).step_by(7).collect();
            let slopes = places.iter().map(|&k| {
                let (up, down) = (sums(k, 1e-6), sums(k, -1e-6));
                [0, 1].map(|term| (up[term] - down[term]) / 2e-6)
            });
            let (by_divergence, by_reconstruction): (Vec<f64>, Vec<f64>) =
                slopes.map(|[d, r]| (d, r)).unzip();
            let at = |gradient: Vec<f32>| places.iter().map(|&k| gradient[k]).collect::<Vec<_>>();
            assert_close(&what("by divergence"), &at(found.by_divergence.unwrap()), &by_divergence, 1e-4);
            assert_close(
                &what("by reconstruction"),
                &at(found.by_reconstruction.unwrap()),
                &by_reconstruction,
                1e-4,
            );
        }
    }
}
