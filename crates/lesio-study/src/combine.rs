//! Several localizers combined into one with an ensemble.

use std::time::Instant;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_settings::SettingError;
use serde::{Deserialize, Serialize};

use crate::calibrating::{calibrate_and_choose, has_lesion};
use crate::error::StudyError;
use crate::maps::score_subject;
use crate::model_set::ModelSet;
use crate::observer::{Observer, Step};
use crate::predictor_choice::{FALLBACK_PREDICTOR, usual_predictor};
use crate::subject::{Joined, Subjects};
use crate::workflow_error::WorkflowError;

/// How the members of an ensemble were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EnsembleChoice {
    /// Greedily on the lesions of validation subjects
    /// ([`ValidationLesions::select`](lesio_anomaly::ValidationLesions::select)).
    Greedy,
    /// No validation subject has a lesion: the mean of one predictor of each localizer, or of two of a single segmenter.
    Mean,
}

/// A localizer with an ensemble, and how the ensemble was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct CombinedLocalizers {
    /// The localizer. Its predictor [`PredictorName::Ensemble`] is calibrated.
    pub localizer: Localizer,
    /// How the members were found.
    pub choice: EnsembleChoice,
    /// The weights by the names of the members, such as `member-1/anomaly-logit`; their sum is 1.
    pub weights: Vec<(String, f64)>,
    /// Seconds for the map of a slice by the ensemble, measured on one subject.
    pub seconds_per_slice: f64,
}

/// The built-in predictors among which members are chosen on lesions: those that need one pass of a model.
const CANDIDATES: [PredictorName; 7] = [
    PredictorName::Intensity,
    PredictorName::PixelL1,
    PredictorName::PixelPositive,
    PredictorName::PixelNegative,
    PredictorName::AnomalyLogit,
    PredictorName::GradElbo,
    PredictorName::CombiSum,
];

/// Combines calibrated localizers, with their labels, into one with an ensemble, and calibrates it.
///
/// If subjects have lesions, the members are chosen on them, among the calibrated ones of plain intensity, the fast
/// predictors and the user-defined predictors of all localizers: greedily by average precision, so that the ensemble is
/// not worse than the best single member there. The localizer then also selects its best predictor
/// ([`Localizer::chosen`]). Without lesions, the ensemble is the mean of the logits of each segmenter and the absolute
/// error of each other model, on the scale of
/// [`MemberScale::Surprise`](lesio_anomaly::MemberScale::Surprise). A segmenter alone has the mean of its logits and of
/// the absolute error of its own reconstruction, which one pass of the network gives. The normal slices of the subjects
/// calibrate. They must not be training or test subjects.
///
/// The lesions of `further` subjects choose, too, but these subjects do not calibrate. They may be the training subjects:
/// trainings leave out slices with lesions, so lesions of many subjects are there that no network has seen. Their normal
/// slices are known to the networks, which is why average precision on them is optimistic.
///
/// There are no ensembles of ensembles. A localizer that has an ensemble takes part with its single predictors. If the
/// ensemble has several localizers, each of them takes part, with the labels `LABEL/1`, `LABEL/2` and so on.
///
/// # Errors
/// For no localizer, for localizers of different numbers of channels ([`StudyError::Channels`]), for a single one with
/// fewer than two predictors to combine, and those of
/// [`ModelSet::select_members`] and [`calibrate`](crate::calibrate).
pub fn combine_localizers(
    localizers: Vec<(String, Localizer)>,
    subjects: &(impl Subjects + ?Sized),
    further: Option<&dyn Subjects>,
    observer: &mut dyn Observer,
) -> Result<CombinedLocalizers, WorkflowError> {
    if localizers.is_empty() {
        let error = SettingError::new("localizers", 0, "at least one for an ensemble");
        return Err(StudyError::from(error).into());
    }
    let mut singles = Vec::with_capacity(localizers.len());
    for (label, localizer) in localizers {
        singles.extend(taken_apart(label, localizer));
    }
    check_models(&singles)?;
    let is_alone = singles.len() == 1;
    let choosing = Joined { subjects, further };
    let mut has_lesions = false;
    for place in 0..choosing.count() {
        has_lesions = has_lesion(choosing.subject(place)?.truth()?.as_deref());
        if has_lesions {
            break;
        }
    }
    let mut set = ModelSet::new();
    let mut members: Vec<PredictorName> = Vec::new();
    for (place, (label, localizer)) in singles.into_iter().enumerate() {
        let names: Vec<PredictorName> = if has_lesions {
            // Intensity depends on no model: the set scores it by its first localizer only.
            let names = candidates(&localizer).into_iter();
            names.filter(|&own| place == 0 || own != PredictorName::Intensity).collect()
        } else {
            let own_error = (is_alone && localizer.calibration().get(FALLBACK_PREDICTOR).is_some())
                .then_some(FALLBACK_PREDICTOR);
            let usual = usual_predictor(localizer.model());
            [usual].into_iter().chain(own_error.filter(|&own| own != usual)).collect()
        };
        members.extend(&names);
        set = set.localizer(label, localizer, names)?;
    }
    members.sort_unstable();
    members.dedup();
    let (set, choice) = if has_lesions {
        observer.begin(&Step::LearningWeights, choosing.count());
        let set = set.select_members(&members, &choosing, |done| observer.advance(done))?;
        observer.end();
        (set, EnsembleChoice::Greedy)
    } else {
        (set.ensembles(&members)?, EnsembleChoice::Mean)
    };
    let name = match choice {
        EnsembleChoice::Greedy => ModelSet::GREEDY,
        EnsembleChoice::Mean => ModelSet::MEAN,
    };
    let (localizer, weights) = set.ensemble_localizer(name)?;
    let mut names: Vec<PredictorName> = localizer.calibration().predictors().collect();
    names.push(PredictorName::Ensemble);
    observer.begin(&Step::Calibrating, choosing.count());
    let localizer = calibrate_and_choose(localizer, choosing, &names, |done| observer.advance(done))?;
    observer.end();
    let mut seconds_per_slice = 0.0;
    if subjects.count() > 0 {
        let subject = subjects.subject(0)?;
        let started = Instant::now();
        score_subject(&localizer, &subject, &[PredictorName::Ensemble])?;
        let slices = subject.scan.slices(localizer.preprocessing().config().plane);
        seconds_per_slice = started.elapsed().as_secs_f64() / slices.max(1) as f64;
    }
    Ok(CombinedLocalizers { localizer, choice, weights, seconds_per_slice })
}

/// The predictors of a localizer among which members are chosen on lesions. A user-defined predictor that is calibrated
/// is one of them, whatever it costs: the user made it for these images.
fn candidates(localizer: &Localizer) -> Vec<PredictorName> {
    let known = localizer.calibration();
    let own = known.predictors().filter(|name| matches!(name, PredictorName::Own(_)));
    CANDIDATES.into_iter().filter(|&name| known.get(name).is_some()).chain(own).collect()
}

/// The localizers of which an ensemble is made: for one with an ensemble those of its members, each by itself.
fn taken_apart(label: String, localizer: Localizer) -> Vec<(String, Localizer)> {
    let others = localizer.others().to_vec();
    let first = localizer.without_ensemble();
    if others.is_empty() {
        return vec![(label, first)];
    }
    let all = std::iter::once(first).chain(others);
    all.zip(1..).map(|(single, number)| (format!("{label}/{number}"), single)).collect()
}

/// Returns an error for models of different numbers of channels.
fn check_models(localizers: &[(String, Localizer)]) -> Result<(), StudyError> {
    let channels = |localizer: &Localizer| localizer.model().image_shape().channels;
    let mut others = localizers.windows(2).map(|pair| [&pair[0], &pair[1]]);
    match others.find(|[(_, one), (_, other)]| channels(one) != channels(other)) {
        Some(pair) => Err(StudyError::Channels {
            labels: pair.map(|(label, _)| label.clone()),
            channels: pair.map(|(_, localizer)| channels(localizer)),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lesio_anomaly::{EnsembleRule, Model, PostProcessing, PredictError, Predictor, Provenance};
    use lesio_nn::ImageBatch;
    use lesio_vae::{
        AnomalySegmenter, DenoiserConfig, Latent, SyntheticAnomalies, TaughtConfig, Vae, VaeConfig,
    };

    use super::*;
    use crate::calibrating::calibrate;
    use crate::calibrating::tests::{head, localizer, localizer_of};
    use crate::subject::Subject;

    fn members(subjects: &[Subject]) -> Vec<(String, Localizer)> {
        let names = [PredictorName::Intensity, PredictorName::PixelL1, PredictorName::PixelPositive];
        let calibrated = |label: &str, seed: u64| {
            let made = calibrate(localizer_of(seed), subjects, &names, |_| {}).unwrap();
            (label.to_owned(), made)
        };
        vec![calibrated("a", 7), calibrated("b", 8)]
    }

    #[test]
    fn lesions_choose_the_members_and_the_mean_is_taken_without_them() {
        let subjects = [head(1, Some(8)), head(2, None), head(3, Some(6))];
        let single = members(&subjects);
        let best = single.iter().map(|(_, own)| own.chosen().unwrap().average_precision).fold(0.0, f64::max);
        let made = combine_localizers(single, &subjects, None, &mut ()).unwrap();
        assert_eq!(made.choice, EnsembleChoice::Greedy);
        assert!((made.weights.iter().map(|(_, weight)| weight).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(made.weights.iter().all(|(_, weight)| *weight > 0.0), "{:?}", made.weights);
        // Never worse than the best single predictor on the lesions that chose.
        assert!(made.localizer.chosen().unwrap().average_precision >= best - 1e-6);
        assert!(made.localizer.calibration().get(PredictorName::Ensemble).is_some());
        assert!(made.seconds_per_slice > 0.0);

        let normal = [head(1, None), head(2, None)];
        let made = combine_localizers(members(&normal), &normal, None, &mut ()).unwrap();
        assert_eq!(made.choice, EnsembleChoice::Mean);
        let ensemble = made.localizer.ensemble().unwrap();
        let names: Vec<&str> = ensemble.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a/pixel-l1", "b/pixel-l1"]);
        assert_eq!(ensemble.config.rule, EnsembleRule::Mean);
        assert_eq!((made.localizer.others().len(), made.localizer.chosen()), (1, None));
        assert_eq!(crate::predictor_choice(&made.localizer).0, PredictorName::Ensemble);

        assert!(combine_localizers(Vec::new(), &normal, None, &mut ()).is_err());
        let config = VaeConfig::new(2, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
        let model = Model::Vae(Vae::new(config, 1.0, 1, &lesio_nn::Device::Cpu).unwrap().into());
        let two = Localizer::new(model, localizer().preprocessing().clone(), Provenance::default()).unwrap();
        let unlike = members(&normal).into_iter().chain([("c".to_owned(), two)]).collect();
        let error = combine_localizers(unlike, &normal, None, &mut ()).unwrap_err().to_string();
        assert!(error.contains(r#"the models "b" and "c" cannot be combined"#), "{error}");
        // Without lesions, a single variational autoencoder has one predictor to combine.
        let one = || members(&normal).into_iter().take(1).collect();
        assert!(
            combine_localizers(one(), &normal, None, &mut ()).unwrap_err().to_string().contains("found 1")
        );
        let made = combine_localizers(one(), &subjects, None, &mut ()).unwrap();
        assert_eq!((made.choice, made.localizer.others().len()), (EnsembleChoice::Greedy, 0));
    }

    #[test]
    fn further_lesions_choose_and_do_not_calibrate() {
        let (normal, further) =
            ([head(1, None), head(2, None)], [head(3, Some(8)), head(4, None), head(5, Some(6))]);
        let made = combine_localizers(members(&normal), &normal, Some(&further), &mut ()).unwrap();
        assert_eq!(made.choice, EnsembleChoice::Greedy);
        let chosen = made.localizer.chosen().unwrap();
        assert_eq!(chosen.subjects, 2);
        // The average precision of the choice is that on the further lesions.
        let again = calibrate(made.localizer.clone(), &further, &[chosen.predictor], |_| {}).unwrap();
        assert_eq!(again.chosen().unwrap().average_precision, chosen.average_precision);
        // Calibrated on the same subjects as without them, neither on their normal slices nor on their normal subject.
        let alone = combine_localizers(members(&normal), &normal, None, &mut ()).unwrap();
        let scores =
            |made: &CombinedLocalizers| made.localizer.calibration().get(PredictorName::PixelL1).cloned();
        assert_eq!(scores(&made), scores(&alone));
        assert_eq!(made.localizer.calibration().resolutions(), alone.localizer.calibration().resolutions());
        // Together with lesions of the subjects, the choice is that on all of them.
        let subjects = [head(1, Some(8)), head(2, None)];
        let made = combine_localizers(members(&subjects), &subjects, Some(&further), &mut ()).unwrap();
        assert_eq!(made.localizer.chosen().unwrap().subjects, 3);
    }

    #[test]
    fn a_segmenter_alone_is_combined_with_its_own_error() {
        let normal = [head(1, None), head(2, None)];
        let network = DenoiserConfig::new(1, 32, 32).widths([4, 8]);
        let config = TaughtConfig::new(network, SyntheticAnomalies::medical());
        let parameters = AnomalySegmenter::initial_parameters(&config, 3).unwrap();
        let model = AnomalySegmenter::from_parameters(config, &parameters, &lesio_nn::Device::Cpu).unwrap();
        let model = Model::Segmenter(model.into());
        let preprocessing = localizer().preprocessing().clone();
        let made = Localizer::new(model, preprocessing, Provenance::new(3, "none")).unwrap();
        let names = [PredictorName::PixelL1, PredictorName::AnomalyLogit];
        let one = calibrate(made, &normal, &names, |_| {}).unwrap();
        let made = combine_localizers(vec![("a".to_owned(), one.clone())], &normal, None, &mut ()).unwrap();
        assert_eq!(made.choice, EnsembleChoice::Mean);
        let ensemble = made.localizer.ensemble().unwrap();
        let members: Vec<&str> = ensemble.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(members, ["anomaly-logit", "pixel-l1"]);
        assert!(made.localizer.others().is_empty());
        // The mean of both surprises.
        let unseen = head(9, Some(7));
        let wanted = [PredictorName::PixelL1, PredictorName::AnomalyLogit, PredictorName::Ensemble];
        let maps = score_subject(&made.localizer, &unseen, &wanted).unwrap().maps;
        let [error, logit, ensemble] = [0, 1, 2].map(|place| &maps[place].1[1]);
        let [of_error, of_logit] = names.map(|name| one.calibration().get(name).unwrap().clone());
        for ((&error, &logit), &found) in error.iter().zip(logit).zip(ensemble) {
            let mean = 0.5 * (of_error.surprise(error) + of_logit.surprise(logit));
            assert!((f64::from(found) - mean).abs() < 1e-4 * (1.0 + mean), "{found} {mean}");
        }
        // Combined again, it is the same: its single predictors are combined, not its ensemble.
        let again = vec![("a".to_owned(), made.localizer.clone())];
        let again = combine_localizers(again, &normal, None, &mut ()).unwrap().localizer;
        assert_eq!(again.fingerprint().unwrap(), made.localizer.fingerprint().unwrap());
    }

    #[test]
    fn an_ensemble_is_taken_apart_before_it_is_combined() {
        let normal = [head(1, None), head(2, None)];
        let both = combine_localizers(members(&normal), &normal, None, &mut ()).unwrap().localizer;
        assert_eq!(both.others().len(), 1);
        let third = || calibrate(localizer_of(9), &normal, &[PredictorName::PixelL1], |_| {}).unwrap();
        // The ensemble first, and after another localizer.
        for place in [0, 1] {
            let mut all = vec![("c".to_owned(), third())];
            all.insert(place, ("both".to_owned(), both.clone()));
            let made = combine_localizers(all, &normal, None, &mut ()).unwrap().localizer;
            let ensemble = made.ensemble().unwrap();
            let mut names: Vec<&str> = ensemble.members.iter().map(|member| member.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, ["both/1/pixel-l1", "both/2/pixel-l1", "c/pixel-l1"]);
            assert!(made.calibration().get(PredictorName::Ensemble).is_some());
            for other in made.others() {
                assert!(other.ensemble().is_none());
                assert_eq!(other.calibration().get(PredictorName::Ensemble), None);
            }
        }
        // The parts are what was combined.
        let parts = taken_apart("both".to_owned(), both);
        for ((_, part), (_, single)) in parts.iter().zip(members(&normal)) {
            assert_eq!(part.fingerprint().unwrap(), single.fingerprint().unwrap());
        }
        // With lesions, too, where the ensemble was chosen as the best predictor.
        let subjects = [head(1, Some(8)), head(2, None), head(3, Some(6))];
        let greedy = combine_localizers(members(&subjects), &subjects, None, &mut ()).unwrap().localizer;
        let all = vec![("c".to_owned(), third()), ("both".to_owned(), greedy)];
        let made = combine_localizers(all, &subjects, None, &mut ()).unwrap();
        assert_eq!(made.choice, EnsembleChoice::Greedy);
    }

    /// Bright pixels.
    struct Brightness;

    impl Predictor for Brightness {
        fn name(&self) -> String {
            "brightness".to_owned()
        }

        fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
            Ok(images.values().to_vec())
        }
    }

    #[test]
    fn a_user_defined_predictor_is_a_candidate() {
        let subjects = [head(1, Some(8)), head(2, None), head(3, Some(6))];
        let own = PredictorName::own("brightness").unwrap();
        let one = localizer().with_predictor(Arc::new(Brightness)).unwrap();
        // The lesions are bright, so the built-in predictor does not find them.
        let one = calibrate(one, &subjects, &[PredictorName::PixelNegative, own], |_| {}).unwrap();
        let made = combine_localizers(vec![("a".to_owned(), one)], &subjects, None, &mut ()).unwrap();
        assert!(made.weights.iter().any(|(name, _)| name == "brightness"), "{:?}", made.weights);
        assert!(made.localizer.calibration().get(own).is_some());
    }

    /// A localizer with other parameters and filters than the others.
    fn different(seed: u64, subjects: &[Subject]) -> Localizer {
        let filters = PostProcessing::default().median(0.0, 4.0 * seed as f64, 4.0 * seed as f64);
        let names = [PredictorName::Intensity, PredictorName::PixelL1, PredictorName::PixelPositive];
        calibrate(localizer_of(seed).with_postprocessing(filters), subjects, &names, |_| {}).unwrap()
    }

    /// What is saved is what was measured: the localizer gives the maps of the set's ensemble.
    #[test]
    fn a_localizer_of_an_ensemble_has_the_maps_of_the_set() {
        let subjects = [head(1, Some(8)), head(2, None), head(3, Some(6))];
        let names = [PredictorName::Intensity, PredictorName::PixelL1, PredictorName::PixelPositive];
        let set = (1..=3).fold(ModelSet::new(), |set, seed| {
            set.localizer(seed.to_string(), different(seed, &subjects), names).unwrap()
        });
        let set = set.ensembles(&names).unwrap();
        let (set, learned) = set.learn_weights(&subjects, |_| {}).unwrap();
        let unseen = head(9, Some(7));
        let maps = set.score(&unseen).unwrap();
        let ensembles: Vec<String> = set.ensemble_members().into_iter().map(|(name, _)| name).collect();
        assert_eq!(ensembles.len(), 6);
        for name in ensembles {
            let (made, weights) = set.ensemble_localizer(&name).unwrap();
            let found = score_subject(&made, &unseen, &[PredictorName::Ensemble]).unwrap();
            let expected = &maps.maps.iter().find(|(own, _)| *own == name).unwrap().1[1];
            assert_eq!(found.maps[0].1[1], *expected, "{name}");
            let models = |name: &String| name.split_once('/').map(|(label, _)| label.to_owned());
            let used: std::collections::BTreeSet<String> =
                weights.iter().filter_map(|(name, _)| models(name)).collect();
            // Nothing is saved that has no weight; intensity has the filters of the first model.
            let needs_first = weights.iter().any(|(name, _)| name == "intensity") && !used.contains("1");
            assert_eq!(made.others().len() + 1, used.len() + usize::from(needs_first), "{name}: {weights:?}");
            if let Some(own) = learned.iter().find(|own| own.name == name) {
                let positive: Vec<_> =
                    own.weights.iter().filter(|(_, weight)| *weight > 0.0).cloned().collect();
                assert_eq!(weights, positive);
                // The model with the highest weight is the one whose reconstruction is shown.
                let sum = |label: &String| {
                    let own = weights.iter().filter(|(name, _)| models(name).as_ref() == Some(label));
                    own.map(|(_, weight)| weight).sum::<f64>()
                };
                let first = made.provenance().seed.to_string();
                assert!(used.iter().all(|label| sum(label) <= sum(&first) + 1e-12), "{weights:?}");
            }
        }
        assert!(set.ensemble_localizer("ensemble-nothing").is_err());
    }

    #[test]
    fn intensity_needs_no_model_of_its_own() {
        let subjects = [head(1, Some(8)), head(2, None)];
        let single = members(&subjects);
        let names = [PredictorName::Intensity, PredictorName::PixelL1];
        // Both have the same preprocessing and filters; the first serves intensity alone.
        let set = ModelSet::new().localizer("a", single[0].1.clone(), [PredictorName::Intensity]).unwrap();
        let set = set.localizer("b", single[1].1.clone(), [PredictorName::PixelL1]).unwrap();
        let set = set.ensembles(&names).unwrap();
        let (made, weights) = set.ensemble_localizer(ModelSet::MEAN).unwrap();
        assert_eq!((made.others().len(), weights.len()), (0, 2));
        // With filters of its own, its map is another one.
        let set =
            ModelSet::new().localizer("a", different(1, &subjects), [PredictorName::Intensity]).unwrap();
        let set = set.localizer("b", different(3, &subjects), [PredictorName::PixelL1]).unwrap();
        let set = set.ensembles(&names).unwrap();
        let (made, _) = set.ensemble_localizer(ModelSet::MEAN).unwrap();
        assert_eq!((made.others().len(), made.provenance().seed), (1, 3));
        let unseen = head(9, Some(7));
        let found = score_subject(&made, &unseen, &[PredictorName::Ensemble]).unwrap();
        let expected = set.score(&unseen).unwrap().maps;
        let expected = expected.into_iter().find(|(name, _)| name == ModelSet::MEAN).unwrap();
        assert_eq!(found.maps[0].1[1], expected.1[1]);
    }
}
