//! Products of two images.

use crate::error::{KernelError, check_equal};
use crate::images::{
    Combine, Images, ImagesMut, Rectifier, check_rectifier, clear_pixels, for_rows, rectify,
};
use crate::layout::ImageLayout;
use crate::raw::{Workers, vectorized};

/// Multiplies two images value by value. A factor with one channel, one row or one column is repeated along that axis.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
pub fn multiply(
    workers: &Workers<'_>,
    samples: usize,
    [a, b]: [Images<'_>; 2],
    to: ImagesMut<'_>,
) -> Result<(), KernelError> {
    for factor in [a, b] {
        check_repeated(factor.layout, to.layout)?;
        factor.layout.check("a factor", factor.values, samples)?;
    }
    let [first, second] = [a, b].map(|factor| Repeated::new(factor.layout, to.layout));
    let (isa, pixel) = (workers.isa(), to.layout.pixel_stride());
    let channels = to.layout.channels();
    for_rows(workers, samples, to, |sample, y, to| {
        let rows = [first.row(a, sample, y), second.row(b, sample, y)];
        multiply_row(isa, [first, second], rows, to, pixel, channels);
    })
}

/// The gradient of [`multiply`] with respect to one factor, given the other one and the gradient with respect to the
/// product, multiplied by the derivative of a rectifier if one is given. Along axes on which the factor is repeated, it is
/// the sum.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
pub fn product_gradient(
    workers: &Workers<'_>,
    samples: usize,
    other: Images<'_>,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    check_repeated(other.layout, from.layout)?;
    check_repeated(to.layout, from.layout)?;
    other.layout.check("the other factor", other.values, samples)?;
    from.layout.check("the gradient", from.values, samples)?;
    check_rectifier(samples, to.layout, rectifier)?;
    let [factor, other_repeated] = [to.layout, other.layout].map(|layout| Repeated::new(layout, from.layout));
    let (height, channels) = (from.layout.height(), from.layout.channels());
    let (isa, pixel) = (workers.isa(), from.layout.pixel_stride());
    let layout = *to.layout;
    for_rows(workers, samples, to, |sample, y, to| {
        if combine == Combine::Replace {
            clear_pixels(to, layout.channels(), layout.pixel_stride());
        }
        let rows = if factor.rows { 0..height } else { y..y + 1 };
        for y in rows {
            let other = other_repeated.row(other, sample, y);
            gradient_row(isa, [factor, other_repeated], other, from.row(sample, y), to, pixel, channels);
        }
        rectify(isa, &layout, rectifier, sample, y, to);
    })
}

/// Along which axes a factor is repeated, and the distance of its pixels.
#[derive(Clone, Copy)]
struct Repeated {
    channels: bool,
    rows: bool,
    columns: bool,
    pixel: usize,
}

impl Repeated {
    fn new(factor: &ImageLayout, product: &ImageLayout) -> Self {
        Self {
            channels: factor.channels() < product.channels(),
            rows: factor.height() < product.height(),
            columns: factor.width() < product.width(),
            pixel: factor.pixel_stride(),
        }
    }

    /// The row of the factor for a row of the product.
    fn row<'a>(self, factor: Images<'a>, sample: usize, y: usize) -> &'a [f32] {
        factor.row(sample, if self.rows { 0 } else { y })
    }

    /// Where the pixel of the factor for a column of the product begins in its row.
    #[inline(always)]
    fn start(self, x: usize) -> usize {
        if self.columns { 0 } else { x * self.pixel }
    }
}

vectorized! {
    fn multiply_row(factors: [Repeated; 2], rows: [&[f32]; 2], to: &mut [f32], pixel: usize, channels: usize) {
        for (x, to) in to.chunks_mut(pixel).enumerate() {
            let [a, b] = [0, 1].map(|k| &rows[k][factors[k].start(x)..]);
            let to = &mut to[..channels];
            match factors.map(|factor| factor.channels) {
                [false, false] => {
                    let pairs = a[..channels].iter().zip(&b[..channels]);
                    to.iter_mut().zip(pairs).for_each(|(to, (a, b))| *to = a * b);
                }
                [false, true] => to.iter_mut().zip(a).for_each(|(to, a)| *to = a * b[0]),
                [true, false] => to.iter_mut().zip(b).for_each(|(to, b)| *to = a[0] * b),
                [true, true] => to.fill(a[0] * b[0]),
            }
        }
    }
}

vectorized! {
    /// Adds what a row of the product's gradient gives to the row of a factor.
    fn gradient_row(factors: [Repeated; 2], other: &[f32], from: &[f32], to: &mut [f32], pixel: usize, channels: usize) {
        let [factor, repeated] = factors;
        for (x, from) in from.chunks(pixel).enumerate() {
            let other = &other[repeated.start(x)..];
            let to = &mut to[factor.start(x)..];
            let from = &from[..channels];
            match (factor.channels, repeated.channels) {
                (false, false) => {
                    let pairs = from.iter().zip(&other[..channels]);
                    to.iter_mut().zip(pairs).for_each(|(to, (from, other))| *to += from * other);
                }
                (false, true) => to.iter_mut().zip(from).for_each(|(to, from)| *to += from * other[0]),
                (true, false) => to[0] += from.iter().zip(other).map(|(from, other)| from * other).sum::<f32>(),
                (true, true) => to[0] += from.iter().sum::<f32>() * other[0],
            }
        }
    }
}

fn check_repeated(factor: &ImageLayout, product: &ImageLayout) -> Result<(), KernelError> {
    for (what, found, expected) in [
        ("the number of channels", factor.channels(), product.channels()),
        ("the number of rows", factor.height(), product.height()),
        ("the number of columns", factor.width(), product.width()),
    ] {
        if found != 1 {
            check_equal(what, found, expected)?;
        }
    }
    Ok(())
}
