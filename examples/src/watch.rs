//! The workflows of the library on a terminal: bars, lines, and the options that belong to an error.

use std::error::Error;
use std::ops::ControlFlow;

use lesio::nn::Event;
use lesio::study::quality::QualityStudyError;
use lesio::study::{Notice, Observer, Step, StudyError, WorkflowError, explain};

use crate::output::{note, one_line, warn};
use crate::progress::{Progress, bar};
use crate::say;

/// Shows a workflow: a bar for each step, and lines.
#[derive(Debug, Default)]
pub struct Watch {
    bar: Option<Progress>,
    is_silent: bool,
}

impl Watch {
    /// Shows bars and the epochs of a training, and no other line.
    #[must_use]
    pub fn bars() -> Self {
        Self { bar: None, is_silent: true }
    }

    /// Prints a line beside the bar, if there is one.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.line(text),
            None => note(text),
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
            Notice::OtherChannel { model, cases } => warn(&format!(
                "the model was trained on images called {model}, and these are called {cases}: they may be of another \
                 contrast"
            )),
            Notice::PredictorChosen { choice } => say!("{choice}"),
            Notice::CaseDone { case, folder } => {
                self.line(&format!("{}: results in {}", one_line(case), one_line(&folder.to_string_lossy())));
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
        WorkflowError::ResultsInData { folder, data } => {
            let (folder, data) = (folder.display(), data.display());
            format!("--out {folder} lies in {data}: its results would be read as data")
        }
        WorkflowError::Exists { path } => format!("{} exists; --overwrite replaces it", path.display()),
        WorkflowError::Quality(error @ QualityStudyError::Memory { .. }) => {
            format!("{error}; --max-memory raises it")
        }
        WorkflowError::NoChannelMaps { .. } => format!("--by-channel: {error}"),
        WorkflowError::NoLesionsToChooseBy => {
            "--save-choice needs lesions, and the validation split has none".to_owned()
        }
        WorkflowError::OtherBudget { path } => {
            format!("{} was made with another effort; choose another --out, or remove it", path.display())
        }
        _ => return None,
    })
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
