//! Upsampling by whole factors.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use lesio_kernels::{self as kernels, Border, Combine, Upsampling};

use super::tensors::{Held, Size, images_from_images, pass, with_values};

pub(super) struct Upsample {
    pub(super) upsampling: Upsampling,
    pub(super) factor: usize,
}

impl Upsample {
    fn output(&self, input: Size) -> Result<Size> {
        let [height, width] = input.pixels.map(|size| size.checked_mul(self.factor));
        match (height, width) {
            (Some(height), Some(width)) if self.factor > 0 => Ok(Size { pixels: [height, width], ..input }),
            _ => candle_core::bail!("images {:?} cannot be enlarged {} times", input.pixels, self.factor),
        }
    }
}

impl CustomOp1 for Upsample {
    fn name(&self) -> &'static str {
        "lesio-upsample"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.output(Size::of(layout.shape())?)?;
        images_from_images(storage, layout, output, |workers, samples, from, to| {
            kernels::upsample(workers, samples, self.upsampling, self.factor, from, to)
        })
    }

    fn bwd(&self, image: &Tensor, enlarged: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (input, output) = (Size::of(image.shape())?, Size::of(enlarged.shape())?);
        let (small, large) = (input.layout(Border::NONE)?, output.layout(Border::NONE)?);
        let samples = input.samples;
        let by_image = with_values([gradient], |[gradient]| {
            pass(|workers| {
                let from = Held::read(workers, samples, large, gradient)?;
                let mut to = Held::zeros(samples, small)?;
                let (upsampling, factor) = (self.upsampling, self.factor);
                let replace = Combine::Replace;
                kernels::upsample_gradient(
                    workers,
                    samples,
                    upsampling,
                    factor,
                    from.from(),
                    to.to(),
                    replace,
                    None,
                )?;
                to.planes(workers)
            })
        })?;
        Tensor::from_vec(by_image, image.shape(), image.device()).map(Some)
    }
}
