//! The description of a file.

use std::path::{Path, PathBuf};

use lesio_image::Image;
use lesio_io::nifti::NiftiImage;
use lesio_io::{AffineSource, DEFAULT_MAX_BYTES, ReadErrorKind, ReadOptions, is_image};
use lesio_settings::setters;

use super::error::InspectError;
use super::model::ModelDescription;
use super::number::size;
use super::values::ValueSummary;

/// Options for reading a file that is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectConfig {
    /// Memory limit for reading, in bytes. Of a NIfTI file whose values need more as 32-bit floats, only the header is
    /// read; for other files that need more, reading fails. Default: that of [`ReadOptions`].
    pub max_bytes: u64,
    /// The name of the option that raises `max_bytes`, for messages about values that were not read. Default: none.
    pub limit_name: Option<&'static str>,
    /// The source of the affine in a NIfTI header. Default: [`AffineSource::Auto`].
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

/// The description of a readable file, as [`FileDescription::to_text`], [`FileDescription::to_json`] and a list of
/// problems.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileDescription {
    /// The file.
    pub path: PathBuf,
    /// How it was read.
    pub config: InspectConfig,
    /// Its content.
    pub content: FileContent,
}

/// The content of a file.
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

/// The values of a NIfTI file, if they were read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NiftiValues {
    /// All were read.
    Read(ValueSummary),
    /// The voxels are not single numbers.
    NoNumbers,
    /// They need this many bytes, more than the limit.
    TooLarge(u64),
}

/// Describes a file: a NIfTI image (.nii, .hdr, .img, also with .gz), a PNG, JPEG, TIFF or BMP picture, or a model file
/// of lesio (.safetensors), which is loaded completely.
///
/// # Errors
/// If the file cannot be read or loaded, or its format is unknown.
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
            // A sparse file of a few kilobytes on disk may contain a terabyte of zeros: reading it takes hours.
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
    // The name is not that of a NIfTI file; the content determines the format of a picture.
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
    /// The values of an image, if they were read.
    #[must_use]
    pub fn values(&self) -> Option<&ValueSummary> {
        match &self.content {
            FileContent::Nifti { values: NiftiValues::Read(values), .. }
            | FileContent::Picture { values, .. } => Some(values),
            FileContent::Nifti { .. } | FileContent::Model(_) => None,
        }
    }

    /// The problems for later work, the most serious first.
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
                problems.push(format!(
                    "{nonfinite} of {count} values are NaN or infinite: it cannot be scored (NaN outside of a mask \
                     can be read as 0)"
                ));
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
