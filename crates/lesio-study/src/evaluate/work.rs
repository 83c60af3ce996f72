//! One test case after the other: measured, unless an earlier run did that.

use std::io;
use std::path::{Path, PathBuf};

use lesio_io::dataset::{Case, Mask};

use super::measurement::Measuring;
use super::record::Record;
use super::share::MeasuredCase;
use crate::case_record::key_of;
use crate::error::StudyError;
use crate::folder::prepare_folder;
use crate::localize::FinishedCases;
use crate::reading::BadCases;
use crate::workflow_error::WorkflowError;

/// What is the same for every test case.
pub(super) struct Work<'a> {
    pub(super) measuring: Measuring<'a>,
    /// Where records are.
    pub(super) folder: PathBuf,
    /// Models and options, on which every measurement depends.
    pub(super) key: String,
    /// Whether there is but one test case, whose error is that of the evaluation.
    pub(super) is_only: bool,
}

/// What became of a case.
pub(super) enum Found {
    /// Its record is written.
    Measured {
        /// Where.
        case: MeasuredCase,
        /// Why it has no maps: an image that cannot be scored.
        unscored: Option<StudyError>,
    },
    /// It cannot be read and is left out.
    Unread(StudyError),
}

impl Work<'_> {
    /// Measures a case and writes its record, unless an earlier run did that and its record is to be kept.
    pub(super) fn measure_once(&self, case: &Case, name: &Path) -> Result<Found, WorkflowError> {
        let mut file = name.as_os_str().to_owned();
        file.push(".scores");
        let measured = MeasuredCase {
            id: case.id().to_owned(),
            kind: case.kind().map(str::to_owned),
            further: case.further().to_vec(),
            file: file.into(),
            folder: self.folder.clone(),
        };
        let path = measured.path();
        let config = self.measuring.config;
        // A file that cannot be read has no key. Reading it again reports why.
        let key = self.key(case).unwrap_or_default();
        if config.finished == FinishedCases::Keep
            && Record::open(&path).is_ok_and(|record| record.key() == key)
        {
            return Ok(Found::Measured { case: measured, unscored: None });
        }
        let subject = match self.measuring.read(case) {
            Ok(subject) => subject,
            Err(error) if config.bad_cases == BadCases::Stop || self.is_only => return Err(error.into()),
            Err(error) => return Ok(Found::Unread(error)),
        };
        let (mut found, unscored) = self.measuring.measure(case, &subject)?;
        if let Some(folder) = path.parent() {
            prepare_folder(folder)?;
        }
        Record::write(&path, &key, &mut found)?;
        Ok(Found::Measured { case: measured, unscored })
    }

    /// What the measurement of a case depends on: the version of this crate, models and options, what the data set says of
    /// the case, and the bytes of its files.
    fn key(&self, case: &Case) -> io::Result<String> {
        let normal = if *case.mask() == Mask::Normal { "normal" } else { "" };
        let (id, patient, kind) = (case.id(), case.patient(), case.kind());
        let what = format!("{}; {id:?} {patient:?} {kind:?} {normal}", self.key);
        key_of(&what, case.images().iter().map(PathBuf::as_path).chain(case.mask().path()))
    }
}
