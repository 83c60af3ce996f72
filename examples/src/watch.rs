//! The workflows of the library on a terminal: bars, lines, and the options that belong to an error.

use std::error::Error;
use std::ops::ControlFlow;

use lesio::io::{ReadError, ReadErrorKind};
use lesio::nn::Event;
use lesio::quality::{EstimateError, InputError};
use lesio::study::quality::QualityStudyError;
use lesio::study::{Notice, Observer, Step, StudyError, WorkflowError, explain};

use crate::invocation;
use crate::output::{note, one_line, warn};
use crate::progress::{Progress, bar};
use crate::say;

/// Shows a workflow: a bar for each step, and lines.
#[derive(Debug, Default)]
pub struct Watch {
    bar: Option<Progress>,
    is_silent: bool,
    /// Warnings so far: several models may be compared with the same cases.
    told: Vec<String>,
}

impl Watch {
    /// Shows bars and the epochs of a training, and no other line.
    #[must_use]
    pub fn bars() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// Prints a line beside the bar, if there is one.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.line(text),
            None => note(text),
        }
    }

    /// Prints a warning, unless it was printed before.
    fn warn_once(&mut self, text: String) {
        if !self.told.contains(&text) {
            warn(&text);
            self.told.push(text);
        }
    }
}

impl Observer for Watch {
    fn begin(&mut self, step: &Step, parts: usize) {
        self.bar = Some(bar(parts as u64, &step.to_string()));
    }

    fn advance(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    fn end(&mut self) {
        self.bar = None;
    }

    fn training(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match &self.bar {
            Some(bar) => watch_training(bar)(event),
            None => ControlFlow::Continue(()),
        }
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::ReplacingResults { .. } => invocation::forget(),
            _ if self.is_silent => {}
            Notice::TrainingData(data) => {
                say!(
                    "{} normal slices of {} cases to train on, {} of {} to validate",
                    data.training.normal_slices,
                    data.training.cases,
                    data.validation.normal_slices,
                    data.validation.cases
                );
                if data.validation.normal_slices == 0 {
                    warn(
                        "no normal slice is left to validate: the last epoch is kept, and the model gets no thresholds",
                    );
                }
            }
            Notice::CaseLeftOut { error } => self.line(&explain(*error)),
            Notice::ComputingFigures => self.line("computing figures and their intervals"),
            Notice::OtherChannel { model, cases } => self.warn_once(format!(
                "the model was trained on images called {model}, and these are called {cases}: they may be of another \
                 contrast"
            )),
            Notice::UnnamedChannels { model } => self.warn_once(format!(
                "channels have no names: taken as {}, in this order; --channels names them",
                model.join(", ")
            )),
            Notice::PredictorChosen { choice } => say!("{choice}"),
            Notice::CaseDone { case, folder } => {
                self.line(&format!("{}: results in {}", one_line(case), one_line(&folder.to_string_lossy())));
            }
            Notice::CasesKept { kept, cases } => {
                self.line(&format!("{kept} of {cases} cases are kept from an earlier run"));
            }
            Notice::CaseFailed { case, error } => {
                self.line(&format!("{}: {}", one_line(case), self.explain(*error)));
            }
            Notice::ModelBegins { domain, model } => say!("{domain}, {model}"),
            Notice::ModelLeftOut { domain, model } => say!("no time left for {domain}, {model}"),
            _ => {}
        }
    }

    fn explain(&self, error: &(dyn Error + 'static)) -> String {
        error.downcast_ref().and_then(by_option).unwrap_or_else(|| explain(error))
    }
}

/// An error of a workflow in the words of the options that cause or avoid it.
#[must_use]
pub fn by_option(error: &WorkflowError) -> Option<String> {
    Some(match error {
        WorkflowError::Study(StudyError::Repeated { what: "predictor to map by", name }) => {
            format!("--predictor names {name} twice")
        }
        WorkflowError::TooFewNormals { level, needed, subjects } => format!(
            "--family-wise {level} needs {needed} normal subjects, the model was calibrated on {subjects}"
        ),
        WorkflowError::OtherFiles { .. } => format!("{error}, with --overwrite in place of --resume"),
        WorkflowError::ResultsInData { folder, data } => {
            let (folder, data) = (folder.display(), data.display());
            format!("--out {folder} lies in {data}: its results would be read as data")
        }
        WorkflowError::Exists { path } => format!("{} exists; --overwrite replaces it", path.display()),
        WorkflowError::Quality(error @ QualityStudyError::Memory { .. }) => {
            format!("{error}; --max-memory raises it")
        }
        WorkflowError::Quality(own) if is_of_names(own) => {
            format!("{}; --channels names the channels of the files", explain(error))
        }
        WorkflowError::NoChannelMaps { .. } => format!("--by-channel: {error}"),
        WorkflowError::NoLesionsToChooseBy => {
            "--save-choice needs lesions, and the validation split has none".to_owned()
        }
        WorkflowError::OtherBudget { path, difference } => {
            let path = path.display();
            format!("{path} was made with another budget: {difference}; choose another --out, or remove it")
        }
        _ => match read_error(error)?.kind() {
            ReadErrorKind::UnexpectedRank { shape, .. } if shape.len() == 4 => {
                format!(
                    "{}; --channels-last-axis reads the fourth axis of images as channels",
                    explain(error)
                )
            }
            _ => return None,
        },
    })
}

/// Whether channels have other names than those of a model of quality.
fn is_of_names(error: &QualityStudyError) -> bool {
    match error {
        QualityStudyError::Case { source, .. } | QualityStudyError::File { source, .. } => {
            is_of_names(source)
        }
        QualityStudyError::Input(InputError::Names(_))
        | QualityStudyError::Estimate(EstimateError::Input(InputError::Names(_))) => true,
        _ => false,
    }
}

/// The error of a file of a case, if it is one.
fn read_error(error: &WorkflowError) -> Option<&ReadError> {
    match error {
        WorkflowError::Study(StudyError::Read { source, .. }) => Some(source),
        WorkflowError::Quality(error) => read_error_of_quality(error),
        _ => None,
    }
}

fn read_error_of_quality(error: &QualityStudyError) -> Option<&ReadError> {
    match error {
        QualityStudyError::Read(error) => Some(error),
        QualityStudyError::Case { source, .. } | QualityStudyError::File { source, .. } => {
            read_error_of_quality(source)
        }
        _ => None,
    }
}

/// Shows a training: a bar that moves with each update, and a line for each epoch.
pub fn watch_training(bar: &Progress) -> impl FnMut(&Event<'_>) -> ControlFlow<()> + '_ {
    move |event| {
        match event {
            Event::Step { step, steps, terms, gradient_norm, throughput, .. } => {
                bar.set_length(*steps);
                bar.set_position(step + 1);
                let loss = terms.total;
                bar.set_message(format!("loss {loss:.4} |g| {gradient_norm:.1e} {throughput:.0}/s"));
            }
            Event::Skipped { step, loss, gradient_norm } => {
                bar.line(&format!("update {step} skipped: loss {loss}, gradient norm {gradient_norm}"));
            }
            Event::Epoch { record, epochs, best } => {
                let validation = match &record.validation {
                    Some(terms) => {
                        // What a validation alone measures, such as the detection of real lesions.
                        let alone =
                            terms.parts.iter().filter(|(name, _)| record.training.part(name).is_none());
                        let alone: String =
                            alone.map(|(name, value)| format!(", {name} {value:.4}")).collect();
                        format!(", validation {:.5}{alone}", terms.total)
                    }
                    None => String::new(),
                };
                let parts: Vec<String> =
                    record.training.parts.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                let mark = if *best { " *" } else { "" };
                let (epoch, training) = (record.epoch + 1, record.training.total);
                let parts = parts.join(", ");
                bar.line(&format!(
                    "epoch {epoch:>3}/{epochs}: training {training:.5} ({parts}){validation}{mark}"
                ));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use lesio::image::{Geometry, Volume};
    use lesio::io::WriteOptions;
    use lesio::io::dataset::{Dataset, Layout};
    use lesio::study::Subject;

    use super::*;

    #[test]
    fn errors_name_the_options_that_avoid_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        let volume = Volume::new(
            ndarray::Array3::from_elem((2, 2, 4), 1.5_f32),
            Geometry::from_spacing([1.0; 3]).unwrap(),
        );
        let mut bytes = WriteOptions::new().to_bytes(&volume).unwrap();
        // The header's dimensions: four, of two each.
        for (place, size) in [4_i16, 2, 2, 2, 2].into_iter().enumerate() {
            bytes[40 + 2 * place..42 + 2 * place].copy_from_slice(&size.to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        let data = Dataset::open(&path, &Layout::Images).unwrap();
        let error = WorkflowError::from(Subject::read(&data.cases()[0]).unwrap_err());
        let told = by_option(&error).unwrap();
        assert!(told.contains("shape is [2, 2, 2, 2]"), "{told}");
        assert!(
            told.ends_with("; --channels-last-axis reads the fourth axis of images as channels"),
            "{told}"
        );
        let (path, difference) = ("cell.json".into(), "epochs is 1, expected 2".to_owned());
        assert_eq!(
            by_option(&WorkflowError::OtherBudget { path, difference }).unwrap(),
            "cell.json was made with another budget: epochs is 1, expected 2; choose another --out, or remove it"
        );
    }

    #[test]
    fn a_warning_is_told_once() {
        let (mut watch, model) = (Watch::default(), ["flair", "t1c"].map(str::to_owned));
        for _ in 0..2 {
            watch.notice(&Notice::UnnamedChannels { model: &model });
        }
        assert_eq!(
            watch.told,
            ["channels have no names: taken as flair, t1c, in this order; --channels names them"]
        );
    }
}
