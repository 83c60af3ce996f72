//! Between candle's tensors and the kernels' images.

use candle_core::{CpuStorage, Error, Layout, Result, Shape, Tensor};
use lesio_kernels::{
    self as kernels, Border, Buffer, Combine, ImageLayout, Images, ImagesMut, Isa, KernelError, Workers,
    with_workers,
};

/// The values of a tensor's storage, which the functions above made contiguous.
pub(super) fn values<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("the kernels take f32, got {:?}", storage_type(storage))
    };
    let range = layout.contiguous_offsets().and_then(|(from, to)| values.get(from..to));
    range.ok_or_else(|| Error::msg("the kernels take contiguous tensors"))
}

fn storage_type(storage: &CpuStorage) -> candle_core::DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Calls `work` with the values of tensors.
pub(super) fn with_values<R, const N: usize>(
    tensors: [&Tensor; N],
    work: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let tensors = tensors.map(Tensor::contiguous);
    let mut held = Vec::with_capacity(N);
    for tensor in &tensors {
        match tensor {
            Ok(tensor) => held.push(tensor.storage_and_layout()),
            Err(error) => return Err(Error::msg(error)),
        }
    }
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&held) {
        let candle_core::Storage::Cpu(storage) = &**storage else {
            candle_core::bail!("the kernels run on the CPU alone")
        };
        *slice = values(storage, layout)?;
    }
    work(slices)
}

/// Number, channels and size of images.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) samples: usize,
    pub(super) channels: usize,
    pub(super) pixels: [usize; 2],
}

impl Size {
    pub(super) fn of(shape: &Shape) -> Result<Self> {
        let (samples, channels, height, width) = shape.dims4()?;
        Ok(Self { samples, channels, pixels: [height, width] })
    }

    pub(super) fn shape(self) -> Shape {
        Shape::from((self.samples, self.channels, self.pixels[0], self.pixels[1]))
    }

    pub(super) fn layout(self, border: Border) -> Result<ImageLayout> {
        ImageLayout::new(self.channels, self.pixels[0], self.pixels[1], border).map_err(Error::wrap)
    }
}

/// Images in the kernels' order.
pub(super) struct Held {
    samples: usize,
    layout: ImageLayout,
    buffer: Buffer,
}

impl Held {
    pub(super) fn zeros(samples: usize, layout: ImageLayout) -> std::result::Result<Self, KernelError> {
        Ok(Self { samples, layout, buffer: Buffer::zeros(layout.len(samples)?) })
    }

    pub(super) fn read(
        workers: &Workers<'_>,
        samples: usize,
        layout: ImageLayout,
        planes: &[f32],
    ) -> std::result::Result<Self, KernelError> {
        let mut held = Self::zeros(samples, layout)?;
        kernels::from_planes(workers, samples, planes, held.to(), Combine::Replace)?;
        Ok(held)
    }

    pub(super) fn from(&self) -> Images<'_> {
        Images::new(&self.buffer, &self.layout)
    }

    pub(super) fn to(&mut self) -> ImagesMut<'_> {
        ImagesMut::new(&mut self.buffer, &self.layout)
    }

    pub(super) fn planes(&self, workers: &Workers<'_>) -> std::result::Result<Vec<f32>, KernelError> {
        let mut planes = vec![0.0; self.layout.values() * self.samples];
        kernels::to_planes(workers, self.samples, self.from(), &mut planes)?;
        Ok(planes)
    }
}

/// Runs a pass on the threads of the current pool.
pub(super) fn pass<R: Send>(
    work: impl FnOnce(&Workers<'_>) -> std::result::Result<R, KernelError> + Send,
) -> Result<R> {
    with_workers(Isa::best(), work).map_err(Error::wrap)
}

/// Images computed from one tensor of images, which lies in `storage`; `work` takes their number too.
pub(super) fn images_from_images<W>(
    storage: &CpuStorage,
    layout: &Layout,
    output: Size,
    work: W,
) -> Result<(CpuStorage, Shape)>
where
    W: FnOnce(&Workers<'_>, usize, Images<'_>, ImagesMut<'_>) -> std::result::Result<(), KernelError> + Send,
{
    let input = Size::of(layout.shape())?;
    let image = values(storage, layout)?;
    let (from, to) = (input.layout(Border::NONE)?, output.layout(Border::NONE)?);
    let planes = pass(|workers| {
        let from = Held::read(workers, input.samples, from, image)?;
        let mut to = Held::zeros(input.samples, to)?;
        work(workers, input.samples, from.from(), to.to())?;
        to.planes(workers)
    })?;
    Ok((CpuStorage::F32(planes), output.shape()))
}
