//! Arguments and progress display shared by the segmentation quality programs.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lesio::quality::{Method, PipelineConfig, PipelineProgress};
use lesio::study::quality::{QualityData, QualityDataConfig, QualityProgress, UngradedCase};

use crate::cohort::CohortArgs;
use crate::invocation::is_given;
use crate::labeled::LabeledDataArgs;
use crate::output::{note, one_line, warn};
use crate::{DeviceArgs, LeftOut, Outcome, Progress as Bar, bar, watch_training};

/// Training data and budget of a quality estimator.
#[derive(Clone, Debug, clap::Args)]
pub struct QualityArgs {
    /// The data set
    #[command(flatten)]
    pub data: LabeledDataArgs,
    /// Labels whose quality is predicted, separated by commas; by default all labels in the training data
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..))]
    pub label: Vec<u8>,
    /// Rows and columns of the networks' grid: a multiple of 16, from 16 to 1024
    #[arg(long, default_value_t = 48, value_parser = grid_side)]
    pub size: usize,
    /// Folders with segmentations of the training patients by your own networks, separated by commas. Each folder holds
    /// files CASE.nii.gz (for pictures CASE.png) or further such folders. The segmentations are used for training in addition to generated
    /// ones; `train_quality` then corrects estimates and calibrates intervals on those of the held-out patients. The
    /// networks must not have been trained on these patients. All segmentations are checked before the training begins
    #[arg(long, value_delimiter = ',', value_name = "FOLDERS")]
    pub predictions: Vec<PathBuf>,
    /// Scales all trainings: 85 takes about that many minutes on two cores, 11 about 20, and 1 about 4, since each
    /// training passes over its samples at least once. With less than 1.4 there are also fewer samples. The same value
    /// gives the same results on any machine
    #[arg(long, default_value_t = DEFAULT_MINUTES, value_parser = minutes)]
    pub budget_minutes: f64,
    /// Steps of the attacks in the adversarial training of the second opinion. With 2, training takes 1.5 times as
    /// long; the estimator is then more robust to attacks of many steps, but less accurate on clean images and under
    /// one step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub attack_steps: u8,
    /// Seed of splits, candidates and training
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where networks are computed.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Minutes that all trainings take with the default settings.
pub const DEFAULT_MINUTES: f64 = 85.0;

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= MOST_MINUTES => Ok(minutes),
        _ => Err(format!("expected a number of minutes above 0, of at most {MOST_MINUTES}")),
    }
}

/// The networks halve their grid four times.
const GRID_STEP: usize = 16;

fn grid_side(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(side) if (GRID_STEP..=1024).contains(&side) && side.is_multiple_of(GRID_STEP) => Ok(side),
        _ => Err(format!("expected a multiple of {GRID_STEP} from {GRID_STEP} to 1024")),
    }
}

/// A week and a half of training: a larger value is a typing error.
const MOST_MINUTES: f64 = 15_000.0;

impl QualityArgs {
    /// The configuration of the candidates and of the trainings.
    #[must_use]
    pub fn pipeline(&self) -> PipelineConfig {
        let mut pipeline = PipelineConfig::new(self.seed).scaled(self.budget_minutes / DEFAULT_MINUTES);
        let steps = usize::from(self.attack_steps);
        pipeline.finishing.steps = pipeline.finishing.steps.max(steps);
        pipeline.adversarial.steps = steps;
        pipeline
    }

    /// Warns of arguments that the training of this method does not use.
    pub fn warn_of_unused(&self, method: Method) {
        if method != Method::SecondOpinion && is_given("attack-steps") {
            warn("--attack-steps has no effect here: it is for --method second-opinion");
        }
    }

    /// Reads the data set and splits its patients; with `test_data`, test patients come from that folder.
    ///
    /// # Errors
    /// Those of [`QualityDataConfig::read`].
    pub fn read(&self, test_data: Option<&Path>) -> Result<QualityData, Box<dyn Error>> {
        Ok(self.config()?.read(&self.data.data, test_data, &mut watch("reading"))?)
    }

    /// Reads the data without the test patients, who are for `evaluate_quality` and `study_quality`.
    ///
    /// # Errors
    /// Those of [`QualityDataConfig::read_training`].
    pub fn read_training(&self) -> Result<QualityData, Box<dyn Error>> {
        Ok(self.config()?.read_training(&self.data.data, &mut watch("reading"))?)
    }

    fn config(&self) -> Result<QualityDataConfig, String> {
        let config = self.data.config(self.seed)?.labels(self.label.clone()).size(self.size);
        Ok(config.predictions(self.predictions.clone()))
    }
}

/// Shows the progress of quality workflows: a bar for counted work, and a line for each step of the pipeline. The bar
/// of the pipeline has the given name.
pub fn watch(pipeline: &str) -> impl FnMut(&QualityProgress<'_>) -> ControlFlow<()> {
    let mut shown: Option<Bar> = None;
    move |progress| {
        match progress {
            QualityProgress::Begin { what, total } => {
                drop(shown.take());
                shown = Some(bar(*total as u64, what));
            }
            QualityProgress::Advance { parts } => shown.iter().for_each(|bar| bar.inc(*parts as u64)),
            QualityProgress::End => drop(shown.take()),
            QualityProgress::LeftOut(failed) => {
                let text = format!("{}: {}", one_line(&failed.id), failed.error);
                shown.as_ref().map_or_else(|| note(&text), |bar| bar.line(&text));
            }
            QualityProgress::Pipeline(progress) => {
                let bar = shown.get_or_insert_with(|| bar(1, pipeline));
                match progress {
                    PipelineProgress::Step { name } => bar.line(&format!("{name} ...")),
                    PipelineProgress::Training(event) => return watch_training(bar)(event),
                    PipelineProgress::Items { done, total } => {
                        bar.set_length(*total as u64);
                        bar.set_position(*done as u64);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Arguments of `assess` that only --data uses.
const OF_FOLDERS: [&str; 4] = ["suffix", "derivative", "series", "workers"];

/// Warns of given arguments of `assess` that have no effect on a single image.
///
/// # Errors
/// For a shard, which is one of the cases of a folder.
pub fn check_one_image(cohort: &CohortArgs) -> Result<(), String> {
    if cohort.shard.is_some() {
        return Err("--shard divides the cases of --data".to_owned());
    }
    let resume = cohort.resume.then_some("resume");
    for name in OF_FOLDERS.into_iter().filter(|name| is_given(name)).chain(resume) {
        warn(&format!("--{name} has no effect here: it is for --data"));
    }
    Ok(())
}

/// The result of a program that may have left out cases or segmentations that could not be graded.
///
/// # Errors
/// If there are any; the message states the case, or their number.
pub fn ungraded(failed: &[UngradedCase]) -> Outcome {
    let text = match failed {
        [] => return Ok(()),
        [only] => format!("case {} was left out: {}", one_line(&only.id), only.error),
        several => {
            format!("{} cases or segmentations were left out, see above and report.json", several.len())
        }
    };
    Err(LeftOut(text).into())
}
