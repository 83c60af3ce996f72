//! Confidence intervals by resampling patients.

use std::collections::BTreeMap;
use std::sync::Arc;

use lesio_settings::{SettingError, field_defaults, in_range, require, setters};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::MetricError;
use crate::sum::quantile;

/// How patients are resampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Seed of the resampling. Replicate `r` draws from stream `r` of one generator (ChaCha8), so results are the same
    /// for any number of threads, and more replicates only add to fewer.
    pub seed: u64,
    /// Number of replicates, 1 to a million. Default 1000: the ends of a 95 % interval then rest on 25 replicates each.
    #[serde(default = "BootstrapDefaults::replicates")]
    pub replicates: usize,
    /// Level of the intervals, in (0, 1). Default .95.
    #[serde(default = "BootstrapDefaults::level")]
    pub level: f64,
}

impl BootstrapConfig {
    /// 1000 replicates at level .95.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, replicates: 1000, level: 0.95 }
    }

    /// Checks every setting; whatever resamples by it does so first.
    ///
    /// # Errors
    /// For no replicates or more than a million, and a level outside (0, 1).
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("number of replicates", self.replicates, 1..=MOST_REPLICATES)?;
        require(self.level > 0.0 && self.level < 1.0, "level", self.level, "a fraction in (0, 1)")
    }
}

setters!(BootstrapConfig { replicates: usize, level: f64 });

field_defaults!(BootstrapDefaults: BootstrapConfig::new(0) => { replicates: usize, level: f64 });

/// Most replicates: a thousand times the default.
const MOST_REPLICATES: usize = 1_000_000;

/// Patients drawn with replacement, as many as there are, all samples of a patient together (a cluster bootstrap).
///
/// Pixels and slices of one patient are correlated; resampling them individually would make intervals too narrow.
///
/// ```
/// use lesio_metrics::{Bootstrap, BootstrapConfig};
///
/// let patient = ["anna", "anna", "bela", "carl", "carl", "dora"];
/// let error = [0.1, 0.2, 0.05, 0.3, 0.2, 0.1];
/// let mean = |samples: &[usize]| {
///     let sum: f64 = samples.iter().map(|&sample| error[sample]).sum();
///     (!samples.is_empty()).then(|| sum / samples.len() as f64)
/// };
/// let bootstrap = Bootstrap::new(&patient, BootstrapConfig::new(1))?;
/// let interval = bootstrap.over_samples(mean).interval()?;
/// assert!(interval.lower < interval.estimate && interval.estimate < interval.upper);
/// assert_eq!(interval.patients, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bootstrap {
    config: BootstrapConfig,
    patients: Arc<[String]>,
    /// Samples of each patient.
    samples: Vec<Vec<usize>>,
}

impl Bootstrap {
    /// Resampling of samples, given the patient of each: a slice, a vector or an iterator.
    ///
    /// # Errors
    /// [`MetricError::Parameter`] for fewer than two patients, and as [`BootstrapConfig::validate`].
    pub fn new<S: AsRef<str>>(
        patient_of_sample: impl IntoIterator<Item = S>,
        config: BootstrapConfig,
    ) -> Result<Self, MetricError> {
        config.validate()?;
        let mut samples: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (sample, patient) in patient_of_sample.into_iter().enumerate() {
            match samples.get_mut(patient.as_ref()) {
                Some(known) => known.push(sample),
                None => {
                    samples.insert(patient.as_ref().to_owned(), vec![sample]);
                }
            }
        }
        require(samples.len() >= 2, "number of patients", samples.len(), "2 or more")?;
        let (patients, samples): (Vec<String>, Vec<Vec<usize>>) = samples.into_iter().unzip();
        Ok(Self { config, patients: patients.into(), samples })
    }

    /// The patients, in order of their names: that of the multiplicities given to [`Bootstrap::over_patients`].
    #[must_use]
    pub fn patients(&self) -> &[String] {
        &self.patients
    }

    /// Replicates of a statistic of samples, given by their indices: those of a patient drawn twice come twice.
    ///
    /// The estimate is the statistic of every sample once. `None` where the statistic is undefined.
    pub fn over_samples(&self, statistic: impl Fn(&[usize]) -> Option<f64> + Sync) -> Replicates {
        let [replicates] = self.over_patients(|multiplicities| {
            let mut drawn = Vec::new();
            for (samples, &times) in self.samples.iter().zip(multiplicities) {
                (0..times).for_each(|_| drawn.extend_from_slice(samples));
            }
            [statistic(&drawn)]
        });
        replicates
    }

    /// Replicates of several statistics at once, of how often each patient was drawn.
    ///
    /// The estimates are the statistics of every patient once. For data too large to be copied: sum what is known of each
    /// patient by multiplicity.
    pub fn over_patients<const N: usize>(
        &self,
        statistics: impl Fn(&[u32]) -> [Option<f64>; N] + Sync,
    ) -> [Replicates; N] {
        let estimates = statistics(&vec![1; self.patients.len()]);
        let replicates = (0..self.config.replicates).into_par_iter();
        let rows: Vec<[Option<f64>; N]> =
            replicates.map(|replicate| statistics(&self.multiplicities(replicate))).collect();
        self.replicates(estimates, &rows)
    }

    /// How patients are resampled.
    pub(crate) fn config(&self) -> &BootstrapConfig {
        &self.config
    }

    /// Replicates of several statistics, given the statistics of every patient once and those of each replicate.
    pub(crate) fn replicates<const N: usize>(
        &self,
        estimates: [Option<f64>; N],
        rows: &[[Option<f64>; N]],
    ) -> [Replicates; N] {
        std::array::from_fn(|statistic| Replicates {
            config: self.config,
            patients: Arc::clone(&self.patients),
            estimate: estimates[statistic],
            values: rows.iter().map(|row| row[statistic]).collect(),
        })
    }

    /// Lower and upper end of the configured level's middle part; sorts the values.
    pub(crate) fn middle(&self, values: &mut [f64]) -> Option<(f64, f64)> {
        middle(values, self.config.level)
    }

    /// How often each patient is drawn in a replicate.
    pub(crate) fn multiplicities(&self, replicate: usize) -> Vec<u32> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.config.seed);
        generator.set_stream(replicate as u64);
        let mut multiplicities = vec![0; self.patients.len()];
        for _ in 0..self.patients.len() {
            multiplicities[generator.random_range(0..self.patients.len())] += 1;
        }
        multiplicities
    }
}

/// Values of a statistic over resampled patients.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicates {
    config: BootstrapConfig,
    patients: Arc<[String]>,
    estimate: Option<f64>,
    values: Vec<Option<f64>>,
}

impl Replicates {
    /// The statistic of the original patients; `None` if it is undefined.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        self.estimate
    }

    /// The statistic of each replicate; `None` where it is undefined (no lesion among the patients drawn).
    #[must_use]
    pub fn values(&self) -> &[Option<f64>] {
        &self.values
    }

    /// This statistic minus another over the same resampled patients: the paired difference of two predictors.
    ///
    /// # Errors
    /// [`MetricError::NotPaired`] unless patients, seed, number of replicates and level are the same.
    pub fn minus(&self, other: &Self) -> Result<Self, MetricError> {
        let unlike = |why| Err(MetricError::NotPaired { why });
        if self.patients != other.patients {
            return unlike("they are of other patients");
        }
        if self.config != other.config {
            return unlike("they were drawn by another configuration");
        }
        let minus = |(a, b): (&Option<f64>, &Option<f64>)| Some((*a)? - (*b)?);
        Ok(Self {
            config: self.config,
            patients: Arc::clone(&self.patients),
            estimate: minus((&self.estimate, &other.estimate)),
            values: self.values.iter().zip(&other.values).map(minus).collect(),
        })
    }

    /// The percentile interval: the middle part, of the configured level, of the replicates that are defined.
    ///
    /// # Errors
    /// [`MetricError::Undefined`] if the statistic is undefined for the original patients or for every replicate.
    pub fn interval(&self) -> Result<Interval, MetricError> {
        let undefined = |why| MetricError::Undefined { what: "the statistic", why };
        let estimate = self.estimate.ok_or(undefined("the patients have no value for it"))?;
        let mut defined: Vec<f64> = self.values.iter().flatten().copied().collect();
        let ends = middle(&mut defined, self.config.level);
        let (lower, upper) = ends.ok_or(undefined("no replicate has a value for it"))?;
        Ok(Interval {
            estimate,
            lower,
            upper,
            level: self.config.level,
            patients: self.patients.len(),
            replicates: defined.len(),
            undefined: self.values.len() - defined.len(),
        })
    }

    /// The same replicates moved so that the estimate becomes `exact`, and kept in [0, 1].
    pub(crate) fn anchored(mut self, exact: f64) -> Self {
        if let Some(own) = self.estimate.replace(exact) {
            for value in self.values.iter_mut().flatten() {
                *value = (*value + (exact - own)).clamp(0.0, 1.0);
            }
        }
        self
    }
}

/// A confidence interval over patients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// The statistic of the original patients.
    pub estimate: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Level, such as .95.
    pub level: f64,
    /// Number of patients resampled.
    pub patients: usize,
    /// Replicates that the ends come from.
    pub replicates: usize,
    /// Replicates left out because the statistic is undefined for them; the interval is then conditional on its being
    /// defined.
    pub undefined: usize,
}

impl Interval {
    /// Whether a value lies outside: for a paired difference and 0, whether two predictors differ at this level.
    #[must_use]
    pub fn excludes(&self, value: f64) -> bool {
        value < self.lower || value > self.upper
    }
}

fn middle(values: &mut [f64], level: f64) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    quantile(values, tail).zip(quantile(values, 1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> Option<f64> + Sync + '_ {
        |samples| {
            let sum: f64 = samples.iter().map(|&s| values[s]).sum();
            (!samples.is_empty()).then(|| sum / samples.len() as f64)
        }
    }

    fn patients(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("p{i:03}")).collect()
    }

    #[test]
    fn spread_is_that_of_a_mean() {
        // One sample a patient: the standard error of the mean is sd / sqrt(n).
        let n = 100;
        let values: Vec<f64> = (0..n).map(|i| ((i * 37) % n) as f64).collect();
        let bootstrap = Bootstrap::new(patients(n), BootstrapConfig::new(3).replicates(4000)).unwrap();
        let interval = bootstrap.over_samples(mean_of(&values)).interval().unwrap();
        let sd = (values.iter().map(|v| (v - 49.5).powi(2)).sum::<f64>() / n as f64).sqrt();
        let expected = 2.0 * 1.96 * sd / (n as f64).sqrt();
        assert!((interval.upper - interval.lower - expected).abs() < 0.06 * expected);
        assert_eq!((interval.estimate, interval.undefined, interval.replicates), (49.5, 0, 4000));
    }

    #[test]
    fn each_patient_is_drawn_once_on_average_and_n_in_all() {
        let n = 7;
        let bootstrap = Bootstrap::new(patients(n), BootstrapConfig::new(0)).unwrap();
        let mut sums = vec![0; n];
        for replicate in 0..2000 {
            let drawn = bootstrap.multiplicities(replicate);
            assert_eq!(drawn.iter().sum::<u32>() as usize, n);
            sums.iter_mut().zip(drawn).for_each(|(sum, times)| *sum += times);
        }
        assert!(sums.iter().all(|&sum| sum.abs_diff(2000) < 150), "{sums:?}");
    }

    #[test]
    fn neither_threads_nor_order_of_patients_change_a_replicate() {
        let names = patients(9);
        let values: Vec<f64> = (0..9).map(|i| f64::from(i).sqrt()).collect();
        let run = |names: &[String], values: &[f64]| {
            Bootstrap::new(names, BootstrapConfig::new(5).replicates(50)).unwrap().over_patients(|times| {
                // Sum in order of names, whatever the order given.
                let mut pairs: Vec<_> = names.iter().zip(values).collect();
                pairs.sort_by(|a, b| a.0.cmp(b.0));
                [Some(pairs.iter().zip(times).map(|(p, &t)| p.1 * f64::from(t)).sum())]
            })
        };
        let [one] = run(&names, &values);
        let threads = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        for n in [1, 2, 3] {
            let [again] = threads(n).install(|| run(&names, &values));
            assert_eq!(again, one);
        }
        let (names, values): (Vec<_>, Vec<_>) = names.into_iter().rev().zip(values.into_iter().rev()).unzip();
        assert_eq!(run(&names, &values), [one]);
    }

    #[test]
    fn pairs_cancel_what_is_common() {
        let n = 30;
        let values: Vec<f64> = (0..n).map(|i| ((i * 7) % 30) as f64).collect();
        let better: Vec<f64> = values.iter().map(|v| v + 1.0).collect();
        let bootstrap = Bootstrap::new(patients(n), BootstrapConfig::new(9)).unwrap();
        let (a, b) = (bootstrap.over_samples(mean_of(&better)), bootstrap.over_samples(mean_of(&values)));
        assert!(a.interval().unwrap().lower < b.interval().unwrap().upper);
        let difference = a.minus(&b).unwrap().interval().unwrap();
        assert!((difference.lower - 1.0).abs() < 1e-9 && (difference.upper - 1.0).abs() < 1e-9);
        assert!(difference.excludes(0.0));

        let other_seed = Bootstrap::new(patients(n), BootstrapConfig::new(10)).unwrap();
        let other_patients = Bootstrap::new(&patients(n)[1..], BootstrapConfig::new(9)).unwrap();
        for other in
            [other_seed.over_samples(mean_of(&values)), other_patients.over_samples(mean_of(&values))]
        {
            assert!(matches!(a.minus(&other), Err(MetricError::NotPaired { .. })));
        }
    }

    #[test]
    fn undefined_replicates_are_counted() {
        // Defined only when the first patient is drawn: about 1 - 1/e of the replicates.
        let bootstrap = Bootstrap::new(patients(20), BootstrapConfig::new(2)).unwrap();
        let [some] = bootstrap.over_patients(|times| [(times[0] > 0).then_some(1.0)]);
        let interval = some.interval().unwrap();
        assert_eq!(interval.replicates + interval.undefined, 1000);
        assert!((250..450).contains(&interval.undefined), "{}", interval.undefined);
        let [never] = bootstrap.over_patients(|_| [None]);
        assert!(matches!(never.interval(), Err(MetricError::Undefined { .. })));
    }

    #[test]
    fn documents_need_a_seed_and_hold_nothing_unknown() {
        let read = |text: &str| serde_json::from_str::<BootstrapConfig>(text);
        assert_eq!(read(r#"{"seed":3}"#).unwrap(), BootstrapConfig::new(3));
        assert_eq!(read(r#"{"seed":3,"level":0.9}"#).unwrap(), BootstrapConfig::new(3).level(0.9));
        assert!(read(r#"{"level":0.9}"#).is_err());
        let error = read(r#"{"seed":3,"replicate":9}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `replicate`"), "{error}");
    }

    #[test]
    fn refuses_what_it_cannot_resample() {
        let parameter = |patients: &[String], config| {
            matches!(Bootstrap::new(patients, config), Err(MetricError::Parameter { .. }))
        };
        let config = BootstrapConfig::new(0);
        assert!(parameter(&patients(1), config));
        assert!(parameter(&["a".to_owned(), "a".to_owned()], config));
        assert!(parameter(&patients(3), config.replicates(0)));
        assert!(parameter(&patients(3), config.level(1.0)));
        assert!(parameter(&patients(3), config.level(f64::NAN)));
    }
}
