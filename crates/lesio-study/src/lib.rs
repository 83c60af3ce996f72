//! Data sets to trained localizers and their evaluation, as lesio's programs do it.
//!
//! Where the other crates each do one thing, this one puts them in a row: [`Subject::read`] a case,
//! [`fit_preprocessing`], gather [`normal_examples`], [`train`] a [`ModelTraining`], score and measure with an
//! [`EvaluationBuilder`]. [`quality`] does the same for the quality of segmentations. Programs above it hold arguments and progress bars only.

// The slicing macro of ndarray, which only tests use here, brings an allowance of its own.
#![cfg_attr(not(test), forbid(unsafe_code))]

mod calibrating;
mod claims;
mod error;
mod evaluation;
mod findings;
mod groups;
mod hold_out;
mod incomplete;
mod injection;
mod interval;
mod lesion_groups;
mod localization;
mod maps;
mod measured;
mod model_set;
mod names;
mod normal_slices;
mod overlay;
mod pixels;
mod position;
mod presentation;
pub mod quality;
mod scratch;
mod subject;
mod thresholds;
mod training;

pub use calibrating::calibrate;
pub use claims::{Claim, ClaimStatus, claims, paired_difference};
pub use error::{StudyError, TruthError};
pub use evaluation::{BEYOND_FLOOR, Evaluated, EvaluatedSubject, EvaluationBuilder};
pub use findings::{DetectionRule, Finding, Findings, FoundLesions};
pub use groups::{GroupScore, GroupScores, GroupedEvaluation, GroupedSubject};
pub use hold_out::{HOLD_OUT_EVERY, HeldOut, hold_out};
pub use incomplete::{Incomplete, Missing};
pub use injection::{InjectedSubject, Injection, InjectionConfig, InjectionError, Role, Split};
pub use interval::Interval95;
pub use lesio_settings::SettingError;
pub use lesion_groups::LesionGroups;
pub use localization::{Budget, Domain, PredictorScore, StudyCell, Variation, run_cell};
pub use maps::{Maps, Scene, Stage, score_each, score_subject};
pub use measured::PredictorCurves;
pub use model_set::ModelSet;
pub use normal_slices::{fit_preprocessing, normal_examples};
pub use overlay::{OverlaySlice, chosen_slices, heat_map, picture_montage, scan_window, slice_montage};
pub use position::normalize_by_position;
pub use presentation::{
    PresentationError, Shown, ShownSlice, curve_figures, group_table, leading, montage, normal_scale,
    scope_table, shown, shown_slice,
};
pub use subject::{ReadCases, Subject, Subjects};
pub use thresholds::{ThresholdChoice, Thresholds, ValidationChoice, ValidationSubject};
pub use training::{Checkpoints, ModelTraining, Start, Trained, train};
