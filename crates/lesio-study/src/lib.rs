//! Workflows over lesio's other crates: from a folder of images to a trained localizer, its evaluation and its maps.
//!
//! A workflow is one call with a configuration and an [`Observer`], which is notified of its progress:
//!
//! | workflow | input | output |
//! |---|---|---|
//! | [`inject_data_set`] | normal volumes | a data set with lesions of known position |
//! | [`train_localizer`] | subjects | a calibrated localizer and its losses |
//! | [`LocalizerAssembly::assemble`] | a model trained elsewhere, normal subjects | a calibrated localizer |
//! | [`evaluate`] | localizers and cases with truth | metrics with intervals, tables, a page |
//! | [`localize_folder`] | a localizer and a data set | maps, pictures and lesions of every image |
//! | [`inspect`] | a file | its description and its problems |
//! | [`study_localization`] | two domains | a comparison of all predictors and models |
//!
//! The module [`quality`] has the workflows for estimators of segmentation quality:
//! [`train_quality`](quality::train_quality), [`QualityStudyConfig::run`](quality::QualityStudyConfig::run) and
//! [`grade_folder`](quality::grade_folder).
//!
//! The parts of workflows can be used separately: [`Subject::read`] reads a case, [`fit_preprocessing`] and
//! [`normal_examples`] prepare training data, [`train`] and [`calibrate`] make a localizer, a [`ModelSet`] scores, an
//! [`EvaluationBuilder`] evaluates, and [`Findings`] are the lesions in a map. Nothing here parses arguments or prints.
//!
//! ```
//! use lesio_nn::TrainConfig;
//! use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
//! use lesio_study::{LocalizerTraining, ModelTraining, Preset, Subject, train_localizer};
//! use lesio_vae::{Latent, VaeConfig, VaeTraining};
//!
//! // Normal heads are the training data; every tenth is held out for calibration.
//! let heads = BrainPhantom::new(BrainConfig::new([24, 24], Contrast::T1, 1).slices(2))?;
//! let subject = |number: u64| Ok(Subject::new(number.to_string(), heads.volume(number)?.image, None));
//! let subjects = (0..10).map(subject).collect::<Result<Vec<_>, lesio_phantom::PhantomError>>()?;
//!
//! let model = VaeConfig::new(1, 16, 16).widths([4]).latent(Latent::Dense { dimensions: 2 });
//! let training = VaeTraining::default().train(TrainConfig::default().epochs(1));
//! let config = LocalizerTraining::new(
//!     ModelTraining::Vae { model, training },
//!     Preset::Heads.preprocessing([16, 16]),
//! );
//! let trained = train_localizer(subjects, None, &config, &mut ())?;
//! assert_eq!((trained.data.training.cases, trained.data.validation.cases), (9, 1));
//!
//! // The map of a new head, on the grid of its image.
//! let scan = heads.volume(99)?.image.into();
//! let scored = trained.localizer.score(&scan, &["pixel-l1".parse()?])?;
//! assert_eq!(scored.scores[0].postprocessed.shape(), [24, 24, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The slicing macro of ndarray, which only tests use here, allows unsafe code itself.
#![cfg_attr(not(test), forbid(unsafe_code))]

mod apart;
mod assembly;
mod calibrating;
mod case_record;
mod channel_name;
mod checksum;
mod combine;
mod display;
mod epoch_choice;
mod error;
mod evaluate;
mod evaluation;
mod findings;
mod folder;
mod further;
mod groups;
mod hold_out;
mod images;
mod incomplete;
mod inject_data_set;
mod injection;
mod inspection;
mod interval;
mod kept;
mod lesion_groups;
mod localization_study;
mod localize;
mod maps;
mod measured;
mod median;
mod model_set;
mod names;
mod normal_slices;
mod observer;
mod operating;
mod overlay;
#[cfg(feature = "parquet")]
mod parquet_tables;
mod pixels;
mod position;
mod predictor_choice;
mod presentation;
mod preset;
pub mod quality;
mod reading;
mod recalibrate;
mod scratch;
mod shard;
mod subject;
mod taught;
mod thresholds;
mod train_localizer;
mod training;
mod training_data;
mod training_length;
mod verdict;
mod workers;
mod workflow_error;

pub use apart::require_apart;
pub use assembly::LocalizerAssembly;
pub use calibrating::calibrate;
pub use channel_name::notice_other_channel;
pub use combine::{CombinedLocalizers, EnsembleChoice, combine_localizers};
pub use epoch_choice::{EpochChoice, LesionSlices};
pub use error::{StudyError, TruthError};
pub use evaluate::{
    ChosenMap, CohortMeasurements, EvaluateConfig, EvaluationResults, MeasuredCase, ModelChoices, evaluate,
    measure_cases, offered_predictors,
};
pub use evaluation::{BEYOND_FLOOR, Evaluated, EvaluatedSubject, EvaluationBuilder};
pub use findings::{DetectionRule, Finding, Findings};
pub use folder::{FolderError, check_folder, prepare_folder};
pub use groups::{GroupScore, GroupScores, GroupedEvaluation, GroupedSubject};
pub use hold_out::{HOLD_OUT_EVERY, HeldOut, held_out_cases, hold_out, require_held_out};
pub use images::{
    ImageEvaluation, ImageFigure, ImageFigures, ImageLevel, ImageRule, ImagesOfSubject, SLICE_POSITION,
};
pub use incomplete::{Incomplete, Missing};
pub use inject_data_set::{InjectDataSetConfig, InjectedDataSet, inject_data_set};
pub use injection::{InjectedSubject, Injection, InjectionConfig, InjectionError, Split, SubjectRole};
pub use inspection::{
    FileContent, FileDescription, InspectConfig, InspectError, ModelDescription, NiftiValues, ValueSummary,
    inspect,
};
pub use interval::Interval95;
pub use lesio_settings::{SettingError, UnknownName};
pub use lesion_groups::LesionGroups;
pub use localization_study::{
    Budget, Claim, ClaimStatus, Domain, PredictorScore, StudyCell, StudyConfig, StudyDomain, StudyReport,
    Variation, claims, study_localization,
};
pub use localize::{
    CaseFolders, ChannelMaps, FailedCase, FinishedCases, LocalizationReport, LocalizeConfig, LocalizedCase,
    LocalizedCases, MappedPredictor, OutputLayout, ReportPages, WrittenMaps, localize_folder,
};
pub use maps::{MapScenes, Maps, Scene, Stage, score_each, score_subject};
pub use measured::PredictorCurves;
pub use model_set::{LearnedEnsemble, ModelSet};
pub use normal_slices::{fit_preprocessing, normal_examples};
pub use observer::{Notice, Observer, Step, explain};
pub use operating::{
    MarkedCase, MarkedSubject, NOMINAL_RATE, OperatingEvaluation, OperatingFigures, OperatingPoint,
    ThresholdOrigin,
};
pub use overlay::heat_map;
#[cfg(feature = "parquet")]
#[cfg_attr(docsrs, doc(cfg(feature = "parquet")))]
pub use parquet_tables::{ParquetTableError, table_to_parquet};
pub use position::normalize_by_position;
pub use predictor_choice::{FALLBACK_PREDICTOR, choice_in_words, predictor_choice};
pub use presentation::{
    PresentationError, Shown, curve_figures, leading, montage, normal_scale, scope_table, shown,
};
pub use preset::Preset;
pub use reading::{BadCases, read_subjects, readable_cases};
pub use recalibrate::{CalibrationRate, NormalRates, RATES, Recalibration, recalibrate};
pub use shard::{Shard, ShardRecord, ShardReport, merge_shards};
pub use subject::{ReadCases, Subject, Subjects};
pub use thresholds::{ThresholdChoice, Thresholds, ValidationChoice, ValidationSubject};
pub use train_localizer::{
    CalibratedPredictors, LocalizerTraining, PreparedTraining, TrainedLocalizer, loss_plot, train_localizer,
};
pub use training::{Checkpoints, ModelKind, ModelTraining, Start, TrainOptions, Trained, train};
pub use training_data::{TrainingData, TrainingPart};
pub use training_length::TrainingLength;
pub use verdict::{CaseVerdict, Verdict};
pub use workflow_error::WorkflowError;

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
