//! What the programs about segmentation quality share: their data, and how their progress is shown.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use lesio::io::dataset::{ALL, Case, Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio::quality::{
    EstimatorConfig, Framing, Method, PatientGroups, PipelineConfig, PipelineProgress, TrueSlice,
};

use crate::arguments::whole;
use crate::{DeviceArgs, Progress as Bar, bar, watch_training};

/// How a data set of volumes with labels is arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LabelledLayout {
    /// ACDC: patientNNN/patientNNN_frameMM.nii.gz with `..._gt.nii.gz`.
    Acdc,
    /// Medical Segmentation Decathlon: imagesTr, labelsTr.
    Msd,
}

impl LabelledLayout {
    fn layout(self) -> Layout {
        match self {
            Self::Acdc => Layout::Acdc,
            Self::Msd => Layout::Msd,
        }
    }
}

/// Which data a quality estimator is made of, and how long that may take.
#[derive(Clone, Debug, clap::Args)]
pub struct QualityArgs {
    /// Folder of the data set
    #[arg(long)]
    pub data: PathBuf,
    /// How the folder is arranged
    #[arg(long, value_enum, default_value = "acdc")]
    pub layout: LabelledLayout,
    /// Labels whose quality is predicted, separated by commas; by default all that the training data hold
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..))]
    pub label: Vec<u8>,
    /// Rows and columns of the networks' grid
    #[arg(long, default_value_t = 48, value_parser = whole(16, 1024))]
    pub size: usize,
    /// Scales all trainings to about this many minutes on two cores; each passes over its samples at least once, so that
    /// very few take longer. The same number gives the same results anywhere
    #[arg(long, default_value_t = DEFAULT_MINUTES, value_parser = minutes)]
    pub budget_minutes: f64,
    /// Steps of the attacks that the second opinion is trained against: with 2, training takes half as long again, and
    /// attacks of many steps harm it less, but it is worse on clean images and under one step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub attack_steps: u8,
    /// Seed of splits, candidates and training
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where networks are trained and asked.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Minutes that the trainings of the defaults take.
pub const DEFAULT_MINUTES: f64 = 85.0;

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= MOST_MINUTES => Ok(minutes),
        _ => Err(format!("expected a number of minutes above 0, of at most {MOST_MINUTES}")),
    }
}

/// A week and a half of training: more is a slip of the keyboard.
const MOST_MINUTES: f64 = 15_000.0;

/// Slices of three groups of patients that do not mix, with how they are framed.
#[derive(Debug)]
pub struct Material {
    /// Configuration of the estimators, but for the method.
    pub config: EstimatorConfig,
    /// Slices that teach.
    pub training: Vec<TrueSlice>,
    /// Slices that choose and calibrate.
    pub held_out: Vec<TrueSlice>,
    /// Slices that nothing but the results come from.
    pub test: Vec<TrueSlice>,
}

/// Share of the training patients that are held out to choose the epoch and to calibrate.
const HELD_OUT: f64 = 0.2;
/// Share of the patients that test where the data set has no test split of its own.
const TEST: f64 = 0.25;

impl QualityArgs {
    /// How candidates are made and estimators trained.
    #[must_use]
    pub fn recipe(&self) -> PipelineConfig {
        let mut recipe = PipelineConfig::new(self.seed).scaled(self.budget_minutes / DEFAULT_MINUTES);
        let steps = usize::from(self.attack_steps);
        recipe.finishing.steps = recipe.finishing.steps.max(steps);
        recipe.adversarial.steps = steps;
        recipe
    }

    /// Reads the data set and deals its patients.
    ///
    /// Test patients are those of the split `test` that have labels; where there are none, a quarter of all.
    /// With `test_data` they come from that folder instead.
    ///
    /// # Errors
    /// Folders that cannot be listed, cases that cannot be read, and labels that no training case holds.
    pub fn material(&self, test_data: Option<&PathBuf>) -> Result<Material, Box<dyn Error>> {
        // What has no labels teaches nothing here.
        let options = DatasetOptions::new().missing_mask(MissingMask::Skip);
        let data = Dataset::open_with(&self.data, &self.layout.layout(), &options)?;
        let labelled: Vec<&Case> =
            data.cases().iter().filter(|case| matches!(case.mask(), Mask::File(_))).collect();
        let own_test = |case: &&&Case| case.split() == Some("test");
        let mut patients: BTreeSet<&str> =
            labelled.iter().filter(|case| !own_test(case)).map(|case| case.patient()).collect();
        let mut tests: BTreeSet<&str> = labelled.iter().filter(own_test).map(|case| case.patient()).collect();
        if tests.is_empty() && test_data.is_none() {
            let groups = PatientGroups::deal(&patients, &[1.0 - TEST, TEST], self.seed);
            patients.retain(|patient| groups.group(patient) == Some(0));
            tests =
                labelled.iter().map(|case| case.patient()).filter(|p| groups.group(p) == Some(1)).collect();
        }
        let groups = PatientGroups::deal(&patients, &[1.0 - HELD_OUT, HELD_OUT], self.seed);
        let of = |group| labelled.iter().filter(move |case| groups.group(case.patient()) == Some(group));
        let training = read("training", &of.clone()(0).copied().collect::<Vec<_>>())?;
        let held_out = read("held-out", &of(1).copied().collect::<Vec<_>>())?;
        let test = match test_data {
            Some(folder) => {
                let data = Dataset::open_with(folder, &self.layout.layout(), &options)?;
                let data = data.select("test").or_else(|_| data.select(ALL))?;
                read("test", &data.cases().iter().collect::<Vec<_>>())?
            }
            None => {
                let of_test = labelled.iter().filter(|case| tests.contains(case.patient()));
                read("test", &of_test.copied().collect::<Vec<_>>())?
            }
        };
        if let Some(both) = test.iter().find(|slice| {
            test_data.is_none() && training.iter().chain(&held_out).any(|own| own.patient == slice.patient)
        }) {
            return Err(format!("patient {} is in both training and test data", both.patient).into());
        }
        let config = self.config(&training)?;
        Ok(Material { config, training, held_out, test })
    }

    fn config(&self, training: &[TrueSlice]) -> Result<EstimatorConfig, Box<dyn Error>> {
        let classes: BTreeSet<u8> =
            training.iter().flat_map(|slice| &slice.truth).copied().filter(|&label| label != 0).collect();
        if let Some(label) = self.label.iter().find(|label| !classes.contains(label)) {
            return Err(format!("no training case holds label {label}, they hold {classes:?}").into());
        }
        let labels: Vec<u8> =
            if self.label.is_empty() { classes.iter().copied().collect() } else { self.label.clone() };
        let framing = Framing::new(labels)
            .grid([self.size, self.size])
            .fitted(training.iter().map(|slice| slice.truth.view()));
        Ok(EstimatorConfig::new(Method::SecondOpinion, framing).classes(classes))
    }
}

fn read(what: &str, cases: &[&Case]) -> Result<Vec<TrueSlice>, Box<dyn Error>> {
    let bar = bar(cases.len() as u64, &format!("reading {what} cases"));
    let mut slices = Vec::new();
    for case in cases {
        let (image, labels) = case.read_volume()?;
        let Some(labels) = labels else { return Err(format!("case {} has no labels", case.id()).into()) };
        slices.extend(TrueSlice::of_volume(case.patient(), case.id(), &image, &labels)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if slices.is_empty() {
        return Err(format!("there are no {what} cases with labels").into());
    }
    Ok(slices)
}

/// Number of patients among slices.
#[must_use]
pub fn patients(slices: &[TrueSlice]) -> usize {
    slices.iter().map(|slice| slice.patient.as_str()).collect::<BTreeSet<_>>().len()
}

/// Shows the steps of a recipe: a line for each, a bar for what it does.
pub fn watch(bar: &Bar) -> impl FnMut(&PipelineProgress<'_>) -> ControlFlow<()> + '_ {
    let mut training = watch_training(bar);
    move |progress| {
        match progress {
            PipelineProgress::Step { name } => bar.line(&format!("{name} ...")),
            PipelineProgress::Training(event) => return training(event),
            PipelineProgress::Items { done, total } => {
                bar.set_length(*total as u64);
                bar.set_position(*done as u64);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
