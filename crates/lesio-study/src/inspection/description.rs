//! What a file turned out to be.

use std::path::{Path, PathBuf};

use lesio_image::Image;
use lesio_io::nifti::NiftiImage;
use lesio_io::{AffineSource, DEFAULT_MAX_BYTES, ReadErrorKind, ReadOptions, is_image};
use lesio_settings::setters;

use super::error::InspectError;
use super::model::ModelDescription;
use super::number::size;
use super::values::ValueSummary;

/// How a file is read to be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectConfig {
    /// Bytes of memory that reading may take. The values of a NIfTI file that needs more as 32-bit floats are not read,
    /// only its header; other files that need more are refused. Default: that of [`ReadOptions`].
    pub max_bytes: u64,
    /// What a user raises `max_bytes` by, such as an option of a program: named where values were not read. Default:
    /// nothing.
    pub limit_name: Option<&'static str>,
    /// Which form of a NIfTI header places the voxels. Default: [`AffineSource::Auto`].
    pub affine: AffineSource,
}

impl Default for InspectConfig {
    fn default() -> Self {
        Self { max_bytes: DEFAULT_MAX_BYTES, limit_name: None, affine: AffineSource::Auto }
    }
}

impl InspectConfig {
    /// Sets [`InspectConfig::limit_name`].
    #[must_use]
    pub fn limit_name(mut self, name: &'static str) -> Self {
        self.limit_name = Some(name);
        self
    }
}

setters!(InspectConfig { max_bytes: u64, affine: AffineSource });

/// A file that can be read: what it holds, as [`FileDescription::to_text`], [`FileDescription::to_json`] and a list of
/// problems.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileDescription {
    /// The file.
    pub path: PathBuf,
    /// How it was read.
    pub config: InspectConfig,
    /// What it holds.
    pub content: FileContent,
}

/// What a file holds.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub enum FileContent {
    /// A NIfTI image.
    Nifti {
        /// The image, of which the header was read.
        image: NiftiImage,
        /// Its values.
        values: NiftiValues,
    },
    /// A PNG, JPEG, TIFF or BMP picture.
    Picture {
        /// The picture.
        image: Image<f32>,
        /// Its values.
        values: ValueSummary,
    },
    /// A model of lesio.
    Model(ModelDescription),
}

/// The values of a NIfTI file, as far as they were read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NiftiValues {
    /// All were read.
    Read(ValueSummary),
    /// The voxels are no single numbers.
    NoNumbers,
    /// They need this many bytes, which is more than may be taken.
    TooLarge(u64),
}

/// Describes a file: a NIfTI image (.nii, .hdr, .img, also with .gz), a PNG, JPEG, TIFF or BMP picture, or a model file
/// of lesio (.safetensors), which is loaded completely.
///
/// # Errors
/// A file that cannot be read or loaded, or whose format is not known.
///
/// ```
/// use lesio_image::{Geometry, Volume};
/// use lesio_study::{InspectConfig, inspect};
/// use ndarray::Array3;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("flat.nii");
/// lesio_io::write_volume(&path, &Volume::new(Array3::from_elem((4, 5, 6), 1.5_f32), Geometry::default()))?;
/// let found = inspect(&path, &InspectConfig::default())?;
/// assert_eq!(found.problems(), ["every value is 1.5: there is no contrast to work with"]);
/// assert_eq!(found.to_json()["shape"], serde_json::json!([4, 5, 6]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(path: impl AsRef<Path>, config: &InspectConfig) -> Result<FileDescription, InspectError> {
    let path = path.as_ref();
    let content = read(path, config)?;
    Ok(FileDescription { path: path.to_owned(), config: *config, content })
}

fn read(path: &Path, config: &InspectConfig) -> Result<FileContent, InspectError> {
    if path.to_string_lossy().to_ascii_lowercase().ends_with(".safetensors") {
        return Ok(FileContent::Model(ModelDescription::read(path, config.max_bytes)?));
    }
    let options = ReadOptions::new().max_bytes(config.max_bytes).affine(config.affine);
    let by_name = match NiftiImage::open_with(path, &options) {
        Ok(mut image) => {
            // A sparse file of a few kilobytes on disk may hold a terabyte of zeros: to read it takes hours.
            let need = image.voxels().saturating_mul(image.header().datatype.bytes().max(4));
            let values = if !image.header().datatype.is_real() {
                NiftiValues::NoNumbers
            } else if need > config.max_bytes {
                NiftiValues::TooLarge(need)
            } else {
                NiftiValues::Read(ValueSummary::of_nifti(&mut image)?)
            };
            return Ok(FileContent::Nifti { image, values });
        }
        Err(error) => error,
    };
    if !matches!(by_name.kind(), ReadErrorKind::UnknownFormat { .. }) {
        return Err(by_name.into());
    }
    // The name is none of NIfTI's; what a picture is, its content tells.
    match options.read_image(path) {
        Ok(image) => {
            let values = ValueSummary::of_picture(&image);
            Ok(FileContent::Picture { image, values })
        }
        Err(error) if matches!(error.kind(), ReadErrorKind::UnknownContent { .. }) && !is_image(path) => {
            Err(InspectError::Unknown { by_name, by_content: error.kind().to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

impl FileDescription {
    /// The values of an image, where they were read.
    #[must_use]
    pub fn values(&self) -> Option<&ValueSummary> {
        match &self.content {
            FileContent::Nifti { values: NiftiValues::Read(values), .. }
            | FileContent::Picture { values, .. } => Some(values),
            FileContent::Nifti { .. } | FileContent::Model(_) => None,
        }
    }

    /// What will stand in the way later, the most serious first.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.content {
            FileContent::Nifti { values: NiftiValues::TooLarge(need), .. } => {
                let (need, limit) = (size(*need), size(self.config.max_bytes));
                let hint = self.config.limit_name.map(|name| format!(" ({name} raises it)"));
                problems.push(format!(
                    "its values need {need} of memory, the limit is {limit}: they were not read{}",
                    hint.unwrap_or_default()
                ));
            }
            FileContent::Model(model) if model.is_uncalibrated => {
                problems.push("no predictor is calibrated: no thresholds".to_owned());
            }
            _ => {}
        }
        if let Some(ValueSummary { count, nonfinite, min, max, .. }) = self.values() {
            if *nonfinite > 0 {
                problems
                    .push(format!("{nonfinite} of {count} values are NaN or infinite: it cannot be scored"));
            }
            if min == max {
                problems.push(format!("every value is {min}: there is no contrast to work with"));
            }
        }
        if let FileContent::Nifti { image, .. } = &self.content {
            if !image.header().datatype.is_real() {
                let name = image.header().datatype.name();
                problems.push(format!("voxels are {name}, not single numbers: it cannot be scored"));
            }
            if image.volumes() > 1 {
                problems.push(format!("it holds {} volumes: one must be chosen", image.volumes()));
            }
            problems.extend(image.oddities().iter().map(ToString::to_string));
        }
        problems
    }
}
