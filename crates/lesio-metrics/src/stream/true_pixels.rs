//! Which pixels of a map count, and to which true region each belongs.

use lesio_grid::Connectivity;
use ndarray::{ArrayView, Dimension};

use crate::error::{MetricError, same_shape};
use crate::keys;
use crate::volumes::{Regions, volume};

/// Which pixels of a map count, and to which true region each belongs: found once for all maps of an image.
#[derive(Clone, Debug)]
pub struct TruePixels {
    shape: Vec<usize>,
    /// Place of each abnormal pixel in row-major order, and the size of its region.
    positives: Vec<(u32, u32)>,
    /// Whether each pixel is normal and counts.
    negatives: Vec<bool>,
    pub(super) regions: u64,
}

impl TruePixels {
    /// The pixels of an image `[row, column]` or a volume `[i, j, k]` where `within` holds, with the connected regions of
    /// the truth among them. There may be none.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ, [`MetricError::Axes`] for other than two or three axes, and
    /// [`MetricError::TooMany`] for more than `u32::MAX` pixels.
    pub fn new<'t, 'w, D: Dimension>(
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        let (truth, within) = (truth.into(), within.into());
        let shape = truth.shape().to_vec();
        same_shape("mask", &shape, within.shape())?;
        let (truth, within) = (volume(truth)?, volume(within)?);
        let components = Regions::new(&truth, Some(&within), connectivity)?;
        let positives = components.labels.iter().zip(0u32..).filter(|(label, _)| **label > 0);
        Ok(Self {
            shape,
            // A mask has fewer pixels than 2^32, so a region has.
            positives: positives
                .map(|(&label, place)| (place, components.sizes[label as usize - 1] as u32))
                .collect(),
            negatives: within.iter().zip(&components.labels).map(|(&on, &label)| on && label == 0).collect(),
            regions: components.count() as u64,
        })
    }

    /// Number of abnormal pixels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives.len() as u64
    }

    /// Number of normal pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives.iter().filter(|&&negative| negative).count() as u64
    }

    /// The keys of a map's pixels: of abnormal ones with the size of their region below.
    pub(super) fn keys<D: Dimension>(
        &self,
        scores: ArrayView<'_, f32, D>,
    ) -> Result<(Vec<u64>, Vec<u32>), MetricError> {
        same_shape("scores", &self.shape, scores.shape())?;
        let (mut positives, mut negatives) = (Vec::with_capacity(self.positives.len()), Vec::new());
        let mut sizes = self.positives.iter().copied().peekable();
        let (mut nan, mut first) = (0, None);
        for (place, (&score, &is_negative)) in scores.iter().zip(&self.negatives).enumerate() {
            let own = sizes.next_if(|&(positive, _)| positive as usize == place);
            if score.is_nan() && (is_negative || own.is_some()) {
                nan += 1;
                first = first.or(Some(place));
            }
            if let Some((_, size)) = own {
                positives.push(u64::from(keys::key(score)) << 32 | u64::from(size));
            } else if is_negative {
                negatives.push(keys::key(score));
            }
        }
        match first {
            Some(first) => Err(MetricError::NotANumber { what: "scores", count: nan, first }),
            None => Ok((positives, negatives)),
        }
    }
}
