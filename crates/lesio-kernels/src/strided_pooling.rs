//! Maximum over windows that may overlap.

use crate::error::{KernelError, check_equal};
use crate::images::{
    Combine, Images, ImagesMut, Rectifier, check_rectifier, clear_pixels, for_rows, rectify,
};
use crate::layout::ImageLayout;
use crate::raw::Workers;

/// Windows of any distance, along rows and along columns. Pixels beyond the edges of an image do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Rows and columns of a window.
    pub size: [usize; 2],
    /// Distance of windows.
    pub stride: [usize; 2],
    /// How far the first window reaches over the edge; less than its size.
    pub padding: [usize; 2],
}

/// The maximum over each window; NaN if one value is NaN.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
pub fn pool_windows(
    workers: &Workers<'_>,
    samples: usize,
    windows: Windows,
    from: Images<'_>,
    to: ImagesMut<'_>,
) -> Result<(), KernelError> {
    windows.check(from.layout, to.layout)?;
    from.layout.check("the source", from.values, samples)?;
    let pixel = to.layout.pixel_stride();
    for_rows(workers, samples, to, |sample, y, to| {
        for (x, to) in to.chunks_mut(pixel).enumerate() {
            for (channel, to) in to[..from.layout.channels()].iter_mut().enumerate() {
                *to = windows.largest(from, sample, [y, x], channel).1;
            }
        }
    })
}

/// The gradient of [`pool_windows`] with respect to its source, multiplied by the derivative of a rectifier if one is
/// given. Of equal largest values of a window, the first in reading order takes the whole gradient.
///
/// # Errors
/// For images whose sizes do not fit each other and slices that are too short.
#[allow(clippy::too_many_arguments)] // Three images.
pub fn pool_windows_gradient(
    workers: &Workers<'_>,
    samples: usize,
    windows: Windows,
    source: Images<'_>,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
    rectifier: Option<Rectifier<'_>>,
) -> Result<(), KernelError> {
    windows.check(to.layout, from.layout)?;
    to.layout.check_same_size("the size of the source", source.layout)?;
    source.layout.check("the source", source.values, samples)?;
    from.layout.check("the gradient", from.values, samples)?;
    check_rectifier(samples, to.layout, rectifier)?;
    let layout = *to.layout;
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, y, to| {
        if combine == Combine::Replace {
            clear_pixels(to, layout.channels(), layout.pixel_stride());
        }
        for window_row in windows.rows_that_contain(y, from.layout.height()) {
            let gradients = from.row(sample, window_row).chunks(from.layout.pixel_stride());
            for (window_column, gradients) in gradients.enumerate() {
                for (channel, gradient) in gradients[..layout.channels()].iter().enumerate() {
                    let (at, _) = windows.largest(source, sample, [window_row, window_column], channel);
                    if at[0] == y {
                        to[at[1] * layout.pixel_stride() + channel] += gradient;
                    }
                }
            }
        }
        rectify(isa, &layout, rectifier, sample, y, to);
    })
}

impl Windows {
    /// Number of windows along an axis of an image.
    fn count(self, axis: usize, size: usize) -> usize {
        let padded = size + 2 * self.padding[axis];
        padded.checked_sub(self.size[axis]).map_or(0, |rest| rest / self.stride[axis] + 1)
    }

    /// Pixels of a window along an axis.
    fn range(self, axis: usize, window: usize, size: usize) -> std::ops::Range<usize> {
        let first = window * self.stride[axis];
        let end = (first + self.size[axis]).saturating_sub(self.padding[axis]).min(size);
        first.saturating_sub(self.padding[axis])..end
    }

    /// The rows of windows that contain a row of the image.
    fn rows_that_contain(self, y: usize, count: usize) -> std::ops::Range<usize> {
        let (padded, stride) = (y + self.padding[0], self.stride[0]);
        let first = (padded + 1).saturating_sub(self.size[0]).div_ceil(stride);
        first..(padded / stride + 1).min(count)
    }

    /// Row, column and value of the first largest value of a window.
    fn largest(
        self,
        source: Images<'_>,
        sample: usize,
        window: [usize; 2],
        channel: usize,
    ) -> ([usize; 2], f32) {
        let layout = source.layout;
        let columns = self.range(1, window[1], layout.width());
        let mut found = ([usize::MAX; 2], f32::NEG_INFINITY);
        for y in self.range(0, window[0], layout.height()) {
            let row = source.row(sample, y);
            for x in columns.clone() {
                let value = row[x * layout.pixel_stride() + channel];
                // A comparison with NaN is false: NaN replaces and is not replaced.
                let keeps = found.0[0] != usize::MAX && (found.1 >= value || found.1.is_nan());
                if !keeps {
                    found = ([y, x], value);
                }
            }
        }
        found
    }

    fn check(self, large: &ImageLayout, small: &ImageLayout) -> Result<(), KernelError> {
        for axis in 0..2 {
            if self.size[axis] == 0 || self.stride[axis] == 0 || self.padding[axis] >= self.size[axis] {
                return Err(KernelError::Size { what: "a window" });
            }
        }
        check_equal("the number of channels", small.channels(), large.channels())?;
        check_equal("the number of rows", small.height(), self.count(0, large.height()))?;
        check_equal("the number of columns", small.width(), self.count(1, large.width()))
    }
}
