//! Models that are read from ONNX files.

use std::path::Path;

use lesio_nn::{Device, Differentiate, Engine, Inference};
use lesio_onnx::OnnxModel;

use super::data::first;
use super::image_shape;
use crate::Result;
use crate::cases::{Case, read};
use crate::networks::IMAGE;
use crate::tensors::Tensors;

/// A forward pass of the U-Net with group normalization, as it is read from its ONNX file.
pub(crate) struct ImportedForward {
    network: Inference,
    image: Vec<f32>,
    batch: usize,
}

impl ImportedForward {
    pub(crate) fn new(data: &Path, batch: usize, device: &Device) -> Result<Self> {
        let converted = OnnxModel::read(data.join("unet-gn.onnx"))?.network(&[], None)?;
        let network =
            Inference::new(&converted.network, &converted.parameters, Differentiate::Nothing, device)?;
        let image = first(&read(data, "inputs")?, "image", batch * IMAGE.len())?;
        Ok(Self { network, image, batch })
    }
}

impl Case for ImportedForward {
    fn run(&mut self) -> Result<()> {
        Ok(self.network.engine().forward(&[&self.image], self.batch)?)
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let pass = self.network.run(&[&self.image], self.batch)?;
        let mut tensors = Tensors::default();
        tensors.insert("reconstruction", &image_shape(self.batch), pass.output(0));
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.network.network().multiply_adds() * self.batch as u64)
    }
}
