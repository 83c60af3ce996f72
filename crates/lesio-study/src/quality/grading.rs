//! The segmentations of a data set, graded.

use std::path::PathBuf;

use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset};
use lesio_quality::{Assessment, Grade, QualityModel};
use lesio_report::{Column, Table, TableError};
use lesio_settings::setters;
use serde::Serialize;
use serde_json::{Value, json};

use crate::folder::{REPORT, case_folders, check_folder, prepare_folder};
use crate::localize::FailedCase;
use crate::observer::{Notice, Observer, Step};
use crate::quality::assessment::GradedFile;
use crate::workflow_error::WorkflowError;

/// Where the grades of a data set go, and how its files are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradeConfig {
    /// The folder for the results, in which every case has its own.
    pub folder: PathBuf,
    /// What becomes of files of earlier runs. Default: they are refused.
    pub existing: Existing,
    /// How files are read.
    pub reading: ReadOptions,
}

impl GradeConfig {
    /// Results go into this folder; the rest as the fields state.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), existing: Existing::Refuse, reading: ReadOptions::new() }
    }
}

setters!(GradeConfig { existing: Existing, reading: ReadOptions });

/// The grades of a data set, and the cases that have none.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GradingReport {
    /// The cases that were graded.
    pub cases: Vec<GradedCase>,
    /// Those that could not be.
    pub failed: Vec<FailedCase>,
}

/// A case with the grades of its segmentation.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GradedCase {
    /// The case.
    pub id: String,
    /// Its image.
    pub image: PathBuf,
    /// Its segmentation.
    pub segmentation: PathBuf,
    /// The grades of the labels in the volume; `None` where nothing is segmented.
    pub volume: Option<Vec<Grade>>,
    /// The slices, as in an [`Assessment`].
    pub slices: Value,
}

/// Grades the segmentation of every case of a data set, whose masks are the segmentations, and writes for each case what
/// [`GradedFile::write`] does. The report itself is returned and not written.
///
/// A case that cannot be graded is listed, and the others are graded.
///
/// # Errors
/// A folder in the data set, or in which nothing can be written; a report that is there and is not to be replaced.
pub fn grade_folder(
    model: &QualityModel,
    data: &Dataset,
    config: &GradeConfig,
    observer: &mut dyn Observer,
) -> Result<GradingReport, WorkflowError> {
    if data.contains(&config.folder) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    check_folder(&config.folder)?;
    let report = config.folder.join(REPORT);
    if config.existing == Existing::Refuse && report.symlink_metadata().is_ok() {
        return Err(WorkflowError::Exists { path: report });
    }
    let cases = data.cases();
    let mut found = GradingReport { cases: Vec::new(), failed: Vec::new() };
    observer.begin(&Step::Grading, cases.len());
    for (place, (case, folder)) in cases.iter().zip(case_folders(&config.folder, cases)).enumerate() {
        let grade = || -> Result<GradedCase, WorkflowError> {
            let without = |part| move || WorkflowError::Without { whole: "case", part };
            let image = case.images().first().ok_or_else(without("an image"))?;
            let segmentation = case.mask().path().ok_or_else(without("a segmentation"))?;
            let graded = GradedFile::read(model, image, segmentation, &config.reading, case.matching())?;
            prepare_folder(&folder)?;
            graded.write(&folder, config.existing)?;
            GradedCase::new(case, graded.assessment, image.clone(), segmentation.to_owned())
        };
        match grade() {
            Ok(graded) => {
                observer.notice(&Notice::CaseDone { case: case.id(), folder: &folder });
                found.cases.push(graded);
            }
            Err(error) => found.failed.push(FailedCase::new(case, &error, observer)),
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok(found)
}

impl GradedCase {
    fn new(
        case: &Case,
        assessment: Assessment,
        image: PathBuf,
        segmentation: PathBuf,
    ) -> Result<Self, WorkflowError> {
        let slices = serde_json::to_value(&assessment.slices)?;
        Ok(Self { id: case.id().to_owned(), image, segmentation, volume: assessment.volume, slices })
    }
}

impl GradingReport {
    /// As `report.json` of the program `assess` has it, but for the command, the time and the model.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["schema"] = json!(1);
        Ok(value)
    }

    /// The grades of the labels by case, the lowest Dice first: what to look at before all else.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn table(&self) -> Result<Table, TableError> {
        let columns = [("case", 0), ("label", 0), ("Dice", 3), ("low", 2), ("high", 2), ("HD95 in mm", 1)];
        let mut table =
            Table::new("Predicted quality", columns.map(|(name, digits)| Column::new(name).decimals(digits)));
        let graded = |case: &GradedCase| case.volume.clone().unwrap_or_default();
        let mut rows: Vec<(&str, Grade)> = self
            .cases
            .iter()
            .flat_map(|case| graded(case).into_iter().map(|grade| (case.id.as_str(), grade)))
            .collect();
        rows.sort_by(|a, b| a.1.dice.total_cmp(&b.1.dice));
        for (id, Grade { label, dice, interval: [low, high], distance_millimetres, .. }) in rows {
            table = table.row([
                id.into(),
                u64::from(label).into(),
                dice.into(),
                low.into(),
                high.into(),
                distance_millimetres.into(),
            ])?;
        }
        Ok(table)
    }
}
