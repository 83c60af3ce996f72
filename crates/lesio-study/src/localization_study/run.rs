//! Runs the cells of a study one after the other, and stores them on disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lesio_io::dataset::Dataset;
use lesio_nn::Device;
use lesio_report::{Existing, write_json};
use lesio_settings::setters;
use serde::de::Error as _;

use super::cell::{StudyCell, run_cell};
use super::domain::{Domain, data_checksum};
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
    /// A checksum of its data, if it is known.
    data: Option<u32>,
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
        Self { name, read: Box::new(read), found: None, data: None }
    }

    /// With the data that its function reads by [`Domain::read`]. A cell in the folder that was made from other data is
    /// then an error; without them, every cell of this domain is reused. No image is read here.
    ///
    /// # Errors
    /// If a split is missing, and for a patient in two of the splits
    /// ([`StudyError::SharedPatients`](crate::StudyError::SharedPatients)).
    pub fn with_data(mut self, data: &Dataset, test: (&Dataset, &str)) -> Result<Self, WorkflowError> {
        self.data = Some(data_checksum(data, test)?);
        Ok(self)
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
/// For a cell in the folder that cannot be read, or was made with another budget or from other data
/// ([`StudyDomain::with_data`]); for invalid settings, before any work; those of training and scoring; for a test set
/// without a lesion; and if a domain cannot be read.
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
            let (name, model, data) = (domain.name, variation.name(), domain.data);
            let path = config.folder.join(format!("cell-{name}-{model}.json"));
            if let Some(cell) = kept(&path, &config.budget, (name, &model, data))? {
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
            let cell = StudyCell { data, ..cell };
            write_json(&path, &cell, Existing::Replace)?;
            cells.push(cell);
        }
    }
    Ok(cells)
}

/// A cell of an earlier run, if it was made with the same budget, of this domain and model, and from the same data.
fn kept(
    path: &Path,
    budget: &Budget,
    (domain, model, data): (&str, &str, Option<u32>),
) -> Result<Option<StudyCell>, WorkflowError> {
    if !path.exists() {
        return Ok(None);
    }
    let content =
        std::fs::read(path).map_err(|cause| WorkflowError::ReadCell { path: path.to_owned(), cause })?;
    let refused = |cause| WorkflowError::NoCell { path: path.to_owned(), cause };
    let cell: StudyCell = serde_json::from_slice(&content).map_err(refused)?;
    let other = |what: String| {
        refused(serde_json::Error::custom(format!("{what}; choose another folder, or remove the file")))
    };
    let (own_domain, own_model) = (&cell.domain, cell.variation.name());
    if (own_domain.as_str(), own_model.as_str()) != (domain, model) {
        return Err(other(format!("it is of the domain {own_domain} and the model {own_model}")));
    }
    if cell.budget != *budget {
        let difference = budget.difference(&cell.budget);
        return Err(WorkflowError::OtherBudget { path: path.to_owned(), difference });
    }
    match (cell.data, data) {
        (Some(own), Some(data)) if own != data => {
            return Err(other("it was made from other data".to_owned()));
        }
        (None, Some(_)) => tracing::warn!(
            cell = %path.display(),
            "it is unknown which data this cell was made from: taken as made from these"
        ),
        _ => {}
    }
    Ok(Some(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell in a folder, of the default model and of data with this checksum.
    fn write(path: &Path, data: Option<u32>) -> Budget {
        let budget =
            Budget { size: 8, widths: vec![4], epochs: 1, batch: 4, steps: 1, seed: 0, replicates: 5 };
        let cell = StudyCell {
            domain: "heads".to_owned(),
            variation: Variation::default(),
            budget: budget.clone(),
            prevalence: 0.1,
            patients: 9,
            seconds: 1.0,
            data,
            predictors: Vec::new(),
        };
        write_json(path, &cell, Existing::Replace).unwrap();
        budget
    }

    #[test]
    fn cells_of_other_data_are_not_reused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cell.json");
        let model = Variation::default().name();
        let budget = write(&path, Some(1));
        let found = |domain, model: &str, data| kept(&path, &budget, (domain, model, data));
        assert_eq!(found("heads", &model, Some(1)).unwrap().unwrap().data, Some(1));
        // The caller does not tell the data.
        assert!(found("heads", &model, None).unwrap().is_some());
        for (refused, said) in [
            (found("heads", &model, Some(2)), "made from other data; choose another folder"),
            (found("tiles", &model, Some(1)), "of the domain heads"),
            (found("heads", "beta4-latent128-scale0.1", Some(1)), "the model beta1-latent128-scale0.1"),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(
                error.contains("cell.json is not a cell of this study") && error.contains(said),
                "{error}"
            );
        }
        let other = Budget { epochs: 2, widths: vec![4, 8], ..budget.clone() };
        let Err(WorkflowError::OtherBudget { difference, .. }) =
            kept(&path, &other, ("heads", &model, Some(1)))
        else {
            panic!("the budget is another")
        };
        for part in ["epochs is 1, expected 2", "widths is [4], expected [4,8]"] {
            assert!(difference.contains(part), "{difference}");
        }
        assert_eq!(difference.matches("expected").count(), 2, "{difference}");
        // A cell of an earlier version.
        write(&path, None);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("\"data\""), "{text}");
        std::fs::write(&path, text.replacen("\"budget\"", "\"effort\"", 1)).unwrap();
        assert!(kept(&path, &budget, ("heads", &model, Some(1))).unwrap().is_some());
        assert!(kept(&folder.path().join("none.json"), &budget, ("heads", &model, None)).unwrap().is_none());
    }
}
