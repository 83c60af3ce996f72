//! Runs the cells of a study one after the other, and stores them on disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lesio_nn::Device;
use lesio_report::{Existing, write_json};
use lesio_settings::setters;

use super::cell::{StudyCell, run_cell};
use super::domain::Domain;
use super::settings::{Budget, Variation};
use crate::folder::prepare_folder;
use crate::observer::{Notice, Observer, Step};
use crate::workflow_error::WorkflowError;

/// Configuration of a study: output folder, budget, time and device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StudyConfig {
    /// The folder for cells, which are written as `cell-*.json` when they are complete.
    pub folder: PathBuf,
    /// How large and how long each model is.
    pub budget: Budget,
    /// Time after which no further cell is started.
    pub time: Duration,
    /// The device that computes networks. Default: the processor.
    pub device: Device,
}

impl StudyConfig {
    /// A configuration for cells of this budget in a folder, started within a time, on the processor.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, budget: Budget, time: Duration) -> Self {
        Self { folder: folder.into(), budget, time, device: Device::Cpu }
    }
}

setters!(StudyConfig { device: Device });

/// A domain that is read when its first cell is trained.
pub struct StudyDomain<'a> {
    name: &'a str,
    read: Box<dyn FnMut(&mut dyn Observer) -> Result<Domain, WorkflowError> + 'a>,
    found: Option<Domain>,
}

impl std::fmt::Debug for StudyDomain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StudyDomain").field("name", &self.name).field("found", &self.found).finish()
    }
}

impl<'a> StudyDomain<'a> {
    /// A domain by name, and a function that reads it.
    pub fn new(
        name: &'a str,
        read: impl FnMut(&mut dyn Observer) -> Result<Domain, WorkflowError> + 'a,
    ) -> Self {
        Self { name, read: Box::new(read), found: None }
    }

    fn domain(&mut self, observer: &mut dyn Observer) -> Result<&Domain, WorkflowError> {
        let found = match self.found.take() {
            Some(found) => found,
            None => (self.read)(observer)?,
        };
        Ok(self.found.insert(found))
    }
}

/// Trains every model of [`Variation::grid`] on every domain, and evaluates every predictor. Cells of an earlier run in
/// the folder are reused, so that an interrupted study continues.
///
/// # Errors
/// For a cell in the folder that cannot be read or was made with another budget; for invalid settings, before any work;
/// those of training and scoring; for a test set without a lesion; and if a domain cannot be read.
pub fn study_localization(
    domains: &mut [StudyDomain<'_>],
    config: &StudyConfig,
    observer: &mut dyn Observer,
) -> Result<Vec<StudyCell>, WorkflowError> {
    let started = Instant::now();
    prepare_folder(&config.folder)?;
    let mut cells = Vec::new();
    // Model by model, with all domains of each, so that the cells within the budget always compare the domains.
    for variation in Variation::grid() {
        for domain in &mut *domains {
            let (name, model) = (domain.name, variation.name());
            let path = config.folder.join(format!("cell-{name}-{model}.json"));
            if let Some(cell) = kept(&path, &config.budget)? {
                cells.push(cell);
                continue;
            }
            if started.elapsed() >= config.time {
                observer.notice(&Notice::ModelLeftOut { domain: name, model: &model });
                continue;
            }
            let domain = domain.domain(observer)?;
            observer.notice(&Notice::ModelBegins { domain: name, model: &model });
            observer.begin(&Step::Training, 1);
            let cell = run_cell(domain, variation, &config.budget, &config.device, |event| {
                observer.training(event)
            })?;
            observer.end();
            write_json(&path, &cell, Existing::Replace)?;
            cells.push(cell);
        }
    }
    Ok(cells)
}

/// A cell of an earlier run, if it was made with the same budget.
fn kept(path: &Path, budget: &Budget) -> Result<Option<StudyCell>, WorkflowError> {
    if !path.exists() {
        return Ok(None);
    }
    let content =
        std::fs::read(path).map_err(|cause| WorkflowError::ReadCell { path: path.to_owned(), cause })?;
    let cell: StudyCell = serde_json::from_slice(&content)
        .map_err(|cause| WorkflowError::NoCell { path: path.to_owned(), cause })?;
    if cell.budget != *budget {
        return Err(WorkflowError::OtherBudget { path: path.to_owned() });
    }
    Ok(Some(cell))
}
