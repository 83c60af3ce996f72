//! Trains a model on examples.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lesio_anomaly::{Localizer, Model, ModelConfig, Provenance};
use lesio_image::FittedPreprocessing;
use lesio_nn::{
    Device, EarlierCheckpoint, Ending, Engines, EpochRecord, Event, InputGradients, Network, Objective,
    ParameterSet, TrainConfig, Trainer, TrainingEngine, checkpoint_exists,
};
use lesio_settings::{named, setters};
use lesio_vae::{
    AnomalyContent, AnomalySegmenter, ConfigError, Denoiser, DenoiserConfig, DenoiserObjective,
    DenoiserTraining, Examples, Restorer, SyntheticObjective, SyntheticTraining, TaughtConfig, VaeConfig,
    VaeObjective, VaeTraining, initial_parameters, networks,
};
use serde::{Deserialize, Serialize};

use crate::epoch_choice::{ByLesions, LesionSlices};
use crate::error::StudyError;

/// A kind of model that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A variational autoencoder, which supports every predictor but that of segmenters.
    Vae,
    /// A denoiser, which supports predictors that compare pixels.
    Denoiser,
    /// A restorer, trained with synthetic anomalies, which supports predictors that compare pixels.
    Restorer,
    /// A segmenter, trained with synthetic anomalies, which also supports the predictor of its logits.
    Segmenter,
}

named!(ModelKind, "kind of model", {
    "vae" => Self::Vae,
    "denoiser" => Self::Denoiser,
    "restorer" => Self::Restorer,
    "segmenter" => Self::Segmenter,
});

/// The model to train, with its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelTraining {
    /// A variational autoencoder.
    Vae {
        /// The model.
        model: VaeConfig,
        /// Its training.
        training: VaeTraining,
    },
    /// A denoiser.
    Denoiser {
        /// The model.
        model: DenoiserConfig,
        /// Its training.
        training: DenoiserTraining,
    },
    /// A restorer.
    Restorer {
        /// The model, with the synthetic anomalies of its training.
        model: TaughtConfig,
        /// Its training.
        training: SyntheticTraining,
    },
    /// A segmenter.
    Segmenter {
        /// The model, with the synthetic anomalies of its training.
        model: TaughtConfig,
        /// Its training.
        training: SyntheticTraining,
    },
}

impl ModelTraining {
    /// The same with another number of channels.
    #[must_use]
    pub fn channels(mut self, channels: usize) -> Self {
        match &mut self {
            Self::Vae { model, .. } => model.channels = channels,
            Self::Denoiser { model, .. } => model.channels = channels,
            Self::Restorer { model, .. } => model.network.channels = channels,
            Self::Segmenter { model, .. } => model.network.channels = channels,
        }
        self
    }

    /// The same for images that their preprocessing clips to these values; only the synthetic anomalies of a training
    /// depend on it ([`SyntheticAnomalies::range`](lesio_vae::SyntheticAnomalies::range)). The range then also contains
    /// 0, the value outside of images.
    #[must_use]
    pub fn value_range(mut self, clip: Option<[f32; 2]>) -> Self {
        if let Self::Restorer { model, .. } | Self::Segmenter { model, .. } = &mut self {
            model.anomalies.range = clip.map(|[low, high]| [low.min(0.0), high.max(0.0)].map(f64::from));
        }
        self
    }

    /// Epochs, batches, optimizer and seed.
    #[must_use]
    pub fn train_config(&self) -> &TrainConfig {
        match self {
            Self::Vae { training, .. } => &training.train,
            Self::Denoiser { training, .. } => &training.train,
            Self::Restorer { training, .. } | Self::Segmenter { training, .. } => &training.train,
        }
    }

    /// The same with other epochs, batches, optimizer and seed.
    #[must_use]
    pub fn with_train_config(mut self, train: TrainConfig) -> Self {
        match &mut self {
            Self::Vae { training, .. } => training.train = train,
            Self::Denoiser { training, .. } => training.train = train,
            Self::Restorer { training, .. } | Self::Segmenter { training, .. } => training.train = train,
        }
        self
    }

    /// Checks every setting, and that the networks are of a size that can be trained. Nothing is allocated.
    ///
    /// # Errors
    /// [`StudyError::Config`] for the first invalid setting.
    pub fn validate(&self) -> Result<(), StudyError> {
        match self {
            Self::Vae { model, training } => {
                networks(model)?;
                training.validate().map_err(ConfigError::from)?;
            }
            Self::Denoiser { model, training } => {
                model.network()?;
                training.validate().map_err(ConfigError::from)?;
            }
            Self::Restorer { model, training } => {
                model.restorer()?;
                training.validate().map_err(ConfigError::from)?;
            }
            Self::Segmenter { model, training } => {
                model.segmenter()?;
                training.validate().map_err(ConfigError::from)?;
            }
        }
        Ok(())
    }
}

/// The checkpoint of a training, and whether to continue from it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Checkpoints {
    /// The file; without one, no checkpoint is written.
    pub path: Option<PathBuf>,
    /// Whether to continue from it.
    pub start: Start,
}

/// How a training starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// From the seed. A checkpoint of an earlier training is an error ([`lesio_nn::TrainError::CheckpointExists`]).
    #[default]
    Fresh,
    /// From the seed; the checkpoint of an earlier training is replaced.
    Replace,
    /// From the checkpoint; its absence is an error.
    Resume,
    /// From the checkpoint if there is one, otherwise from the seed.
    ResumeOrFresh,
}

impl Checkpoints {
    /// Stores the checkpoint in a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, start: Start) -> Self {
        Self { path: Some(path.into()), start }
    }
}

/// A training's result.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained {
    /// The localizer, of the best epoch.
    pub localizer: Localizer,
    /// Losses by epoch.
    pub history: Vec<EpochRecord>,
    /// Why it ended.
    pub ending: Ending,
}

/// Options of a training in addition to its configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainOptions {
    /// The checkpoint. Default: none.
    pub checkpoints: Checkpoints,
    /// The device that computes networks. Default: the processor.
    pub device: Device,
    /// The user-defined contents of synthetic anomalies that a configuration names. Default none.
    pub contents: Vec<Arc<dyn AnomalyContent>>,
    /// The lesions that choose the epoch. Default: none, and the validation loss chooses it.
    pub lesions: Option<Arc<LesionSlices>>,
}

setters!(TrainOptions {
    checkpoints: Checkpoints,
    device: Device,
    contents: Vec<Arc<dyn AnomalyContent>>,
    lesions: Option<Arc<LesionSlices>>,
});

impl Default for TrainOptions {
    fn default() -> Self {
        Self { checkpoints: Checkpoints::default(), device: Device::Cpu, contents: Vec::new(), lesions: None }
    }
}

/// How often a running training is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Trains a model on normal examples and makes a localizer of it. The validation examples, which may be empty,
/// determine the best epoch and the end of the training, unless the options contain lesions for that.
///
/// # Errors
/// For invalid examples or settings, if the training fails, and if a checkpoint cannot be written or continued.
pub fn train(
    model: &ModelTraining,
    preprocessing: FittedPreprocessing,
    examples: Examples,
    validation: Examples,
    options: &TrainOptions,
    observe: impl FnMut(&Event<'_>) -> ControlFlow<()>,
) -> Result<Trained, StudyError> {
    model.validate()?;
    if examples.is_empty() {
        let what = "there is no normal slice to train on: every slice has a lesion or hardly any foreground"
            .to_owned();
        return Err(StudyError::Nothing { what });
    }
    let run = Run { preprocessing, options, observe };
    let own = &options.contents;
    match model.clone() {
        ModelTraining::Vae { model, training } => {
            let (encoder, decoder) = networks(&model)?;
            let initial = initial_parameters(&model, training.train.seed)?;
            let batch = training.train.batch_size;
            let engines = [
                options.device.training_engine(&encoder, &initial, batch, InputGradients::Skip)?,
                options.device.training_engine(&decoder, &initial, batch, InputGradients::Compute)?,
            ];
            let train = training.train.clone();
            let config = ModelConfig::Vae { config: model.clone(), beta: training.divergence.beta() };
            let objective = VaeObjective::new(model, training, examples, validation)?;
            run.train(objective, engines, train, &config)
        }
        ModelTraining::Denoiser { model, training } => {
            let initial = Denoiser::initial_parameters(&model, training.train.seed)?;
            let engine = run.engine(&model.network()?, &initial, &training.train)?;
            let train = training.train.clone();
            let objective = DenoiserObjective::new(&model, training, examples, validation)?;
            run.train(objective, [engine], train, &ModelConfig::Denoiser { config: model })
        }
        ModelTraining::Restorer { model, training } => {
            let initial = Restorer::initial_parameters(&model, training.train.seed)?;
            let engine = run.engine(&model.restorer()?, &initial, &training.train)?;
            let train = training.train.clone();
            let objective = SyntheticObjective::restorer(&model, training, examples, validation, own)?;
            run.train(objective, [engine], train, &ModelConfig::Restorer { config: model })
        }
        ModelTraining::Segmenter { model, training } => {
            let initial = AnomalySegmenter::initial_parameters(&model, training.train.seed)?;
            let engine = run.engine(&model.segmenter()?, &initial, &training.train)?;
            let train = training.train.clone();
            let objective = SyntheticObjective::segmenter(&model, training, examples, validation, own)?;
            run.train(objective, [engine], train, &ModelConfig::Segmenter { config: model })
        }
    }
}

/// The parts that are the same for every kind of model.
struct Run<'a, F> {
    preprocessing: FittedPreprocessing,
    options: &'a TrainOptions,
    observe: F,
}

impl<F: FnMut(&Event<'_>) -> ControlFlow<()>> Run<'_, F> {
    /// The engine of a network that is trained alone.
    fn engine(
        &self,
        network: &Network,
        initial: &ParameterSet,
        train: &TrainConfig,
    ) -> Result<Box<dyn TrainingEngine>, StudyError> {
        let device = &self.options.device;
        Ok(device.training_engine(network, initial, train.batch_size, InputGradients::Skip)?)
    }

    fn train<const N: usize>(
        self,
        objective: impl Objective<N>,
        engines: Engines<N>,
        train: TrainConfig,
        config: &ModelConfig,
    ) -> Result<Trained, StudyError> {
        let Self { preprocessing, options, observe } = self;
        let lesions = options.lesions.as_deref();
        let objective = ByLesions { objective, lesions, config, device: &options.device };
        let seed = train.seed;
        let mut trainer = Trainer::new(objective, engines, train)?;
        let checkpoints = &options.checkpoints;
        if let Some(path) = &checkpoints.path {
            trainer = trainer.checkpoint(path, SAVE_EVERY);
            match checkpoints.start {
                Start::Fresh => {}
                Start::Replace => trainer = trainer.earlier_checkpoint(EarlierCheckpoint::Replace),
                Start::Resume => trainer.resume(path)?,
                Start::ResumeOrFresh if checkpoint_exists(path) => trainer.resume(path)?,
                Start::ResumeOrFresh => {}
            }
        }
        let ending = trainer.run(observe)?;
        let model = Model::new(config, &trainer.parameters()?, &options.device)?;
        let provenance = Provenance::new(seed, trainer.objective().fingerprint());
        let localizer = Localizer::new(model, preprocessing, provenance)?;
        Ok(Trained { localizer, history: trainer.history().to_vec(), ending })
    }
}
