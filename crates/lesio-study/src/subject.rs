//! A case of a data set in memory.

use std::borrow::Cow;

use lesio_image::{ImageError, Scan, Volume};
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;
use ndarray::Array3;

use crate::error::{StudyError, TruthError};

/// A subject: its scan and its truth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subject {
    /// The case's name.
    pub id: String,
    /// The patient or part: the independent unit.
    pub patient: String,
    /// The kind of defect, if the data set states it.
    pub kind: Option<String>,
    /// The scan.
    pub scan: Scan,
    /// The truth; `None` if unknown.
    pub truth: Option<Volume<bool>>,
}

impl Subject {
    /// A subject that is the only one of its patient, of unknown kind.
    #[must_use]
    pub fn new(id: impl Into<String>, scan: impl Into<Scan>, truth: Option<Volume<bool>>) -> Self {
        let id = id.into();
        Self { patient: id.clone(), id, kind: None, scan: scan.into(), truth }
    }

    /// Reads a case: a volume or an image, depending on its file. Every mask value except 0 is abnormal.
    ///
    /// # Errors
    /// [`StudyError::Read`] naming the case, and [`StudyError::Memory`].
    pub fn read(case: &Case) -> Result<Self, StudyError> {
        Self::read_with(case, &ReadOptions::new())
    }

    /// Like [`Subject::read`], with other limits and choices for its files.
    ///
    /// # Errors
    /// Those of [`Subject::read`]; [`StudyError::Memory`] if its files can be read within the limit, but work on them
    /// needs more, see [`Subject::working_bytes`].
    pub fn read_with(case: &Case, options: &ReadOptions) -> Result<Self, StudyError> {
        let failed = |source| StudyError::Read { case: case.id().to_owned(), source };
        let (scan, truth) = case.read_scan(options).map_err(failed)?;
        let kind = case.kind().map(str::to_owned);
        let subject =
            Self { id: case.id().to_owned(), patient: case.patient().to_owned(), kind, scan, truth };
        let (need, limit) = (subject.working_bytes(), options.limit());
        if need > limit {
            let (case, what) = (subject.id.clone(), subject.describe());
            return Err(StudyError::Memory { case, what, need, limit });
        }
        Ok(subject)
    }

    /// Largest memory for this subject and for work on it, without the model. A volume that is prepared, scored by one
    /// predictor at a time and searched for lesions needs 12 bytes per voxel and 8 more for each further channel; a
    /// picture needs 24 bytes per pixel and 8 more for each channel.
    #[must_use]
    pub fn working_bytes(&self) -> u64 {
        let voxels = self.scan.grid().iter().fold(1, |all: u64, &size| all.saturating_mul(size as u64));
        let channels = self.scan.channels() as u64;
        voxels.saturating_mul(if self.scan.is_picture() { 24 + 8 * channels } else { 4 + 8 * channels })
    }

    /// The truth, in the order of the scan's voxels. `None` if unknown.
    ///
    /// # Errors
    /// [`StudyError::Truth`] if the truth has another size or position than the scan. A truth with another order of
    /// voxels is reordered to match the scan.
    pub fn truth(&self) -> Result<Option<Cow<'_, Array3<bool>>>, StudyError> {
        let Some(truth) = &self.truth else { return Ok(None) };
        let (geometry, shape) = (self.scan.geometry(), self.scan.grid());
        if truth.geometry() == geometry && truth.shape() == shape {
            return Ok(Some(Cow::Borrowed(truth.data())));
        }
        if self.scan.is_picture() && truth.shape() != shape {
            // A picture's size is rows by columns.
            let seen = |[columns, rows, _]: [usize; 3]| vec![rows, columns];
            let (found, expected) = (seen(truth.shape()), seen(shape));
            let source = TruthError::Size(ImageError::ShapeMismatch { what: "truth", found, expected });
            return Err(StudyError::Truth { case: self.id.clone(), source });
        }
        let aligned = truth.clone().aligned_to(geometry, shape);
        let (truth, agreement) = aligned
            .map_err(|error| StudyError::Truth { case: self.id.clone(), source: TruthError::Grid(error) })?;
        if !agreement.is_exact() {
            let (case, voxels) = (&self.id, agreement.voxels);
            tracing::warn!(
                case,
                voxels,
                "the affines of truth and volume differ slightly: treated as the same position"
            );
        }
        Ok(Some(Cow::Owned(truth.into_data())))
    }

    /// Channels of its scan.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.scan.channels()
    }

    /// A description of it.
    #[must_use]
    pub fn describe(&self) -> String {
        let (grid, channels) = (self.scan.grid(), self.scan.channels());
        match (self.scan.is_picture(), channels) {
            (true, _) => format!("an image of {} x {} pixels and {channels} channels", grid[1], grid[0]),
            (false, 1) => format!("a volume of {grid:?} voxels"),
            (false, _) if self.scan.names().is_empty() => {
                format!("a volume of {grid:?} voxels and {channels} channels")
            }
            (false, _) => {
                format!("a volume of {grid:?} voxels and channels {}", self.scan.names().join(", "))
            }
        }
    }
}

/// Subjects in memory, or cases that are read one at a time when they are needed.
pub trait Subjects {
    /// Number of subjects.
    fn count(&self) -> usize;

    /// The subject at an index below [`Subjects::count`].
    ///
    /// # Errors
    /// If a case cannot be read.
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

/// Subjects, and further ones after them.
#[derive(Clone, Copy)]
pub(crate) struct Joined<'a, S: ?Sized> {
    pub(crate) subjects: &'a S,
    pub(crate) further: Option<&'a dyn Subjects>,
}

impl<S: Subjects + ?Sized> Subjects for Joined<'_, S> {
    fn count(&self) -> usize {
        self.subjects.count() + self.further.map_or(0, Subjects::count)
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        match self.further {
            Some(further) if place >= self.subjects.count() => further.subject(place - self.subjects.count()),
            _ => self.subjects.subject(place),
        }
    }
}

/// Cases that are read one at a time, with the given options.
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
    StudyError::Nothing { what: format!("subject {place} was requested, there are {count}") }
}
