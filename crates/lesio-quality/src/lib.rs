//! Segmentation quality without ground truth: how far a segmentation can be trusted, estimated from the image.
//!
//! - A [`Framing`] crops a slice around its segmentation; a [`Sample`] also has the truth.
//! - An [`Estimator`] predicts the Dice and the surface distance of each label, by one [`Method`]:
//!   REC-Net and REG-Net (Zhou, Deng and Wu, arXiv:1903.08773), the direct regression (Robinson et al.
//!   2018), the segmentation alone, or a second opinion, trained adversarially.
//! - An [`Attack`] changes the image to mislead an estimator, with gradients through the whole estimator; a
//!   [`NaturalShift`] changes it as scanners and patients do.
//! - A [`QualityPipeline`] makes [`Candidate`]s of every quality and trains on them in steps, with a
//!   [`PipelineConfig`]; a
//!   [`StepCache`] stores the steps, so that an interrupted pipeline continues.
//! - A [`QualityModel`] is the file for deployment: it grades a volume, with intervals ([`Conformal`]) and a warning
//!   about images unlike those of its training ([`Novelty`]).
//!
//! Patients for training, for validation and calibration, and for tests never mix ([`PatientGroups`]). The same seed
//! gives the same bytes on the CPU; on another [`Device`](lesio_nn::Device) results agree within rounding, and files do
//! not depend on it.
//!
//! ```
//! use lesio_nn::Device;
//! use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, Widths};
//! use ndarray::{Array2, Array3};
//!
//! let image = Array3::from_shape_fn((1, 40, 40), |(_, i, j)| (i * j) as f32);
//! let segmentation = Array2::from_shape_fn((40, 40), |(i, j)| u8::from(i > 20 && j > 30));
//! let framing = Framing::new([1]).grid([16, 16]);
//! let frame = framing.frame(&image.view(), &segmentation.view())?.ok_or("nothing is segmented")?;
//!
//! // An untrained estimator.
//! let config = EstimatorConfig::new(Method::SecondOpinion, framing).widths(Widths::uniform([8, 8]));
//! let parameters = config.initial_parameters(1)?;
//! let estimator = Estimator::new(config, parameters, &Device::Cpu)?;
//! let estimate = estimator.estimate(&frame.image, &frame.segmentation)?;
//! assert_eq!(estimate.dice.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod agreement;
mod assessment;
mod attack;
mod augmentation;
mod calibration;
mod candidates;
mod change;
mod config;
mod conformal;
mod correction;
mod corruption;
mod distance;
mod error;
mod error_map;
mod estimator;
mod estimator_objective;
mod evaluation;
mod framing;
mod methods;
mod model;
mod network;
mod novelty;
mod objective;
mod pipeline;
mod reconstruction;
mod reconstructor;
mod samples;
mod segmentation_loss;
mod segmenter;
mod shift;
mod slices;
mod smoothing;
mod training;

pub use assessment::{Assessment, Grade, SliceAssessment, SliceVerdict};
pub use attack::{Attack, AttackKind, AttackUnit};
pub use augmentation::{SampleAugmentation, Symmetry};
pub use calibration::GradeCalibration;
pub use candidates::{Candidate, Origin, UniformPool, corruptions};
pub use config::{EstimatorConfig, Method};
pub use conformal::Conformal;
pub use correction::Correction;
pub use corruption::{Corrupted, CorruptionError, CorruptionKind, Corruptor, DiceOf};
pub use error::{EstimateError, InputError, QualityBuildError};
pub use estimator::{Estimator, QualityEstimate, SampleEstimates};
pub use estimator_objective::EstimatorObjective;
pub use evaluation::{FAILURE, QualityScores, RANGES, Scored};
pub use framing::{FramedSlice, Framing, Standardization};
pub use lesio_settings::SettingError;
pub use methods::ModelNetwork;
pub use model::{PatientPart, QualityModel, QualityProvenance};
pub use network::Widths;
pub use novelty::{Novelty, Unlikeness};
pub use pipeline::QualityPipeline;
pub use pipeline::cache::StepCache;
pub use pipeline::config::PipelineConfig;
pub use pipeline::progress::{PipelineError, PipelineObserver, PipelineProgress};
pub use pipeline::segmenters::Segmenters;
pub use reconstruction::ReconstructionObjective;
pub use reconstructor::RecNet;
pub use samples::{Quality, Sample, Samples};
pub use segmenter::{Segmenter, SegmenterConfig, SegmenterObjective};
pub use shift::NaturalShift;
pub use slices::{PatientGroups, SLICE_AXIS, TrueSlice};
pub use smoothing::{SmoothedDice, SmoothedEstimate, Smoothing};
pub use training::{AdversarialTraining, EstimatorTraining};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
