//! Training images.

use std::sync::Arc;

use lesio_nn::Shape;

/// Images of one shape, each with its region of interest, flattened sample after sample. Clones share the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    shape: Shape,
    values: Arc<Vec<f32>>,
    /// One flag per pixel (not per channel); empty if every pixel counts.
    regions: Arc<Vec<bool>>,
}

/// Why images cannot be used for training.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExamplesError {
    /// An image has another number of values.
    #[error("an image holds {found} values, expected {expected} for shape {shape}")]
    Length {
        /// Number of values.
        found: usize,
        /// The number expected.
        expected: usize,
        /// Shape of the images.
        shape: Shape,
    },
    /// A region has another number of pixels.
    #[error("a region holds {found} pixels, expected {expected}")]
    Region {
        /// Number of pixels.
        found: usize,
        /// The number expected.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("image {image} holds {value} at index {index}")]
    NonFinite {
        /// The image's index, from 0.
        image: usize,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Examples {
    /// An empty set of images of a shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, values: Arc::default(), regions: Arc::default() }
    }

    /// Adds an image `[c, h, w]`, row-major, in which every pixel counts.
    ///
    /// # Errors
    /// For another number of values, and for values that are not finite.
    pub fn push(&mut self, image: &[f32]) -> Result<(), ExamplesError> {
        self.check(image)?;
        Arc::make_mut(&mut self.values).extend_from_slice(image);
        if !self.regions.is_empty() {
            let length = self.regions.len() + self.shape.pixels();
            Arc::make_mut(&mut self.regions).resize(length, true);
        }
        Ok(())
    }

    /// Adds an image `[c, h, w]` and its region of interest `[h, w]` (a head without the air around it).
    ///
    /// # Errors
    /// For another number of values or pixels, and for values that are not finite.
    pub fn push_region(&mut self, image: &[f32], region: &[bool]) -> Result<(), ExamplesError> {
        self.check(image)?;
        let expected = self.shape.pixels();
        if region.len() != expected {
            return Err(ExamplesError::Region { found: region.len(), expected });
        }
        let before = self.len() * expected;
        let regions = Arc::make_mut(&mut self.regions);
        regions.resize(before, true);
        regions.extend_from_slice(region);
        Arc::make_mut(&mut self.values).extend_from_slice(image);
        Ok(())
    }

    /// Shape of an image.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.shape.len().max(1)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// An image, `[c, h, w]`; empty past the last.
    #[must_use]
    pub fn image(&self, index: usize) -> &[f32] {
        self.values.chunks_exact(self.shape.len().max(1)).nth(index).unwrap_or(&[])
    }

    /// The region of interest of an image, `[h, w]`; `None` if every pixel counts.
    #[must_use]
    pub fn region(&self, index: usize) -> Option<&[bool]> {
        self.regions.chunks_exact(self.shape.pixels().max(1)).nth(index)
    }

    /// The first image, and every so many after it.
    ///
    /// # Errors
    /// None in practice; images are checked as they are added.
    pub fn thinned(&self, every: usize) -> Result<Self, ExamplesError> {
        let mut part = Self::new(self.shape);
        for place in (0..self.len()).step_by(every.max(1)) {
            match self.region(place) {
                Some(region) => part.push_region(self.image(place), region)?,
                None => part.push(self.image(place))?,
            }
        }
        Ok(part)
    }

    /// A checksum of all values and regions.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for value in self.values.iter() {
            hasher.update(&value.to_le_bytes());
        }
        for chunk in self.regions.chunks(4096) {
            let bytes: Vec<u8> = chunk.iter().map(|&inside| u8::from(inside)).collect();
            hasher.update(&bytes);
        }
        hasher.finalize()
    }

    fn check(&self, image: &[f32]) -> Result<(), ExamplesError> {
        let expected = self.shape.len();
        if image.len() != expected {
            return Err(ExamplesError::Length { found: image.len(), expected, shape: self.shape });
        }
        match image.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(ExamplesError::NonFinite { image: self.len(), index, value: image[index] }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_may_begin_late() {
        let mut examples = Examples::new(Shape::new(1, 1, 2));
        examples.push(&[1.0, 2.0]).unwrap();
        assert_eq!(examples.region(0), None);
        examples.push_region(&[3.0, 4.0], &[true, false]).unwrap();
        examples.push(&[5.0, 6.0]).unwrap();
        assert_eq!(examples.len(), 3);
        assert_eq!(examples.region(0), Some(&[true, true][..]));
        assert_eq!(examples.region(1), Some(&[true, false][..]));
        assert_eq!(examples.region(2), Some(&[true, true][..]));
        assert_eq!(examples.image(1), [3.0, 4.0]);
        assert!(matches!(examples.push(&[1.0]), Err(ExamplesError::Length { .. })));
        assert!(matches!(
            examples.push(&[1.0, f32::NAN]),
            Err(ExamplesError::NonFinite { image: 3, index: 1, .. })
        ));
    }
}
