//! A case of a data set in memory, volume or image.

use std::borrow::Cow;

use lesio_image::{Image, ImageError, Volume};
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;
use ndarray::{Array2, Array3, Axis};

use crate::error::{StudyError, TruthError};

/// What was imaged, with what is known to be abnormal in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subject {
    /// The case's name.
    pub id: String,
    /// The patient, or the part: what is independent of the others.
    pub patient: String,
    /// The kind of defect, where the data set tells.
    pub kind: Option<String>,
    /// The image and its truth.
    pub content: Content,
}

/// Voxels or pixels and their truth.
#[allow(clippy::large_enum_variant, reason = "a few hundred exist at a time, and their data are elsewhere")]
#[derive(Clone, Debug)]
pub enum Content {
    /// A volume.
    Volume {
        /// Its voxels.
        volume: Volume<f32>,
        /// Where it is abnormal; `None` where nothing is known.
        truth: Option<Volume<bool>>,
    },
    /// A two-dimensional image.
    Image {
        /// Its pixels.
        image: Image<f32>,
        /// Where it is abnormal, `[row, column]`; `None` where nothing is known.
        truth: Option<Array2<bool>>,
    },
}

impl Subject {
    /// A subject that is its own patient, of no known kind.
    #[must_use]
    pub fn new(id: impl Into<String>, content: Content) -> Self {
        let id = id.into();
        Self { patient: id.clone(), id, kind: None, content }
    }

    /// Reads a case: a volume where its file is one, else an image. Every value of the mask but 0 is abnormal.
    ///
    /// # Errors
    /// [`StudyError::Read`] naming the case, and [`StudyError::Memory`].
    pub fn read(case: &Case) -> Result<Self, StudyError> {
        Self::read_with(case, &ReadOptions::new())
    }

    /// As [`Subject::read`], with other limits and choices for its files.
    ///
    /// # Errors
    /// As [`Subject::read`]; [`StudyError::Memory`] where its files may be read within the limit, but work on them takes
    /// more, see [`Subject::working_bytes`].
    pub fn read_with(case: &Case, options: &ReadOptions) -> Result<Self, StudyError> {
        let failed = |source| StudyError::Read { case: case.id().to_owned(), source };
        let content = if case.is_volume() {
            let (volume, truth) = case.read_masked_with(options).map_err(failed)?;
            Content::Volume { volume, truth }
        } else {
            let (image, truth) = case.read_image_with(options).map_err(failed)?;
            Content::Image { image, truth }
        };
        let kind = case.kind().map(str::to_owned);
        let subject = Self { id: case.id().to_owned(), patient: case.patient().to_owned(), kind, content };
        let (need, limit) = (subject.working_bytes(), options.limit());
        if need > limit {
            let (case, what) = (subject.id.clone(), subject.describe());
            return Err(StudyError::Memory { case, what, need, limit });
        }
        Ok(subject)
    }

    /// Memory that this subject and work on it take at the most, beside the model: while a volume is prepared, scored by
    /// one predictor at a time and searched for lesions 12 bytes a voxel, for an image 24 bytes a pixel and 8 more for
    /// each channel.
    #[must_use]
    pub fn working_bytes(&self) -> u64 {
        let product =
            |sizes: &[usize]| sizes.iter().fold(1, |all: u64, &size| all.saturating_mul(size as u64));
        match &self.content {
            Content::Volume { volume, .. } => product(&volume.shape()).saturating_mul(12),
            Content::Image { image, .. } => {
                let each = 24 + 8 * image.channels() as u64;
                product(&[image.height(), image.width()]).saturating_mul(each)
            }
        }
    }

    /// Where it is abnormal, in the order of its own voxels; an image is one slice, `[row, column, 0]`. `None` where
    /// nothing is known.
    ///
    /// # Errors
    /// [`StudyError::Truth`] where the truth is not on the grid of what it is the truth of: of another size, or of
    /// a volume elsewhere. A volume's truth in another order of voxels is brought into the volume's.
    pub fn truth(&self) -> Result<Option<Cow<'_, Array3<bool>>>, StudyError> {
        let refused = |source| StudyError::Truth { case: self.id.clone(), source };
        match &self.content {
            Content::Volume { truth: None, .. } | Content::Image { truth: None, .. } => Ok(None),
            Content::Volume { volume, truth: Some(truth) } => {
                let (grid, shape) = (volume.geometry(), volume.shape());
                if truth.geometry() == grid && truth.shape() == shape {
                    return Ok(Some(Cow::Borrowed(truth.data())));
                }
                let aligned = truth.clone().aligned_to(grid, shape);
                let (truth, agreement) = aligned.map_err(|error| refused(TruthError::Grid(error)))?;
                if !agreement.is_exact() {
                    let (case, voxels) = (&self.id, agreement.voxels);
                    tracing::warn!(
                        case,
                        voxels,
                        "the affines of truth and volume differ a little: taken for one place"
                    );
                }
                Ok(Some(Cow::Owned(truth.into_data())))
            }
            Content::Image { image, truth: Some(truth) } => {
                let (found, expected) = (truth.shape().to_vec(), vec![image.height(), image.width()]);
                if found != expected {
                    let error = ImageError::ShapeMismatch { what: "truth", found, expected };
                    return Err(refused(TruthError::Size(error)));
                }
                Ok(Some(Cow::Owned(truth.clone().insert_axis(Axis(2)))))
            }
        }
    }

    /// Channels of its images.
    #[must_use]
    pub fn channels(&self) -> usize {
        match &self.content {
            Content::Volume { .. } => 1,
            Content::Image { image, .. } => image.channels(),
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Volume { volume, .. } => format!("a volume of {:?} voxels", volume.shape()),
            Content::Image { image, .. } => {
                format!(
                    "an image of {} x {} pixels and {} channels",
                    image.height(),
                    image.width(),
                    image.channels()
                )
            }
        }
    }
}

/// Subjects in memory, or cases that are read one at a time when they are asked for.
pub trait Subjects {
    /// Number of subjects.
    fn count(&self) -> usize;

    /// The subject at a place below [`Subjects::count`].
    ///
    /// # Errors
    /// A case that cannot be read.
    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError>;
}

impl Subjects for [Subject] {
    fn count(&self) -> usize {
        self.len()
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        self.get(place).map(Cow::Borrowed).ok_or_else(|| beyond(place, self.len()))
    }
}

impl Subjects for [Case] {
    fn count(&self) -> usize {
        self.len()
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        let case = self.get(place).ok_or_else(|| beyond(place, self.len()))?;
        Subject::read(case).map(Cow::Owned)
    }
}

/// Cases that are read one at a time, with other limits and choices than [`Subject::read`] has.
#[derive(Clone, Copy, Debug)]
pub struct ReadCases<'a> {
    cases: &'a [Case],
    options: &'a ReadOptions,
}

impl<'a> ReadCases<'a> {
    /// These cases, read with these options.
    #[must_use]
    pub fn new(cases: &'a [Case], options: &'a ReadOptions) -> Self {
        Self { cases, options }
    }
}

impl Subjects for ReadCases<'_> {
    fn count(&self) -> usize {
        self.cases.len()
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        let case = self.cases.get(place).ok_or_else(|| beyond(place, self.cases.len()))?;
        Subject::read_with(case, self.options).map(Cow::Owned)
    }
}

impl<T, const N: usize> Subjects for [T; N]
where
    [T]: Subjects,
{
    fn count(&self) -> usize {
        N
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        self.as_slice().subject(place)
    }
}

impl<T> Subjects for Vec<T>
where
    [T]: Subjects,
{
    fn count(&self) -> usize {
        self.as_slice().count()
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        self.as_slice().subject(place)
    }
}

fn beyond(place: usize, count: usize) -> StudyError {
    StudyError::Nothing { what: format!("subject {place} was asked for, there are {count}") }
}
