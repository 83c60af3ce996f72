//! Layers as compositions of candle operations, which every device and precision computes.
//!
//! They avoid defects of candle 0.11: `max_pool2d`'s gradient is scaled by the window's area,
//! `upsample_nearest2d`'s overwrites what other readers of its input left there, `upsample_bilinear2d` has
//! none, a strided convolution's fails on images that are not square, and `relu(NaN)` is 0. They also avoid
//! `conv_transpose2d`, which a graphics card computes with one thread an output, and which candle takes for
//! the input gradient of every convolution.
//!
//! On CUDA in f32 the kernels of [`cuda`](super::cuda) compute them instead.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, D, Layout, MetalStorage, Result, Shape, Tensor, bail};

use crate::layer::Activation;

/// Most values of a tensor, as many as an allocation holds in f64.
const LARGEST_TENSOR: usize = isize::MAX as usize / 8;

/// Returns what the kernels for CUDA compute, where they can.
macro_rules! by_kernels {
    ($x:expr, $computed:expr) => {
        #[cfg(feature = "cuda")]
        if super::cuda::has_kernels($x) {
            return $computed;
        }
    };
}

/// Cross-correlation of images `[n, in, rows, columns]` with weights `[out, in, kernel, kernel]`.
pub(super) fn convolution(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    Filter { stride, padding, direction: Direction::Plain }.apply(x, weight)
}

/// The adjoint of [`convolution`]: images `[n, in, rows, columns]` with weights `[in, out, kernel, kernel]`.
pub(super) fn transposed_convolution(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    Filter { stride, padding, direction: Direction::Transposed }.apply(x, weight)
}

/// Adds one value a channel.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let channels = x.dim(1)?;
    // Tensors of one channel or one value would be repeated.
    if bias.dims() != [channels] {
        bail!("a bias of shape {:?} for {channels} channels", bias.shape())
    }
    by_kernels!(x, super::cuda::add_bias(x, bias));
    x.broadcast_add(&bias.reshape((1, (), 1, 1))?)
}

/// Mean 0 and variance 1 in each group of channels of each sample, then a scale and a shift a channel.
pub(super) fn group_normalization(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    by_kernels!(x, super::cuda::group_normalization(x, scale, shift, groups, epsilon));
    scale_and_shift(&normalize_groups(x, groups, epsilon)?, scale, shift)
}

fn normalize_groups(x: &Tensor, groups: usize, epsilon: f32) -> Result<Tensor> {
    let (n, channels, h, w) = x.dims4()?;
    if groups == 0 || channels % groups != 0 {
        bail!("{groups} groups do not divide {channels} channels")
    }
    let flat = x.reshape((n, groups, channels / groups * h * w))?;
    let centered = flat.broadcast_sub(&flat.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)?.reshape(x.shape())
}

/// Multiplies each channel by its scale and adds its shift, both `[channels]`.
pub(super) fn scale_and_shift(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let channels = x.dim(1)?;
    if [scale, shift].iter().any(|values| values.dims() != [channels]) {
        bail!("scale {:?} and shift {:?} of {channels} channels", scale.shape(), shift.shape())
    }
    add_bias(&x.broadcast_mul(&scale.reshape((1, (), 1, 1))?)?, shift)
}

/// NaN stays NaN in all of them.
pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    // GELU has no kernel for CUDA.
    if !matches!(activation, Activation::Gelu | Activation::GeluTanh) {
        by_kernels!(x, super::cuda::activate(x, activation));
    }
    match activation {
        Activation::LeakyRelu { slope } => x.gt(0.0)?.where_cond(x, &(x * f64::from(slope))?),
        Activation::Silu => x * sigmoid(x)?,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
    }
}

/// The largest value of each window, the first of equal ones, by pairs. What does not fill a window is left out.
pub(super) fn max_pool(x: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    by_kernels!(x, super::cuda::pool(x, lesio_kernels::Pooling::Maximum, window));
    let mut parts = windows(x, window)?.into_iter();
    let Some(mut largest) = parts.next() else { bail!("empty window") };
    for part in parts {
        largest = larger(&largest, &part)?;
    }
    Ok(largest)
}

/// The larger of two values at each place, the first of equal ones. NaN replaces and is not replaced.
///
/// Not `maximum`, which divides the gradient between equal values and loses NaN.
fn larger(first: &Tensor, second: &Tensor) -> Result<Tensor> {
    let keeps = (first.ge(second)? + first.ne(first)?)?;
    keeps.where_cond(first, second)
}

/// The largest value of each window of any distance, the first of equal ones. Beyond the edges there is nothing.
pub(super) fn max_pool_strided(
    x: &Tensor,
    window: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let nothing =
        |h: usize, w: usize| Tensor::full(f32::NEG_INFINITY, (n, c, h, w), x.device())?.to_dtype(x.dtype());
    let [up, across] = padding;
    let mut padded = x.contiguous()?;
    if up > 0 {
        let rows = nothing(up, w)?;
        padded = Tensor::cat(&[&rows, &padded, &rows], 2)?;
    }
    if across > 0 {
        let columns = nothing(h + 2 * up, across)?;
        padded = Tensor::cat(&[&columns, &padded, &columns], 3)?;
    }
    // The pixel at one place of every window.
    let places = |axis: usize, size: usize, offset: usize| {
        let count = (size + 2 * padding[axis] - window[axis]) / stride[axis] + 1;
        let places: Vec<u32> = (0..count).map(|index| (index * stride[axis] + offset) as u32).collect();
        Tensor::new(places, x.device())
    };
    let mut largest: Option<Tensor> = None;
    for dy in 0..window[0] {
        let rows = padded.index_select(&places(0, h, dy)?, 2)?;
        for dx in 0..window[1] {
            let part = rows.index_select(&places(1, w, dx)?, 3)?;
            largest = Some(match largest {
                Some(largest) => larger(&largest, &part)?,
                None => part,
            });
        }
    }
    match largest {
        Some(largest) => Ok(largest),
        None => bail!("empty window"),
    }
}

/// The mean of each window. What does not fill a window is left out.
pub(super) fn average_pool(x: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    by_kernels!(x, super::cuda::pool(x, lesio_kernels::Pooling::Mean, window));
    let parts = windows(x, window)?;
    let count = parts.len() as f64;
    let mut parts = parts.into_iter();
    let Some(mut sum) = parts.next() else { bail!("empty window") };
    for part in parts {
        sum = (sum + part)?;
    }
    sum / count
}

/// Each pixel repeated.
pub(super) fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    by_kernels!(x, super::cuda::upsample(x, lesio_kernels::Upsampling::Nearest, factor));
    let (n, c, h, w) = x.dims4()?;
    let [tall, wide] = enlarged(x, factor)?;
    x.contiguous()?
        .reshape((n, c, h, 1, w, 1))?
        .broadcast_as((n, c, h, factor, w, factor))?
        .contiguous()?
        .reshape((n, c, tall, wide))
}

/// Linear interpolation between pixel centers, as two matrix products.
pub(super) fn upsample_bilinear(x: &Tensor, factor: usize) -> Result<Tensor> {
    by_kernels!(x, super::cuda::upsample(x, lesio_kernels::Upsampling::Bilinear, factor));
    interpolated(x, factor, |target, _| (target as f64 + 0.5) / factor as f64 - 0.5)
}

/// Linear interpolation in which the corners stay.
pub(super) fn upsample_bilinear_corners(x: &Tensor, factor: usize) -> Result<Tensor> {
    interpolated(x, factor, |target, size| {
        target as f64 * (size - 1) as f64 / (size * factor - 1).max(1) as f64
    })
}

/// Linear interpolation as two matrix products; `place` is where a pixel of the result lies among so many.
fn interpolated(x: &Tensor, factor: usize, place: impl Fn(usize, usize) -> f64) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let [tall, wide] = enlarged(x, factor)?;
    let columns = interpolation(w, factor, x, &place)?;
    let rows = interpolation(h, factor, x, &place)?;
    let widened = x.contiguous()?.reshape((n * c * h, w))?.matmul(&columns)?;
    let turned = widened.reshape((n * c, h, wide))?.transpose(1, 2)?.contiguous()?;
    let heightened = turned.reshape((n * c * wide, h))?.matmul(&rows)?;
    heightened.reshape((n * c, wide, tall))?.transpose(1, 2)?.contiguous()?.reshape((n, c, tall, wide))
}

/// The sum over samples and pixels of each channel: the gradient of what [`add_bias`] adds.
pub(super) fn channel_sums(gradient: &Tensor) -> Result<Tensor> {
    by_kernels!(gradient, super::cuda::channel_sums(gradient));
    gradient.sum((0, 2, 3))
}

/// So many channels of images, from one on.
pub(super) fn some_channels(x: &Tensor, from: usize, some: usize) -> Result<Tensor> {
    by_kernels!(x, super::cuda::some_channels(x, from, some));
    x.narrow(1, from, some)
}

/// What a convolution reads: the larger image, or as its adjoint the smaller.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Plain,
    Transposed,
}

/// A convolution or its adjoint.
///
/// Its value comes from candle's `conv2d`, and so do both gradients, as this operation's own. Hence each of
/// the three is one product of matrices on every device.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) direction: Direction,
}

impl Filter {
    fn apply(self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (first, second, kernel, columns) = weight.dims4()?;
        let (n, channels, h, w) = x.dims4()?;
        if self.stride == 0 || kernel == 0 || kernel != columns {
            bail!(
                "a kernel of {kernel}x{columns} and a stride of {}, expected squares and 1 or more",
                self.stride
            )
        }
        let (takes, gives) = match self.direction {
            Direction::Plain => (second, first),
            Direction::Transposed => (first, second),
        };
        // A kernel for CUDA would read as many weights as the images have channels.
        if channels != takes {
            bail!("weights {:?} do not fit images {:?}, expected {takes} channels", weight.shape(), x.shape())
        }
        let size = |from: usize| self.size(from, kernel);
        let fits = |[h, w]: &[usize; 2]| {
            let values = [n, gives, *h, *w].into_iter().try_fold(1usize, usize::checked_mul);
            values.is_some_and(|values| values <= LARGEST_TENSOR)
        };
        let Some(out) = size(h).zip(size(w)).map(|(h, w)| [h, w]).filter(fits) else {
            let padding = self.padding;
            bail!("a kernel of {kernel} and a padding of {padding} do not fit images of {h}x{w}")
        };
        let value = {
            let (x, weight) = (x.detach(), weight.detach());
            match self.direction {
                Direction::Plain => self.plain(&x, &weight)?,
                Direction::Transposed => self.adjoint(&x, &weight, out)?,
            }
        };
        match x.track_op() || weight.track_op() {
            true => {
                // candle clones storage from its beginning, wherever in it a tensor lies: a single row or pixel that padding
                // left of a larger image lies within.
                let value =
                    if value.layout().start_offset() == 0 { value } else { value.force_contiguous()? };
                x.apply_op3(weight, &value, self)
            }
            false => Ok(value),
        }
    }

    /// Rows or columns of the value of images with `from` of them; `None` if nothing is left, and on overflow.
    fn size(self, from: usize, kernel: usize) -> Option<usize> {
        let (last, both) = (from.checked_sub(1)?, self.padding.checked_mul(2)?);
        match self.direction {
            Direction::Plain => {
                let places = last.checked_add(both)?.checked_add(1)?.checked_sub(kernel)?;
                Some(places / self.stride + 1)
            }
            Direction::Transposed => {
                let size = last.checked_mul(self.stride)?.checked_add(kernel)?.checked_sub(both)?;
                (size > 0).then_some(size)
            }
        }
    }

    /// The gradient by the images.
    pub(super) fn by_x(self, x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let (weight, gradient) = (&weight.detach(), &gradient.detach());
        match self.direction {
            Direction::Plain => self.adjoint(gradient, weight, [h, w]),
            Direction::Transposed => self.plain(gradient, weight),
        }
    }

    /// The gradient by the weights.
    pub(super) fn by_weight(self, x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (x, gradient) = (&x.detach(), &gradient.detach());
        let kernel = weight.dim(2)?;
        match self.direction {
            Direction::Plain => self.products(x, gradient, kernel),
            Direction::Transposed => self.products(gradient, x, kernel),
        }
    }

    /// Both.
    pub(super) fn gradients(self, x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<[Tensor; 2]> {
        #[cfg(feature = "cuda")]
        if super::cuda::has_kernels(x) && matches!(self.direction, Direction::Transposed) {
            return super::cuda::transposed_gradients(x, weight, gradient, self.stride, self.padding);
        }
        Ok([self.by_x(x, weight, gradient)?, self.by_weight(x, weight, gradient)?])
    }

    /// From the larger image to the smaller.
    fn plain(self, large: &Tensor, weight: &Tensor) -> Result<Tensor> {
        by_kernels!(large, super::cuda::plain(large, weight, self.stride, self.padding));
        large.contiguous()?.conv2d(&weight.contiguous()?, self.padding, self.stride, 1, 1)
    }

    /// From the smaller image to the larger, of `[h, w]` pixels: one convolution of stride 1 for all of the
    /// `stride * stride` places that a pixel of the larger image can have within a stride, whose values are
    /// then put side by side (a sub-pixel convolution, Shi et al. 2016).
    fn adjoint(self, small: &Tensor, weight: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor> {
        by_kernels!(small, super::cuda::adjoint(small, weight, self.stride, self.padding, [h, w]));
        let stride = self.stride;
        let (from, to, kernel, _) = weight.dims4()?;
        let taps = kernel.div_ceil(stride);
        let missing = taps * stride - kernel;
        let mut parts = weight.pad_with_zeros(2, 0, missing)?.pad_with_zeros(3, 0, missing)?.contiguous()?;
        parts = reverse(&parts.reshape((from, to, taps, stride, taps, stride))?, 2)?;
        parts = reverse(&parts, 4)?.permute([1, 3, 5, 0, 2, 4])?.contiguous()?;
        let kernels = parts.reshape((to * stride * stride, from, taps, taps))?;
        let places = small.contiguous()?.conv2d(&kernels, taps - 1, 1, 1, 1)?;
        let (n, _, rows, columns) = places.dims4()?;
        let whole = places
            .reshape((n, to, stride, stride, rows, columns))?
            .permute([0, 1, 4, 2, 5, 3])?
            .contiguous()?
            .reshape((n, to, rows * stride, columns * stride))?;
        // What no window reaches has no share in anything.
        let cut = |image: Tensor, axis: usize, size: usize| {
            let missing = (self.padding + size).saturating_sub(image.dim(axis)?);
            image.pad_with_zeros(axis, 0, missing)?.narrow(axis, self.padding, size)
        };
        cut(cut(whole, 2, h)?, 3, w)?.contiguous()
    }

    /// The products of two images at each tap: the gradient by weights `[smaller's channels, larger's channels, kernel,
    /// kernel]`.
    fn products(self, large: &Tensor, small: &Tensor, kernel: usize) -> Result<Tensor> {
        by_kernels!(large, super::cuda::products(large, small, self.stride, self.padding, kernel));
        let (large, small) = (large.transpose(0, 1)?.contiguous()?, small.transpose(0, 1)?.contiguous()?);
        let found = large.conv2d(&small, self.padding, 1, self.stride, 1)?;
        found.narrow(2, 0, kernel)?.narrow(3, 0, kernel)?.transpose(0, 1)?.contiguous()
    }
}

/// Takes images, weights and the value that belongs to them, which it gives on.
impl CustomOp3 for Filter {
    fn name(&self) -> &'static str {
        "lesio-filter"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        value: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        value: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        value: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (by_x, by_weight) = (x.track_op(), weight.track_op());
        let by_x = by_x.then(|| self.by_x(x, weight, gradient)).transpose()?;
        let by_weight = by_weight.then(|| self.by_weight(x, weight, gradient)).transpose()?;
        Ok((by_x, by_weight, None))
    }
}

/// `1 / (1 + exp(-x))`, by the hyperbolic tangent, which overflows nowhere.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? + 1.0)? * 0.5
}

/// The slices along an axis in reverse, without indices that would have to be copied to the device.
fn reverse(x: &Tensor, axis: usize) -> Result<Tensor> {
    let size = x.dim(axis)?;
    if size == 1 {
        return Ok(x.clone());
    }
    let slices: Vec<Tensor> = (0..size).rev().map(|k| x.narrow(axis, k, 1)).collect::<Result<_>>()?;
    Tensor::cat(&slices, axis)
}

/// The pixels at each place of a window, each as an image of one pixel per window.
fn windows(x: &Tensor, [rows, columns]: [usize; 2]) -> Result<Vec<Tensor>> {
    let (n, c, h, w) = x.dims4()?;
    let (Some(out_h @ 1..), Some(out_w @ 1..)) = (h.checked_div(rows), w.checked_div(columns)) else {
        bail!("a window of {rows}x{columns} does not fit images of {h}x{w}")
    };
    let split = x
        .narrow(2, 0, out_h * rows)?
        .narrow(3, 0, out_w * columns)?
        .contiguous()?
        .reshape((n, c, out_h, rows, out_w, columns))?;
    let mut parts = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let part = split.narrow(3, row, 1)?.narrow(5, column, 1)?;
            parts.push(part.contiguous()?.reshape((n, c, out_h, out_w))?);
        }
    }
    Ok(parts)
}

/// The number of rows and columns after upsampling.
fn enlarged(x: &Tensor, factor: usize) -> Result<[usize; 2]> {
    let (n, c, h, w) = x.dims4()?;
    let whole = [n, c, h, w, factor, factor].into_iter().try_fold(1usize, usize::checked_mul);
    match whole {
        Some(_) if factor > 0 => Ok([h * factor, w * factor]),
        _ => bail!("images {h}x{w} cannot be enlarged {factor} times"),
    }
}

/// The matrix `[size, size * factor]` of linear interpolation between pixel centers.
fn interpolation(
    size: usize,
    factor: usize,
    like: &Tensor,
    place: impl Fn(usize, usize) -> f64,
) -> Result<Tensor> {
    let enlarged = size * factor;
    let mut matrix = vec![0f64; size * enlarged];
    for target in 0..enlarged {
        let position = place(target, size).clamp(0.0, (size - 1) as f64);
        let low = position.floor() as usize;
        let high = (low + 1).min(size - 1);
        let share = position - low as f64;
        matrix[low * enlarged + target] += 1.0 - share;
        matrix[high * enlarged + target] += share;
    }
    Tensor::from_vec(matrix, (size, enlarged), like.device())?.to_dtype(like.dtype())
}
