//! The model for deployment: an estimator with intervals and novelty detection, in one file.

use std::borrow::Cow;
use std::path::Path;

use lesio_image::{Orientation, Scan, Volume};
use lesio_nn::{Device, LoadError, ParameterSet, SaveError, model_file};
use lesio_settings::{SettingError, require};
use serde::{Deserialize, Serialize};

use crate::assessment::{Assessment, Parts, assess, assess_turned};
use crate::calibration::{CalibratedLabels, GradeCalibration};
use crate::config::{EstimatorConfig, Method};
use crate::conformal::{COVERAGE, Conformal};
use crate::error::{EstimateError, InputError, QualityBuildError};
use crate::estimator::Estimator;
use crate::methods::{ModelNetwork, in_order, networks};
use crate::novelty::Novelty;
use crate::reconstructor::{self, RecNet};

/// What the file is, and the version of its layout.
const KIND: &str = "a quality model";
const VERSION: u32 = 3;

/// A trained estimator with REC-Net, intervals, and novelty detection.
#[derive(Debug)]
pub struct QualityModel {
    estimator: Estimator,
    reconstructor: RecNet,
    document: Document,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Document {
    config: EstimatorConfig,
    conformal: Vec<Conformal>,
    /// The calibration on segmentations by the user's networks, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calibration: Option<CalibratedLabels>,
    novelty: Novelty,
    /// Names of the channels; none where they are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    /// Least and greatest side of a pixel of the training images, in millimeters; `None` where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pixel_millimeters: Option<[f64; 2]>,
    /// Orientation of the training images; `None` where it is unknown, and where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orientation: Option<Orientation>,
    provenance: QualityProvenance,
}

/// The provenance of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QualityProvenance {
    /// Seed of the training.
    pub seed: u64,
    /// Configuration and data of the training, with checksums.
    pub training: String,
    /// Version of this crate.
    pub version: String,
    /// Checksums of the names of the patients that the model learned from, ascending; see
    /// [`QualityProvenance::part_of`]. Models of earlier versions have none.
    #[serde(default, alias = "learnt", skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<u32>,
    /// The same of the patients that chose the epoch and calibrated the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<u32>,
}

/// The role of a patient for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientPart {
    /// The patient was used for training.
    Learned,
    /// The patient was used for the selection of the epoch and for calibration.
    HeldOut,
}

impl QualityProvenance {
    /// A training by a seed, described by its objective's fingerprint.
    #[must_use]
    pub fn new(seed: u64, training: impl Into<String>) -> Self {
        let (training, version) = (training.into(), env!("CARGO_PKG_VERSION").to_owned());
        Self { seed, training, version, learned: Vec::new(), held_out: Vec::new() }
    }

    /// With the patients that were learned from, and those that were held out. Their names are not kept.
    #[must_use]
    pub fn patients<S: AsRef<str>>(
        mut self,
        learned: impl IntoIterator<Item = S>,
        held_out: impl IntoIterator<Item = S>,
    ) -> Self {
        self.learned = checksums(learned);
        self.held_out = checksums(held_out);
        self
    }

    /// What a patient was for the model; `None` for one that it has not seen, and for all where the file does not tell. A
    /// stranger passes for one of `n` patients with a chance of `n` in four billion.
    ///
    /// ```
    /// use lesio_quality::{PatientPart, QualityProvenance};
    ///
    /// let provenance = QualityProvenance::new(1, "").patients(["ann", "bob"], ["cid"]);
    /// assert_eq!(provenance.part_of("bob"), Some(PatientPart::Learned));
    /// assert_eq!(provenance.part_of("cid"), Some(PatientPart::HeldOut));
    /// assert_eq!(provenance.part_of("dan"), None);
    /// ```
    #[must_use]
    pub fn part_of(&self, patient: &str) -> Option<PatientPart> {
        let checksum = crc32fast::hash(patient.as_bytes());
        if self.learned.binary_search(&checksum).is_ok() {
            return Some(PatientPart::Learned);
        }
        self.held_out.binary_search(&checksum).is_ok().then_some(PatientPart::HeldOut)
    }
}

impl QualityModel {
    /// Makes a model; `intervals` has one [`Conformal`] for each graded label, in their order.
    ///
    /// # Errors
    /// Another number of intervals than labels.
    pub fn new(
        estimator: Estimator,
        reconstructor: RecNet,
        conformal: Vec<Conformal>,
        novelty: Novelty,
        provenance: QualityProvenance,
    ) -> Result<Self, QualityBuildError> {
        let config = estimator.config().clone();
        check_number(conformal.len(), &config)?;
        let document = Document {
            config,
            conformal,
            calibration: None,
            novelty,
            channels: Vec::new(),
            pixel_millimeters: None,
            orientation: None,
            provenance,
        };
        Ok(Self { estimator, reconstructor, document })
    }

    /// The model with the names of the channels of its training images, in their order, or none. If there are several, a scan
    /// whose channels have names must have these; their order does not matter.
    ///
    /// # Errors
    /// Another number of names than [`EstimatorConfig::channels`].
    pub fn with_channel_names(mut self, names: Vec<String>) -> Result<Self, QualityBuildError> {
        let expected = self.document.config.channels;
        let sound = names.is_empty() || names.len() == expected;
        require(sound, "number of channel names", names.len(), format!("0 or {expected}"))?;
        self.document.channels = names;
        Ok(self)
    }

    /// The names of the channels; none where they are unknown.
    #[must_use]
    pub fn channel_names(&self) -> &[String] {
        &self.document.channels
    }

    /// The model with the orientation of its training images. Volumes of another orientation are then turned to it, which
    /// moves voxels and changes none, so that the model sees the slices that it knows. Without it, slices are those along
    /// the last axis of the array, whatever their orientation.
    #[must_use]
    pub fn with_orientation(mut self, orientation: Option<Orientation>) -> Self {
        self.document.orientation = orientation;
        self
    }

    /// The orientation of the training images; `None` where it is unknown, and where they differ.
    #[must_use]
    pub fn orientation(&self) -> Option<Orientation> {
        self.document.orientation
    }

    /// The model with the least and the greatest side of a pixel of its training images, in millimeters (of a pixel that is
    /// not square: of a square with its area). Images with other pixels are then framed at as many millimeters, with a
    /// warning. Without it, frames have as many pixels whatever their size.
    ///
    /// # Errors
    /// Sides that are not finite, positive and ascending.
    pub fn with_pixel_millimeters(mut self, range: Option<[f64; 2]>) -> Result<Self, QualityBuildError> {
        if let Some([least, most]) = range {
            let sound = least > 0.0 && least <= most && most.is_finite();
            require(sound, "sides of pixels", [least, most], "two positive lengths, ascending")?;
        }
        self.document.pixel_millimeters = range;
        Ok(self)
    }

    /// Least and greatest side of a pixel of the training images, in millimeters; `None` where it is unknown.
    #[must_use]
    pub fn pixel_millimeters(&self) -> Option<[f64; 2]> {
        self.document.pixel_millimeters
    }

    /// Grades a segmentation of a scan, slice by slice: along the axis of the training images' slices
    /// ([`QualityModel::orientation`]), or else along the last axis of the array. A picture is one slice.
    ///
    /// The same input gives the same answer, from any thread. Labels that the model has seen but does
    /// not grade may be in the segmentation. A segmentation whose voxels are in another order is brought into the
    /// image's, by both affines.
    ///
    /// # Errors
    /// A segmentation of another shape or place than the image, other channels than those of the training, labels that the model was not trained with, images that are not finite, and slices whose
    /// image is constant although something is segmented in it.
    pub fn assess(&self, image: &Scan, segmentation: &Volume<u8>) -> Result<Assessment, EstimateError> {
        let names = &self.document.channels;
        // The name of an only channel may be that of its file, and says nothing.
        let is_known = names.len() < 2 || image.names().is_empty() || image.names() == names;
        let image = &match is_known {
            true => Cow::Borrowed(image),
            false => Cow::Owned(image.clone().with_channels(names).map_err(InputError::from)?),
        };
        let parts = Parts {
            estimator: &self.estimator,
            reconstructor: &self.reconstructor,
            conformal: &self.document.conformal,
            calibration: self.document.calibration.as_ref(),
            novelty: &self.document.novelty,
            pixel_millimeters: self.document.pixel_millimeters,
        };
        match self.document.orientation {
            Some(known) if !image.is_picture() && known != image.geometry().orientation() => {
                assess_turned(&parts, known, image, segmentation)
            }
            _ => assess(&parts, image, segmentation),
        }
    }

    /// The share of new patients' segmentations that intervals are made to hold.
    pub const COVERAGE: f64 = COVERAGE;

    /// The steps of its method ([`Method::steps`](crate::Method::steps)), and of a calibrated model
    /// ([`QualityModel::calibrated`]) the correction of their results.
    #[must_use]
    pub fn steps(&self) -> Vec<&'static str> {
        let mut steps = self.config().method.steps().to_vec();
        if self.document.calibration.is_some() {
            steps.push(
                "corrected Dice of label k = linear between the points (j / 5, calibration.slices[k].correction.values[j]), \
                 j = 0 to 5, at the Dice of label k, which is the mean over the views; its interval is that of \
                 calibration.slices[k].conformal at the corrected Dice, not that of conformal[k]",
            );
        }
        steps
    }

    /// The model with estimates that are corrected, and with other intervals, of slices and of whole volumes, one for each label
    /// graded, in their order: calibrated on segmentations by the networks that it is to grade, of patients that it has not
    /// learned from. Estimates of the [`Estimator`] itself stay as they are.
    ///
    /// Without a calibration, the interval of a volume is that of slices that all err alike, which is too wide.
    ///
    /// # Errors
    /// Another number of calibrations than labels.
    pub fn calibrated(
        mut self,
        slices: Vec<GradeCalibration>,
        volumes: Vec<GradeCalibration>,
    ) -> Result<Self, QualityBuildError> {
        check_number(slices.len(), &self.document.config)?;
        check_number(volumes.len(), &self.document.config)?;
        self.document.calibration = Some(CalibratedLabels { slices, volumes });
        Ok(self)
    }

    /// The model as it was before [`QualityModel::calibrated`].
    #[must_use]
    pub fn uncalibrated(mut self) -> Self {
        self.document.calibration = None;
        self
    }

    /// Memory that assessing a scan of some channels on a grid takes at the most, beside the model, in bytes: the image, its
    /// reconstruction and their difference, two copies while they are turned, a map while it is written, the segmentation and
    /// the error map.
    #[must_use]
    pub fn working_bytes(channels: usize, grid: [usize; 3]) -> u64 {
        let of_voxel = (channels as u64).saturating_mul(24).saturating_add(8);
        grid.iter().fold(of_voxel, |all, &size| all.saturating_mul(size as u64))
    }

    /// Loads a model onto a device.
    ///
    /// # Errors
    /// If the file cannot be read, is not a quality model, or contradicts its configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, document): (ParameterSet, Document) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::from_parts(&parameters, document, device).map_err(|error| error.into_load_error(path))
    }

    /// Writes the model to one safetensors file; the same model gives the same bytes.
    ///
    /// # Errors
    /// If the file system fails; an existing file then remains.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        model_file::save(path, KIND, VERSION, &self.parameters(), &self.document)
    }

    /// All networks of the model, those of its method in the order in which they are computed. REC-Net is among them for
    /// every method; without [`Method::RecReg`] it only shows what an image would look like.
    ///
    /// # Errors
    /// None in practice: the model was made of them.
    pub fn networks(&self) -> Result<Vec<ModelNetwork>, QualityBuildError> {
        let mut all = in_order(self.config())?;
        if self.config().method != Method::RecReg {
            all.push(reconstructor::network(self.config())?);
        }
        Ok(all.into_iter().map(ModelNetwork::new).collect())
    }

    /// The parameters of [`QualityModel::networks`].
    #[must_use]
    pub fn parameters(&self) -> ParameterSet {
        let mut parameters = self.estimator.parameters().clone();
        parameters.extend(self.reconstructor.parameters().clone());
        parameters
    }

    /// What the file of the model states beside the parameters, as JSON: configuration, intervals, novelty detection,
    /// provenance.
    #[must_use]
    pub fn document(&self) -> String {
        serde_json::to_string(&self.document).unwrap_or_default()
    }

    /// A text that changes with anything that changes grades: weights, configuration, calibration. For telling whether results
    /// come from this model; not against a forger.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let (own, reconstructor) = (self.estimator.parameters(), self.reconstructor.parameters());
        let (own, reconstructor) = (own.checksum(), reconstructor.checksum());
        let document = crc32fast::hash(self.document().as_bytes());
        format!("weights {own:08x} {reconstructor:08x}, document {document:08x}")
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

    /// Its intervals of slices without a calibration, one for each label graded.
    #[must_use]
    pub fn conformal(&self) -> &[Conformal] {
        &self.document.conformal
    }

    /// The novelty detection, fitted to its training images.
    #[must_use]
    pub fn novelty(&self) -> &Novelty {
        &self.document.novelty
    }

    /// Its provenance.
    #[must_use]
    pub fn provenance(&self) -> &QualityProvenance {
        &self.document.provenance
    }

    /// Whether a model file is one of a quality model, by its header. Its content is not read.
    ///
    /// # Errors
    /// If the file cannot be read or is no model file.
    pub fn is_in(path: impl AsRef<Path>) -> Result<bool, LoadError> {
        Ok(model_file::describe(path, model_file::DEFAULT_LIMIT)?.kind == KIND)
    }

    fn from_parts(
        parameters: &ParameterSet,
        document: Document,
        device: &Device,
    ) -> Result<Self, QualityBuildError> {
        let config = &document.config;
        let (networks, reconstructor) = (networks(config)?, reconstructor::network(config)?);
        // REC-Net is in every file: of the method that builds upon it, once.
        let rec_reg = config.method == Method::RecReg;
        let own = networks.trained.iter().chain(networks.pretrained.iter().filter(|_| !rec_reg));
        parameters.check(&own.chain([&reconstructor]).collect::<Vec<_>>())?;
        let own = |wanted: &dyn Fn(&str) -> bool| {
            let mut set = ParameterSet::new();
            for (name, parameter) in parameters.iter().filter(|(name, _)| wanted(name)) {
                set.insert(name, parameter.clone());
            }
            set
        };
        let of_reconstructor = |name: &str| name.starts_with("rec.");
        let reconstructor = RecNet::new(config, own(&of_reconstructor), device)?;
        let own = own(&|name| rec_reg || !of_reconstructor(name));
        let estimator = Estimator::new(config.clone(), own, device)?;
        let Document { conformal, calibration, novelty, provenance, .. } = document;
        let Document { channels, pixel_millimeters, orientation, .. } = document;
        let model = Self::new(estimator, reconstructor, conformal, novelty, provenance)?
            .with_channel_names(channels)?
            .with_pixel_millimeters(pixel_millimeters)?
            .with_orientation(orientation);
        match calibration {
            Some(CalibratedLabels { slices, volumes }) => model.calibrated(slices, volumes),
            None => Ok(model),
        }
    }
}

fn checksums<S: AsRef<str>>(patients: impl IntoIterator<Item = S>) -> Vec<u32> {
    let mut found: Vec<u32> =
        patients.into_iter().map(|patient| crc32fast::hash(patient.as_ref().as_bytes())).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn check_number(found: usize, config: &EstimatorConfig) -> Result<(), SettingError> {
    let labels = config.framing.labels.len();
    require(found == labels, "number of intervals", found, format!("{labels}, one for each label"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_of_earlier_files_are_known() {
        let provenance = QualityProvenance::new(1, "").patients(["ann"], []);
        let text = serde_json::to_string(&provenance).unwrap();
        let earlier = text.replace("\"learned\"", "\"learnt\"");
        assert_ne!(earlier, text);
        assert_eq!(serde_json::from_str::<QualityProvenance>(&earlier).unwrap(), provenance);
    }
}
