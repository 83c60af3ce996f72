//! The length of a training.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lesio_image::FittedPreprocessing;
use lesio_nn::{Event, checkpoint_epochs};
use lesio_vae::Examples;

use crate::error::StudyError;
use crate::training::{Checkpoints, ModelTraining, Start, TrainOptions, train};

/// The length of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrainingLength {
    /// The number of epochs in the training's configuration.
    #[default]
    Epochs,
    /// At least this many updates, in whole epochs.
    Updates(usize),
    /// The number of whole epochs that take about this long on this machine, at least one. The speed is measured before
    /// the training starts, and the learning rate follows the resulting plan even if the machine becomes slower later.
    /// A training that continues from a checkpoint keeps the number of epochs in it.
    Budget(Duration),
}

impl TrainingLength {
    /// The model's training with the number of epochs of this length for these examples.
    ///
    /// # Errors
    /// Those of [`train`], of which a part is run to measure its speed.
    pub(crate) fn applied(
        self,
        model: ModelTraining,
        preprocessing: &FittedPreprocessing,
        examples: &Examples,
        validation: &Examples,
        options: &TrainOptions,
    ) -> Result<ModelTraining, StudyError> {
        let config = model.train_config().clone();
        let batches = examples.len().div_ceil(config.batch_size.max(1)).max(1);
        let epochs = match self {
            Self::Epochs => return Ok(model),
            Self::Updates(updates) => updates.div_ceil(batches).max(1),
            Self::Budget(budget) => match planned(&options.checkpoints) {
                Some(epochs) => epochs,
                None => {
                    let epoch = seconds_of_epoch(&model, preprocessing, examples, validation, options)?;
                    ((budget.as_secs_f64() / epoch.max(1e-9)) as usize).clamp(1, MOST_EPOCHS)
                }
            },
        };
        Ok(model.with_train_config(config.epochs(epochs)))
    }
}

/// Largest number of epochs of a budget.
const MOST_EPOCHS: usize = 100_000;
/// Batches of a trial epoch.
const TRIED: usize = 6;

/// The epochs of the checkpoint that the training continues from.
fn planned(checkpoints: &Checkpoints) -> Option<usize> {
    match checkpoints.start {
        Start::Resume | Start::ResumeOrFresh => checkpoint_epochs(checkpoints.path.as_deref()?),
        Start::Fresh | Start::Replace => None,
    }
}

/// Seconds of an epoch with its validation: runs two short epochs and measures the second.
fn seconds_of_epoch(
    model: &ModelTraining,
    preprocessing: &FittedPreprocessing,
    examples: &Examples,
    validation: &Examples,
    options: &TrainOptions,
) -> Result<f64, StudyError> {
    let config = model.train_config().clone().epochs(2).patience(None);
    let every = (examples.len() / (TRIED * config.batch_size.max(1))).max(1);
    let (part, rest) = (examples.thinned(every)?, validation.thinned(every)?);
    let times = examples.len() as f64 / part.len().max(1) as f64;
    let lesions = options.lesions.as_ref().map(|lesions| lesions.thinned(every)).transpose()?;
    let options = options.clone().checkpoints(Checkpoints::default()).lesions(lesions.map(Arc::new));
    let (mut started, mut seconds) = (Instant::now(), 0.0);
    let model = model.clone().with_train_config(config);
    train(&model, preprocessing.clone(), part, rest, &options, |event| {
        if matches!(event, Event::Epoch { .. }) {
            seconds = started.elapsed().as_secs_f64();
            started = Instant::now();
        }
        ControlFlow::Continue(())
    })?;
    Ok(seconds * times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_image::{Preprocessing, Scan};
    use lesio_nn::{Shape, TrainConfig};
    use lesio_vae::{DenoiserConfig, DenoiserTraining};

    #[test]
    fn updates_and_budgets_become_epochs() {
        let mut examples = Examples::new(Shape::new(1, 16, 16));
        (0..40).for_each(|k| examples.push(&[k as f32 / 40.0; 256]).unwrap());
        let preprocessing = Preprocessing::new([16, 16]).fit([] as [Scan; 0]).unwrap();
        let network = DenoiserConfig::new(1, 16, 16).widths([4, 4]);
        let training = DenoiserTraining::default().train(TrainConfig::default().batch_size(8).epochs(7));
        let model = ModelTraining::Denoiser { model: network, training };
        let epochs = |length: TrainingLength, options: &TrainOptions| {
            let applied = length.applied(model.clone(), &preprocessing, &examples, &examples, options);
            applied.unwrap().train_config().epochs
        };
        let options = TrainOptions::default();
        assert_eq!(epochs(TrainingLength::Epochs, &options), 7);
        // Five batches an epoch.
        assert_eq!(epochs(TrainingLength::Updates(11), &options), 3);
        assert_eq!(epochs(TrainingLength::Updates(0), &options), 1);
        assert_eq!(epochs(TrainingLength::Budget(Duration::ZERO), &options), 1);
        assert!(epochs(TrainingLength::Budget(Duration::from_secs(3600)), &options) > 100);
        // What a checkpoint planned stays.
        let folder = tempfile::tempdir().unwrap();
        let kept = Checkpoints::new(folder.path().join("checkpoint"), Start::ResumeOrFresh);
        let options = options.checkpoints(kept);
        train(&model, preprocessing.clone(), examples.clone(), examples.clone(), &options, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(epochs(TrainingLength::Budget(Duration::from_secs(3600)), &options), 7);
    }
}
