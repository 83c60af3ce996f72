//! lesio's side of `peers/run`: does a case when told to, over and over, and says how long it took.
//!
//! `peers-worker DATA [DEVICE]` speaks the protocol described in `peers/worker.py`, with the one variant
//! `default`; `peers-worker --export DATA` writes the networks' parameters and inputs.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use lesio_benches::{Case, Result};
use lesio_nn::Device;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Request {
    Variants,
    Outputs { case: String, file: String },
    Prepare { case: String },
    Time { seconds: f64 },
    Memory { case: String },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Variants { variants: [&'static str; 1] },
    Nothing {},
    Prepared { multiply_adds: Option<u64> },
    Times { seconds: Vec<f64>, waited: f64 },
    Memory { bytes: u64 },
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--export", data] => lesio_benches::export(Path::new(data)),
        [data] => serve(Path::new(data), &Device::Cpu),
        [data, device] => serve(Path::new(data), &device.parse()?),
        _ => Err("usage: peers-worker --export DATA, or peers-worker DATA [DEVICE]".into()),
    }
}

fn serve(data: &Path, device: &Device) -> Result<()> {
    let mut prepared: Option<Box<dyn Case>> = None;
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&serde_json::from_str(&line?)?, data, device, &mut prepared)?;
        serde_json::to_writer(&answers, &answer)?;
        answers.write_all(b"\n")?;
        answers.flush()?;
    }
    Ok(())
}

fn answer(
    request: &Request,
    data: &Path,
    device: &Device,
    prepared: &mut Option<Box<dyn Case>>,
) -> Result<Answer> {
    Ok(match request {
        Request::Variants => Answer::Variants { variants: ["default"] },
        Request::Outputs { case, file } => {
            let outputs = lesio_benches::prepare(case, data, device)?.outputs()?;
            outputs.write(&file_path(data, file))?;
            Answer::Nothing {}
        }
        Request::Prepare { case } => {
            let case = prepared.insert(lesio_benches::prepare(case, data, device)?);
            for _ in 0..2 {
                case.run()?;
            }
            Answer::Prepared { multiply_adds: case.multiply_adds() }
        }
        Request::Time { seconds } => {
            time_block(prepared.as_deref_mut().ok_or("no case is prepared")?, *seconds)?
        }
        Request::Memory { case } => peak_growth(case, data, device)?,
    })
}

fn time_block(case: &mut dyn Case, seconds: f64) -> Result<Answer> {
    let mut times = Vec::new();
    let (waited, begin) = (lesio_benches::waited_seconds()?, Instant::now());
    while times.len() < 3 || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        case.run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    let wall = begin.elapsed().as_secs_f64();
    let waited = (lesio_benches::waited_seconds()? - waited) / wall;
    Ok(Answer::Times { seconds: times, waited })
}

fn peak_growth(case: &str, data: &Path, device: &Device) -> Result<Answer> {
    let before = lesio_benches::resident_bytes()?;
    lesio_benches::reset_peak()?;
    let mut case = lesio_benches::prepare(case, data, device)?;
    for _ in 0..3 {
        case.run()?;
    }
    Ok(Answer::Memory { bytes: lesio_benches::peak_bytes()?.saturating_sub(before) })
}

fn file_path(data: &Path, name: &str) -> PathBuf {
    data.join(format!("{name}.safetensors"))
}
