//! Slices of patients for training, for choice and calibration, and for tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lesio_io::dataset::{ALL, Case, Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio_quality::{EstimatorConfig, Framing, Method, PatientGroups, TrueSlice};
use lesio_settings::setters;

use crate::quality::error::QualityStudyError;
use crate::quality::networks::{NetworkFolder, segmentations};
use crate::quality::progress::{QualityObserver, QualityProgress, report};

/// Share of the training patients that are held out to choose the epoch and to calibrate.
const HELD_OUT: f64 = 0.2;
/// Share of the patients that test where the data set has no test split.
const TEST: f64 = 0.25;

/// Which data an estimator of quality is made of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QualityDataConfig {
    /// How the folder is arranged, with labels of several structures.
    pub layout: Layout,
    /// Seed of the split into groups of patients.
    pub seed: u64,
    /// Labels whose quality is predicted. Default empty: all that the training data hold.
    pub labels: Vec<u8>,
    /// Rows and columns of the networks' grid, as [`Framing::grid`]. Default 48.
    pub size: usize,
    /// Folders with segmentations by networks in use, as [`NetworkFolder::open_all`] takes them: candidates for training and
    /// held-out patients besides those that are made, and what intervals are calibrated on. The networks must not have
    /// learned from these patients. Default: none.
    pub predictions: Vec<PathBuf>,
}

/// Slices of three groups of patients that do not mix, with how they are framed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QualityData {
    /// Configuration of the estimators; the method is [`Method::SecondOpinion`].
    pub estimators: EstimatorConfig,
    /// Slices for training.
    pub training: Vec<TrueSlice>,
    /// Slices for the choice of the epoch and for calibration.
    pub held_out: Vec<TrueSlice>,
    /// Slices for tests alone.
    pub test: Vec<TrueSlice>,
    /// Networks in use, whose segmentations are candidates; none without [`QualityDataConfig::predictions`].
    pub networks: Vec<NetworkFolder>,
    /// The cases of the held-out slices.
    pub held_out_cases: Vec<Case>,
}

impl QualityDataConfig {
    /// All labels of a data set, on a grid of 48 x 48.
    #[must_use]
    pub fn new(layout: Layout, seed: u64) -> Self {
        Self { layout, seed, labels: Vec::new(), size: 48, predictions: Vec::new() }
    }

    /// With the segmentations of these folders, see [`QualityDataConfig::predictions`].
    #[must_use]
    pub fn predictions(mut self, folders: impl Into<Vec<PathBuf>>) -> Self {
        self.predictions = folders.into();
        self
    }

    /// With these labels alone.
    #[must_use]
    pub fn labels(mut self, labels: impl Into<Vec<u8>>) -> Self {
        self.labels = labels.into();
        self
    }

    /// Reads a data set and splits its patients.
    ///
    /// Test patients are those of the split `test` that have labels; where there are none, a quarter of all. With a
    /// folder of `test_data` they come from that instead. Cases without labels are left out.
    ///
    /// # Errors
    /// Folders that cannot be listed, cases that cannot be read, labels that no training case holds, and a stop by the
    /// observer.
    pub fn read(
        &self,
        folder: &Path,
        test_data: Option<&Path>,
        observer: &mut QualityObserver<'_>,
    ) -> Result<QualityData, QualityStudyError> {
        let Dealt { training, held_out: held_out_cases, test } = self.deal(folder, test_data.is_some())?;
        let networks = NetworkFolder::open_all(&self.predictions)?;
        for network in &networks {
            network.require(&held_out_cases)?;
        }
        let training = read("training", &training, &networks, observer)?;
        let held_out = read("held-out", &held_out_cases, &networks, observer)?;
        let test = match test_data {
            Some(folder) => {
                let data = Dataset::open_with(folder, &self.layout, &labeled())?;
                let data = data.select("test").or_else(|_| data.select(ALL))?;
                read("test", data.cases(), &[], observer)?
            }
            None => read("test", &test, &[], observer)?,
        };
        if let Some(both) = test.iter().find(|slice| {
            test_data.is_none() && training.iter().chain(&held_out).any(|own| own.patient == slice.patient)
        }) {
            let what = format!("patient {} is in both training and test data", both.patient);
            return Err(QualityStudyError::Data { what });
        }
        let estimators = self.estimators(&training)?;
        Ok(QualityData { estimators, training, held_out, test, networks, held_out_cases })
    }

    /// The cases with labels, in three groups of patients; without `own_test` patients, those that have no split `test` are
    /// all for training and held out.
    pub(super) fn deal(&self, folder: &Path, tested_elsewhere: bool) -> Result<Dealt, QualityStudyError> {
        let data = Dataset::open_with(folder, &self.layout, &labeled())?;
        let labeled: Vec<&Case> =
            data.cases().iter().filter(|case| matches!(case.mask(), Mask::File(_))).collect();
        let own_test = |case: &&&Case| case.split() == Some("test");
        let mut patients: BTreeSet<&str> =
            labeled.iter().filter(|case| !own_test(case)).map(|case| case.patient()).collect();
        let mut tests: BTreeSet<&str> = labeled.iter().filter(own_test).map(|case| case.patient()).collect();
        if tests.is_empty() && !tested_elsewhere {
            let groups = PatientGroups::deal(&patients, &[1.0 - TEST, TEST], self.seed);
            patients.retain(|patient| groups.group(patient) == Some(0));
            tests =
                labeled.iter().map(|case| case.patient()).filter(|p| groups.group(p) == Some(1)).collect();
        }
        let groups = PatientGroups::deal(&patients, &[1.0 - HELD_OUT, HELD_OUT], self.seed);
        let of = |group| {
            let own = labeled.iter().filter(|case| groups.group(case.patient()) == Some(group));
            own.map(|&case| case.clone()).collect()
        };
        let test = labeled.iter().filter(|case| tests.contains(case.patient()));
        Ok(Dealt { training: of(0), held_out: of(1), test: test.map(|&case| case.clone()).collect() })
    }

    fn estimators(&self, training: &[TrueSlice]) -> Result<EstimatorConfig, QualityStudyError> {
        let classes: BTreeSet<u8> =
            training.iter().flat_map(|slice| &slice.truth).copied().filter(|&label| label != 0).collect();
        if let Some(label) = self.labels.iter().find(|label| !classes.contains(label)) {
            let what = format!("no training case holds label {label}, they hold {classes:?}");
            return Err(QualityStudyError::Data { what });
        }
        let labels: Vec<u8> =
            if self.labels.is_empty() { classes.iter().copied().collect() } else { self.labels.clone() };
        let framing = Framing::new(labels)
            .grid([self.size, self.size])
            .fitted(training.iter().map(|slice| slice.truth.view()));
        Ok(EstimatorConfig::new(Method::SecondOpinion, framing).classes(classes))
    }
}

setters!(QualityDataConfig { size: usize });

/// Cases of three groups of patients that do not mix.
pub(super) struct Dealt {
    pub(super) training: Vec<Case>,
    pub(super) held_out: Vec<Case>,
    pub(super) test: Vec<Case>,
}

fn labeled() -> DatasetOptions {
    DatasetOptions::new().missing_mask(MissingMask::Skip)
}

/// Number of patients among slices.
#[must_use]
pub fn patients(slices: &[TrueSlice]) -> usize {
    slices.iter().map(|slice| slice.patient.as_str()).collect::<BTreeSet<_>>().len()
}

fn read(
    what: &str,
    cases: &[Case],
    networks: &[NetworkFolder],
    observer: &mut QualityObserver<'_>,
) -> Result<Vec<TrueSlice>, QualityStudyError> {
    let reading = format!("reading {what} cases");
    report(observer, &QualityProgress::Begin { what: &reading, total: cases.len() })?;
    let mut slices = Vec::new();
    for case in cases {
        let (image, labels) = case.read_volume()?;
        let Some(labels) = labels else {
            return Err(QualityStudyError::Data { what: format!("case {} has no labels", case.id()) });
        };
        let mut own = TrueSlice::of_volume(case.patient(), case.id(), &image, &labels)?;
        for (_, segmentation) in segmentations(networks, case, &image)? {
            TrueSlice::segmented(&mut own, &image, &segmentation)?;
        }
        slices.extend(own);
        report(observer, &QualityProgress::Advance { parts: 1 })?;
    }
    report(observer, &QualityProgress::End)?;
    if slices.is_empty() {
        return Err(QualityStudyError::Data { what: format!("there are no {what} cases with labels") });
    }
    Ok(slices)
}
