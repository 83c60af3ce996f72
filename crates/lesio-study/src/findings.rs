//! Lesions found in a map: connected voxels with scores that are rare in normal subjects.

use lesio_anomaly::NormalScores;
use lesio_image::{ComponentRuns, Connectivity, Geometry, Volume};
use lesio_settings::{SettingError, in_range, require};
use ndarray::{Array3, Axis, Slice};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::StudyError;

/// The rule for the threshold of abnormal scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectionRule {
    /// The score that this fraction of normal pixels reaches, 1e-5 to 1. It determines the expected number of false
    /// pixels, not of false lesions.
    PixelRate(f64),
    /// The score that at least one pixel of a normal subject reaches with this probability, 1e-6 to 1.
    FamilyWise(f64),
}

impl DetectionRule {
    /// Checks the rate or level.
    ///
    /// # Errors
    /// [`SettingError`] for one outside the range stated with it.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::PixelRate(rate) => in_range("pixel rate", rate, LEAST_RATE..=1.0),
            Self::FamilyWise(level) => in_range("family-wise level", level, LEAST_LEVEL..=1.0),
        }
    }

    /// The threshold, which voxels reach (`>=`); `None` if the calibration has too few normal subjects for a
    /// family-wise level, which needs `1 / level - 1` of them.
    ///
    /// # Errors
    /// Those of [`DetectionRule::validate`].
    pub fn threshold(&self, normal: &NormalScores) -> Result<Option<f32>, SettingError> {
        self.validate()?;
        Ok(match *self {
            Self::PixelRate(rate) => Some(normal.threshold(rate)),
            Self::FamilyWise(level) => normal.family_wise_threshold(level),
        })
    }

    /// The level at which a p-value supports a finding: the level of a family-wise rule, and .05 otherwise.
    #[must_use]
    pub fn level(&self) -> f64 {
        match *self {
            Self::PixelRate(_) => 0.05,
            Self::FamilyWise(level) => level,
        }
    }
}

/// Smallest fraction of pixels: that of the rarest stored quantile.
const LEAST_RATE: f64 = 1e-5;
/// Smallest level: no calibration has a million normal subjects.
const LEAST_LEVEL: f64 = 1e-6;

/// One detected lesion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Its value in [`Findings::labels`], from 1.
    pub label: u32,
    /// Number of voxels.
    pub voxels: usize,
    /// Volume in milliliters; `None` if the size of a voxel is unknown.
    pub volume_ml: Option<f64>,
    /// Mean voxel index along each axis.
    #[serde(alias = "centre")]
    pub center: [f64; 3],
    /// The center in world coordinates, by the affine of the map; `None` if the size of a voxel is unknown.
    pub world: Option<[f64; 3]>,
    /// The highest score.
    pub peak: f32,
    /// Voxel index of the highest score, the first one in row-major order.
    pub peak_voxel: [usize; 3],
    /// The mean score.
    pub mean: f64,
    /// Probability that the highest score of a normal subject is at least the peak; see
    /// [`NormalScores::family_wise_p_value`]. `None` if the calibration has so few normal subjects that no
    /// p-value can support a finding; see [`Findings::supported`]. `None` also if the calibration may not apply to the
    /// image ([`Findings::without_p_values`]).
    pub p_value: Option<f64>,
}

/// The lesions found in a map. They need little memory after the map is dropped: the labels of voxels are made when they
/// are asked for.
#[derive(Debug)]
#[non_exhaustive]
pub struct Findings {
    /// The lesions, in descending order of their peaks.
    pub lesions: Vec<Finding>,
    /// The smallest possible p-value, given the number of normal subjects; see
    /// [`NormalScores::smallest_p_value`].
    pub smallest_p_value: f64,
    /// The level that a p-value must reach.
    pub level: f64,
    runs: ComponentRuns,
    /// The label of each component, 0 for those that are left out.
    relabeled: Vec<u32>,
    geometry: Geometry,
}

impl Findings {
    /// Finds groups of connected voxels (26 neighbors) that reach a threshold.
    ///
    /// `within` is the foreground on the map's grid: voxels outside are ignored. Components of fewer than
    /// `smallest` voxels are left out. `voxel_ml` is the size of a voxel in milliliters; `None` for pictures,
    /// which have neither pixel size nor world coordinates. `level`, 0 to 1, is the level at which a p-value supports a
    /// finding, [`DetectionRule::level`]; if even the smallest possible p-value is above it, no p-value is stated.
    ///
    /// # Errors
    /// [`StudyError::Shape`] for a foreground of another shape; [`StudyError::Setting`] for a NaN threshold, a voxel
    /// size that is not positive and finite, and a level outside of its range.
    ///
    /// ```
    /// use lesio_anomaly::NormalScoresBuilder;
    /// use lesio_image::{Geometry, Volume};
    /// use lesio_study::Findings;
    /// use ndarray::Array3;
    ///
    /// let mut normal = NormalScoresBuilder::new();
    /// (0..19).for_each(|_| normal.add((0..1000).map(|k| k as f32 / 1000.0)));
    /// let normal = normal.finish().ok_or("no scores")?;
    ///
    /// let mut scores = Array3::zeros((8, 8, 8));
    /// scores.slice_mut(ndarray::s![2..4, 3..5, 6..8]).fill(2.0);
    /// let map = Volume::new(scores, Geometry::from_spacing([10.0, 1.0, 1.0])?);
    /// let found = Findings::new(&map, &map.map(|_| true), 0.999, &normal, 8, Some(0.01), 0.05)?;
    /// assert_eq!(found.lesions.len(), 1);
    /// assert_eq!(found.lesions[0].world, Some([25.0, 3.5, 6.5]));
    /// assert_eq!((found.lesions[0].volume_ml, found.lesions[0].p_value), (Some(0.08), Some(0.05)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        map: &Volume<f32>,
        within: &Volume<bool>,
        threshold: f32,
        normal: &NormalScores,
        smallest: u64,
        voxel_ml: Option<f64>,
        level: f64,
    ) -> Result<Self, StudyError> {
        if map.shape() != within.shape() {
            let (expected, found) = (map.shape().to_vec(), within.shape().to_vec());
            return Err(StudyError::Shape { what: "the foreground".to_owned(), found, expected });
        }
        require(!threshold.is_nan(), "threshold", threshold, "a number")?;
        if let Some(ml) = voxel_ml {
            in_range("size of a voxel in milliliters", ml, f64::MIN_POSITIVE..=f64::MAX)?;
        }
        in_range("level", level, 0.0..=1.0)?;
        let runs = ComponentRuns::new(&above(map.data(), within.data(), threshold), Connectivity::Vertex);
        let mut gathered: Vec<Gathered> = vec![Gathered::default(); runs.components().len()];
        for ([i, j], span, component) in runs.iter() {
            for k in span {
                gathered[component].add([i, j, k], map.data()[[i, j, k]]);
            }
        }
        let smallest_p_value = normal.smallest_p_value();
        let supported = is_supported(smallest_p_value, level);
        let mut order: Vec<usize> =
            (0..gathered.len()).filter(|&place| runs.components()[place].size as u64 >= smallest).collect();
        // Stable: of equal peaks the first in the map comes first.
        order.sort_by(|&a, &b| gathered[b].peak.total_cmp(&gathered[a].peak));
        let mut relabeled = vec![0; gathered.len()];
        let mut lesions = Vec::with_capacity(order.len());
        for (&place, label) in order.iter().zip(1..) {
            relabeled[place] = label;
            let (component, lesion) = (&runs.components()[place], &gathered[place]);
            lesions.push(Finding {
                label,
                voxels: component.size,
                volume_ml: voxel_ml.map(|ml| ml * component.size as f64),
                center: component.centroid,
                world: voxel_ml.map(|_| map.geometry().to_world(component.centroid)),
                peak: lesion.peak,
                peak_voxel: lesion.peak_voxel,
                mean: lesion.sum / component.size as f64,
                p_value: supported.then(|| normal.family_wise_p_value(lesion.peak)),
            });
        }
        let geometry = *map.geometry();
        Ok(Self { lesions, smallest_p_value, level, runs, relabeled, geometry })
    }

    /// The same findings without p-values, for an image to which the calibration may not apply.
    #[must_use]
    pub fn without_p_values(mut self) -> Self {
        self.lesions.iter_mut().for_each(|lesion| lesion.p_value = None);
        self
    }

    /// The label of each voxel on the map's grid, 0 outside lesions.
    #[must_use]
    pub fn labels(&self) -> Volume<u32> {
        Volume::new(self.runs.labels(|component| self.relabeled[component]), self.geometry)
    }

    /// The labels with one byte per voxel, for display: labels above 255 become 255.
    #[must_use]
    pub fn marks(&self) -> Volume<u8> {
        let mark = |component: usize| u8::try_from(self.relabeled[component]).unwrap_or(u8::MAX);
        Volume::new(self.runs.labels(mark), self.geometry)
    }

    /// Whether a p-value can support a finding at all: the smallest possible one is not above the level.
    #[must_use]
    pub fn supported(&self) -> bool {
        is_supported(self.smallest_p_value, self.level)
    }
}

/// Tolerance for the rounding of levels and p-values such as 1 / 20.
pub(crate) fn is_supported(smallest_p_value: f64, level: f64) -> bool {
    smallest_p_value <= level * (1.0 + 1e-9)
}

/// The mask of a map that reaches a threshold within the foreground, in row-major order.
///
/// Maps from files have their first axis contiguous in memory, so they are read in blocks along it.
fn above(map: &Array3<f32>, within: &Array3<bool>, threshold: f32) -> Array3<bool> {
    const BLOCK: usize = 64;
    let mut above = Array3::from_elem(map.dim(), false);
    let columns = map.dim().2;
    let blocks: Vec<_> = above.axis_chunks_iter_mut(Axis(0), BLOCK).enumerate().collect();
    blocks.into_par_iter().for_each(|(block, mut out)| {
        let rows = Slice::from(block * BLOCK..block * BLOCK + out.len_of(Axis(0)));
        let (map, within) = (map.slice_axis(Axis(0), rows), within.slice_axis(Axis(0), rows));
        for (j, mut out) in out.axis_iter_mut(Axis(1)).enumerate() {
            let (map, within) = (map.index_axis(Axis(1), j), within.index_axis(Axis(1), j));
            for k in 0..columns {
                let scores = map.column(k).into_iter().zip(within.column(k));
                for (out, (&score, &inside)) in out.column_mut(k).iter_mut().zip(scores) {
                    *out = inside && score >= threshold;
                }
            }
        }
    });
    above
}

/// Sums over a component's voxels.
#[derive(Clone, Debug)]
struct Gathered {
    peak: f32,
    peak_voxel: [usize; 3],
    sum: f64,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { peak: f32::NEG_INFINITY, peak_voxel: [0; 3], sum: 0.0 }
    }
}

impl Gathered {
    fn add(&mut self, index: [usize; 3], score: f32) {
        self.sum += f64::from(score);
        if score > self.peak {
            (self.peak, self.peak_voxel) = (score, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::NormalScoresBuilder;
    use lesio_image::Geometry;
    use ndarray::{Array3, s};

    use super::*;

    fn normal(subjects: usize) -> NormalScores {
        let mut builder = NormalScoresBuilder::new();
        (0..subjects).for_each(|subject| builder.add((0..100).map(|k| (subject * 100 + k) as f32)));
        builder.finish().unwrap()
    }

    #[test]
    fn highest_peak_first_small_ones_and_the_outside_left_out() {
        let mut scores = Array3::zeros((10, 10, 10));
        scores.slice_mut(s![0..2, 0..2, 0..2]).fill(500.0);
        scores.slice_mut(s![5..8, 5..8, 5..8]).fill(600.0);
        scores[[6, 7, 5]] = 950.0;
        // Touches the first by a corner only, and so belongs to it.
        scores[[2, 2, 2]] = 450.0;
        // Too small.
        scores.slice_mut(s![9..10, 0..7, 0..1]).fill(2000.0);
        // Outside the foreground.
        scores.slice_mut(s![0..3, 7..10, 0..3]).fill(2000.0);
        let map = Volume::new(scores, Geometry::default());
        let mut within = map.map(|_| true);
        within.data_mut().slice_mut(s![0..3, 7..10, 0..3]).fill(false);

        let found = Findings::new(&map, &within, 450.0, &normal(10), 8, Some(1e-3), 0.1).unwrap();
        let table: Vec<_> = found.lesions.iter().map(|f| (f.label, f.voxels, f.peak, f.peak_voxel)).collect();
        assert_eq!(table, [(1, 27, 950.0, [6, 7, 5]), (2, 9, 500.0, [0, 0, 0])]);
        assert_eq!(found.lesions[0].center, [6.0; 3]);
        assert!((found.lesions[0].mean - (26.0 * 600.0 + 950.0) / 27.0).abs() < 1e-9);
        assert!((found.lesions[0].volume_ml.unwrap() - 0.027).abs() < 1e-12);
        // Of ten maxima 99, 199, ... 999 one is at least 950.
        assert_eq!(found.lesions[0].p_value, Some(2.0 / 11.0));
        let labels = found.labels();
        assert_eq!((labels.data()[[7, 7, 7]], labels.data()[[2, 2, 2]]), (1, 2));
        assert_eq!(labels.data().iter().filter(|&&label| label > 0).count(), 36);
    }

    #[test]
    fn nothing_found_is_an_empty_table() {
        let map = Volume::new(Array3::zeros((4, 4, 4)), Geometry::default());
        let found = Findings::new(&map, &map.map(|_| true), 0.1, &normal(2), 1, None, 0.05).unwrap();
        assert!(found.lesions.is_empty() && found.labels().data().iter().all(|&label| label == 0));
        let other = Volume::new(Array3::from_elem((4, 4, 3), true), Geometry::default());
        let refused = |within: &Volume<bool>, threshold: f32, ml: Option<f64>| {
            Findings::new(&map, within, threshold, &normal(2), 1, ml, 0.05).map(|_| ()).unwrap_err()
        };
        assert!(matches!(refused(&other, 0.1, None), StudyError::Shape { .. }));
        let all = map.map(|_| true);
        assert!(matches!(refused(&all, f32::NAN, None), StudyError::Setting(_)));
        for ml in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(refused(&all, 0.1, Some(ml)), StudyError::Setting(_)), "{ml}");
        }
        for level in [f64::NAN, f64::INFINITY, -1.0, 1.5, 7.0] {
            match Findings::new(&map, &all, 0.1, &normal(2), 1, None, level) {
                Err(StudyError::Setting(error)) => assert_eq!(error.setting, "level"),
                found => panic!("{level}: {found:?}"),
            }
        }
    }

    #[test]
    fn too_few_normal_subjects_support_no_finding() {
        let mut scores = Array3::zeros((4, 4, 4));
        scores[[1, 1, 1]] = 1e6;
        let map = Volume::new(scores, Geometry::default());
        let find = |subjects: usize, level: f64| {
            Findings::new(&map, &map.map(|_| true), 1e5, &normal(subjects), 1, None, level).unwrap()
        };
        for (subjects, level, p) in [
            (1, 0.05, None),
            (18, 0.05, None),
            (19, 0.05, Some(1.0 / 20.0)),
            (9, 0.1, Some(0.1)),
            (8, 0.1, None),
            (1, 0.5, Some(0.5)),
        ] {
            let found = find(subjects, level);
            assert_eq!(found.lesions.len(), 1, "what was found stays");
            assert_eq!(found.lesions[0].p_value, p, "{subjects} {level}");
            assert_eq!(found.smallest_p_value, 1.0 / (subjects + 1) as f64);
            assert_eq!(found.supported(), p.is_some());
        }
        assert_eq!(DetectionRule::PixelRate(0.001).level(), 0.05);
        assert_eq!(DetectionRule::FamilyWise(0.1).level(), 0.1);
    }

    #[test]
    fn rules_give_thresholds_that_keep_their_promise() {
        let normal = normal(19);
        let threshold = DetectionRule::PixelRate(0.01).threshold(&normal).unwrap().unwrap();
        let above = (0..1900).filter(|&k| k as f32 >= threshold).count();
        assert!((18..=20).contains(&above), "{above}");
        let threshold = DetectionRule::FamilyWise(0.05).threshold(&normal).unwrap().unwrap();
        assert!(normal.family_wise_p_value(threshold) <= 0.05);
        assert_eq!(DetectionRule::FamilyWise(0.01).threshold(&normal), Ok(None));
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.5, 1e18] {
            for (rule, setting) in [
                (DetectionRule::FamilyWise(value), "family-wise level"),
                (DetectionRule::PixelRate(value), "pixel rate"),
            ] {
                assert_eq!(rule.threshold(&normal).unwrap_err().setting, setting, "{value}");
            }
        }
    }
}
