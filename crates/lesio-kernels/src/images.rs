//! Batches of images as arguments, and work on their rows.

use crate::error::KernelError;
use crate::layout::ImageLayout;
use crate::raw::{Isa, Workers, vectorized};

/// A batch of images to read.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// The values, as the layout says.
    pub values: &'a [f32],
    /// Where they lie.
    pub layout: &'a ImageLayout,
}

/// A batch of images to write. Borders are never written.
#[derive(Debug)]
pub struct ImagesMut<'a> {
    /// The values, as the layout says.
    pub values: &'a mut [f32],
    /// Where they lie.
    pub layout: &'a ImageLayout,
}

impl<'a> Images<'a> {
    /// Images in a slice.
    #[must_use]
    pub fn new(values: &'a [f32], layout: &'a ImageLayout) -> Self {
        Self { values, layout }
    }

    /// A row from its first to its last pixel.
    pub(crate) fn row(&self, sample: usize, row: usize) -> &'a [f32] {
        let range = self.layout.row_range(row);
        let offset = sample * self.layout.sample_stride();
        &self.values[offset + range.start..offset + range.end]
    }
}

impl<'a> ImagesMut<'a> {
    /// Images in a slice.
    #[must_use]
    pub fn new(values: &'a mut [f32], layout: &'a ImageLayout) -> Self {
        Self { values, layout }
    }
}

/// How results are combined with the values already in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// They are replaced.
    Replace,
    /// The new values are added to them.
    Add,
}

/// The derivative of a leaky rectifier, by which a gradient is multiplied: 1 where the rectified value is
/// positive, else the slope.
#[derive(Clone, Copy, Debug)]
pub struct Rectifier<'a> {
    /// The rectified values.
    pub images: Images<'a>,
    /// The slope for negative values.
    pub slope: f32,
}

/// Values of an image below which handing a part of it to another thread costs more than it saves.
const SMALLEST_PART: usize = 1 << 13;

/// Calls `work` with sample, row and values (first to last pixel) of every row of a batch.
pub(crate) fn for_rows(
    workers: &Workers<'_>,
    samples: usize,
    images: ImagesMut<'_>,
    work: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Result<(), KernelError> {
    let layout = images.layout;
    layout.check("an image", images.values, samples)?;
    let padded = layout.sample_stride() / layout.row_stride();
    let rows = SMALLEST_PART.div_ceil(layout.row_stride());
    let len = layout.len(samples)?;
    let first = layout.row_range(0).start % layout.row_stride();
    let count = layout.row_range(0).len();
    workers.chunks(&mut images.values[..len], rows * layout.row_stride(), |chunk, values| {
        for (index, values) in values.chunks_mut(layout.row_stride()).enumerate() {
            let row = chunk * rows + index;
            let (sample, row) = (row / padded, row % padded);
            if let Some(row) = row.checked_sub(layout.border().before)
                && row < layout.height()
            {
                work(sample, row, &mut values[first..first + count]);
            }
        }
    });
    Ok(())
}

/// Calls `work` with bands of at most `rows` rows of every sample: the sample, the first row and how many,
/// and the band's values from the beginning of its first row in memory (border included).
pub(crate) fn for_bands(
    workers: &Workers<'_>,
    samples: usize,
    images: ImagesMut<'_>,
    rows: usize,
    work: impl Fn(usize, std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Result<(), KernelError> {
    let layout = images.layout;
    layout.check("an image", images.values, samples)?;
    let stride = layout.row_stride();
    let padded = layout.sample_stride() / stride;
    let before = layout.border().before;
    let len = layout.len(samples)?;
    // Chunks of memory need not begin with a sample: one may hold the end of a sample and the beginning
    // of the next.
    workers.chunks(&mut images.values[..len], rows * stride, |chunk, mut values| {
        let mut at = chunk * rows;
        while !values.is_empty() {
            let (sample, first) = (at / padded, at % padded);
            let count = (padded - first).min(values.len() / stride);
            let (band, rest) = values.split_at_mut(count * stride);
            let begin = first.max(before);
            let end = (first + count).min(before + layout.height());
            if begin < end {
                work(sample, begin - before..end - before, &mut band[(begin - first) * stride..]);
            }
            at += count;
            values = rest;
        }
    });
    Ok(())
}

/// Runs of values that lie side by side in a row: how many, how long, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub(crate) count: usize,
    pub(crate) len: usize,
    strides: [usize; 3],
}

impl Runs {
    /// The runs that up to three layouts of images of one size have in common.
    pub(crate) fn common(layouts: [&ImageLayout; 3]) -> Self {
        let [first, ..] = layouts;
        let strides = layouts.map(ImageLayout::pixel_stride);
        if strides.iter().all(|&stride| stride == first.channels()) {
            Self { count: 1, len: first.width() * first.channels(), strides: [0; 3] }
        } else {
            Self { count: first.width(), len: first.channels(), strides }
        }
    }

    /// Starts of a run in rows of the layouts.
    pub(crate) fn starts(&self) -> impl Iterator<Item = [usize; 3]> {
        let strides = self.strides;
        (0..self.count).map(move |run| strides.map(|stride| run * stride))
    }
}

vectorized! {
    /// Copies or adds a row, then multiplies by the derivative of a rectifier.
    fn transfer_row(runs: Runs, from: &[f32], to: &mut [f32], combine: Combine, mask: Option<(&[f32], f32)>) {
        for [a, b, c] in runs.starts() {
            let from = &from[a..a + runs.len];
            let to = &mut to[b..b + runs.len];
            match combine {
                Combine::Replace => to.copy_from_slice(from),
                Combine::Add => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            }
            if let Some((values, slope)) = mask {
                let values = &values[c..c + runs.len];
                for (to, &value) in to.iter_mut().zip(values) {
                    *to = if value > 0.0 { *to } else { *to * slope };
                }
            }
        }
    }
}

/// Copies images into another layout of the same size or adds them to what is there, and multiplies the
/// result by the derivative of a rectifier if one is given.
///
/// # Errors
/// For images of different sizes and slices that are too short.
pub fn transfer(
    workers: &Workers<'_>,
    samples: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    let mask_layout = rectifier.map_or(from.layout, |rectifier| rectifier.images.layout);
    to.layout.check_same_size("the size of the source", from.layout)?;
    to.layout.check_same_size("the size of the rectified image", mask_layout)?;
    from.layout.check("the source", from.values, samples)?;
    if let Some(rectifier) = rectifier {
        mask_layout.check("the rectified image", rectifier.images.values, samples)?;
    }
    let runs = Runs::common([from.layout, to.layout, mask_layout]);
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        let mask = rectifier.map(|rectifier| (rectifier.images.row(sample, row), rectifier.slope));
        transfer_row(isa, runs, from.row(sample, row), to, combine, mask);
    })
}

vectorized! {
    /// Multiplies a row by the derivative of a rectifier.
    pub(crate) fn rectify_row(runs: Runs, to: &mut [f32], values: &[f32], slope: f32) {
        for [a, b, _] in runs.starts() {
            let values = &values[b..b + runs.len];
            for (to, &value) in to[a..a + runs.len].iter_mut().zip(values) {
                *to = if value > 0.0 { *to } else { *to * slope };
            }
        }
    }
}

pub(crate) fn check_rectifier(
    samples: usize,
    layout: &ImageLayout,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    let Some(Rectifier { images, .. }) = rectifier else { return Ok(()) };
    layout.check_same_size("the size of the rectified image", images.layout)?;
    images.layout.check("the rectified image", images.values, samples)
}

/// Multiplies a row by the derivative of the rectifier, while it is near.
pub(crate) fn rectify(
    isa: Isa,
    layout: &ImageLayout,
    rectifier: Option<Rectifier<'_>>,
    sample: usize,
    y: usize,
    to: &mut [f32],
) {
    if let Some(Rectifier { images, slope }) = rectifier {
        let runs = Runs::common([layout, images.layout, images.layout]);
        rectify_row(isa, runs, to, images.row(sample, y), slope);
    }
}

/// Writes zeros to the channels of a row of pixels.
pub(crate) fn clear_pixels(row: &mut [f32], channels: usize, pixel: usize) {
    if channels == pixel {
        row.fill(0.0);
    } else {
        row.chunks_mut(pixel).for_each(|pixel| pixel[..channels].fill(0.0));
    }
}

/// Multiplies a gradient by the derivative of a rectifier, in place.
///
/// # Errors
/// For images of different sizes and slices that are too short.
pub fn rectify_gradient(
    workers: &Workers<'_>,
    samples: usize,
    gradient: ImagesMut<'_>,
    rectifier: Rectifier<'_>,
) -> Result<(), KernelError> {
    let images = rectifier.images;
    gradient.layout.check_same_size("the size of the rectified image", images.layout)?;
    images.layout.check("the rectified image", images.values, samples)?;
    let runs = Runs::common([gradient.layout, images.layout, images.layout]);
    let isa = workers.isa();
    for_rows(workers, samples, gradient, |sample, row, to| {
        rectify_row(isa, runs, to, images.row(sample, row), rectifier.slope);
    })
}

/// Writes zeros.
///
/// # Errors
/// For a slice that is too short.
pub fn clear(workers: &Workers<'_>, samples: usize, to: ImagesMut<'_>) -> Result<(), KernelError> {
    let (pixel, channels) = (to.layout.pixel_stride(), to.layout.channels());
    for_rows(workers, samples, to, |_, _, row| {
        row.chunks_mut(pixel).for_each(|pixel| pixel[..channels].fill(0.0));
    })
}

/// Reads images from planes, `[samples, channels, rows, columns]`, row-major, or adds them.
///
/// # Errors
/// For slices that are too short.
pub fn from_planes(
    workers: &Workers<'_>,
    samples: usize,
    planes: &[f32],
    to: ImagesMut<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    let layout = to.layout;
    crate::error::check_len("the planes", planes.len(), layout.values().saturating_mul(samples))?;
    for_rows(workers, samples, to, |sample, row, to| {
        for channel in 0..layout.channels() {
            let first = ((sample * layout.channels() + channel) * layout.height() + row) * layout.width();
            let plane = &planes[first..first + layout.width()];
            let pixels = to[channel..].iter_mut().step_by(layout.pixel_stride());
            match combine {
                Combine::Replace => pixels.zip(plane).for_each(|(to, &from)| *to = from),
                Combine::Add => pixels.zip(plane).for_each(|(to, &from)| *to += from),
            }
        }
    })
}

/// Writes images as planes: `[samples, channels, rows, columns]`, row-major.
///
/// # Errors
/// For slices that are too short.
pub fn to_planes(
    workers: &Workers<'_>,
    samples: usize,
    from: Images<'_>,
    planes: &mut [f32],
) -> Result<(), KernelError> {
    let layout = from.layout;
    let len = layout.values().saturating_mul(samples);
    crate::error::check_len("the planes", planes.len(), len)?;
    from.layout.check("an image", from.values, samples)?;
    let pixels = layout.height() * layout.width();
    workers.chunks(&mut planes[..len], pixels, |index, plane| {
        let (sample, channel) = (index / layout.channels(), index % layout.channels());
        for (row, plane) in plane.chunks_mut(layout.width()).enumerate() {
            let values = from.row(sample, row)[channel..].iter().step_by(layout.pixel_stride());
            plane.iter_mut().zip(values).for_each(|(to, &from)| *to = from);
        }
    });
    Ok(())
}
