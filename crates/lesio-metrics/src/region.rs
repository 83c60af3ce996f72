//! Per-region overlap (AUPRO): every true region has the same weight, however small.

use lesio_grid::Connectivity;
use lesio_settings::require;
use ndarray::{ArrayView, Dimension, Zip};
use rayon::prelude::*;

use crate::error::{MetricError, same_shape};
use crate::keys;
use crate::sum::Sum;
use crate::sweep::retreat;
use crate::volumes::{Regions, volume};

/// Images or volumes collected for [`RankedRegions`].
///
/// Regions are the connected components of each truth mask by itself; false positives are pooled over all updates,
/// whose order makes no difference. A negative pixel takes 4 bytes and a positive one 8, negatives twice that while
/// they are ranked.
///
/// ```
/// use lesio_metrics::{Connectivity, RegionCurve};
/// use ndarray::array;
///
/// let mut regions = RegionCurve::new(Connectivity::Vertex);
/// let map = array![[0.9, 0.1, 0.2], [0.8, 0.0, 0.7]];
/// let truth = array![[true, false, false], [true, false, true]];
/// regions.update(&map, &truth)?;
/// assert_eq!(regions.rank()?.aupro(0.3)?, 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegionCurve {
    connectivity: Connectivity,
    pixels: RegionKeys,
}

impl RegionCurve {
    /// No images yet. The MVTec definition takes [`Connectivity::Vertex`]: 8 neighbors, in volumes 26.
    #[must_use]
    pub fn new(connectivity: Connectivity) -> Self {
        Self { connectivity, pixels: RegionKeys::default() }
    }

    /// Adds one map `[row, column]` or `[i, j, k]` (higher is more abnormal) and its truth. A map without any
    /// lesion adds its negatives, one without a pixel nothing.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ, [`MetricError::Axes`] for other than two or three axes,
    /// [`MetricError::TooMany`] for more than `u32::MAX` pixels, or [`MetricError::NotANumber`] with the count and the first
    /// index in row-major order; nothing is added then.
    pub fn update<'s, 't, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<(), MetricError> {
        self.pixels.extend(scores.into(), truth.into(), None, self.connectivity)
    }

    /// Adds the pixels where `within` holds (a head, an object): regions are those of the truth within.
    ///
    /// # Errors
    /// As for [`RegionCurve::update`]; scores outside may be anything.
    pub fn update_within<'s, 't, 'w, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
    ) -> Result<(), MetricError> {
        self.pixels.extend(scores.into(), truth.into(), Some(within.into()), self.connectivity)
    }

    /// Number of true regions so far.
    #[must_use]
    pub fn regions(&self) -> u64 {
        self.pixels.regions
    }

    /// Sorts the pixels, once, for every limit.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] unless there is a region and a negative pixel.
    pub fn rank(mut self) -> Result<RankedRegions, MetricError> {
        self.pixels.sort();
        RankedRegions::new(self.pixels)
    }
}

/// Pixels of maps in order of their scores, each positive with the size of its region.
#[derive(Clone, Debug)]
pub struct RankedRegions {
    pixels: RegionKeys,
}

impl RankedRegions {
    /// Takes sorted pixels.
    pub(crate) fn new(pixels: RegionKeys) -> Result<Self, MetricError> {
        let (positives, negatives) = (pixels.positives.len() as u64, pixels.negatives.len() as u64);
        if positives == 0 || negatives == 0 {
            return Err(MetricError::OneClass { positives, negatives });
        }
        Ok(Self { pixels })
    }

    /// Number of true regions.
    #[must_use]
    pub fn regions(&self) -> u64 {
        self.pixels.regions
    }

    /// Area under the per-region overlap up to a false positive rate of `limit`, divided by `limit`; in [0, 1].
    ///
    /// The definition of Bergmann et al. (MVTec AD, IJCV 129, 2021), at every distinct score: overlap is the mean over
    /// all regions of |prediction and region| / |region|, the false positive rate is over all negative pixels, the
    /// curve starts at (0, 0) and is linear between thresholds, also up to the limit. Usual limits are .3 and .05.
    ///
    /// # Errors
    /// [`MetricError::Parameter`] unless `limit` is in (0, 1].
    pub fn aupro(&self, limit: f64) -> Result<f64, MetricError> {
        let mut area = OverlapArea::new(limit, self.pixels.negatives.len() as u64)?;
        self.pixels.steps().take_while(|step| area.add(step)).for_each(drop);
        Ok(area.finish(self.pixels.regions))
    }

    pub(crate) fn pixels(&self) -> &RegionKeys {
        &self.pixels
    }
}

/// Pixels as the sweep needs them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegionKeys {
    /// Key in the upper half, size of the pixel's region in the lower: once sorted, the order of terms is canonical.
    pub(crate) positives: Vec<u64>,
    pub(crate) negatives: Vec<u32>,
    pub(crate) regions: u64,
}

/// The threshold has come down to one score that positives hold.
pub(crate) struct RegionStep {
    /// Negatives with higher scores.
    pub(crate) negatives_above: u64,
    /// Negatives at or above this score.
    pub(crate) negatives: u64,
    /// Sum over regions of their fraction at or above this score.
    pub(crate) overlap: f64,
}

impl RegionKeys {
    /// Adds one map; changes nothing on failure.
    pub(crate) fn extend<D: Dimension>(
        &mut self,
        scores: ArrayView<'_, f32, D>,
        truth: ArrayView<'_, bool, D>,
        within: Option<ArrayView<'_, bool, D>>,
        connectivity: Connectivity,
    ) -> Result<(), MetricError> {
        same_shape("truth", scores.shape(), truth.shape())?;
        if let Some(within) = &within {
            same_shape("mask", scores.shape(), within.shape())?;
        }
        let (scores, truth, within) = (volume(scores)?, volume(truth)?, within.map(volume).transpose()?);
        let mut count = 0;
        match &within {
            Some(within) => {
                Zip::from(&scores).and(within).for_each(|s, &on| count += usize::from(s.is_nan() & on));
            }
            None => scores.for_each(|s| count += usize::from(s.is_nan())),
        }
        if count > 0 {
            let mut pixels = scores.indexed_iter();
            let counts = |place| within.as_ref().is_none_or(|within| within[place]);
            let first = pixels.position(|(place, s)| s.is_nan() && counts(place)).unwrap_or_default();
            return Err(MetricError::NotANumber { what: "scores", count, first });
        }

        let components = Regions::new(&truth, within.as_ref(), connectivity)?;
        self.regions += components.count() as u64;
        let mut add = |score: f32, label: u32, counts: bool| {
            let key = keys::key(score);
            if label > 0 {
                // A mask has fewer voxels than 2^32, so a region has.
                self.positives.push(u64::from(key) << 32 | components.sizes[label as usize - 1]);
            } else if counts {
                self.negatives.push(key);
            }
        };
        let pixels = scores.iter().zip(&components.labels);
        match &within {
            Some(within) => pixels.zip(within).for_each(|((&score, &label), &on)| add(score, label, on)),
            None => pixels.for_each(|(&score, &label)| add(score, label, true)),
        }
        Ok(())
    }

    /// Adds the pixels of others.
    pub(crate) fn append(&mut self, other: &Self) {
        self.positives.extend_from_slice(&other.positives);
        self.negatives.extend_from_slice(&other.negatives);
        self.regions += other.regions;
    }

    /// Sorts both classes, ascending.
    pub(crate) fn sort(&mut self) {
        self.positives.par_sort_unstable();
        keys::sort(&mut self.negatives);
    }

    /// The distinct scores of the positives, from the highest down. Both classes must be sorted.
    pub(crate) fn steps(&self) -> impl Iterator<Item = RegionStep> {
        let (positives, negatives) = (self.positives.as_slice(), self.negatives.as_slice());
        let (mut p, mut n) = (positives.len(), negatives.len());
        let mut overlap = Sum::default();
        std::iter::from_fn(move || {
            let key = key_of(*positives.get(p.checked_sub(1)?)?);
            while p > 0 && key_of(positives[p - 1]) == key {
                overlap.add(1.0 / size_of(positives[p - 1]));
                p -= 1;
            }
            n = retreat(negatives, n, |k| k > key);
            let negatives_above = (negatives.len() - n) as u64;
            n = retreat(negatives, n, |k| k == key);
            let negatives = (negatives.len() - n) as u64;
            Some(RegionStep { negatives_above, negatives, overlap: overlap.value() })
        })
    }
}

/// Gathers the area under the per-region overlap as the threshold comes down.
pub(crate) struct OverlapArea {
    negatives: f64,
    end: f64,
    area: Sum,
    last: (f64, f64),
}

impl OverlapArea {
    /// Returns an error for a limit outside (0, 1].
    pub(crate) fn new(limit: f64, negatives: u64) -> Result<Self, MetricError> {
        require(limit > 0.0 && limit <= 1.0, "limit", limit, "a rate in (0, 1]")?;
        let negatives = negatives as f64;
        Ok(Self { negatives, end: limit * negatives, area: Sum::default(), last: (0.0, 0.0) })
    }

    /// Takes the next step; `false` once the limit is reached, after which further steps change nothing.
    pub(crate) fn add(&mut self, step: &RegionStep) -> bool {
        let (flat, tied) =
            ((step.negatives_above as f64, self.last.1), (step.negatives as f64, step.overlap));
        self.area.add(area_up_to(self.last, flat, self.end));
        self.area.add(area_up_to(flat, tied, self.end));
        self.last = tied;
        self.last.0 < self.end
    }

    /// The area divided by the limit, of so many regions.
    pub(crate) fn finish(mut self, regions: u64) -> f64 {
        self.area.add(area_up_to(self.last, (self.negatives, self.last.1), self.end));
        (self.area.value() / (self.end * regions as f64)).min(1.0)
    }
}

/// The key of a positive's score.
pub(crate) fn key_of(positive: u64) -> u32 {
    (positive >> 32) as u32
}

/// The size of a positive's region.
pub(crate) fn size_of(positive: u64) -> f64 {
    f64::from(positive as u32)
}

/// The area under one straight piece of a curve, left of `end`.
pub(crate) fn area_up_to((x0, y0): (f64, f64), (x1, y1): (f64, f64), end: f64) -> f64 {
    if x0 >= end || x1 <= x0 {
        0.0
    } else if x1 <= end {
        (x1 - x0) * 0.5 * (y0 + y1)
    } else {
        let y_end = y0 + (y1 - y0) * ((end - x0) / (x1 - x0));
        (end - x0) * 0.5 * (y0 + y_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3, array};

    #[test]
    fn small_regions_count_as_large_ones() {
        // One region of 4 pixels found, one of 1 pixel missed: half, where pooled recall would be .8.
        let truth =
            array![[true, true, false, false], [true, true, false, true], [false, false, false, false]];
        let scores = truth.mapv(|t| f32::from(u8::from(t)));
        let mut missed = scores.clone();
        missed[[1, 3]] = 0.0;
        let mut regions = RegionCurve::new(Connectivity::Vertex);
        regions.update(missed.view(), truth.view()).unwrap();
        assert_eq!(regions.regions(), 2);
        let ranked = regions.rank().unwrap();
        // From (0, 1/2) straight to (1, 1).
        for limit in [0.05, 0.3, 1.0] {
            assert!((ranked.aupro(limit).unwrap() - (0.5 + limit / 4.0)).abs() < 1e-15);
        }
    }

    #[test]
    fn volumes_join_at_corners_or_not() {
        let mut truth = Array3::from_elem((3, 3, 3), false);
        truth[[0, 0, 0]] = true;
        truth[[1, 1, 1]] = true;
        truth[[1, 1, 2]] = true;
        // The dot is found, the pair is not, and one negative of 24 scores above all.
        let mut scores = Array3::zeros((3, 3, 3));
        scores[[0, 0, 0]] = 1.0;
        scores[[2, 2, 0]] = 2.0;
        // One region of three, a third found; or two regions, half of them found.
        for (connectivity, regions, found) in
            [(Connectivity::Vertex, 1, 1.0 / 3.0), (Connectivity::Edge, 2, 0.5), (Connectivity::Face, 2, 0.5)]
        {
            let mut curve = RegionCurve::new(connectivity);
            curve.update(scores.view(), truth.view()).unwrap();
            let ranked = curve.rank().unwrap();
            assert_eq!(ranked.regions(), regions);
            // Nothing up to 1/24, then from `found` straight to (1, 1).
            let limit = 13.0 / 24.0;
            let middle = found + (1.0 - found) * 12.0 / 23.0;
            let expected = 12.0 / 24.0 * 0.5 * (found + middle) / limit;
            assert!((ranked.aupro(limit).unwrap() - expected).abs() < 1e-15, "{connectivity:?}");
        }
    }

    #[test]
    fn pixels_outside_do_not_exist() {
        let truth = array![[true, true, false], [false, false, false]];
        let scores = array![[0.9, f32::NAN, 0.1], [0.2, 0.95, 0.3]];
        let within = array![[true, false, true], [true, false, true]];
        let mut regions = RegionCurve::new(Connectivity::Vertex);
        assert!(matches!(
            regions.update(scores.view(), truth.view()),
            Err(MetricError::NotANumber { count: 1, first: 1, .. })
        ));
        regions.update_within(scores.view(), truth.view(), within.view()).unwrap();
        assert_eq!(regions.rank().unwrap().aupro(0.3), Ok(1.0));
    }

    #[test]
    fn refuses_what_has_no_value() {
        let none = Array2::from_elem((2, 2), false);
        let mut regions = RegionCurve::new(Connectivity::Vertex);
        regions.update(Array2::zeros((2, 2)).view(), none.view()).unwrap();
        assert!(matches!(regions.rank(), Err(MetricError::OneClass { positives: 0, negatives: 4 })));
        let mut regions = RegionCurve::new(Connectivity::Vertex);
        let wrong =
            regions.update(Array3::zeros((1, 2, 2)).view(), Array3::from_elem((1, 2, 3), true).view());
        assert!(matches!(wrong, Err(MetricError::Shape { .. })));
        let line =
            regions.update(ndarray::Array1::zeros(3).view(), ndarray::Array1::from_elem(3, true).view());
        assert_eq!(line, Err(MetricError::Axes { found: 1 }));
    }
}
