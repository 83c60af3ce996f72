//! Metrics at fixed thresholds: marked, found and missed lesions, case by case.

use std::collections::BTreeMap;

use lesio_image::{BoundingBox, Connectivity, bounding_box, label_volume};
use lesio_io::spreadsheet::CommaTable;
use lesio_metrics::{
    Bootstrap, BootstrapConfig, LesionCounts, LesionMatching, OverlapRule, Replicates, WhenEmpty,
    WhenNoSurface, dice, hd95,
};
use lesio_settings::named;
use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis, Slice, Zip};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::further::FurtherColumns;
use crate::kept::{Bits, pairs};
use crate::maps::Scene;
use crate::names::Order;
use crate::pixels::lesion_slices;
use crate::subject::Subject;

/// The source of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThresholdOrigin {
    /// The model's calibration: the score that one normal pixel in a thousand reaches, the default of `localize`.
    Calibration,
    /// The same, but of a predictor that the model's file is not calibrated for, or after filters were changed: it was
    /// calibrated on the normal slices of the validation cases, and does not ship.
    ValidationNormals,
    /// The validation lesions: the best pooled Dice.
    Validation,
}

/// The fraction of normal pixels above the thresholds of [`ThresholdOrigin::Calibration`] and
/// [`ThresholdOrigin::ValidationNormals`].
pub const NOMINAL_RATE: f64 = 0.001;

named!(ThresholdOrigin, "source of a threshold", {
    "calibration" => Self::Calibration,
    "validation-normals" => Self::ValidationNormals,
    "validation" => Self::Validation,
});

/// A threshold of a predictor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatingPoint {
    /// Its source.
    pub origin: ThresholdOrigin,
    /// The threshold: marked voxels score at least this.
    pub threshold: f32,
    /// Marked regions of fewer cubic millimeters, or pixels of pictures, do not count, as
    /// [`PostProcessing::least_voxels`](lesio_anomaly::PostProcessing::least_voxels) says for a resolution.
    pub least_voxels: u64,
}

impl OperatingPoint {
    /// A threshold, with the smallest number of voxels of a region.
    #[must_use]
    pub fn new(origin: ThresholdOrigin, threshold: f32, least_voxels: u64) -> Self {
        Self { origin, threshold, least_voxels }
    }
}

/// The marks of a predictor in one case at one threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MarkedCase {
    /// The case.
    pub case: String,
    /// Its patient.
    pub patient: String,
    /// The kind of defect, if the data set states it.
    pub kind: Option<String>,
    /// The predictor.
    pub predictor: String,
    /// The source of the threshold.
    pub origin: ThresholdOrigin,
    /// Lesions of the truth, marked regions, and pairs of them.
    pub lesions: LesionCounts,
    /// Dice of marks and truth; `None` for a case without a lesion.
    pub dice: Option<f64>,
    /// HD95 of marks and truth, in millimeters of volumes and pixels of pictures; `None` if either is empty.
    pub hd95: Option<f64>,
    /// Whether it is a picture.
    #[serde(default)]
    pub is_picture: bool,
    /// Pixels of the foreground of slices without a lesion, and those of them that are marked.
    pub normal_pixels: [u64; 2],
}

/// The figures of a predictor at one threshold, over all cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatingFigures {
    /// The predictor.
    pub predictor: String,
    /// The source of the threshold.
    pub origin: ThresholdOrigin,
    /// The threshold.
    pub threshold: f32,
    /// Mean Dice over the cases with a lesion, with its 95 % interval over patients.
    pub dice: Option<f64>,
    /// See [`OperatingFigures::dice`].
    pub dice_interval: Option<[f64; 2]>,
    /// Fraction of the lesions that are found: each lesion needs an overlapping marked region, one to one.
    pub sensitivity: Option<f64>,
    /// See [`OperatingFigures::sensitivity`].
    pub sensitivity_interval: Option<[f64; 2]>,
    /// Fraction of the marked regions that match a lesion.
    pub precision: Option<f64>,
    /// Number of marked regions per case that match no lesion.
    pub false_findings: Option<f64>,
    /// See [`OperatingFigures::false_findings`].
    pub false_findings_interval: Option<[f64; 2]>,
    /// Mean HD95 over the cases with a lesion and a mark, in millimeters of volumes and pixels of pictures; `None` if these
    /// are mixed.
    pub hd95: Option<f64>,
    /// Cases with a lesion and without a mark.
    pub missed_cases: usize,
    /// Fraction of the pixels of slices without a lesion that are marked; by thresholds of normal pixels it should be
    /// [`NOMINAL_RATE`].
    pub false_positive_rate: Option<f64>,
    /// See [`OperatingFigures::false_positive_rate`].
    pub false_positive_rate_interval: Option<[f64; 2]>,
}

/// Collects marks, case by case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperatingEvaluation {
    cases: Vec<MarkedCase>,
    #[serde(with = "pairs")]
    thresholds: BTreeMap<(String, ThresholdOrigin), Bits>,
    order: Order,
}

impl OperatingEvaluation {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a case, to which the marks of predictors are then added.
    ///
    /// # Errors
    /// For a truth of another shape than the foreground.
    pub fn subject<'a>(
        &'a mut self,
        subject: &Subject,
        scene: &Scene,
        truth: &Array3<bool>,
    ) -> Result<MarkedSubject<'a>, StudyError> {
        scene.check("truth", truth)?;
        let scan = &subject.scan;
        Ok(MarkedSubject {
            evaluation: self,
            case: subject.id.clone(),
            patient: subject.patient.clone(),
            kind: subject.kind.clone(),
            spacing: (!scan.is_picture()).then(|| scan.geometry().spacing()),
            axis: Axis(scene.axis),
            lesion_slices: lesion_slices(truth, scene.axis),
            truth: truth.clone(),
        })
    }

    /// Appends the cases of another builder, as if they were added here.
    pub fn absorb(&mut self, other: Self) {
        self.order.absorb(&other.order);
        self.thresholds.extend(other.thresholds);
        self.cases.extend(other.cases);
    }

    /// The cases, in the order in which they were added.
    #[must_use]
    pub fn cases(&self) -> &[MarkedCase] {
        &self.cases
    }

    /// The figures of each predictor at each threshold.
    ///
    /// # Errors
    /// Those of [`BootstrapConfig::validate`].
    pub fn figures(&self, bootstrap: &BootstrapConfig) -> Result<Vec<OperatingFigures>, StudyError> {
        bootstrap.validate()?;
        let mut found = Vec::new();
        for predictor in self.order.names() {
            for origin in ThresholdOrigin::ALL {
                let key = (predictor.to_owned(), origin);
                let Some(&threshold) = self.thresholds.get(&key) else { continue };
                let own: Vec<&MarkedCase> = self
                    .cases
                    .iter()
                    .filter(|case| case.predictor == *predictor && case.origin == origin)
                    .collect();
                found.push(OperatingFigures::of(predictor, origin, threshold.into(), &own, bootstrap));
            }
        }
        Ok(found)
    }

    /// One row for each case, predictor and threshold. `further` holds the additional columns of a manifest by case; they are
    /// the last columns.
    #[must_use]
    pub fn case_table(&self, further: &BTreeMap<String, Vec<(String, String)>>) -> CommaTable<13> {
        let of = |case: &str| further.get(case).map_or(&[][..], Vec::as_slice);
        let names = FurtherColumns::of(self.cases.iter().map(|case| of(&case.case)));
        let columns = [
            "case",
            "patient",
            "kind",
            "predictor",
            "threshold",
            "dice",
            "hd95",
            "lesions",
            "found",
            "findings",
            "false_findings",
            "normal_pixels",
            "marked_normal_pixels",
        ];
        let mut table = CommaTable::with_further(columns, names.beside(&columns));
        for case in &self.cases {
            let counts = &case.lesions;
            let row = [
                (&case.case).into(),
                (&case.patient).into(),
                case.kind.as_ref().into(),
                (&case.predictor).into(),
                case.origin.name().into(),
                case.dice.into(),
                case.hd95.into(),
                counts.lesions.into(),
                counts.matched.into(),
                counts.predictions.into(),
                counts.predictions.saturating_sub(counts.matched).into(),
                case.normal_pixels[0].into(),
                case.normal_pixels[1].into(),
            ];
            table.row_with(row, names.values(of(&case.case)));
        }
        table
    }
}

/// A case that is being added to an [`OperatingEvaluation`].
#[derive(Debug)]
pub struct MarkedSubject<'a> {
    evaluation: &'a mut OperatingEvaluation,
    case: String,
    patient: String,
    kind: Option<String>,
    /// Of a volume, in millimeters.
    spacing: Option<[f64; 3]>,
    axis: Axis,
    truth: Array3<bool>,
    /// Ascending.
    lesion_slices: Vec<usize>,
}

impl MarkedSubject<'_> {
    /// Adds the marks of a predictor at a threshold, from its post-processed map, within the foreground of its model.
    ///
    /// # Errors
    /// For a map or a foreground of another shape than the truth.
    pub fn add(
        &mut self,
        predictor: &str,
        map: &Array3<f32>,
        foreground: &Array3<bool>,
        point: &OperatingPoint,
    ) -> Result<(), StudyError> {
        for (what, found) in [("a map", map.shape()), ("the foreground", foreground.shape())] {
            if found != self.truth.shape() {
                let (found, expected) = (found.to_vec(), self.truth.shape().to_vec());
                return Err(StudyError::Shape { what: what.to_owned(), found, expected });
            }
        }
        let within = Zip::from(map).and(foreground);
        let mut marked = within.map_collect(|&score, &inside| inside && score >= point.threshold);
        // Regions and distances are computed within the box of all marks and lesions: most maps are empty elsewhere.
        let both = Zip::from(&marked).and(&self.truth).map_collect(|&a, &b| a || b);
        let bounds = bounding_box(&both).unwrap_or(BoundingBox { start: [0; 3], end: [0; 3] });
        if point.least_voxels > 1 {
            let mut part = cut_mut(&mut marked, &bounds);
            let regions = label_volume(&part, Connectivity::Vertex);
            part.assign(&regions.select(|region| region.size as u64 >= point.least_voxels));
        }
        let mut normal_pixels = [0; 2];
        for slice in (0..self.truth.len_of(self.axis)).filter(|slice| !self.lesion_slices.contains(slice)) {
            let marked = marked.index_axis(self.axis, slice);
            Zip::from(marked).and(foreground.index_axis(self.axis, slice)).for_each(|&marked, &inside| {
                normal_pixels[0] += u64::from(inside);
                normal_pixels[1] += u64::from(marked);
            });
        }
        let (own, truth) = (cut(&marked, &bounds), cut(&self.truth, &bounds));
        let matching = LesionMatching::new(Connectivity::Vertex, OverlapRule::AnyVoxel);
        let lesions = LesionCounts::between(own, truth, &matching)?;
        let dice = if lesions.lesions > 0 { Some(dice(own, truth, WhenEmpty::One)?) } else { None };
        let is_comparable = lesions.lesions > 0 && lesions.predictions > 0;
        let hd95 = if is_comparable { Some(self.distance(own, truth)?) } else { None };
        let found = MarkedCase {
            case: self.case.clone(),
            patient: self.patient.clone(),
            kind: self.kind.clone(),
            predictor: predictor.to_owned(),
            origin: point.origin,
            lesions,
            dice,
            hd95,
            is_picture: self.spacing.is_none(),
            normal_pixels,
        };
        let evaluation = &mut *self.evaluation;
        evaluation.order.note(predictor);
        evaluation.thresholds.insert((predictor.to_owned(), point.origin), point.threshold.into());
        evaluation.cases.push(found);
        Ok(())
    }

    /// HD95 of marks and truth, neither of which is empty.
    fn distance(&self, marked: ArrayView3<'_, bool>, truth: ArrayView3<'_, bool>) -> Result<f64, StudyError> {
        let none = WhenNoSurface::Infinity;
        Ok(match self.spacing {
            Some(spacing) => hd95(marked, truth, &spacing, none)?,
            None => {
                let slice = |mask: ArrayView3<'_, bool>| mask.index_axis(self.axis, 0).to_owned();
                hd95(&slice(marked), &slice(truth), &[1.0, 1.0], none)?
            }
        })
    }
}

/// The part of a mask within a box.
fn cut<'m>(mask: &'m Array3<bool>, bounds: &BoundingBox<3>) -> ArrayView3<'m, bool> {
    mask.slice_each_axis(|axis| within(bounds, axis.axis))
}

fn cut_mut<'m>(mask: &'m mut Array3<bool>, bounds: &BoundingBox<3>) -> ArrayViewMut3<'m, bool> {
    mask.slice_each_axis_mut(|axis| within(bounds, axis.axis))
}

fn within(bounds: &BoundingBox<3>, axis: Axis) -> Slice {
    Slice::from(bounds.start[axis.index()]..bounds.end[axis.index()])
}

impl OperatingFigures {
    fn of(
        predictor: &str,
        origin: ThresholdOrigin,
        threshold: f32,
        cases: &[&MarkedCase],
        bootstrap: &BootstrapConfig,
    ) -> Self {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
            (count > 0).then(|| sum / count as f64)
        };
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let dice = |samples: &[usize]| mean(&mut samples.iter().filter_map(|&k| cases[k].dice));
        let counts = |samples: &[usize]| {
            let mut all = LesionCounts::default();
            samples.iter().for_each(|&k| all += cases[k].lesions);
            all
        };
        let sensitivity = |samples: &[usize]| counts(samples).sensitivity();
        let false_findings = |samples: &[usize]| counts(samples).false_positives_per_image();
        let rate = |samples: &[usize]| {
            let sum = |place: usize| samples.iter().map(|&k| cases[k].normal_pixels[place]).sum();
            ratio(sum(1), sum(0))
        };
        let all: Vec<usize> = (0..cases.len()).collect();
        // Fewer than two patients have no interval; the settings are sound.
        let resampling = Bootstrap::new(cases.iter().map(|case| &case.patient), *bootstrap).ok();
        let interval = |statistic: &(dyn Fn(&[usize]) -> Option<f64> + Sync)| {
            let replicates: Replicates = resampling.as_ref()?.over_samples(statistic);
            replicates.interval().ok().map(|found| [found.lower, found.upper])
        };
        let is_mixed = cases.iter().any(|case| case.is_picture != cases[0].is_picture);
        let missed = |case: &&&MarkedCase| case.lesions.lesions > 0 && case.lesions.predictions == 0;
        Self {
            predictor: predictor.to_owned(),
            origin,
            threshold,
            dice: dice(&all),
            dice_interval: interval(&dice),
            sensitivity: sensitivity(&all),
            sensitivity_interval: interval(&sensitivity),
            precision: counts(&all).precision(),
            false_findings: false_findings(&all),
            false_findings_interval: interval(&false_findings),
            hd95: mean(&mut cases.iter().filter_map(|case| case.hd95)).filter(|_| !is_mixed),
            missed_cases: cases.iter().filter(missed).count(),
            false_positive_rate: rate(&all),
            false_positive_rate_interval: interval(&rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::Resolution;
    use lesio_image::{Geometry, Volume};

    use super::*;

    fn scene(shape: (usize, usize, usize)) -> Scene {
        Scene {
            reconstruction: Array3::zeros((0, 0, 0)),
            foreground: Array3::from_elem(shape, true),
            axis: 2,
            resolution: Resolution::Volume([2.0, 1.0, 1.0]),
            footprint: None,
        }
    }

    fn subject(name: &str, shape: (usize, usize, usize)) -> Subject {
        let geometry = Geometry::from_spacing([1.0, 1.0, 2.0]).unwrap();
        Subject::new(name, Volume::new(Array3::zeros(shape), geometry), None)
    }

    #[test]
    fn figures_by_hand() {
        let shape = (10, 10, 3);
        let at =
            |points: &[[usize; 3]]| Array3::from_shape_fn(shape, |(i, j, k)| points.contains(&[i, j, k]));
        let mut evaluation = OperatingEvaluation::new();
        let point = OperatingPoint::new(ThresholdOrigin::Calibration, 0.5, 1);
        // Two lesions, of which one is found, and a false finding.
        let truth = at(&[[1, 1, 0], [1, 2, 0], [8, 8, 2]]);
        let marks = at(&[[1, 2, 0], [1, 3, 0], [5, 5, 1]]);
        let all = scene(shape).foreground;
        let score = |marks: &Array3<bool>| marks.mapv(|marked| if marked { 0.5 } else { 0.4 });
        let mut ann = evaluation.subject(&subject("ann", shape), &scene(shape), &truth).unwrap();
        ann.add("marks", &score(&marks), &all, &point).unwrap();
        assert!(matches!(
            ann.add("marks", &Array3::zeros((1, 1, 1)), &all, &point),
            Err(StudyError::Shape { .. })
        ));
        // A normal case with a false finding, and an abnormal one of which nothing is found.
        let nothing = at(&[]);
        let mut bob = evaluation.subject(&subject("bob", shape), &scene(shape), &nothing).unwrap();
        bob.add("marks", &score(&at(&[[0, 0, 0]])), &all, &point).unwrap();
        let mut cid = evaluation.subject(&subject("cid", shape), &scene(shape), &at(&[[0, 0, 0]])).unwrap();
        cid.add("marks", &score(&nothing), &all, &point).unwrap();

        let found = evaluation.figures(&BootstrapConfig::new(1).replicates(50)).unwrap();
        assert_eq!(found.len(), 1);
        let found = &found[0];
        assert_eq!((found.dice, found.missed_cases), (Some((2.0 / 6.0 + 0.0) / 2.0), 1));
        assert_eq!((found.sensitivity, found.precision), (Some(1.0 / 3.0), Some(1.0 / 3.0)));
        assert_eq!(found.false_findings, Some(2.0 / 3.0));
        // Of ann's slice without a lesion one voxel is marked, of bob's three one, of cid's two none.
        assert_eq!(found.false_positive_rate, Some(2.0 / 600.0));
        // From the lesion in the last slice to the nearest mark: 3 rows, 3 columns, 2 millimeters.
        assert!(found.hd95.unwrap() > 4.0 && found.hd95.unwrap() <= 22.0_f64.sqrt());
        assert!(found.dice_interval.is_some() && found.false_findings_interval.is_some());
        let table = evaluation.case_table(&BTreeMap::new());
        assert!(
            table.as_str().contains("\nbob,bob,,marks,calibration,,,0,0,1,1,300,1\n"),
            "{}",
            table.as_str()
        );
    }

    #[test]
    fn small_regions_do_not_count() {
        let shape = (6, 6, 1);
        let mut evaluation = OperatingEvaluation::new();
        let truth = Array3::from_elem(shape, false);
        let mut map = Array3::zeros(shape);
        map[[0, 0, 0]] = 1.0;
        map.slice_mut(ndarray::s![3..5, 3..5, ..]).fill(1.0);
        let mut ann = evaluation.subject(&subject("ann", shape), &scene(shape), &truth).unwrap();
        let all = scene(shape).foreground;
        ann.add("marks", &map, &all, &OperatingPoint::new(ThresholdOrigin::Validation, 1.0, 3)).unwrap();
        let found = &evaluation.cases()[0];
        assert_eq!((found.lesions.predictions, found.normal_pixels), (1, [36, 4]));
        assert_eq!((found.dice, found.hd95), (None, None));
    }
}
