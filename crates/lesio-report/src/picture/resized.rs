//! Pictures enlarged, shrunk, and put together.

use super::{Picture, PictureError};
use crate::color::Rgb;

impl Picture {
    /// This picture with each pixel a square of `factor` x `factor`; 0 counts as 1.
    ///
    /// # Errors
    /// Refuses a result of more than [`Picture::MAX_PIXELS`].
    pub fn enlarged(self, factor: usize) -> Result<Self, PictureError> {
        self.stretched([factor; 2])
    }

    /// This picture with each row repeated `down` times and each column `across` times, for pixels that are no squares; 0
    /// counts as 1.
    ///
    /// # Errors
    /// For a result of more than [`Picture::MAX_PIXELS`].
    pub fn stretched(self, factors: [usize; 2]) -> Result<Self, PictureError> {
        let [down, across] = factors.map(|factor| factor.max(1));
        if [down, across] == [1, 1] {
            return Ok(self);
        }
        let (height, width) = (self.height.saturating_mul(down), self.width.saturating_mul(across));
        let mut enlarged = Self::filled(height, width, Rgb::NOT_FINITE)?;
        for (row, pixels) in enlarged.pixels.chunks_exact_mut(width).enumerate() {
            let from = &self.pixels[row / down * self.width..][..self.width];
            for (squares, &color) in pixels.chunks_exact_mut(across).zip(from) {
                squares.fill(color);
            }
        }
        enlarged.not_finite = self.not_finite;
        Ok(enlarged)
    }

    /// This picture with sides of at most `side` pixels: each pixel is the mean color of a square of pixels.
    #[must_use]
    pub fn shrunk(self, side: usize) -> Self {
        let by = self.height.max(self.width).div_ceil(side.max(1));
        if by <= 1 {
            return self;
        }
        let (height, width) = (self.height.div_ceil(by), self.width.div_ceil(by));
        let mut sums = vec![[0_usize; 4]; height * width];
        for (row, pixels) in self.pixels.chunks_exact(self.width).enumerate() {
            for (column, Rgb(color)) in pixels.iter().enumerate() {
                let sum = &mut sums[row / by * width + column / by];
                color.iter().zip(sum.iter_mut()).for_each(|(&value, sum)| *sum += usize::from(value));
                sum[3] += 1;
            }
        }
        let mean =
            |[red, green, blue, count]: [usize; 4]| Rgb([red, green, blue].map(|sum| (sum / count) as u8));
        Self { height, width, pixels: sums.into_iter().map(mean).collect(), not_finite: self.not_finite }
    }

    /// Adds a picture below, of the same width.
    ///
    /// # Errors
    /// Another width, and more than [`Picture::MAX_PIXELS`].
    pub(crate) fn append(&mut self, below: Self) -> Result<(), PictureError> {
        if below.width != self.width {
            return Err(self.size_error("picture", (below.height, below.width)));
        }
        let height = self.height + below.height;
        if height * self.width > Self::MAX_PIXELS {
            return Err(PictureError::TooLarge { height, width: self.width });
        }
        self.pixels.extend(below.pixels);
        self.height = height;
        self.not_finite += below.not_finite;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::scale::Scale;

    #[test]
    fn shrunk_pictures_are_means() {
        let values = array![[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0]];
        let picture = Picture::gray(values.view(), Scale::new(0.0, 1.0).unwrap()).unwrap();
        let small = picture.clone().shrunk(2);
        let colors =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(row, column)| small.pixel(row, column).unwrap().0[0]);
        assert_eq!((small.height(), small.width(), colors), (2, 2, [127, 128, 0, 255]));
        assert_eq!(picture.clone().shrunk(3), picture);
        assert_eq!(picture.shrunk(0).pixels.len(), 1);
    }
}
