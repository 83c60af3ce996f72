//! The parameters of a network: names, shapes and roles.

/// The role of a parameter, which determines its initialization and whether it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A weight of a layer with `fan_in` inputs per output.
    Weight {
        /// Number of inputs of one output.
        fan_in: usize,
    },
    /// A bias of an output of `fan_in` inputs.
    Bias {
        /// Number of inputs of one output.
        fan_in: usize,
    },
    /// The scale of a normalization.
    Scale,
    /// The shift of a normalization.
    Shift,
    /// The running mean of a batch normalization; not trained by gradients.
    RunningMean,
    /// The running variance of a batch normalization; not trained by gradients.
    RunningVariance,
}

impl Role {
    /// Whether gradients train it.
    #[must_use]
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

/// Name, shape and role of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// The layer's name and the parameter's, as in `encoder.0.weight`.
    pub name: String,
    /// Lengths of the axes, in the layout given with the [`Layer`](crate::Layer).
    pub shape: Vec<usize>,
    /// Its role.
    pub role: Role,
}

impl ParameterSpec {
    /// Number of values; `usize::MAX` on overflow.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |product, &length| product.saturating_mul(length))
    }

    /// Whether it holds no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
