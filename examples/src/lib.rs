//! Code shared by lesio's example programs: arguments, progress bars, and the display of errors.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod brains;
pub mod burgess;
pub mod choices;
pub mod cohort;
pub mod data;
pub mod device;
pub mod drawn;
pub mod evaluation;
pub mod filters;
pub mod grades;
pub mod hearts;
pub mod importing;
pub mod inputs;
pub mod invocation;
pub mod labeled;
pub mod layouts;
pub mod models;
pub mod output;
pub mod progress;
pub mod quality;
pub mod reading;
pub mod training;
pub mod watch;

use std::error::Error;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use arguments::{command, stamp, stamped};
pub use data::{DataArgs, is_manifest};
pub use device::DeviceArgs;
pub use invocation::parse;
pub use layouts::LayoutArgs;
use lesio::study::FailedCase;
pub use lesio::study::{check_folder, explain, prepare_folder};
pub use progress::{Progress, bar};
pub use reading::ReadArgs;
pub use watch::{Watch, by_option, watch_training};

/// The result of a program.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The error of a program that wrote its results, but left cases out.
#[derive(Debug)]
pub struct LeftOut(pub String);

impl Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for LeftOut {}

/// The result of a program that may have left cases out.
///
/// # Errors
/// If there are any; the message states their number.
pub fn left_out(failed: &[FailedCase]) -> Outcome {
    let text = match failed {
        [] => return Ok(()),
        [only] => format!("case {} was left out: {}", output::one_line(&only.id), only.error),
        several => format!("{} cases were left out, see above and report.json", several.len()),
    };
    Err(LeftOut(text).into())
}

/// Runs a program. Shows the warnings of the libraries, prints an error with all its causes, and returns a failing exit
/// code for an error.
pub fn run(program: impl FnOnce() -> Outcome) -> ExitCode {
    output::show_warnings();
    let outcome = arguments::check_text(std::env::args_os()).map_err(Into::into).and_then(|()| program());
    let has_results = outcome.as_ref().err().is_none_or(|error| error.is::<LeftOut>());
    let saved = if has_results { invocation::save() } else { Ok(()) };
    let outcome = outcome.and(saved);
    output::count_hidden_warnings();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(text) = error.downcast_ref().and_then(by_option) {
                output::note(&format!("error: {text}"));
                return ExitCode::FAILURE;
            }
            output::note(&format!("error: {error}"));
            let mut cause = error.source();
            while let Some(inner) = cause {
                output::note(&format!("  because: {inner}"));
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns the path of a model file: the given path, or `model.safetensors` in it if it is a folder.
#[must_use]
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() }
}
