//! Objectives: the loss of batches, and its gradients.

use serde::{Deserialize, Deserializer, Serialize};

use crate::engine::{EngineError, TrainingEngine};

/// The batch of one update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Batch<'a> {
    /// Indices of its samples.
    pub samples: &'a [usize],
    /// The epoch, starting from 0.
    pub epoch: usize,
    /// The update, starting from 0.
    pub step: u64,
    /// Number of updates of the whole training, for schedules.
    pub steps: u64,
    /// The training's seed: noise drawn from (seed, step) or (seed, epoch, sample) makes a resumed
    /// training equal to an uninterrupted one.
    pub seed: u64,
}

impl<'a> Batch<'a> {
    /// A batch outside of a training, as for validation: epoch and step 0.
    #[must_use]
    pub fn new(samples: &'a [usize], seed: u64) -> Self {
        Self { samples, epoch: 0, step: 0, steps: 0, seed }
    }
}

/// A loss and its parts, as means per sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The total, which is minimized. A number that is not finite is `null` in JSON, and NaN when it is read.
    #[serde(deserialize_with = "number_or_nan")]
    pub total: f64,
    /// Its parts and other figures, by name; numbers as above.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub parts: Vec<(String, f64)>,
}

fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f64)>, D::Error> {
    let parts: Vec<(String, Option<f64>)> = Vec::deserialize(deserializer)?;
    Ok(parts.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

impl Terms {
    /// A loss without parts.
    #[must_use]
    pub fn new(total: f64) -> Self {
        Self { total, parts: Vec::new() }
    }

    /// With a part.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.parts.push((name.to_owned(), value));
        self
    }

    /// A part by name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<f64> {
        self.parts.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    pub(super) fn accumulate(&mut self, other: &Self, weight: f64) {
        self.total += other.total * weight;
        for (name, value) in &other.parts {
            match self.parts.iter_mut().find(|(own, _)| own == name) {
                Some((_, sum)) => *sum += value * weight,
                None => self.parts.push((name.clone(), value * weight)),
            }
        }
    }

    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.total *= factor;
        self.parts.iter_mut().for_each(|(_, value)| *value *= factor);
        self
    }
}

/// An objective: it computes the loss of a batch and its gradients. `N` is the number of networks trained together.
pub trait Objective<const N: usize> {
    /// Number of training samples.
    fn samples(&self) -> usize;

    /// Computes the loss of a batch and leaves its gradients in the engines, which arrive cleared and in
    /// [`Mode::Train`](crate::Mode::Train).
    ///
    /// # Errors
    /// Errors of the engines.
    fn learn(&mut self, engines: &mut Engines<N>, batch: &Batch<'_>) -> Result<Terms, EngineError>;

    /// Computes the loss on validation samples, with engines in [`Mode::Evaluate`](crate::Mode::Evaluate); `None` if
    /// there are none.
    ///
    /// # Errors
    /// Errors of the engines.
    fn validate(&mut self, engines: &mut Engines<N>) -> Result<Option<Terms>, EngineError>;

    /// The value by which the validations of epochs are compared, lower for better ones. By default, the total loss.
    fn criterion(&self, validation: &Terms) -> f64 {
        validation.total
    }

    /// A fingerprint of data and configuration: a training is not continued with another one.
    fn fingerprint(&self) -> String;
}

/// The engines of networks that are trained together.
pub type Engines<const N: usize> = [Box<dyn TrainingEngine>; N];

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint whose losses are not finite can be continued.
    #[test]
    fn losses_that_are_not_finite_are_read_back() {
        let terms = Terms::new(f64::NAN).with("a", f64::INFINITY).with("b", 0.5);
        let text = serde_json::to_string(&terms).unwrap();
        let back: Terms = serde_json::from_str(&text).unwrap();
        assert!(back.total.is_nan() && back.part("a").unwrap().is_nan() && back.part("b") == Some(0.5));
    }
}
