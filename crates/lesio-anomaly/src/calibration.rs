//! The scores of normal images, and thresholds and p-values that follow from them.

use std::collections::BTreeMap;

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

use crate::judgment::{Incomparable, Judgment};
use crate::predictors::PredictorName;
use crate::resolution::ResolutionRange;

/// Upper-tail probabilities at which quantiles of normal pixels are kept.
const TAILS: [f64; 24] = [
    1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005,
    0.002, 0.001, 0.0005, 0.0001, 0.00001,
];

/// Position of the median in [`TAILS`].
const MEDIAN: usize = 7;

/// The scores of held-out normal subjects, by predictor, after post-processing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    predictors: BTreeMap<PredictorName, NormalScores>,
    #[serde(default, skip_serializing_if = "ResolutionRange::is_empty")]
    resolutions: ResolutionRange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    footprint: Option<[f64; 2]>,
}

impl Calibration {
    /// A calibration without predictors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the normal scores of a predictor.
    pub fn insert(&mut self, predictor: PredictorName, scores: NormalScores) {
        self.predictors.insert(predictor, scores);
    }

    /// Drops the normal scores of a predictor.
    pub(crate) fn remove(&mut self, predictor: PredictorName) {
        self.predictors.remove(&predictor);
    }

    /// The normal scores of a predictor, if it was calibrated.
    #[must_use]
    pub fn get(&self, predictor: PredictorName) -> Option<&NormalScores> {
        self.predictors.get(&predictor)
    }

    /// The predictors that were calibrated.
    pub fn predictors(&self) -> impl Iterator<Item = PredictorName> {
        self.predictors.keys().copied()
    }

    /// With the resolutions of the subjects, beyond which [`Localizer::score`](crate::Localizer::score) warns.
    #[must_use]
    pub fn with_resolutions(mut self, resolutions: ResolutionRange) -> Self {
        self.resolutions = resolutions;
        self
    }

    /// The resolutions of the subjects; empty if unknown.
    #[must_use]
    pub fn resolutions(&self) -> &ResolutionRange {
        &self.resolutions
    }

    /// With the extent of the normal slices with foreground of a subject, in millimeters, the median over the subjects;
    /// `None` for pictures, and if it is unknown. [`Localizer::score`](crate::Localizer::score) warns of volumes that cover
    /// much less or much more.
    #[must_use]
    pub fn with_extent(mut self, extent: Option<f64>) -> Self {
        self.extent = extent.filter(|extent| *extent > 0.0 && extent.is_finite());
        self
    }

    /// The extent of the subjects' normal slices, in millimeters; `None` if it is unknown.
    #[must_use]
    pub fn extent(&self) -> Option<f64> {
        self.extent
    }

    /// With the rows and the columns with foreground of a subject, in millimeters, each the median over the subjects; `None`
    /// for pictures, and if they are unknown. [`Localizer::score`](crate::Localizer::score) warns of volumes with a much
    /// smaller or larger foreground, such as a strip of a head.
    #[must_use]
    pub fn with_footprint(mut self, footprint: Option<[f64; 2]>) -> Self {
        let known = |lengths: &[f64; 2]| lengths.iter().all(|length| *length > 0.0 && length.is_finite());
        self.footprint = footprint.filter(known);
        self
    }

    /// The rows and the columns with foreground of the subjects, in millimeters; `None` if they are unknown.
    #[must_use]
    pub fn footprint(&self) -> Option<[f64; 2]> {
        self.footprint
    }

    /// Whether no predictor was calibrated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predictors.is_empty()
    }
}

/// The scores of normal subjects by one predictor: quantiles over pixels, and each subject's highest score.
///
/// A rate is a fraction of all pixels, so a subject sampled twice as finely, with four times as many pixels, has four
/// times the weight. Family-wise p-values count each subject once.
///
/// Pixels of one image are not independent, subjects are: a rate over pixels is a description of the
/// calibration subjects, while [`NormalScores::family_wise_p_value`] is a valid p-value for a new
/// subject that is exchangeable with them.
///
/// ```
/// use lesio_anomaly::NormalScoresBuilder;
///
/// let mut normals = NormalScoresBuilder::new();
/// for subject in 0..19 {
///     normals.add((0..100).map(|pixel| (pixel + subject) as f32));
/// }
/// let normals = normals.finish().ok_or("no subject")?;
/// // 5 % of the 1900 scores are 95: 91 are at least 105, but 105 at least 104.
/// assert_eq!(normals.threshold(0.05), 105.0);
/// assert_eq!(normals.family_wise_p_value(200.0), 0.05); // higher than all 19 subjects
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Deserialization checks the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NormalParts")]
pub struct NormalScores {
    /// The lowest scores that at most each of [`TAILS`] of the pixels reach (`>=`).
    quantiles: Vec<f32>,
    /// The highest score of each subject, ascending.
    maxima: Vec<f32>,
    pixels: u64,
    /// Mean and standard deviation over the pixels.
    mean: f64,
    deviation: f64,
}

/// Gathers normal scores subject by subject.
#[derive(Clone, Debug, Default)]
pub struct NormalScoresBuilder {
    scores: Vec<f32>,
    maxima: Vec<f32>,
}

impl NormalScoresBuilder {
    /// A builder without subjects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the scores of a subject's foreground; a subject without foreground is left out, as are scores
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
        let Ok(found) = NormalScores::from_ascending(self.maxima, self.scores.len() as u64, |each| {
            self.scores.iter().for_each(|&score| each(score, 1));
            Ok::<_, std::convert::Infallible>(())
        });
        found
    }
}

/// Collects quantiles, mean and deviation from ascending scores.
struct Ascending {
    /// For each of [`TAILS`] the rank of the highest score that stays below the threshold; `None` if all reach it.
    excluded: [Option<u64>; TAILS.len()],
    quantiles: [Option<f32>; TAILS.len()],
    /// Tails before this have their excluded score, and those before `known` their threshold.
    passed: usize,
    known: usize,
    place: u64,
    last: f32,
    sum: f64,
}

impl Ascending {
    fn new(pixels: u64) -> Self {
        // A product such as .07 * 100 may lie just below its whole number.
        let allowed = |tail: f64| (tail * pixels as f64 * (1.0 + 1e-12)).floor() as u64;
        let excluded = TAILS.map(|tail| pixels.checked_sub(allowed(tail) + 1));
        let quantiles = [None; TAILS.len()];
        Self { excluded, quantiles, passed: 0, known: 0, place: 0, last: f32::NAN, sum: 0.0 }
    }

    fn add(&mut self, score: f32, count: u64) {
        // The lowest threshold that at most a share of the scores reach, however many are equal: the next higher score.
        if score > self.last || self.place == 0 {
            while self.known < self.passed {
                self.quantiles[self.known] = Some(score);
                self.known += 1;
            }
            // For tails that exclude no score, the threshold is the lowest score.
            while self.place == 0 && self.excluded.get(self.known).is_some_and(Option::is_none) {
                self.quantiles[self.known] = Some(score);
                self.known += 1;
                self.passed = self.known;
            }
            self.last = score;
        }
        self.place += count;
        while let Some(Some(rank)) = self.excluded.get(self.passed)
            && *rank < self.place
        {
            self.passed += 1;
        }
        // One by one, so that sums round as they do for scores in memory.
        (0..count).for_each(|_| self.sum += f64::from(score));
    }

    fn quantiles(&self) -> Vec<f32> {
        // No score is higher than the last one.
        self.quantiles
            .iter()
            .map(|found| found.unwrap_or_else(|| self.last.next_up().min(f32::MAX)))
            .collect()
    }
}

impl NormalScores {
    /// The normal scores of subjects whose pixels are not in memory together: each subject's highest score, the number of
    /// all scores, and a function that passes on all of them in ascending order, each with its number of occurrences.
    /// The function is called twice. `None` without any scores. All scores are finite; the result is that of a
    /// [`NormalScoresBuilder`].
    ///
    /// ```
    /// use lesio_anomaly::{NormalScores, NormalScoresBuilder};
    ///
    /// let mut builder = NormalScoresBuilder::new();
    /// builder.add([0.5, 0.5, 0.1]);
    /// builder.add([0.2]);
    /// let ascending = |each: &mut dyn FnMut(f32, u64)| {
    ///     [(0.1, 1), (0.2, 1), (0.5, 2)].into_iter().for_each(|(score, count)| each(score, count));
    ///     Ok::<_, std::io::Error>(())
    /// };
    /// assert_eq!(NormalScores::from_ascending(vec![0.5, 0.2], 4, ascending)?, builder.finish());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the function reports.
    pub fn from_ascending<E>(
        mut maxima: Vec<f32>,
        pixels: u64,
        mut ascending: impl FnMut(&mut dyn FnMut(f32, u64)) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        if pixels == 0 {
            return Ok(None);
        }
        let mut found = Ascending::new(pixels);
        ascending(&mut |score, count| found.add(score, count))?;
        let mean = found.sum / pixels as f64;
        let mut squares = 0.0;
        ascending(&mut |score, count| {
            let square = (f64::from(score) - mean).powi(2);
            (0..count).for_each(|_| squares += square);
        })?;
        maxima.sort_unstable_by(f32::total_cmp);
        let (quantiles, deviation) = (found.quantiles(), (squares / pixels as f64).sqrt());
        Ok(Some(Self { quantiles, maxima, pixels, mean, deviation }))
    }

    /// The upper-tail shares at which quantiles are kept, from 1 down to 1e-5: those of the `quantiles` of a document.
    #[must_use]
    pub fn levels() -> &'static [f64] {
        &TAILS
    }

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

    /// Mean over the pixels.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation over the pixels.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// The lowest score that at most a share `rate` of the normal pixels reaches (`>=`).
    ///
    /// This is exact at the stored rates (1e-5, 1e-4, 5e-4, .001, .002, .005, .01, .02, .03, .05, .07,
    /// .1, .15, .2, .3, ...); between them the score is interpolated by the logarithm of the rate. Rates
    /// below 1e-5, and NaN, get the score of 1e-5, rates above 1 that of 1; with fewer pixels than
    /// `1 / rate`, none of them reaches it.
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

    /// Upper-tail share of the normal pixels at a score, by the same interpolation: 1 at or below their
    /// lowest, and at least `1 / (1 + pixels)`, as a p-value is. NaN for a score of NaN.
    #[must_use]
    pub fn exceedance(&self, score: f32) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let place = self.quantiles.partition_point(|&quantile| quantile <= score);
        let share = if place == 0 {
            1.0
        } else if place == TAILS.len() {
            TAILS[place - 1]
        } else {
            let (low, high) = (self.quantiles[place - 1], self.quantiles[place]);
            let share = if high > low { f64::from(score - low) / f64::from(high - low) } else { 0.0 };
            TAILS[place - 1] * (TAILS[place] / TAILS[place - 1]).powf(share)
        };
        share.max(self.least_share())
    }

    fn least_share(&self) -> f64 {
        1.0 / (1.0 + self.pixels as f64)
    }

    /// `-log10` of the upper-tail share, extrapolated above the highest quantile of the normal pixels: 2 is a score
    /// that one normal pixel in a hundred reaches.
    ///
    /// Up to that quantile it is `-log10` of [`NormalScores::exceedance`]. Above, it grows linearly with the score, at
    /// the mean slope from the median to that quantile, so that scores above all normal pixels remain comparable. If
    /// all normal pixels are equal, the slope is 1 per unit.
    #[must_use]
    pub fn surprise(&self, score: f32) -> f64 {
        let last = self.last_supported();
        let highest = self.quantiles[last];
        if score <= highest {
            return -self.exceedance(score).log10();
        }
        let known = -TAILS[last].max(self.least_share()).log10();
        let (middle, of_middle) = (self.quantiles[MEDIAN], -TAILS[MEDIAN].log10());
        let pace = if highest > middle && known > of_middle {
            (known - of_middle) / (f64::from(highest) - f64::from(middle))
        } else {
            1.0
        };
        known + (f64::from(score) - f64::from(highest)) * pace
    }

    /// The rarest of [`TAILS`] of which there are pixels.
    fn last_supported(&self) -> usize {
        TAILS.iter().rposition(|&tail| tail * self.pixels as f64 >= 1.0).unwrap_or(0)
    }

    /// The distance of a score from the mean of the normal pixels, in standard deviations; if they are all equal, the
    /// difference itself.
    #[must_use]
    pub fn deviations(&self, score: f32) -> f64 {
        let difference = f64::from(score) - self.mean;
        if self.deviation > 0.0 { difference / self.deviation } else { difference }
    }

    /// The p-value of a score against the highest scores of normal subjects:
    /// `(1 + number of subjects whose maximum is at least the score) / (1 + number of subjects)`.
    ///
    /// For a new normal subject, exchangeable with these, the chance that any of its pixels gets a
    /// value of at most `a` is at most `a`; the smallest value is `1 / (1 + subjects)`. NaN for a score of NaN.
    #[must_use]
    pub fn family_wise_p_value(&self, score: f32) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let reached = self.maxima.len() - self.maxima.partition_point(|&maximum| maximum < score);
        (1 + reached) as f64 / (1 + self.maxima.len()) as f64
    }

    /// The verdict on a subject with this highest score, at a false-alarm probability of `level`, 0 to 1. A score of NaN or
    /// negative infinity is none: [`Incomparable::NoScore`].
    ///
    /// # Errors
    /// [`SettingError`] for another level.
    pub fn judge(&self, highest: f32, level: f64) -> Result<Judgment, SettingError> {
        in_range("level", level, 0.0..=1.0)?;
        if highest.is_nan() || highest == f32::NEG_INFINITY {
            return Ok(Judgment::Incomparable(Incomparable::NoScore));
        }
        let (p_value, smallest) = (self.family_wise_p_value(highest), self.smallest_p_value());
        Ok(match p_value <= level {
            true => Judgment::Abnormal { p_value },
            false if smallest > level && p_value == smallest => Judgment::Undecided { p_value },
            false => Judgment::Normal { p_value },
        })
    }

    /// The smallest possible p-value, `1 / (1 + subjects)`: .5 with one normal subject, .05 with 19.
    #[must_use]
    pub fn smallest_p_value(&self) -> f64 {
        1.0 / (1 + self.maxima.len()) as f64
    }

    /// The lowest score whose family-wise p-value is at most `level`; `None` if there are
    /// fewer than `1 / level - 1` subjects, and for a level that is not positive.
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
}

/// The content of a document before validation.
#[derive(Deserialize)]
struct NormalParts {
    quantiles: Vec<f32>,
    maxima: Vec<f32>,
    pixels: u64,
    mean: f64,
    deviation: f64,
}

impl TryFrom<NormalParts> for NormalScores {
    type Error = SettingError;

    fn try_from(parts: NormalParts) -> Result<Self, SettingError> {
        let NormalParts { quantiles, maxima, pixels, mean, deviation } = parts;
        let largest = f64::from(f32::MAX);
        let ascending = |values: &[f32]| values.iter().all(|value| value.is_finite()) && values.is_sorted();
        require(
            quantiles.len() == TAILS.len(),
            "number of quantiles",
            quantiles.len(),
            TAILS.len().to_string(),
        )?;
        require(ascending(&quantiles), "quantiles", &quantiles, "ascending finite scores")?;
        require(!maxima.is_empty(), "number of maxima", 0, "at least 1")?;
        require(
            ascending(&maxima),
            "maxima",
            "what does not ascend or is not finite",
            "ascending finite scores",
        )?;
        in_range("pixels", pixels, maxima.len() as u64..=1 << 60)?;
        in_range("mean", mean, -largest..=largest)?;
        in_range("deviation", deviation, 0.0..=2.0 * largest)?;
        Ok(Self { quantiles, maxima, pixels, mean, deviation })
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

    /// Whatever a document holds is refused, or answers every question without a panic.
    #[test]
    fn a_calibration_that_was_changed_is_refused_or_answers() {
        let mut calibration = Calibration::new();
        calibration.insert(PredictorName::PixelL1, thousand());
        let document = serde_json::to_value(&calibration).unwrap();
        assert_eq!(serde_json::from_value::<Calibration>(document.clone()).unwrap(), calibration);
        let mut refused = 0;
        for mutation in lesio_settings::mutation::mutations(&document) {
            let Ok(read) = serde_json::from_value::<Calibration>(mutation.document) else {
                refused += 1;
                continue;
            };
            let scores = read.get(PredictorName::PixelL1).unwrap();
            for score in [f32::NEG_INFINITY, -1.0, 0.0, 500.0, 1e30, f32::NAN] {
                let answers = [scores.surprise(score), scores.deviations(score), scores.exceedance(score)];
                assert!(
                    score.is_nan() || answers.iter().all(|answer| !answer.is_nan()),
                    "{mutation:?}",
                    mutation = mutation.place
                );
                let _ = (scores.family_wise_p_value(score), scores.threshold(f64::from(score)));
                let _ = scores.family_wise_threshold(f64::from(score));
            }
        }
        // Lists that lost their order or an element, and numbers that are none.
        assert!(refused > 150, "only {refused} were refused");
        let scores = r#"{"quantiles":[],"maxima":[1.0],"pixels":1,"mean":0.0,"deviation":0.0}"#;
        let error = serde_json::from_str::<NormalScores>(scores).unwrap_err().to_string();
        assert!(error.contains("number of quantiles is 0, expected"), "{error}");
    }

    /// Rates and levels that are none say what is documented, and never more than they may.
    #[test]
    fn rates_that_are_none_are_taken_as_the_strictest() {
        let scores = thousand();
        for rate in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
            assert_eq!(scores.threshold(rate), scores.threshold(1e-5));
            assert_eq!(scores.family_wise_threshold(rate), None);
        }
        assert_eq!(scores.threshold(f64::INFINITY), scores.threshold(1.0));
    }

    /// The definition: the lowest threshold that at most a share of the ascending scores reach.
    fn lowest_threshold(scores: &[f32], share: f64) -> f32 {
        let allowed = (share * scores.len() as f64 * (1.0 + 1e-12)).floor() as usize;
        let Some(excluded) = scores.len().checked_sub(allowed + 1).map(|index| scores[index]) else {
            return scores[0];
        };
        let above = scores.partition_point(|&score| score <= excluded);
        scores.get(above).copied().unwrap_or_else(|| excluded.next_up().min(f32::MAX))
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_scores() {
        for (count, levels) in
            [(1, 1), (2, 5), (7, 3), (100, 100), (1000, 4), (5000, 2000), (300_000, 90_000)]
        {
            let mut scores: Vec<f32> = (0..count as u32)
                .map(|k| (k.wrapping_mul(2_654_435_761) >> 7) as f32 % levels as f32)
                .collect();
            let mut builder = NormalScoresBuilder::new();
            builder.add(scores.iter().copied());
            let found = builder.finish().unwrap();
            scores.sort_unstable_by(f32::total_cmp);
            let expected: Vec<f32> = TAILS.iter().map(|&tail| lowest_threshold(&scores, tail)).collect();
            assert_eq!(found.quantiles, expected, "{count} of {levels}");
            let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / count as f64;
            let squares: f64 = scores.iter().map(|&score| (f64::from(score) - mean).powi(2)).sum();
            assert_eq!((found.mean, found.deviation), (mean, (squares / count as f64).sqrt()));
        }
    }

    #[test]
    fn thresholds_keep_their_rate() {
        let scores = thousand();
        for rate in TAILS.into_iter().filter(|rate| *rate >= 0.001) {
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

    /// Many pixels of a map share one score, 0 above all.
    #[test]
    fn ties_do_not_break_the_rate() {
        let mut builder = NormalScoresBuilder::new();
        let values: Vec<f32> = (0..1000).map(|k| if k < 800 { 0.0 } else { (k / 100) as f32 }).collect();
        builder.add(values.iter().copied());
        let scores = builder.finish().unwrap();
        for rate in TAILS {
            let reached = values.iter().filter(|&&v| v >= scores.threshold(rate)).count();
            assert!(reached as f64 <= rate * 1000.0 + 1e-9, "{rate}: {reached}");
        }
        assert_eq!(scores.threshold(0.5), 8.0);
        assert_eq!(scores.exceedance(0.0), 1.0);
        assert!(scores.exceedance(9.0) >= 0.1 && scores.exceedance(8.0) >= 0.2);
        // A thousand pixels say nothing of one in a hundred thousand.
        assert_eq!(scores.exceedance(1e9), 1.0 / 1001.0);
    }

    #[test]
    fn surprise_grows_beyond_the_normals() {
        let scores = thousand();
        assert_eq!(scores.surprise(-5.0), 0.0);
        for score in [3.0, 450.0, 900.0, 990.0] {
            assert!((scores.surprise(score) + scores.exceedance(score).log10()).abs() < 1e-12);
        }
        let mut before = -1.0;
        for score in (0..3000).map(|k| k as f32 * 0.5) {
            let surprise = scores.surprise(score);
            assert!(surprise >= before && surprise.is_finite(), "{score}: {surprise} after {before}");
            assert!(score <= 999.0 || surprise > before);
            // No jump where the normals end.
            assert!(before < 0.0 || surprise - before < 0.5, "{score}");
            before = surprise;
        }
        let mut builder = NormalScoresBuilder::new();
        builder.add([2.0; 50]);
        let constant = builder.finish().unwrap();
        assert_eq!(constant.surprise(1.0), 0.0);
        assert!(constant.surprise(4.0) > constant.surprise(3.0));
        assert_eq!(constant.deviations(3.5), 1.5);
    }

    #[test]
    fn deviations_are_counted_from_the_mean() {
        let scores = thousand();
        assert_eq!(scores.mean(), 499.5);
        assert!((scores.deviation() - (999_999.0f64 / 12.0).sqrt()).abs() < 1e-9);
        assert!((scores.deviations(499.5 + scores.deviation() as f32) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut builder = NormalScoresBuilder::new();
        builder.add([f32::NAN, f32::INFINITY]);
        builder.add([]);
        assert!(builder.clone().finish().is_none());
        builder.add([f32::NAN, 1.0, 3.0]);
        let scores = builder.finish().unwrap();
        assert_eq!((scores.subjects(), scores.pixels()), (1, 2));
        // Sound: it can be read again.
        let document = serde_json::to_value(&scores).unwrap();
        assert_eq!(serde_json::from_value::<NormalScores>(document).unwrap(), scores);
    }

    #[test]
    fn family_wise_p_values_are_ranks_of_maxima() {
        let scores = thousand();
        assert_eq!(scores.family_wise_p_value(1e9), 1.0 / 11.0);
        assert!(scores.family_wise_p_value(f32::NAN).is_nan() && scores.exceedance(f32::NAN).is_nan());
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
