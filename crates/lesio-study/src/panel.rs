//! Several localizers asked about the same subjects, and what they say together.

use lesio_anomaly::{
    EnsembleConfig, EnsembleRule, Localizer, MemberScale, NormalScores, PredictorName, ValidationLesions,
};
use lesio_report::{Scale, ScaleError};
use ndarray::{Array3, ArrayView3, Axis};

use crate::error::StudyError;
use crate::evaluation::{Maps, check_unique, score_subject, truth_of};
use crate::presentation::normal_scale;
use crate::subject::Subject;

/// Localizers with the predictors that each is asked for, and ensembles of them.
///
/// With one localizer, maps are named by predictor; with several, by localizer and predictor as in
/// `denoiser/pixel-positive`. `intensity` is the first one's alone and keeps its name.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    seats: Vec<Seat>,
    /// Predictors whose maps are combined.
    members: Vec<PredictorName>,
    ensembles: Vec<(String, EnsembleConfig)>,
}

#[derive(Clone, Debug)]
struct Seat {
    label: String,
    localizer: Localizer,
    names: Vec<PredictorName>,
}

/// Rules that need no lesion to be chosen, with the names of their maps.
const RULES: [(&str, EnsembleRule); 4] = [
    ("ensemble-mean", EnsembleRule::Mean),
    ("ensemble-maximum", EnsembleRule::Maximum),
    ("ensemble-product", EnsembleRule::Product),
    ("ensemble-rank", EnsembleRule::RankAverage),
];

/// The name of the ensemble whose weights the lesions of a validation set have taught.
const WEIGHTED: &str = "ensemble-weighted";

impl Panel {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a localizer, by what to call it, and the predictors it is asked for.
    ///
    /// # Errors
    /// [`StudyError::Repeated`] for a label that another localizer has, or a predictor named twice: their maps would
    /// have one name.
    pub fn localizer(
        mut self,
        label: impl Into<String>,
        localizer: Localizer,
        names: impl IntoIterator<Item = PredictorName>,
    ) -> Result<Self, StudyError> {
        let first = self.seats.is_empty();
        let label = label.into();
        let labels = self.seats.iter().map(|seat| seat.label.as_str()).chain([label.as_str()]);
        check_unique("localizer", labels)?;
        let names: Vec<PredictorName> = names.into_iter().collect();
        check_unique("predictor", names.iter().map(|name| name.as_str()))?;
        let names = names.into_iter().filter(|&name| first || name != PredictorName::Intensity).collect();
        self.seats.push(Seat { label, localizer, names });
        Ok(self)
    }

    /// With ensembles of these predictors of every localizer: their mean, maximum, product and mean rank.
    ///
    /// # Errors
    /// Fewer than two members, one that is named twice, that no localizer is asked for, or that was not calibrated on
    /// normal subjects.
    pub fn ensembles(mut self, members: &[PredictorName]) -> Result<Self, StudyError> {
        check_unique("member of the ensemble", members.iter().map(|name| name.as_str()))?;
        let asked = |member: &&PredictorName| self.seats.iter().any(|seat| seat.names.contains(*member));
        if let Some(member) = members.iter().find(|member| !asked(member)) {
            let what = format!("no localizer is asked for {member}, a member of the ensemble");
            return Err(StudyError::Nothing { what });
        }
        self.members = members.to_vec();
        let found = self.member_places();
        if let Some((seat, name)) = found.iter().find(|(seat, name)| self.normals(*seat, *name).is_none()) {
            let what = format!("{} has no scores of normal subjects", self.name_of(*seat, *name));
            return Err(StudyError::Nothing { what });
        }
        if found.len() < 2 {
            let what = format!("an ensemble needs at least two predictors, {} was asked for", found.len());
            return Err(StudyError::Nothing { what });
        }
        self.ensembles =
            RULES.map(|(name, rule)| (name.to_owned(), EnsembleConfig::new(rule))).into_iter().collect();
        Ok(self)
    }

    /// With an ensemble whose weights the lesions of validation subjects teach; those without a lesion or a truth
    /// are passed over. Returns the weights beside, by the members' names.
    ///
    /// # Errors
    /// A subject that cannot be scored; no lesion, or no member that is higher in lesions.
    pub fn learn_weights(
        mut self,
        validation: &[Subject],
        mut progress: impl FnMut(usize),
    ) -> Result<(Self, Vec<(String, f64)>), StudyError> {
        let scale = MemberScale::Surprise;
        let mut lesions = ValidationLesions::new(scale);
        let ensembles = std::mem::take(&mut self.ensembles);
        for (done, subject) in validation.iter().enumerate() {
            let truth = truth_of(subject).filter(|truth| truth.iter().any(|&inside| inside));
            if let Some(truth) = truth {
                let maps = self.score(subject)?;
                maps.check(truth.shape())?;
                let axis = Axis(maps.axis);
                let slices = truth.axis_iter(axis).enumerate();
                let with_lesion: Vec<usize> =
                    slices.filter(|(_, slice)| slice.iter().any(|&inside| inside)).map(|(k, _)| k).collect();
                let within = ndarray::Zip::from(&maps.foreground)
                    .and(&truth)
                    .map_collect(|&inside, &lesion| inside || lesion)
                    .select(axis, &with_lesion);
                let own = self.members(&maps);
                let cut: Vec<Array3<f32>> =
                    own.iter().map(|(map, _)| map.select(axis, &with_lesion)).collect();
                let views: Vec<(ArrayView3<'_, f32>, &NormalScores)> =
                    cut.iter().zip(&own).map(|(map, (_, normals))| (map.view(), *normals)).collect();
                let truth = truth.select(axis, &with_lesion);
                lesions.add(&views, truth.view(), Some(within.view()))?;
            }
            progress(done + 1);
        }
        let weights = lesions.learn()?;
        let names = self.member_places().into_iter().map(|(seat, name)| self.name_of(seat, name));
        let by_name = names.zip(weights.weights().iter().copied()).collect();
        self.ensembles = ensembles;
        self.ensembles.push((WEIGHTED.to_owned(), EnsembleConfig::new(EnsembleRule::Weighted(weights))));
        Ok((self, by_name))
    }

    /// The first localizer.
    #[must_use]
    pub fn first(&self) -> Option<&Localizer> {
        self.seats.first().map(|seat| &seat.localizer)
    }

    /// Every localizer's predictors, by the place of the localizer, with the names of their maps.
    #[must_use]
    pub fn predictors(&self) -> Vec<(usize, PredictorName, String)> {
        let all = self.seats.iter().enumerate();
        all.flat_map(|(seat, own)| own.names.iter().map(move |&name| (seat, name)))
            .map(|(seat, name)| (seat, name, self.name_of(seat, name)))
            .collect()
    }

    /// The names of all maps, in the order in which a subject's are.
    #[must_use]
    pub fn maps(&self) -> Vec<String> {
        let predictors = self.predictors().into_iter().map(|(_, _, name)| name);
        predictors.chain(self.ensembles.iter().map(|(name, _)| name.clone())).collect()
    }

    /// The one scale on which a map of this name is shown, see [`normal_scale`]; that of an ensemble is the scale
    /// of surprise, from one normal pixel in two to one in ten thousand.
    ///
    /// # Errors
    /// As there.
    pub fn scale(&self, name: &str) -> Result<Scale, ScaleError> {
        let found = self.predictors().into_iter().find(|(_, _, own)| own == name);
        match found.and_then(|(seat, predictor, _)| Some((self.seat(seat)?, predictor))) {
            Some((localizer, predictor)) => normal_scale(localizer, predictor),
            None => Scale::new(0.5f64.recip().log10(), 4.0),
        }
    }

    /// A localizer by its place.
    #[must_use]
    pub fn seat(&self, place: usize) -> Option<&Localizer> {
        self.seats.get(place).map(|seat| &seat.localizer)
    }

    /// Scores a subject: every predictor's maps, then the ensembles'. Reconstruction and foreground are the first
    /// localizer's. An ensemble combines maps after post-processing, so both of its maps are the same.
    ///
    /// # Errors
    /// As [`score_subject`]; a panel without a localizer.
    pub fn score(&self, subject: &Subject) -> Result<Maps, StudyError> {
        let mut all: Option<Maps> = None;
        for (place, seat) in self.seats.iter().enumerate() {
            let mut maps = score_subject(&seat.localizer, subject, &seat.names)?;
            for ((name, _), &predictor) in maps.maps.iter_mut().zip(&seat.names) {
                *name = self.name_of(place, predictor);
            }
            match &mut all {
                Some(all) => all.maps.extend(maps.maps),
                None => all = Some(maps),
            }
        }
        let nobody = || StudyError::Nothing { what: "there is no localizer to ask".to_owned() };
        let mut all = all.ok_or_else(nobody)?;
        let mut combined = Vec::with_capacity(self.ensembles.len());
        for (name, config) in &self.ensembles {
            let members = self.members(&all);
            let views: Vec<_> = members.iter().map(|(map, normals)| (map.view(), *normals)).collect();
            let map = config.combine(&views)?;
            combined.push((name.clone(), [map.clone(), map]));
        }
        all.maps.extend(combined);
        Ok(all)
    }

    /// The members' post-processed maps, with what normal subjects score.
    fn members<'m>(&'m self, maps: &'m Maps) -> Vec<(&'m Array3<f32>, &'m NormalScores)> {
        let map_of = |wanted: &str| maps.maps.iter().find(|(name, _)| name == wanted);
        self.member_places()
            .into_iter()
            .filter_map(|(seat, name)| {
                let (_, [_, map]) = map_of(&self.name_of(seat, name))?;
                Some((map, self.normals(seat, name)?))
            })
            .collect()
    }

    fn member_places(&self) -> Vec<(usize, PredictorName)> {
        let all = self.seats.iter().enumerate();
        all.flat_map(|(seat, own)| own.names.iter().map(move |&name| (seat, name)))
            .filter(|(_, name)| self.members.contains(name))
            .collect()
    }

    fn normals(&self, seat: usize, name: PredictorName) -> Option<&NormalScores> {
        self.seats.get(seat)?.localizer.calibration().get(name)
    }

    fn name_of(&self, seat: usize, name: PredictorName) -> String {
        match self.seats.get(seat) {
            Some(own) if self.seats.len() > 1 && name != PredictorName::Intensity => {
                format!("{}/{name}", own.label)
            }
            _ => name.to_string(),
        }
    }
}
