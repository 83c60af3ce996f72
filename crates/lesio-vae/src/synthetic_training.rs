//! The training of networks on synthetic anomalies: restorers and segmenters.

use std::sync::Arc;

use lesio_nn::{Batch, EngineError, Engines, Objective, Shape, Terms, TrainConfig, TrainingEngine, random};
use lesio_settings::{SettingError, setters};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augmentation::Augmentation;
use crate::config::ConfigError;
use crate::examples::Examples;
use crate::synthetic::{AnomalyContent, Synthesizer};
use crate::taught::TaughtConfig;
use crate::training::{CORRUPTION_SEED, check_samples, check_shape, fingerprint};

/// The training of a [`Restorer`](crate::Restorer) or an [`AnomalySegmenter`](crate::AnomalySegmenter).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticTraining {
    /// Epochs, batches, optimizer, patience and seed.
    pub train: TrainConfig,
    /// Augmentation of the images.
    pub augmentation: Augmentation,
}

setters!(SyntheticTraining { train: TrainConfig, augmentation: Augmentation });

impl SyntheticTraining {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.augmentation.validate().map_err(|error| error.within("augmentation"))
    }
}

/// Weight of the error inside an anomaly, in addition to its part in the error of the whole image.
const INSIDE: f32 = 2.0;
/// Weight of the soft Dice beside the cross-entropy.
const DICE: f64 = 0.3;

/// The task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// To restore the image.
    Restore,
    /// To segment the anomaly, and to restore the image.
    Segment,
}

/// The loss of a network trained with synthetic anomalies, for a [`Trainer`](lesio_nn::Trainer) with that network as
/// its one engine.
///
/// A restorer learns the image without its anomaly: the loss is the mean absolute error over the image, plus twice the
/// mean over the image of the error inside the anomaly. A segmenter also learns the mask of the anomaly: the mean
/// cross-entropy, plus 0.3 times the soft Dice loss of the batch, is added. Every epoch draws new anomalies; validation
/// images have the same anomalies in every epoch, and are not augmented.
#[derive(Debug)]
pub struct SyntheticObjective {
    task: Task,
    synthesizer: Synthesizer,
    training: SyntheticTraining,
    examples: Examples,
    validation: Examples,
    fingerprint: String,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    clean: Vec<f32>,
    seen: Vec<f32>,
    marks: Vec<bool>,
    gradient: Vec<f32>,
}

impl SyntheticObjective {
    /// The objective of a restorer, on training and validation images; validation may be empty. `own` are the
    /// user-defined contents that the configuration names.
    ///
    /// # Errors
    /// For settings out of range, for a missing content, for images of another shape than the model's, and for images
    /// with values outside of [`SyntheticAnomalies::range`](crate::SyntheticAnomalies::range).
    pub fn restorer(
        config: &TaughtConfig,
        training: SyntheticTraining,
        examples: Examples,
        validation: Examples,
        own: &[Arc<dyn AnomalyContent>],
    ) -> Result<Self, ConfigError> {
        Self::new(Task::Restore, config, training, examples, validation, own)
    }

    /// The objective of a segmenter; otherwise like [`SyntheticObjective::restorer`].
    ///
    /// # Errors
    /// Those of [`SyntheticObjective::restorer`].
    pub fn segmenter(
        config: &TaughtConfig,
        training: SyntheticTraining,
        examples: Examples,
        validation: Examples,
        own: &[Arc<dyn AnomalyContent>],
    ) -> Result<Self, ConfigError> {
        Self::new(Task::Segment, config, training, examples, validation, own)
    }

    fn new(
        task: Task,
        config: &TaughtConfig,
        training: SyntheticTraining,
        examples: Examples,
        validation: Examples,
        own: &[Arc<dyn AnomalyContent>],
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        training.validate()?;
        check_shape(config.image_shape(), &[&examples, &validation])?;
        let fingerprint = fingerprint(&(config, &training), &examples, &validation);
        let synthesizer =
            Synthesizer::new(&config.anomalies, own).map_err(|error| error.within("anomalies"))?;
        let outside = |set: &Examples| (0..set.len()).find_map(|k| synthesizer.outside(set.image(k)));
        if let Some(value) = outside(&examples).or_else(|| outside(&validation)) {
            let expected =
                format!("a range that contains the training images, one of which has the value {value}");
            return Err(SettingError::new("anomalies.range", config.anomalies.range, &expected).into());
        }
        let buffers = Buffers::default();
        Ok(Self { task, synthesizer, training, examples, validation, fingerprint, buffers })
    }

    /// Runs a batch of the training or of the validation images; for training, leaves gradients in the engine.
    fn pass(
        &mut self,
        engine: &mut dyn TrainingEngine,
        batch: &Batch<'_>,
        validation: bool,
    ) -> Result<Losses, EngineError> {
        let still = Augmentation::default();
        let (set, augmentation) = match validation {
            true => (&self.validation, &still),
            false => (&self.examples, &self.training.augmentation),
        };
        check_samples(batch.samples, set)?;
        draw(&self.synthesizer, batch, set, augmentation, &mut self.buffers);
        engine.forward(&[&self.buffers.seen], batch.samples.len())?;
        let losses = loss(self.task, set.shape(), &mut self.buffers, engine.output(0));
        if !validation {
            engine.backward(&[&self.buffers.gradient])?;
        }
        Ok(losses)
    }
}

/// A normal image with a synthetic anomaly, as a network sees it in training.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SyntheticExample {
    /// The image without the anomaly, augmented, `[c, h, w]`.
    pub original: Vec<f32>,
    /// The image with the anomaly, `[c, h, w]`.
    pub changed: Vec<f32>,
    /// Where the anomaly is, `[h, w]`.
    pub anomaly: Vec<bool>,
}

/// Examples of a training, spread evenly over its images, to show what a network was taught: as many as `count`, or one
/// of each image if there are fewer images.
///
/// # Errors
/// For settings out of range, for a missing content, and for images of another shape than the model's.
pub fn synthetic_examples(
    config: &TaughtConfig,
    training: &SyntheticTraining,
    examples: &Examples,
    own: &[Arc<dyn AnomalyContent>],
    count: usize,
) -> Result<Vec<SyntheticExample>, ConfigError> {
    config.validate()?;
    training.validate()?;
    let shape = config.image_shape();
    check_shape(shape, &[examples])?;
    let synthesizer = Synthesizer::new(&config.anomalies, own).map_err(|error| error.within("anomalies"))?;
    let count = count.min(examples.len());
    let samples: Vec<usize> = (0..count).map(|k| k * examples.len() / count).collect();
    let (mut buffers, batch) = (Buffers::default(), Batch::new(&samples, training.train.seed));
    draw(&synthesizer, &batch, examples, &training.augmentation, &mut buffers);
    let Buffers { clean, seen, marks, .. } = &buffers;
    let images = clean.chunks_exact(shape.len()).zip(seen.chunks_exact(shape.len()));
    Ok(images
        .zip(marks.chunks_exact(shape.pixels()))
        .map(|((original, changed), anomaly)| SyntheticExample {
            original: original.to_vec(),
            changed: changed.to_vec(),
            anomaly: anomaly.to_vec(),
        })
        .collect())
}

impl Objective<1> for SyntheticObjective {
    fn samples(&self) -> usize {
        self.examples.len()
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        if batch.samples.is_empty() {
            return Ok(Terms::new(0.0));
        }
        Ok(self.pass(engine.as_mut(), batch, false)?.terms(self.task))
    }

    fn validate(&mut self, [engine]: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut sum = Losses::default();
        for samples in all.chunks(self.training.train.batch_size.max(1)) {
            // The same anomalies in every epoch, so that epochs can be compared.
            let batch = Batch::new(samples, self.training.train.seed);
            let own = self.pass(engine.as_mut(), &batch, true)?;
            sum.add(&own, samples.len() as f64 / all.len() as f64);
        }
        Ok(Some(sum.terms(self.task)))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// Draws the images of a batch: original, with an anomaly, and the mask of the anomaly.
fn draw(
    synthesizer: &Synthesizer,
    batch: &Batch<'_>,
    set: &Examples,
    augmentation: &Augmentation,
    buffers: &mut Buffers,
) {
    let shape = set.shape();
    let Buffers { clean, seen, marks, .. } = buffers;
    clean.resize(batch.samples.len() * shape.len(), 0.0);
    seen.resize(clean.len(), 0.0);
    marks.resize(batch.samples.len() * shape.pixels(), false);
    clean
        .par_chunks_exact_mut(shape.len())
        .zip(seen.par_chunks_exact_mut(shape.len()))
        .zip(marks.par_chunks_exact_mut(shape.pixels()))
        .zip(batch.samples)
        .for_each(|(((clean, seen), marks), &sample)| {
            let stream = (batch.epoch * set.len() + sample) as u64;
            let generator = &mut random::generator(batch.seed ^ CORRUPTION_SEED, stream);
            clean.copy_from_slice(set.image(sample));
            let mut region = set.region(sample).map(<[bool]>::to_vec);
            augmentation.apply(generator, shape, clean, region.as_deref_mut());
            let mut other = set.image(generator.random_range(0..set.len())).to_vec();
            augmentation.apply(generator, shape, &mut other, None);
            // Augmentation changes the brightness, but no real image exceeds the range.
            synthesizer.limit(clean);
            synthesizer.limit(&mut other);
            seen.copy_from_slice(clean);
            marks.copy_from_slice(&synthesizer.apply(generator, shape, seen, region.as_deref(), &other));
        });
}

/// Losses of a batch, as means per value.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    /// Absolute error over the image and inside the anomaly.
    restored: f64,
    /// Cross-entropy of the mark.
    entropy: f64,
    /// Soft Dice loss of the mark.
    dice: f64,
}

impl Losses {
    fn add(&mut self, other: &Self, weight: f64) {
        self.restored += weight * other.restored;
        self.entropy += weight * other.entropy;
        self.dice += weight * other.dice;
    }

    fn terms(&self, task: Task) -> Terms {
        match task {
            Task::Restore => Terms::new(self.restored).with("absolute error", self.restored),
            Task::Segment => Terms::new(self.restored + self.entropy + DICE * self.dice)
                .with("absolute error", self.restored)
                .with("cross-entropy", self.entropy)
                .with("dice", self.dice),
        }
    }
}

/// Computes the losses of outputs for the images in the buffers, and leaves the gradients with respect to the outputs
/// there.
fn loss(task: Task, shape: Shape, buffers: &mut Buffers, outputs: &[f32]) -> Losses {
    let Buffers { clean, marks, gradient, .. } = buffers;
    let (pixels, values) = (shape.pixels(), shape.len());
    let before = if task == Task::Segment { pixels } else { 0 };
    let stride = before + values;
    gradient.resize(outputs.len(), 0.0);
    let samples = outputs.len() / stride.max(1);
    let (per_value, per_pixel) =
        (1.0 / (samples * values).max(1) as f32, 1.0 / (samples * pixels).max(1) as f32);
    // Error, cross-entropy, and of the probabilities the part inside, their sum, and the size of the mark.
    let sums: Vec<[f64; 5]> = gradient
        .par_chunks_exact_mut(stride)
        .zip(outputs.par_chunks_exact(stride))
        .zip(clean.par_chunks_exact(values))
        .zip(marks.par_chunks_exact(pixels))
        .map(|(((by, output), clean), marks)| {
            let (by_mark, by_image) = by.split_at_mut(before);
            let (logits, image) = output.split_at(before);
            let mut sums = [0.0; 5];
            for (k, ((by, &y), &x)) in by_image.iter_mut().zip(image).zip(clean).enumerate() {
                let weight = if marks[k % pixels] { 1.0 + INSIDE } else { 1.0 };
                let error = y - x;
                sums[0] += f64::from(weight * error.abs());
                *by = if error == 0.0 { 0.0 } else { weight * error.signum() * per_value };
            }
            for ((by, &logit), &marked) in by_mark.iter_mut().zip(logits).zip(marks) {
                let target = if marked { 1.0 } else { 0.0 };
                let probability = probability(logit);
                // log(1 + e^z) - t z, by the larger of 0 and z so that nothing overflows.
                let softplus = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
                sums[1] += f64::from(softplus - target * logit);
                *by = (probability - target) * per_pixel;
                sums[2] += f64::from(probability * target);
                sums[3] += f64::from(probability);
                sums[4] += f64::from(target);
            }
            sums
        })
        .collect();
    let [error, entropy, both, probabilities, sizes] =
        sums.iter().fold([0.0; 5], |all, own| std::array::from_fn(|k| all[k] + own[k]));
    let restored = error * f64::from(per_value);
    if task == Task::Restore {
        return Losses { restored, ..Losses::default() };
    }
    let (above, below) = (2.0 * both + 1.0, probabilities + sizes + 1.0);
    gradient
        .par_chunks_exact_mut(stride)
        .zip(outputs.par_chunks_exact(stride))
        .zip(marks.par_chunks_exact(pixels))
        .for_each(|((by, output), marks)| {
            for ((by, &logit), &marked) in by[..pixels].iter_mut().zip(output).zip(marks) {
                let target = if marked { 2.0 } else { 0.0 };
                let probability = f64::from(probability(logit));
                let slope = (above / below - target) / below * probability * (1.0 - probability);
                *by += (DICE * slope) as f32;
            }
        });
    Losses { restored, entropy: entropy * f64::from(per_pixel), dice: 1.0 - above / below }
}

fn probability(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DenoiserConfig, SyntheticAnomalies};

    #[test]
    fn examples_show_what_changed_and_where() {
        let config = TaughtConfig::new(DenoiserConfig::new(1, 32, 32), SyntheticAnomalies::medical());
        let mut images = Examples::new(config.image_shape());
        for k in 0..5 {
            images.push(&vec![0.2 + 0.1 * k as f32; 1024]).unwrap();
        }
        let of = |count| {
            let training = SyntheticTraining::default();
            synthetic_examples(&config, &training, &images, &[], count).unwrap()
        };
        let shown = of(3);
        assert_eq!(shown.iter().map(|one| one.original[0]).collect::<Vec<_>>(), [0.2, 0.3, 0.5]);
        assert!(shown.iter().any(|one| one.anomaly.contains(&true)));
        for SyntheticExample { original, changed, anomaly } in &shown {
            let same = original.iter().zip(changed).zip(anomaly);
            assert!(same.filter(|(_, inside)| !**inside).all(|((a, b), _)| (a - b).abs() <= 0.021));
        }
        assert_eq!((of(9).len(), of(0).len()), (5, 0));
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let shape = Shape::new(2, 3, 4);
        for task in [Task::Restore, Task::Segment] {
            let stride = shape.len() + if task == Task::Segment { shape.pixels() } else { 0 };
            let value = |k: usize| ((k * 37 % 101) as f32 / 50.0 - 1.0) * 0.9;
            let mut buffers = Buffers {
                clean: (0..2 * shape.len()).map(|k| value(k + 5) + 0.003).collect(),
                marks: (0..2 * shape.pixels()).map(|k| k % 3 == 0).collect(),
                ..Buffers::default()
            };
            let outputs: Vec<f32> = (0..2 * stride).map(value).collect();
            let total = |buffers: &mut Buffers, outputs: &[f32]| {
                loss(task, shape, buffers, outputs).terms(task).total
            };
            total(&mut buffers, &outputs);
            let gradient = buffers.gradient.clone();
            for (k, &analytic) in gradient.iter().enumerate() {
                let step = 1e-3;
                let moved = |buffers: &mut Buffers, by: f32| {
                    let mut outputs = outputs.clone();
                    outputs[k] += by;
                    total(buffers, &outputs)
                };
                let numeric =
                    (moved(&mut buffers, step) - moved(&mut buffers, -step)) / f64::from(2.0 * step);
                assert!((numeric - f64::from(analytic)).abs() < 1e-4, "{task:?} {k}: {numeric} {analytic}");
            }
        }
    }
}
