//! Measuring test cases that no earlier run has measured.

use std::io;
use std::path::{Path, PathBuf};

use lesio_io::ReadOptions;
use lesio_io::dataset::{Case, Mask};

use super::measurements::MeasuredCase;
use super::measuring::Measuring;
use super::record::Record;
use crate::case_record::key_of;
use crate::error::StudyError;
use crate::folder::prepare_folder;
use crate::localize::{FailedCase, FinishedCases};
use crate::observer::explain;
use crate::reading::BadCases;
use crate::workflow_error::WorkflowError;

/// The common inputs of all test cases.
pub(super) struct Work<'a> {
    pub(super) measuring: Measuring<'a>,
    /// The folder of records.
    pub(super) folder: PathBuf,
    /// A text that changes with models and options.
    pub(super) key: String,
    /// Whether there is only one test case, whose error ends the evaluation.
    pub(super) is_only: bool,
}

/// The outcome of a case.
pub(super) enum Found {
    /// An earlier run wrote its record, and that is kept.
    Kept(MeasuredCase),
    /// Its record is written.
    Measured {
        /// The case with its record.
        case: MeasuredCase,
        /// The reason if its image could not be scored in this run.
        unscored: Option<StudyError>,
    },
    /// It could not be read and is left out.
    Unread(StudyError),
}

impl Work<'_> {
    /// Measures a case and writes its record, unless finished cases are kept and an earlier run has measured it.
    pub(super) fn measure_once(&self, case: &Case, name: &Path) -> Result<Found, WorkflowError> {
        let mut file = name.as_os_str().to_owned();
        file.push(".scores");
        let config = self.measuring.config;
        // A file that cannot be read has no key. Reading it again below reports the reason.
        let key = self.key(case).unwrap_or_default();
        let mut measured = MeasuredCase {
            id: case.id().to_owned(),
            kind: case.kind().map(str::to_owned),
            further: case.further().to_vec(),
            unscored: None,
            file: file.into(),
            key,
            folder: self.folder.clone(),
        };
        let unscored = |reason: &str| {
            Box::new(FailedCase {
                id: case.id().to_owned(),
                patient: case.patient().to_owned(),
                error: reason.to_owned(),
                further: case.further().to_vec(),
            })
        };
        let path = measured.path();
        if config.finished == FinishedCases::Keep
            && let Ok(record) = Record::open(&path)
            && record.key() == measured.key
        {
            measured.unscored = record.why_left_out(case.id()).map(unscored);
            // A case that an earlier run left out stops this one if it is to stop at such cases.
            if config.bad_cases != BadCases::Stop || measured.unscored.is_none() {
                return Ok(Found::Kept(measured));
            }
        }
        let subject = match self.measuring.read(case) {
            Ok(subject) => subject,
            Err(error) if config.bad_cases == BadCases::Stop || self.is_only => return Err(error.into()),
            Err(error) => return Ok(Found::Unread(error)),
        };
        let (mut found, error) = self.measuring.measure(case, &subject)?;
        if config.bad_cases == BadCases::Stop
            && let Some(error) = error
        {
            return Err(error.into());
        }
        measured.unscored = error.as_ref().map(|error| unscored(&explain(error)));
        if let Some(folder) = path.parent() {
            prepare_folder(folder)?;
        }
        Record::write(&path, &measured.key, &mut found)?;
        Ok(Found::Measured { case: measured, unscored: error })
    }

    /// A text that changes with all inputs of the measurements: the version of this crate, models and options, the names and
    /// kind of the case, the names of its channels, how its files are matched, and their bytes.
    fn key(&self, case: &Case) -> io::Result<String> {
        let normal = if *case.mask() == Mask::Normal { "normal" } else { "" };
        let (id, patient, kind, matching) = (case.id(), case.patient(), case.kind(), case.matching());
        let channels = case.channel_names(&ReadOptions::new());
        let what = format!("{}; {id:?} {patient:?} {kind:?} {matching:?} {channels:?} {normal}", self.key);
        key_of(&what, case.images().iter().map(PathBuf::as_path).chain(case.mask().path()))
    }
}
