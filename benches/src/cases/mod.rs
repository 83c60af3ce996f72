//! The measured cases by name.

mod networks;
mod science;

use std::path::Path;

use lesio_nn::{Device, Precision};

use crate::Result;
use crate::networks::Normalization;
use crate::sgemm::Sgemm;
use crate::tensors::Tensors;

pub use networks::export;
use networks::{ImportedForward, UNetTraining, VaeForward, VaeInputGradient, VaeTraining, Weights};
use science::{Aupro, Labelling, Median2d, Median3d, Ranking, ReadNifti};

/// One piece of work with its data prepared.
pub trait Case {
    /// Does the work once, into buffers that are there.
    ///
    /// # Errors
    /// Whatever the library that does the work reports.
    fn run(&mut self) -> Result<()>;

    /// What the work gives, to be compared with others' results; for a fresh case.
    ///
    /// # Errors
    /// Those of [`Case::run`].
    fn outputs(&mut self) -> Result<Tensors>;

    /// Multiply-adds of convolutions, linear layers and matrix products in one run; `None` where
    /// they are not what the time goes into.
    fn multiply_adds(&self) -> Option<u64> {
        None
    }
}

type Make = fn(&Path, &Device) -> Result<Box<dyn Case>>;

use Precision::{Bfloat16, Single};

const CASES: [(&str, Make); 21] = [
    ("vae-train-32", |data, on| Ok(Box::new(VaeTraining::new(data, 32, Weights::Initial, Single, on)?))),
    ("vae-forward-32", |data, on| Ok(Box::new(VaeForward::new(data, 32, Single, on)?))),
    ("vae-input-gradient-1", |data, on| {
        Ok(Box::new(VaeInputGradient::new(data, 1, Weights::Initial, Single, on)?))
    }),
    ("vae-input-gradient-16", |data, on| {
        Ok(Box::new(VaeInputGradient::new(data, 16, Weights::Initial, Single, on)?))
    }),
    ("unet-train-8", |data, on| {
        Ok(Box::new(UNetTraining::new(data, 8, Normalization::None, Weights::Initial, on)?))
    }),
    ("unet-gn-train-8", |data, on| {
        Ok(Box::new(UNetTraining::new(data, 8, Normalization::Group, Weights::Initial, on)?))
    }),
    ("vae-forward-1-onnx", |data, on| Ok(Box::new(VaeForward::new(data, 1, Single, on)?))),
    ("vae-forward-32-onnx", |data, on| Ok(Box::new(VaeForward::new(data, 32, Single, on)?))),
    ("onnx-unet-1", |data, on| Ok(Box::new(ImportedForward::new(data, 1, on)?))),
    ("onnx-unet-8", |data, on| Ok(Box::new(ImportedForward::new(data, 8, on)?))),
    ("vae-train-32-bf16", |data, on| {
        Ok(Box::new(VaeTraining::new(data, 32, Weights::Initial, Bfloat16, on)?))
    }),
    ("vae-forward-32-bf16", |data, on| Ok(Box::new(VaeForward::new(data, 32, Bfloat16, on)?))),
    ("vae-input-gradient-1-bf16", |data, on| {
        Ok(Box::new(VaeInputGradient::new(data, 1, Weights::Initial, Bfloat16, on)?))
    }),
    ("vae-input-gradient-16-bf16", |data, on| {
        Ok(Box::new(VaeInputGradient::new(data, 16, Weights::Initial, Bfloat16, on)?))
    }),
    ("metric-auroc-ap", |data, _| Ok(Box::new(Ranking::new(data)?))),
    ("metric-aupro", |data, _| Ok(Box::new(Aupro::new(data)?))),
    ("filter-median-2d", |data, _| Ok(Box::new(Median2d::new(data)?))),
    ("filter-median-3d", |data, _| Ok(Box::new(Median3d::new(data)?))),
    ("filter-components", |data, _| Ok(Box::new(Labelling::new(data)?))),
    ("read-nifti-gz", |data, _| Ok(Box::new(ReadNifti::new(data)?))),
    ("sgemm", |_, _| Ok(Box::new(Sgemm::new()))),
];

/// Names of all cases.
pub const NAMES: [&str; CASES.len()] = {
    let mut names = [""; CASES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = CASES[index].0;
        index += 1;
    }
    names
};

/// The case of a name, with its data from a folder. Networks are computed on the device.
///
/// # Errors
/// An unknown name, data that are not there, or a precision that the device does not have.
pub fn prepare(name: &str, data: &Path, device: &Device) -> Result<Box<dyn Case>> {
    let (_, make) = CASES
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| format!("no case {name:?}, expected one of {}", NAMES.join(", ")))?;
    make(data, device)
}

/// Reads `NAME.safetensors` of a folder.
fn read(data: &Path, name: &str) -> Result<Tensors> {
    Tensors::read(&data.join(format!("{name}.safetensors")))
}
