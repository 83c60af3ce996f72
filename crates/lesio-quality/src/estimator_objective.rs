//! The training of estimators: the loss, and adversarial training.

use lesio_nn::{
    Batch, Device, Engine, EngineError, Engines, InputGradients, Network, Objective, ParameterSet, Terms,
    TrainingEngine, random,
};
use lesio_settings::SettingError;
use rand::RngExt;
use rayon::prelude::*;

use crate::attack::{error_weights, step};
use crate::augmentation::SampleAugmentation;
use crate::config::EstimatorConfig;
use crate::distance;
use crate::error::QualityBuildError;
use crate::methods::{self, OutputGradients, Outputs, Weigh, Wiring};
use crate::objective::{CAPACITY, changed, fingerprint};
use crate::samples::{Samples, one_hot};
use crate::segmentation_loss::loss;
use crate::training::{AdversarialTraining, EstimatorTraining, exponent, step_share};

/// Stream of the attacks, apart from the others'.
const ATTACK_SEED: u64 = 0x5eed_a77c;
/// Weight of the error of the distance: a companion of the Dice, not its rival.
const DISTANCE_WEIGHT: f32 = 0.5;
/// Weight of the errors of the Dice, absolute and squared: the first for the figure that is reported,
/// the second against gross errors.
const DICE_WEIGHT: f32 = 3.0;

/// Teaches an estimator the Dice of samples, for a [`Trainer`](lesio_nn::Trainer) with the engines of
/// [`EstimatorObjective::engines`].
#[derive(Debug)]
pub struct EstimatorObjective {
    config: EstimatorConfig,
    training: EstimatorTraining,
    samples: Samples,
    validation: Samples,
    fingerprint: String,
    wiring: Box<dyn Wiring>,
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
    ) -> Result<Self, QualityBuildError> {
        config.validate()?;
        training.validate()?;
        let (values, labels) = (config.channels * config.framing.pixels(), config.framing.labels.len());
        let odd = |sample: &&crate::Sample| sample.image.len() != values || sample.dice.len() != labels;
        if let Some(sample) = samples.iter().chain(validation.iter()).find(odd) {
            let expected = format!("samples of {values} values and {labels} labels");
            let found = [sample.image.len(), sample.dice.len()];
            return Err(SettingError::new("sample", found, expected).into());
        }
        let networks = methods::networks(&config)?;
        // The networks too: what a configuration stands for changes with the version.
        let trained = format!("{:?}", networks.trained);
        let mut fingerprint = fingerprint(&(&config, &training, trained), &samples, &validation);
        // The others learn from what it gives, and the configuration does not tell how it was trained.
        if let Some(pretrained) = &networks.pretrained {
            let checksum = own_parameters(pretrained, parameters).checksum();
            fingerprint = format!("{fingerprint}, pretrained {checksum:08x}");
        }
        let wiring = methods::wiring(&config, parameters, device)?;
        Ok(Self { config, training, samples, validation, fingerprint, wiring, batch: Buffers::default() })
    }

    /// Engines on a device for the networks that are trained, from these parameters: two for
    /// [`Method::SecondOpinion`](crate::Method::SecondOpinion), one for the other methods.
    ///
    /// # Errors
    /// A configuration that is refused, a method of another number of networks, or parameters that do not fit.
    pub fn engines<const N: usize>(
        config: &EstimatorConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Engines<N>, QualityBuildError> {
        let networks = methods::networks(config)?.trained;
        let engine = |network| device.training_engine(network, parameters, CAPACITY, InputGradients::Compute);
        let engines: Vec<_> = networks.iter().map(engine).collect::<Result<_, _>>()?;
        let expected = format!("a method that trains {N} networks");
        engines.try_into().map_err(|_| SettingError::new("method", config.method.name(), expected).into())
    }

    /// The same, told apart by how that was learned which it begins from.
    pub(crate) fn after(mut self, origin: Option<&str>) -> Self {
        if let Some(origin) = origin {
            self.fingerprint = format!("{}, after {origin}", self.fingerprint);
        }
        self
    }

    /// Brings a batch of training or validation samples into the buffers.
    fn draw(&mut self, batch: &Batch<'_>, validation: bool) {
        let (set, augmentation) = match validation {
            true => (&self.validation, &SampleAugmentation::none()),
            false => (&self.samples, &self.training.augmentation),
        };
        let framing = &self.config.framing;
        let (pixels, labels) = (framing.pixels(), framing.labels.len());
        let (scale, channels) = (distance::scale(framing), self.config.channels);
        let own = changed(batch, set, augmentation, framing.grid);
        let buffers = &mut self.batch;
        buffers.images.resize(own.len() * channels * pixels, 0.0);
        buffers.planes.resize(own.len() * labels * pixels, 0.0);
        buffers.truth.resize(own.len() * pixels, 0);
        buffers.dice = own.iter().flat_map(|(sample, _)| &sample.dice).map(|&dice| dice as f32).collect();
        buffers.mean_dice = own.iter().map(|(sample, _)| sample.mean_dice() as f32).collect();
        buffers.distance = own
            .iter()
            .flat_map(|(sample, _)| sample.distance.iter().map(|distance| (sample.pixel, distance)))
            .map(|(pixel, distance)| distance.map(|pixels| distance::encode(pixels / pixel, scale)))
            .collect();
        own.par_iter()
            .zip(buffers.images.par_chunks_exact_mut(channels * pixels))
            .zip(buffers.planes.par_chunks_exact_mut(labels * pixels))
            .zip(buffers.truth.par_chunks_exact_mut(pixels))
            .for_each(|((((sample, change), image), planes), truth)| {
                change.place_image(&sample.image, image);
                change.place(&sample.truth, truth);
                let mut segmentation = vec![0; pixels];
                change.place(&sample.segmentation, &mut segmentation);
                one_hot(&segmentation, labels, planes);
            });
    }

    /// Attacks the images of the batch, each within a bound of its own, and learns from each step, with this weight.
    fn learn_from_attacks(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        batch: &Batch<'_>,
        adversarial: &AdversarialTraining,
        weight: f32,
    ) -> Result<(), EngineError> {
        let values = self.config.channels * self.config.framing.pixels();
        let clean = self.batch.images.clone();
        let exponent = exponent(batch.epoch, self.training.train.epochs);
        let mut bounds = Vec::with_capacity(batch.samples.len());
        for (image, &sample) in self.batch.images.chunks_exact_mut(values).zip(batch.samples) {
            let stream = (batch.epoch * self.samples.len() + sample) as u64;
            let mut generator = random::generator(batch.seed ^ ATTACK_SEED, stream);
            let stays = generator.random_range(0.0..1.0f32) < adversarial.clean;
            let draw = generator.random_range(0.0..=1.0f32).powf(exponent);
            let bound = if stays { 0.0 } else { adversarial.strength * draw };
            // Two of three attacks start from the image itself, as the plain FGSM does: that pass shows it clean.
            if generator.random_range(0..3) == 0 {
                image.iter_mut().for_each(|value| *value += bound * generator.random_range(-1.0..=1.0f32));
            }
            bounds.push(bound);
        }
        for _ in 0..adversarial.steps {
            let (_, gradient) = self.pass(engines, weight)?;
            step(&mut self.batch.images, &clean, &gradient, &bounds, step_share(adversarial.steps));
        }
        Ok(())
    }

    /// Mean error of the Dice of validation samples, as they are or under attack.
    fn held_out_error(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        adversarial: Option<&AdversarialTraining>,
    ) -> Result<f64, EngineError> {
        let labels = self.config.framing.labels.len();
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut error = 0.0;
        for chunk in all.chunks(self.training.train.batch_size.max(1)) {
            self.draw(&Batch::new(chunk, self.training.train.seed), true);
            if let Some(adversarial) = adversarial {
                let clean = self.batch.images.clone();
                let bounds = vec![adversarial.strength / 2.0; chunk.len()];
                let steps = adversarial.held_out_steps();
                for _ in 0..steps {
                    let (_, gradient) = self.run(engines, &mut |outputs| {
                        let dice = error_weights(&outputs.dice, &self.batch.mean_dice, labels);
                        Ok(Some(OutputGradients { dice, ..OutputGradients::default() }))
                    })?;
                    step(&mut self.batch.images, &clean, &gradient, &bounds, step_share(steps));
                }
            }
            let (outputs, _) = self.run(engines, &mut |_| Ok(None))?;
            error += self.loss(&outputs).0.dice * chunk.len() as f64 / all.len() as f64;
        }
        Ok(error)
    }

    /// Passes the batch in the buffers through the networks.
    fn run(
        &self,
        engines: &mut [Box<dyn TrainingEngine>],
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let batch = methods::Batch::new(&self.batch.images, &self.batch.planes, &self.config)?;
        let mut networks: Vec<&mut dyn Engine> =
            engines.iter_mut().map(|engine| engine.as_mut() as _).collect();
        self.wiring.pass(&mut networks, &batch, weigh)
    }

    /// Learns from the batch in the buffers, with this weight; returns its losses and the gradient by the images.
    fn pass(
        &self,
        engines: &mut [Box<dyn TrainingEngine>],
        weight: f32,
    ) -> Result<(Losses, Vec<f32>), EngineError> {
        let mut losses = Losses::default();
        let (_, gradient) = self.run(engines, &mut |outputs| {
            let (own, mut by) = self.loss(outputs);
            losses = own;
            if weight != 1.0 {
                let gradients = [&mut by.dice, &mut by.distance, &mut by.logits];
                gradients.into_iter().flatten().for_each(|gradient| *gradient *= weight);
            }
            Ok(Some(by))
        })?;
        Ok((losses, gradient))
    }

    /// The loss of the batch in the buffers, and its gradients by the estimates.
    fn loss(&self, outputs: &Outputs) -> (Losses, OutputGradients) {
        let count = self.batch.dice.len().max(1) as f32;
        let (mut losses, mut by) = (Losses::default(), OutputGradients::default());
        for (&dice, &truth) in outputs.dice.iter().zip(&self.batch.dice) {
            let error = dice - truth;
            losses.dice += f64::from(error.abs()) / f64::from(count);
            losses.square += f64::from(error * error) / f64::from(count);
            by.dice.push(DICE_WEIGHT * (sign(error) + 2.0 * error) / count);
        }
        for (&code, truth) in outputs.distance.iter().zip(&self.batch.distance) {
            let error = truth.map_or(0.0, |truth| code - truth);
            losses.distance += f64::from(error.abs()) / f64::from(count);
            by.distance.push(DISTANCE_WEIGHT * sign(error) / count);
        }
        (losses.opinion, by.logits) = self.opinion_loss(&outputs.probability);
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

/// `N` is the number of the networks that the method trains: of [`EstimatorObjective::engines`].
impl<const N: usize> Objective<N> for EstimatorObjective {
    fn samples(&self) -> usize {
        self.samples.len()
    }

    fn learn(&mut self, engines: &mut Engines<N>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        self.draw(batch, false);
        let mut weight = 1.0;
        if let Some(adversarial) = self.training.adversarial.clone() {
            // The mean over the passes.
            weight = 1.0 / (adversarial.steps + 1) as f32;
            self.learn_from_attacks(engines, batch, &adversarial, weight)?;
        }
        let (losses, _) = self.pass(engines, weight)?;
        Ok(losses.terms())
    }

    fn validate(&mut self, engines: &mut Engines<N>) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let clean = self.held_out_error(engines, None)?;
        let terms = match self.training.adversarial.clone() {
            None => Terms::new(clean).with("dice error", clean),
            Some(adversarial) => {
                let attacked = self.held_out_error(engines, Some(&adversarial))?;
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

/// The parameters of a network, from a set that may hold others and lack some.
fn own_parameters(network: &Network, parameters: &ParameterSet) -> ParameterSet {
    let mut own = ParameterSet::new();
    for spec in network.parameters() {
        if let Some(parameter) = parameters.get(&spec.name) {
            own.insert(spec.name, parameter.clone());
        }
    }
    own
}

fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::TrainConfig;

    #[test]
    fn trainings_upon_other_pretrained_parameters_are_told_apart() {
        for method in [crate::Method::RecReg, crate::Method::SecondOpinion] {
            let config = EstimatorConfig::new(method, crate::Framing::new([2]).grid([24, 24]));
            let config = config.widths(crate::Widths::uniform([8, 8]));
            let fingerprint = |parameters: &ParameterSet| {
                let (config, training) = (config.clone(), EstimatorTraining::new(TrainConfig::default()));
                let (none, cpu) = (Samples::new(), Device::Cpu);
                let objective =
                    EstimatorObjective::new(config, training, parameters, none.clone(), none, &cpu);
                objective.unwrap().fingerprint
            };
            let networks = methods::networks(&config).unwrap();
            let parameters = config.initial_parameters(1).unwrap();
            let changed = |network: &Network| {
                let mut parameters = parameters.clone();
                let name = network.parameters().remove(0).name;
                parameters.get_mut(&name).unwrap().values_mut()[0] += 1.0;
                fingerprint(&parameters)
            };
            let before = fingerprint(&parameters);
            assert_ne!(changed(networks.pretrained.as_ref().unwrap()), before, "{method:?}");
            // Where the others begin does not count here.
            assert_eq!(changed(&networks.trained[0]), before, "{method:?}");
        }
    }

    #[test]
    fn distances_are_learned_in_pixels_of_the_grid() {
        let framing = crate::Framing::new([1]).grid([16, 16]);
        let image = ndarray::Array2::from_shape_fn((16, 16), |(i, j)| (i * j) as f32);
        let square = |side: usize| {
            ndarray::Array2::from_shape_fn((16, 16), |(i, j)| u8::from(i.max(j) < 4 + side && i.min(j) >= 4))
        };
        let (candidate, truth) = (square(4), square(8));
        let image = image.view().insert_axis(ndarray::Axis(0));
        let sample = crate::Sample::new(&framing, &[1], "p", &image, &candidate.view(), &truth.view());
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
