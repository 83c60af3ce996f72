//! Correction of the bias of estimates.

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

/// Places in 0 to 1 where the bias is estimated.
const KNOTS: usize = 6;
/// How many samples without bias each place starts with: places hardly seen are left as they are.
const PRIOR: f64 = 10.0;

/// A monotone correction of estimated Dice, fitted on segmentations with known truth. The user's networks make other
/// errors than the candidates of the training, so an estimator is biased on them.
///
/// Piecewise linear between equally spaced estimates from 0 to 1. Deserialization checks the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Correction {
    /// The corrected estimate at each place, ascending.
    values: Vec<f64>,
}

/// What a document holds, before it is checked.
#[derive(Deserialize)]
struct Parts {
    values: Vec<f64>,
}

impl TryFrom<Parts> for Correction {
    type Error = SettingError;

    fn try_from(parts: Parts) -> Result<Self, SettingError> {
        let Parts { values } = parts;
        require(values.len() == KNOTS, "number of corrected estimates", values.len(), KNOTS.to_string())?;
        values.iter().try_for_each(|&value| in_range("corrected estimate", value, 0.0..=1.0))?;
        require(values.is_sorted(), "corrected estimates", &values, "an ascending list")?;
        Ok(Self { values })
    }
}

impl Correction {
    /// A correction that changes nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { values: (0..KNOTS).map(knot).collect() }
    }

    /// Fits a correction to estimates and the truth: at each knot, the mean error of nearby estimates is subtracted.
    ///
    /// # Errors
    /// Lists of different lengths, values that are not finite, or no sample.
    ///
    /// ```
    /// use lesio_quality::Correction;
    ///
    /// let estimates: Vec<f64> = (0..1000).map(|k| f64::from(k) / 1000.0).collect();
    /// let truth: Vec<f64> = estimates.iter().map(|estimate| 0.9 * estimate).collect();
    /// let correction = Correction::fit(&estimates, &truth)?;
    /// assert!((correction.apply(0.5) - 0.45).abs() < 0.01);
    /// # Ok::<(), lesio_quality::SettingError>(())
    /// ```
    pub fn fit(estimates: &[f64], truth: &[f64]) -> Result<Self, SettingError> {
        let lengths = [estimates.len(), truth.len()];
        require(
            lengths[0] == lengths[1] && lengths[0] > 0,
            "samples of a correction",
            lengths,
            "lists of one length, at least 1",
        )?;
        if let Some(value) = estimates.iter().chain(truth).find(|value| !value.is_finite()) {
            return Err(SettingError::new("sample of a correction", value, "a finite number"));
        }
        let last = (KNOTS - 1) as f64;
        let mut values: Vec<f64> = (0..KNOTS)
            .map(|place| {
                let (mut sum, mut weights) = (0.0, PRIOR);
                for (estimate, truth) in estimates.iter().zip(truth) {
                    let weight = (1.0 - (estimate * last - place as f64).abs()).max(0.0);
                    sum += weight * (estimate - truth);
                    weights += weight;
                }
                (knot(place) - sum / weights).clamp(0.0, 1.0)
            })
            .collect();
        // Where errors are so different at neighboring places that the order would turn, it stays.
        for place in 1..KNOTS {
            values[place] = values[place].max(values[place - 1]);
        }
        Ok(Self { values })
    }

    /// The corrected estimate, within 0 to 1; NaN stays.
    #[must_use]
    pub fn apply(&self, estimate: f64) -> f64 {
        let place = estimate.clamp(0.0, 1.0) * (KNOTS - 1) as f64;
        let low = (place as usize).min(KNOTS - 2);
        let share = place - low as f64;
        // In this form the order is kept whatever is rounded.
        let (from, to) = (self.values[low], self.values[low + 1]);
        if share.is_nan() { share } else { (from + share * (to - from)).clamp(from, to) }
    }
}

fn knot(place: usize) -> f64 {
    place as f64 / (KNOTS - 1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn corrections_keep_the_order_and_the_range(
            samples in prop::collection::vec((0.0_f64..=1.0, 0.0_f64..=1.0), 1..200),
            mut asked in prop::collection::vec(-0.5_f64..=1.5, 2..20),
        ) {
            let (estimates, truth): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
            let correction = Correction::fit(&estimates, &truth).unwrap();
            asked.sort_by(f64::total_cmp);
            let found: Vec<f64> = asked.iter().map(|&estimate| correction.apply(estimate)).collect();
            prop_assert!(found.is_sorted() && found.iter().all(|value| (0.0..=1.0).contains(value)));
            let text = serde_json::to_string(&correction).unwrap();
            prop_assert_eq!(serde_json::from_str::<Correction>(&text).unwrap(), correction);
        }
    }

    #[test]
    fn none_changes_nothing_and_documents_are_checked() {
        for estimate in [0.0, 0.13, 0.5, 0.99, 1.0] {
            assert!((Correction::none().apply(estimate) - estimate).abs() < 1e-12);
        }
        assert!(Correction::none().apply(f64::NAN).is_nan());
        for text in [
            r#"{"values":[0,1]}"#,
            r#"{"values":[0,0.2,0.1,0.6,0.8,1]}"#,
            r#"{"values":[0,0.2,0.4,0.6,0.8,1.1]}"#,
        ] {
            assert!(serde_json::from_str::<Correction>(text).is_err(), "{text}");
        }
        assert!(Correction::fit(&[], &[]).is_err() && Correction::fit(&[0.5], &[f64::NAN]).is_err());
    }

    #[test]
    fn a_bias_is_taken_away_where_there_are_samples() {
        // Estimates between .4 and .6 are .1 too high; of others nothing is known.
        let estimates: Vec<f64> = (0..200).map(|k| 0.4 + f64::from(k) / 1000.0).collect();
        let truth: Vec<f64> = estimates.iter().map(|estimate| estimate - 0.1).collect();
        let correction = Correction::fit(&estimates, &truth).unwrap();
        assert!((correction.apply(0.5) - 0.4).abs() < 0.02);
        assert_eq!(correction.apply(0.0), 0.0);
        assert_eq!(correction.apply(1.0), 1.0);
    }
}
