//! A case of a data set in memory, volume or image.

use std::borrow::Cow;

use lesio_image::{Image, Volume};
use lesio_io::dataset::Case;
use ndarray::Array2;

use crate::error::StudyError;

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

    /// Reads a case: a volume where its file is one, else an image. Every label but 0 is abnormal.
    ///
    /// # Errors
    /// [`StudyError::Read`] naming the case.
    pub fn read(case: &Case) -> Result<Self, StudyError> {
        let failed = |source| StudyError::Read { case: case.id().to_owned(), source };
        let content = if is_volume(case) {
            let (volume, mask) = case.read_volume().map_err(failed)?;
            Content::Volume { volume, truth: mask.map(|mask| mask.map(|&label| label != 0)) }
        } else {
            let (image, truth) = case.read_image().map_err(failed)?;
            Content::Image { image, truth }
        };
        let kind = case.kind().map(str::to_owned);
        Ok(Self { id: case.id().to_owned(), patient: case.patient().to_owned(), kind, content })
    }

    /// Refuses a truth of another shape than the image.
    ///
    /// # Errors
    /// [`StudyError::Shape`] naming the case.
    pub fn validate(&self) -> Result<(), StudyError> {
        let (found, expected) = match &self.content {
            Content::Volume { volume, truth: Some(truth) } => {
                (truth.shape().to_vec(), volume.shape().to_vec())
            }
            Content::Image { image, truth: Some(truth) } => {
                (truth.shape().to_vec(), vec![image.height(), image.width()])
            }
            Content::Volume { truth: None, .. } | Content::Image { truth: None, .. } => return Ok(()),
        };
        if found == expected {
            return Ok(());
        }
        Err(StudyError::Shape { what: format!("the truth of case {:?}", self.id), found, expected })
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

fn is_volume(case: &Case) -> bool {
    case.images().first().and_then(|path| path.to_str()).is_some_and(|path| {
        let path = path.to_ascii_lowercase();
        [".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"].iter().any(|ending| path.ends_with(ending))
    })
}
