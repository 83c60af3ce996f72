//! Normal scores at each position of the network's grid.

use std::collections::BTreeMap;

use lesio_nn::{Parameter, ParameterSet};
use lesio_settings::in_range;
use ndarray::ArrayRef2;

use crate::error::PredictError;
use crate::predictors::{PredictorName, UnknownPredictor, check_unique};

/// Mean and standard deviation of a predictor's scores at each position, over normal images.
///
/// Heads that are aligned to the grid have the same anatomy at the same position, and models err more at some positions
/// than at others, such as the skull and the sulci. Expressed in standard deviations from the mean of normal scores at
/// its position, a score is more informative. Positions are the grid's pixels in each of a few bands of slices, from
/// the first slice with foreground to the last.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionNormals {
    /// Bands, rows, columns.
    shape: [usize; 3],
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// [`PositionNormals`] by predictor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PositionCalibration {
    predictors: BTreeMap<PredictorName, PositionNormals>,
}

/// Collects normal scores by position. See [`Localizer::add_normal`](crate::Localizer::add_normal).
#[derive(Clone, Debug)]
pub struct PositionBuilder {
    shape: [usize; 3],
    predictors: Vec<(PredictorName, Vec<Sums>)>,
}

/// Number, mean and sum of squared distances from it, with incremental updates (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }
}

/// Weight, in scores, of the statistics of the whole grid in those of each position: positions with few normal scores
/// are thus normalized mostly by the whole grid.
const PRIOR: f64 = 10.0;

/// Most bands of slices.
const MOST_BANDS: usize = 256;

/// Most positions of all predictors together.
const MOST_PLACES: usize = 1 << 27;

impl PositionBuilder {
    /// A builder without scores, for these predictors on a grid of `[height, width]`, with slices in `bands` bands: 1
    /// for images, and for volumes few enough that every band has some slices of every subject.
    ///
    /// # Errors
    /// [`PredictError::Setting`] for no band or more than 256, and for more than 2^27 positions of all predictors
    /// together, which would take 3 GiB; [`PredictError::Repeated`] for a predictor named twice.
    pub fn new(
        names: &[PredictorName],
        [height, width]: [usize; 2],
        bands: usize,
    ) -> Result<Self, PredictError> {
        check_unique(names)?;
        in_range("bands", bands, 1..=MOST_BANDS)?;
        let places = [height, width, names.len()].iter().fold(bands, |product, &n| product.saturating_mul(n));
        in_range("bands x rows x columns x predictors", places, 0..=MOST_PLACES)?;
        let empty = vec![Sums::default(); bands * height * width];
        let predictors = names.iter().map(|&name| (name, empty.clone())).collect();
        Ok(Self { shape: [bands, height, width], predictors })
    }

    /// The predictors.
    #[must_use]
    pub fn names(&self) -> Vec<PredictorName> {
        self.predictors.iter().map(|(name, _)| *name).collect()
    }

    /// The grid, `[height, width]`.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]]
    }

    /// Adds the scores of the predictor at `place` for one slice inside its foreground.
    pub(crate) fn add(&mut self, place: usize, position: f32, map: &ArrayRef2<f32>, mask: &ArrayRef2<bool>) {
        let [bands, height, width] = self.shape;
        let band = band_of(position, bands) * height * width;
        let Some((_, sums)) = self.predictors.get_mut(place) else { return };
        let scores = map.iter().zip(mask).zip(&mut sums[band..band + height * width]);
        for ((&score, &inside), sums) in scores {
            if inside && score.is_finite() {
                sums.add(f64::from(score));
            }
        }
    }

    /// Mean and deviation by position; predictors without a score are left out.
    #[must_use]
    pub fn finish(self) -> PositionCalibration {
        let shape = self.shape;
        let finished = self.predictors.into_iter().filter_map(|(name, sums)| {
            let count: f64 = sums.iter().map(|own| own.count).sum();
            if count == 0.0 {
                return None;
            }
            let mean = sums.iter().map(|own| own.count * own.mean).sum::<f64>() / count;
            let squares = |own: &Sums| own.squares + own.count * (own.mean - mean).powi(2);
            let variance = sums.iter().map(squares).sum::<f64>() / count;
            // A constant map has no deviation: its scores keep their unit.
            let variance = if variance > 0.0 { variance } else { 1.0 };
            let (mut means, mut deviations) =
                (Vec::with_capacity(sums.len()), Vec::with_capacity(sums.len()));
            for own in &sums {
                let weight = own.count + PRIOR;
                let mixed = (own.count * own.mean + PRIOR * mean) / weight;
                let around = own.squares + own.count * (own.mean - mixed).powi(2);
                means.push(mixed as f32);
                // Positive in f32 too, however small the scores.
                deviations.push(((around + PRIOR * variance) / weight).sqrt().max(1e-30) as f32);
            }
            Some((name, PositionNormals { shape, mean: means, deviation: deviations }))
        });
        PositionCalibration { predictors: finished.collect() }
    }
}

/// The band of a slice at a position from 0 to 1.
fn band_of(position: f32, bands: usize) -> usize {
    ((position.clamp(0.0, 1.0) * bands as f32) as usize).min(bands - 1)
}

impl PositionNormals {
    /// Converts the scores of a slice in place to standard deviations from the mean of normal scores at their
    /// positions; `position` is that of the slice, from 0 to 1.
    pub(crate) fn standardize(&self, position: f32, map: &mut ArrayRef2<f32>) {
        let [bands, height, width] = self.shape;
        let band = band_of(position, bands) * height * width;
        let own = band..band + height * width;
        let usual = self.mean[own.clone()].iter().zip(&self.deviation[own]);
        map.iter_mut().zip(usual).for_each(|(score, (mean, deviation))| *score = (*score - mean) / deviation);
    }

    /// Bands, rows and columns of the positions.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Mean scores by position, row-major.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviations of the scores by position, row-major; all positive.
    #[must_use]
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }
}

pub(crate) const PREFIX: &str = "location.";

impl PositionCalibration {
    /// The normal scores of a predictor by position, if known.
    #[must_use]
    pub fn get(&self, predictor: PredictorName) -> Option<&PositionNormals> {
        self.predictors.get(&predictor)
    }

    /// The predictors with normal scores.
    pub fn predictors(&self) -> impl Iterator<Item = PredictorName> {
        self.predictors.keys().copied()
    }

    /// Whether there are no normal scores of any predictor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predictors.is_empty()
    }

    /// Drops the normal scores of a predictor.
    pub(crate) fn remove(&mut self, predictor: PredictorName) {
        self.predictors.remove(&predictor);
    }

    /// Whether all positions are on a grid of `[height, width]`.
    pub(crate) fn fits(&self, grid: [usize; 2]) -> bool {
        self.predictors.values().all(|normals| normals.shape[1..] == grid)
    }

    /// As tensors `location.PREDICTOR.mean` and `location.PREDICTOR.deviation`, for a model's file.
    pub(crate) fn tensors(&self) -> ParameterSet {
        let mut set = ParameterSet::new();
        for (name, normals) in &self.predictors {
            for (what, values) in [("mean", &normals.mean), ("deviation", &normals.deviation)] {
                if let Some(tensor) = Parameter::new(normals.shape.to_vec(), values.clone()) {
                    set.insert(format!("{PREFIX}{name}.{what}"), tensor);
                }
            }
        }
        set
    }

    /// Splits the tensors of a model's file into the model's own and the calibration.
    ///
    /// # Errors
    /// A description of what is wrong with the calibration.
    pub(crate) fn split(tensors: ParameterSet) -> Result<(ParameterSet, Self), String> {
        let (mut own, mut calibration) = (ParameterSet::new(), Self::default());
        for (full, tensor) in tensors.iter() {
            let Some(rest) = full.strip_prefix(PREFIX) else {
                own.insert(full, tensor.clone());
                continue;
            };
            let Some(name) = rest.strip_suffix(".mean") else {
                let known = rest
                    .strip_suffix(".deviation")
                    .is_some_and(|name| tensors.get(&format!("{PREFIX}{name}.mean")).is_some());
                if known {
                    continue;
                }
                return Err(format!("tensor {full:?} has an unknown name"));
            };
            let predictor = name.parse().or_else(|unknown: UnknownPredictor| {
                PredictorName::own(name).map_err(|_| unknown.to_string())
            })?;
            let deviation = tensors.get(&format!("{PREFIX}{name}.deviation"));
            let deviation = deviation.ok_or_else(|| format!("the deviation of {full:?} is missing"))?;
            let [bands, height, width] = *tensor.shape() else {
                return Err(format!("tensor {full:?} has shape {:?}, expected three axes", tensor.shape()));
            };
            if deviation.shape() != tensor.shape() || !(1..=MOST_BANDS).contains(&bands) {
                return Err(format!(
                    "tensor {full:?} has shape {:?} and deviations {:?}",
                    tensor.shape(),
                    deviation.shape()
                ));
            }
            if let Some(value) = deviation.values().iter().find(|value| !(value.is_finite() && **value > 0.0))
            {
                return Err(format!("a deviation of {full:?} is {value}, expected positive numbers"));
            }
            let (mean, deviation) = (tensor.values().to_vec(), deviation.values().to_vec());
            let shape = [bands, height, width];
            calibration.predictors.insert(predictor, PositionNormals { shape, mean, deviation });
        }
        Ok((own, calibration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    const NAME: PredictorName = PredictorName::PixelL1;

    /// Scores that are usual at the left and spread at the right, for two bands.
    fn gathered(slices: usize) -> PositionCalibration {
        let mut builder = PositionBuilder::new(&[NAME], [2, 3], 2).unwrap();
        let mask = Array2::from_shape_fn((2, 3), |(row, _)| row == 0);
        for k in 0..slices {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            let map = Array2::from_shape_fn((2, 3), |(_, column)| {
                10.0 * column as f32 + sign * (column + 1) as f32
            });
            builder.add(0, 0.2, &map, &mask);
        }
        builder.finish()
    }

    #[test]
    fn scores_are_counted_from_what_is_usual_at_their_place() {
        let calibration = gathered(100_000);
        let normals = calibration.get(NAME).unwrap();
        let mut map =
            Array2::from_shape_fn((2, 3), |(_, column)| 10.0 * column as f32 + 2.0 * (column + 1) as f32);
        normals.standardize(0.3, &mut map);
        for column in 0..3 {
            assert!((map[[0, column]] - 2.0).abs() < 0.02, "{map}");
        }
    }

    #[test]
    fn places_without_normals_are_judged_by_all() {
        let calibration = gathered(4000);
        let normals = calibration.get(NAME).unwrap();
        // Outside the mask, and in the band that no slice reached: mean 10, variance 200/3 + 14/3.
        for place in [3, 6, 11] {
            assert!((normals.mean()[place] - 10.0).abs() < 1e-4);
            assert!((normals.deviation()[place] - (214.0f32 / 3.0).sqrt()).abs() < 1e-3);
        }
        let few = gathered(2);
        // Two scores weigh 2 against 10.
        assert!((few.get(NAME).unwrap().mean()[0] - 100.0 / 12.0).abs() < 1e-4);
    }

    #[test]
    fn bands_reach_from_the_first_slice_to_the_last() {
        let found: Vec<usize> = [-1.0, 0.0, 0.24, 0.25, 0.5, 0.99, 1.0, 2.0].map(|p| band_of(p, 4)).to_vec();
        assert_eq!(found, [0, 0, 0, 1, 2, 3, 3, 3]);
        assert_eq!(band_of(f32::NAN, 4), 0);
        assert!(PositionBuilder::new(&[], [2, 2], 0).is_err());
        assert!(PositionBuilder::new(&[], [2, 2], 1000).is_err());
    }

    #[test]
    fn constant_scores_and_none_at_all() {
        let mut builder = PositionBuilder::new(&[NAME, PredictorName::PixelL2], [1, 2], 1).unwrap();
        let map = Array2::from_elem((1, 2), 3.0);
        builder.add(0, 0.5, &map, &Array2::from_elem((1, 2), true));
        let calibration = builder.finish();
        assert!(calibration.get(PredictorName::PixelL2).is_none());
        let mut scores = Array2::from_elem((1, 2), 4.0);
        calibration.get(NAME).unwrap().standardize(0.5, &mut scores);
        assert!(scores.iter().all(|score| score.is_finite() && *score > 0.9));
    }

    #[test]
    fn tensors_are_split_again_and_checked() {
        let calibration = gathered(50);
        let mut tensors = calibration.tensors();
        let weight = Parameter::new(vec![2], vec![1.0, 2.0]).unwrap();
        tensors.insert("encoder.weight", weight.clone());
        let (own, back) = PositionCalibration::split(tensors.clone()).unwrap();
        assert_eq!((own.len(), own.get("encoder.weight")), (1, Some(&weight)));
        assert_eq!(back, calibration);
        assert!(back.fits([2, 3]) && !back.fits([3, 2]));

        let broken = |change: &dyn Fn(&mut ParameterSet)| {
            let mut tensors = tensors.clone();
            change(&mut tensors);
            PositionCalibration::split(tensors).unwrap_err()
        };
        let zero = broken(&|t| t.get_mut("location.pixel-l1.deviation").unwrap().values_mut()[3] = 0.0);
        assert!(zero.contains("positive"), "{zero}");
        let flat = broken(&|t| t.insert("location.pixel-l1.mean", weight.clone()));
        assert!(flat.contains("three axes"), "{flat}");
        assert!(broken(&|t| t.insert("location.pixel-l3.mean", weight.clone())).contains("pixel-l3"));
        assert!(
            broken(&|t| t.insert("location.pixel-l2.deviation", weight.clone()))
                .contains("has an unknown name")
        );
    }
}
