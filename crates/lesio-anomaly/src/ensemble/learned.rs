//! Weights of an ensemble's members.

use serde::{Deserialize, Serialize};

use super::scale::MemberScale;

/// Weights of an ensemble's members, at least 0, with sum 1.
///
/// Only [`ValidationLesions`](crate::ValidationLesions) can make them, so they cannot be fitted to a test set by
/// accident. They can be serialized, to be saved with a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WeightParts")]
pub struct LearnedWeights {
    pub(super) weights: Vec<f64>,
    pub(super) scale: MemberScale,
}

#[derive(Deserialize)]
struct WeightParts {
    weights: Vec<f64>,
    scale: MemberScale,
}

impl TryFrom<WeightParts> for LearnedWeights {
    type Error = String;

    fn try_from(parts: WeightParts) -> Result<Self, String> {
        let sum: f64 = parts.weights.iter().sum();
        let sound = parts.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if sound && (sum - 1.0).abs() < 1e-6 {
            return Ok(Self { weights: parts.weights, scale: parts.scale });
        }
        Err(format!("weights are {:?}, expected numbers of at least 0 with sum 1", parts.weights))
    }
}

impl LearnedWeights {
    /// The weights, in the members' order.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The places of the members with a weight above 0, and their weights.
    #[must_use]
    pub fn used(&self) -> (Vec<usize>, Self) {
        let used = self.weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0.0);
        let (places, weights) = used.unzip();
        (places, Self { weights, scale: self.scale })
    }

    /// The scale of the members on which they were learned.
    #[must_use]
    pub fn scale(&self) -> MemberScale {
        self.scale
    }
}
