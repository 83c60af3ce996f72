//! Prediction intervals with a stated coverage, by patient.

use std::collections::BTreeMap;

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

/// Share of new patients' samples that intervals are to hold.
pub(crate) const COVERAGE: f64 = 0.9;

/// Places in 0 to 1 where the spread of the error is estimated.
const KNOTS: usize = 6;
/// How many samples of the common spread each place starts with: places hardly seen keep it.
const PRIOR: f64 = 10.0;
/// The least spread, and the least that an interval reaches to each side: none vanishes, not even where all estimates
/// were right, since the next need not be.
const LEAST_SPREAD: f64 = 0.005;
/// Sums of shares are exact but for rounding.
const ROUNDING: f64 = 1e-9;

/// Intervals around predicted Dice, fitted on patients that the estimator was not trained on.
///
/// Errors are measured in units of the spread that is usual at their prediction, and the interval
/// reaches as far as holds the share `level` of each calibration patient's samples when it is fitted on the others,
/// every patient weighing alike (pooling of patients as in Dunn, Wasserman and Ramdas 2022, arXiv:1809.07441, with
/// the quantile chosen by leaving patients out in turn, at `level * (n + 1) / n`, where `n` is the number of samples
/// that count as independent). A new patient's sample lies within with about that probability if patients are
/// exchangeable; under attack they are not. Where all samples of a patient err alike, fewer than `level / (1 - level)`
/// patients (9 at .9) cannot promise it ([`Conformal::least_patients`]). Before it is cut to [0, 1], an interval reaches at least
/// .005 to each side.
///
/// Serialized, it is checked again when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct Conformal {
    /// The probability that is aimed at, in (0, 1).
    pub level: f64,
    /// Usual absolute error at equally spaced predictions from 0 to 1.
    spread: Vec<f64>,
    /// How many spreads the interval reaches to each side.
    reach: f64,
    /// Number of patients it rests on.
    pub patients: usize,
}

/// What a document holds, before it is checked.
#[derive(Deserialize)]
struct Parts {
    level: f64,
    spread: Vec<f64>,
    reach: f64,
    patients: usize,
}

impl TryFrom<Parts> for Conformal {
    type Error = SettingError;

    fn try_from(parts: Parts) -> Result<Self, SettingError> {
        let Parts { level, spread, reach, patients } = parts;
        require(level > 0.0 && level < 1.0, "level", level, "a number between 0 and 1")?;
        require(spread.len() == KNOTS, "number of spreads", spread.len(), KNOTS.to_string())?;
        spread.iter().try_for_each(|&spread| in_range("spread", spread, 0.0..=1e6))?;
        in_range("reach", reach, 0.0..=1e12)?;
        in_range("patients", patients, 1..=1_000_000_000)?;
        Ok(Self { level, spread, reach, patients })
    }
}

impl Conformal {
    /// Fits intervals to predictions and truth of calibration samples, of the patients given with each.
    ///
    /// # Errors
    /// A level outside (0, 1), lists of different lengths, values that are not finite, or no sample.
    pub fn fit<S: AsRef<str>>(
        patients: &[S],
        predicted: &[f64],
        truth: &[f64],
        level: f64,
    ) -> Result<Self, SettingError> {
        Self::fit_refitted(patients, predicted, truth, level, |_| Ok(predicted.to_vec()))
    }

    /// As [`Conformal::fit`], of predictions that are themselves fitted to calibration samples: `refit` gives the
    /// predictions of all samples by a fit to those with these positions, so that a patient who is left out is left out
    /// of that, too.
    pub(crate) fn fit_refitted<S: AsRef<str>>(
        patients: &[S],
        estimates: &[f64],
        truth: &[f64],
        level: f64,
        refit: impl Fn(&[usize]) -> Result<Vec<f64>, SettingError>,
    ) -> Result<Self, SettingError> {
        if !(level > 0.0 && level < 1.0) {
            return Err(SettingError::new("level", level, "a number between 0 and 1"));
        }
        let lengths = [patients.len(), estimates.len(), truth.len()];
        if lengths.contains(&0) || lengths.iter().any(|&length| length != lengths[0]) {
            return Err(SettingError::new("calibration samples", lengths, "lists of one length, at least 1"));
        }
        if let Some(value) = estimates.iter().chain(truth).find(|value| !value.is_finite()) {
            return Err(SettingError::new("calibration sample", value, "a finite number"));
        }
        let mut by_patient: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (sample, patient) in patients.iter().enumerate() {
            by_patient.entry(patient.as_ref()).or_default().push(sample);
        }
        let groups: Vec<Vec<usize>> = by_patient.into_values().collect();
        // Each patient in turn is one to come: how far among the others' scores its own lie tells which share of
        // scores an interval must reach over, however much the samples of a patient have in common.
        let mut ranks = Vec::with_capacity(groups.len());
        for (left_out, own) in groups.iter().enumerate() {
            let others: Vec<&Vec<usize>> = groups
                .iter()
                .enumerate()
                .filter(|(member, _)| *member != left_out)
                .map(|(_, group)| group)
                .collect();
            // One patient tells nothing of others.
            if others.is_empty() {
                break;
            }
            let fitted = Scores::new(&others, truth, &refit)?;
            ranks.push(own.iter().map(|&sample| fitted.ordered.share_below(fitted.score(sample))).collect());
        }
        let scores = Scores::new(&groups.iter().collect::<Vec<_>>(), truth, &refit)?;
        let reach = match ranks.is_empty() {
            // Then all that was seen of it is reached over.
            true => scores.ordered.beyond(1.0),
            false => scores.ordered.beyond(share_to_reach(&ranks, level)),
        };
        let narrowest = scores.spread.iter().copied().fold(f64::INFINITY, f64::min);
        let (reach, spread) = (reach.max(LEAST_SPREAD / narrowest), scores.spread);
        Ok(Self { level, spread, reach, patients: groups.len() })
    }

    /// The fewest patients with whom intervals hold with a probability of `level` even if all samples of a patient err
    /// alike: the largest of `n` errors is exceeded by a new one with a probability of `1 / (n + 1)`.
    #[must_use]
    pub fn least_patients(level: f64) -> usize {
        (level / (1.0 - level) - ROUNDING).ceil().max(1.0) as usize
    }

    /// Warns if the intervals rest on fewer patients than [`Conformal::least_patients`].
    pub(crate) fn warn_if_few(&self) {
        let least = Self::least_patients(self.level);
        if self.patients < least {
            let (found, level) = (self.patients, self.level);
            tracing::warn!(
                "the intervals rest on {found} patients: they hold less often than with a probability of {level} if the errors \
                 of a patient are alike, which takes {least} patients"
            );
        }
    }

    /// The interval around a prediction, within [0, 1].
    #[must_use]
    pub fn interval(&self, predicted: f64) -> [f64; 2] {
        let reach = self.reach * at(&self.spread, predicted);
        [(predicted - reach).clamp(0.0, 1.0), (predicted + reach).clamp(0.0, 1.0)]
    }

    /// Half of the interval's width before it is cut to [0, 1]: the less, the more certain the prediction.
    #[must_use]
    pub fn reach(&self, predicted: f64) -> f64 {
        self.reach * at(&self.spread, predicted)
    }
}

/// Errors of calibration samples in units of the spread that is usual at their prediction.
struct Scores {
    errors: Vec<f64>,
    predicted: Vec<f64>,
    spread: Vec<f64>,
    /// Those of the patients fitted to, every patient weighing alike.
    ordered: Ordered,
}

impl Scores {
    /// Of all samples, with predictions and spread fitted to some patients.
    fn new(
        patients: &[&Vec<usize>],
        truth: &[f64],
        refit: impl Fn(&[usize]) -> Result<Vec<f64>, SettingError>,
    ) -> Result<Self, SettingError> {
        let members: Vec<usize> = patients.iter().copied().flatten().copied().collect();
        let predicted = refit(&members)?;
        let errors: Vec<f64> = predicted.iter().zip(truth).map(|(p, t)| (p - t).abs()).collect();
        let spread = spread(members.iter().map(|&sample| (predicted[sample], errors[sample])));
        let mut made = Self { errors, predicted, spread, ordered: Ordered(Vec::new()) };
        made.ordered = Ordered::new(
            patients
                .iter()
                .flat_map(|own| {
                    let share = 1.0 / (own.len() * patients.len()) as f64;
                    own.iter().map(move |&sample| (sample, share))
                })
                .map(|(sample, share)| (made.score(sample), share)),
        );
        Ok(made)
    }

    fn score(&self, sample: usize) -> f64 {
        self.errors[sample] / at(&self.spread, self.predicted[sample])
    }
}

/// The share of all scores that an interval must reach over, from the shares of the others' scores below each patient's.
///
/// A new patient is one more than those at hand: of `n` independent scores, the one to reach over is number
/// `level * (n + 1)`. Scores of a patient are not independent. As many count as have the variance of their mean: all of
/// them if they are not alike, one of each patient if a patient's are all alike, and in between by the correlation within
/// patients (one-way analysis of variance of the shares).
fn share_to_reach(ranks: &[Vec<f64>], level: f64) -> f64 {
    let patients = ranks.len() as f64;
    let count = ranks.iter().map(Vec::len).sum::<usize>() as f64;
    let mean_of = |own: &[f64]| own.iter().sum::<f64>() / own.len() as f64;
    let mean = ranks.iter().flatten().sum::<f64>() / count;
    let (mut between, mut within, mut squares) = (0.0, 0.0, 0.0);
    for own in ranks {
        let own_mean = mean_of(own);
        between += own.len() as f64 * (own_mean - mean).powi(2);
        within += own.iter().map(|rank| (rank - own_mean).powi(2)).sum::<f64>();
        squares += (own.len() as f64).powi(2);
    }
    let mut correlation = 1.0;
    if count > patients {
        let (between, within) = (between / (patients - 1.0), within / (count - patients));
        let size = (count - squares / count) / (patients - 1.0);
        let total = between + (size - 1.0) * within;
        if total > 0.0 {
            correlation = ((between - within) / total).clamp(0.0, 1.0);
        }
    }
    let variance = |own: &Vec<f64>| correlation + (1.0 - correlation) / own.len() as f64;
    let independent = patients / (ranks.iter().map(variance).sum::<f64>() / patients);
    let level = (level * (independent + 1.0) / independent).min(1.0);
    let shares = ranks.iter().flat_map(|own| {
        let share = 1.0 / (own.len() as f64 * patients);
        own.iter().map(move |&rank| (rank, share))
    });
    Ordered::new(shares).reaching(level)
}

/// Values in order, each with its share of the whole.
struct Ordered(Vec<(f64, f64)>);

impl Ordered {
    fn new(values: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(values)
    }

    /// The share of the values below this one.
    fn share_below(&self, value: f64) -> f64 {
        self.0.iter().take_while(|(own, _)| *own < value).map(|(_, share)| share).sum()
    }

    /// The least value that, with all below it, makes up this share; 0 of none.
    fn reaching(&self, wanted: f64) -> f64 {
        self.first(|sum| sum >= wanted - ROUNDING)
    }

    /// The least value that, with all below it, makes up more than this share; the last where none does.
    fn beyond(&self, wanted: f64) -> f64 {
        self.first(|sum| sum > wanted + ROUNDING)
    }

    fn first(&self, enough: impl Fn(f64) -> bool) -> f64 {
        let mut sum = 0.0;
        let found = self.0.iter().find(|(_, share)| {
            sum += share;
            enough(sum)
        });
        found.or(self.0.last()).map_or(0.0, |(value, _)| *value)
    }
}

/// Mean absolute error at each knot, of predictions with their errors, weighted by their nearness to it.
fn spread(samples: impl Iterator<Item = (f64, f64)> + Clone) -> Vec<f64> {
    let (sum, count) = samples.clone().fold((0.0, 0.0), |(sum, n), (_, error)| (sum + error, n + 1.0));
    let common = sum / f64::max(count, 1.0);
    let last = (KNOTS - 1) as f64;
    (0..KNOTS)
        .map(|knot| {
            let (mut sum, mut weights) = (PRIOR * common, PRIOR);
            for (predicted, error) in samples.clone() {
                let weight = (1.0 - (predicted * last - knot as f64).abs()).max(0.0);
                sum += weight * error;
                weights += weight;
            }
            (sum / weights).max(LEAST_SPREAD)
        })
        .collect()
}

/// The spread at a prediction, linear between knots.
fn at(spread: &[f64], predicted: f64) -> f64 {
    let last = spread.len().saturating_sub(1);
    let place = predicted.clamp(0.0, 1.0) * last as f64;
    let low = (place as usize).min(last.saturating_sub(1));
    let share = place - low as f64;
    let value = |knot: usize| spread.get(knot).copied().unwrap_or(LEAST_SPREAD);
    value(low) * (1.0 - share) + value(low + 1) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;
    use rand::RngExt;

    /// Patients whose samples share a part of their variance, with more spread at low Dice.
    fn simulated(patients: usize, shared: f64, seed: u64) -> (Vec<String>, Vec<f64>, Vec<f64>) {
        let mut generator = random::generator(seed, 1);
        let mut normal = || {
            let mut value = [0.0f32];
            random::fill_normal(&mut generator, &mut value);
            f64::from(value[0])
        };
        let (mut names, mut predicted, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        for patient in 0..patients {
            let own = shared.sqrt() * normal();
            for sample in 0..5 + patient % 7 {
                let p = ((sample * 13 + patient * 7) % 20) as f64 / 20.0;
                names.push(format!("p{patient}"));
                predicted.push(p);
                truth.push(p + (0.03 + 0.08 * (1.0 - p)) * (own + (1.0 - shared).sqrt() * normal()));
            }
        }
        (names, predicted, truth)
    }

    #[test]
    fn coverage_on_new_patients_is_as_stated() {
        // Independent samples, and patients whose samples all err alike.
        for (level, shared) in [(0.8, 0.2), (0.9, 0.2), (0.9, 0.0), (0.9, 1.0)] {
            let mut covered = Vec::new();
            for seed in 0..120 {
                let (names, predicted, truth) = simulated(15, shared, seed);
                let conformal = Conformal::fit(&names, &predicted, &truth, level).unwrap();
                let (_, predicted, truth) = simulated(40, shared, seed + 1000);
                let within = predicted.iter().zip(&truth).filter(|(p, t)| {
                    let reach = conformal.reach(**p);
                    (**p - **t).abs() <= reach
                });
                covered.push(within.count() as f64 / predicted.len() as f64);
            }
            let mean = covered.iter().sum::<f64>() / covered.len() as f64;
            // Of samples that err alike, as many patients are reached over as a whole number allows.
            let most = if shared < 1.0 { level } else { (level * 16.0_f64).ceil() / 16.0 };
            let sound = (level - 0.02..most + 0.02).contains(&mean);
            assert!(sound, "level {level}, shared {shared}, covered {mean}");
        }
    }

    #[test]
    fn coverage_of_one_sample_each_is_that_of_a_split() {
        // The number of the error to reach over, of so many.
        for (patients, number) in [(10, 10.0), (12, 12.0), (19, 18.0), (30, 28.0)] {
            let mut covered = 0.0;
            for seed in 0..300 {
                let one = |patients, seed| {
                    let (names, predicted, truth) = simulated(patients, 1.0, seed);
                    let first: Vec<usize> =
                        (0..names.len()).filter(|&k| k == 0 || names[k] != names[k - 1]).collect();
                    let pick = |of: &[f64]| first.iter().map(|&k| of[k]).collect::<Vec<_>>();
                    (
                        first.iter().map(|&k| names[k].clone()).collect::<Vec<_>>(),
                        pick(&predicted),
                        pick(&truth),
                    )
                };
                let (names, predicted, truth) = one(patients, seed);
                let conformal = Conformal::fit(&names, &predicted, &truth, 0.9).unwrap();
                let (_, predicted, truth) = one(60, seed + 1000);
                let within =
                    predicted.iter().zip(&truth).filter(|(p, t)| (**p - **t).abs() <= conformal.reach(**p));
                covered += within.count() as f64 / 60.0 / 300.0;
            }
            let expected = number / (patients as f64 + 1.0);
            assert!(
                (covered - expected).abs() < 0.015,
                "{patients} patients, covered {covered}, not {expected}"
            );
        }
        assert_eq!([0.9, 0.95, 0.5].map(Conformal::least_patients), [9, 19, 1]);
    }

    #[test]
    fn one_patient_is_reached_over_whole() {
        let conformal = Conformal::fit(&["a"; 3], &[0.5; 3], &[0.4, 0.5, 0.8], 0.5).unwrap();
        let [low, high] = conformal.interval(0.5);
        assert!((low - 0.2).abs() < 1e-9 && (high - 0.8).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn intervals_of_estimates_that_were_all_right_do_not_vanish() {
        let all = [0.1, 0.5, 0.9, 1.0];
        for patients in [["a"; 4], ["a", "b", "c", "d"]] {
            let conformal = Conformal::fit(&patients, &all, &all, 0.9).unwrap();
            for predicted in all {
                assert!((conformal.reach(predicted) - LEAST_SPREAD).abs() < 1e-12);
            }
            assert_eq!(conformal.interval(1.0)[1], 1.0);
        }
        // Most are right, and one is far off.
        let (names, predicted): (Vec<_>, Vec<_>) = (0..100).map(|k| (k.to_string(), 0.5)).unzip();
        let mut truth = predicted.clone();
        truth[0] = 0.0;
        let conformal = Conformal::fit(&names, &predicted, &truth, 0.9).unwrap();
        assert!((0..=10).all(|k| conformal.reach(f64::from(k) / 10.0) >= LEAST_SPREAD - 1e-12));
        // The interval that the errors ask for is not widened.
        let (names, predicted, truth) = simulated(15, 0.2, 3);
        let conformal = Conformal::fit(&names, &predicted, &truth, 0.9).unwrap();
        assert!(conformal.reach > 1.0, "{}", conformal.reach);
    }

    #[test]
    fn intervals_widen_where_errors_are_larger() {
        let (names, predicted, truth) = simulated(40, 0.2, 5);
        let conformal = Conformal::fit(&names, &predicted, &truth, 0.9).unwrap();
        assert!(conformal.reach(0.1) > 1.5 * conformal.reach(0.9));
        let [low, high] = conformal.interval(0.02);
        assert!(low == 0.0 && high > 0.1);
        assert_eq!(conformal.patients, 40);
    }

    #[test]
    fn a_patient_with_many_samples_weighs_as_one() {
        let mut generator = random::generator(7, 7);
        let (mut names, mut predicted, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        for patient in 0..20 {
            // One patient has most of the samples, and all of the large errors.
            let (count, error) = if patient == 0 { (1000, 0.5) } else { (10, 0.05) };
            for _ in 0..count {
                names.push(patient.to_string());
                predicted.push(0.5);
                truth.push(0.5 + error * generator.random_range(0.0..1.0));
            }
        }
        let conformal = Conformal::fit(&names, &predicted, &truth, 0.9).unwrap();
        let [low, high] = conformal.interval(0.5);
        assert!(high - low < 0.15, "{low} {high}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        assert!(Conformal::fit(&["a"], &[0.5], &[0.4], 1.0).is_err());
        assert!(Conformal::fit(&["a"], &[0.5, 0.6], &[0.4], 0.9).is_err());
        assert!(Conformal::fit::<&str>(&[], &[], &[], 0.9).is_err());
        assert!(Conformal::fit(&["a"], &[f64::NAN], &[0.4], 0.9).is_err());
    }
}
