//! Scores several co-registered channels as one scan, and computes a map for all together and one for each.
//!
//! `cargo run --release --example multichannel -- flair.nii.gz t1c.nii.gz`

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use lesio::anomaly::PostProcessing;
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::prelude::*;
use lesio_examples::{Outcome, explain, parse, run, say};

/// Score several co-registered channels as one scan, together and one by one
#[derive(Parser)]
struct Args {
    /// NIfTI files, one per channel; by default, a synthetic head in two contrasts
    files: Vec<String>,
}

/// The channels of a scan.
fn scan(Args { files }: Args) -> Result<Scan, Box<dyn Error>> {
    if !files.is_empty() {
        let volumes = files.iter().map(read_volume).collect::<Result<Vec<_>, _>>()?;
        let scan =
            Scan::joined(volumes).map_err(|error| format!("{}: {}", files.join(", "), explain(&error)))?;
        return Ok(scan.with_names(files)?);
    }
    let contrast = |contrast| -> Result<Volume, Box<dyn Error>> {
        Ok(BrainPhantom::new(BrainConfig::new([64, 64], contrast, 3).slices(6))?.volume(0)?.image)
    };
    Ok(Scan::joined(vec![contrast(Contrast::Flair)?, contrast(Contrast::T1)?])?
        .with_names(["flair", "t1"])?)
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let scan = scan(parse())?;
    // The intensities of each channel are standardized separately.
    let preprocessing = Preprocessing::heads([64, 64]).fit([&scan])?;
    let config = VaeConfig::new(scan.channels(), 64, 64).widths([8, 16]);
    let model = Model::Vae(Vae::new(config, 1.0, 7, &Device::Cpu)?.into());
    let localizer = Localizer::new(model, preprocessing, Provenance::new(7, "untrained"))?
        .with_postprocessing(PostProcessing::default().median(3.0, 3.0, 3.0))
        .with_channel_names(scan.names().to_vec())?;

    let scored = localizer.score(&scan, &[PredictorName::PixelL1])?;
    let mean = |map: &Volume| f64::from(map.data().sum()) / map.data().len() as f64;
    say!("pixel-l1 over all channels: {:.4} on average", mean(&scored.scores[0].raw));
    let channels = localizer.channel_maps(&scan, PredictorName::PixelL1)?.unwrap_or_default();
    for (name, map) in scan.names().iter().zip(&channels) {
        say!("pixel-l1 of {name}: {:.4} on average", mean(map));
    }
    Ok(())
}
