//! Calibration of a localizer on held-out normal subjects, and selection of its best predictor on held-out lesions.

use std::collections::{BTreeMap, BTreeSet};

use lesio_anomaly::{Calibration, ChosenPredictor, Localizer, NormalScores, PredictorName, ResolutionRange};
use lesio_metrics::{Connectivity, MetricError, Scratch, StreamedScores, StreamedValidation, TruePixels};
use ndarray::{Array3, ArrayView2, Axis};

use crate::error::StudyError;
use crate::maps::{Scene, score_each};
use crate::median::median;
use crate::pixels::LesionSlices;
use crate::scratch::scratch;
use crate::subject::{Joined, Subjects};

/// Calibrates a localizer: scores subjects by each predictor, and stores the post-processed scores of their normal
/// slices and the resolutions of the subjects.
///
/// Slices with a lesion do not calibrate; without a truth, all slices count as normal. Several subjects of one patient
/// ([`Subject::patient`](crate::Subject::patient)) count as one normal subject, with the highest score of all. If there are slices with
/// lesions, the predictor with the highest average precision on them is selected ([`Localizer::chosen`]), the first of
/// equal ones; without a lesion, an earlier selection is kept. The subjects must not be training or test subjects. They
/// may be in memory or be read one at a time; many scores are stored in a temporary file.
///
/// The calibration is replaced as a whole. A predictor that is not named has no thresholds and no p-values afterwards,
/// even if it had them before: its scores are of other subjects and resolutions. To calibrate one more predictor of a
/// localizer, name it together with `localizer.calibration().predictors()`.
///
/// # Errors
/// If a subject cannot be read or scored, if its truth has another shape than its image, for a predictor that is named
/// twice, and if scores cannot be stored.
pub fn calibrate(
    localizer: Localizer,
    subjects: &(impl Subjects + ?Sized),
    names: &[PredictorName],
    progress: impl FnMut(usize),
) -> Result<Localizer, StudyError> {
    calibrate_and_choose(localizer, Joined { subjects, further: None }, names, progress)
}

/// Like [`calibrate`], but the slices with lesions of further subjects select the best predictor, too. They do not
/// calibrate, so they may be slices that the training of the model left out.
pub(crate) fn calibrate_and_choose(
    localizer: Localizer,
    subjects: Joined<'_, impl Subjects + ?Sized>,
    names: &[PredictorName],
    mut progress: impl FnMut(usize),
) -> Result<Localizer, StudyError> {
    // The old calibration does not apply to these subjects.
    let localizer = localizer.with_calibration(Calibration::new());
    let mut scratch = scratch(None);
    // The highest score of each patient, of whom several images may be here: only patients are independent.
    let mut gathered: Vec<(StreamedScores, BTreeMap<String, f32>)> = vec![Default::default(); names.len()];
    let mut lesions = Lesions::new(names);
    let mut resolutions = ResolutionRange::new();
    let (mut extents, mut footprints) = (Vec::new(), [Vec::new(), Vec::new()]);
    for place in 0..subjects.count() {
        let calibrates = place < subjects.subjects.count();
        let subject = subjects.subject(place)?;
        let truth = subject.truth()?;
        if !calibrates && !has_lesion(truth.as_deref()) {
            progress(place + 1);
            continue;
        }
        let mut own_lesions: Option<LesionPixels> = None;
        let (mut predictor, mut counted) = (0, false);
        let scene = score_each(&localizer, &subject, names, |scene, _, [_, map]| {
            let scores = match calibrates {
                true => normal_scores(scene, &map, truth.as_deref()),
                false => Vec::new(),
            };
            counted |= !scores.is_empty();
            if let Some((stream, maxima)) = gathered.get_mut(predictor).filter(|_| calibrates) {
                stream.update(&mut scratch, &scores)?;
                if let Some(highest) = scores.iter().copied().reduce(f32::max) {
                    let own = maxima.entry(subject.patient.clone()).or_insert(highest);
                    *own = own.max(highest);
                }
            }
            if own_lesions.is_none()
                && let Some(truth) = &truth
            {
                own_lesions = LesionPixels::new(scene, truth)?;
            }
            if let Some(pixels) = &own_lesions {
                lesions.add(&mut scratch, predictor, pixels, &map)?;
            }
            predictor += 1;
            Ok(())
        })?;
        if own_lesions.is_some() {
            lesions.patients.insert(subject.patient.clone());
        }
        if counted {
            resolutions.add(scene.resolution);
            let slices = normal_slices(&scene, truth.as_deref());
            extents.extend(scene.resolution.between_slices().map(|spacing| spacing * slices as f64));
            for (lengths, length) in footprints.iter_mut().zip(scene.footprint.into_iter().flatten()) {
                lengths.push(length);
            }
        }
        progress(place + 1);
    }
    let [rows, columns] = footprints.map(median);
    let footprint = rows.zip(columns).map(|(rows, columns)| [rows, columns]);
    let mut calibration = Calibration::new()
        .with_resolutions(resolutions)
        .with_extent(median(extents))
        .with_footprint(footprint);
    for (&name, (stream, maxima)) in names.iter().zip(gathered) {
        let ascending = |each: &mut dyn FnMut(f32, u64)| stream.for_each(&mut scratch, each);
        if let Some(scores) =
            NormalScores::from_ascending(maxima.into_values().collect(), stream.len(), ascending)?
        {
            calibration.insert(name, scores);
        }
    }
    let chosen = lesions.choose(&mut scratch)?.or_else(|| localizer.chosen().cloned());
    Ok(localizer.with_calibration(calibration).with_chosen(chosen)?)
}

/// Whether a truth is known and contains a lesion.
pub(crate) fn has_lesion(truth: Option<&Array3<bool>>) -> bool {
    truth.is_some_and(|truth| truth.iter().any(|&inside| inside))
}

/// The number of slices with foreground and without a lesion.
pub(crate) fn normal_slices(scene: &Scene, truth: Option<&Array3<bool>>) -> usize {
    let axis = Axis(scene.axis);
    let any = |slice: ArrayView2<'_, bool>| slice.iter().any(|&inside| inside);
    let is_normal = |k: usize| !truth.is_some_and(|truth| any(truth.index_axis(axis, k)));
    let slices = scene.foreground.axis_iter(axis).enumerate();
    slices.filter(|(k, slice)| any(slice.view()) && is_normal(*k)).count()
}

/// The finite scores of the foreground of the slices without a lesion.
pub(crate) fn normal_scores(scene: &Scene, map: &Array3<f32>, truth: Option<&Array3<bool>>) -> Vec<f32> {
    let axis = Axis(scene.axis);
    let mut scores = Vec::new();
    for (k, map) in map.axis_iter(axis).enumerate() {
        let slice = truth.map(|truth| truth.index_axis(axis, k));
        if !slice.is_some_and(|slice| slice.iter().any(|&inside| inside)) {
            let inside = map.iter().zip(scene.foreground.index_axis(axis, k));
            let inside = inside.filter(|&(_, &inside)| inside).map(|(&score, _)| score);
            scores.extend(inside.filter(|score| score.is_finite()));
        }
    }
    scores
}

/// A subject's slices with lesions, and their pixels.
struct LesionPixels {
    slices: LesionSlices,
    pixels: TruePixels,
}

impl LesionPixels {
    /// `None` without a lesion.
    fn new(scene: &Scene, truth: &Array3<bool>) -> Result<Option<Self>, StudyError> {
        let Some(slices) = LesionSlices::of(scene, truth)? else { return Ok(None) };
        let pixels = TruePixels::new(slices.truth.view(), slices.within.view(), Connectivity::Vertex)?;
        Ok(Some(Self { slices, pixels }))
    }
}

/// The scores of slices with lesions, by predictor.
struct Lesions {
    scores: Vec<(PredictorName, StreamedValidation)>,
    patients: BTreeSet<String>,
}

impl Lesions {
    fn new(names: &[PredictorName]) -> Self {
        Self {
            scores: names.iter().map(|&name| (name, StreamedValidation::default())).collect(),
            patients: BTreeSet::new(),
        }
    }

    fn add(
        &mut self,
        scratch: &mut Scratch,
        predictor: usize,
        of: &LesionPixels,
        map: &Array3<f32>,
    ) -> Result<(), StudyError> {
        if let Some((_, scores)) = self.scores.get_mut(predictor) {
            scores.update(scratch, &of.pixels, of.slices.cut(map).view())?;
        }
        Ok(())
    }

    fn choose(self, scratch: &mut Scratch) -> Result<Option<ChosenPredictor>, StudyError> {
        let mut best: Option<ChosenPredictor> = None;
        let patients = self.patients.len();
        if patients > 0 {
            for (name, scores) in self.scores {
                let found = match scores.best_dice(scratch) {
                    Ok((_, average_precision)) => average_precision,
                    // If all pixels are lesion, no predictor is better than another.
                    Err(MetricError::OneClass { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                if best.as_ref().is_none_or(|best| found > best.average_precision) {
                    best = Some(ChosenPredictor::new(name, found, patients));
                }
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lesio_anomaly::{Model, PostProcessing, Provenance, Resolution};
    use lesio_image::{Geometry, Preprocessing, Volume};
    use lesio_metrics::PixelCurve;
    use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
    use lesio_vae::{Latent, Vae, VaeConfig};

    use super::*;
    use crate::maps::score_subject;
    use crate::subject::Subject;

    const NAMES: [PredictorName; 3] =
        [PredictorName::Intensity, PredictorName::PixelL1, PredictorName::PixelNegative];

    /// A head of four slices of 32 x 32, with a bright cube of this size in its second and third where there is one.
    pub(crate) fn head(subject: u64, lesion: Option<usize>) -> Subject {
        let config = BrainConfig::new([32, 32], Contrast::T1, 5).slices(4);
        let mut volume = BrainPhantom::new(config).unwrap().volume(subject).unwrap().image;
        let truth = lesion.map(|side| {
            let (from, to) = (16 - side / 2, 16 + side.div_ceil(2));
            let within = |i: usize| (from..to).contains(&i);
            let inside =
                Array3::from_shape_fn((32, 32, 4), |(i, j, k)| within(i) && within(j) && (1..3).contains(&k));
            volume.data_mut().zip_mut_with(&inside, |value, &inside| {
                if inside {
                    *value = 1.5;
                }
            });
            Volume::new(inside, *volume.geometry())
        });
        Subject::new(format!("head {subject}"), volume, truth)
    }

    /// Of an untrained network.
    pub(crate) fn localizer() -> Localizer {
        localizer_of(7)
    }

    /// The untrained model of a seed.
    pub(crate) fn localizer_of(seed: u64) -> Localizer {
        let config = VaeConfig::new(1, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
        let model = Model::Vae(Vae::new(config, 1.0, seed, &lesio_nn::Device::Cpu).unwrap().into());
        let preprocessing = Preprocessing::heads([32, 32]).fit([&head(0, None).scan]).unwrap();
        let made = Localizer::new(model, preprocessing, Provenance::new(seed, "none")).unwrap();
        made.with_postprocessing(PostProcessing::default())
    }

    #[test]
    fn the_best_predictor_on_lesions_is_chosen() {
        let subjects = [head(1, Some(8)), head(2, None), head(3, Some(6))];
        let made = calibrate(localizer(), &subjects, &NAMES, |_| {}).unwrap();
        let chosen = made.chosen().unwrap();
        // The average precision by another way: scores of lesion slices, pooled.
        let precision = |name: PredictorName| {
            let mut pixels = PixelCurve::new();
            for subject in [&subjects[0], &subjects[2]] {
                let maps = score_subject(&made, subject, &[name]).unwrap();
                let truth = subject.truth().unwrap().unwrap().into_owned();
                for k in 1..3 {
                    let pick = |values: &Array3<bool>| -> Vec<bool> {
                        values.index_axis(Axis(2), k).iter().copied().collect()
                    };
                    let (truth, inside) = (pick(&truth), pick(&maps.foreground));
                    let within: Vec<bool> = truth.iter().zip(&inside).map(|(&a, &b)| a || b).collect();
                    let scores: Vec<f32> = maps.maps[0].1[1].index_axis(Axis(2), k).iter().copied().collect();
                    pixels.update_within(&scores, &truth, &within).unwrap();
                }
            }
            pixels.rank().unwrap().average_precision()
        };
        let found = NAMES.map(precision);
        let best = found.iter().copied().fold(0.0, f64::max);
        assert_eq!(chosen.average_precision, best, "{found:?}");
        assert_eq!(chosen.predictor, NAMES[found.iter().position(|&own| own == best).unwrap()]);
        assert_eq!(chosen.subjects, 2);
        assert_ne!(chosen.predictor, PredictorName::PixelNegative, "bright lesions: {found:?}");
        // Normal slices calibrate, those with a lesion do not.
        let calibrated = made.calibration().get(PredictorName::PixelL1).unwrap();
        assert_eq!(calibrated.subjects(), 3);
        // Without a lesion there is no choice, and one that was made stays.
        let normals = [head(2, None), head(4, None)];
        assert_eq!(calibrate(localizer(), &normals, &NAMES, |_| {}).unwrap().chosen(), None);
        assert_eq!(calibrate(made.clone(), &normals, &NAMES, |_| {}).unwrap().chosen(), made.chosen());
        // Other filters make other maps, of which nothing is chosen.
        assert_eq!(made.with_postprocessing(PostProcessing::none()).chosen(), None);
    }

    /// Scans of one patient are not independent: ten of two patients are two normal subjects.
    #[test]
    fn a_patient_is_one_normal_subject() {
        let of = |patient: &str, number: u64, lesion| Subject {
            patient: patient.to_owned(),
            ..head(number, lesion)
        };
        let alone = [head(1, None), head(2, None)];
        let subjects = [of("a", 1, None), of("b", 2, None), of("a", 3, Some(6)), of("a", 4, Some(8))];
        let made = calibrate(localizer(), &subjects, &NAMES, |_| {}).unwrap();
        assert_eq!(made.chosen().unwrap().subjects, 1);
        let normals = made.calibration().get(PredictorName::PixelL1).unwrap();
        assert_eq!((normals.subjects(), normals.smallest_p_value()), (2, 1.0 / 3.0));
        // The score of a patient is the highest of all scans.
        let each = calibrate(localizer(), &alone, &NAMES, |_| {}).unwrap();
        let each = each.calibration().get(PredictorName::PixelL1).unwrap();
        assert!(normals.family_wise_threshold(0.5) >= each.family_wise_threshold(0.5));
        assert!(normals.pixels() > each.pixels());
    }

    /// Scores of other subjects do not go together: what is not named is no longer calibrated.
    #[test]
    fn a_calibration_is_replaced_as_a_whole() {
        let (before, after) = ([head(1, None), head(2, None)], [head(3, None), head(4, None)]);
        let made = calibrate(localizer(), &before, &NAMES, |_| {}).unwrap();
        let more = PredictorName::PixelL2;
        let alone = calibrate(made.clone(), &after, &[more], |_| {}).unwrap();
        assert_eq!(alone.calibration().predictors().collect::<Vec<_>>(), [more]);
        // With the others, as documented.
        let names: Vec<PredictorName> = made.calibration().predictors().chain([more]).collect();
        let together = calibrate(made, &after, &names, |_| {}).unwrap();
        assert_eq!(together.calibration().predictors().count(), NAMES.len() + 1);
        assert_eq!(together.calibration().get(more), alone.calibration().get(more));
    }

    /// The slices of which the normal scores come, in millimeters: the median of 4, 4 and 2 slices.
    #[test]
    fn the_extent_is_that_of_normal_slices() {
        let extent = |subjects: &[Subject]| {
            calibrate(localizer(), subjects, &NAMES, |_| {}).unwrap().calibration().extent().unwrap()
        };
        let spacing = head(1, None).scan.geometry().spacing()[2];
        assert_eq!(extent(&[head(1, None), head(2, None), head(3, Some(6))]), 4.0 * spacing);
        assert_eq!(extent(&[head(1, Some(8)), head(3, Some(6))]), 2.0 * spacing);
    }

    #[test]
    fn resolutions_of_the_subjects_are_kept() {
        let made = calibrate(localizer(), &[head(1, None), head(2, None)], &NAMES, |_| {}).unwrap();
        let scan = head(1, None).scan;
        let volume = scan.volume(0).unwrap();
        let own = Resolution::of_volume(&volume, lesio_image::Plane::Axial);
        assert!(!made.calibration().resolutions().is_empty());
        assert_eq!(made.calibration().resolutions().doubt(&own), None);
        let spacing = volume.geometry().spacing();
        let thin = Geometry::from_spacing([spacing[0], spacing[1], spacing[2] / 3.0]).unwrap();
        let thin = Volume::new(volume.data().clone(), thin);
        let doubt = made.score(&thin.into(), &NAMES).unwrap().doubt.unwrap();
        assert!(doubt.to_string().contains("slices are 3.0 times finer"), "{doubt}");
        assert_eq!(made.score(&scan, &NAMES).unwrap().doubt, None);
    }

    #[test]
    fn truths_of_another_shape_are_refused() {
        for shape in [(32, 32, 3), (32, 32, 5), (31, 32, 4), (4, 32, 32)] {
            let scan = head(0, None).scan;
            let truth = Some(scan.placed(Array3::from_elem(shape, false)));
            let subject = Subject::new("other", scan, truth);
            let refused = calibrate(localizer(), &[head(1, None), subject], &NAMES, |_| {});
            assert!(matches!(refused, Err(StudyError::Truth { case, .. }) if case == "other"), "{shape:?}");
        }
    }
}
