//! Named parameters of a network, initialized from a seed.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::network::Network;
use crate::parameter_spec::{ParameterSpec, Role};
use crate::random;

/// A parameter's shape and values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Parameter {
    /// Values of a shape, row-major; `None` if their number does not match.
    #[must_use]
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        let length = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        (length == Some(values.len())).then_some(Self { shape, values })
    }

    /// Lengths of the axes.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, row-major.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// The initialization of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initialization {
    /// Weights and biases uniform within `1 / sqrt(fan_in)` (variance `1 / (3 fan_in)`): small, and
    /// the default of PyTorch, so that results are comparable.
    #[default]
    UniformFanIn,
    /// Weights normal with variance `2 / fan_in`, biases 0 (He et al. 2015, arXiv:1502.01852): keeps
    /// the variance through deep stacks of rectified layers without normalization.
    HeNormal,
}

/// All parameters of one or more networks, by name.
///
/// Iteration is in the order of names, so files, sums and initial values never depend on a hash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterSet {
    parameters: BTreeMap<String, Parameter>,
}

/// Why parameters do not fit a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// A parameter of the network is missing.
    #[error("parameter {name:?} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A parameter does not belong to the network.
    #[error("parameter {name:?} belongs to no layer")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// A parameter has another shape.
    #[error("parameter {name:?} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape the network needs.
        expected: Vec<usize>,
    },
    /// A parameter holds NaN or infinity.
    #[error("parameter {name:?} holds {value} at index {index}")]
    NonFinite {
        /// Its name.
        name: String,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A running variance is negative.
    #[error("parameter {name:?} holds {value} at index {index}, expected at least 0")]
    Negative {
        /// Its name.
        name: String,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl ParameterSet {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Initial parameters of a network.
    ///
    /// Every parameter has a separate random stream, from the seed and its name, so its values depend neither on the
    /// order of the layers nor on other layers.
    #[must_use]
    pub fn initialize(network: &Network, initialization: Initialization, seed: u64) -> Self {
        let mut parameters = BTreeMap::new();
        for spec in network.parameters() {
            let mut generator = random::named_generator(seed, &spec.name);
            let mut uniform = |fan_in: usize| -> Vec<f32> {
                let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
                (0..spec.len()).map(|_| generator.random_range(-bound..=bound)).collect()
            };
            let values = match (spec.role, initialization) {
                (Role::Weight { fan_in } | Role::Bias { fan_in }, Initialization::UniformFanIn) => {
                    uniform(fan_in)
                }
                (Role::Weight { fan_in }, Initialization::HeNormal) => {
                    let deviation = (2.0 / fan_in.max(1) as f32).sqrt();
                    let draw = |_| -> f32 { StandardNormal.sample(&mut generator) };
                    (0..spec.len()).map(draw).map(|value| value * deviation).collect()
                }
                (Role::Scale | Role::RunningVariance, _) => vec![1.0; spec.len()],
                (Role::Bias { .. } | Role::Shift | Role::RunningMean, _) => vec![0.0; spec.len()],
            };
            parameters.insert(spec.name, Parameter { shape: spec.shape, values });
        }
        Self { parameters }
    }

    /// A checksum (CRC-32) of names and values: for telling sets apart, not against a forger.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        for (name, parameter) in self.iter() {
            checksum.update(name.as_bytes());
            parameter.values().iter().for_each(|value| checksum.update(&value.to_le_bytes()));
        }
        checksum.finalize()
    }

    /// Adds or replaces a parameter.
    pub fn insert(&mut self, name: impl Into<String>, parameter: Parameter) {
        self.parameters.insert(name.into(), parameter);
    }

    /// Adds all parameters of another set, replacing those of the same name.
    pub fn extend(&mut self, other: Self) {
        self.parameters.extend(other.parameters);
    }

    /// The parameter of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name)
    }

    /// The parameter of a name, to be changed in place.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Parameter> {
        self.parameters.get_mut(name)
    }

    /// All parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.parameters.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// Number of parameters (tensors).
    #[must_use]
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Checks that the set contains exactly the parameters of these networks, with their shapes, finite values, and
    /// running variances of at least 0.
    ///
    /// # Errors
    /// For the first parameter that is missing, unexpected, of another shape, not finite or negative.
    pub fn check(&self, networks: &[&Network]) -> Result<(), ParameterError> {
        let mut expected: BTreeMap<String, ParameterSpec> = BTreeMap::new();
        for network in networks {
            expected.extend(network.parameters().into_iter().map(|spec| (spec.name.clone(), spec)));
        }
        for (name, spec) in &expected {
            let Some(parameter) = self.parameters.get(name) else {
                return Err(ParameterError::Missing { name: name.clone() });
            };
            if parameter.shape != spec.shape {
                return Err(ParameterError::Shape {
                    name: name.clone(),
                    found: parameter.shape.clone(),
                    expected: spec.shape.clone(),
                });
            }
            if let Some(index) = parameter.values.iter().position(|value| !value.is_finite()) {
                return Err(ParameterError::NonFinite {
                    name: name.clone(),
                    index,
                    value: parameter.values[index],
                });
            }
            let negative = |index: &usize| parameter.values[*index] < 0.0;
            if spec.role == Role::RunningVariance
                && let Some(index) = (0..parameter.values.len()).find(negative)
            {
                let value = parameter.values[index];
                return Err(ParameterError::Negative { name: name.clone(), index, value });
            }
        }
        match self.parameters.keys().find(|name| !expected.contains_key(*name)) {
            Some(name) => Err(ParameterError::Unexpected { name: name.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bias, Convolution, Layer, NetworkBuilder, Shape};

    fn network() -> Network {
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(2, 8, 8));
        let a =
            net.layer("a", Layer::Convolution(Convolution::new(64, 3).bias(Bias::None)), &[image]).unwrap();
        let n = net.layer("n", Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 }, &[a]).unwrap();
        let out = net.layer("out", Layer::Linear { features: 5, bias: Bias::Learned }, &[n]).unwrap();
        net.finish(&[out]).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_values_and_another_seed_others() {
        let a = ParameterSet::initialize(&network(), Initialization::UniformFanIn, 7);
        assert_eq!(a, ParameterSet::initialize(&network(), Initialization::UniformFanIn, 7));
        let b = ParameterSet::initialize(&network(), Initialization::UniformFanIn, 8);
        assert_ne!(a.get("a.weight"), b.get("a.weight"));
        assert!(a.get("a.bias").is_none());
        assert!(a.check(&[&network()]).is_ok());
    }

    #[test]
    fn initial_variance_is_as_stated() {
        for (initialization, expected) in
            [(Initialization::UniformFanIn, 1.0 / (3.0 * 18.0)), (Initialization::HeNormal, 2.0 / 18.0)]
        {
            let set = ParameterSet::initialize(&network(), initialization, 1);
            let values = set.get("a.weight").unwrap().values();
            let variance = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
            assert!((variance / expected - 1.0).abs() < 0.15, "{initialization:?}: {variance} {expected}");
        }
    }

    #[test]
    fn misfits_are_named() {
        let mut set = ParameterSet::initialize(&network(), Initialization::UniformFanIn, 7);
        set.get_mut("out.bias").unwrap().values_mut()[3] = f32::NAN;
        assert!(matches!(set.check(&[&network()]), Err(ParameterError::NonFinite { index: 3, .. })));
        set.insert("out.bias", Parameter::new(vec![4], vec![0.0; 4]).unwrap());
        assert!(matches!(set.check(&[&network()]), Err(ParameterError::Shape { .. })));
        set.insert("out.bias", Parameter::new(vec![5], vec![0.0; 5]).unwrap());
        set.get_mut("n.running_variance").unwrap().values_mut()[7] = -1e-3;
        assert!(matches!(set.check(&[&network()]), Err(ParameterError::Negative { index: 7, .. })));
        set.get_mut("n.running_variance").unwrap().values_mut()[7] = 0.0;
        set.insert("other", Parameter::new(vec![1], vec![0.0]).unwrap());
        assert_eq!(set.check(&[&network()]), Err(ParameterError::Unexpected { name: "other".into() }));
        assert!(Parameter::new(vec![2, 2], vec![0.0; 3]).is_none());
        // A product that overflows to the number of values.
        assert!(Parameter::new(vec![1 << 32, 1 << 32], Vec::new()).is_none());
        assert!(Parameter::new(vec![usize::MAX, 0], Vec::new()).is_some());
    }
}
