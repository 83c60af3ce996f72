//! Layers as candle operations over the same kernels as the plan, for models composed by hand.
//!
//! candle 0.11 computes some of these layers slowly, and some of their gradients wrong (see
//! [`CandleNetwork`](crate::CandleNetwork)). The functions here take and give candle tensors and take part
//! in candle's automatic differentiation, with two differences: they run on the CPU in f32 alone, and they
//! compute the gradients of tracked arguments and no others, so that frozen weights cost nothing on the
//! way back.
//!
//! A network that can be declared as a [`Network`](crate::Network) is faster in a [`Plan`](crate::Plan):
//! it keeps its buffers, its packed weights and the kernels' order of channels from layer to layer, where
//! each operation here converts from candle's order and back. Results agree within rounding, and do not
//! depend on the number of threads or on the other samples of a batch.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use lesio_nn::candle_ops::{self, Window};
//!
//! let device = Device::Cpu;
//! let image = Var::randn(0f32, 1.0, (2, 3, 16, 16), &device)?;
//! // Frozen: a tensor that is no variable.
//! let weight = Tensor::ones((8, 3, 3, 3), DType::F32, &device)?;
//! let bias = Tensor::zeros(8, DType::F32, &device)?;
//!
//! let window = Window::new(3).padding(1);
//! let features = candle_ops::convolution(&image, &weight, Some(&bias), window)?;
//! let pooled = candle_ops::max_pool(&features, [2, 2])?;
//! assert_eq!(pooled.dims4()?, (2, 8, 8, 8));
//!
//! let gradients = pooled.sqr()?.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&image).map(|gradient| gradient.dims4()).transpose()?, Some((2, 3, 16, 16)));
//! assert!(gradients.get(&weight).is_none());
//! # Ok::<(), candle_core::Error>(())
//! ```

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Tensor};
use lesio_kernels::{
    self as kernels, Border, Buffer, Combine, Epilogue, Grouping, ImageLayout, Images, ImagesMut, Isa,
    KernelError, Moments, Normalization, Pooling, Statistics, Upsampling, Workers, with_workers,
};

/// Kernel size, stride and padding of a convolution, the same along rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Window {
    /// A square kernel of `kernel` rows and columns, with stride 1 and no padding.
    #[must_use]
    pub const fn new(kernel: usize) -> Self {
        Self { kernel, stride: 1, padding: 0 }
    }

    /// The distance between windows.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Zeros added on each side.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }
}

/// Cross-correlation of images `[n, in, rows, columns]` with weights `[out, in, kernel, kernel]`, plus a
/// bias `[out]`: images `[n, out, (rows + 2 * padding - kernel) / stride + 1, ...]`.
///
/// # Errors
/// Tensors that are not f32 on the CPU, or whose shapes do not fit each other or the window.
pub fn convolution(image: &Tensor, weight: &Tensor, bias: Option<&Tensor>, window: Window) -> Result<Tensor> {
    convolve(image, weight, bias, Convolve { window, direction: Direction::Plain })
}

/// Transposed convolution, the adjoint of [`convolution`], of images `[n, in, rows, columns]` with weights
/// `[in, out, kernel, kernel]`, plus a bias `[out]`: images `[n, out, (rows - 1) * stride + kernel - 2 *
/// padding, ...]`.
///
/// # Errors
/// As [`convolution`].
pub fn transposed_convolution(
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: Window,
) -> Result<Tensor> {
    convolve(image, weight, bias, Convolve { window, direction: Direction::Transposed })
}

/// Maximum over windows `[rows, columns]` that do not overlap; what does not fill a window is left out. Of
/// equal largest values the first in reading order takes the gradient.
///
/// # Errors
/// Tensors that are not f32 images on the CPU, and windows that are empty or larger than the image.
pub fn max_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Pool { pooling: Pooling::Maximum, window })
}

/// Mean over windows `[rows, columns]` that do not overlap; what does not fill a window is left out.
///
/// # Errors
/// As [`max_pool`].
pub fn average_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Pool { pooling: Pooling::Mean, window })
}

/// Each pixel repeated `factor` times along rows and columns.
///
/// # Errors
/// Tensors that are not f32 images on the CPU, and a factor of 0.
pub fn upsample_nearest(image: &Tensor, factor: usize) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Nearest, factor })
}

/// Linear interpolation between pixel centres (half-pixel convention, edges repeated).
///
/// # Errors
/// As [`upsample_nearest`].
pub fn upsample_bilinear(image: &Tensor, factor: usize) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Bilinear, factor })
}

/// Normalization of each of `groups` groups of channels of each sample to mean 0 and variance 1, then a
/// scale `[channels]` and a shift `[channels]`. `epsilon` is added to the variance.
///
/// # Errors
/// Tensors that are not f32 on the CPU or do not fit each other, and groups that do not divide the channels.
pub fn group_normalization(
    image: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    let normalization = Normalization { grouping: Grouping::Groups(groups), epsilon };
    image.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, Normalize(normalization))
}

/// The values of a tensor's storage, which the functions above made contiguous.
fn values<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
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
fn with_values<R, const N: usize>(
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
struct Size {
    samples: usize,
    channels: usize,
    pixels: [usize; 2],
}

impl Size {
    fn of(shape: &Shape) -> Result<Self> {
        let (samples, channels, height, width) = shape.dims4()?;
        Ok(Self { samples, channels, pixels: [height, width] })
    }

    fn shape(self) -> Shape {
        Shape::from((self.samples, self.channels, self.pixels[0], self.pixels[1]))
    }

    fn layout(self, border: Border) -> Result<ImageLayout> {
        ImageLayout::new(self.channels, self.pixels[0], self.pixels[1], border).map_err(Error::wrap)
    }
}

/// Images in the kernels' order.
struct Held {
    samples: usize,
    layout: ImageLayout,
    buffer: Buffer,
}

impl Held {
    fn zeros(samples: usize, layout: ImageLayout) -> std::result::Result<Self, KernelError> {
        Ok(Self { samples, layout, buffer: Buffer::zeros(layout.len(samples)?) })
    }

    fn read(
        workers: &Workers<'_>,
        samples: usize,
        layout: ImageLayout,
        planes: &[f32],
    ) -> std::result::Result<Self, KernelError> {
        let mut held = Self::zeros(samples, layout)?;
        kernels::from_planes(workers, samples, planes, held.to(), Combine::Replace)?;
        Ok(held)
    }

    fn from(&self) -> Images<'_> {
        Images::new(&self.buffer, &self.layout)
    }

    fn to(&mut self) -> ImagesMut<'_> {
        ImagesMut::new(&mut self.buffer, &self.layout)
    }

    fn planes(&self, workers: &Workers<'_>) -> std::result::Result<Vec<f32>, KernelError> {
        let mut planes = vec![0.0; self.layout.values() * self.samples];
        kernels::to_planes(workers, self.samples, self.from(), &mut planes)?;
        Ok(planes)
    }
}

/// Runs a pass on the threads of the current pool.
fn pass<R: Send>(work: impl FnOnce(&Workers<'_>) -> std::result::Result<R, KernelError> + Send) -> Result<R> {
    with_workers(Isa::best(), work).map_err(Error::wrap)
}

#[derive(Clone, Copy)]
enum Direction {
    Plain,
    Transposed,
}

/// A convolution or its adjoint; with two arguments without, with three with a bias.
#[derive(Clone, Copy)]
struct Convolve {
    window: Window,
    direction: Direction,
}

fn convolve(image: &Tensor, weight: &Tensor, bias: Option<&Tensor>, operation: Convolve) -> Result<Tensor> {
    let (image, weight) = (image.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => image.apply_op3(&weight, &bias.contiguous()?, operation),
        None => image.apply_op2(&weight, operation),
    }
}

/// What a convolution computes between: the larger image (its input) and the smaller.
struct Sides {
    geometry: kernels::Convolution,
    samples: usize,
    large: ImageLayout,
    small: ImageLayout,
    output: Size,
}

/// Gradients of the image, the weights and the bias, where they were asked for.
type ConvolutionGradients = [Option<Vec<f32>>; 3];

impl Convolve {
    fn sides(&self, image: &Shape, weight: &Shape) -> Result<Sides> {
        let Window { kernel, stride, padding } = self.window;
        let input = Size::of(image)?;
        let (few, many, rows, columns) = weight.dims4()?;
        let transposed = matches!(self.direction, Direction::Transposed);
        let (takes, gives) = if transposed { (few, many) } else { (many, few) };
        if [rows, columns] != [kernel; 2] || input.channels != takes {
            candle_core::bail!(
                "weights {weight:?} do not fit a kernel of {kernel} and images {image:?}, expected {takes} channels"
            )
        }
        let geometry = kernels::Convolution::new(kernel, stride, padding, many, few).map_err(Error::wrap)?;
        let mut pixels = [0; 2];
        for (to, from) in pixels.iter_mut().zip(input.pixels) {
            let size = if transposed {
                from.checked_sub(1).and_then(|last| {
                    last.checked_mul(stride)?.checked_add(kernel)?.checked_sub(padding.checked_mul(2)?)
                })
            } else {
                padding
                    .checked_mul(2)
                    .and_then(|both| from.checked_add(both)?.checked_sub(kernel))
                    .map(|room| room / stride + 1)
            };
            *to = match size {
                Some(size) if size > 0 => size,
                _ => candle_core::bail!("{:?} leaves nothing of images {image:?}", self.window),
            };
        }
        let output = Size { samples: input.samples, channels: gives, pixels };
        let (large, small) = if transposed { (output, input) } else { (input, output) };
        Ok(Sides {
            geometry,
            samples: input.samples,
            large: large.layout(geometry.input_border(large.pixels, small.pixels))?,
            small: small.layout(geometry.output_border(large.pixels, small.pixels))?,
            output,
        })
    }

    fn forward(
        &self,
        (image, image_layout): (&CpuStorage, &Layout),
        (weight, weight_layout): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let sides = self.sides(image_layout.shape(), weight_layout.shape())?;
        let (image, weight) = (values(image, image_layout)?, values(weight, weight_layout)?);
        let bias = bias.map(|(bias, layout)| values(bias, layout)).transpose()?;
        if let Some(bias) = bias
            && bias.len() != sides.output.channels
        {
            candle_core::bail!("a bias of {} values for {} channels", bias.len(), sides.output.channels)
        }
        let planes = pass(|workers| {
            let epilogue = Epilogue { bias, ..Epilogue::default() };
            let output = match self.direction {
                Direction::Plain => sides.plain(workers, image, weight, epilogue)?,
                Direction::Transposed => sides.adjoint(workers, image, weight, epilogue)?,
            };
            output.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), sides.output.shape()))
    }

    /// The gradients of those arguments that are tracked.
    fn backward(
        &self,
        image: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let sides = self.sides(image.shape(), weight.shape())?;
        let wanted = [image.track_op(), weight.track_op(), bias.is_some_and(Tensor::track_op)];
        let found = with_values([image, weight, gradient], |[image, weight, gradient]| {
            pass(|workers| self.gradients(workers, &sides, wanted, image, weight, gradient))
        })?;
        let [by_image, by_weight, by_bias] = found;
        let device = image.device();
        let tensor = |values: Option<Vec<f32>>, shape: &Shape| {
            values.map(|values| Tensor::from_vec(values, shape, device)).transpose()
        };
        let channels = Shape::from(sides.output.channels);
        Ok([
            tensor(by_image, image.shape())?,
            tensor(by_weight, weight.shape())?,
            tensor(by_bias, bias.map_or(&channels, Tensor::shape))?,
        ])
    }

    fn gradients(
        &self,
        workers: &Workers<'_>,
        sides: &Sides,
        wanted: [bool; 3],
        image: &[f32],
        weight: &[f32],
        gradient: &[f32],
    ) -> std::result::Result<ConvolutionGradients, KernelError> {
        let mut found = [None, None, None];
        if wanted[0] {
            let by_image = match self.direction {
                Direction::Plain => sides.adjoint(workers, gradient, weight, Epilogue::default())?,
                Direction::Transposed => sides.plain(workers, gradient, weight, Epilogue::default())?,
            };
            found[0] = Some(by_image.planes(workers)?);
        }
        if wanted[1] {
            let (large, small) = match self.direction {
                Direction::Plain => (image, gradient),
                Direction::Transposed => (gradient, image),
            };
            found[1] = Some(sides.weight_gradient(workers, large, small)?);
        }
        if wanted[2] {
            let layout = match self.direction {
                Direction::Plain => sides.small,
                Direction::Transposed => sides.large,
            };
            let gradient = Held::read(workers, sides.samples, layout, gradient)?;
            let mut totals = vec![0.0; layout.channels()];
            let mut scratch = vec![0.0; kernels::totals_scratch_len(&layout, sides.samples)];
            kernels::channel_totals(workers, sides.samples, gradient.from(), &mut totals, &mut scratch)?;
            found[2] = Some(totals);
        }
        Ok(found)
    }
}

impl Sides {
    /// Where the values of `[small channels, large channels, kernel, kernel]` lie among packed weights.
    fn places(&self) -> impl Iterator<Item = usize> {
        let (few, many) = (self.small.channels(), self.large.channels());
        let geometry = self.geometry;
        let kernel = geometry.kernel();
        (0..few * many).flat_map(move |pair| {
            (0..kernel * kernel)
                .map(move |tap| geometry.weight_index(pair / many, pair % many, tap / kernel, tap % kernel))
        })
    }

    fn pack(&self, weight: &[f32]) -> Buffer {
        let mut packed = Buffer::zeros(self.geometry.weights_len());
        for (place, value) in self.places().zip(weight) {
            packed[place] = *value;
        }
        packed
    }

    /// From the larger image to the smaller.
    fn plain(
        &self,
        workers: &Workers<'_>,
        large: &[f32],
        weight: &[f32],
        epilogue: Epilogue<'_>,
    ) -> std::result::Result<Held, KernelError> {
        let large = Held::read(workers, self.samples, self.large, large)?;
        let mut small = Held::zeros(self.samples, self.small)?;
        let weight = self.pack(weight);
        let mut packed = Buffer::zeros(self.geometry.packed_len());
        self.geometry.pack(workers, &weight, &mut packed)?;
        let (large, to) = (large.from(), small.to());
        self.geometry.forward_packed(workers, self.samples, large, &weight, &packed, to, epilogue)?;
        Ok(small)
    }

    /// From the smaller image to the larger.
    fn adjoint(
        &self,
        workers: &Workers<'_>,
        small: &[f32],
        weight: &[f32],
        epilogue: Epilogue<'_>,
    ) -> std::result::Result<Held, KernelError> {
        let small = Held::read(workers, self.samples, self.small, small)?;
        let mut large = Held::zeros(self.samples, self.large)?;
        let mut packed = Buffer::zeros(self.geometry.adjoint_len());
        self.geometry.pack_adjoint(workers, &self.pack(weight), &mut packed)?;
        self.geometry.adjoint(workers, self.samples, small.from(), &packed, large.to(), epilogue)?;
        Ok(large)
    }

    fn weight_gradient(
        &self,
        workers: &Workers<'_>,
        large: &[f32],
        small: &[f32],
    ) -> std::result::Result<Vec<f32>, KernelError> {
        let large = Held::read(workers, self.samples, self.large, large)?;
        let small = Held::read(workers, self.samples, self.small, small)?;
        let mut packed = Buffer::zeros(self.geometry.weights_len());
        let mut scratch = Buffer::zeros(self.geometry.gradient_scratch(self.samples));
        self.geometry.weight_gradient(
            workers,
            self.samples,
            large.from(),
            small.from(),
            &mut packed,
            &mut scratch,
        )?;
        Ok(self.places().map(|place| packed[place]).collect())
    }
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "lesio-convolution"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), None)
    }

    fn bwd(
        &self,
        image: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [image, weight, _] = self.backward(image, weight, None, gradient)?;
        Ok((image, weight))
    }
}

impl CustomOp3 for Convolve {
    fn name(&self) -> &'static str {
        "lesio-convolution"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), Some((s3, l3)))
    }

    fn bwd(
        &self,
        image: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [image, weight, bias] = self.backward(image, weight, Some(bias), gradient)?;
        Ok((image, weight, bias))
    }
}

struct Pool {
    pooling: Pooling,
    window: [usize; 2],
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
        let input = Size::of(layout.shape())?;
        let output = self.output(input)?;
        let image = values(storage, layout)?;
        let (from, to) = (input.layout(Border::NONE)?, output.layout(Border::NONE)?);
        let planes = pass(|workers| {
            let from = Held::read(workers, input.samples, from, image)?;
            let mut to = Held::zeros(input.samples, to)?;
            kernels::pool(workers, input.samples, self.pooling, self.window, from.from(), to.to())?;
            to.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), output.shape()))
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

struct Upsample {
    upsampling: Upsampling,
    factor: usize,
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
        let input = Size::of(layout.shape())?;
        let output = self.output(input)?;
        let image = values(storage, layout)?;
        let (from, to) = (input.layout(Border::NONE)?, output.layout(Border::NONE)?);
        let planes = pass(|workers| {
            let from = Held::read(workers, input.samples, from, image)?;
            let mut to = Held::zeros(input.samples, to)?;
            kernels::upsample(workers, input.samples, self.upsampling, self.factor, from.from(), to.to())?;
            to.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), output.shape()))
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

struct Normalize(Normalization);

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "lesio-group-normalization"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let size = Size::of(l1.shape())?;
        let (image, scale, shift) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let layout = size.layout(Border::NONE)?;
        let samples = size.samples;
        if scale.len() != size.channels || shift.len() != size.channels {
            candle_core::bail!(
                "a scale of {} and a shift of {} values for {} channels",
                scale.len(),
                shift.len(),
                size.channels
            )
        }
        let planes = pass(|workers| {
            let from = Held::read(workers, samples, layout, image)?;
            let mut to = Held::zeros(samples, layout)?;
            let mut moments = Moments::new(samples, &layout);
            self.0.measure(workers, samples, from.from(), &mut moments)?;
            self.0.apply(workers, samples, from.from(), &mut moments, scale, shift, to.to(), 1.0)?;
            to.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), size.shape()))
    }

    fn bwd(
        &self,
        image: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = Size::of(image.shape())?;
        let (samples, channels) = (size.samples, size.channels);
        let layout = size.layout(Border::NONE)?;
        let by_parameters = scale.track_op() || shift.track_op();
        let by_image = image.track_op();
        let mut parameters = (vec![0.0; channels], vec![0.0; channels]);
        let planes = with_values([image, scale, gradient], |[image, scale, gradient]| {
            pass(|workers| {
                let input = Held::read(workers, samples, layout, image)?;
                let from = Held::read(workers, samples, layout, gradient)?;
                let mut to = if by_image { Some(Held::zeros(samples, layout)?) } else { None };
                let mut moments = Moments::new(samples, &layout);
                self.0.measure(workers, samples, input.from(), &mut moments)?;
                self.0.gradient(
                    workers,
                    samples,
                    input.from(),
                    &mut moments,
                    Statistics::Measured,
                    scale,
                    from.from(),
                    by_parameters.then_some((&mut parameters.0[..], &mut parameters.1[..])),
                    to.as_mut().map(|to| (to.to(), Combine::Replace, None)),
                )?;
                to.map(|to| to.planes(workers)).transpose()
            })
        })?;
        let device = image.device();
        let by_image = planes.map(|planes| Tensor::from_vec(planes, image.shape(), device)).transpose()?;
        let tensor = |parameter: &Tensor, values: Vec<f32>| {
            parameter.track_op().then(|| Tensor::from_vec(values, parameter.shape(), device)).transpose()
        };
        Ok((by_image, tensor(scale, parameters.0)?, tensor(shift, parameters.1)?))
    }
}
