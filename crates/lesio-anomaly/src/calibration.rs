//! What normal images score, and what follows for others: thresholds and p-values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::PredictorName;

/// Upper-tail probabilities at which quantiles of normal pixels are kept.
const TAILS: [f64; 24] = [
    1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005,
    0.002, 0.001, 0.0005, 0.0001, 0.00001,
];

/// The scores of held-out normal subjects, by predictor, after post-processing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    predictors: BTreeMap<PredictorName, NormalScores>,
}

impl Calibration {
    /// Nothing calibrated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the normal scores of a predictor.
    pub fn insert(&mut self, predictor: PredictorName, scores: NormalScores) {
        self.predictors.insert(predictor, scores);
    }

    /// The normal scores of a predictor, where it was calibrated.
    #[must_use]
    pub fn get(&self, predictor: PredictorName) -> Option<&NormalScores> {
        self.predictors.get(&predictor)
    }

    /// Whether no predictor was calibrated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predictors.is_empty()
    }
}

/// What one predictor says of normal subjects: quantiles over pixels, and each subject's highest score.
///
/// Pixels of one image are not independent, subjects are: a rate over pixels is a description of the
/// calibration subjects, while [`NormalScores::family_wise_p_value`] is a valid p-value for a new
/// subject that is exchangeable with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormalScores {
    /// Scores exceeded (`>=`) by at most each of [`TAILS`] of the pixels.
    quantiles: Vec<f32>,
    /// The highest score of each subject, ascending.
    maxima: Vec<f32>,
    pixels: u64,
}

/// Gathers normal scores subject by subject.
#[derive(Clone, Debug, Default)]
pub struct NormalScoresBuilder {
    scores: Vec<f32>,
    maxima: Vec<f32>,
}

impl NormalScoresBuilder {
    /// No subject yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the scores of a subject's foreground; a subject without any is left out, as are scores
    /// that are not finite.
    pub fn add(&mut self, scores: impl IntoIterator<Item = f32>) {
        let before = self.scores.len();
        self.scores.extend(scores.into_iter().filter(|score| score.is_finite()));
        let highest = self.scores[before..].iter().copied().reduce(f32::max);
        self.maxima.extend(highest);
    }

    /// The normal scores; `None` without any subject.
    #[must_use]
    pub fn finish(mut self) -> Option<NormalScores> {
        if self.scores.is_empty() {
            return None;
        }
        self.scores.sort_unstable_by(f32::total_cmp);
        self.maxima.sort_unstable_by(f32::total_cmp);
        let count = self.scores.len();
        let quantiles = TAILS
            .iter()
            .map(|tail| {
                // At most `tail * count` scores lie above the index.
                let above = (tail * count as f64).floor() as usize;
                self.scores[count - above.clamp(1, count)]
            })
            .collect();
        Some(NormalScores { quantiles, maxima: self.maxima, pixels: count as u64 })
    }
}

impl NormalScores {
    /// Number of subjects.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.maxima.len()
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The score that a share `rate` of the normal pixels reaches, between the kept quantiles by
    /// interpolation in the logarithm of the rate. Rates below 1e-5 get the highest kept score.
    #[must_use]
    pub fn threshold(&self, rate: f64) -> f32 {
        let place = TAILS.iter().position(|&tail| tail <= rate).unwrap_or(TAILS.len() - 1);
        if place == 0 {
            return self.quantiles[0];
        }
        let (high, low) = (TAILS[place - 1], TAILS[place]);
        let share = ((high / rate.max(low)).ln() / (high / low).ln()).clamp(0.0, 1.0) as f32;
        self.quantiles[place - 1] * (1.0 - share) + self.quantiles[place] * share
    }

    /// Upper-tail share of the normal pixels at a score, by the same interpolation.
    #[must_use]
    pub fn exceedance(&self, score: f32) -> f64 {
        let place = self.quantiles.partition_point(|&quantile| quantile <= score);
        if place == 0 {
            return 1.0;
        }
        if place == TAILS.len() {
            return TAILS[place - 1];
        }
        let (low, high) = (self.quantiles[place - 1], self.quantiles[place]);
        let share = if high > low { f64::from((score - low) / (high - low)) } else { 0.0 };
        TAILS[place - 1] * (TAILS[place] / TAILS[place - 1]).powf(share)
    }

    /// The p-value of a score against the highest scores of normal subjects:
    /// `(1 + number of subjects whose maximum is at least the score) / (1 + number of subjects)`.
    ///
    /// For a new normal subject, exchangeable with these, the chance that any of its pixels gets a
    /// value of at most `a` is at most `a`; the smallest value is `1 / (1 + subjects)`.
    #[must_use]
    pub fn family_wise_p_value(&self, score: f32) -> f64 {
        let reached = self.maxima.len() - self.maxima.partition_point(|&maximum| maximum < score);
        (1 + reached) as f64 / (1 + self.maxima.len()) as f64
    }

    /// The lowest score whose family-wise p-value is at most `level`; `None` where there are too few
    /// subjects for that level, which takes at least `1 / level - 1` of them.
    #[must_use]
    pub fn family_wise_threshold(&self, level: f64) -> Option<f32> {
        let subjects = self.maxima.len();
        let allowed = (level * (1 + subjects) as f64 + 1e-9).floor() as usize;
        // `allowed - 1` maxima may reach the threshold.
        let place = allowed.checked_sub(1)?;
        match subjects.checked_sub(place + 1) {
            Some(index) => Some(self.maxima[index].next_up()),
            None => self.maxima.first().copied(),
        }
    }

    /// Whether a file holds what a calibration must.
    pub(crate) fn is_sound(&self) -> bool {
        self.quantiles.len() == TAILS.len()
            && self.quantiles.is_sorted()
            && self.maxima.is_sorted()
            && !self.maxima.is_empty()
            && self.quantiles.iter().chain(&self.maxima).all(|value| value.is_finite())
    }
}

impl Calibration {
    /// The first predictor whose scores are not sound, if any.
    pub(crate) fn fault(&self) -> Option<PredictorName> {
        self.predictors.iter().find(|(_, scores)| !scores.is_sound()).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thousand() -> NormalScores {
        let mut builder = NormalScoresBuilder::new();
        for subject in 0..10 {
            builder.add((0..100).map(|k| (subject * 100 + k) as f32));
        }
        builder.finish().unwrap()
    }

    #[test]
    fn thresholds_keep_their_rate() {
        let scores = thousand();
        for rate in [0.5, 0.1, 0.05, 0.01, 0.001] {
            let above = (0..1000).filter(|&k| k as f32 >= scores.threshold(rate)).count() as f64 / 1000.0;
            assert!(above <= rate + 1e-9 && above > 0.9 * rate - 1e-9, "{rate}: {above}");
        }
        let between = (0..1000).filter(|&k| k as f32 >= scores.threshold(0.25)).count();
        assert!((230..=260).contains(&between), "{between}");
        for score in [10.0, 500.0, 950.0, 989.5] {
            let rate = scores.exceedance(score);
            assert!((scores.threshold(rate) - score).abs() < 2.0, "{score}: {rate}");
        }
    }

    #[test]
    fn family_wise_p_values_are_ranks_of_maxima() {
        let scores = thousand();
        assert_eq!(scores.family_wise_p_value(1e9), 1.0 / 11.0);
        assert_eq!(scores.family_wise_p_value(999.0), 2.0 / 11.0);
        assert_eq!(scores.family_wise_p_value(0.0), 1.0);
        assert_eq!(scores.family_wise_threshold(0.05), None);
        for level in [0.1, 0.2, 0.5, 0.91] {
            let threshold = scores.family_wise_threshold(level).unwrap();
            assert!(scores.family_wise_p_value(threshold) <= level, "{level}");
            assert!(scores.family_wise_p_value(threshold.next_down()) > level, "{level}");
        }
    }

    /// The rate of any false alarm among new normal subjects is at most the level.
    #[test]
    fn family_wise_error_holds_on_new_subjects() {
        use lesio_nn::random;
        let (subjects, pixels, level) = (39, 50, 0.05);
        let mut alarms = 0;
        let trials = 2000;
        for trial in 0..trials {
            let mut generator = random::generator(5, trial);
            let mut builder = NormalScoresBuilder::new();
            let mut draw = || {
                let mut scores = vec![0.0; pixels];
                random::fill_normal(&mut generator, &mut scores);
                scores
            };
            (0..subjects).for_each(|_| builder.add(draw()));
            let new = draw().into_iter().fold(f32::MIN, f32::max);
            alarms += usize::from(builder.finish().unwrap().family_wise_p_value(new) <= level);
        }
        let rate = alarms as f64 / trials as f64;
        // Exactly 2 / 40 in expectation; three standard errors of the simulation.
        assert!((rate - 0.05).abs() < 3.0 * (0.05f64 * 0.95 / trials as f64).sqrt(), "{rate}");
    }
}
