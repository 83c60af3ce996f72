//! The gradients that objectives leave in their engines are those of the losses they report, and the
//! losses are the formulas.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::ops::ControlFlow;

use candle_core::{DType, Device, Result, Tensor};
use lesio_nn::candle::CandleNetwork;
use lesio_nn::{Batch, Mode, Objective, Parameter, ParameterSet, Shape, Trainer};
use lesio_vae::{
    Augmentation, Corruption, Denoiser, DenoiserConfig, DenoiserObjective, DenoiserTraining, Divergence,
    Examples, LOG_VARIANCE_RANGE, Latent, Likelihood, Normalization, VaeConfig, VaeObjective, VaeTraining,
    initial_parameters, networks,
};
use support::{Probe, batch, blobs, pixel_losses, values};

/// What is computed twice.
#[derive(Clone)]
struct Case {
    config: VaeConfig,
    divergence: Divergence,
    corruption: Corruption,
    step: u64,
    parameters: ParameterSet,
}

const SAMPLES: [usize; 3] = [4, 0, 2];
const STEPS: u64 = 40;

impl Case {
    fn new(likelihood: Likelihood, latent: Latent) -> Self {
        let config = VaeConfig::new(2, 8, 12).widths([3, 5]).latent(latent).likelihood(likelihood);
        let parameters = initial_parameters(&config, 5).unwrap();
        Self { config, divergence: Divergence::default(), corruption: Corruption::None, step: 1, parameters }
    }

    fn with(mut self, divergence: Divergence) -> Self {
        self.divergence = divergence;
        self
    }

    /// Adds to a bias.
    fn shifted(mut self, name: &str, by: &[f32]) -> Self {
        let bias = self.parameters.get_mut(name).unwrap().values_mut();
        bias.iter_mut().zip(by).for_each(|(bias, by)| *bias += by);
        self
    }

    fn examples(&self) -> Examples {
        blobs(self.config.image_shape(), 6, 1)
    }

    fn objective(&self) -> VaeObjective {
        let mut training = VaeTraining::default();
        training.divergence = self.divergence;
        training.corruption = self.corruption;
        VaeObjective::new(
            self.config.clone(),
            training,
            self.examples(),
            blobs(self.config.image_shape(), 5, 2),
        )
        .unwrap()
    }
}

/// The divergence's part of the loss, summed over a batch, of `[n, dimensions]` divergences.
fn divergence_part(divergence: &Divergence, by_dimension: &Tensor, progress: f64) -> Result<Tensor> {
    let by_image = by_dimension.sum(1)?;
    match *divergence {
        Divergence::Beta { beta, warm_up } => by_image.sum_all()? * (beta * (progress / warm_up).min(1.0)),
        Divergence::Capacity { gamma, nats, share } => {
            (by_image - nats * (progress / share).min(1.0))?.abs()?.sum_all()? * gamma
        }
        Divergence::FreeBits { beta, nats } => by_dimension.maximum(nats)?.sum_all()? * beta,
        _ => panic!("a divergence without a formula here"),
    }
}

/// The batch's mean negative ELBO in f64 by candle, its parts and its gradients by parameter, with the noise
/// that the objective drew.
fn reference(case: &Case, seen: &[f32], latent: &[f32]) -> (f64, [f64; 2], Vec<(String, Vec<f64>)>) {
    let (encoder, decoder) = networks(&case.config).unwrap();
    let net = |network| CandleNetwork::new(network, &case.parameters, DType::F64, &Device::Cpu).unwrap();
    let (encoder, decoder) = (net(&encoder), net(&decoder));
    let (shape, n) = (case.config.image_shape(), SAMPLES.len());
    let examples = case.examples();
    let clean: Vec<f32> = SAMPLES.iter().flat_map(|&sample| examples.image(sample)).copied().collect();
    let x = batch(&clean, n, shape);

    let outputs = encoder.forward(&[batch(seen, n, shape)]).unwrap();
    let [low, high] = LOG_VARIANCE_RANGE.map(f64::from);
    let (mean, log_variance) = (&outputs[0], outputs[1].clamp(low, high).unwrap());
    let deviation = (&log_variance * 0.5).unwrap().exp().unwrap();
    // The noise is what the latent sample says it was.
    let z = batch(latent, n, case.config.latent_shape());
    let noise = ((z - mean.detach()).unwrap() / deviation.detach()).unwrap().detach();
    let z = (mean + (deviation * noise).unwrap()).unwrap();
    let decoded = decoder.forward(&[z]).unwrap().remove(0);

    let reconstruction = pixel_losses(&case.config.likelihood, &x, &decoded).unwrap().sum_all().unwrap();
    let kl = (((mean.sqr().unwrap() + log_variance.exp().unwrap()).unwrap() - &log_variance).unwrap() - 1.0)
        .unwrap();
    let kl = (kl * 0.5).unwrap().flatten_from(1).unwrap();
    let part = divergence_part(&case.divergence, &kl, case.step as f64 / STEPS as f64).unwrap();
    let total = ((&reconstruction + part).unwrap() / n as f64).unwrap();
    let store = total.backward().unwrap();
    let gradients = (encoder.variables().chain(decoder.variables()))
        .map(|(name, var)| {
            (name.to_owned(), store.get(var).map_or_else(|| vec![0.0; var.elem_count()], values))
        })
        .collect();
    let scalar = |t: &Tensor| t.to_scalar::<f64>().unwrap();
    let parts = [scalar(&reconstruction) / n as f64, scalar(&kl.sum_all().unwrap()) / n as f64];
    (scalar(&total), parts, gradients)
}

/// The batch of [`SAMPLES`] at a step of the training.
fn at_step(step: u64) -> Batch<'static> {
    let mut batch = Batch::new(&SAMPLES, 17);
    batch.step = step;
    batch.steps = STEPS;
    batch.epoch = 3;
    batch
}

fn check(case: &Case) {
    let (encoder, decoder) = networks(&case.config).unwrap();
    let (encoder, of_encoder) = Probe::new(&encoder, &case.parameters);
    let (decoder, of_decoder) = Probe::new(&decoder, &case.parameters);
    let mut engines = [encoder, decoder];
    let terms = case.objective().learn(&mut engines, &at_step(case.step)).unwrap();
    let (of_encoder, of_decoder) = (of_encoder.lock().unwrap(), of_decoder.lock().unwrap());
    let (total, [reconstruction, divergence], gradients) =
        reference(case, &of_encoder.inputs[0], &of_decoder.inputs[0]);
    approx::assert_relative_eq!(terms.total, total, max_relative = 1e-5, epsilon = 1e-3);
    approx::assert_relative_eq!(
        terms.part("reconstruction").unwrap(),
        reconstruction,
        max_relative = 1e-5,
        epsilon = 1e-3
    );
    approx::assert_relative_eq!(
        terms.part("divergence").unwrap(),
        divergence,
        max_relative = 1e-5,
        epsilon = 1e-4
    );
    for (name, expected) in gradients {
        let found = of_encoder.gradients.get(&name).or_else(|| of_decoder.gradients.get(&name)).unwrap();
        let scale = expected.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
        for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs();
            assert!(error <= 1e-4 * scale + 1e-6, "{name}[{k}]: {found}, expected {expected} of {scale}");
        }
    }
}

const LIKELIHOODS: [Likelihood; 4] = [
    Likelihood::Gaussian { scale: 0.3 },
    Likelihood::GaussianLearned,
    Likelihood::Laplace { scale: 0.2 },
    Likelihood::Bernoulli,
];

const LATENTS: [Latent; 2] = [Latent::Dense { dimensions: 4 }, Latent::Spatial { channels: 3 }];

#[test]
fn every_likelihood_and_latent_space() {
    for likelihood in LIKELIHOODS {
        for latent in LATENTS {
            check(&Case::new(likelihood, latent));
        }
    }
}

#[test]
fn every_divergence_at_every_stage() {
    let divergences = [
        Divergence::Beta { beta: 4.0, warm_up: 0.5 },
        Divergence::Capacity { gamma: 3.0, nats: 40.0, share: 0.5 },
        Divergence::Capacity { gamma: 3.0, nats: 0.01, share: 0.5 },
        Divergence::FreeBits { beta: 2.0, nats: 0.2 },
    ];
    for divergence in divergences {
        for step in [0, 7, 39] {
            // Means away from 0, so that dimensions differ and some lie above the free bits.
            let mut case = Case::new(LIKELIHOODS[0], LATENTS[0])
                .with(divergence)
                .shifted("encoder.mean.bias", &[1.5, 0.0, -0.9, 0.1]);
            case.step = step;
            check(&case);
        }
    }
}

#[test]
fn corruptions_hide_from_the_encoder_alone() {
    for corruption in
        [Corruption::Squares { count: 2, side: 0.5 }, Corruption::CoarseNoise { deviation: 0.3, cell: 3 }]
    {
        let mut case = Case::new(LIKELIHOODS[0], LATENTS[1]);
        case.corruption = corruption;
        check(&case);
        let (encoder, decoder) = networks(&case.config).unwrap();
        let (encoder, of_encoder) = Probe::new(&encoder, &case.parameters);
        let (decoder, _) = Probe::new(&decoder, &case.parameters);
        case.objective().learn(&mut [encoder, decoder], &at_step(1)).unwrap();
        let examples = case.examples();
        let clean: Vec<f32> = SAMPLES.iter().flat_map(|&sample| examples.image(sample)).copied().collect();
        assert_ne!(of_encoder.lock().unwrap().inputs[0], clean);
    }
}

#[test]
fn normalizations_train_on_the_batch() {
    for normalization in [Normalization::Group, Normalization::Batch] {
        let mut case = Case::new(LIKELIHOODS[0], LATENTS[0]);
        case.config = case.config.normalization(normalization);
        case.parameters = initial_parameters(&case.config, 5).unwrap();
        let (encoder, decoder) = networks(&case.config).unwrap();
        let (encoder, of_encoder) = Probe::new(&encoder, &case.parameters);
        let (decoder, _) = Probe::new(&decoder, &case.parameters);
        let objective = case.objective();
        let mut config = objective.training().train.clone();
        config.epochs = 2;
        let updates = objective.samples().div_ceil(config.batch_size);
        let mut trainer = Trainer::new(objective, [encoder, decoder], config).unwrap();
        trainer.run(|_| ControlFlow::Continue(())).unwrap();
        assert!(trainer.history()[0].training.total.is_finite());
        let epoch = [vec![Mode::Train; updates], vec![Mode::Evaluate]].concat();
        assert_eq!(of_encoder.lock().unwrap().modes, epoch.repeat(2));
    }
}

/// A clamped log-variance has no gradient, and neither has a clamped log-scale.
#[test]
fn clamped_outputs_are_still() {
    let low =
        Case::new(LIKELIHOODS[0], LATENTS[0]).shifted("encoder.log_variance.bias", &[-50.0, 0.0, -31.0, 0.0]);
    check(&low);
    // exp(20 / 2) deviations of noise: the latent sample is huge, the gradient's path the same.
    let high = Case::new(Likelihood::Laplace { scale: 0.2 }, LATENTS[0])
        .shifted("encoder.log_variance.bias", &[25.0, 0.0, 0.0, 0.0]);
    let (encoder, decoder) = networks(&high.config).unwrap();
    let (encoder, of_encoder) = Probe::new(&encoder, &high.parameters);
    let (decoder, _) = Probe::new(&decoder, &high.parameters);
    high.objective().learn(&mut [encoder, decoder], &at_step(1)).unwrap();
    let gradients = &of_encoder.lock().unwrap().gradients["encoder.log_variance.bias"];
    assert!(gradients[0] == 0.0 && gradients[1] != 0.0, "{gradients:?}");

    let scales = Case::new(Likelihood::GaussianLearned, LATENTS[0])
        .shifted("decoder.out.bias", &[0.0, 0.0, -9.0, 5.0]);
    check(&scales);
}

/// The loss that is reported changes as the gradient that is left says, by central differences.
#[test]
fn the_gradient_is_that_of_the_reported_loss() {
    for (number, likelihood) in LIKELIHOODS.into_iter().enumerate() {
        let mut case =
            Case::new(likelihood, LATENTS[number % 2]).with(Divergence::FreeBits { beta: 2.0, nats: 0.001 });
        case.corruption = Corruption::CoarseNoise { deviation: 0.2, cell: 4 };
        let loss = |parameters: &ParameterSet| {
            let (encoder, decoder) = networks(&case.config).unwrap();
            let (encoder, of_encoder) = Probe::new(&encoder, parameters);
            let (decoder, of_decoder) = Probe::new(&decoder, parameters);
            let mut engines = [encoder, decoder];
            let terms = case.objective().learn(&mut engines, &at_step(9)).unwrap();
            let mut gradients = std::mem::take(&mut of_encoder.lock().unwrap().gradients);
            gradients.append(&mut of_decoder.lock().unwrap().gradients);
            (terms.total, gradients)
        };
        let (_, gradients) = loss(&case.parameters);
        let norm = gradients.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let moved = |length: f64| {
            let mut parameters = case.parameters.clone();
            for (name, gradient) in &gradients {
                let own = parameters.get_mut(name).unwrap().values_mut();
                own.iter_mut().zip(gradient).for_each(|(value, g)| *value += (length * g / norm) as f32);
            }
            loss(&parameters).0
        };
        let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
        assert!((slope / norm - 1.0).abs() < 0.01, "{likelihood:?}: {slope}, gradient {norm}");
    }
}

/// The validation loss is the bound at the posterior's mean, with the final weight, over all images,
/// whatever the batch size.
#[test]
fn validation_is_the_mean_over_all_images() {
    let divergences = [
        Divergence::Beta { beta: 4.0, warm_up: 0.9 },
        Divergence::Capacity { gamma: 3.0, nats: 2.0, share: 0.9 },
        Divergence::FreeBits { beta: 2.0, nats: 0.2 },
    ];
    for divergence in divergences {
        let case = Case::new(LIKELIHOODS[1], LATENTS[0]).with(divergence);
        let (encoder, decoder) = networks(&case.config).unwrap();
        let shape = case.config.image_shape();
        let validation = blobs(shape, 5, 2);
        let images: Vec<f32> = (0..5).flat_map(|k| validation.image(k)).copied().collect();
        let x = batch(&images, 5, shape);
        let net = |network| CandleNetwork::new(network, &case.parameters, DType::F64, &Device::Cpu).unwrap();
        let outputs = net(&encoder).forward(std::slice::from_ref(&x)).unwrap();
        let decoded = net(&decoder).forward(&outputs[..1]).unwrap().remove(0);
        let kl = (((outputs[0].sqr().unwrap() + outputs[1].exp().unwrap()).unwrap() - &outputs[1]).unwrap()
            - 1.0)
            .unwrap();
        let kl = (kl * 0.5).unwrap().flatten_from(1).unwrap();
        let scalar = |t: Tensor| t.to_scalar::<f64>().unwrap() / 5.0;
        let reconstruction =
            scalar(pixel_losses(&case.config.likelihood, &x, &decoded).unwrap().sum_all().unwrap());
        let part = scalar(divergence_part(&divergence, &kl, 1.0).unwrap());

        for batch_size in [1, 2, 5, 100] {
            let mut training = VaeTraining::default();
            training.divergence = divergence;
            training.corruption = Corruption::CoarseNoise { deviation: 0.3, cell: 3 };
            training.augmentation.shift = 2;
            training.train.batch_size = batch_size;
            let mut objective =
                VaeObjective::new(case.config.clone(), training, case.examples(), validation.clone())
                    .unwrap();
            let mut engines =
                [Probe::new(&encoder, &case.parameters).0, Probe::new(&decoder, &case.parameters).0];
            let terms = objective.validate(&mut engines).unwrap().unwrap();
            approx::assert_relative_eq!(terms.total, reconstruction + part, max_relative = 1e-5);
            approx::assert_relative_eq!(
                terms.part("reconstruction").unwrap(),
                reconstruction,
                max_relative = 1e-5
            );
            approx::assert_relative_eq!(
                terms.part("divergence").unwrap(),
                scalar(kl.sum_all().unwrap()),
                max_relative = 1e-5
            );
        }
    }
}

#[test]
fn noise_is_drawn_anew_for_each_image_and_epoch_and_the_same_for_the_same() {
    let case = Case::new(LIKELIHOODS[0], LATENTS[0]);
    let latent = |batch: &Batch<'_>| {
        let (encoder, decoder) = networks(&case.config).unwrap();
        let (encoder, _) = Probe::new(&encoder, &case.parameters);
        let (decoder, of_decoder) = Probe::new(&decoder, &case.parameters);
        case.objective().learn(&mut [encoder, decoder], batch).unwrap();
        std::mem::take(&mut of_decoder.lock().unwrap().inputs[0])
    };
    let usual = latent(&at_step(1));
    assert_eq!(usual, latent(&at_step(2)), "the step is not part of it");
    let mut next = at_step(1);
    next.epoch += 1;
    assert_ne!(usual, latent(&next));
    let mut other = at_step(1);
    other.seed += 1;
    assert_ne!(usual, latent(&other));
    // The same images in another batch get the same noise.
    let mut turned = at_step(1);
    turned.samples = &[2, 4];
    let turned = latent(&turned);
    for (a, b) in turned[..4].iter().zip(&usual[8..]).chain(turned[4..].iter().zip(&usual[..4])) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn the_denoisers_gradient_and_loss() {
    let config = DenoiserConfig::new(2, 8, 12).widths([3, 4]).normalization(Normalization::Group);
    let parameters = Denoiser::initial_parameters(&config, 3).unwrap();
    let network = config.network().unwrap();
    let (examples, validation) = (blobs(config.image_shape(), 6, 1), blobs(config.image_shape(), 5, 2));
    let mut training = DenoiserTraining::default();
    training.corruption = Corruption::CoarseNoise { deviation: 0.3, cell: 3 };
    training.train.batch_size = 2;
    let mut objective =
        DenoiserObjective::new(&config, training, examples.clone(), validation.clone()).unwrap();
    let (engine, seen) = Probe::new(&network, &parameters);
    let mut engines = [engine];
    let terms = objective.learn(&mut engines, &at_step(1)).unwrap();

    let clean: Vec<f32> = SAMPLES.iter().flat_map(|&sample| examples.image(sample)).copied().collect();
    let net = CandleNetwork::new(&network, &parameters, DType::F64, &Device::Cpu).unwrap();
    let error = {
        let seen = seen.lock().unwrap();
        assert_ne!(seen.inputs[0], clean);
        // Noise stays inside the region: the border is as it was.
        for (k, (seen, clean)) in seen.inputs[0].iter().zip(&clean).enumerate() {
            let (row, column) = (k % 96 / 12, k % 12);
            assert!((1..7).contains(&row) && (1..11).contains(&column) || seen == clean);
        }
        let output = net.forward(&[batch(&seen.inputs[0], 3, config.image_shape())]).unwrap().remove(0);
        (output - batch(&clean, 3, config.image_shape())).unwrap().sqr().unwrap().mean_all().unwrap()
    };
    approx::assert_relative_eq!(terms.total, error.to_scalar::<f64>().unwrap(), max_relative = 1e-5);
    let store = error.backward().unwrap();
    for (name, var) in net.variables() {
        let expected = store.get(var).map_or_else(|| vec![0.0; var.elem_count()], values);
        let found = &seen.lock().unwrap().gradients[name];
        let scale = expected.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * scale + 1e-9, "{name}: {found} {expected}");
        }
    }
    // Validation: the same in every epoch, without a gradient, as the mean over all images.
    seen.lock().unwrap().gradients.clear();
    let first = objective.validate(&mut engines).unwrap().unwrap();
    assert_eq!(objective.validate(&mut engines).unwrap().unwrap(), first);
    assert!(seen.lock().unwrap().gradients.is_empty());
    let mut in_one = DenoiserTraining::default();
    in_one.corruption = Corruption::CoarseNoise { deviation: 0.3, cell: 3 };
    let mut in_one = DenoiserObjective::new(&config, in_one, examples, validation).unwrap();
    let whole = in_one.validate(&mut engines).unwrap().unwrap();
    approx::assert_relative_eq!(whole.total, first.total, max_relative = 1e-5);
}

#[test]
fn faults_are_named_and_nothing_panics() {
    let case = Case::new(LIKELIHOODS[3], LATENTS[0]);
    let shape = case.config.image_shape();
    let new = |training: VaeTraining, examples: Examples| {
        VaeObjective::new(case.config.clone(), training, examples, Examples::new(shape)).map(|_| ())
    };
    let divergences = [
        (Divergence::Beta { beta: -1.0, warm_up: 0.0 }, "beta"),
        (Divergence::Beta { beta: f64::NAN, warm_up: 0.0 }, "beta"),
        (Divergence::Beta { beta: 1.0, warm_up: 1.5 }, "warm_up"),
        (Divergence::Capacity { gamma: 1e300, nats: 1.0, share: 0.5 }, "gamma"),
        (Divergence::Capacity { gamma: 1.0, nats: 1.0, share: -0.5 }, "share"),
        (Divergence::FreeBits { beta: 1.0, nats: f64::INFINITY }, "nats"),
    ];
    for (divergence, word) in divergences {
        let mut training = VaeTraining::default();
        training.divergence = divergence;
        let message = new(training, case.examples()).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    let mut shifted = VaeTraining::default();
    shifted.augmentation.shift = usize::MAX;
    assert!(new(shifted, case.examples()).unwrap_err().to_string().contains("shift"));
    let mut brighter = VaeTraining::default();
    brighter.augmentation.brightness = 0.2;
    assert!(new(brighter, case.examples()).unwrap_err().to_string().contains("Bernoulli"));
    let shaded = VaeTraining::default().augmentation(Augmentation::default().shading(0.2));
    assert!(new(shaded, case.examples()).unwrap_err().to_string().contains("augmentation.shading"));
    let mut bright = Examples::new(shape);
    bright.push(&vec![1.2; shape.len()]).unwrap();
    assert!(new(VaeTraining::default(), bright).unwrap_err().to_string().contains("1.2"));
    let mut wider = Examples::new(Shape::new(1, 8, 12));
    wider.push(&[0.5; 96]).unwrap();
    let other = new(VaeTraining::default(), wider);
    assert!(other.unwrap_err().to_string().contains("[1, 8, 12]"));

    let (encoder, decoder) = networks(&case.config).unwrap();
    let mut engines = [Probe::new(&encoder, &case.parameters).0, Probe::new(&decoder, &case.parameters).0];
    let mut objective = case.objective();
    assert!(
        objective.learn(&mut engines, &Batch::new(&[6], 0)).unwrap_err().to_string().contains("sample 6")
    );
    assert_eq!(objective.learn(&mut engines, &Batch::new(&[], 0)).unwrap().total, 0.0);
    let mut alone =
        VaeObjective::new(case.config.clone(), VaeTraining::default(), case.examples(), Examples::new(shape))
            .unwrap();
    assert_eq!(alone.validate(&mut engines).unwrap(), None);
}

/// Sizes from a file may be anything.
#[test]
fn absurd_sizes_are_refused() {
    let huge = usize::MAX / 2;
    for config in [
        VaeConfig::new(huge, 8, 8).widths([2]),
        VaeConfig::new(1, huge & !1, 8).widths([2]),
        VaeConfig::new(1, 8, 8).widths([huge]),
        VaeConfig::new(1, 8, 8).widths([2]).latent(Latent::Dense { dimensions: huge }),
        VaeConfig::new(1, 8, 8).widths(vec![1; 70]),
        VaeConfig::new(1, 0, 8).widths([2]),
        VaeConfig::new(1, 8, 8).widths([]),
        VaeConfig::new(1, 8, 8).widths([2]).latent(Latent::Spatial { channels: 0 }),
        VaeConfig::new(1, 8, 8).widths([2]).likelihood(Likelihood::Gaussian { scale: 0.0 }),
    ] {
        assert!(networks(&config).is_err(), "{config:?}");
    }
    for config in [
        DenoiserConfig::new(huge, 8, 8),
        DenoiserConfig::new(1, huge, 8),
        DenoiserConfig::new(1, 8, 8).widths(vec![1; 70]),
        DenoiserConfig::new(1, 12, 8),
        DenoiserConfig::new(1, 8, 8).widths([]),
    ] {
        assert!(config.network().is_err(), "{config:?}");
    }
}

/// A bias of this parameter set exists under the names that the tests above shift.
#[test]
fn parameter_names_are_stable() {
    let case = Case::new(Likelihood::GaussianLearned, LATENTS[0]);
    for (name, length) in
        [("encoder.mean.bias", 4), ("encoder.log_variance.bias", 4), ("decoder.out.bias", 4)]
    {
        assert_eq!(case.parameters.get(name).map(Parameter::values).map(<[f32]>::len), Some(length));
    }
}
