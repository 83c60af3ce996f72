//! What is deployed: an estimator with everything that its answers rest on, in one file.

use std::path::Path;

use lesio_image::Volume;
use lesio_nn::{Device, LoadError, ParameterSet, SaveError, model_file};
use serde::{Deserialize, Serialize};

use crate::assessment::{Assessment, Parts, assess};
use crate::config::EstimatorConfig;
use crate::conformal::Conformal;
use crate::error::{BuildError, ConfigError, EstimateError};
use crate::estimator::{Estimator, QualityEstimator};
use crate::novelty::Novelty;
use crate::painter::Painter;

/// What the file is, and the version of its layout.
const KIND: &str = "a quality model";
const VERSION: u32 = 3;

/// A trained estimator with REC-Net, intervals, and the limits of what it knows.
#[derive(Debug)]
pub struct QualityModel {
    estimator: Estimator,
    painter: Painter,
    document: Document,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Document {
    config: EstimatorConfig,
    conformal: Vec<Conformal>,
    novelty: Novelty,
    provenance: QualityProvenance,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QualityProvenance {
    /// Seed of the training.
    pub seed: u64,
    /// Configuration and data of the training, with checksums.
    pub training: String,
    /// Version of this crate.
    pub version: String,
}

impl QualityProvenance {
    /// A training by a seed, described by its objective's fingerprint.
    #[must_use]
    pub fn new(seed: u64, training: impl Into<String>) -> Self {
        Self { seed, training: training.into(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl QualityModel {
    /// Puts a model together; one [`Conformal`] for each label graded, in their order.
    ///
    /// # Errors
    /// Another number of intervals than labels.
    pub fn new(
        estimator: Estimator,
        painter: Painter,
        conformal: Vec<Conformal>,
        novelty: Novelty,
        provenance: QualityProvenance,
    ) -> Result<Self, BuildError> {
        let config = estimator.config().clone();
        let labels = config.framing.labels.len();
        if conformal.len() != labels {
            let expected = format!("{labels}, one for each label");
            return Err(ConfigError::new("number of intervals", conformal.len(), expected).into());
        }
        Ok(Self { estimator, painter, document: Document { config, conformal, novelty, provenance } })
    }

    /// Grades a segmentation of a volume, slice by slice along the last axis of the array.
    ///
    /// The same input gives the same answer, whatever was asked before, and from whatever thread. Labels that the model has seen but does
    /// not grade may be in the segmentation. A segmentation whose voxels are in another order is brought into the
    /// image's, by both affines.
    ///
    /// # Errors
    /// A segmentation of another shape or place than the image, labels that the model was not trained with, images that are not finite, and slices whose
    /// image is constant although something is segmented in it.
    pub fn assess(
        &self,
        image: &Volume<f32>,
        segmentation: &Volume<u8>,
    ) -> Result<Assessment, EstimateError> {
        let parts = Parts {
            estimator: &self.estimator,
            painter: &self.painter,
            conformal: &self.document.conformal,
            novelty: &self.document.novelty,
        };
        assess(&parts, image, segmentation)
    }

    /// Memory that assessing a volume of a shape takes at the most, beside the model, in bytes: the image, the segmentation and
    /// three maps on their grid, one of them while it is written.
    #[must_use]
    pub fn working_bytes(shape: [usize; 3]) -> u64 {
        shape.iter().fold(24, |all: u64, &size| all.saturating_mul(size as u64))
    }

    /// Reads a model onto a device.
    ///
    /// # Errors
    /// A file that cannot be read, is no quality model, or does not fit its own configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, document): (ParameterSet, Document) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::from_parts(&parameters, document, device).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
        })
    }

    /// Writes the model to one safetensors file; the same model gives the same bytes.
    ///
    /// # Errors
    /// A failure of the file system; what stood under the name still does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let mut parameters = self.estimator.parameters().clone();
        parameters.extend(self.painter.parameters().clone());
        model_file::save(path, KIND, VERSION, &parameters, &self.document)
    }

    /// Configuration of the estimator.
    #[must_use]
    pub fn config(&self) -> &EstimatorConfig {
        &self.document.config
    }

    /// The estimator.
    #[must_use]
    pub fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    /// Its intervals, one for each label graded.
    #[must_use]
    pub fn conformal(&self) -> &[Conformal] {
        &self.document.conformal
    }

    /// What it knows of its training images.
    #[must_use]
    pub fn novelty(&self) -> &Novelty {
        &self.document.novelty
    }

    /// Where it comes from.
    #[must_use]
    pub fn provenance(&self) -> &QualityProvenance {
        &self.document.provenance
    }

    fn from_parts(
        parameters: &ParameterSet,
        document: Document,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let config = &document.config;
        let mut all = config.networks()?;
        all.push(config.reconstructor()?);
        if config.method == crate::Method::SecondOpinion {
            all.extend(config.foundation()?);
        }
        parameters.check(&all.iter().collect::<Vec<_>>())?;
        let own = |wanted: &dyn Fn(&str) -> bool| {
            let mut set = ParameterSet::new();
            for (name, parameter) in parameters.iter().filter(|(name, _)| wanted(name)) {
                set.insert(name, parameter.clone());
            }
            set
        };
        let of_painter = |name: &str| name.starts_with("rec.");
        let painter = Painter::new(config, own(&of_painter), device)?;
        let needs_painter = config.method == crate::Method::RecReg;
        let own = own(&|name| needs_painter || !of_painter(name));
        let estimator = Estimator::new(config.clone(), own, device)?;
        Self::new(estimator, painter, document.conformal, document.novelty, document.provenance)
    }
}
