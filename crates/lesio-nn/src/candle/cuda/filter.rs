//! A convolution, its adjoint and the gradient of its weights, each as one product of matrices.

use candle_core::{Result, Tensor};

use super::kernels::{Columns, Places, by_channel, column_sums, direct, fold, unfold};

/// Up to this many output channels, a convolution of stride 1 is computed directly: such a narrow matrix product leaves
/// most of a card idle, and building the columns takes most of the time.
const DIRECT: usize = 48;

/// The direct convolution holds weights of 16 outputs for at least one channel; larger kernels do not fit.
const DIRECT_KERNEL: usize = 7;

/// Between these numbers of values, the gradient of weights is computed by sample and then summed. With fewer values, a
/// product by sample leaves most of a card idle; with more, the sum takes longer than it saves.
const BY_SAMPLE: [usize; 2] = [1 << 15, 1 << 23];

/// Cross-correlation of images `[n, in, h, w]` with weights `[out, in, kernel, kernel]`.
pub(in super::super) fn plain(
    large: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let places = places(large, weight, stride, padding)?;
    let out = weight.dim(0)?;
    match is_direct(stride, places.kernel, out) {
        true => direct(large, weight, places, out, false),
        false => through(&columns(large, places)?, weight, places),
    }
}

/// Both gradients of the adjoint of a convolution, from one set of columns of the gradient by its value.
pub(in super::super) fn transposed_gradients(
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<[Tensor; 2]> {
    let places = places(gradient, weight, stride, padding)?;
    let out = weight.dim(0)?;
    if is_direct(stride, places.kernel, out) || !is_by_sample(places, out) {
        let by_weight = products(gradient, x, stride, padding, places.kernel)?;
        return Ok([plain(gradient, weight, stride, padding)?, by_weight]);
    }
    let columns = columns(gradient, places)?;
    Ok([through(&columns, weight, places)?, products_by_sample(&columns, x, places)?])
}

/// The adjoint: images `[n, out, ...]` to images of `[h, w]` pixels.
pub(in super::super) fn adjoint(
    small: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
    [h, w]: [usize; 2],
) -> Result<Tensor> {
    let (n, out, sh, sw) = small.dims4()?;
    let (_, channels, kernel, _) = weight.dims4()?;
    if is_direct(stride, kernel, channels) && padding < kernel {
        let places =
            Places { kernel, stride, padding: kernel - 1 - padding, image: [n, out, sh, sw], out: [h, w] };
        return direct(small, weight, places, channels, true);
    }
    let places = Places { kernel, stride, padding, image: [n, channels, h, w], out: [sh, sw] };
    let weight = weight.contiguous()?.reshape((out, places.taps()))?.t()?;
    let weight = weight.unsqueeze(0)?.broadcast_as((n, places.taps(), out))?;
    let columns = weight.matmul(&small.contiguous()?.reshape((n, out, sh * sw))?)?;
    match places.is_identity() {
        true => columns.reshape((n, channels, h, w)),
        false => fold(&columns, places),
    }
}

/// The products of two images at each tap: `[smaller's channels, larger's channels, kernel, kernel]`.
pub(in super::super) fn products(
    large: &Tensor,
    small: &Tensor,
    stride: usize,
    padding: usize,
    kernel: usize,
) -> Result<Tensor> {
    let (n, channels, h, w) = large.dims4()?;
    let (_, out, sh, sw) = small.dims4()?;
    let places = Places { kernel, stride, padding, image: [n, channels, h, w], out: [sh, sw] };
    if is_by_sample(places, out) {
        return products_by_sample(&columns(large, places)?, small, places);
    }
    let columns = unfold(large, places, Columns::Joined)?;
    by_channel(small)?.matmul(&columns.t()?)?.reshape((out, channels, kernel, kernel))
}

fn is_direct(stride: usize, kernel: usize, out: usize) -> bool {
    stride == 1 && (2..=DIRECT_KERNEL).contains(&kernel) && out <= DIRECT
}

fn is_by_sample(places: Places, out: usize) -> bool {
    let ([n, ..], values) = (places.image, out * places.taps());
    n == 1 || (BY_SAMPLE[0] <= values && n * values <= BY_SAMPLE[1])
}

fn places(large: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Places> {
    let (n, channels, h, w) = large.dims4()?;
    let kernel = weight.dim(2)?;
    let size = |size: usize| (size + 2 * padding).saturating_sub(kernel) / stride + 1;
    Ok(Places { kernel, stride, padding, image: [n, channels, h, w], out: [size(h), size(w)] })
}

/// Columns by sample.
fn columns(large: &Tensor, places: Places) -> Result<Tensor> {
    match places.is_identity() {
        true => large.contiguous()?.reshape((places.image[0], places.taps(), places.count())),
        false => unfold(large, places, Columns::BySample),
    }
}

/// Weights `[out, ...]` times columns by sample: images.
fn through(columns: &Tensor, weight: &Tensor, places: Places) -> Result<Tensor> {
    let (n, out, taps) = (places.image[0], weight.dim(0)?, places.taps());
    let weight = weight.contiguous()?.reshape((1, out, taps))?.broadcast_as((n, out, taps))?;
    weight.matmul(columns)?.reshape((n, out, places.out[0], places.out[1]))
}

fn products_by_sample(columns: &Tensor, small: &Tensor, places: Places) -> Result<Tensor> {
    let ([n, channels, ..], taps, out) = (places.image, places.taps(), small.dim(1)?);
    let products = small.contiguous()?.reshape((n, out, places.count()))?.matmul(&columns.t()?)?;
    let sum = match n {
        1 => products,
        _ => column_sums(&products.reshape((n, out * taps))?)?,
    };
    sum.reshape((out, channels, places.kernel, places.kernel))
}
