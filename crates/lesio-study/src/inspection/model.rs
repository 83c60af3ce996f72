//! The description of a model file.

use std::path::Path;

use lesio_anomaly::Localizer;
use lesio_nn::{Device, LoadError, model_file};
use lesio_quality::{Estimator, QualityModel};
use lesio_vae::{Denoiser, Vae};
use serde_json::Value;

/// Version of the files that keep the state of a training.
const STATE_VERSION: u32 = 1;

/// A model file of lesio, of any kind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelDescription {
    /// Its kind, such as `a localizer`.
    pub kind: String,
    /// The version of its layout.
    pub version: u32,
    /// Names and shapes of the tensors, in the order of the file.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Configuration, preprocessing, provenance.
    pub document: Value,
    /// Whether it is a localizer without thresholds.
    pub is_uncalibrated: bool,
}

impl ModelDescription {
    /// Describes a model file of at most `limit` bytes. The file is loaded completely, so a file that can be described
    /// can be used.
    ///
    /// # Errors
    /// Those of the loader of its kind; [`LoadError::Kind`] for an unknown kind.
    pub fn read(path: impl AsRef<Path>, limit: u64) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let model_file::Description { kind, version, tensors, document, .. } =
            model_file::describe(path, limit)?;
        let is_uncalibrated = load(path, &kind, limit.min(model_file::DEFAULT_LIMIT))?;
        Ok(Self { kind, version, tensors, document, is_uncalibrated })
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

/// Loads a model by the loader of its kind; returns whether it is a localizer without thresholds.
fn load(path: &Path, kind: &str, limit: u64) -> Result<bool, LoadError> {
    let state = |kind| model_file::load::<Value>(path, kind, STATE_VERSION, limit).map(|_| false);
    let loaders: [&dyn Fn() -> Result<bool, LoadError>; 7] = [
        &|| Localizer::load(path, &Device::Cpu).map(|localizer| localizer.calibration().is_empty()),
        &|| QualityModel::load(path, &Device::Cpu).map(|_| false),
        &|| Estimator::load(path, &Device::Cpu).map(|_| false),
        &|| Vae::load(path, &Device::Cpu).map(|_| false),
        &|| Denoiser::load(path, &Device::Cpu).map(|_| false),
        &|| state("a training checkpoint"),
        &|| state("a finished training step"),
    ];
    for load in loaders {
        match load() {
            // The loader of another kind does not apply to this file.
            Err(LoadError::Kind { expected, .. }) if !expected.starts_with(&format!("{kind} of version")) => {
            }
            found => return found,
        }
    }
    Err(LoadError::Kind {
        path: path.to_owned(),
        found: kind.escape_debug().to_string(),
        expected: "a model or training state of lesio".to_owned(),
    })
}
