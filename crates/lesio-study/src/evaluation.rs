//! Evaluation of predictors against the truth: pixels pooled by scope, intervals over patients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lesio_metrics::{BootstrapConfig, MeasureConfig, MetricError, Moved, StreamedPatients};
use lesio_report::{PredictorReport, Scope, ScopeReport};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::incomplete::{Incomplete, Missing};
use crate::interval::Interval95;
use crate::kept::pairs;
use crate::maps::{Maps, STAGES, Scene, Stage};
use crate::measured::{Measured, PredictorCurves, curves_of, measure};
use crate::names::{Names, Order};
use crate::observer::explain;
use crate::pixels::ScoredPixels;
use crate::scratch::{Append, Collected};
use crate::thresholds::Thresholds;

const SCOPES: [Scope; 2] = [Scope::LesionSlices, Scope::AllSlices];

/// False-positive rate up to which the per-region overlap is integrated.
const AUPRO_LIMIT: f64 = 0.3;

/// The result of an evaluation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated {
    /// Metrics by scope and predictor; undefined metrics are `None`.
    pub scopes: Vec<ScopeReport>,
    /// Curves of each predictor's post-processed scores on the slices with lesions.
    pub curves: Vec<PredictorCurves>,
    /// Patients and scopes with metrics that could not be computed.
    pub incomplete: Vec<Incomplete>,
}

/// Collects the scores of test subjects.
///
/// Scores are stored sorted in a temporary file, with about two bytes per pixel, predictor, stage and scope, so that
/// memory hardly grows with their number. Results have the same bits as with scores in memory.
#[derive(Debug)]
pub struct EvaluationBuilder {
    pub(crate) collected: Collected<GatheredScores>,
}

/// The data that an [`EvaluationBuilder`] has collected. The scores are in its scratch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct GatheredScores {
    order: Order,
    /// By scope, as [`SCOPES`] are.
    #[serde(with = "pairs")]
    entries: BTreeMap<(String, Stage), [StreamedPatients; 2]>,
    patients: BTreeSet<String>,
    unscored: Vec<Incomplete>,
}

impl EvaluationBuilder {
    /// An empty builder, which stores scores in the given folder, or in the system's folder for temporary files; no file
    /// remains there.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self { collected: Collected::new(folder) }
    }

    /// Adds a subject.
    ///
    /// The evaluation includes the pixels of the foreground, and lesion pixels outside it, which get the lowest score
    /// of their map: lesions outside the foreground count as missed.
    ///
    /// # Errors
    /// For a truth or a map of another shape than the foreground, for NaN scores, and if scores cannot be stored.
    pub fn add(&mut self, patient: &str, maps: &Maps, truth: &Array3<bool>) -> Result<(), StudyError> {
        maps.check(truth.shape())?;
        let mut subject = self.subject(patient, &maps.scene(), truth)?;
        maps.maps.iter().try_for_each(|(name, [raw, map])| subject.add(name, [raw, map]))
    }

    /// Starts a subject, whose maps are then added one predictor at a time.
    ///
    /// # Errors
    /// For a truth of another shape than the foreground.
    pub fn subject<'a>(
        &'a mut self,
        patient: &str,
        scene: &Scene,
        truth: &Array3<bool>,
    ) -> Result<EvaluatedSubject<'a>, StudyError> {
        let pixels = ScoredPixels::of_scopes(scene, truth)?;
        self.collected.data.patients.insert(patient.to_owned());
        let names = Names::default();
        Ok(EvaluatedSubject { evaluation: self, patient: patient.to_owned(), pixels, names })
    }

    /// Records a case that could not be scored: it is listed as left out.
    pub fn unscored(&mut self, patient: &str, case: &str, error: &StudyError) {
        let reason = explain(error);
        tracing::warn!(case, patient, "the case is left out of the evaluation: {reason}");
        self.left_out(patient, case, &reason);
    }

    /// As [`EvaluationBuilder::unscored`], of a case whose error was reported before.
    pub(crate) fn left_out(&mut self, patient: &str, case: &str, reason: &str) {
        self.collected.data.unscored.push(Incomplete {
            patient: Some(patient.to_owned()),
            scope: None,
            missing: Missing::Scores,
            consequence: format!("{}{reason}", case_left_out(case)),
        });
    }

    /// Number of patients so far.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.collected.data.patients.len()
    }

    /// Computes every metric with its 95 % interval over resampled patients; with fewer than two patients there are no
    /// intervals. `seconds` is the time per slice of each predictor, if it was measured.
    ///
    /// If the scored pixels of a scope are all lesion or all normal, its metrics are `None`; such scopes and patients
    /// are listed in [`Evaluated::incomplete`].
    ///
    /// # Errors
    /// If resampling is not possible, and if stored scores cannot be read.
    pub fn finish(
        mut self,
        thresholds: &Thresholds,
        seconds: &BTreeMap<String, f64>,
        bootstrap: &BootstrapConfig,
    ) -> Result<Evaluated, StudyError> {
        let (mut scopes, mut curves) = (Vec::new(), Vec::new());
        let mut incomplete = std::mem::take(&mut self.collected.data.unscored);
        for (place, scope) in SCOPES.into_iter().enumerate() {
            incomplete.extend(self.collected.data.incomplete_in(place, scope));
            let mut report = ScopeReport {
                scope,
                prevalence: None,
                predictors: Vec::new(),
                extra: lesio_report::Extra::new(),
            };
            let mut floor: Option<(f64, Vec<Option<f64>>)> = None;
            for name in self.collected.data.order.names() {
                let mut row = PredictorReport { name: name.to_owned(), ..PredictorReport::default() };
                row.seconds_per_image = seconds.get(name).copied();
                for stage in STAGES {
                    let key = (name.to_owned(), stage);
                    let Some(stream) = self.collected.data.entries.get(&key).map(|scopes| &scopes[place])
                    else {
                        continue;
                    };
                    if stream.patients().next().is_none() {
                        continue;
                    }
                    let config = MeasureConfig::default()
                        .overlap_limit(AUPRO_LIMIT)
                        .curve_points(CURVE_POINTS)
                        .threshold(thresholds.get(&key).copied());
                    let measured = match stream.measure(&mut self.collected.scratch, &config) {
                        // Listed already: the row remains, without values.
                        Err(MetricError::OneClass { .. }) => continue,
                        measured => measured?,
                    };
                    let Measured { scores, intervals, replicates } =
                        measure(&measured, &mut self.collected.scratch, bootstrap)?;
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
                    report.prevalence = Some(measured.prevalence());
                    if (scope, stage) == (Scope::LesionSlices, Stage::Postprocessed) {
                        curves.push(curves_of(name, &measured, &mut self.collected.scratch, bootstrap)?);
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
        Ok(Evaluated { scopes, curves, incomplete })
    }
}

impl Append for GatheredScores {
    fn append(&mut self, other: Self, moved: Moved) {
        self.order.absorb(&other.order);
        for (key, streams) in other.entries {
            let own = self.entries.entry(key).or_default();
            own.iter_mut().zip(streams).for_each(|(own, stream)| own.absorb(stream, moved));
        }
        self.patients.extend(other.patients);
        self.unscored.extend(other.unscored);
    }
}

/// How the consequence begins for a case that is left out; the reason follows.
fn case_left_out(case: &str) -> String {
    format!("case {case} is left out: ")
}

impl GatheredScores {
    /// Why a case is left out, if it is.
    pub(crate) fn why_left_out(&self, case: &str) -> Option<&str> {
        let begin = case_left_out(case);
        self.unscored.iter().find_map(|one| one.consequence.strip_prefix(begin.as_str()))
    }

    /// Patients that lack a class in a scope, and the scope itself if all its patients lack it.
    fn incomplete_in(&self, place: usize, scope: Scope) -> Vec<Incomplete> {
        // The pixels are the same for all predictors and stages.
        let Some(stream) = self.entries.values().next().map(|scopes| &scopes[place]) else {
            return Vec::new();
        };
        let of = |patient: Option<&str>, missing, consequence: &str| Incomplete {
            patient: patient.map(str::to_owned),
            scope: Some(scope),
            missing,
            consequence: consequence.to_owned(),
        };
        let mut found = Vec::new();
        let (mut lesions, mut normals, mut known) = (0, 0, BTreeSet::new());
        for (patient, positives, negatives) in stream.patients() {
            (lesions, normals) = (lesions + positives, normals + negatives);
            known.insert(patient);
            if negatives == 0 {
                let consequence =
                    "the patient's lesion pixels count, but a resampling of this patient alone is undefined";
                tracing::warn!(patient, scope = scope.name(), "no pixel of the patient is normal");
                found.push(of(Some(patient), Missing::NormalPixels, consequence));
            } else if positives == 0 {
                let consequence =
                    "the patient's normal pixels count, but a resampling without a lesion is undefined";
                found.push(of(Some(patient), Missing::Lesions, consequence));
            }
        }
        let absent = self.patients.iter().filter(|patient| !known.contains(patient.as_str()));
        let consequence = "the patient has no slice in this scope and is not resampled there";
        found.extend(absent.map(|patient| of(Some(patient), Missing::Lesions, consequence)));
        let consequence = "ranking metrics need both classes: the metrics of this scope are undefined";
        for (count, missing) in [(lesions, Missing::Lesions), (normals, Missing::NormalPixels)] {
            // Without a slice in the scope, lesions are what is missing.
            let has_no_slice = known.is_empty() && missing == Missing::NormalPixels;
            if count == 0 && !has_no_slice {
                tracing::warn!(scope = scope.name(), "metrics are undefined: {missing:?} are missing");
                found.push(of(None, missing, consequence));
            }
        }
        found
    }
}

/// A subject that is being added to an [`EvaluationBuilder`].
#[derive(Debug)]
pub struct EvaluatedSubject<'a> {
    evaluation: &'a mut EvaluationBuilder,
    patient: String,
    pixels: [ScoredPixels; 2],
    names: Names,
}

impl EvaluatedSubject<'_> {
    /// Adds the raw and the post-processed map of a predictor.
    ///
    /// # Errors
    /// For a map of another shape than the foreground, for a name that was added before, for NaN scores, and if scores
    /// cannot be stored.
    pub fn add(&mut self, name: &str, maps: [&Array3<f32>; 2]) -> Result<(), StudyError> {
        self.names.add("map", name)?;
        let Collected { data: GatheredScores { order, entries, .. }, scratch } =
            &mut self.evaluation.collected;
        order.note(name);
        for (stage, map) in STAGES.into_iter().zip(maps) {
            let scopes = entries.entry((name.to_owned(), stage)).or_default();
            for (stream, known) in scopes.iter_mut().zip(&self.pixels) {
                if let Some((pixels, scores)) = known.cut(map)? {
                    stream.update(scratch, &self.patient, pixels, scores.view())?;
                }
            }
        }
        Ok(())
    }
}

/// Points of a curve in a report.
const CURVE_POINTS: usize = 200;

/// Name of the predictor that needs no model: the image's value.
const FLOOR: &str = "intensity";

/// The name of an entry in a predictor's row: its average precision after post-processing minus that of `intensity`,
/// with the interval over the same resampled patients. It is absent if `intensity` was not added before.
pub const BEYOND_FLOOR: &str = "average_precision_less_intensity";

#[cfg(test)]
pub(crate) mod tests {
    use lesio_anomaly::{Localizer, Model, ModelConfig, PredictorName, Provenance, Resolution};
    use lesio_image::{Geometry, Preprocessing, Scan, Volume};
    use lesio_metrics::{Connectivity, PatientPixels, PatientRegions, ThresholdRule, ValidationPixels};
    use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
    use lesio_report::Scores;
    use lesio_vae::{VaeConfig, initial_parameters};
    use ndarray::Axis;

    use super::*;
    use crate::maps::score_subject;
    use crate::pixels::lesion_slices;
    use crate::subject::Subject;
    use crate::thresholds::ThresholdChoice;

    /// A made-up map, whose values depend on a seed.
    fn map(seed: u32, truth: &Array3<bool>, contrast: f32) -> Array3<f32> {
        let mut state = seed;
        truth.mapv(|lesion| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Some scores are frequent, as the lowest of an eroded map is.
            let noise = ((state >> 20) as f32 / 4096.0).powi(3);
            let score = if state >> 29 == 0 { 0.0 } else { noise };
            score + if lesion { contrast } else { 0.0 }
        })
    }

    /// Raw and post-processed maps by name, with everything in the foreground.
    pub(crate) fn maps_of<'a>(maps: impl IntoIterator<Item = (&'a str, [Array3<f32>; 2])>) -> Maps {
        let maps: Vec<_> = maps.into_iter().map(|(name, stages)| (name.to_owned(), stages)).collect();
        let first = &maps[0].1[0];
        Maps {
            reconstruction: first.clone(),
            foreground: first.map(|_| true),
            axis: 2,
            resolution: Resolution::Image([1.0; 2]),
            maps,
        }
    }

    fn maps(seed: u32, truth: &Array3<bool>) -> Maps {
        let stages = |contrast| [map(seed, truth, contrast), map(seed + 1000, truth, 2.0 * contrast)];
        maps_of([("intensity", stages(0.1)), ("pixel-l1", stages(0.3))])
    }

    /// Truths by patient: two with a lesion, one without, one all lesion.
    fn patients() -> Vec<(&'static str, Array3<bool>)> {
        let shape = (12, 10, 6);
        let lesion = |from: usize| {
            Array3::from_shape_fn(shape, move |(i, j, k)| {
                (from..from + 4).contains(&i) && j < 3 && (2..4).contains(&k)
            })
        };
        vec![
            ("ann", lesion(1)),
            ("bob", lesion(6)),
            ("healthy", Array3::from_elem(shape, false)),
            ("whole", Array3::from_elem(shape, true)),
        ]
    }

    fn evaluated(patients: &[(&'static str, Array3<bool>)]) -> Evaluated {
        let folder = tempfile::tempdir().unwrap();
        let mut evaluation = EvaluationBuilder::new(Some(folder.path()));
        for ((patient, truth), seed) in patients.iter().zip(1..) {
            evaluation.add(patient, &maps(seed, truth), truth).unwrap();
        }
        let bootstrap = BootstrapConfig::new(2).replicates(40);
        evaluation.finish(&Thresholds::new(), &BTreeMap::new(), &bootstrap).unwrap()
    }

    fn scores(found: &Evaluated, scope: Scope, name: &str, stage: Stage) -> Scores {
        let scope = found.scopes.iter().find(|report| report.scope == scope).unwrap();
        let row = scope.predictors.iter().find(|row| row.name == name).unwrap();
        if stage == Stage::Raw { row.raw } else { row.postprocessed }
    }

    #[test]
    fn figures_are_those_of_the_same_pixels_in_memory() {
        let patients = &patients()[..3];
        let found = evaluated(patients);
        for scope in SCOPES {
            for (name, place) in [("intensity", 0), ("pixel-l1", 1)] {
                for (stage, of_stage) in [(Stage::Raw, 0), (Stage::Postprocessed, 1)] {
                    let (mut pixels, mut regions) =
                        (PatientPixels::new(), PatientRegions::new(Connectivity::Vertex));
                    for ((patient, truth), seed) in patients.iter().zip(1..) {
                        let slices = match scope {
                            Scope::AllSlices => (0..truth.len_of(Axis(2))).collect(),
                            _ => lesion_slices(truth, 2),
                        };
                        if slices.is_empty() {
                            continue;
                        }
                        let map = maps(seed, truth).maps[place].1[of_stage].select(Axis(2), &slices);
                        let truth = truth.select(Axis(2), &slices);
                        let values: Vec<f32> = map.iter().copied().collect();
                        pixels.update(patient, &values, &truth.iter().copied().collect::<Vec<_>>()).unwrap();
                        regions.update(patient, map.view(), truth.view()).unwrap();
                    }
                    let (pixels, regions) = (pixels.rank().unwrap(), regions.rank().unwrap());
                    let own = scores(&found, scope, name, stage);
                    assert_eq!(own.auroc, Some(pixels.pooled().auroc()));
                    assert_eq!(own.average_precision, Some(pixels.pooled().average_precision()));
                    assert_eq!(own.ceil_dice, Some(pixels.pooled().ceil_dice().dice));
                    assert_eq!(own.aupro_30, Some(regions.pooled().aupro(0.3).unwrap()));
                }
            }
        }
    }

    #[test]
    fn lesions_on_both_sides_of_normal_slices_are_two() {
        let lesion =
            |from: usize, k: usize| move |(i, j, own): (usize, usize, usize)| i.max(j) < from && own == k;
        for gap in 1..3 {
            let [large, small] = [lesion(6, 1), lesion(2, 2 + gap)];
            let truth = Array3::from_shape_fn((12, 12, 7), |at| large(at) || small(at));
            // Only the large one is found.
            let map = Array3::from_shape_fn(truth.dim(), |at| f32::from(u8::from(large(at))));
            let mut evaluation = EvaluationBuilder::new(None);
            evaluation.add("ann", &maps_of([("intensity", [map.clone(), map])]), &truth).unwrap();
            let bootstrap = BootstrapConfig::new(2).replicates(4);
            let found = evaluation.finish(&Thresholds::new(), &BTreeMap::new(), &bootstrap).unwrap();
            for scope in SCOPES {
                let aupro = scores(&found, scope, "intensity", Stage::Raw).aupro_30.unwrap();
                assert!(
                    (aupro - (0.5 + 0.5 * 0.15)).abs() < 1e-9,
                    "{scope:?}, {gap} slices between: {aupro}"
                );
            }
        }
    }

    #[test]
    fn thresholds_are_those_of_the_same_pixels_in_memory() {
        let mut choice = ThresholdChoice::new(None);
        let mut pixels = ValidationPixels::new();
        for ((patient, truth), seed) in patients()[..3].iter().zip(1..) {
            let maps = maps(seed, truth);
            choice.add(patient, &maps, truth).unwrap();
            let slices = lesion_slices(truth, 2);
            let values: Vec<f32> = maps.maps[1].1[1].select(Axis(2), &slices).iter().copied().collect();
            let truth: Vec<bool> = truth.select(Axis(2), &slices).iter().copied().collect();
            pixels.update(&values, &truth).unwrap();
        }
        let found = choice.finish().unwrap();
        let key = ("pixel-l1".to_owned(), Stage::Postprocessed);
        assert_eq!(found.thresholds[&key], pixels.choose(ThresholdRule::BestDice).unwrap());
        assert_eq!(found.average_precisions[&key], pixels.average_precision().unwrap());
        assert_eq!((found.thresholds.len(), found.subjects), (4, 2));
    }

    #[test]
    fn a_patient_who_is_all_lesion_is_listed_and_the_rest_counts() {
        let found = evaluated(&patients());
        let listed: Vec<_> = found
            .incomplete
            .iter()
            .map(|one| (one.patient.as_deref().unwrap_or("all"), one.scope, one.missing))
            .collect();
        assert_eq!(
            listed,
            [
                ("whole", Some(Scope::LesionSlices), Missing::NormalPixels),
                ("healthy", Some(Scope::LesionSlices), Missing::Lesions),
                ("healthy", Some(Scope::AllSlices), Missing::Lesions),
                ("whole", Some(Scope::AllSlices), Missing::NormalPixels),
            ]
        );
        for scope in SCOPES {
            assert!(scores(&found, scope, "pixel-l1", Stage::Raw).auroc.is_some());
        }
        let json = serde_json::to_string(&found.incomplete).unwrap();
        assert!(json.contains("\"missing\":\"normal-pixels\""), "{json}");
    }

    #[test]
    fn alone_such_a_patient_has_no_figures_and_no_error() {
        for (place, missing) in [(3, Missing::NormalPixels), (2, Missing::Lesions)] {
            let found = evaluated(&patients()[place..=place]);
            for report in &found.scopes {
                assert!(report.predictors.iter().all(|row| row.raw.auroc.is_none()), "{missing:?}");
            }
            let whole = found.incomplete.iter().find(|one| one.patient.is_none()).unwrap();
            assert_eq!(whole.missing, missing);
            assert!(found.curves.is_empty());
        }
    }

    #[test]
    fn a_case_without_foreground_is_listed_and_the_rest_counts() {
        let brains = BrainPhantom::new(BrainConfig::new([28, 36], Contrast::Flair, 5).slices(7)).unwrap();
        let volume = brains.volume(0).unwrap().image;
        let config = VaeConfig::new(1, 16, 16).widths([4, 6]);
        let parameters = initial_parameters(&config, 2).unwrap();
        let model =
            Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &lesio_nn::Device::Cpu).unwrap();
        let fitted = Preprocessing::heads([16, 16]).fit([&Scan::from(volume.clone())]).unwrap();
        let localizer = Localizer::new(model, fitted, Provenance::default()).unwrap();
        let mut truth = volume.map(|_| false);
        truth.data_mut()[[14, 18, 3]] = true;
        let good = Subject::new("good", volume, Some(truth));
        let flat = Volume::new(Array3::from_elem((28, 36, 7), 5.0), Geometry::default());
        let truth = Some(flat.map(|_| false));
        let constant = Subject::new("constant", flat, truth);
        let mut evaluation = EvaluationBuilder::new(None);
        for subject in [&good, &constant] {
            match score_subject(&localizer, subject, &[PredictorName::Intensity]) {
                Ok(maps) => {
                    evaluation.add(&subject.patient, &maps, &subject.truth().unwrap().unwrap()).unwrap()
                }
                Err(error) => evaluation.unscored(&subject.patient, &subject.id, &error),
            }
        }
        let bootstrap = BootstrapConfig::new(2).replicates(5);
        let found = evaluation.finish(&Thresholds::new(), &BTreeMap::new(), &bootstrap).unwrap();
        let one = &found.incomplete[0];
        assert_eq!(
            (one.patient.as_deref(), one.scope, one.missing),
            (Some("constant"), None, Missing::Scores)
        );
        assert!(one.consequence.contains("\"constant\" could not be scored"), "{}", one.consequence);
        assert!(scores(&found, Scope::AllSlices, "intensity", Stage::Raw).auroc.is_some());
    }

    #[test]
    fn arrays_of_other_shapes_are_refused() {
        let truth = Array3::from_elem((4, 4, 3), true);
        let own = maps(1, &truth);
        let other = Array3::from_elem((4, 3, 4), true);
        let refused = |result: Result<(), StudyError>| {
            assert!(matches!(result, Err(StudyError::Shape { .. })), "{result:?}");
        };
        refused(EvaluationBuilder::new(None).add("a", &own, &other));
        refused(ThresholdChoice::new(None).add("p", &own, &other));
        let mut mixed = own.clone();
        mixed.maps[1].1[1] = Array3::zeros((4, 4, 2));
        refused(EvaluationBuilder::new(None).add("a", &mixed, &truth));
        refused(ThresholdChoice::new(None).add("p", &mixed, &truth));
        let mut beyond = own;
        beyond.axis = 3;
        assert!(EvaluationBuilder::new(None).add("a", &beyond, &truth).is_err());
    }

    fn named(names: &[&str], shape: (usize, usize, usize)) -> Maps {
        let map = Array3::<f32>::from_shape_fn(shape, |(i, j, k)| (i * 7 + j * 3 + k) as f32);
        maps_of(names.iter().map(|&name| (name, [map.clone(), map.clone()])))
    }

    /// Arguments of another shape, an axis that is none and maps of one name are errors, not panics or one pooled row.
    #[test]
    fn what_does_not_belong_together_is_refused() {
        let truth = Array3::from_shape_fn((4, 5, 3), |(i, j, k)| i + j + k == 4);
        let both = |maps: &Maps, truth: &Array3<bool>| {
            let (mut choice, mut evaluation) = (ThresholdChoice::new(None), EvaluationBuilder::new(None));
            let (one, other) = (choice.add("p", maps, truth), evaluation.add("p", maps, truth));
            assert_eq!(one.is_ok(), other.is_ok());
            assert_eq!(evaluation.patients(), usize::from(other.is_ok()));
            one.and(other)
        };
        assert!(both(&named(&["a", "b"], (4, 5, 3)), &truth).is_ok());
        let twice = both(&named(&["a", "b", "a"], (4, 5, 3)), &truth);
        assert!(matches!(twice, Err(StudyError::Repeated { name, .. }) if name == "a"));
        for shape in [(4, 5, 2), (5, 4, 3), (0, 5, 3), (4, 5, 4)] {
            let error = both(&named(&["a"], shape), &truth);
            assert!(matches!(error, Err(StudyError::Shape { .. })), "{shape:?}");
        }
        let mut one_map = named(&["a", "b"], (4, 5, 3));
        one_map.maps[1].1[0] = Array3::zeros((4, 5, 2));
        let error = both(&one_map, &truth);
        assert!(matches!(error, Err(StudyError::Shape { what, .. }) if what.contains("\"b\"")));
        for axis in [3, usize::MAX] {
            let turned = Maps { axis, ..named(&["a"], (4, 5, 3)) };
            assert!(matches!(both(&turned, &truth), Err(StudyError::Setting(_))), "{axis}");
        }
    }
}
