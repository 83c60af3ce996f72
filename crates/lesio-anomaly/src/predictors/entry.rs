//! What the file of a predictor tells the table of all predictors.

use std::sync::Arc;

use lesio_vae::{Reconstructor, SegmentationModel, VariationalModel};

use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::settings::PredictorSettings;

/// A built-in predictor.
pub(crate) struct Entry {
    /// The name in files, in reports and on command lines.
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    /// Makes it for a model.
    pub(crate) make: fn(&Parts<'_>) -> Made,
}

impl Entry {
    pub(crate) const fn new(name: &'static str, needs: Needs, make: fn(&Parts<'_>) -> Made) -> Self {
        Self { name, needs, make }
    }
}

pub(crate) type Made = Result<Box<dyn Predictor>, PredictError>;

/// The requirements of a predictor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No model.
    Nothing,
    /// Any model that reconstructs.
    Reconstructor,
    /// A model that segments anomalies.
    Segmentation,
    /// A variational model.
    Variational,
    /// A variational model, and many passes of it for each image.
    ManyPasses,
    /// A localizer with an ensemble.
    Ensemble,
}

impl Needs {
    /// What they are called in messages.
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "no model",
            Self::Reconstructor => "a model that reconstructs the normal image",
            Self::Segmentation => "a model that segments anomalies",
            Self::Variational | Self::ManyPasses => "a variational autoencoder",
            Self::Ensemble => "an ensemble",
        }
    }
}

/// The parts for making a predictor.
pub(crate) struct Parts<'p> {
    /// The predictor, for errors.
    pub(crate) entry: &'p Entry,
    /// Of a model that says what an image is when it is normal.
    pub(crate) reconstructor: Option<Arc<dyn Reconstructor>>,
    pub(crate) variational: Option<Arc<dyn VariationalModel>>,
    pub(crate) segmentation: Option<Arc<dyn SegmentationModel>>,
    /// The kind of model, for errors.
    pub(crate) kind: &'p str,
    pub(crate) settings: &'p PredictorSettings,
}

impl Parts<'_> {
    /// The model as a variational model, or the error that it is none.
    pub(crate) fn model(&self) -> Result<Arc<dyn VariationalModel>, PredictError> {
        self.variational.clone().ok_or_else(|| self.unsupported())
    }

    /// The model as a reconstructor, or the error that it is none.
    pub(crate) fn reconstructor(&self) -> Result<Arc<dyn Reconstructor>, PredictError> {
        self.reconstructor.clone().ok_or_else(|| self.unsupported())
    }

    /// The model as a segmenter, or the error that it is none.
    pub(crate) fn marks(&self) -> Result<Arc<dyn SegmentationModel>, PredictError> {
        self.segmentation.clone().ok_or_else(|| self.unsupported())
    }

    fn unsupported(&self) -> PredictError {
        let (predictor, needs, model) =
            (self.entry.name.to_owned(), self.entry.needs.text(), self.kind.to_owned());
        PredictError::Unsupported { predictor, needs, model }
    }
}
