//! Pooling and upsampling.

use crate::error::{KernelError, check_equal};
use crate::images::{
    Combine, Images, ImagesMut, Rectifier, check_rectifier, clear_pixels, for_rows, rectify,
};
use crate::layout::{ImageLayout, LANES};
use crate::raw::{Workers, vectorized};

/// How the values of a window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; NaN if one is NaN.
    Maximum,
    /// The mean.
    Mean,
}

/// Pools over windows `[rows, columns]` that do not overlap; pixels that do not fill a window are left out.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
pub fn pool(
    workers: &Workers<'_>,
    samples: usize,
    pooling: Pooling,
    window: [usize; 2],
    from: Images<'_>,
    to: ImagesMut<'_>,
) -> Result<(), KernelError> {
    check_window(window, from.layout, to.layout)?;
    from.layout.check("the source", from.values, samples)?;
    let row = PoolRow::new(pooling, window, [from.layout, to.layout, to.layout, to.layout]);
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, y, to| {
        for dy in 0..window[0] {
            pool_row(isa, row, dy == 0, from.row(sample, y * window[0] + dy), to);
        }
    })
}

/// What a row of a pooling or of its gradient needs to know.
#[derive(Clone, Copy)]
struct PoolRow {
    pooling: Pooling,
    /// Columns of the window.
    window: usize,
    /// One over the number of pixels of the window.
    share: f32,
    channels: usize,
    /// Distance of pixels of the source, of the pooled image, of its gradient, and of the source's.
    source: usize,
    pooled: usize,
    from: usize,
    to: usize,
}

impl PoolRow {
    fn new(pooling: Pooling, window: [usize; 2], layouts: [&ImageLayout; 4]) -> Self {
        let [source, pooled, from, to] = layouts.map(ImageLayout::pixel_stride);
        let share = 1.0 / (window[0] * window[1]) as f32;
        Self { pooling, window: window[1], share, channels: layouts[0].channels(), source, pooled, from, to }
    }
}

vectorized! {
    /// Takes a row of the source into the pooled row, as the first of the window or after others.
    fn pool_row(p: PoolRow, begin: bool, from: &[f32], to: &mut [f32]) {
        for (index, to) in to.chunks_mut(p.pooled).enumerate() {
            let to = &mut to[..p.channels];
            for dx in 0..p.window {
                let from = &from[(index * p.window + dx) * p.source..][..p.channels];
                let pairs = to.iter_mut().zip(from);
                match (p.pooling, begin && dx == 0) {
                    (Pooling::Maximum, true) => pairs.for_each(|(to, &from)| *to = from),
                    // A comparison with NaN is false: NaN replaces and is not replaced.
                    (Pooling::Maximum, false) => {
                        pairs.for_each(|(to, &from)| *to = if *to >= from || to.is_nan() { *to } else { from });
                    }
                    (Pooling::Mean, true) => pairs.for_each(|(to, &from)| *to = from * p.share),
                    (Pooling::Mean, false) => pairs.for_each(|(to, &from)| *to += from * p.share),
                }
            }
        }
    }
}

/// The gradient of [`pool`] with respect to its source, given what it read and wrote, multiplied by the
/// derivative of a rectifier if one is given. Of equal largest values the first in reading order takes the
/// whole gradient.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
#[allow(clippy::too_many_arguments)] // Five images.
pub fn pool_gradient(
    workers: &Workers<'_>,
    samples: usize,
    pooling: Pooling,
    window: [usize; 2],
    source: Images<'_>,
    pooled: Images<'_>,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    check_window(window, to.layout, from.layout)?;
    to.layout.check_same_size("the size of the source", source.layout)?;
    from.layout.check_same_size("the size of the pooled image", pooled.layout)?;
    source.layout.check("the source", source.values, samples)?;
    pooled.layout.check("the pooled image", pooled.values, samples)?;
    from.layout.check("the gradient", from.values, samples)?;
    check_rectifier(samples, to.layout, rectifier)?;
    let height = from.layout.height();
    let row = PoolRow::new(pooling, window, [source.layout, pooled.layout, from.layout, to.layout]);
    let isa = workers.isa();
    let layout = *to.layout;
    for_rows(workers, samples, to, |sample, y, to| {
        if combine == Combine::Replace {
            clear_pixels(to, row.channels, row.to);
        }
        let of = y / window[0];
        if of < height {
            // Rows of the window above this one: an equal value there has taken the gradient.
            let above = of * window[0]..y;
            let (pooled, from) = (pooled.row(sample, of), from.row(sample, of));
            pool_gradient_row(isa, row, source, sample, above, source.row(sample, y), pooled, from, to);
        }
        rectify(isa, &layout, rectifier, sample, y, to);
    })
}

vectorized! {
    fn pool_gradient_row(p: PoolRow, images: Images<'_>, sample: usize, above: std::ops::Range<usize>, source: &[f32], pooled: &[f32], from: &[f32], to: &mut [f32]) {
        for window in 0..from.len().div_ceil(p.from) {
            // Channels in pieces whose length the compiler knows, and what is left.
            let mut first = 0;
            while first + LANES <= p.channels {
                window_gradient::<LANES>(p, images, sample, above.clone(), source, pooled, from, to, window, first);
                first += LANES;
            }
            while first < p.channels {
                window_gradient::<1>(p, images, sample, above.clone(), source, pooled, from, to, window, first);
                first += 1;
            }
        }
    }
}

/// What a window gives to a row of its source, for `LEN` channels.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // As `pool_gradient_row`, and the place.
fn window_gradient<const LEN: usize>(
    p: PoolRow,
    images: Images<'_>,
    sample: usize,
    above: std::ops::Range<usize>,
    source: &[f32],
    pooled: &[f32],
    from: &[f32],
    to: &mut [f32],
    window: usize,
    first: usize,
) {
    let gradient: [f32; LEN] = channels_at(from, window * p.from + first);
    let columns = window * p.window..(window + 1) * p.window;
    if p.pooling == Pooling::Mean {
        for x in columns {
            let at = x * p.to + first;
            let sum: [f32; LEN] = channels_at(to, at);
            to[at..at + LEN]
                .copy_from_slice(&std::array::from_fn::<_, LEN, _>(|i| sum[i] + gradient[i] * p.share));
        }
        return;
    }
    let largest: [f32; LEN] = channels_at(pooled, window * p.pooled + first);
    // What is left of the gradient after the values before in reading order.
    let mut left = gradient;
    for y in above {
        let row = images.row(sample, y);
        for x in columns.clone() {
            let values: [f32; LEN] = channels_at(row, x * p.source + first);
            for i in 0..LEN {
                left[i] = if values[i] == largest[i] { 0.0 } else { left[i] };
            }
        }
    }
    for x in columns {
        let values: [f32; LEN] = channels_at(source, x * p.source + first);
        let at = x * p.to + first;
        let mut sum: [f32; LEN] = channels_at(to, at);
        for i in 0..LEN {
            let wins = values[i] == largest[i];
            sum[i] += if wins { left[i] } else { 0.0 };
            left[i] = if wins { 0.0 } else { left[i] };
        }
        to[at..at + LEN].copy_from_slice(&sum);
    }
}

/// A copy of `LEN` values.
#[inline(always)]
fn channels_at<const LEN: usize>(row: &[f32], at: usize) -> [f32; LEN] {
    let mut values = [0.0; LEN];
    values.copy_from_slice(&row[at..at + LEN]);
    values
}

fn check_window(window: [usize; 2], large: &ImageLayout, small: &ImageLayout) -> Result<(), KernelError> {
    let [rows, columns] = window;
    if rows == 0 || columns == 0 {
        return Err(KernelError::Size { what: "a window" });
    }
    check_equal("the number of channels", small.channels(), large.channels())?;
    check_equal("the number of rows", small.height(), large.height() / rows)?;
    check_equal("the number of columns", small.width(), large.width() / columns)
}

/// How an image is enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsampling {
    /// Each pixel is repeated.
    Nearest,
    /// Linear interpolation between pixel centers (half-pixel convention), edges repeated.
    Bilinear,
    /// Linear interpolation in which the corner pixels keep their places.
    BilinearCorners,
}

impl Upsampling {
    /// For a position of the enlarged image: the two source positions and the weight of the second.
    fn sources(self, factor: usize, size: usize, position: usize) -> (usize, usize, f32) {
        match self {
            Self::Nearest => (position / factor, position / factor, 0.0),
            Self::Bilinear | Self::BilinearCorners => {
                let center = if self == Self::Bilinear {
                    ((position as f64 + 0.5) / factor as f64 - 0.5).max(0.0)
                } else {
                    position as f64 * (size - 1) as f64 / (size * factor - 1).max(1) as f64
                };
                let first = (center as usize).min(size - 1);
                let second = (first + 1).min(size - 1);
                (first, second, if second == first { 0.0 } else { (center - first as f64) as f32 })
            }
        }
    }

    /// For a source position: the positions of the enlarged image that read it, and with what weight.
    fn readers(self, factor: usize, size: usize, source: usize) -> impl Iterator<Item = (usize, f32)> {
        let near = match self {
            Self::Nearest => source * factor..(source + 1) * factor,
            // Distances between corners are larger than the factor, by less than one factor over the image.
            Self::Bilinear | Self::BilinearCorners => {
                let margin = if self == Self::Bilinear { 0 } else { factor };
                let first = (source.saturating_sub(1) * factor).saturating_sub(margin);
                first..((source + 2) * factor + margin).min(size * factor)
            }
        };
        near.map(move |position| {
            let (first, second, along) = self.sources(factor, size, position);
            let share = |read: usize, weight: f32| if read == source { weight } else { 0.0 };
            (position, share(first, 1.0 - along) + if along > 0.0 { share(second, along) } else { 0.0 })
        })
    }
}

/// Enlarges images by a whole factor.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
pub fn upsample(
    workers: &Workers<'_>,
    samples: usize,
    upsampling: Upsampling,
    factor: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
) -> Result<(), KernelError> {
    check_window([factor, factor], to.layout, from.layout)?;
    from.layout.check("the source", from.values, samples)?;
    let row = UpsampleRow {
        upsampling,
        factor,
        width: from.layout.width(),
        channels: to.layout.channels(),
        small: from.layout.pixel_stride(),
        large: to.layout.pixel_stride(),
    };
    let height = from.layout.height();
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, y, to| {
        let (top, bottom, down) = upsampling.sources(factor, height, y);
        upsample_row(isa, row, from.row(sample, top), from.row(sample, bottom), down, to);
    })
}

/// What a row of an upsampling or of its gradient needs to know.
#[derive(Clone, Copy)]
struct UpsampleRow {
    upsampling: Upsampling,
    factor: usize,
    /// Pixels of a row of the small image.
    width: usize,
    channels: usize,
    /// Distance of pixels of the small and of the large image.
    small: usize,
    large: usize,
}

vectorized! {
    fn upsample_row(r: UpsampleRow, top: &[f32], bottom: &[f32], down: f32, to: &mut [f32]) {
        for (x, to) in to.chunks_mut(r.large).enumerate() {
            let to = &mut to[..r.channels];
            let (left, right, along) = r.upsampling.sources(r.factor, r.width, x);
            let (a, b) = (&top[left * r.small..][..r.channels], &top[right * r.small..][..r.channels]);
            match r.upsampling {
                Upsampling::Nearest => to.iter_mut().zip(a).for_each(|(to, &from)| *to = from),
                Upsampling::Bilinear | Upsampling::BilinearCorners => {
                    let (c, d) = (&bottom[left * r.small..][..r.channels], &bottom[right * r.small..][..r.channels]);
                    for (i, to) in to.iter_mut().enumerate() {
                        let above = a[i] * (1.0 - along) + b[i] * along;
                        let below = c[i] * (1.0 - along) + d[i] * along;
                        *to = above * (1.0 - down) + below * down;
                    }
                }
            }
        }
    }
}

/// The gradient of [`upsample`] with respect to its source, multiplied by the derivative of a rectifier if
/// one is given.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
#[allow(clippy::too_many_arguments)] // Three images and what to do with them.
pub fn upsample_gradient(
    workers: &Workers<'_>,
    samples: usize,
    upsampling: Upsampling,
    factor: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    check_window([factor, factor], from.layout, to.layout)?;
    from.layout.check("the gradient", from.values, samples)?;
    check_rectifier(samples, to.layout, rectifier)?;
    let layout = *to.layout;
    let row = UpsampleRow {
        upsampling,
        factor,
        width: layout.width(),
        channels: layout.channels(),
        small: layout.pixel_stride(),
        large: from.layout.pixel_stride(),
    };
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, y, to| {
        if combine == Combine::Replace {
            clear_pixels(to, row.channels, row.small);
        }
        for (position, down) in upsampling.readers(factor, layout.height(), y) {
            match upsampling {
                Upsampling::Nearest => add_repeated_row(isa, row, from.row(sample, position), to),
                Upsampling::Bilinear | Upsampling::BilinearCorners => {
                    upsample_gradient_row(isa, row, from.row(sample, position), down, to);
                }
            }
        }
        rectify(isa, &layout, rectifier, sample, y, to);
    })
}

vectorized! {
    /// Adds, to each pixel, those of a row that repeat it.
    fn add_repeated_row(r: UpsampleRow, from: &[f32], to: &mut [f32]) {
        for (x, to) in to.chunks_mut(r.small).enumerate() {
            let (whole, rest) = to[..r.channels].as_chunks_mut::<LANES>();
            for position in x * r.factor..(x + 1) * r.factor {
                let from = &from[position * r.large..][..r.channels];
                let (from, last) = from.as_chunks::<LANES>();
                for (to, from) in whole.iter_mut().zip(from) {
                    for lane in 0..LANES {
                        to[lane] += from[lane];
                    }
                }
                rest.iter_mut().zip(last).for_each(|(to, from)| *to += from);
            }
        }
    }
}

vectorized! {
    /// Adds what a row of the large image's gradient gives to a row of the small one's.
    fn upsample_gradient_row(r: UpsampleRow, from: &[f32], down: f32, to: &mut [f32]) {
        for (x, to) in to.chunks_mut(r.small).enumerate() {
            let to = &mut to[..r.channels];
            for (position, along) in r.upsampling.readers(r.factor, r.width, x) {
                let from = &from[position * r.large..][..r.channels];
                let weight = down * along;
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += weight * from);
            }
        }
    }
}
