//! Pooling and upsampling.

use crate::error::{KernelError, check_equal};
use crate::images::{Combine, Images, ImagesMut, for_rows};
use crate::layout::ImageLayout;
use crate::raw::{Workers, vectorized};

/// How the values of a window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; NaN if one is NaN.
    Maximum,
    /// The mean.
    Mean,
}

/// Pools over windows `[rows, columns]` that do not overlap; what does not fill a window is left out.
///
/// # Errors
/// Refuses images whose sizes do not fit each other and slices that are too short.
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
    let (from_pixel, to_pixel, channels) =
        (from.layout.pixel_stride(), to.layout.pixel_stride(), to.layout.channels());
    let share = 1.0 / (window[0] * window[1]) as f32;
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        for dy in 0..window[0] {
            let from = from.row(sample, row * window[0] + dy);
            for (index, to) in to.chunks_mut(to_pixel).enumerate() {
                for dx in 0..window[1] {
                    let from = &from[(index * window[1] + dx) * from_pixel..][..channels];
                    let first = dy == 0 && dx == 0;
                    pool_pixel(isa, pooling, first, share, from, &mut to[..channels]);
                }
            }
        }
    })
}

vectorized! {
    fn pool_pixel(pooling: Pooling, first: bool, share: f32, from: &[f32], to: &mut [f32]) {
        let pairs = to.iter_mut().zip(from);
        match (pooling, first) {
            (Pooling::Maximum, true) => pairs.for_each(|(to, &from)| *to = from),
            // A comparison with NaN is false: NaN replaces and is not replaced.
            (Pooling::Maximum, false) => pairs.for_each(|(to, &from)| *to = if *to >= from || to.is_nan() { *to } else { from }),
            (Pooling::Mean, true) => pairs.for_each(|(to, &from)| *to = from * share),
            (Pooling::Mean, false) => pairs.for_each(|(to, &from)| *to += from * share),
        }
    }
}

/// The gradient of [`pool`] with respect to its source, given what it read and wrote. Of equal largest
/// values the first in reading order takes the whole gradient.
///
/// # Errors
/// Refuses images whose sizes do not fit each other and slices that are too short.
#[allow(clippy::too_many_arguments)] // Four images.
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
) -> Result<(), KernelError> {
    check_window(window, to.layout, from.layout)?;
    to.layout.check_same_size("the size of the source", source.layout)?;
    from.layout.check_same_size("the size of the pooled image", pooled.layout)?;
    source.layout.check("the source", source.values, samples)?;
    pooled.layout.check("the pooled image", pooled.values, samples)?;
    from.layout.check("the gradient", from.values, samples)?;
    let height = from.layout.height();
    let row = PoolRow {
        pooling,
        window: window[1],
        share: 1.0 / (window[0] * window[1]) as f32,
        channels: to.layout.channels(),
        source: source.layout.pixel_stride(),
        pooled: pooled.layout.pixel_stride(),
        from: from.layout.pixel_stride(),
        to: to.layout.pixel_stride(),
    };
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, y, to| {
        if combine == Combine::Replace {
            to.chunks_mut(row.to).for_each(|pixel| pixel[..row.channels].fill(0.0));
        }
        let of = y / window[0];
        if of < height {
            // Rows of the window above this one: an equal value there has taken the gradient.
            let above = of * window[0]..y;
            let (pooled, from) = (pooled.row(sample, of), from.row(sample, of));
            pool_gradient_row(isa, row, source, sample, above, source.row(sample, y), pooled, from, to);
        }
    })
}

/// What a row of the gradient of a pooling needs to know.
#[derive(Clone, Copy)]
struct PoolRow {
    pooling: Pooling,
    window: usize,
    share: f32,
    channels: usize,
    source: usize,
    pooled: usize,
    from: usize,
    to: usize,
}

/// Channels of [`pool_gradient_row`] that are worked on together.
const CHANNELS: usize = 64;

vectorized! {
    fn pool_gradient_row(p: PoolRow, images: Images<'_>, sample: usize, above: std::ops::Range<usize>, source: &[f32], pooled: &[f32], from: &[f32], to: &mut [f32]) {
        let windows = from.len().div_ceil(p.from);
        for index in 0..windows {
            for first in (0..p.channels).step_by(CHANNELS) {
                let len = CHANNELS.min(p.channels - first);
                let gradient = &from[index * p.from + first..][..len];
                let largest = &pooled[index * p.pooled + first..][..len];
                // What is left of the gradient after the values before in reading order.
                let mut left = [0.0_f32; CHANNELS];
                left[..len].copy_from_slice(gradient);
                for y in above.clone() {
                    let row = images.row(sample, y);
                    for x in index * p.window..(index + 1) * p.window {
                        let values = &row[x * p.source + first..][..len];
                        for ((left, &value), &largest) in left[..len].iter_mut().zip(values).zip(largest) {
                            *left = if value == largest { 0.0 } else { *left };
                        }
                    }
                }
                for x in index * p.window..(index + 1) * p.window {
                    let values = &source[x * p.source + first..][..len];
                    let to = &mut to[x * p.to + first..][..len];
                    match p.pooling {
                        Pooling::Mean => to.iter_mut().zip(gradient).for_each(|(to, &g)| *to += g * p.share),
                        Pooling::Maximum => {
                            for i in 0..len {
                                let wins = values[i] == largest[i];
                                to[i] += if wins { left[i] } else { 0.0 };
                                left[i] = if wins { 0.0 } else { left[i] };
                            }
                        }
                    }
                }
            }
        }
    }
}

vectorized! {
    fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
    }
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
    /// Linear interpolation between pixel centres (half-pixel convention), edges repeated.
    Bilinear,
}

/// For a position of the enlarged image: the two source positions and the weight of the second.
fn sources(upsampling: Upsampling, factor: usize, size: usize, position: usize) -> (usize, usize, f32) {
    match upsampling {
        Upsampling::Nearest => (position / factor, position / factor, 0.0),
        Upsampling::Bilinear => {
            let centre = ((position as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
            let first = (centre as usize).min(size - 1);
            let second = (first + 1).min(size - 1);
            (first, second, if second == first { 0.0 } else { (centre - first as f64) as f32 })
        }
    }
}

/// Enlarges images by a whole factor.
///
/// # Errors
/// Refuses images whose sizes do not fit each other and slices that are too short.
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
    let (from_pixel, to_pixel, channels) =
        (from.layout.pixel_stride(), to.layout.pixel_stride(), to.layout.channels());
    let (height, width) = (from.layout.height(), from.layout.width());
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        let (top, bottom, down) = sources(upsampling, factor, height, row);
        let (top, bottom) = (from.row(sample, top), from.row(sample, bottom));
        for (x, to) in to.chunks_mut(to_pixel).enumerate() {
            let to = &mut to[..channels];
            let (left, right, along) = sources(upsampling, factor, width, x);
            let corner = |row: &'_ [f32], x: usize| x * from_pixel..x * from_pixel + channels.min(row.len());
            match upsampling {
                Upsampling::Nearest => to.copy_from_slice(&top[corner(top, left)]),
                Upsampling::Bilinear => {
                    let corners = [
                        &top[corner(top, left)],
                        &top[corner(top, right)],
                        &bottom[corner(bottom, left)],
                        &bottom[corner(bottom, right)],
                    ];
                    let weights = [
                        (1.0 - down) * (1.0 - along),
                        (1.0 - down) * along,
                        down * (1.0 - along),
                        down * along,
                    ];
                    blend(isa, to, corners, weights);
                }
            }
        }
    })
}

vectorized! {
    fn blend(to: &mut [f32], corners: [&[f32]; 4], weights: [f32; 4]) {
        let [a, b, c, d] = corners.map(|corner| &corner[..to.len()]);
        for (i, to) in to.iter_mut().enumerate() {
            *to = a[i] * weights[0] + b[i] * weights[1] + c[i] * weights[2] + d[i] * weights[3];
        }
    }
}

/// The gradient of [`upsample`] with respect to its source.
///
/// # Errors
/// Refuses images whose sizes do not fit each other and slices that are too short.
pub fn upsample_gradient(
    workers: &Workers<'_>,
    samples: usize,
    upsampling: Upsampling,
    factor: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    check_window([factor, factor], from.layout, to.layout)?;
    from.layout.check("the gradient", from.values, samples)?;
    let layout = *to.layout;
    let (height, width, channels) = (layout.height(), layout.width(), layout.channels());
    // For each source position: the positions it went to, and with which weight.
    let shares = |size: usize| -> Vec<Vec<(usize, f32)>> {
        let mut all = vec![Vec::new(); size];
        for position in 0..size * factor {
            let (first, second, along) = sources(upsampling, factor, size, position);
            all[first].push((position, 1.0 - along));
            if along > 0.0 {
                all[second].push((position, along));
            }
        }
        all
    };
    let (rows, columns) = (shares(height), shares(width));
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        for (x, to) in to.chunks_mut(layout.pixel_stride()).enumerate() {
            let to = &mut to[..channels];
            if combine == Combine::Replace {
                to.fill(0.0);
            }
            for &(y, down) in &rows[row] {
                let from_row = from.row(sample, y);
                for &(x, along) in &columns[x] {
                    add_scaled(
                        isa,
                        to,
                        &from_row[x * from.layout.pixel_stride()..][..channels],
                        down * along,
                    );
                }
            }
        }
    })
}
