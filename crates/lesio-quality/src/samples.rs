//! Samples: candidate segmentations with their quality, for training and testing estimators.

use lesio_metrics::{Confusion, WhenEmpty, WhenNoSurface, hd95};
use ndarray::{ArrayView2, ArrayView3};

use crate::error::InputError;
use crate::framing::{Framing, Standardization};

/// A slice, a candidate segmentation of it, and the truth, on the grid of the networks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The patient: samples of one patient are not independent.
    pub patient: String,
    /// The image in deviations from the slice's mean, `[channel, row, column]`.
    pub image: Vec<f32>,
    /// The range of the whole slice's intensities, in deviations, of each channel.
    pub ranges: Vec<f32>,
    /// Image pixels per grid pixel.
    pub pixel: f64,
    /// The candidate: 0, or 1 + the position of the label in [`Framing::labels`].
    pub segmentation: Vec<u8>,
    /// The truth: 0, or 1 + the position of the class among the classes given.
    pub truth: Vec<u8>,
    /// Dice of each label, on the whole slice.
    pub dice: Vec<f64>,
    /// HD95 of each label in image pixels; `None` where candidate or truth is empty.
    pub distance: Vec<Option<f64>>,
}

impl Sample {
    /// Frames a candidate and compares it with the truth; `None` where the candidate holds none of the labels.
    ///
    /// `classes` are the labels of the truth that networks may learn to see, a superset of the framing's.
    ///
    /// # Errors
    /// Those of [`Framing::frame`], also for the truth.
    pub fn new(
        framing: &Framing,
        classes: &[u8],
        patient: impl Into<String>,
        image: &ArrayView3<'_, f32>,
        candidate: &ArrayView2<'_, u8>,
        truth: &ArrayView2<'_, u8>,
    ) -> Result<Option<Self>, InputError> {
        let Some(frame) = framing.frame(image, candidate)? else { return Ok(None) };
        let quality = Quality::measure(&framing.labels, candidate, truth)?;
        Ok(Some(Self {
            patient: patient.into(),
            ranges: frame.scales.iter().map(Standardization::range).collect(),
            pixel: frame.pixel(),
            truth: frame.indices(truth, classes)?,
            image: frame.image,
            segmentation: frame.segmentation,
            dice: quality.dice,
            distance: quality.distance,
        }))
    }

    /// Mean Dice over the labels.
    #[must_use]
    pub fn mean_dice(&self) -> f64 {
        self.dice.iter().sum::<f64>() / self.dice.len().max(1) as f64
    }
}

/// The quality of a segmentation, label by label.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// Dice of each label; 1 where neither segmentation nor truth has it.
    pub dice: Vec<f64>,
    /// HD95 of each label in pixels; `None` where either is empty.
    pub distance: Vec<Option<f64>>,
}

impl Quality {
    /// Compares a segmentation with the truth.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn measure(
        labels: &[u8],
        segmentation: &ArrayView2<'_, u8>,
        truth: &ArrayView2<'_, u8>,
    ) -> Result<Self, InputError> {
        if segmentation.shape() != truth.shape() {
            let (image, segmentation) = (truth.shape().to_vec(), segmentation.shape().to_vec());
            return Err(InputError::Shape { image, segmentation });
        }
        let (mut dice, mut distance) = (Vec::new(), Vec::new());
        for &label in labels {
            let a = segmentation.mapv(|found| found == label);
            let b = truth.mapv(|found| found == label);
            let confusion = Confusion::between(a.view(), b.view())?;
            dice.push(confusion.dice(WhenEmpty::One).unwrap_or(1.0));
            let both = a.iter().any(|&inside| inside) && b.iter().any(|&inside| inside);
            distance.push(if both {
                Some(hd95(a.view(), b.view(), &[1.0, 1.0], WhenNoSurface::Infinity)?)
            } else {
                None
            });
        }
        Ok(Self { dice, distance })
    }
}

/// Samples of one framing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    samples: Vec<Sample>,
}

impl Samples {
    /// No samples yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// A sample.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Sample> {
        self.samples.get(index)
    }

    /// All samples in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Sample> {
        self.samples.iter()
    }

    /// The samples at these positions, in this order; positions past the last are passed over.
    #[must_use]
    pub fn select(&self, positions: &[usize]) -> Self {
        Self { samples: positions.iter().filter_map(|&position| self.get(position)).cloned().collect() }
    }

    /// The patient of each sample.
    pub(crate) fn patients(&self) -> Vec<String> {
        self.samples.iter().map(|sample| sample.patient.clone()).collect()
    }

    /// All images, `[n, channels, h, w]`.
    pub(crate) fn images(&self) -> Vec<f32> {
        self.samples.iter().flat_map(|sample| sample.image.iter().copied()).collect()
    }

    /// All segmentations, `[n, h, w]`.
    pub(crate) fn segmentations(&self) -> Vec<u8> {
        self.samples.iter().flat_map(|sample| sample.segmentation.iter().copied()).collect()
    }

    /// A checksum of all data for training.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for sample in &self.samples {
            for value in &sample.image {
                hasher.update(&value.to_le_bytes());
            }
            hasher.update(&sample.segmentation);
            hasher.update(&sample.truth);
            for value in sample.dice.iter().chain(sample.distance.iter().flatten()) {
                hasher.update(&value.to_le_bytes());
            }
            hasher.update(&sample.pixel.to_le_bytes());
            hasher.update(sample.patient.as_bytes());
        }
        hasher.finalize()
    }
}

impl FromIterator<Sample> for Samples {
    fn from_iter<T: IntoIterator<Item = Sample>>(samples: T) -> Self {
        Self { samples: samples.into_iter().collect() }
    }
}

impl Extend<Sample> for Samples {
    fn extend<T: IntoIterator<Item = Sample>>(&mut self, samples: T) {
        self.samples.extend(samples);
    }
}

/// Indices as one plane of 0 and 1 for each of `planes` classes, the background left out.
pub(crate) fn one_hot(indices: &[u8], planes: usize, into: &mut [f32]) {
    let pixels = indices.len();
    into.fill(0.0);
    for (pixel, &index) in indices.iter().enumerate() {
        let plane = usize::from(index).wrapping_sub(1);
        if plane < planes {
            into[plane * pixels + pixel] = 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn quality_by_hand() {
        let candidate = array![[1_u8, 1, 0, 2], [0, 0, 0, 2]];
        let truth = array![[1_u8, 0, 0, 0], [1, 0, 0, 0]];
        let quality = Quality::measure(&[1, 2, 3], &candidate.view(), &truth.view()).unwrap();
        assert_eq!(quality.dice, [0.5, 0.0, 1.0]);
        assert_eq!(quality.distance[1..], [None, None]);
        // Each surface of two pixels strays by 1 in one of them: 0.95 of the way there.
        assert!((quality.distance[0].unwrap() - 0.95).abs() < 1e-12);
        assert!(Quality::measure(&[1], &candidate.view(), &array![[0_u8]].view()).is_err());
    }

    #[test]
    fn planes_leave_the_background_out() {
        let mut planes = [9.0; 6];
        one_hot(&[0, 1, 2], 2, &mut planes);
        assert_eq!(planes, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        // Classes beyond those asked for belong to the background.
        let mut planes = [9.0; 3];
        one_hot(&[0, 1, 2], 1, &mut planes);
        assert_eq!(planes, [0.0, 1.0, 0.0]);
    }
}
