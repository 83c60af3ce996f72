//! Weights that other programs trained, under other names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::network::Network;
use crate::parameters::{Parameter, ParameterSet};
use crate::storage;

/// Parameters as another program saved them: by its own names, in its own order of files.
///
/// Read from a safetensors file, or with the feature `candle` from a PyTorch `state_dict` (`.pth`, `.pt`, in the zip format).
/// [`StateDict::parameters`] gives them the names of lesio's networks. The layouts of weights are PyTorch's (see
/// [`Layer`](crate::Layer)), so only names and rows have to be mapped.
///
/// ```
/// use lesio_nn::{Bias, Layer, NameMap, NetworkBuilder, Shape, StateDict};
///
/// let mut net = NetworkBuilder::new();
/// let input = net.input("features", Shape::vector(2));
/// let linear = Layer::Linear { features: 1, bias: Bias::Learned };
/// let mean = net.layer("mean", linear.clone(), &[input])?;
/// let log_variance = net.layer("log_variance", linear, &[input])?;
/// let network = net.finish(&[mean, log_variance])?;
///
/// // A layer elsewhere whose outputs alternate between mean and log-variance.
/// let theirs = StateDict::new([
///     ("head.weight", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
///     ("head.bias", vec![2], vec![5.0, 6.0]),
/// ])?;
/// let map = NameMap::new().rows("mean", "head", 0, 2).rows("log_variance", "head", 1, 2);
/// let parameters = theirs.parameters(&[&network], &map)?;
/// assert_eq!(parameters.get("log_variance.weight").map(|p| p.values()), Some(&[3.0, 4.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: BTreeMap<String, Parameter>,
}

/// Which of another program's parameters is which of a network's.
///
/// Names are those of layers or of parameters: `("encoder.0", "conv1")` says that `encoder.0.weight` is `conv1.weight` there,
/// and so on. What is not named has the same name. Of several entries that fit, the longest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMap {
    entries: BTreeMap<String, Source>,
    ignored: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    theirs: String,
    /// First row and distance between rows.
    rows: Option<(usize, usize)>,
}

/// Why weights of another program cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is no safetensors file, or a damaged one.
    #[error("{path:?} is no safetensors file, or a damaged one")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: SafeTensorError,
    },
    /// It is no PyTorch file in the zip format, or a damaged one.
    #[cfg(feature = "candle")]
    #[error("{path:?} is no PyTorch file in the zip format, or a damaged one")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: candle_core::Error,
    },
    /// A kind of file that this build does not read.
    #[error("{path:?}: expected .safetensors{}", pytorch())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A parameter of numbers that are no floats.
    #[error("parameter {name:?} holds {found}, expected floats of 16 (bfloat16), 32 or 64 bits")]
    Type {
        /// The parameter.
        name: String,
        /// What it holds.
        found: String,
    },
    /// A number that is not finite.
    #[error("parameter {name:?} holds {value} at {index}")]
    NonFinite {
        /// The parameter.
        name: String,
        /// Where, row-major.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Another number of values than the shape says.
    #[error("parameter {name:?} of shape {shape:?} holds {found} values")]
    Count {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its values.
        found: usize,
    },
    /// Names that do not fit.
    #[error("the names do not fit: missing {}; unexpected {}", listed(.missing), listed(.unexpected))]
    Names {
        /// Names that the networks need, as the map says they are called there, and that are not there.
        missing: Vec<String>,
        /// Names that are there and that nothing needs.
        unexpected: Vec<String>,
    },
    /// A parameter of another shape.
    #[error("parameter {theirs:?} has shape {found:?}, {ours:?} needs {expected:?}")]
    Shape {
        /// Its name there.
        theirs: String,
        /// Its name here.
        ours: String,
        /// Its shape, of the rows taken.
        found: Vec<usize>,
        /// The shape needed.
        expected: Vec<usize>,
    },
}

fn pytorch() -> &'static str {
    if cfg!(feature = "candle") { ", .pth or .pt" } else { " (.pth and .pt need the feature candle)" }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Most bytes of a file: weights of a billion parameters.
const LIMIT: u64 = 4 << 30;

impl StateDict {
    /// Parameters by name, with their shapes and values, row-major.
    ///
    /// # Errors
    /// [`StateDictError::Count`] and [`StateDictError::NonFinite`].
    pub fn new(
        parameters: impl IntoIterator<Item = (impl Into<String>, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self, StateDictError> {
        let mut dict = Self::default();
        for (name, shape, values) in parameters {
            dict.insert(name.into(), shape, values)?;
        }
        Ok(dict)
    }

    /// Reads a file, by the ending of its name: `.safetensors`, or with the feature `candle` `.pth` and `.pt`.
    ///
    /// A file of more than 4 GiB is refused. Floats of 64 bits are rounded to 32.
    ///
    /// # Errors
    /// A file that cannot be read, of another kind or damaged; parameters that are no floats or not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StateDictError> {
        let path = path.as_ref();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => Self::read_safetensors(path),
            #[cfg(feature = "candle")]
            Some("pth" | "pt") => {
                // Opened first: what is no regular file, or too large, goes to no other reader.
                storage::open(path, LIMIT)
                    .map_err(|source| StateDictError::Read { path: path.to_owned(), source })?;
                crate::candle::read_pickle(path)
            }
            _ => Err(StateDictError::Kind { path: path.to_owned() }),
        }
    }

    fn read_safetensors(path: &Path) -> Result<Self, StateDictError> {
        let read = |source| StateDictError::Read { path: path.to_owned(), source };
        let (mut file, length) = storage::open(path, LIMIT).map_err(read)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(read)?;
        let format = |source| StateDictError::Format { path: path.to_owned(), source };
        let mut dict = Self::default();
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(format)?.tensors() {
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => numbers(view.data(), f32::from_le_bytes),
                Dtype::F64 => numbers(view.data(), |bytes| f64::from_le_bytes(bytes) as f32),
                Dtype::BF16 => {
                    numbers(view.data(), |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
                }
                other => return Err(StateDictError::Type { name, found: format!("{other:?}") }),
            };
            dict.insert(name, view.shape().to_vec(), values)?;
        }
        Ok(dict)
    }

    pub(crate) fn insert(
        &mut self,
        name: String,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> Result<(), StateDictError> {
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(StateDictError::NonFinite { name, index, value });
        }
        let found = values.len();
        match Parameter::new(shape.clone(), values) {
            Some(parameter) => {
                self.tensors.insert(name, parameter);
                Ok(())
            }
            None => Err(StateDictError::Count { name, shape, found }),
        }
    }

    /// The names and shapes, in the order of the names.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, parameter)| (name.as_str(), parameter.shape()))
    }

    /// The parameters of networks, under their names here.
    ///
    /// # Errors
    /// [`StateDictError::Names`] with all names that are missing or unexpected; [`StateDictError::Shape`].
    pub fn parameters(&self, networks: &[&Network], map: &NameMap) -> Result<ParameterSet, StateDictError> {
        let mut used: BTreeSet<&str> = map.ignored.iter().map(String::as_str).collect();
        let (mut found, mut missing) = (ParameterSet::new(), Vec::new());
        let mut unlike = None;
        for spec in networks.iter().flat_map(|network| network.parameters()) {
            let Source { theirs, rows } = map.source(&spec.name);
            let Some((name, parameter)) = self.tensors.get_key_value(&theirs) else {
                missing.push(theirs);
                continue;
            };
            used.insert(name);
            let taken = match rows {
                Some((first, step)) => rows_of(parameter, first, step),
                None => parameter.clone(),
            };
            if taken.shape() != spec.shape {
                let (found, expected) = (taken.shape().to_vec(), spec.shape);
                unlike = unlike.or(Some(StateDictError::Shape { theirs, ours: spec.name, found, expected }));
                continue;
            }
            found.insert(spec.name, taken);
        }
        let unexpected: Vec<String> =
            self.tensors.keys().filter(|name| !used.contains(name.as_str())).cloned().collect();
        if !(missing.is_empty() && unexpected.is_empty()) {
            return Err(StateDictError::Names { missing, unexpected });
        }
        match unlike {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }
}

impl NameMap {
    /// Names are the same.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer or parameter here is this one there.
    #[must_use]
    pub fn rename(self, ours: &str, theirs: &str) -> Self {
        self.entry(ours, theirs, None)
    }

    /// A layer or parameter here is every `step`-th row (along the first axis) of this one there, from `first` on.
    #[must_use]
    pub fn rows(self, ours: &str, theirs: &str, first: usize, step: usize) -> Self {
        self.entry(ours, theirs, Some((first, step.max(1))))
    }

    /// A parameter there that nothing here needs, such as a counter of batches.
    #[must_use]
    pub fn ignore(mut self, theirs: &str) -> Self {
        self.ignored.insert(theirs.to_owned());
        self
    }

    fn entry(mut self, ours: &str, theirs: &str, rows: Option<(usize, usize)>) -> Self {
        self.entries.insert(ours.to_owned(), Source { theirs: theirs.to_owned(), rows });
        self
    }

    /// What a parameter here is there.
    fn source(&self, ours: &str) -> Source {
        let fits = |layer: &str| {
            let rest = ours.strip_prefix(layer)?;
            (rest.is_empty() || rest.starts_with('.')).then_some(rest)
        };
        let found =
            self.entries.iter().filter_map(|(layer, source)| Some((layer.len(), fits(layer)?, source)));
        match found.max_by_key(|(length, ..)| *length) {
            Some((_, rest, source)) => {
                Source { theirs: format!("{}{rest}", source.theirs), rows: source.rows }
            }
            None => Source { theirs: ours.to_owned(), rows: None },
        }
    }
}

/// Every `step`-th row of a parameter along its first axis, from `first` on.
fn rows_of(parameter: &Parameter, first: usize, step: usize) -> Parameter {
    let Some((&rows, rest)) = parameter.shape().split_first() else { return parameter.clone() };
    let size = rest.iter().product::<usize>();
    let chosen = (first..rows).step_by(step);
    let shape: Vec<usize> = std::iter::once(chosen.len()).chain(rest.iter().copied()).collect();
    let values = chosen.flat_map(|row| &parameter.values()[row * size..(row + 1) * size]).copied().collect();
    Parameter::new(shape, values).unwrap_or_else(|| parameter.clone())
}

fn numbers<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bias, Layer, NetworkBuilder, Shape};

    fn network() -> Network {
        let mut net = NetworkBuilder::new();
        let input = net.input("x", Shape::vector(3));
        let linear = Layer::Linear { features: 2, bias: Bias::Learned };
        let a = net.layer("a", linear.clone(), &[input]).unwrap();
        let b = net.layer("a.b", linear, &[input]).unwrap();
        net.finish(&[a, b]).unwrap()
    }

    fn dict(names: &[(&str, &[usize])]) -> StateDict {
        StateDict::new(names.iter().map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            (*name, shape.to_vec(), (0..count).map(|k| k as f32).collect())
        }))
        .unwrap()
    }

    #[test]
    fn layers_are_renamed_by_the_longest_entry() {
        let theirs =
            dict(&[("one.weight", &[2, 3]), ("one.bias", &[2]), ("two.w", &[2, 3]), ("two.bias", &[2])]);
        let map = NameMap::new().rename("a", "one").rename("a.b", "two").rename("a.b.weight", "two.w");
        let found = theirs.parameters(&[&network()], &map).unwrap();
        assert_eq!(found.get("a.b.weight").unwrap().values(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(found.iter().count(), 4);
    }

    #[test]
    fn all_names_that_do_not_fit_are_listed() {
        let theirs = dict(&[("a.weight", &[2, 3]), ("steps", &[1]), ("c.bias", &[2])]);
        match theirs.parameters(&[&network()], &NameMap::new().ignore("steps")) {
            Err(StateDictError::Names { missing, unexpected }) => {
                assert_eq!(missing, ["a.bias", "a.b.weight", "a.b.bias"]);
                assert_eq!(unexpected, ["c.bias"]);
            }
            other => panic!("{other:?}"),
        }
        let theirs =
            dict(&[("a.weight", &[3, 2]), ("a.bias", &[2]), ("a.b.weight", &[2, 3]), ("a.b.bias", &[2])]);
        let error = theirs.parameters(&[&network()], &NameMap::new()).unwrap_err().to_string();
        assert!(error.contains("\"a.weight\" has shape [3, 2]") && error.contains("[2, 3]"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let bad = StateDict::new([("a", vec![2], vec![1.0, f32::NAN])]);
        assert!(matches!(bad, Err(StateDictError::NonFinite { index: 1, .. })));
        assert!(matches!(
            StateDict::new([("a", vec![3], vec![1.0])]),
            Err(StateDictError::Count { found: 1, .. })
        ));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(StateDict::read(path("a.bin")), Err(StateDictError::Kind { .. })));
        assert!(matches!(StateDict::read(path("a.safetensors")), Err(StateDictError::Read { .. })));
        std::fs::write(path("a.safetensors"), b"nothing of the kind").unwrap();
        assert!(matches!(StateDict::read(path("a.safetensors")), Err(StateDictError::Format { .. })));
    }

    #[test]
    fn rows_past_the_end_leave_another_shape() {
        let theirs = dict(&[("h.weight", &[4, 3]), ("h.bias", &[4])]);
        let map = NameMap::new().rows("a", "h", 0, 2).rows("a.b", "h", 3, 2);
        assert!(matches!(theirs.parameters(&[&network()], &map), Err(StateDictError::Shape { .. })));
    }
}
