//! Compares lesio with tract on the small models of `crates/lesio-onnx/tests/golden`, operator by operator, and on whole
//! models. Prints the largest difference of each output, relative to its largest value, and fails if one is above 1e-5.
//!
//! Models that lesio or tract does not take are listed with the reason; they do not count as failures.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lesio_nn::{Device, Differentiate, Engine, Inference};
use lesio_onnx::OnnxModel;
use safetensors::SafeTensors;
use tract_onnx::prelude::*;

/// Models that tract computes otherwise than ONNX Runtime, whose values lesio's tests hold.
const TRACT_DIFFERS: [&str; 1] = ["resize_10"];
/// Largest difference of two runtimes, relative to the largest value.
const TOLERANCE: f32 = 1e-5;

fn main() -> ExitCode {
    match compare_all() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} models differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Compares all models; returns how many differ.
fn compare_all() -> Result<usize, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/lesio-onnx/tests/golden");
    let bytes = std::fs::read(folder.join("expected.safetensors"))?;
    let expected = SafeTensors::deserialize(&bytes)?;
    let mut models: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .collect();
    models.sort();
    let (mut wrong, mut compared) = (0, 0);
    for path in models {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, view)) =
            expected.iter().find(|(tensor, _)| tensor.starts_with(&format!("{name}/input/")))
        else {
            println!("{name:24} has no input");
            continue;
        };
        let x: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        let outcome = lesio(&path, &x).map_err(|error| format!("lesio: {error}"));
        let outcome = outcome.and_then(|own| {
            tract(&path, view.shape(), &x)
                .map(|other| (own, other))
                .map_err(|error| format!("tract: {error}"))
        });
        match outcome {
            Err(why) => println!("{name:24} not compared, {}", why.lines().next().unwrap_or_default()),
            Ok((own, other)) => {
                let off = own.iter().zip(&other).map(|(a, b)| difference(a, b)).fold(0.0, f32::max);
                let known = TRACT_DIFFERS.contains(&name.as_str());
                compared += 1;
                wrong += usize::from(!(off <= TOLERANCE) && !known);
                println!(
                    "{name:24} {off:.1e}{}",
                    if known { "  tract differs from ONNX Runtime" } else { "" }
                );
            }
        }
    }
    println!("{compared} models compared, tolerance {TOLERANCE:.0e}");
    Ok(wrong)
}

/// The outputs by lesio's engine.
fn lesio(path: &Path, x: &[f32]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let model = OnnxModel::read(path)?;
    let converted = model.network(&[], None)?;
    let samples = x.len() / converted.network.input_shapes()[0].len();
    let inference =
        Inference::new(&converted.network, &converted.parameters, Differentiate::Nothing, &Device::Cpu)?;
    let pass = inference.run(&[x], samples)?;
    Ok((0..model.outputs().len()).map(|index| pass.output(index).to_vec()).collect())
}

/// The outputs by tract.
fn tract(path: &Path, shape: &[usize], x: &[f32]) -> TractResult<Vec<Vec<f32>>> {
    let model = tract_onnx::onnx()
        .model_for_path(path)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let outputs: TVec<TValue> = model.run(tvec!(Tensor::from_shape(shape, x)?.into()))?;
    outputs.iter().map(|output| Ok(output.to_plain_array_view::<f32>()?.iter().copied().collect())).collect()
}

/// Largest difference, relative to the largest value; infinite for outputs of other lengths.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let largest = b.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}
