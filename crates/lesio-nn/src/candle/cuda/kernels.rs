//! Each kernel as a function of candle tensors, without gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::CudaView;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};

use super::launch::{Kernel, Spread, fill};

/// A window of a convolution over images `[n, channels, h, w]`, at `oh * ow` places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) image: [usize; 4],
    pub(super) out: [usize; 2],
}

/// How columns of several samples lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns {
    /// `[n, channels * kernel * kernel, oh * ow]`.
    BySample,
    /// `[channels * kernel * kernel, n * oh * ow]`.
    Joined,
}

impl Places {
    pub(super) fn taps(&self) -> usize {
        self.image[1] * self.kernel * self.kernel
    }

    pub(super) fn count(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// Whether the columns are the image itself.
    pub(super) fn is_identity(&self) -> bool {
        (self.kernel, self.stride, self.padding) == (1, 1, 0)
    }

    fn numbers(&self, count: usize, columns: Columns) -> Result<[u32; 11]> {
        let [n, channels, h, w] = self.image;
        let (row, sample) = match columns {
            Columns::BySample => (self.count(), self.taps() * self.count()),
            Columns::Joined => (n * self.count(), self.count()),
        };
        let [oh, ow] = self.out;
        numbers([count, channels, h, w, self.kernel, self.stride, self.padding, oh, ow, row, sample])
    }
}

pub(super) fn unfold(image: &Tensor, places: Places, columns: Columns) -> Result<Tensor> {
    let [n, channels, ..] = places.image;
    let shape = match columns {
        Columns::BySample => Shape::from((n, places.taps(), places.count())),
        Columns::Joined => Shape::from((places.taps(), n * places.count())),
    };
    numbers([shape.elem_count()])?;
    let numbers = places.numbers(n * channels * places.count(), columns)?;
    let kernel = Kernel { name: "unfold", inputs: 1, numbers: 11, floats: 0 };
    call(kernel, Spread::Values(numbers[0]), &[image], &numbers, &[], shape)
}

/// Images from columns by sample.
pub(super) fn fold(columns: &Tensor, places: Places) -> Result<Tensor> {
    let [n, channels, h, w] = places.image;
    let kernel = Kernel { name: "fold", inputs: 1, numbers: 11, floats: 0 };
    let numbers = places.numbers(n * channels * h * w, Columns::BySample)?;
    each(kernel, &[columns], &numbers, &[], Shape::from((n, channels, h, w)))
}

/// Cross-correlation of stride 1 without columns. `flipped` takes weights `[in, out, kernel, kernel]` as the adjoint does.
pub(super) fn direct(
    image: &Tensor,
    weight: &Tensor,
    places: Places,
    outs: usize,
    flipped: bool,
) -> Result<Tensor> {
    let ([n, channels, h, w], [oh, ow]) = (places.image, places.out);
    let size = places.kernel;
    let expected = if flipped { [channels, outs, size, size] } else { [outs, channels, size, size] };
    // The kernel reads as many weights as these, whatever there are.
    if weight.dims() != expected {
        bail!("weights {:?} do not fit a direct convolution, expected {expected:?}", weight.shape())
    }
    let shape = Shape::from((n, outs, oh, ow));
    numbers([shape.elem_count(), n * channels * h * w])?;
    let numbers = numbers([
        n * oh * ow,
        channels,
        h,
        w,
        outs,
        places.kernel,
        places.padding,
        oh,
        ow,
        usize::from(flipped),
    ])?;
    let name = if places.kernel == 3 { "direct3" } else { "direct" };
    let kernel = Kernel { name, inputs: 2, numbers: 10, floats: 0 };
    let blocks = numbers[0].div_ceil(256) * numbers[4].div_ceil(16);
    call(kernel, Spread::Blocks { blocks, threads: 128 }, &[image, weight], &numbers, &[], shape)
}

/// Images `[n, channels, h, w]` as `[channels, n * h * w]`.
pub(super) fn by_channel(image: &Tensor) -> Result<Tensor> {
    let (n, channels, h, w) = image.dims4()?;
    let numbers = numbers([n * channels * h * w, n, channels, h * w])?;
    let kernel = Kernel { name: "by_channel", inputs: 1, numbers: 4, floats: 0 };
    each(kernel, &[image], &numbers, &[], Shape::from((channels, n * h * w)))
}

/// So many channels of images, from one on.
pub(in super::super) fn some_channels(image: &Tensor, from: usize, some: usize) -> Result<Tensor> {
    let (n, channels, h, w) = image.dims4()?;
    if from + some > channels {
        bail!("channels {from} to {} of {channels}", from + some)
    }
    let numbers = numbers([n * some * h * w, from, some, channels, h * w])?;
    let kernel = Kernel { name: "some_channels", inputs: 1, numbers: 5, floats: 0 };
    each(kernel, &[image], &numbers, &[], Shape::from((n, some, h, w)))
}

/// The sum over samples and pixels of each channel: `[channels]`.
pub(in super::super) fn channel_sums(image: &Tensor) -> Result<Tensor> {
    let (n, channels, h, w) = image.dims4()?;
    if h * w == 1 {
        return column_sums(&image.contiguous()?.reshape((n, channels))?);
    }
    let kernel = Kernel { name: "row_sums", inputs: 1, numbers: 1, floats: 0 };
    let [rows, length] = numbers([n * channels, h * w])?;
    // The sum halves the threads until one is left: a power of two.
    let spread = Spread::Blocks { blocks: rows, threads: length.next_power_of_two().clamp(32, 256) };
    let sums = call(kernel, spread, &[image], &[length], &[], Shape::from((n, channels)))?;
    column_sums(&sums)
}

/// The sum of each column of `[rows, columns]`: `[columns]`.
pub(super) fn column_sums(rows: &Tensor) -> Result<Tensor> {
    let (count, length) = rows.dims2()?;
    let kernel = Kernel { name: "column_sums", inputs: 1, numbers: 2, floats: 0 };
    let [count, columns] = numbers([count, length])?;
    call(kernel, Spread::Values(columns), &[rows], &[count, columns], &[], Shape::from(length))
}

/// By this factor, values of a steep gradient are made smaller whose squares single precision does not hold.
const SMALLER: f32 = 1.0 / (1u128 << 80) as f32;

/// The sum of the squares of all values, added in f64 over parts of some thousands.
///
/// Within a part squares are added in f32. Where that ends, all are added once more, of smaller values.
pub(in super::super) fn square_sum<'a>(tensors: impl Iterator<Item = &'a Tensor> + Clone) -> Result<f64> {
    let sum = scaled_square_sum(tensors.clone(), 1.0)?;
    match sum.is_infinite() {
        true => Ok(scaled_square_sum(tensors, SMALLER)? / f64::from(SMALLER).powi(2)),
        false => Ok(sum),
    }
}

/// The sum of the squares of all values, each multiplied by a factor before.
fn scaled_square_sum<'a>(tensors: impl Iterator<Item = &'a Tensor>, factor: f32) -> Result<f64> {
    let kernel = Kernel { name: "square_sums", inputs: 1, numbers: 1, floats: 1 };
    let mut sums = Vec::new();
    for tensor in tensors {
        let [count] = numbers([tensor.elem_count()])?;
        let blocks = count.div_ceil(4096).clamp(1, 512);
        let spread = Spread::Blocks { blocks, threads: 256 };
        sums.push(call(kernel, spread, &[tensor], &[count], &[factor], Shape::from(blocks as usize))?);
    }
    match sums.is_empty() {
        true => Ok(0.0),
        false => Ok(Tensor::cat(&sums, 0)?.to_vec1::<f32>()?.into_iter().map(f64::from).sum()),
    }
}

/// Copies a contiguous tensor to the host, into memory that is there.
pub(in super::super) fn read(tensor: &Tensor, values: &mut Vec<f32>) -> Result<()> {
    let tensor = tensor.contiguous()?;
    values.resize(tensor.elem_count(), 0.0);
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { return elsewhere() };
    storage.device().memcpy_dtoh(&view(storage, layout)?, values)
}

/// A kernel of one thread a value of the result, whose first number counts them.
pub(super) fn each(
    kernel: Kernel,
    inputs: &[&Tensor],
    numbers: &[u32],
    floats: &[f32],
    shape: Shape,
) -> Result<Tensor> {
    Call::each(kernel, numbers, floats, shape)?.on(inputs)
}

/// Runs a kernel on one to three tensors.
pub(super) fn call(
    kernel: Kernel,
    spread: Spread,
    inputs: &[&Tensor],
    numbers: &[u32],
    floats: &[f32],
    shape: Shape,
) -> Result<Tensor> {
    Call::new(kernel, spread, numbers, floats, shape).on(inputs)
}

/// What a kernel is told, in its own type; an error for what does not fit.
pub(super) fn numbers<const N: usize>(values: [usize; N]) -> Result<[u32; N]> {
    // Half the range of u32, so that no thread's running index wraps around.
    match values.iter().find(|&&value| value > i32::MAX as usize) {
        Some(large) => bail!("{large} values are too many for one kernel: compute fewer samples at once"),
        None => Ok(values.map(|value| value as u32)),
    }
}

/// One launch of a kernel as candle's operation.
pub(super) struct Call {
    kernel: Kernel,
    spread: Spread,
    numbers: Vec<u32>,
    floats: Vec<f32>,
    shape: Shape,
}

impl Call {
    pub(super) fn new(kernel: Kernel, spread: Spread, numbers: &[u32], floats: &[f32], shape: Shape) -> Self {
        Self { kernel, spread, numbers: numbers.to_vec(), floats: floats.to_vec(), shape }
    }

    /// With one thread a value of the result.
    pub(super) fn each(kernel: Kernel, numbers: &[u32], floats: &[f32], shape: Shape) -> Result<Self> {
        let [count] = self::numbers([shape.elem_count()])?;
        Ok(Self::new(kernel, Spread::Values(count), numbers, floats, shape))
    }

    pub(super) fn name(&self) -> &'static str {
        self.kernel.name
    }

    fn on(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let inputs: Vec<Tensor> = inputs.iter().map(|input| input.contiguous()).collect::<Result<_>>()?;
        match &inputs[..] {
            [a] => a.apply_op1_no_bwd(self),
            [a, b] => a.apply_op2_no_bwd(b, self),
            [a, b, c] => a.apply_op3_no_bwd(b, c, self),
            _ => bail!("a kernel takes one to three tensors, got {}", inputs.len()),
        }
    }

    pub(super) fn run(&self, inputs: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        let Some((first, _)) = inputs.first() else { bail!("a kernel without inputs") };
        let device = first.device().clone();
        let views: Vec<CudaView<'_, f32>> =
            inputs.iter().map(|(storage, layout)| view(storage, layout)).collect::<Result<_>>()?;
        let len = self.shape.elem_count();
        let made = fill(&device, self.kernel, self.spread, len, &views, &self.numbers, &self.floats)?;
        Ok((CudaStorage::wrap_cuda_slice(made, device), self.shape.clone()))
    }
}

/// The values of a contiguous tensor.
pub(super) fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(storage.as_cuda_slice::<f32>()?.slice(from..to)),
        None => bail!("a kernel takes contiguous tensors"),
    }
}

pub(super) fn elsewhere<T>() -> Result<T> {
    bail!("this operation has kernels for CUDA alone")
}

impl CustomOp1 for Call {
    fn name(&self) -> &'static str {
        self.kernel.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(&self, a: &CudaStorage, at: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run(&[(a, at)])
    }
}

impl CustomOp2 for Call {
    fn name(&self) -> &'static str {
        self.kernel.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        at: &Layout,
        b: &CudaStorage,
        bt: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run(&[(a, at), (b, bt)])
    }
}

impl CustomOp3 for Call {
    fn name(&self) -> &'static str {
        self.kernel.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        at: &Layout,
        b: &CudaStorage,
        bt: &Layout,
        c: &CudaStorage,
        ct: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run(&[(a, at), (b, bt), (c, ct)])
    }
}
