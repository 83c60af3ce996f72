//! Where the pixels of a batch of images lie in a slice.

use crate::error::{KernelError, check_len};

/// Channels that are computed side by side; packed weights are padded to multiples of it.
pub const LANES: usize = 16;

/// Pixels kept around an image, all zero: windows that reach over the edge read them instead of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Border {
    /// Rows above and columns to the left.
    pub before: usize,
    /// Rows below and columns to the right.
    pub after: usize,
}

impl Border {
    /// No border.
    pub const NONE: Self = Self { before: 0, after: 0 };

    /// The narrowest border that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { before: self.before.max(other.before), after: self.after.max(other.after) }
    }
}

/// Layout of a batch of images of one size: samples, rows, columns, channels, the channels side by side.
///
/// Each image may have a zero [`Border`]; it may also be a run of the channels of wider pixels, so that
/// the parts of a concatenation are written where they will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLayout {
    channels: usize,
    height: usize,
    width: usize,
    border: Border,
    first_channel: usize,
    pixel: usize,
    row: usize,
    sample: usize,
}

impl ImageLayout {
    /// Images of `channels`, `height` and `width` with a border.
    ///
    /// # Errors
    /// For a size of zero, and sizes whose product does not fit the address space.
    pub fn new(channels: usize, height: usize, width: usize, border: Border) -> Result<Self, KernelError> {
        let error = KernelError::Size { what: "an image" };
        if channels == 0 || height == 0 || width == 0 {
            return Err(error);
        }
        let padded = |size: usize| size.checked_add(border.before)?.checked_add(border.after);
        let strides = || {
            let row = padded(width)?.checked_mul(channels)?;
            let sample = padded(height)?.checked_mul(row)?;
            // Byte offsets must fit `isize`, as the standard library demands of every allocation.
            (sample <= isize::MAX as usize / 8).then_some((row, sample))
        };
        let (row, sample) = strides().ok_or(error)?;
        Ok(Self { channels, height, width, border, first_channel: 0, pixel: channels, row, sample })
    }

    /// A vector of `features` values per sample: one pixel without border.
    ///
    /// # Errors
    /// For zero features.
    pub fn vector(features: usize) -> Result<Self, KernelError> {
        Self::new(features, 1, 1, Border::NONE)
    }

    /// The images made of channels `first .. first + count` of these.
    ///
    /// # Errors
    /// For no channels, and channels that are not there.
    pub fn channel_range(&self, first: usize, count: usize) -> Result<Self, KernelError> {
        let inside = first.checked_add(count).is_some_and(|end| end <= self.channels);
        if !inside || count == 0 {
            return Err(KernelError::Size { what: "a range of channels" });
        }
        Ok(Self { first_channel: self.first_channel + first, channels: count, ..*self })
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of rows without the border.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of columns without the border.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The zero border.
    #[must_use]
    pub fn border(&self) -> Border {
        self.border
    }

    /// Distance between pixels of a row.
    #[must_use]
    pub fn pixel_stride(&self) -> usize {
        self.pixel
    }

    /// Distance between rows.
    #[must_use]
    pub fn row_stride(&self) -> usize {
        self.row
    }

    /// Distance between samples.
    #[must_use]
    pub fn sample_stride(&self) -> usize {
        self.sample
    }

    /// Index of the first channel of a pixel.
    #[must_use]
    pub fn index(&self, sample: usize, row: usize, column: usize) -> usize {
        sample * self.sample
            + (row + self.border.before) * self.row
            + (column + self.border.before) * self.pixel
            + self.first_channel
    }

    /// Index of the first channel of the pixel `up` rows above and `left` columns left of pixel (0, 0) of
    /// sample 0, if the border reaches so far.
    pub(crate) fn index_before(&self, up: isize, left: isize) -> Option<usize> {
        let row = self.border.before.checked_add_signed(up.checked_neg()?)?;
        let column = self.border.before.checked_add_signed(left.checked_neg()?)?;
        Some(row * self.row + column * self.pixel + self.first_channel)
    }

    /// Values that one sample without border takes.
    #[must_use]
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether the values of a sample lie side by side, without border or foreign channels.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.sample == self.values()
    }

    /// Number of values that a slice of `samples` samples holds, borders included.
    ///
    /// # Errors
    /// For numbers that do not fit the address space.
    pub fn len(&self, samples: usize) -> Result<usize, KernelError> {
        self.sample
            .checked_mul(samples)
            .filter(|&len| len <= isize::MAX as usize / 8)
            .ok_or(KernelError::Size { what: "a batch" })
    }

    /// Whether it holds no value: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Checks that a slice holds this many samples.
    pub(crate) fn check(&self, what: &'static str, data: &[f32], samples: usize) -> Result<(), KernelError> {
        check_len(what, data.len(), self.len(samples)?)
    }

    /// Checks that another layout is of images of the same size.
    pub(crate) fn check_same_size(&self, what: &'static str, other: &Self) -> Result<(), KernelError> {
        for (found, expected) in
            [(other.channels, self.channels), (other.height, self.height), (other.width, self.width)]
        {
            crate::error::check_equal(what, found, expected)?;
        }
        Ok(())
    }

    /// The row of a sample, all channels, from its first to its last pixel; foreign channels between
    /// the pixels of a channel range included.
    pub(crate) fn row_range(&self, row: usize) -> std::ops::Range<usize> {
        let start = self.index(0, row, 0);
        start..start + (self.width - 1) * self.pixel + self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_lie_where_the_strides_say() {
        let layout = ImageLayout::new(3, 4, 5, Border { before: 1, after: 2 }).unwrap();
        assert_eq!(layout.row_stride(), 8 * 3);
        assert_eq!(layout.sample_stride(), 7 * 24);
        assert_eq!(layout.index(1, 0, 0), 168 + 24 + 3);
        assert_eq!(layout.index_before(1, 1), Some(0));
        assert_eq!(layout.index_before(2, 0), None);
        assert_eq!(layout.index_before(-1, 0), Some(2 * 24 + 3));
        let part = layout.channel_range(1, 2).unwrap();
        assert_eq!(part.index(0, 0, 0), 24 + 3 + 1);
        assert_eq!(part.row_range(0), 28..28 + 4 * 3 + 2);
        assert!(!part.is_dense() && ImageLayout::vector(7).unwrap().is_dense());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(ImageLayout::new(0, 1, 1, Border::NONE).is_err());
        assert!(ImageLayout::new(usize::MAX / 2, 3, 1, Border::NONE).is_err());
        assert!(ImageLayout::vector(5).unwrap().len(usize::MAX / 2).is_err());
        assert!(ImageLayout::vector(5).unwrap().channel_range(4, 2).is_err());
    }
}
