//! Anomaly localization: finds the pixels of an image that a model of normal images cannot explain.
//!
//! - Scores: a [`Predictor`] maps a batch of images `[n, c, h, w]` to scores `[n, h, w]`, the higher the more abnormal.
//!   [`PredictorName`] lists them: [`PixelError`], [`PixelLikelihood`], [`GradientPredictor`], [`Combined`],
//!   [`Projection`], [`Restoration`], and [`PixelIntensity`], the baseline that every model has to beat. They work with
//!   any [`VariationalModel`](lesio_vae::VariationalModel); those that compare with a reconstruction work with any
//!   [`Reconstructor`](lesio_vae::Reconstructor). A [`SharedPass`] lets them share the model's passes;
//!   [`conformance`] tests your own predictors and models.
//! - From files to maps: a [`Localizer`] holds a [`Model`] with its preprocessing, [`PostProcessing`],
//!   calibration and [`Provenance`] in one file, and scores scans on their own grids.
//! - Calibration: [`NormalScores`] are the scores of held-out normal images, with thresholds at a
//!   false-positive rate and p-values by subject; a [`Calibration`] keeps them by predictor, a
//!   [`PositionCalibration`] keeps mean and deviation of normal scores at each position.
//! - Ensembles: an [`EnsembleConfig`] combines maps of members on the scale of their normal scores,
//!   before or after post-processing; an [`Ensemble`] is a predictor. Only [`ValidationLesions`] can make
//!   [`LearnedWeights`]. A [`LocalizerEnsemble`] combines predictors of several localizers, which are saved in one
//!   file.
//!
//! ```
//! use lesio_anomaly::{Calibration, Localizer, Model, ModelConfig, NormalScoresBuilder, PredictorName, Provenance};
//! use lesio_image::{Preprocessing, Scan};
//! use lesio_nn::Device;
//! use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
//! use lesio_vae::{VaeConfig, initial_parameters};
//!
//! let brains = BrainPhantom::new(BrainConfig::new([40, 40], Contrast::Flair, 1).slices(4))?;
//! let normal = |subject| brains.volume(subject).map(|phantom| Scan::from(phantom.image));
//!
//! // A model, here with its initial parameters; see `lesio-vae` for training one.
//! let config = VaeConfig::new(1, 32, 32).widths([4, 8]);
//! let parameters = initial_parameters(&config, 7)?;
//! let model = Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &Device::Cpu)?;
//! let preprocessing = Preprocessing::heads([32, 32]).fit([&normal(0)?, &normal(1)?])?;
//! let localizer = Localizer::new(model, preprocessing, Provenance::new(7, "two phantoms"))?;
//!
//! // The scores of held-out normal images give scores a meaning.
//! let name = PredictorName::PixelL1;
//! let mut scores = NormalScoresBuilder::new();
//! for subject in 2..5 {
//!     let scored = localizer.score(&normal(subject)?, &[name])?;
//!     let map = scored.scores[0].postprocessed.data().iter();
//!     scores.add(map.zip(scored.foreground.data()).filter(|&(_, &inside)| inside).map(|(&score, _)| score));
//! }
//! let mut calibration = Calibration::new();
//! calibration.insert(name, scores.finish().ok_or("no subject")?);
//! let localizer = localizer.with_calibration(calibration);
//!
//! // The map of another volume on its own grid, and detections at a false-positive rate of 1 %.
//! let scan = normal(5)?;
//! let scored = localizer.score(&scan, &[name])?;
//! let map = &scored.scores[0].postprocessed;
//! assert_eq!((map.shape(), map.geometry()), (scan.grid(), scan.geometry()));
//! let threshold = localizer.calibration().get(name).ok_or("not calibrated")?.threshold(0.01);
//! let detections = localizer.postprocessing().detections(map, &scored.foreground, &scored.resolution, threshold)?;
//! assert_eq!(detections.shape(), scan.grid());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod calibration;
mod channels;
mod chosen;
pub mod conformance;
mod declared;
mod ensemble;
mod error;
mod judgment;
mod loading;
mod localizer;
mod localizer_ensemble;
mod maps;
mod model;
mod own_name;
mod position;
mod postprocessing;
mod predictor;
mod predictors;
mod provenance;
mod resolution;
mod settings;
mod shared;
mod smoothing;

pub use calibration::{Calibration, NormalScores, NormalScoresBuilder};
pub use chosen::ChosenPredictor;
pub use declared::{DeclaredConfig, DeclaredModel};
pub use ensemble::{
    Ensemble, EnsembleConfig, EnsembleError, EnsembleRule, LearnedWeights, MemberScale, ValidationLesions,
};
pub use error::PredictError;
pub use judgment::{Incomparable, Judgment};
pub use lesio_settings::SettingError;
pub use loading::{Loading, OwnError};
pub use localizer::Localizer;
pub use localizer_ensemble::{EnsembleMember, LocalizerEnsemble};
pub use maps::{PredictorMaps, ScanMaps, ScanScore, ScoredScan};
pub use model::{Model, ModelConfig, OwnModel};
pub use own_name::OwnName;
pub use position::{PositionBuilder, PositionCalibration, PositionNormals};
pub use postprocessing::{LengthUnit, NegativeValues, PostProcessing};
pub use predictor::Predictor;
pub use predictors::combination::{Combination, Combined};
pub use predictors::gradient::{GradientPredictor, Target};
pub use predictors::marks::AnomalyLogit;
pub use predictors::pixel::{Distance, PixelError, PixelIntensity, PixelLikelihood};
pub use predictors::projection::{Projection, ProjectionTrace};
pub use predictors::restoration::Restoration;
pub use predictors::{PredictorName, UnknownPredictor, predictor, predictor_over};
pub use provenance::Provenance;
pub use resolution::{CalibrationDoubt, Resolution, ResolutionRange};
pub use settings::PredictorSettings;
pub use settings::gradient::GradientConfig;
pub use settings::projection::{ProjectionConfig, ProjectionMap, StepRule};
pub use settings::restoration::RestorationConfig;
pub use shared::{SharedPass, SharedReconstruction};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
