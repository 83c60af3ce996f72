//! Predictors against the truth: pixels pooled by scope, intervals over patients.

use std::collections::BTreeMap;

use lesio_anomaly::{Localizer, PredictorName, Resolution};
use lesio_image::{Plane, Volume};
use lesio_metrics::{
    BootstrapConfig, Connectivity, CurveBand, MetricError, PatientPixels, PatientRegions,
    PrecisionRecallCurve, RankedPatients, Replicates, RocCurve, ThresholdRule, ValidationPixels,
    ValidationThreshold,
};
use lesio_report::{PredictorReport, Scope, ScopeReport, ScoreIntervals, Scores};
use lesio_settings::in_range;
use ndarray::{Array2, Array3, Axis, Slice};

use crate::error::StudyError;
use crate::subject::{Content, Subject};
use crate::verdict::Interval95;

/// Whether scores are those of a predictor itself or after post-processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// As the predictor gives them.
    Raw,
    /// After post-processing.
    Postprocessed,
}

const STAGES: [Stage; 2] = [Stage::Raw, Stage::Postprocessed];
const SCOPES: [Scope; 2] = [Scope::LesionSlices, Scope::AllSlices];

/// False-positive rate up to which the per-region overlap is integrated.
const AUPRO_LIMIT: f64 = 0.3;

/// The maps of a subject: raw and post-processed for each predictor, as volumes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Maps {
    /// The predictors' names, with their raw and post-processed maps.
    pub maps: Vec<(String, [Array3<f32>; 2])>,
    /// What the model takes for normal, in the image's intensities; the first channel of an image.
    pub reconstruction: Array3<f32>,
    /// The foreground.
    pub foreground: Array3<bool>,
    /// The axis through the slices.
    pub axis: usize,
    /// How finely the subject is sampled.
    pub resolution: Resolution,
}

/// Scores a subject by each predictor; an image is a volume of one slice here.
///
/// # Errors
/// [`StudyError::Score`] naming the case; [`StudyError::Shape`] for a truth of another shape than the image.
pub fn score_subject(
    localizer: &Localizer,
    subject: &Subject,
    names: &[PredictorName],
) -> Result<Maps, StudyError> {
    subject.validate()?;
    let failed = |source| StudyError::Score { case: subject.id.clone(), source };
    match &subject.content {
        Content::Volume { volume, .. } => {
            let scored = localizer.score(volume, names).map_err(failed)?;
            let maps = scored
                .scores
                .into_iter()
                .map(|s| (s.predictor.to_string(), [s.raw.into_data(), s.postprocessed.into_data()]))
                .collect();
            let axis = slicing_axis(volume, localizer.preprocessing().config().plane);
            let (foreground, resolution) = (scored.foreground.into_data(), scored.resolution);
            Ok(Maps { maps, reconstruction: scored.reconstruction.into_data(), foreground, axis, resolution })
        }
        Content::Image { image, .. } => {
            let scored = localizer.score_image(image, names).map_err(failed)?;
            let deep = |map: Array2<f32>| map.insert_axis(Axis(2));
            let maps = scored
                .scores
                .into_iter()
                .map(|s| (s.predictor.to_string(), [deep(s.raw), deep(s.postprocessed)]))
                .collect();
            let first = scored.reconstruction.into_data().index_axis_move(Axis(0), 0);
            let (foreground, resolution) = (scored.foreground.insert_axis(Axis(2)), scored.resolution);
            Ok(Maps { maps, reconstruction: deep(first), foreground, axis: 2, resolution })
        }
    }
}

impl Maps {
    /// Refuses an axis that is none, two maps of one name, and maps or a foreground of another shape than the truth.
    ///
    /// # Errors
    /// [`StudyError::Setting`] for the axis, [`StudyError::Repeated`] and [`StudyError::Shape`].
    pub fn check(&self, truth: &[usize]) -> Result<(), StudyError> {
        in_range("axis of the maps", self.axis, 0..=2)?;
        check_unique("map", self.maps.iter().map(|(name, _)| name.as_str()))?;
        let same = |what: &dyn Fn() -> String, found: &[usize]| {
            if found == truth {
                return Ok(());
            }
            Err(StudyError::Shape { what: what(), found: found.to_vec(), expected: truth.to_vec() })
        };
        same(&|| "the foreground".to_owned(), self.foreground.shape())?;
        for (name, stages) in &self.maps {
            for map in stages {
                same(&|| format!("the map {name:?}"), map.shape())?;
            }
        }
        Ok(())
    }
}

/// Refuses names of which one stands twice.
pub(crate) fn check_unique<'n>(
    what: &'static str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), StudyError> {
    let mut seen = std::collections::BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(StudyError::Repeated { what, name: name.to_owned() }),
        None => Ok(()),
    }
}

/// The truth of a subject as a volume, an image being one slice; `None` where nothing is known.
#[must_use]
pub fn truth_of(subject: &Subject) -> Option<Array3<bool>> {
    match &subject.content {
        Content::Volume { truth, .. } => truth.as_ref().map(|truth| truth.data().clone()),
        Content::Image { truth, .. } => truth.as_ref().map(|truth| truth.clone().insert_axis(Axis(2))),
    }
}

/// The voxel axis, of a volume in any orientation, through the slices of a plane.
#[must_use]
pub fn slicing_axis<T>(volume: &Volume<T>, plane: Plane) -> usize {
    let codes = volume.geometry().axis_codes();
    codes.iter().position(|code| code.world().0 == plane.axis()).unwrap_or(plane.axis())
}

/// Thresholds that validation data chose, by predictor and stage.
pub type Thresholds = BTreeMap<(String, Stage), ValidationThreshold>;

/// Gathers the scores of validation subjects and chooses a threshold for each predictor.
#[derive(Debug, Default)]
pub struct ThresholdChoice {
    pixels: BTreeMap<(String, Stage), ValidationPixels>,
}

impl ThresholdChoice {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the slices with lesions of a validation subject.
    ///
    /// # Errors
    /// Scores that are not finite; as [`Maps::check`].
    pub fn add(&mut self, maps: &Maps, truth: &Array3<bool>) -> Result<(), StudyError> {
        maps.check(truth.shape())?;
        let slices = lesion_slices(truth, maps.axis);
        let part = |k: usize| slices.contains(&k);
        let (truth, within) = (flat(truth, maps.axis, &part), flat(&domain(maps, truth), maps.axis, &part));
        for (name, stages) in &maps.maps {
            for (stage, map) in STAGES.into_iter().zip(stages) {
                let pixels = self.pixels.entry((name.clone(), stage)).or_default();
                pixels.update_within(&flat(map, maps.axis, &part), &truth, &within)?;
            }
        }
        Ok(())
    }

    /// The average precision of each predictor and stage on the slices gathered; those of which no lesion was seen
    /// have none.
    #[must_use]
    pub fn average_precisions(&self) -> BTreeMap<(String, Stage), f64> {
        let measure = |pixels: &ValidationPixels| pixels.average_precision().ok();
        self.pixels.iter().filter_map(|(key, pixels)| Some((key.clone(), measure(pixels)?))).collect()
    }

    /// The thresholds of the best pooled Dice; predictors of which no lesion was seen have none.
    #[must_use]
    pub fn choose(&self) -> Thresholds {
        let choose = |pixels: &ValidationPixels| pixels.choose(ThresholdRule::BestDice).ok();
        self.pixels.iter().filter_map(|(key, pixels)| Some((key.clone(), choose(pixels)?))).collect()
    }
}

/// What an evaluation found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated {
    /// Metrics by scope and predictor.
    pub scopes: Vec<ScopeReport>,
    /// Curves of each predictor's post-processed scores on the slices with lesions.
    pub curves: Vec<PredictorCurves>,
}

/// Curves of one predictor, with 95 % intervals where there are at least two patients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PredictorCurves {
    /// The predictor.
    pub predictor: String,
    /// True-positive over false-positive rate.
    pub roc: RocCurve,
    /// Precision over recall.
    pub precision_recall: PrecisionRecallCurve,
    /// Intervals of the true-positive rate.
    pub roc_band: Option<CurveBand>,
    /// Intervals of the precision.
    pub precision_recall_band: Option<CurveBand>,
}

/// Gathers the scores of test subjects.
#[derive(Debug, Default)]
pub struct Evaluation {
    order: Vec<String>,
    entries: BTreeMap<(String, Stage), BTreeMap<&'static str, Entry>>,
    patients: std::collections::BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    pixels: PatientPixels,
    regions: PatientRegions,
}

impl Entry {
    fn new() -> Self {
        Self { pixels: PatientPixels::new(), regions: PatientRegions::new(Connectivity::Vertex) }
    }
}

impl Evaluation {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subject.
    ///
    /// Scored are the pixels of the foreground, and lesion pixels outside it, which have the lowest
    /// score of their map: what the foreground loses is missed.
    ///
    /// # Errors
    /// Scores that are not finite; as [`Maps::check`].
    pub fn add(&mut self, patient: &str, maps: &Maps, truth: &Array3<bool>) -> Result<(), StudyError> {
        maps.check(truth.shape())?;
        self.patients.insert(patient.to_owned());
        let within = domain(maps, truth);
        let lesions = lesion_slices(truth, maps.axis);
        for (name, stages) in &maps.maps {
            if !self.order.contains(name) {
                self.order.push(name.clone());
            }
            for (stage, map) in STAGES.into_iter().zip(stages) {
                let scopes = self.entries.entry((name.clone(), stage)).or_default();
                for scope in SCOPES {
                    let part = |k: usize| scope == Scope::AllSlices || lesions.contains(&k);
                    let scores = stack(map, maps.axis, &part);
                    if scores.is_empty() {
                        continue;
                    }
                    let truth = stack(truth, maps.axis, &part);
                    let within = stack(&within, maps.axis, &part);
                    let entry = scopes.entry(scope.name()).or_insert_with(Entry::new);
                    entry.pixels.update_within(
                        patient,
                        &scores.iter().copied().collect::<Vec<_>>(),
                        &truth.iter().copied().collect::<Vec<_>>(),
                        &within.iter().copied().collect::<Vec<_>>(),
                    )?;
                    entry.regions.update_within(patient, scores.view(), truth.view(), within.view())?;
                }
            }
        }
        Ok(())
    }

    /// Number of patients so far.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.patients.len()
    }

    /// Computes every metric with its 95 % interval over resampled patients; fewer than two patients
    /// have none. `seconds` is the time per slice of each predictor, where it was measured.
    ///
    /// # Errors
    /// As [`BootstrapConfig::validate`]; a data set without a lesion, or with nothing else.
    pub fn finish(
        self,
        thresholds: &Thresholds,
        seconds: &BTreeMap<String, f64>,
        bootstrap: &BootstrapConfig,
    ) -> Result<Evaluated, StudyError> {
        // Where intervals are missing it is for want of patients, never for a setting.
        bootstrap.validate()?;
        let mut entries = self.entries;
        let (mut scopes, mut curves) = (Vec::new(), Vec::new());
        for scope in SCOPES {
            let mut report = ScopeReport {
                scope,
                prevalence: None,
                predictors: Vec::new(),
                extra: lesio_report::Extra::new(),
            };
            let mut floor: Option<(f64, Vec<Option<f64>>)> = None;
            for name in &self.order {
                let mut row = PredictorReport { name: name.clone(), ..PredictorReport::default() };
                row.seconds_per_image = seconds.get(name).copied();
                for stage in STAGES {
                    let key = (name.clone(), stage);
                    let Some(entry) = entries.get_mut(&key).and_then(|scopes| scopes.remove(scope.name()))
                    else {
                        continue;
                    };
                    let ranked = entry.pixels.rank()?;
                    let Measured { scores, intervals, replicates } =
                        measure(&ranked, entry.regions, thresholds.get(&key), bootstrap)?;
                    if stage == Stage::Postprocessed
                        && !replicates.is_empty()
                        && let Some(estimate) = scores.average_precision
                    {
                        if name == FLOOR {
                            floor = Some((estimate, replicates));
                        } else if let Some((of_floor, floor)) = &floor {
                            let pairs = replicates.iter().zip(floor);
                            let differences = pairs.map(|(own, floor)| Some((*own)? - (*floor)?));
                            let difference = Interval95::of(estimate - of_floor, differences);
                            row.extra.insert(BEYOND_FLOOR.to_owned(), serde_json::json!(difference));
                        }
                    }
                    report.prevalence = Some(ranked.pooled().prevalence());
                    if (scope, stage) == (Scope::LesionSlices, Stage::Postprocessed) {
                        curves.push(curves_of(name, &ranked, bootstrap));
                    }
                    match stage {
                        Stage::Raw => (row.raw, row.ci95.raw) = (scores, intervals),
                        Stage::Postprocessed => {
                            (row.postprocessed, row.ci95.postprocessed) = (scores, intervals)
                        }
                    }
                }
                report.predictors.push(row);
            }
            scopes.push(report);
        }
        Ok(Evaluated { scopes, curves })
    }
}

/// Points of a curve in a report.
const CURVE_POINTS: usize = 200;
/// Places at which a curve's interval is computed.
const BAND_POINTS: usize = 40;

fn curves_of(name: &str, ranked: &RankedPatients, bootstrap: &BootstrapConfig) -> PredictorCurves {
    let pooled = ranked.pooled();
    PredictorCurves {
        predictor: name.to_owned(),
        roc: pooled.roc(CURVE_POINTS),
        precision_recall: pooled.precision_recall(CURVE_POINTS),
        // Fewer than two patients have no interval.
        roc_band: ranked.roc_band(BAND_POINTS, bootstrap).ok(),
        precision_recall_band: ranked.precision_recall_band(BAND_POINTS, bootstrap).ok(),
    }
}

/// Name of the predictor that needs no model: the image's value.
const FLOOR: &str = "intensity";

/// Under this name a predictor's row holds its average precision after post-processing less that of `intensity`,
/// with the interval over the same resampled patients; there is none where `intensity` was not asked for before it.
pub const BEYOND_FLOOR: &str = "average_precision_less_intensity";

struct Measured {
    scores: Scores,
    intervals: ScoreIntervals,
    /// Average precision of each replicate.
    replicates: Vec<Option<f64>>,
}

fn measure(
    ranked: &RankedPatients,
    regions: PatientRegions,
    threshold: Option<&ValidationThreshold>,
    bootstrap: &BootstrapConfig,
) -> Result<Measured, StudyError> {
    let pooled = ranked.pooled();
    let regions = regions.rank()?;
    let scores = Scores {
        auroc: Some(pooled.auroc()),
        average_precision: Some(pooled.average_precision()),
        ceil_dice: Some(pooled.ceil_dice().dice),
        dice_at_val: threshold.map(|threshold| pooled.dice_at(threshold)),
        aupro_30: Some(regions.pooled().aupro(AUPRO_LIMIT)?),
    };
    let mut intervals = ScoreIntervals::default();
    let mut of_precision = Vec::new();
    if ranked.patients().len() >= 2 {
        let replicates = ranked.bootstrap(bootstrap)?;
        of_precision = replicates.average_precision.values().to_vec();
        intervals.auroc = interval(&replicates.auroc);
        intervals.average_precision = interval(&replicates.average_precision);
        intervals.ceil_dice = interval(&replicates.ceil_dice);
        intervals.aupro_30 = interval(&regions.bootstrap(AUPRO_LIMIT, bootstrap)?);
        if let Some(threshold) = threshold {
            intervals.dice_at_val = interval(&ranked.bootstrap_dice_at(threshold, bootstrap)?);
        }
    }
    Ok(Measured { scores, intervals, replicates: of_precision })
}

fn interval(replicates: &Replicates) -> Option<[f64; 2]> {
    let found: Result<_, MetricError> = replicates.interval();
    found.ok().map(|interval| [interval.lower, interval.upper])
}

/// Pixels that count.
fn domain(maps: &Maps, truth: &Array3<bool>) -> Array3<bool> {
    ndarray::Zip::from(&maps.foreground).and(truth).map_collect(|&inside, &lesion| inside || lesion)
}

/// Slices along an axis that hold a lesion.
fn lesion_slices(truth: &Array3<bool>, axis: usize) -> Vec<usize> {
    let slices = truth.axis_iter(Axis(axis)).enumerate();
    slices.filter(|(_, slice)| slice.iter().any(|&inside| inside)).map(|(k, _)| k).collect()
}

/// The slices that `part` takes, stacked.
fn stack<T: Copy>(values: &Array3<T>, axis: usize, part: &dyn Fn(usize) -> bool) -> Array3<T> {
    let kept: Vec<usize> = (0..values.len_of(Axis(axis))).filter(|&k| part(k)).collect();
    if kept.len() == values.len_of(Axis(axis)) {
        return values.clone();
    }
    if kept.is_empty() {
        return values.slice_axis(Axis(axis), Slice::from(0..0)).to_owned();
    }
    values.select(Axis(axis), &kept)
}

fn flat<T: Copy>(values: &Array3<T>, axis: usize, part: &dyn Fn(usize) -> bool) -> Vec<T> {
    stack(values, axis, part).iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(names: &[&str], shape: (usize, usize, usize)) -> Maps {
        let map = Array3::<f32>::from_shape_fn(shape, |(i, j, k)| (i * 7 + j * 3 + k) as f32);
        Maps {
            maps: names.iter().map(|name| ((*name).to_owned(), [map.clone(), map.clone()])).collect(),
            reconstruction: map.clone(),
            foreground: Array3::from_elem(shape, true),
            axis: 2,
        }
    }

    /// Arguments of another shape, an axis that is none and maps of one name are errors, not panics or one pooled row.
    #[test]
    fn what_does_not_belong_together_is_refused() {
        let truth = Array3::from_shape_fn((4, 5, 3), |(i, j, k)| i + j + k == 4);
        let both = |maps: &Maps, truth: &Array3<bool>| {
            let (mut choice, mut evaluation) = (ThresholdChoice::new(), Evaluation::new());
            let (one, other) = (choice.add(maps, truth), evaluation.add("p", maps, truth));
            assert_eq!(one.is_ok(), other.is_ok());
            assert_eq!(evaluation.patients(), usize::from(other.is_ok()));
            one.and(other)
        };
        assert!(both(&maps(&["a", "b"], (4, 5, 3)), &truth).is_ok());
        let twice = both(&maps(&["a", "b", "a"], (4, 5, 3)), &truth);
        assert!(matches!(twice, Err(StudyError::Repeated { name, .. }) if name == "a"));
        for shape in [(4, 5, 2), (5, 4, 3), (0, 5, 3), (4, 5, 4)] {
            let error = both(&maps(&["a"], shape), &truth);
            assert!(matches!(error, Err(StudyError::Shape { .. })), "{shape:?}");
        }
        let mut one_map = maps(&["a", "b"], (4, 5, 3));
        one_map.maps[1].1[0] = Array3::zeros((4, 5, 2));
        let error = both(&one_map, &truth);
        assert!(matches!(error, Err(StudyError::Shape { what, .. }) if what.contains("\"b\"")));
        for axis in [3, usize::MAX] {
            let turned = Maps { axis, ..maps(&["a"], (4, 5, 3)) };
            assert!(matches!(both(&turned, &truth), Err(StudyError::Setting(_))), "{axis}");
        }
    }
}
