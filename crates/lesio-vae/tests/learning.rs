//! Trainings on phantom slices: they learn, are the same each time, and go on where they were stopped.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::ops::ControlFlow;
use std::time::Duration;

use lesio_nn::{
    Device, Event, ImageBatch, InputGradients, Objective, ParameterSet, Shape, TrainConfig, Trainer,
};
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_vae::{
    AnomalySegmenter, Augmentation, Content, Corruption, Denoiser, DenoiserConfig, DenoiserObjective,
    DenoiserTraining, Divergence, Examples, Latent, Mirror, Reconstructor, Restorer, SegmentationModel,
    SyntheticAnomalies, SyntheticObjective, SyntheticTraining, TaughtConfig, Vae, VaeConfig, VaeObjective,
    VaeTraining, WeightedContent, initial_parameters, networks,
};

/// Slices of as many healthy heads, scaled to about [0, 1], with the head as region.
fn heads(subjects: std::ops::Range<u64>) -> Examples {
    let phantom = BrainPhantom::new(BrainConfig::new([32, 32], Contrast::Flair, 3)).unwrap();
    let mut examples = Examples::new(lesio_nn::Shape::new(1, 32, 32));
    for subject in subjects {
        let slice = phantom.slice(subject);
        let image: Vec<f32> = slice.image.iter().copied().collect();
        let highest = image.iter().copied().fold(0.0, f32::max);
        let image: Vec<f32> = image.iter().map(|value| (value / highest).clamp(0.0, 1.0)).collect();
        let region: Vec<bool> = image.iter().map(|&value| value > 0.1).collect();
        examples.push_region(&image, &region).unwrap();
    }
    examples
}

fn train_config(epochs: usize) -> TrainConfig {
    let mut train = TrainConfig::default();
    train.epochs = epochs;
    train.batch_size = 8;
    train.adam.rate = 2e-3;
    train.seed = 4;
    train
}

fn vae_config() -> VaeConfig {
    VaeConfig::new(1, 32, 32).widths([6, 12, 16]).latent(Latent::Dense { dimensions: 8 })
}

fn vae_training(epochs: usize) -> VaeTraining {
    let mut training = VaeTraining::default();
    training.train = train_config(epochs);
    training.divergence = Divergence::Beta { beta: 1.0, warm_up: 0.2 };
    training.augmentation = Augmentation::default().mirror(Mirror::LeftRight).shift(1).brightness(0.1);
    training.corruption = Corruption::CoarseNoise { deviation: 0.1, cell: 4 };
    training
}

fn vae_trainer(training: &VaeTraining) -> Trainer<VaeObjective, 2> {
    vae_trainer_on(&Device::Cpu, training)
}

fn vae_trainer_on(device: &Device, training: &VaeTraining) -> Trainer<VaeObjective, 2> {
    let config = vae_config();
    let (encoder, decoder) = networks(&config).unwrap();
    let parameters = initial_parameters(&config, training.train.seed).unwrap();
    let engine = |network, gradients| device.training_engine(network, &parameters, 8, gradients).unwrap();
    let engines = [engine(&encoder, InputGradients::Skip), engine(&decoder, InputGradients::Compute)];
    let objective = VaeObjective::new(config, training.clone(), heads(0..36), heads(100..108)).unwrap();
    Trainer::new(objective, engines, training.train.clone()).unwrap()
}

fn run<O: Objective<N>, const N: usize>(trainer: &mut Trainer<O, N>) -> ParameterSet {
    trainer.run(|_| ControlFlow::Continue(())).unwrap();
    trainer.parameters().unwrap()
}

fn squared_error(model: &dyn Reconstructor, examples: &Examples) -> f64 {
    let values: Vec<f32> = (0..examples.len()).flat_map(|k| examples.image(k)).copied().collect();
    let found = model.reconstruct(ImageBatch::new(&values, Shape::new(1, 32, 32)).unwrap()).unwrap();
    let squares = found.iter().zip(&values).map(|(&y, &x)| f64::from(y - x).powi(2));
    squares.sum::<f64>() / values.len() as f64
}

#[test]
fn a_vae_learns_heads() {
    let mut trainer = vae_trainer(&vae_training(30));
    let initial = initial_parameters(&vae_config(), 4).unwrap();
    let parameters = run(&mut trainer);
    let losses: Vec<f64> = trainer.history().iter().map(|r| r.validation.as_ref().unwrap().total).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best < losses[0] - 100.0, "{losses:?}");
    let model = |parameters| Vae::from_parameters(vae_config(), 1.0, &parameters, &Device::Cpu).unwrap();
    let unseen = heads(200..210);
    let (before, after) =
        (squared_error(&model(initial), &unseen), squared_error(&model(parameters), &unseen));
    assert!(after < 0.3 * before, "{before} to {after}");
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let training = vae_training(3);
    let whole = run(&mut vae_trainer(&training));
    // Another pool of threads, the same bytes.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| run(&mut vae_trainer(&training))), whole);

    let state = |stop: u64| folder.path().join(format!("state {stop}"));
    for stop in [1, 5, 12] {
        let path = state(stop);
        let mut first = vae_trainer(&training).checkpoint(&path, Duration::from_secs(3600));
        let stopped = first.run(|event| match event {
            Event::Step { step, .. } if *step == stop => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Ok(lesio_nn::Ending::Stopped)));
        assert_ne!(first.parameters().unwrap(), whole);
        let mut second = vae_trainer(&training);
        second.resume(&path).unwrap();
        assert_eq!(run(&mut second), whole, "stopped after update {stop}");
    }
    // Data and configuration are part of the checkpoint.
    let mut other = training.clone();
    other.corruption = Corruption::None;
    assert!(vae_trainer(&other).resume(state(12)).is_err());
}

/// Every device makes the same training, up to rounding.
#[cfg(feature = "candle")]
#[test]
fn devices_train_alike() {
    let training = vae_training(1);
    let mut by_candle = vae_trainer_on(&"candle-cpu".parse().unwrap(), &training);
    let mut by_plan = vae_trainer(&training);
    let (candle, plan) = (run(&mut by_candle), run(&mut by_plan));
    let history = |trainer: &Trainer<VaeObjective, 2>| trainer.history()[0].training.total;
    let (a, b) = (history(&by_candle), history(&by_plan));
    assert!((a - b).abs() < 1e-4 * a.abs(), "{a} {b}");
    for (name, parameter) in candle.iter() {
        for (a, b) in parameter.values().iter().zip(plan.get(name).unwrap().values()) {
            // Adam divides by the gradient's size: where that is near 0, rounding may turn a step around.
            assert!((a - b).abs() < 5e-3, "{name}: {a} {b}");
        }
    }
}

#[test]
fn a_denoiser_learns_to_remove_noise() {
    let config = DenoiserConfig::new(1, 32, 32).widths([6, 12]);
    let mut training = DenoiserTraining::default();
    training.train = train_config(12);
    let trainer = || {
        let parameters = Denoiser::initial_parameters(&config, 4).unwrap();
        let network = config.network().unwrap();
        let engine = Device::Cpu.training_engine(&network, &parameters, 8, InputGradients::Skip).unwrap();
        let objective =
            DenoiserObjective::new(&config, training.clone(), heads(0..36), heads(100..108)).unwrap();
        Trainer::new(objective, [engine], training.train.clone()).unwrap()
    };
    let mut first = trainer();
    let parameters = run(&mut first);
    let losses: Vec<f64> = first.history().iter().map(|r| r.validation.as_ref().unwrap().total).collect();
    // The noise itself, on the third of the image that is head, has about half its deviation's square.
    assert!(losses[losses.len() - 1] < 0.25 * losses[0], "{losses:?}");
    assert_eq!(run(&mut trainer()), parameters);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("denoiser.safetensors");
    let denoiser = Denoiser::from_parameters(config.clone(), &parameters, &Device::Cpu).unwrap();
    denoiser.save(&path).unwrap();
    let back = Denoiser::load(&path, &Device::Cpu).unwrap();
    let unseen = heads(200..210);
    assert_eq!(squared_error(&denoiser, &unseen), squared_error(&back, &unseen));
    // An image of the same size in another arrangement is refused, not misread.
    let turned = [0.0; 64 * 16];
    assert!(back.reconstruct(ImageBatch::new(&turned, Shape::new(1, 64, 16)).unwrap()).is_err());
}

/// Heads with a bright square in the middle, and where it is.
fn lesions(examples: &Examples) -> (Vec<f32>, Vec<bool>) {
    let inside = |pixel: usize| (14..19).contains(&(pixel / 32)) && (14..19).contains(&(pixel % 32));
    let mut values = Vec::new();
    for k in 0..examples.len() {
        values.extend(
            examples.image(k).iter().enumerate().map(|(pixel, &v)| if inside(pixel) { v + 0.4 } else { v }),
        );
    }
    (values, (0..examples.len() * 1024).map(|k| inside(k % 1024)).collect())
}

/// The means of scores inside and outside of a mask.
fn means(scores: impl Iterator<Item = f32>, mask: &[bool]) -> [f64; 2] {
    let mut sums = [[0.0; 2]; 2];
    for (score, &inside) in scores.zip(mask) {
        let sum = &mut sums[usize::from(!inside)];
        sum[0] += f64::from(score);
        sum[1] += 1.0;
    }
    sums.map(|[sum, count]| sum / count)
}

fn taught() -> (SyntheticTraining, SyntheticAnomalies) {
    let mut training = SyntheticTraining::default();
    training.train = train_config(80);
    training.augmentation = Augmentation::default().mirror(Mirror::LeftRight).rotation(5.0).gamma(0.1);
    let mut anomalies = SyntheticAnomalies::medical();
    anomalies.contents = vec![WeightedContent {
        weight: 1.0,
        content: Content::Brighter { least: 0.2, most: 0.6, texture: 0.2 },
    }];
    (training, anomalies)
}

#[test]
fn a_restorer_learns_to_paint_lesions_away() {
    let (training, anomalies) = taught();
    let config = TaughtConfig::new(DenoiserConfig::new(1, 32, 32).widths([6, 12]), anomalies);
    let trainer = || {
        let parameters = Restorer::initial_parameters(&config, 4).unwrap();
        let network = config.restorer().unwrap();
        let engine = Device::Cpu.training_engine(&network, &parameters, 8, InputGradients::Skip).unwrap();
        let objective =
            SyntheticObjective::restorer(&config, training.clone(), heads(0..36), heads(100..108), &[])
                .unwrap();
        Trainer::new(objective, [engine], training.train.clone()).unwrap()
    };
    let parameters = run(&mut trainer());
    assert_eq!(run(&mut trainer()), parameters);
    let restorer = Restorer::from_parameters(config.clone(), &parameters, &Device::Cpu).unwrap();
    let (values, mask) = lesions(&heads(200..210));
    let restored = restorer.reconstruct(ImageBatch::new(&values, Shape::new(1, 32, 32)).unwrap()).unwrap();
    let [inside, outside] = means(values.iter().zip(&restored).map(|(x, y)| (x - y).abs()), &mask);
    assert!(inside > 0.2 && inside > 5.0 * outside, "{inside} {outside}");
}

/// Images that are cut to a range that they do not have would be others than those that were given.
#[test]
fn images_outside_the_range_of_anomalies_are_refused() {
    let (training, anomalies) = taught();
    let objective = |range| {
        let anomalies = anomalies.clone().range(range);
        let config = TaughtConfig::new(DenoiserConfig::new(1, 32, 32).widths([6, 12]), anomalies);
        SyntheticObjective::restorer(&config, training.clone(), heads(0..2), heads(2..4), &[])
    };
    for range in [None, Some([0.0, 2.0])] {
        assert!(objective(range).is_ok());
    }
    let error = objective(Some([0.0, 0.3])).unwrap_err().to_string();
    assert!(error.contains("anomalies.range") && error.contains("has the value"), "{error}");
}

#[test]
fn a_segmenter_learns_to_mark_lesions_and_to_paint_them_away() {
    let (training, anomalies) = taught();
    let config = TaughtConfig::new(DenoiserConfig::new(1, 32, 32).widths([6, 12]), anomalies);
    let parameters = AnomalySegmenter::initial_parameters(&config, 4).unwrap();
    let network = config.segmenter().unwrap();
    let engine = Device::Cpu.training_engine(&network, &parameters, 8, InputGradients::Skip).unwrap();
    let objective =
        SyntheticObjective::segmenter(&config, training.clone(), heads(0..36), heads(100..108), &[]).unwrap();
    let mut trainer = Trainer::new(objective, [engine], training.train.clone()).unwrap();
    let parameters = run(&mut trainer);
    let segmenter = AnomalySegmenter::from_parameters(config.clone(), &parameters, &Device::Cpu).unwrap();
    let (values, mask) = lesions(&heads(200..210));
    let images = ImageBatch::new(&values, Shape::new(1, 32, 32)).unwrap();
    let found = segmenter.segment(images).unwrap();
    let [inside, outside] = means(found.logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())), &mask);
    assert!(inside > 0.5 && outside < 0.1, "{inside} {outside}");
    assert_eq!(segmenter.reconstruct(images).unwrap(), found.reconstruction);
    // An image alone is marked as in a batch.
    let alone = segmenter.segment(ImageBatch::new(&values[..1024], images.shape()).unwrap()).unwrap();
    assert_eq!(alone.logits, found.logits[..1024]);
}
