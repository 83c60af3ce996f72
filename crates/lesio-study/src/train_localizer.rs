//! Trains and calibrates a localizer on subjects.

use std::sync::Arc;

use lesio_anomaly::{Localizer, PostProcessing, PredictorName, PredictorSettings};
use lesio_image::{FittedPreprocessing, Preprocessing, SlicePosition};
use lesio_nn::{Ending, EpochRecord};
use lesio_report::{Curve, HtmlReport, LinePlot, Svg};
use lesio_settings::{SettingError, in_range, require, setters};
use lesio_vae::{Examples, SyntheticExample};
use serde_json::{Value, json};

use crate::apart::require_apart;
use crate::calibrating::calibrate;
use crate::channel_name::model_channels;
use crate::epoch_choice::{EpochChoice, LesionSlices, PRECISION};
use crate::error::StudyError;
use crate::folder::prepare_folder;
use crate::hold_out::hold_out;
use crate::normal_slices::{fit_preprocessing, normal_examples};
use crate::observer::{Notice, Observer, Step};
use crate::position::normalize_by_position;
use crate::presentation::PresentationError;
use crate::subject::Subject;
use crate::taught::{taught_examples, taught_montage};
use crate::training::{ModelTraining, TrainOptions, train};
use crate::training_data::{TrainingData, TrainingPart};
use crate::training_length::TrainingLength;
use crate::workflow_error::WorkflowError;

/// The predictors to calibrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalibratedPredictors {
    /// All except those that iterate, which take a hundred times as long.
    #[default]
    Fast,
    /// All.
    All,
}

/// The configuration of the training of a localizer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalizerTraining {
    /// The model and its training. Its number of channels is replaced by that of the data, and the range of its
    /// synthetic anomalies by the range to which the preprocessing clips images.
    pub model: ModelTraining,
    /// The preprocessing of images.
    pub preprocessing: Preprocessing,
    /// The post-processing of maps. Default: that of [`PostProcessing`].
    pub postprocessing: PostProcessing,
    /// Settings of the predictors. Default: those of [`PredictorSettings`].
    pub settings: PredictorSettings,
    /// Number of bands along the slices of a volume for normalization by position, up to 256, in which scores become
    /// standard deviations from the mean of normal scores at the same position; 0 turns it off. `intensity` and the
    /// logits of segmenters are never normalized. Default 0.
    pub bands: usize,
    /// The predictors to calibrate. Default: all but those that iterate.
    pub calibrated: CalibratedPredictors,
    /// The length of the training. Default: the epochs of the model's training.
    pub length: TrainingLength,
    /// How the epoch is chosen whose parameters the model gets. Default: by the validation loss.
    pub epoch_choice: EpochChoice,
    /// Device and checkpoint of the training; the folder of the checkpoint is created. Default: the processor, without
    /// a checkpoint.
    pub options: TrainOptions,
}

impl LocalizerTraining {
    /// A configuration for this model and preprocessing, with defaults otherwise.
    #[must_use]
    pub fn new(model: ModelTraining, preprocessing: Preprocessing) -> Self {
        Self {
            model,
            preprocessing,
            postprocessing: PostProcessing::default(),
            settings: PredictorSettings::default(),
            bands: 0,
            calibrated: CalibratedPredictors::Fast,
            length: TrainingLength::Epochs,
            epoch_choice: EpochChoice::Loss,
            options: TrainOptions::default(),
        }
    }

    /// Checks every setting: those of the model and its training, and those of scoring, which would otherwise be refused
    /// only after the training. Nothing is allocated.
    ///
    /// # Errors
    /// Those of [`ModelTraining::validate`]; [`StudyError::Setting`] for a setting of `preprocessing`, `postprocessing`
    /// or `settings` that is out of range, for a preprocessing that adds a channel with the position of the slice, which
    /// cannot be scored, and for the number of bands.
    pub fn validate(&self) -> Result<(), StudyError> {
        self.model.validate()?;
        check_scoring(&self.preprocessing, &self.postprocessing, &self.settings)?;
        Ok(in_range("bands", self.bands, 0..=MOST_BANDS)?)
    }
}

/// Most bands of normalization by position, as [`PositionBuilder::new`](lesio_anomaly::PositionBuilder::new) takes them.
const MOST_BANDS: usize = 256;

/// Checks the settings with which a localizer scores, before any work. Without this check, the first case that is scored
/// would be blamed for them.
pub(crate) fn check_scoring(
    preprocessing: &Preprocessing,
    postprocessing: &PostProcessing,
    settings: &PredictorSettings,
) -> Result<(), SettingError> {
    preprocessing.validate().map_err(|error| error.within("preprocessing"))?;
    let position = preprocessing.slice_position;
    let expected = "no channel with the position of the slice, which predictors would score like an image";
    require(position == SlicePosition::Omit, "preprocessing.slice_position", position, expected)?;
    postprocessing.validate().map_err(|error| error.within("postprocessing"))?;
    settings.validate().map_err(|error| error.within("settings"))
}

setters!(LocalizerTraining {
    postprocessing: PostProcessing,
    settings: PredictorSettings,
    bands: usize,
    calibrated: CalibratedPredictors,
    length: TrainingLength,
    epoch_choice: EpochChoice,
    options: TrainOptions,
});

/// A trained localizer with the record of its training.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrainedLocalizer {
    /// The localizer, calibrated unless no normal slice was left for that ([`Notice::NotCalibrated`]).
    pub localizer: Localizer,
    /// The model and its training, with the number of channels of the data.
    pub model: ModelTraining,
    /// The training data.
    pub data: TrainingData,
    /// Losses by epoch.
    pub history: Vec<EpochRecord>,
    /// Why the training ended.
    pub ending: Ending,
    /// Some of the synthetic anomalies that the model learned from; none for other kinds of models.
    pub taught: Vec<SyntheticExample>,
}

/// Trains a model on the normal slices of subjects and calibrates it on others. Without validation subjects, every
/// tenth patient is held out for calibration ([`hold_out`]).
///
/// If there is nothing to calibrate on, as with a single patient or with an empty list of validation subjects, the last
/// epoch is kept, and the localizer has no thresholds and no p-values. [`Notice::NotCalibrated`] tells the observer, and
/// [`calibrate`] on normal subjects of other patients adds them later.
///
/// # Errors
/// For invalid settings, for patients with training and with validation subjects, for subjects that cannot be prepared or
/// scored or have no normal slice, if the training fails, and if a checkpoint cannot be written or continued.
pub fn train_localizer(
    training: Vec<Subject>,
    validation: Option<Vec<Subject>>,
    config: &LocalizerTraining,
    observer: &mut dyn Observer,
) -> Result<TrainedLocalizer, WorkflowError> {
    PreparedTraining::new(training, validation, config, observer)?.train(
        &config.model,
        config.length,
        &config.options,
        observer,
    )
}

/// Checks that all subjects are volumes, or all pictures: they are prepared and calibrated in different ways.
fn check_kind<'s>(subjects: impl Iterator<Item = &'s Subject> + Clone) -> Result<(), StudyError> {
    let first = |picture: bool| subjects.clone().find(|subject| subject.scan.is_picture() == picture);
    match (first(false), first(true)) {
        (Some(volume), Some(picture)) => {
            Err(StudyError::MixedKinds { volume: volume.id.clone(), picture: picture.id.clone() })
        }
        _ => Ok(()),
    }
}

/// Prepared subjects for the training of one or several models, such as the members of an ensemble, which differ in
/// their seed or kind.
#[derive(Debug)]
pub struct PreparedTraining<'a> {
    config: &'a LocalizerTraining,
    preprocessing: FittedPreprocessing,
    examples: Examples,
    validation: Examples,
    /// Empty unless maps are normalized by position.
    training: Vec<Subject>,
    held_out: Vec<Subject>,
    channels: Vec<String>,
    data: TrainingData,
    /// `None` if the loss chooses the epoch.
    lesions: Option<Arc<LesionSlices>>,
}

impl<'a> PreparedTraining<'a> {
    /// Prepares subjects, like [`train_localizer`].
    ///
    /// # Errors
    /// For invalid settings, for patients with training and with validation subjects ([`StudyError::SharedPatients`]), for
    /// pictures beside volumes ([`StudyError::MixedKinds`]), and for subjects that cannot be prepared.
    pub fn new(
        training: Vec<Subject>,
        validation: Option<Vec<Subject>>,
        config: &'a LocalizerTraining,
        observer: &mut dyn Observer,
    ) -> Result<Self, WorkflowError> {
        config.validate()?;
        let (mut training, held_out) = match validation {
            Some(validation) => {
                let [own, others] =
                    [&training, &validation].map(|part| part.iter().map(|subject| subject.patient.as_str()));
                require_apart(("training", own), ("validation", others))?;
                (training, validation)
            }
            None => {
                let parts = hold_out(training);
                (parts.training, parts.validation)
            }
        };
        check_kind(training.iter().chain(&held_out))?;
        let preprocessing = fit_preprocessing(&config.preprocessing, &training)?;
        let examples = normal_examples(&preprocessing, &training)?;
        let validation = normal_examples(&preprocessing, &held_out)?;
        let lesions = match config.epoch_choice {
            EpochChoice::Lesions => Some(Arc::new(LesionSlices::new(&preprocessing, &held_out)?)),
            EpochChoice::Loss => None,
        };
        let data = TrainingData {
            training: TrainingPart { cases: training.len(), normal_slices: examples.len() },
            validation: TrainingPart { cases: held_out.len(), normal_slices: validation.len() },
        };
        observer.notice(&Notice::TrainingData(&data));
        let channels = model_channels(&training);
        if config.bands == 0 {
            training.clear();
        }
        Ok(Self { config, preprocessing, examples, validation, training, held_out, channels, data, lesions })
    }

    /// The subjects that are held out for calibration.
    #[must_use]
    pub fn held_out(&self) -> &[Subject] {
        &self.held_out
    }

    /// The numbers of cases and of normal slices.
    #[must_use]
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// Trains a model for this length and calibrates it.
    ///
    /// # Errors
    /// Those of [`train_localizer`].
    pub fn train(
        &self,
        model: &ModelTraining,
        length: TrainingLength,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<TrainedLocalizer, WorkflowError> {
        let Self { preprocessing, examples, validation, .. } = self;
        let range = preprocessing.config().clip;
        let model = model.clone().channels(examples.shape().channels).value_range(range);
        if let Some(folder) = options.checkpoints.path.as_deref().and_then(|path| path.parent()) {
            prepare_folder(folder)?;
        }
        let options = &match &self.lesions {
            Some(lesions) => options.clone().lesions(Some(lesions.clone())),
            None => options.clone(),
        };
        observer.begin(&Step::Training, 1);
        let model = length.applied(model, preprocessing, examples, validation, options)?;
        let taught = taught_examples(&model, examples, options)?;
        let (examples, validation) = (examples.clone(), validation.clone());
        let trained = train(&model, preprocessing.clone(), examples, validation, options, |event| {
            observer.training(event)
        })?;
        observer.end();
        let localizer = self.calibrated(trained.localizer, observer)?;
        let (data, history, ending) = (self.data, trained.history, trained.ending);
        Ok(TrainedLocalizer { localizer, model, data, history, ending, taught })
    }

    /// The localizer of a trained model with its filters, normalized by position and calibrated.
    fn calibrated(
        &self,
        localizer: Localizer,
        observer: &mut dyn Observer,
    ) -> Result<Localizer, WorkflowError> {
        let Self { config, training, held_out, .. } = self;
        let localizer = localizer.with_settings(config.settings.clone());
        let mut localizer = localizer
            .with_postprocessing(config.postprocessing.clone())
            .with_channel_names(self.channels.clone())?;
        let is_calibrated =
            |name: &PredictorName| config.calibrated == CalibratedPredictors::All || !name.is_iterative();
        let names: Vec<PredictorName> = localizer.predictors().into_iter().filter(is_calibrated).collect();
        if config.bands > 0 {
            // On the training subjects: the held-out subjects are for calibration and must be new to everything before
            // it. `intensity`, the baseline, is not normalized. Neither is the logit of a segmenter, which is trained
            // to have the same meaning everywhere: on the validation patients of LGG normalization took its average
            // precision from .89 to .82.
            let still = [PredictorName::Intensity, PredictorName::AnomalyLogit];
            let of_model: Vec<PredictorName> =
                names.iter().copied().filter(|name| !still.contains(name)).collect();
            observer.begin(&Step::NormalizingByPosition, training.len());
            localizer = normalize_by_position(localizer, training, &of_model, config.bands, |done| {
                observer.advance(done);
            })?;
            observer.end();
        }
        observer.begin(&Step::Calibrating, held_out.len());
        let localizer = calibrate(localizer, held_out, &names, |done| observer.advance(done))?;
        observer.end();
        if localizer.calibration().is_empty() {
            observer.notice(&Notice::NotCalibrated);
        }
        Ok(localizer)
    }
}

impl TrainedLocalizer {
    /// The content of `report.json` of the program `train`, without command and time.
    #[must_use]
    pub fn report(&self) -> Value {
        json!({
            "schema": 1,
            "recipe": self.model,
            "ending": format!("{:?}", self.ending),
            "data": self.data,
            "history": self.history,
            "chosen": self.localizer.chosen(),
            "provenance": self.localizer.provenance(),
        })
    }

    /// A page with the losses, examples of synthetic anomalies, and the settings.
    ///
    /// # Errors
    /// None in practice; the plot checks its own curves.
    pub fn page(&self) -> Result<HtmlReport, WorkflowError> {
        let by_lesions = self.history.iter().any(|record| precision(record).is_some());
        let mut page = HtmlReport::new("Training of a localizer").figure_svg(
            &loss_plot(&self.history, "loss per image")?,
            match by_lesions {
                true => "Mean loss of each epoch, which does not choose the model here.",
                false => "Mean loss of each epoch; the model is that of the lowest validation loss.",
            },
        );
        if by_lesions {
            page = page.figure_svg(
                &precision_plot(&self.history)?,
                "Average precision of each epoch's model on the lesions of the validation images; the model is that of the \
                 highest.",
            );
        }
        if !self.taught.is_empty() {
            page = page.montage(
                &taught_montage(&self.taught, self.localizer.model().image_shape())?,
                "Training images with synthetic anomalies, which are outlined in the last row. The model detects anomalies \
                 that resemble them.",
            )?;
        }
        Ok(page.code(serde_json::to_string_pretty(&self.model)?))
    }
}

/// The average precision on validation lesions after an epoch, if it was measured.
fn precision(record: &EpochRecord) -> Option<f64> {
    record.validation.as_ref()?.part(PRECISION)
}

fn precision_plot(history: &[EpochRecord]) -> Result<Svg, PresentationError> {
    let (x, y): (Vec<f64>, Vec<f64>) =
        history.iter().filter_map(|record| Some(((record.epoch + 1) as f64, precision(record)?))).unzip();
    let plot = LinePlot::training("Lesions by epoch", "average precision");
    Ok(plot.curve(Curve::new("validation lesions", x, y)?).to_svg()?)
}

/// The losses of a training by epoch, in a unit such as `nats per image`.
///
/// # Errors
/// None in practice; the plot checks its own curves.
pub fn loss_plot(history: &[EpochRecord], unit: &str) -> Result<Svg, PresentationError> {
    let losses = |name: &str, pick: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let (x, y): (Vec<f64>, Vec<f64>) =
            history.iter().filter_map(|record| Some(((record.epoch + 1) as f64, pick(record)?))).unzip();
        Curve::new(name, x, y)
    };
    let plot = LinePlot::training("Loss by epoch", unit)
        .curve(losses("training", &|record| Some(record.training.total))?)
        .curve(losses("validation", &|record| record.validation.as_ref().map(|terms| terms.total))?);
    Ok(plot.to_svg()?)
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::PositionBuilder;
    use lesio_nn::TrainConfig;
    use lesio_vae::{Latent, VaeConfig, VaeTraining};

    use super::*;
    use crate::calibrating::tests::head;

    fn config() -> LocalizerTraining {
        let model = VaeConfig::new(1, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 2 });
        let training = VaeTraining::default().train(TrainConfig::default().epochs(1));
        LocalizerTraining::new(ModelTraining::Vae { model, training }, Preprocessing::heads([32, 32]))
    }

    /// Counts the notices that a localizer is not calibrated, and the steps.
    #[derive(Default)]
    struct Heard {
        not_calibrated: usize,
        steps: usize,
    }

    impl Observer for Heard {
        fn begin(&mut self, _: &Step, _: usize) {
            self.steps += 1;
        }

        fn notice(&mut self, notice: &Notice<'_>) {
            self.not_calibrated += usize::from(matches!(notice, Notice::NotCalibrated));
        }
    }

    #[test]
    fn settings_of_scoring_are_refused_before_the_training() {
        let settings = |change: fn(&mut PredictorSettings)| {
            let mut settings = PredictorSettings::default();
            change(&mut settings);
            config().settings(settings)
        };
        let preprocessing = |change: fn(Preprocessing) -> Preprocessing| {
            let own = config();
            LocalizerTraining::new(own.model, change(own.preprocessing))
        };
        let invalid = [
            ("postprocessing.erosion", config().postprocessing(PostProcessing::default().erosion(-1.0))),
            (
                "postprocessing.median",
                config().postprocessing(PostProcessing::default().median(0.0, 5.0, 2e3)),
            ),
            ("settings.projection.rate", settings(|own| own.projection.rate = f64::NAN)),
            ("settings.gradient.copies", settings(|own| own.gradient.copies = usize::MAX)),
            ("preprocessing.clip", preprocessing(|own| own.clip(Some([1.0, 0.0])))),
            ("preprocessing.slice_position", preprocessing(|own| own.slice_position(SlicePosition::Channel))),
            ("bands", config().bands(MOST_BANDS + 1)),
        ];
        for (setting, config) in invalid {
            let mut heard = Heard::default();
            let subjects = vec![head(1, None), head(2, None)];
            match train_localizer(subjects, None, &config, &mut heard) {
                Err(WorkflowError::Study(StudyError::Setting(error))) => assert_eq!(error.setting, setting),
                found => panic!("{setting}: {found:?}"),
            }
            assert_eq!(heard.steps, 0, "{setting}");
        }
        assert!(config().validate().is_ok() && config().bands(MOST_BANDS).validate().is_ok());
        let bands = |count: usize| PositionBuilder::new(&[PredictorName::PixelL1], [1, 1], count).is_ok();
        assert_eq!([MOST_BANDS, MOST_BANDS + 1].map(bands), [true, false]);
    }

    #[test]
    fn a_localizer_without_thresholds_is_told() {
        let one = || vec![head(1, None)];
        let two = || vec![head(1, None), head(2, None)];
        for (subjects, validation, expected) in [
            (one(), None, 1),
            (two(), Some(Vec::new()), 1),
            (two(), None, 0),
            (one(), Some(vec![head(2, None)]), 0),
        ] {
            let mut heard = Heard::default();
            let made = train_localizer(subjects, validation, &config(), &mut heard).unwrap().localizer;
            assert_eq!((heard.not_calibrated, made.calibration().is_empty()), (expected, expected == 1));
        }
    }
}
