//! How estimators learn: the loss, and hardening against attacks.

use lesio_nn::{
    Batch, Device, EngineError, InputGradients, Mode, Objective, ParameterSet, Terms, TrainConfig,
    TrainingEngine, random,
};
use lesio_settings::{SettingError, in_range};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attack::{LARGEST_STRENGTH, MOST_STEPS, error_weights, step};
use crate::augmentation::Augmentation;
use crate::chain::{By, Chain, Passage};
use crate::change::Change;
use crate::config::EstimatorConfig;
use crate::distance;
use crate::engine::{CAPACITY, links};
use crate::error::{BuildError, ConfigError};
use crate::samples::{Samples, one_hot};
use crate::segmentation_loss::loss;

/// Streams of draws, apart from each other.
const CHANGE_SEED: u64 = 0x5eed_c4a6;
const ATTACK_SEED: u64 = 0x5eed_a77c;
/// Bounds of attacks are the widest times a uniform draw to this power: wide ones mostly when a training begins, narrow
/// ones mostly when it ends. A network that had learnt from wide ones gained more from narrow ones than it lost.
const FIRST_EXPONENT: f32 = 0.5;
/// The power when a training ends.
const LAST_EXPONENT: f32 = 2.0;
/// Weight of the error of the distance: a companion of the Dice, not its rival.
const DISTANCE_WEIGHT: f32 = 0.5;
/// Weight of the errors of the Dice, absolute and squared: the first for the figure that is reported,
/// the second against gross errors.
const DICE_WEIGHT: f32 = 3.0;

/// How an estimator is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct EstimatorTraining {
    /// Epochs, batches, optimizer, patience and seed.
    pub train: TrainConfig,
    /// Changes made to the samples.
    pub augmentation: Augmentation,
    /// Training on attacked images; `None`, the default, for clean ones only.
    pub hardening: Option<Hardening>,
}

impl EstimatorTraining {
    /// Training by these epochs, batches and seed.
    #[must_use]
    pub fn new(train: TrainConfig) -> Self {
        Self { train, ..Self::default() }
    }

    /// With other changes to the samples.
    #[must_use]
    pub fn augmentation(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.augmentation.validate().map_err(|error| error.within("augmentation"))?;
        let hardening = self.hardening.as_ref().map_or(Ok(()), Hardening::validate);
        hardening.map_err(|error| error.within("hardening"))
    }

    /// With training on attacked images.
    #[must_use]
    pub fn hardening(mut self, hardening: Hardening) -> Self {
        self.hardening = Some(hardening);
        self
    }
}

/// Training on images that an attack on the present state of the estimator has changed, besides those it started from.
///
/// Each sample draws a bound of its own, and every third attack starts at a random place within it: against one
/// step from the image itself alone, networks learn to bend their gradients instead of becoming robust
/// (Wong, Rice and Kolter 2020, "Fast is better than free"). The passes of the attack are learnt from as well, since
/// they give the gradients by the parameters along with those by the image (Shafahi et al. 2019, "Adversarial
/// training for free!"): clean images cost nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Hardening {
    /// The largest bound, in deviations, 1e-6 to 1000; the mean one falls from two thirds of it to one third over a training. Default .3.
    pub strength: f32,
    /// Share of the samples that no attack changes, 0 to 1. Default 0: the passes of the attack show clean images.
    pub clean: f32,
    /// Steps of the attack, 1 to 10000, each a pass forth and back that is learnt from. Default 1, the cheapest: over long trainings
    /// a network can learn to mislead one step (see docs/results.md), which shows under attacks of more steps alone.
    pub steps: usize,
}

impl Default for Hardening {
    fn default() -> Self {
        Self { strength: 0.3, clean: 0.0, steps: 1 }
    }
}

impl Hardening {
    /// Hardening up to a bound.
    #[must_use]
    pub fn new(strength: f32) -> Self {
        Self { strength, ..Self::default() }
    }

    /// With another share of samples that no attack changes.
    #[must_use]
    pub fn clean(mut self, clean: f32) -> Self {
        self.clean = clean;
        self
    }

    /// With other steps.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of the attacks that help to choose among epochs: twice those of training, so that misleading the latter is not
    /// taken for robustness. One stays one, which cannot tell: judged by more, a long training would be taken from before
    /// its end, while the updates that follow it mend the end.
    fn held_out_steps(&self) -> usize {
        if self.steps == 1 { 1 } else { 2 * self.steps }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("strength", self.strength, 1e-6..=LARGEST_STRENGTH)?;
        in_range("clean", self.clean, 0.0..=1.0)?;
        in_range("steps", self.steps, 1..=MOST_STEPS)
    }
}

/// Teaches an estimator the Dice of samples, for a [`Trainer`](lesio_nn::Trainer) with the engines of
/// [`EstimatorObjective::engines`].
#[derive(Debug)]
pub struct EstimatorObjective {
    config: EstimatorConfig,
    training: EstimatorTraining,
    samples: Samples,
    validation: Samples,
    fingerprint: String,
    chain: Chain,
    batch: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    images: Vec<f32>,
    planes: Vec<f32>,
    truth: Vec<u8>,
    dice: Vec<f32>,
    mean_dice: Vec<f32>,
    distance: Vec<Option<f32>>,
}

impl EstimatorObjective {
    /// An objective on samples of training and of validation patients; the latter may be empty.
    ///
    /// `parameters` hold those of what the method builds upon: of REC-Net for
    /// [`Method::RecReg`](crate::Method::RecReg), of the segmentation alone for
    /// [`Method::SecondOpinion`](crate::Method::SecondOpinion), which is asked on `device`. Others are not looked at.
    ///
    /// # Errors
    /// A configuration that is refused, or samples on another grid.
    pub fn new(
        config: EstimatorConfig,
        training: EstimatorTraining,
        parameters: &ParameterSet,
        samples: Samples,
        validation: Samples,
        device: &Device,
    ) -> Result<Self, BuildError> {
        config.validate()?;
        training.validate().map_err(ConfigError::from)?;
        let (pixels, labels) = (config.framing.pixels(), config.framing.labels.len());
        let odd = |sample: &&crate::Sample| sample.image.len() != pixels || sample.dice.len() != labels;
        if let Some(sample) = samples.iter().chain(validation.iter()).find(odd) {
            let expected = format!("samples of {pixels} pixels and {labels} labels");
            let found = [sample.image.len(), sample.dice.len()];
            return Err(ConfigError::new("sample", found, expected).into());
        }
        // The networks too: what a configuration stands for changes with the version.
        let networks = format!("{:?}", config.networks()?);
        let fingerprint = fingerprint(&(&config, &training, networks), &samples, &validation);
        let chain = Chain::new(&config, parameters, device)?;
        Ok(Self { config, training, samples, validation, fingerprint, chain, batch: Buffers::default() })
    }

    /// Engines on a device for the networks that are trained, from these parameters.
    ///
    /// # Errors
    /// A configuration that is refused, or parameters that do not fit it.
    pub fn engines(
        config: &EstimatorConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Vec<Box<dyn TrainingEngine>>, BuildError> {
        let mut engines = Vec::new();
        for network in config.networks()? {
            let wanted = InputGradients::Compute;
            engines.push(device.training_engine(&network, parameters, CAPACITY, wanted)?);
        }
        Ok(engines)
    }

    /// The same, told apart by how that was learnt which it begins from.
    pub(crate) fn after(mut self, origin: Option<&str>) -> Self {
        if let Some(origin) = origin {
            self.fingerprint = format!("{}, after {origin}", self.fingerprint);
        }
        self
    }

    fn draw(&mut self, batch: &Batch<'_>, validation: bool) {
        let set = if validation { &self.validation } else { &self.samples };
        let framing = &self.config.framing;
        let (pixels, labels) = (framing.pixels(), framing.labels.len());
        let scale = distance::scale(framing);
        let own: Vec<_> = batch.samples.iter().filter_map(|&index| Some((index, set.get(index)?))).collect();
        let buffers = &mut self.batch;
        buffers.images.resize(own.len() * pixels, 0.0);
        buffers.planes.resize(own.len() * labels * pixels, 0.0);
        buffers.truth.resize(own.len() * pixels, 0);
        buffers.dice = own.iter().flat_map(|(_, sample)| &sample.dice).map(|&dice| dice as f32).collect();
        buffers.mean_dice = own.iter().map(|(_, sample)| sample.mean_dice() as f32).collect();
        buffers.distance = own
            .iter()
            .flat_map(|(_, sample)| sample.distance.iter().map(move |distance| (sample.pixel, distance)))
            .map(|(pixel, distance)| distance.map(|pixels| distance::encode(pixels / pixel, scale)))
            .collect();
        let augmentation = if validation { &Augmentation::none() } else { &self.training.augmentation };
        own.par_iter()
            .zip(buffers.images.par_chunks_exact_mut(pixels))
            .zip(buffers.planes.par_chunks_exact_mut(labels * pixels))
            .zip(buffers.truth.par_chunks_exact_mut(pixels))
            .for_each(|((((index, sample), image), planes), truth)| {
                let change = change_of(batch, augmentation, *index, set.len(), framing.grid);
                change.place_image(&sample.image, image);
                change.tone(image);
                change.place(&sample.truth, truth);
                let mut segmentation = vec![0; pixels];
                change.place(&sample.segmentation, &mut segmentation);
                one_hot(&segmentation, labels, planes);
            });
    }

    /// Attacks the images of the batch, each within a bound of its own, and learns from each step, with this weight.
    fn harden(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        batch: &Batch<'_>,
        hardening: &Hardening,
        weight: f32,
    ) -> Result<(), EngineError> {
        let pixels = self.config.framing.pixels();
        let clean = self.batch.images.clone();
        let exponent = exponent(batch.epoch, self.training.train.epochs);
        let mut bounds = Vec::with_capacity(batch.samples.len());
        for (image, &sample) in self.batch.images.chunks_exact_mut(pixels).zip(batch.samples) {
            let stream = (batch.epoch * self.samples.len() + sample) as u64;
            let mut generator = random::generator(batch.seed ^ ATTACK_SEED, stream);
            let stays = generator.random_range(0.0..1.0f32) < hardening.clean;
            let draw = generator.random_range(0.0..=1.0f32).powf(exponent);
            let bound = if stays { 0.0 } else { hardening.strength * draw };
            // Two of three attacks start from the image itself, as the plain FGSM does: that pass shows it clean.
            if generator.random_range(0..3) == 0 {
                image.iter_mut().for_each(|value| *value += bound * generator.random_range(-1.0..=1.0f32));
            }
            bounds.push(bound);
        }
        for _ in 0..hardening.steps {
            let (_, gradient) = self.pass(engines, weight)?;
            step(&mut self.batch.images, &clean, &gradient, &bounds, step_share(hardening.steps));
        }
        Ok(())
    }

    /// Mean error of the Dice of validation samples, as they are or under attack.
    fn held_out_error(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        hardening: Option<&Hardening>,
    ) -> Result<f64, EngineError> {
        let labels = self.config.framing.labels.len();
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut error = 0.0;
        for chunk in all.chunks(self.training.train.batch_size.max(1)) {
            self.draw(&Batch::new(chunk, self.training.train.seed), true);
            if let Some(hardening) = hardening {
                let clean = self.batch.images.clone();
                let bounds = vec![hardening.strength / 2.0; chunk.len()];
                let steps = hardening.held_out_steps();
                for _ in 0..steps {
                    let gradient = self.run(engines, Mode::Evaluate, |passage| {
                        let dice = error_weights(&passage.dice, &self.batch.mean_dice, labels);
                        passage.backward(&By { dice, ..By::default() })
                    })?;
                    step(&mut self.batch.images, &clean, &gradient, &bounds, step_share(steps));
                }
            }
            let (losses, _) = self.run(engines, Mode::Evaluate, |passage| Ok(self.loss(passage)))?;
            error += losses.dice * chunk.len() as f64 / all.len() as f64;
        }
        Ok(error)
    }

    /// Shows the networks the batch in the buffers.
    fn run<T>(
        &self,
        engines: &mut [Box<dyn TrainingEngine>],
        mode: Mode,
        then: impl FnOnce(&mut Passage<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.chain.run(&mut links(engines, mode), &self.batch.images, &self.batch.planes, then)
    }

    /// Learns from the batch in the buffers, with this weight; returns its losses and the gradient by the images.
    fn pass(
        &self,
        engines: &mut [Box<dyn TrainingEngine>],
        weight: f32,
    ) -> Result<(Losses, Vec<f32>), EngineError> {
        self.run(engines, Mode::Train, |passage| {
            let (losses, mut by) = self.loss(passage);
            if weight != 1.0 {
                let gradients = [&mut by.dice, &mut by.distance, &mut by.logits];
                gradients.into_iter().flatten().for_each(|gradient| *gradient *= weight);
            }
            Ok((losses, passage.backward(&by)?))
        })
    }

    /// The loss of the batch in the buffers, and its gradients by what the networks gave.
    fn loss(&self, passage: &Passage<'_>) -> (Losses, By) {
        let count = self.batch.dice.len().max(1) as f32;
        let (mut losses, mut by) = (Losses::default(), By::default());
        for (&dice, &truth) in passage.dice.iter().zip(&self.batch.dice) {
            let error = dice - truth;
            losses.dice += f64::from(error.abs()) / f64::from(count);
            losses.square += f64::from(error * error) / f64::from(count);
            by.dice.push(DICE_WEIGHT * (sign(error) + 2.0 * error) / count);
        }
        for (&code, truth) in passage.distance.iter().zip(&self.batch.distance) {
            let error = truth.map_or(0.0, |truth| code - truth);
            losses.distance += f64::from(error.abs()) / f64::from(count);
            by.distance.push(DISTANCE_WEIGHT * sign(error) / count);
        }
        (losses.opinion, by.logits) = self.opinion_loss(&passage.seen.probability);
        (losses, by)
    }

    /// Cross-entropy and soft Dice of the opinion against the truth, and the gradient by its logits.
    fn opinion_loss(&self, probability: &[f32]) -> (f64, Vec<f32>) {
        let mut by_logits = vec![0.0; probability.len()];
        if probability.is_empty() {
            return (0.0, by_logits);
        }
        let (pixels, classes) = (self.config.framing.pixels(), self.config.classes.len() + 1);
        let truth = &self.batch.truth;
        let samples = truth.len() / pixels;
        let losses: Vec<f64> = by_logits
            .par_chunks_exact_mut(classes * pixels)
            .zip(probability.par_chunks_exact(classes * pixels))
            .zip(truth.par_chunks_exact(pixels))
            .map(|((by, probability), truth)| loss(probability, truth, by, 1.0 / samples as f32))
            .collect();
        (losses.iter().sum::<f64>() / samples as f64, by_logits)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    dice: f64,
    square: f64,
    distance: f64,
    opinion: f64,
}

impl Losses {
    fn total(&self) -> f64 {
        f64::from(DICE_WEIGHT) * (self.dice + self.square)
            + f64::from(DISTANCE_WEIGHT) * self.distance
            + self.opinion
    }

    fn terms(&self) -> Terms {
        let terms =
            Terms::new(self.total()).with("dice error", self.dice).with("distance error", self.distance);
        if self.opinion > 0.0 { terms.with("opinion", self.opinion) } else { terms }
    }
}

impl Objective for EstimatorObjective {
    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn learn(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        batch: &Batch<'_>,
    ) -> Result<Terms, EngineError> {
        self.draw(batch, false);
        let mut weight = 1.0;
        if let Some(hardening) = self.training.hardening.clone() {
            // The mean over the passes.
            weight = 1.0 / (hardening.steps + 1) as f32;
            self.harden(engines, batch, &hardening, weight)?;
        }
        let (losses, _) = self.pass(engines, weight)?;
        Ok(losses.terms())
    }

    fn validate(&mut self, engines: &mut [Box<dyn TrainingEngine>]) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let clean = self.held_out_error(engines, None)?;
        let terms = match self.training.hardening.clone() {
            None => Terms::new(clean).with("dice error", clean),
            Some(hardening) => {
                let attacked = self.held_out_error(engines, Some(&hardening))?;
                Terms::new(clean + attacked).with("dice error", clean).with("attacked", attacked)
            }
        };
        engines.iter_mut().for_each(|engine| engine.clear_gradients());
        Ok(Some(terms))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// The change of a sample in an epoch, which depends on nothing else.
pub(crate) fn change_of(
    batch: &Batch<'_>,
    augmentation: &Augmentation,
    sample: usize,
    samples: usize,
    grid: [usize; 2],
) -> Change {
    let stream = (batch.epoch * samples + sample) as u64;
    augmentation.draw(&mut random::generator(batch.seed ^ CHANGE_SEED, stream), grid)
}

/// A text that changes with configuration and data.
pub(crate) fn fingerprint(config: &impl Serialize, samples: &Samples, validation: &Samples) -> String {
    let text = serde_json::to_string(config).unwrap_or_default();
    format!(
        "configuration {:08x}, {} training samples {:08x}, {} validation samples {:08x}",
        crc32fast::hash(text.as_bytes()),
        samples.len(),
        samples.checksum(),
        validation.len(),
        validation.checksum()
    )
}

/// The power of the draws of an epoch, counted from 0: each epoch's is that of the one before times the same factor.
fn exponent(epoch: usize, epochs: usize) -> f32 {
    let done = (epoch as f32 + 0.5) / epochs.max(1) as f32;
    FIRST_EXPONENT * (LAST_EXPONENT / FIRST_EXPONENT).powf(done)
}

/// Length of one step of several in training, as a share of the bound: together they reach it, with some to spare.
fn step_share(steps: usize) -> f32 {
    (1.25 / steps as f32).max(0.25)
}

fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_attacks_come_first_and_narrow_ones_last() {
        let mean = |epoch: usize| 1.0 / (1.0 + exponent(epoch, 40));
        assert!((mean(0) - 0.66).abs() < 0.01 && (mean(39) - 0.34).abs() < 0.01);
        assert!((1..40).all(|epoch| mean(epoch) < mean(epoch - 1)));
        // One epoch has the middle of both.
        assert!((exponent(0, 1) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn distances_are_learnt_in_pixels_of_the_grid() {
        let framing = crate::Framing::new([1]).grid([16, 16]);
        let image = ndarray::Array2::from_shape_fn((16, 16), |(i, j)| (i * j) as f32);
        let square = |side: usize| {
            ndarray::Array2::from_shape_fn((16, 16), |(i, j)| u8::from(i.max(j) < 4 + side && i.min(j) >= 4))
        };
        let (candidate, truth) = (square(4), square(8));
        let sample = crate::Sample::new(&framing, &[1], "p", &image.view(), &candidate.view(), &truth.view());
        let sample = sample.unwrap().unwrap();
        let codes = |factor: f64| {
            let mut own = sample.clone();
            own.pixel *= factor;
            own.distance = own.distance.iter().map(|distance| distance.map(|d| d * factor)).collect();
            let config = EstimatorConfig::new(crate::Method::ShapeOnly, framing.clone());
            let config = config.widths(crate::Widths::uniform([8]));
            let training = EstimatorTraining::new(TrainConfig::default());
            let (samples, none) = (Samples::from_iter([own]), Samples::new());
            let (nothing, cpu) = (ParameterSet::new(), Device::Cpu);
            let mut objective =
                EstimatorObjective::new(config, training, &nothing, samples, none, &cpu).unwrap();
            objective.draw(&Batch::new(&[0], 1), false);
            objective.batch.distance[0].unwrap()
        };
        assert!(codes(1.0) > 0.1);
        assert!((codes(2.0) - codes(1.0)).abs() < 1e-6);
    }
}
