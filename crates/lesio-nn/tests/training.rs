//! A training is the same each time, and a resumed one equals an uninterrupted one bit for bit.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::time::Duration;

use lesio_nn::{
    Activation, AdamConfig, Batch, Bias, CheckpointError, Convolution, Device, EarlierCheckpoint, Ending,
    EngineError, EngineState, Engines, Event, Initialization, InputGradients, Layer, Mode, Network,
    NetworkBuilder, Objective, ParameterSet, Shape, Terms, TrainConfig, TrainError, Trainer, TrainingEngine,
    random,
};

/// Learns to undo noise that is drawn for each sample and epoch.
#[derive(Debug)]
struct Denoise {
    images: Vec<Vec<f32>>,
    poison: Option<u64>,
    validates: bool,
}

const SHAPE: Shape = Shape::new(1, 6, 6);

impl Objective<1> for Denoise {
    fn samples(&self) -> usize {
        self.images.len()
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        let mut clean = Vec::new();
        let mut noisy = Vec::new();
        for &sample in batch.samples {
            let mut noise = vec![0.0; SHAPE.len()];
            let stream = (batch.epoch * self.images.len() + sample) as u64;
            random::fill_normal(&mut random::generator(batch.seed ^ 1, stream), &mut noise);
            clean.extend_from_slice(&self.images[sample]);
            noisy.extend(self.images[sample].iter().zip(noise).map(|(x, n)| x + 0.1 * n));
        }
        let samples = batch.samples.len();
        engine.forward(&[&noisy], samples)?;
        let scale = 2.0 / samples as f32;
        let difference: Vec<f32> = engine.output(0).iter().zip(&clean).map(|(y, x)| y - x).collect();
        let total = difference.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>() / samples as f64;
        let gradient: Vec<f32> = difference.iter().map(|d| d * scale).collect();
        engine.backward(&[&gradient])?;
        let poisoned = self.poison.is_some_and(|from| batch.step >= from);
        Ok(Terms::new(if poisoned { f64::NAN } else { total }).with("squared error", total))
    }

    fn validate(&mut self, [engine]: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        if !self.validates {
            return Ok(None);
        }
        engine.forward(&[&self.images[0]], 1)?;
        let error = engine.output(0).iter().zip(&self.images[0]).map(|(y, x)| f64::from(y - x).powi(2)).sum();
        Ok(Some(Terms::new(error)))
    }

    fn fingerprint(&self) -> String {
        format!("{} images", self.images.len())
    }
}

fn network() -> Network {
    let mut net = NetworkBuilder::new();
    let x = net.input("x", SHAPE);
    let a =
        net.layer("a", Layer::Convolution(Convolution::new(4, 3).padding(1).bias(Bias::None)), &[x]).unwrap();
    let b = net.layer("b", Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 }, &[a]).unwrap();
    let c = net.layer("c", Layer::Activation(Activation::LeakyRelu { slope: 0.1 }), &[b]).unwrap();
    let y = net.layer("y", Layer::Convolution(Convolution::new(1, 3).padding(1)), &[c]).unwrap();
    net.finish(&[y]).unwrap()
}

fn config(epochs: usize) -> TrainConfig {
    let mut config = TrainConfig::default();
    config.epochs = epochs;
    config.batch_size = 4;
    config.adam = AdamConfig::default();
    config.adam.rate = 0.01;
    config.adam.warm_up = 3;
    config.adam.clip_norm = Some(1.0);
    config
}

fn trainer_of(images: usize, config: TrainConfig) -> Trainer<Denoise, 1> {
    trainer(images, config, true)
}

fn trainer(images: usize, config: TrainConfig, validates: bool) -> Trainer<Denoise, 1> {
    trainer_on(&Device::Cpu, images, config, validates)
}

fn trainer_on(device: &Device, images: usize, config: TrainConfig, validates: bool) -> Trainer<Denoise, 1> {
    let images = (0..images as u64)
        .map(|stream| {
            let mut image = vec![0.0; SHAPE.len()];
            random::fill_normal(&mut random::generator(9, stream), &mut image);
            image
        })
        .collect();
    Trainer::new(Denoise { images, poison: None, validates }, [engine(device)], config).unwrap()
}

fn engine(device: &Device) -> Box<dyn TrainingEngine> {
    let network = network();
    let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 3);
    device.training_engine(&network, &parameters, 4, InputGradients::Skip).unwrap()
}

fn go_on(_: &Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn loss_falls() {
    let mut trainer = trainer_of(10, config(12));
    assert_eq!(trainer.run(go_on).unwrap(), Ending::Complete);
    let history = trainer.history();
    assert!(history[11].training.total < 0.7 * history[0].training.total, "{history:?}");
}

#[test]
fn stopped_anywhere_and_resumed_equals_uninterrupted() {
    stop_everywhere(&config(4), 12);
    let mut averaged = config(7);
    averaged.averaging = Some(16.0);
    stop_everywhere(&averaged, 21);
}

fn stop_everywhere(config: &TrainConfig, steps: u64) {
    let mut whole = trainer_of(10, config.clone());
    whole.run(go_on).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for stop in 0..steps {
        let path = folder.path().join(format!("{stop}.safetensors"));
        let mut first = trainer_of(10, config.clone()).checkpoint(&path, Duration::MAX);
        let ending = first.run(|event| match event {
            Event::Step { step, .. } if *step == stop => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(ending.unwrap(), Ending::Stopped);
        let mut second = trainer_of(10, config.clone());
        second.resume(&path).unwrap();
        assert_eq!(second.steps_done(), stop + 1);
        second.run(go_on).unwrap();
        assert_eq!(second.history(), whole.history());
        assert_eq!(second.parameters().unwrap(), whole.parameters().unwrap());
    }
}

/// The parameters that a training of so many epochs, each of one update, gives back.
fn after(epochs: usize, averaging: Option<f64>) -> ParameterSet {
    let mut config = config(epochs);
    config.adam.schedule = lesio_nn::Schedule::Constant;
    config.averaging = averaging;
    let mut trainer = trainer(4, config, false);
    trainer.run(go_on).unwrap();
    trainer.parameters().unwrap()
}

#[test]
fn what_is_given_back_is_the_mean_of_every_eighth_update() {
    let at = [8, 16, 24].map(|epochs| after(epochs, None));
    for (averaging, weights) in [(8.0, [0.0, 0.0, 1.0]), (16.0, [0.25, 0.25, 0.5]), (1e9, [1.0 / 3.0; 3])] {
        for (name, mean) in after(27, Some(averaging)).iter() {
            for (index, &mean) in mean.values().iter().enumerate() {
                let values = at.each_ref().map(|set| set.get(name).unwrap().values()[index]);
                let expected: f32 = values.iter().zip(weights).map(|(value, weight)| value * weight).sum();
                assert!((mean - expected).abs() < 1e-6, "{name} {averaging}: {mean}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut trainer = trainer_of(10, config(3)).checkpoint(&path, Duration::MAX);
    trainer.run(go_on).unwrap();
    let mut content = std::fs::read(&path).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    std::fs::write(&path, content).unwrap();
    let mut resumed = trainer_of(10, config(3));
    resumed.resume(&path).unwrap();
    assert_eq!(resumed.history().len(), 2);
    resumed.run(go_on).unwrap();
    assert_eq!(resumed.parameters().unwrap(), trainer.parameters().unwrap());
}

/// The first checkpoint after that would otherwise put the damaged file in the place of the only intact one.
#[test]
fn a_damaged_checkpoint_does_not_replace_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, previous) = (folder.path().join("state"), folder.path().join("state.previous"));
    trainer_of(10, config(3)).checkpoint(&path, Duration::MAX).run(go_on).unwrap();
    let intact = std::fs::read(&previous).unwrap();
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();
    let mut resumed = trainer_of(10, config(3)).checkpoint(&path, Duration::MAX);
    resumed.resume(&path).unwrap();
    let ending = resumed.run(|event| match event {
        Event::Step { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(ending.unwrap(), Ending::Stopped);
    assert!(std::fs::read(&previous).unwrap() == intact);
    // What it was replaced by is kept like any other.
    let newest = std::fs::read(&path).unwrap();
    assert_eq!(resumed.run(go_on).unwrap(), Ending::Complete);
    assert!(std::fs::read(&previous).unwrap() == newest);
}

#[test]
fn the_checkpoint_of_an_earlier_training_is_not_lost_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    trainer_of(10, config(1)).checkpoint(&path, Duration::MAX).run(go_on).unwrap();
    let earlier = std::fs::read(&path).unwrap();
    let refused = |error: Result<Ending, TrainError>| {
        assert!(
            matches!(&error, Err(TrainError::CheckpointExists { path: found }) if *found == path),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), earlier);
    };
    refused(trainer_of(10, config(2)).checkpoint(&path, Duration::MAX).run(go_on));
    // To go on from another checkpoint is no leave to replace this one.
    let other = folder.path().join("other");
    trainer_of(10, config(2)).checkpoint(&other, Duration::MAX).run(go_on).unwrap();
    let mut resumed = trainer_of(10, config(2)).checkpoint(&path, Duration::MAX);
    resumed.resume(&other).unwrap();
    refused(resumed.run(go_on));
    // Only the one before is left: it is a training's, too.
    std::fs::rename(&path, folder.path().join("state.previous")).unwrap();
    let error = trainer_of(10, config(2)).checkpoint(&path, Duration::MAX).run(go_on);
    assert!(matches!(error, Err(TrainError::CheckpointExists { .. })), "{error:?}");
    std::fs::rename(folder.path().join("state.previous"), &path).unwrap();

    let replacing = |config| trainer_of(10, config).checkpoint(&path, Duration::MAX);
    let mut resumed = replacing(config(1));
    resumed.resume(&path).unwrap();
    resumed.run(go_on).unwrap();
    let mut asked = replacing(config(2)).earlier_checkpoint(EarlierCheckpoint::Replace);
    asked.run(go_on).unwrap();
    // It may run again over its own.
    asked.run(go_on).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), earlier);
}

#[test]
fn other_settings_or_data_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    trainer_of(10, config(1)).checkpoint(&path, Duration::MAX).run(go_on).unwrap();
    let refused = |images, config| match trainer_of(images, config).resume(&path) {
        Err(TrainError::Resume(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut other = config(1);
    other.adam.rate = 0.5;
    let error = refused(10, other);
    assert!(
        matches!(&error, CheckpointError::Configuration { difference, .. } if difference == "adam.rate is 0.01 in the checkpoint and 0.5 in this training"),
        "{error}"
    );
    assert!(matches!(refused(11, config(1)), CheckpointError::Data { .. }));
}

#[test]
fn a_loss_that_stays_not_finite_is_divergence() {
    let mut trainer = trainer_of(10, config(4));
    let before = trainer.parameters().unwrap();
    let network = network();
    let engine = Device::Cpu.training_engine(&network, &before, 4, InputGradients::Skip).unwrap();
    let images = trainer.objective().images.clone();
    trainer =
        Trainer::new(Denoise { images, poison: Some(0), validates: true }, [engine], config(4)).unwrap();
    let mut skipped = 0;
    let error = trainer.run(|event| {
        skipped += usize::from(matches!(event, Event::Skipped { .. }));
        ControlFlow::Continue(())
    });
    assert!(
        matches!(error, Err(TrainError::Diverged { step: 5, skipped: 6, checkpoint: None })),
        "{error:?}"
    );
    assert_eq!(skipped, 5);
    // Every update of the first epoch was skipped.
    assert!(
        matches!(trainer.history(), [record] if record.training.total.is_nan()),
        "{:?}",
        trainer.history()
    );
    let trained = |set: &ParameterSet, name: &str| set.get(name).unwrap().clone();
    assert_eq!(trained(&trainer.parameters().unwrap(), "a.weight"), trained(&before, "a.weight"));
}

#[test]
fn divergence_names_the_checkpoint_from_which_the_training_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut config = config(4);
    config.skips = 1;
    let mut begun = trainer_of(10, config.clone()).checkpoint(&path, Duration::MAX);
    let ending = begun.run(|event| match event {
        Event::Step { step: 3, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(ending.unwrap(), Ending::Stopped);
    let poisoned = || {
        let images = begun.objective().images.clone();
        let objective = Denoise { images, poison: Some(0), validates: true };
        let mut trainer = Trainer::new(objective, [engine(&Device::Cpu)], config.clone()).unwrap();
        trainer.resume(&path).unwrap();
        trainer
    };
    let named = |error| match error {
        Err(TrainError::Diverged { step: 5, checkpoint, .. }) => checkpoint,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(poisoned().checkpoint(&path, Duration::MAX).run(go_on)), Some(path.clone()));
    // Nothing was written there yet.
    let other = folder.path().join("other");
    assert_eq!(named(poisoned().checkpoint(&other, Duration::MAX).run(go_on)), None);
}

/// A checkpoint holds the losses of every epoch, and its description has a limit.
#[test]
fn more_epochs_than_a_checkpoint_holds_are_an_error_after_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let two_epochs = |event: &Event<'_>| match event {
        Event::Epoch { record, .. } if record.epoch == 1 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let run = |epochs| {
        let mut trainer = trainer_of(10, config(epochs))
            .checkpoint(&path, Duration::MAX)
            .earlier_checkpoint(EarlierCheckpoint::Replace);
        trainer.run(two_epochs)
    };
    let most = match run(1_000_000) {
        Err(TrainError::Epochs { epochs: 1_000_000, most }) => most,
        other => panic!("{other:?}"),
    };
    assert!((20_000..50_000).contains(&most), "{most}");
    assert!(!path.exists());
    assert!(matches!(run(most + 1), Err(TrainError::Epochs { .. })));
    assert_eq!(run(most).unwrap(), Ending::Stopped);
    // Without a checkpoint nothing has to fit.
    assert_eq!(trainer_of(10, config(1_000_000)).run(two_epochs).unwrap(), Ending::Stopped);
}

/// Gives every value of the output the same gradient.
struct Steep(f32);

impl Objective<1> for Steep {
    fn samples(&self) -> usize {
        4
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        let samples = batch.samples.len();
        let image: Vec<f32> = (0..samples * SHAPE.len()).map(|k| (k % 7) as f32 - 3.0).collect();
        engine.forward(&[&image], samples)?;
        engine.backward(&[&vec![self.0; image.len()]])?;
        Ok(Terms::new(1.0))
    }

    fn validate(&mut self, _: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        Ok(None)
    }

    fn fingerprint(&self) -> String {
        "steep".to_owned()
    }
}

/// Adam's second moments hold squares in single precision.
#[test]
fn gradients_whose_squares_are_infinite_are_not_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let steep = |gradient: f32, clip_norm: Option<f64>| {
        let mut config = config(3);
        config.adam.clip_norm = clip_norm;
        config.skips = 1;
        Trainer::new(Steep(gradient), [engine(&Device::Cpu)], config).unwrap()
    };
    let mut trainer = steep(1e20, None);
    let before = trainer.parameters().unwrap();
    let error = trainer.run(go_on);
    assert!(
        matches!(error, Err(TrainError::Diverged { step: 1, skipped: 2, checkpoint: None })),
        "{error:?}"
    );
    assert_eq!(trainer.parameters().unwrap(), before);
    // Clipped, or not as steep.
    for (gradient, clip_norm) in [(1e20, Some(1.0)), (1e13, None)] {
        let path = folder.path().join(format!("{gradient:e}"));
        let mut trainer = steep(gradient, clip_norm).checkpoint(&path, Duration::MAX);
        assert_eq!(trainer.run(go_on).unwrap(), Ending::Complete);
        assert_ne!(trainer.parameters().unwrap(), before);
        // Which would refuse an infinite moment.
        steep(gradient, clip_norm).resume(&path).unwrap();
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    let refused = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config(1);
        change(&mut config);
        let images = vec![vec![0.0; 36]];
        match Trainer::new(Denoise { images, poison: None, validates: true }, [engine(&Device::Cpu)], config)
        {
            Err(TrainError::Setting(error)) => error.setting,
            other => panic!("{other:?}"),
        }
    };
    for value in [0, 1_000_001, usize::MAX] {
        assert_eq!(refused(&|c| c.epochs = value), "epochs");
        assert_eq!(refused(&|c| c.batch_size = value), "batch_size");
    }
    for value in [1_000_001, usize::MAX] {
        assert_eq!(refused(&|c| c.patience = Some(value)), "patience");
        assert_eq!(refused(&|c| c.skips = value), "skips");
    }
    for value in [f64::NAN, f64::INFINITY, 7.0, -1.0, 0.0, 1e18] {
        assert_eq!(refused(&|c| c.averaging = Some(value)), "averaging");
    }
    for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e18] {
        assert_eq!(refused(&|c| c.adam.rate = value), "adam.rate");
    }
    let nothing = Denoise { images: Vec::new(), poison: None, validates: true };
    assert!(matches!(Trainer::new(nothing, [engine(&Device::Cpu)], config(1)), Err(TrainError::NoSamples)));
}

/// A checkpoint whose document was changed is refused, or the training goes on from it to its end.
#[test]
fn no_number_of_a_checkpoint_does_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut averaged = config(3);
    averaged.averaging = Some(16.0);
    averaged.patience = Some(50);
    let mut whole = trainer_of(10, averaged.clone()).checkpoint(&path, Duration::MAX);
    // In the middle of an epoch.
    let stopped = whole.run(|event| match event {
        Event::Step { step: 4, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(stopped.unwrap(), Ending::Stopped);
    std::fs::remove_file(folder.path().join("state.previous")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let envelope: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["lesio"].as_str().unwrap()).unwrap();
    let (mut refused, mut resumed) = (0, 0);
    for mutation in lesio_settings::mutation::mutations(&envelope) {
        let mut header = header.clone();
        header["__metadata__"]["lesio"] = serde_json::Value::String(mutation.document.to_string());
        let mut text = serde_json::to_vec(&header).unwrap();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend(text);
        file.extend(&bytes[8 + length..]);
        std::fs::write(&path, file).unwrap();
        let mut trainer = trainer_of(10, averaged.clone());
        match trainer.resume(&path) {
            Err(TrainError::Resume(error)) => {
                assert!(error.to_string().contains("state"), "{error}");
                refused += 1;
            }
            Err(other) => panic!("{}: {other}", mutation.place),
            Ok(()) => {
                // Figures of epochs that are over may be any.
                let reported = mutation.place.contains("/history/")
                    || mutation.place.contains("/sums/")
                    || mutation.place.contains("/summed")
                    || mutation.place.contains("/best/1")
                    || mutation.place.contains("/skipped");
                assert!(reported || mutation.value == 0, "{} is {}", mutation.place, mutation.value);
                assert_eq!(trainer.run(go_on).unwrap(), Ending::Complete);
                resumed += 1;
            }
        }
    }
    assert!(refused > 150 && resumed > 10, "{refused} refused, {resumed} resumed");
}

/// A training that is stopped on one device goes on from its checkpoint on another, to the same model within rounding.
#[cfg(feature = "candle")]
#[test]
fn either_device_goes_on_from_the_others_checkpoint() {
    let candle: Device = "candle-cpu".parse().unwrap();
    let mut whole = trainer_of(10, config(4));
    whole.run(go_on).unwrap();
    let expected = whole.parameters().unwrap();
    for (first, second) in [(&Device::Cpu, &candle), (&candle, &Device::Cpu), (&candle, &candle)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut begun =
            trainer_on(first, 10, config(4), true).checkpoint(&path, std::time::Duration::from_secs(3600));
        let ending = begun.run(|event| match event {
            Event::Step { step: 5, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(ending.unwrap(), Ending::Stopped);
        let mut rest = trainer_on(second, 10, config(4), true);
        rest.resume(&path).unwrap();
        assert_eq!(rest.run(go_on).unwrap(), Ending::Complete);
        let found = rest.parameters().unwrap();
        for (name, parameter) in expected.iter() {
            let other = found.get(name).unwrap().values();
            for (a, b) in parameter.values().iter().zip(other) {
                assert!((a - b).abs() < 1e-4, "{first} then {second}, {name}: {a} {b}");
            }
        }
    }
}

/// Running statistics are moved by every pass in training since the last update, in their order, and by no other.
#[test]
fn engines_use_the_statistics_of_every_pass_in_training() {
    let devices = if cfg!(feature = "candle") { &["cpu", "candle-cpu"][..] } else { &["cpu"] };
    let [a, b] = [1, 2].map(|stream| {
        let mut image = vec![0.0; SHAPE.len()];
        random::fill_normal(&mut random::generator(5, stream), &mut image);
        image
    });
    let mut update = AdamConfig::default().update(0, 10, 1.0);
    // Only the statistics change.
    update.rate = 0.0;
    for device in devices {
        let after = |passes: &dyn Fn(&mut Box<dyn TrainingEngine>)| {
            let mut engine = engine(&device.parse().unwrap());
            passes(&mut engine);
            engine.update(&update).unwrap();
            engine.parameters().unwrap()
        };
        let forward =
            |engine: &mut Box<dyn TrainingEngine>, image: &[f32]| engine.forward(&[image], 1).unwrap();
        let [none, only_a, only_b] =
            [after(&|_| {}), after(&|engine| forward(engine, &a)), after(&|engine| forward(engine, &b))];
        assert!(none != only_a && none != only_b && only_a != only_b, "{device}");
        let one_by_one = after(&|engine| {
            forward(engine, &a);
            engine.update(&update).unwrap();
            forward(engine, &b);
        });
        let both = after(&|engine| {
            forward(engine, &a);
            forward(engine, &b);
        });
        assert_eq!(both, one_by_one, "{device}");
        assert_ne!(both, only_b, "{device}");
        let evaluated = after(&|engine| {
            forward(engine, &a);
            engine.set_mode(Mode::Evaluate);
            forward(engine, &b);
        });
        assert_eq!(evaluated, only_a, "{device}");
        let updated_twice = after(&|engine| {
            forward(engine, &a);
            engine.update(&update).unwrap();
        });
        assert_eq!(updated_twice, only_a, "{device}");
        let cleared = after(&|engine| {
            forward(engine, &a);
            engine.clear_gradients();
        });
        assert_eq!(cleared, none, "{device}");
        let restored = after(&|engine| {
            let (parameters, moments) = (engine.parameters().unwrap(), engine.moments().unwrap());
            forward(engine, &a);
            engine.restore(&EngineState { parameters, moments, mean: None }).unwrap();
        });
        assert_eq!(restored, none, "{device}");
    }
}

/// The mean is what its definition says, validation exchanges it for the parameters and back, and a saved state has it.
#[test]
fn engines_keep_the_mean_of_their_parameters() {
    let devices = if cfg!(feature = "candle") { &["cpu", "candle-cpu"][..] } else { &["cpu"] };
    for device in devices {
        let mut engine = engine(&device.parse().unwrap());
        assert_eq!(engine.mean().unwrap(), None);
        let untouched = engine.parameters().unwrap();
        engine.exchange_mean().unwrap();
        assert_eq!(engine.parameters().unwrap(), untouched);
        engine.average(0.5).unwrap();
        assert_eq!(engine.mean().unwrap(), Some(untouched.clone()));

        engine.clear_gradients();
        engine.forward(&[&[0.5; 36]], 1).unwrap();
        engine.backward(&[&[1.0; 36]]).unwrap();
        engine.update(&AdamConfig::default().update(0, 10, 1.0)).unwrap();
        let changed = engine.parameters().unwrap();
        assert_ne!(changed, untouched);
        engine.average(0.25).unwrap();
        let mean = engine.mean().unwrap().unwrap();
        for (name, parameter) in mean.iter() {
            let sources =
                untouched.get(name).unwrap().values().iter().zip(changed.get(name).unwrap().values());
            for (found, (before, after)) in parameter.values().iter().zip(sources) {
                assert!((found - (0.75 * before + 0.25 * after)).abs() < 1e-6, "{device} {name}");
            }
        }

        let output = |engine: &mut Box<dyn TrainingEngine>| {
            engine.set_mode(Mode::Evaluate);
            engine.forward(&[&[0.5; 36]], 1).unwrap();
            engine.output(0).to_vec()
        };
        let by_changed = output(&mut engine);
        engine.exchange_mean().unwrap();
        assert_eq!(
            (engine.parameters().unwrap(), engine.mean().unwrap()),
            (mean.clone(), Some(changed.clone()))
        );
        assert_ne!(output(&mut engine), by_changed);
        engine.exchange_mean().unwrap();
        assert_eq!(output(&mut engine), by_changed);

        let moments = engine.moments().unwrap();
        let state =
            EngineState { parameters: changed.clone(), moments: moments.clone(), mean: Some(mean.clone()) };
        let mut other = self::engine(&device.parse().unwrap());
        other.restore(&state).unwrap();
        assert_eq!((other.parameters().unwrap(), other.moments().unwrap()), (changed, moments));
        assert_eq!(other.mean().unwrap(), Some(mean));
    }
}
