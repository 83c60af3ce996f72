//! The scale of one image's intensities.

use serde::{Deserialize, Serialize};

use crate::histogram::PiecewiseScale;
use crate::intensity::LinearScale;

/// The scale of one image's intensities, with its inverse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IntensityScale {
    /// Values are intensities.
    Unchanged,
    /// A linear scale.
    Linear(LinearScale),
    /// A piecewise linear one.
    Piecewise(PiecewiseScale),
}

impl IntensityScale {
    /// An intensity on the scale.
    #[must_use]
    pub fn value(&self, intensity: f32) -> f32 {
        match self {
            Self::Unchanged => intensity,
            Self::Linear(scale) => scale.value(intensity),
            Self::Piecewise(scale) => scale.value(intensity),
        }
    }

    /// The intensity of a value on the scale.
    #[must_use]
    pub fn inverse(&self, value: f32) -> f32 {
        match self {
            Self::Unchanged => value,
            Self::Linear(scale) => scale.inverse(value),
            Self::Piecewise(scale) => scale.inverse(value),
        }
    }
}
