//! Several models that score together, and their ensembles.

use std::collections::BTreeMap;

use lesio_anomaly::{
    EnsembleConfig, EnsembleMember, EnsembleRule, Localizer, LocalizerEnsemble, MemberScale, NormalScores,
    PostProcessing, PredictorName, ValidationLesions,
};
use lesio_metrics::average_precision;
use lesio_report::{Scale, ScaleError};
use ndarray::{Array3, ArrayView1, ArrayView3};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::maps::{MapScenes, Maps, Scene, score_each};
use crate::names::check_unique;
use crate::pixels::LesionSlices;
use crate::presentation::normal_scale;
use crate::subject::{Subject, Subjects};

/// A set of localizers with the predictors to score for each, and ensembles of them.
///
/// With one localizer, maps are named by predictor; with several, by localizer and predictor as in
/// `denoiser/pixel-positive`. `intensity` is scored once and keeps its name.
#[derive(Clone, Debug, Default)]
pub struct ModelSet {
    models: Vec<Member>,
    /// Predictors whose maps are combined.
    members: Vec<PredictorName>,
    ensembles: Vec<(String, EnsembleConfig)>,
}

#[derive(Clone, Debug)]
struct Member {
    label: String,
    localizer: Localizer,
    names: Vec<PredictorName>,
}

/// Rules that do not depend on lesions, with the names of their maps.
const RULES: [(&str, EnsembleRule); 4] = [
    (ModelSet::MEAN, EnsembleRule::Mean),
    ("ensemble-maximum", EnsembleRule::Maximum),
    ("ensemble-product", EnsembleRule::Product),
    ("ensemble-rank", EnsembleRule::RankAverage),
];

/// An ensemble that was learned from lesions of validation subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LearnedEnsemble {
    /// The name of its maps.
    pub name: String,
    /// Its weights by the names of the members; their sum is 1.
    pub weights: Vec<(String, f64)>,
}

impl ModelSet {
    /// The name of the ensemble that is the mean of its members.
    pub const MEAN: &str = "ensemble-mean";
    /// The name of the ensemble whose weights are learned from lesions of validation subjects.
    pub const WEIGHTED: &str = "ensemble-weighted";
    /// The name of the ensemble whose members are selected on lesions of validation subjects.
    pub const GREEDY: &str = "ensemble-greedy";

    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a localizer with its label and the predictors to score.
    ///
    /// # Errors
    /// [`StudyError::Repeated`] for the label of another localizer, and for a predictor that is named twice: their maps
    /// would have the same name.
    pub fn localizer(
        mut self,
        label: impl Into<String>,
        localizer: Localizer,
        names: impl IntoIterator<Item = PredictorName>,
    ) -> Result<Self, StudyError> {
        let first = self.models.is_empty();
        let label = label.into();
        let labels = self.models.iter().map(|model| model.label.as_str()).chain([label.as_str()]);
        check_unique("localizer", labels)?;
        let names: Vec<PredictorName> = names.into_iter().collect();
        check_unique("predictor", names.iter().map(|name| name.as_str()))?;
        let names = names.into_iter().filter(|&name| first || name != PredictorName::Intensity).collect();
        self.models.push(Member { label, localizer, names });
        Ok(self)
    }

    /// Adds ensembles of these predictors of every localizer: their mean, maximum, product and mean rank.
    ///
    /// # Errors
    /// For fewer than two members, for a member that is named twice, that no localizer scores, or that was not
    /// calibrated, and for two equal localizers ([`StudyError::SameModel`]).
    pub fn ensembles(self, members: &[PredictorName]) -> Result<Self, StudyError> {
        let mut set = self.with_members(members)?;
        set.ensembles =
            RULES.map(|(name, rule)| (name.to_owned(), EnsembleConfig::new(rule))).into_iter().collect();
        Ok(set)
    }

    /// Sets the predictors whose maps are combined.
    fn with_members(mut self, members: &[PredictorName]) -> Result<Self, StudyError> {
        check_unique("member of the ensemble", members.iter().map(|name| name.as_str()))?;
        let is_scored =
            |member: &&PredictorName| self.models.iter().any(|model| model.names.contains(*member));
        if let Some(member) = members.iter().find(|member| !is_scored(member)) {
            let what = format!("no localizer scores {member}, a member of the ensemble");
            return Err(StudyError::Nothing { what });
        }
        self.members = members.to_vec();
        let found = self.member_places();
        if let Some((model, name)) = found.iter().find(|(model, name)| self.normals(*model, *name).is_none())
        {
            let what = format!("{} has no scores of normal subjects", self.name_of(*model, *name));
            return Err(StudyError::Nothing { what });
        }
        self.check_distinct(&found)?;
        if found.len() < 2 {
            let what = format!("an ensemble needs at least two predictors, found {}", found.len());
            return Err(StudyError::Nothing { what });
        }
        Ok(self)
    }

    /// Returns an error for a predictor of two equal localizers: the ensemble would count one map as two.
    fn check_distinct(&self, members: &[(usize, PredictorName)]) -> Result<(), StudyError> {
        let mut labels = BTreeMap::new();
        for (place, model) in self.models.iter().enumerate() {
            let fingerprint = model.localizer.fingerprint()?;
            for (_, name) in members.iter().filter(|(own, _)| *own == place) {
                if let Some(other) = labels.insert((fingerprint.clone(), *name), &model.label) {
                    return Err(StudyError::SameModel { labels: [other.clone(), model.label.clone()] });
                }
            }
        }
        Ok(())
    }

    /// Adds two ensembles that are learned from lesions of validation subjects; subjects without a lesion or a truth
    /// are skipped. `ensemble-weighted` has learned weights ([`ValidationLesions::learn`]), `ensemble-greedy` has
    /// members selected by average precision ([`ValidationLesions::select`]). Also returns the learned ensembles. Without a
    /// lesion nothing is learned: the set stays as it is, and a warning says so.
    ///
    /// # Errors
    /// If a subject cannot be scored, and if no member scores lesions higher.
    pub fn learn_weights(
        mut self,
        validation: &(impl Subjects + ?Sized),
        progress: impl FnMut(usize),
    ) -> Result<(Self, Vec<LearnedEnsemble>), StudyError> {
        let lesions = self.validation_lesions(validation, progress)?;
        if lesions.is_empty() {
            tracing::warn!("no validation case has a lesion: no ensemble with weights is learned");
            return Ok((self, Vec::new()));
        }
        let names = self.member_names();
        let mut learned = Vec::new();
        for (name, weights) in
            [(Self::WEIGHTED, lesions.learn()?), (Self::GREEDY, lesions.select(precision)?)]
        {
            let weights_by_name = names.iter().cloned().zip(weights.weights().iter().copied()).collect();
            learned.push(LearnedEnsemble { name: name.to_owned(), weights: weights_by_name });
            let config = EnsembleConfig::new(EnsembleRule::Weighted(weights));
            self.ensembles.push((name.to_owned(), config));
        }
        Ok((self, learned))
    }

    /// Adds the ensemble `ensemble-greedy` of these predictors of every localizer, without the others of
    /// [`ModelSet::learn_weights`].
    ///
    /// # Errors
    /// Those of [`ModelSet::ensembles`] and [`ModelSet::learn_weights`].
    pub fn select_members(
        self,
        members: &[PredictorName],
        validation: &(impl Subjects + ?Sized),
        progress: impl FnMut(usize),
    ) -> Result<Self, StudyError> {
        let mut set = self.with_members(members)?;
        let weights = set.validation_lesions(validation, progress)?.select(precision)?;
        let config = EnsembleConfig::new(EnsembleRule::Weighted(weights));
        set.ensembles.push((Self::GREEDY.to_owned(), config));
        Ok(set)
    }

    /// A localizer that offers the ensemble of this name as its predictor `ensemble`, with the weights by the names of
    /// the members. It holds every localizer that has a weight; the one with the highest weight is the first, whose
    /// reconstruction is shown. Its predictor `ensemble` is not yet calibrated.
    ///
    /// # Errors
    /// [`StudyError::Nothing`] if there is no ensemble of this name; those of [`Localizer::with_ensemble`].
    pub fn ensemble_localizer(&self, name: &str) -> Result<(Localizer, Vec<(String, f64)>), StudyError> {
        let Some((_, config)) = self.ensembles.iter().find(|(own, _)| own == name) else {
            return Err(StudyError::Nothing { what: format!("the set has no ensemble {name}") });
        };
        let all = self.member_places();
        let (used, config) = match &config.rule {
            EnsembleRule::Weighted(weights) => {
                let (used, weights) = weights.used();
                (used, EnsembleConfig::new(EnsembleRule::Weighted(weights)).scale(config.scale))
            }
            _ => ((0..all.len()).collect(), config.clone()),
        };
        let weights: Vec<f64> = match &config.rule {
            EnsembleRule::Weighted(weights) => weights.weights().to_vec(),
            _ => vec![1.0 / used.len().max(1) as f64; used.len()],
        };
        let places: Vec<(usize, PredictorName)> =
            used.into_iter().filter_map(|place| all.get(place).copied()).collect();
        let weight_of = |model: usize| {
            let own = places
                .iter()
                .zip(&weights)
                .filter(|((of, name), _)| *of == model && *name != PredictorName::Intensity);
            own.map(|(_, weight)| weight).sum::<f64>()
        };
        let heaviest = (0..self.models.len()).rev().max_by(|&a, &b| weight_of(a).total_cmp(&weight_of(b)));
        let first =
            heaviest.ok_or_else(|| StudyError::Nothing { what: "the set has no localizer".to_owned() })?;
        // Intensity does not depend on the model: no other localizer is saved only for it.
        let same_input = |a: usize, b: usize| {
            let input =
                |model: usize| self.model(model).map(|own| (own.preprocessing(), own.postprocessing()));
            input(a) == input(b)
        };
        let home = |(model, name): (usize, PredictorName)| match name {
            PredictorName::Intensity if same_input(model, first) => first,
            _ => model,
        };
        let mut order = vec![first];
        for place in &places {
            if !order.contains(&home(*place)) {
                order.push(home(*place));
            }
        }
        let mut members = Vec::new();
        for &(model, predictor) in &places {
            let localizer = order.iter().position(|&own| own == home((model, predictor))).unwrap_or(0);
            let name = self.name_of(model, predictor);
            let normals = self.normals(model, predictor).cloned();
            let normals = normals.ok_or_else(|| StudyError::Nothing {
                what: format!("{name} has no scores of normal subjects"),
            })?;
            members.push(EnsembleMember::new(name, localizer, predictor, normals));
        }
        let named = members.iter().map(|member| member.name.clone()).zip(weights).collect();
        let mut localizers = order.iter().filter_map(|&model| self.model(model).cloned());
        let first = localizers.next();
        let first =
            first.ok_or_else(|| StudyError::Nothing { what: "the set has no localizer".to_owned() })?;
        let ensemble = LocalizerEnsemble::new(config, members);
        Ok((first.with_ensemble(ensemble, localizers.collect())?, named))
    }

    /// The scores of the lesions of validation subjects by the members.
    fn validation_lesions(
        &self,
        validation: &(impl Subjects + ?Sized),
        mut progress: impl FnMut(usize),
    ) -> Result<ValidationLesions, StudyError> {
        let mut lesions = ValidationLesions::new(MemberScale::Surprise);
        for place in 0..validation.count() {
            let subject = validation.subject(place)?;
            if let Some(truth) = subject.truth()?.filter(|truth| truth.iter().any(|&inside| inside)) {
                let mut own: Vec<Array3<f32>> = Vec::new();
                let mut slices: Option<LesionSlices> = None;
                let members = self.member_places();
                self.score_models(&subject, |scenes, model, predictor, [_, map]| {
                    if members.contains(&(model, predictor)) {
                        if slices.is_none() {
                            slices = LesionSlices::of(scenes.common, &truth)?;
                        }
                        own.extend(slices.as_ref().map(|slices| slices.cut(&map)));
                    }
                    Ok(())
                })?;
                if let Some(slices) = slices {
                    let views = self.with_normals(&members, &own);
                    lesions.add(&views, slices.truth.view(), Some(slices.within.view()))?;
                }
            }
            progress(place + 1);
        }
        Ok(lesions)
    }

    /// A text that changes with everything that changes maps, thresholds or names: the names, fingerprints and predictors of
    /// the localizers.
    ///
    /// # Errors
    /// As [`Localizer::fingerprint`].
    pub fn fingerprint(&self) -> Result<String, StudyError> {
        let of = |model: &Member| {
            let names: Vec<&str> = model.names.iter().map(|name| name.as_str()).collect();
            Ok(format!("{} {} {}", model.label, model.localizer.fingerprint()?, names.join(" ")))
        };
        Ok(self.models.iter().map(of).collect::<Result<Vec<_>, StudyError>>()?.join(", "))
    }

    /// The filters of each localizer, by its label.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&str, &PostProcessing)> {
        self.models.iter().map(|model| (model.label.as_str(), model.localizer.postprocessing()))
    }

    /// The label of the first localizer, if another one finds the foreground by another rule.
    pub(crate) fn common_foreground(&self) -> Option<&str> {
        let rule = |model: &Member| {
            let config = model.localizer.preprocessing().config();
            (config.foreground.clone(), config.plane)
        };
        let first = self.models.first()?;
        self.models.iter().any(|model| rule(model) != rule(first)).then_some(first.label.as_str())
    }

    /// Whether intensity has the same maps for a localizer as for the first.
    pub(crate) fn shares_intensity(&self, place: usize) -> bool {
        let input = |place: usize| {
            self.model(place).map(|own| (own.preprocessing(), own.postprocessing(), own.position_normals()))
        };
        input(0) == input(place)
    }

    /// The first localizer.
    #[must_use]
    pub fn first(&self) -> Option<&Localizer> {
        self.models.first().map(|model| &model.localizer)
    }

    /// The predictors of every localizer, with the index of the localizer and the names of their maps.
    #[must_use]
    pub fn predictors(&self) -> Vec<(usize, PredictorName, String)> {
        let all = self.models.iter().enumerate();
        all.flat_map(|(model, own)| own.names.iter().map(move |&name| (model, name)))
            .map(|(model, name)| (model, name, self.name_of(model, name)))
            .collect()
    }

    /// The ensembles, each with the names of its members.
    #[must_use]
    pub fn ensemble_members(&self) -> Vec<(String, Vec<String>)> {
        let places = self.member_places();
        let of = |(name, config): &(String, EnsembleConfig)| {
            let has_part = |member: usize| match &config.rule {
                EnsembleRule::Weighted(weights) => {
                    weights.weights().get(member).is_some_and(|&weight| weight > 0.0)
                }
                _ => true,
            };
            let members = places.iter().enumerate().filter(|(member, _)| has_part(*member));
            (name.clone(), members.map(|(_, &(model, name))| self.name_of(model, name)).collect())
        };
        self.ensembles.iter().map(of).collect()
    }

    /// The names of all maps, in the order of a subject's maps.
    #[must_use]
    pub fn maps(&self) -> Vec<String> {
        let predictors = self.predictors().into_iter().map(|(_, _, name)| name);
        predictors.chain(self.ensembles.iter().map(|(name, _)| name.clone())).collect()
    }

    /// The display scale of the map of this name, see [`normal_scale`]; the scale of an ensemble is that of surprise,
    /// from one normal pixel in two to one in ten thousand.
    ///
    /// # Errors
    /// Those of [`normal_scale`].
    pub fn scale(&self, name: &str) -> Result<Scale, ScaleError> {
        let found = self.predictors().into_iter().find(|(_, _, own)| own == name);
        match found.and_then(|(model, predictor, _)| Some((self.model(model)?, predictor))) {
            Some((localizer, predictor)) => normal_scale(localizer, predictor),
            None => Scale::new(0.5f64.recip().log10(), 4.0),
        }
    }

    /// The label of a localizer by its index.
    pub(crate) fn label(&self, place: usize) -> Option<&str> {
        self.models.get(place).map(|model| model.label.as_str())
    }

    /// A localizer by its index.
    #[must_use]
    pub fn model(&self, place: usize) -> Option<&Localizer> {
        self.models.get(place).map(|model| &model.localizer)
    }

    /// Scores a subject: first the maps of every predictor, then those of the ensembles. Reconstruction and foreground
    /// are those of the first localizer. An ensemble combines maps after post-processing, so both of its maps are the
    /// same.
    ///
    /// All maps are in memory together: [`ModelSet::score_each`] passes them on one at a time.
    ///
    /// # Errors
    /// Those of [`score_subject`](crate::score_subject); a set without a localizer.
    pub fn score(&self, subject: &Subject) -> Result<Maps, StudyError> {
        let mut maps = Vec::new();
        let Scene { reconstruction, foreground, axis, resolution, .. } =
            self.score_each(subject, |_, name, [raw, map]| {
                maps.push((name.to_owned(), [raw.clone(), map.clone()]));
                Ok(())
            })?;
        Ok(Maps { maps, reconstruction, foreground, axis, resolution })
    }

    /// Scores a subject as [`ModelSet::score`] does, but passes the scenes, the name, the raw and the post-processed map
    /// to `each` one after the other. Only the members of ensembles remain in memory.
    ///
    /// # Errors
    /// Those of [`ModelSet::score`], and errors of `each`.
    pub fn score_each(
        &self,
        subject: &Subject,
        mut each: impl FnMut(MapScenes<'_>, &str, [&Array3<f32>; 2]) -> Result<(), StudyError>,
    ) -> Result<Scene, StudyError> {
        let places = if self.ensembles.is_empty() { Vec::new() } else { self.member_places() };
        let mut kept = Vec::with_capacity(places.len());
        let scene = self.score_models(subject, |scenes, model, predictor, [raw, map]| {
            each(scenes, &self.name_of(model, predictor), [&raw, &map])?;
            if places.contains(&(model, predictor)) {
                kept.push(map);
            }
            Ok(())
        })?;
        let views = self.with_normals(&places, &kept);
        for (name, config) in &self.ensembles {
            let map = config.combine(&views)?;
            each(MapScenes { common: &scene, own: &scene }, name, [&map, &map])?;
        }
        Ok(scene)
    }

    /// Passes on the maps of every localizer's predictors; returns the scene of the first localizer.
    fn score_models(
        &self,
        subject: &Subject,
        mut each: impl FnMut(MapScenes<'_>, usize, PredictorName, [Array3<f32>; 2]) -> Result<(), StudyError>,
    ) -> Result<Scene, StudyError> {
        let mut first: Option<Scene> = None;
        for (place, model) in self.models.iter().enumerate() {
            let own = score_each(&model.localizer, subject, &model.names, |scene, predictor, maps| {
                let common = first.as_ref().unwrap_or(scene);
                each(MapScenes { common, own: scene }, place, predictor, maps)
            })?;
            first.get_or_insert(own);
        }
        first.ok_or_else(|| StudyError::Nothing { what: "the set has no localizer".to_owned() })
    }

    /// The members' maps with their normal scores.
    fn with_normals<'m>(
        &'m self,
        places: &[(usize, PredictorName)],
        maps: &'m [Array3<f32>],
    ) -> Vec<(ArrayView3<'m, f32>, &'m NormalScores)> {
        let pairs = places.iter().zip(maps);
        pairs.filter_map(|(&(model, name), map)| Some((map.view(), self.normals(model, name)?))).collect()
    }

    fn member_names(&self) -> Vec<String> {
        self.member_places().into_iter().map(|(model, name)| self.name_of(model, name)).collect()
    }

    fn member_places(&self) -> Vec<(usize, PredictorName)> {
        let all = self.models.iter().enumerate();
        all.flat_map(|(model, own)| own.names.iter().map(move |&name| (model, name)))
            .filter(|(_, name)| self.members.contains(name))
            .collect()
    }

    fn normals(&self, model: usize, name: PredictorName) -> Option<&NormalScores> {
        self.models.get(model)?.localizer.calibration().get(name)
    }

    fn name_of(&self, model: usize, name: PredictorName) -> String {
        match self.models.get(model) {
            Some(own) if self.models.len() > 1 && name != PredictorName::Intensity => {
                format!("{}/{name}", own.label)
            }
            _ => name.to_string(),
        }
    }
}

/// Average precision; NaN if it is not defined.
fn precision(scores: &[f32], truth: &[bool]) -> f64 {
    average_precision(ArrayView1::from(scores), ArrayView1::from(truth)).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::{Calibration, Model, ModelConfig, NormalScoresBuilder, Provenance};
    use lesio_image::{Image, Preprocessing, Scan};
    use lesio_vae::{Latent, VaeConfig, initial_parameters};
    use ndarray::Array2;

    use super::*;

    const NAMES: [PredictorName; 2] = [PredictorName::PixelL1, PredictorName::PixelPositive];

    /// An untrained model, calibrated on anything: names are what is tested.
    fn localizer() -> Localizer {
        of_seed(1)
    }

    fn of_seed(seed: u64) -> Localizer {
        let config = VaeConfig::new(1, 16, 16).widths([4]).latent(Latent::Dense { dimensions: 2 });
        let parameters = initial_parameters(&config, seed).unwrap();
        let model =
            Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &lesio_nn::Device::Cpu).unwrap();
        let fitted = Preprocessing::new([16, 16]).fit([] as [Scan; 0]).unwrap();
        let mut calibration = Calibration::new();
        for name in NAMES {
            let mut normals = NormalScoresBuilder::new();
            normals.add((0..100).map(|k| k as f32 / 100.0));
            calibration.insert(name, normals.finish().unwrap());
        }
        Localizer::new(model, fitted, Provenance::default()).unwrap().with_calibration(calibration)
    }

    fn subject(truth: Option<Array2<bool>>) -> Subject {
        let image = Array2::from_shape_fn((20, 24), |(row, column)| ((row * column) % 7) as f32 / 7.0);
        Subject::new("a", Image::from_plane(image), truth.map(Scan::of_picture))
    }

    /// Maps go by name: two of one name would be taken for one, and their scores for one predictor's.
    #[test]
    fn what_would_give_two_maps_one_name_is_refused() {
        let repeated = |set: Result<ModelSet, StudyError>, name: &str| match set {
            Err(StudyError::Repeated { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{other:?}"),
        };
        let one = || ModelSet::new().localizer("model", localizer(), NAMES).unwrap();
        repeated(one().localizer("model", localizer(), NAMES), "model");
        let twice = [NAMES[0], NAMES[1], NAMES[0]];
        repeated(ModelSet::new().localizer("model", localizer(), twice), "pixel-l1");
        repeated(one().ensembles(&twice), "pixel-l1");
        // Two ensembles of a member, and a member that no model is scored by.
        let unknown = one().ensembles(&[NAMES[0], PredictorName::GradKl]);
        assert!(matches!(unknown, Err(StudyError::Nothing { what }) if what.contains("grad-kl")));
        let same = one().localizer("copy", localizer(), NAMES).unwrap().ensembles(&NAMES);
        assert_eq!(
            same.unwrap_err().to_string(),
            "\"model\" and \"copy\" are the same model, which an ensemble would count twice"
        );
        let two = one().localizer("other", of_seed(2), NAMES).unwrap().ensembles(&NAMES).unwrap();
        let names = two.maps();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!((names.len(), unique.len()), (8, 8), "{names:?}");
        let maps = two.score(&subject(None)).unwrap();
        assert_eq!(maps.maps.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    }

    /// A truth of another shape is neither a panic nor taken for normal, wherever subjects are scored.
    #[test]
    fn a_truth_of_another_shape_is_named() {
        let wrong = [subject(Some(Array2::from_elem((20, 23), true)))];
        let named = |error: StudyError| match error {
            StudyError::Truth { case, source } => {
                assert_eq!(case, "a");
                assert!(source.to_string().contains("[20, 23]"), "{source}");
            }
            other => panic!("{other:?}"),
        };
        let models =
            ModelSet::new().localizer("model", localizer(), NAMES).unwrap().ensembles(&NAMES).unwrap();
        named(models.score(&wrong[0]).map(|_| ()).unwrap_err());
        named(models.learn_weights(&wrong, |_| {}).map(|_| ()).unwrap_err());
        named(crate::calibrate(localizer(), &wrong, &NAMES, |_| {}).map(|_| ()).unwrap_err());
        named(crate::normalize_by_position(localizer(), &wrong, &NAMES, 1, |_| {}).map(|_| ()).unwrap_err());
        let twice = [NAMES[0]; 2];
        let right = [subject(None)];
        assert!(crate::calibrate(localizer(), &right, &twice, |_| {}).is_err());
        assert!(crate::normalize_by_position(localizer(), &right, &twice, 1, |_| {}).is_err());
        assert!(crate::normalize_by_position(localizer(), &right, &NAMES, 1, |_| {}).is_ok());
    }
}
