//! With the feature `cuda`: makes PTX of the kernels, by the compiler `nvcc` of the CUDA toolkit.

use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "src/candle/cuda/kernels.cu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "CUDA_HOME", "CUDA_COMPUTE_CAP", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed={KERNELS}");
    if let Err(problem) = compile() {
        println!("cargo::error=the kernels for CUDA cannot be compiled: {problem}");
    }
}

fn compile() -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let home = std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let found = home.filter(|nvcc| nvcc.is_file()).unwrap_or_else(|| PathBuf::from("nvcc"));
    let nvcc = std::env::var_os("NVCC").map_or(found, PathBuf::from);
    // PTX of an earlier generation serves later ones. 75 is the oldest that the toolkit 13 knows.
    let generation = variable("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "75".to_owned());
    let out = PathBuf::from(variable("OUT_DIR")?).join("kernels.ptx");
    let mut command = Command::new(&nvcc);
    command.args(["-ptx", "-O3", &format!("-arch=compute_{generation}"), KERNELS, "-o"]).arg(&out);
    let output = command.output().map_err(|error| format!("{} cannot be run: {error}", nvcc.display()))?;
    match output.status.success() && out.is_file() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).replace('\n', " "))),
    }
}
