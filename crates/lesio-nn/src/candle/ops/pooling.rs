//! Pooling over windows that do not overlap.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use lesio_kernels::{self as kernels, Border, Combine, Pooling};

use super::tensors::{Held, Size, images_from_images, pass, with_values};

pub(super) struct Pool {
    pub(super) pooling: Pooling,
    pub(super) window: [usize; 2],
}

impl Pool {
    fn output(&self, input: Size) -> Result<Size> {
        let [rows, columns] = self.window;
        let [height, width] = input.pixels;
        match (height.checked_div(rows), width.checked_div(columns)) {
            (Some(height), Some(width)) if height > 0 && width > 0 => {
                Ok(Size { pixels: [height, width], ..input })
            }
            _ => candle_core::bail!("a window of {rows}x{columns} does not fit images of {height}x{width}"),
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "lesio-pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.output(Size::of(layout.shape())?)?;
        images_from_images(storage, layout, output, |workers, samples, from, to| {
            kernels::pool(workers, samples, self.pooling, self.window, from, to)
        })
    }

    fn bwd(&self, image: &Tensor, pooled: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (input, output) = (Size::of(image.shape())?, Size::of(pooled.shape())?);
        let (large, small) = (input.layout(Border::NONE)?, output.layout(Border::NONE)?);
        let samples = input.samples;
        let by_image = with_values([image, pooled, gradient], |[image, pooled, gradient]| {
            pass(|workers| {
                let source = Held::read(workers, samples, large, image)?;
                let pooled = Held::read(workers, samples, small, pooled)?;
                let from = Held::read(workers, samples, small, gradient)?;
                let mut to = Held::zeros(samples, large)?;
                kernels::pool_gradient(
                    workers,
                    samples,
                    self.pooling,
                    self.window,
                    source.from(),
                    pooled.from(),
                    from.from(),
                    to.to(),
                    Combine::Replace,
                    None,
                )?;
                to.planes(workers)
            })
        })?;
        Tensor::from_vec(by_image, image.shape(), image.device()).map(Some)
    }
}
