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
/// the quantile chosen by leaving patients out in turn). A new patient's sample lies within with about that
/// probability if patients are exchangeable; under attack they are not. Before it is cut to [0, 1], an interval reaches
/// at least .005 to each side.
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
        if !(level > 0.0 && level < 1.0) {
            return Err(SettingError::new("level", level, "a number between 0 and 1"));
        }
        let lengths = [patients.len(), predicted.len(), truth.len()];
        if lengths.contains(&0) || lengths.iter().any(|&length| length != lengths[0]) {
            return Err(SettingError::new("calibration samples", lengths, "lists of one length, at least 1"));
        }
        if let Some(value) = predicted.iter().chain(truth).find(|value| !value.is_finite()) {
            return Err(SettingError::new("calibration sample", value, "a finite number"));
        }
        let errors: Vec<f64> = predicted.iter().zip(truth).map(|(p, t)| (p - t).abs()).collect();
        let mut by_patient: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (sample, patient) in patients.iter().enumerate() {
            by_patient.entry(patient.as_ref()).or_default().push(sample);
        }
        let groups: Vec<&Vec<usize>> = by_patient.values().collect();
        let all: Vec<usize> = (0..groups.len()).collect();
        let spread_of = |members: &[usize]| {
            let samples = members.iter().flat_map(|&member| groups[member]);
            spread(samples.map(|&sample| (predicted[sample], errors[sample])))
        };
        let ordered_by = |spread: &[f64], members: &[usize]| {
            let scores = members.iter().flat_map(|&member| {
                let share = 1.0 / (groups[member].len() * members.len()) as f64;
                groups[member].iter().map(move |&sample| (sample, share))
            });
            Ordered::new(
                scores.map(|(sample, share)| (errors[sample] / at(spread, predicted[sample]), share)),
            )
        };
        // Each patient in turn is one to come: how far among the others' scores its own lie tells which share of
        // scores an interval must reach over, however much the samples of a patient have in common.
        let mut ranks = Vec::with_capacity(errors.len());
        for (left_out, own) in groups.iter().enumerate() {
            let others: Vec<usize> = all.iter().copied().filter(|&member| member != left_out).collect();
            let spread = spread_of(&others);
            let ordered = ordered_by(&spread, &others);
            let share = 1.0 / (own.len() * groups.len()) as f64;
            ranks.extend(own.iter().map(|&sample| {
                let score = errors[sample] / at(&spread, predicted[sample]);
                (ordered.share_below(score), share)
            }));
        }
        // One patient tells nothing of others: then all that was seen of it is reached over.
        let wanted = if groups.len() < 2 { 1.0 } else { Ordered::new(ranks.into_iter()).reaching(level) };
        let spread = spread_of(&all);
        let narrowest = spread.iter().copied().fold(f64::INFINITY, f64::min);
        let reach = ordered_by(&spread, &all).beyond(wanted).max(LEAST_SPREAD / narrowest);
        Ok(Self { level, spread, reach, patients: groups.len() })
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
            assert!((mean - level).abs() < 0.02, "level {level}, shared {shared}, covered {mean}");
        }
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
