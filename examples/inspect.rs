//! Describes a file and what is wrong with it.
//!
//! `cargo run --release --example inspect -- flair.nii.gz`
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::io::{AffineSource, Escaped};
use lesio::study::{InspectConfig, explain, inspect};
use lesio_examples::choices::affine_sources;
use lesio_examples::output::json_line;
use lesio_examples::reading::gibibytes;
use lesio_examples::{model_path, parse, run};
use serde_json::json;

/// Describe a file: header, geometry, values, and the first problem, if there is one.
///
/// Reads NIfTI (.nii, .hdr, .img, also with .gz), PNG, JPEG, TIFF, BMP, and lesio's model files, which are loaded
/// exactly as other programs load them. The exit code is 1 for a file that cannot be read.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// The file; of a model also its folder
    file: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Source of the affine in a NIfTI header: auto uses the sform if its code is above 0, else the qform
    #[arg(long, default_value = "auto", value_parser = affine_sources())]
    affine: AffineSource,
    /// Memory limit for reading, in GiB. Of a NIfTI file whose values need more as 32-bit floats, only the header is
    /// read; for other files that need more, reading fails
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    max_memory: u64,
}

fn main() -> ExitCode {
    let args = parse::<Args>();
    let config = InspectConfig::default().affine(args.affine);
    let config = config.max_bytes(args.max_memory).limit_name("--max-memory");
    let model = model_path(&args.file);
    let file = if model.is_file() { &model } else { &args.file };
    let (text, code) = match (inspect(file, &config), args.json) {
        (Ok(found), false) => (found.to_text(), ExitCode::SUCCESS),
        (Ok(found), true) => (json_line(&found.to_json()), ExitCode::SUCCESS),
        (Err(error), false) => {
            let mut message = Escaped(explain(&error)).to_string();
            if file.is_dir() {
                message += "; the folder contains no model.safetensors";
            }
            return run(|| Err(message.into()));
        }
        (Err(error), true) => {
            let fault = json!({"kind": error.kind(), "message": explain(&error)});
            (json_line(&json!({"reads": false, "error": fault})), ExitCode::FAILURE)
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that closes the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            run(|| Err(format!("could not write to the standard output: {error}").into()))
        }
        _ => code,
    }
}
