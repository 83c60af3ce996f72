//! Parameters under the names of another program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::StateDictError;
use crate::network::Network;
use crate::parameters::{Parameter, ParameterSet};

/// Parameters as another program saved them, with the names of that program.
///
/// Read from a safetensors file, or from a PyTorch `state_dict` or checkpoint (`.pth`, `.pt`, in the zip format).
/// [`StateDict::parameters`] renames them for lesio's networks. The layouts of weights are those of PyTorch (see
/// [`Layer`](crate::Layer)), so only names and rows have to be mapped. Two dicts are equal if their tensors are,
/// whatever files they are from.
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
/// // A layer of the other program whose outputs alternate between mean and log-variance.
/// let theirs = StateDict::new([
///     ("head.weight", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
///     ("head.bias", vec![2], vec![5.0, 6.0]),
/// ])?;
/// let map = NameMap::new().rows("mean", "head", 0, 2).rows("log_variance", "head", 1, 2);
/// let parameters = theirs.parameters(&[&network], &map)?;
/// assert_eq!(parameters.get("log_variance.weight").map(|p| p.values()), Some(&[3.0, 4.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    tensors: BTreeMap<String, Parameter>,
    /// The types of the tensors that hold no floats.
    others: BTreeMap<String, String>,
    /// Storage and first number of tensors in a PyTorch file, where several names of one tensor share them.
    places: BTreeMap<String, (String, usize)>,
    path: Option<PathBuf>,
}

impl PartialEq for StateDict {
    fn eq(&self, other: &Self) -> bool {
        (&self.tensors, &self.others) == (&other.tensors, &other.others)
    }
}

/// The correspondence between the parameters of a network and those of another program.
///
/// Names are those of layers or of parameters: `("encoder.0", "conv1")` means that `encoder.0.weight` is `conv1.weight`
/// in the other program, and so on. Other names are equal in both. Of several entries that match, the longest applies.
/// Two entries for one name are an error of [`StateDict::parameters`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMap {
    entries: BTreeMap<String, Source>,
    /// Names with more than one entry.
    repeated: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    theirs: String,
    /// First row and distance between rows.
    rows: Option<(usize, usize)>,
}

impl StateDict {
    /// Parameters by name, with their shapes and values, row-major.
    ///
    /// # Errors
    /// [`StateDictError::Count`], [`StateDictError::NonFinite`] and, for a name that is given twice,
    /// [`StateDictError::Repeated`].
    pub fn new(
        parameters: impl IntoIterator<Item = (impl Into<String>, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self, StateDictError> {
        let mut dict = Self::default();
        for (name, shape, values) in parameters {
            dict.insert(name.into(), shape, values)?;
        }
        Ok(dict)
    }

    pub(super) fn insert(
        &mut self,
        name: String,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> Result<(), StateDictError> {
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(StateDictError::NonFinite { name, index, value });
        }
        self.check_new(&name)?;
        let found = values.len();
        match Parameter::new(shape.clone(), values) {
            Some(parameter) => {
                self.tensors.insert(name, parameter);
                Ok(())
            }
            None => Err(StateDictError::Count { name, shape, found }),
        }
    }

    /// Notes a tensor of a type that is no float.
    pub(super) fn insert_other(&mut self, name: &str, kind: &str) -> Result<(), StateDictError> {
        self.check_new(name)?;
        self.others.insert(name.to_owned(), kind.to_owned());
        Ok(())
    }

    fn check_new(&self, name: &str) -> Result<(), StateDictError> {
        if self.tensors.contains_key(name) || self.others.contains_key(name) {
            return Err(StateDictError::Repeated { what: "the parameters hold", name: name.to_owned() });
        }
        Ok(())
    }

    pub(super) fn set_place(&mut self, name: &str, storage: &str, first: usize) {
        self.places.insert(name.to_owned(), (storage.to_owned(), first));
    }

    /// Whether two names are of one tensor, which the file holds once.
    #[doc(hidden)]
    #[must_use]
    pub fn is_same(&self, a: &str, b: &str) -> bool {
        let place = |name: &str| self.places.get(name);
        place(a).is_some() && place(a) == place(b) && self.get(a) == self.get(b)
    }

    pub(super) fn set_path(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
    }

    /// The file that was read, if it was a file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The type of a tensor that holds no floats, such as `I64`. Its numbers are not kept.
    #[must_use]
    pub fn other_type(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(String::as_str)
    }

    /// The prefixes, up to a dot, that more than half of the names share: the empty one, then longer and longer ones.
    /// PyTorch's `DataParallel` puts `module.` before all names, and other programs put the name of a field.
    #[must_use]
    pub fn prefixes(&self) -> Vec<&str> {
        // Names are sorted: what more than half share, the one in the middle shares.
        let count = self.tensors.len();
        let middle = self.tensors.keys().nth(count / 2).map_or("", String::as_str);
        let is_shared =
            |prefix: &&str| 2 * self.tensors.keys().filter(|name| name.starts_with(*prefix)).count() > count;
        let longer = middle.match_indices('.').map(|(dot, _)| &middle[..=dot]);
        std::iter::once("").chain(longer.take_while(is_shared)).collect()
    }

    /// The names and shapes of the tensors of floats, in the order of the names.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, parameter)| (name.as_str(), parameter.shape()))
    }

    /// The parameter of a name, if it holds floats.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.tensors.get(name)
    }

    /// The parameters of networks, under the names of the networks. If most names of the dict share a prefix such as
    /// `module.` and more names fit without it, it is left out. Tensors without floats, such as counters, may be left
    /// over.
    ///
    /// # Errors
    /// [`StateDictError::Repeated`] for a name that is mapped twice; [`StateDictError::Names`] with all names that are
    /// missing or unexpected; [`StateDictError::Shape`], and [`StateDictError::Rows`] where rows were selected;
    /// [`StateDictError::Type`] for a tensor without floats that a network needs.
    pub fn parameters(&self, networks: &[&Network], map: &NameMap) -> Result<ParameterSet, StateDictError> {
        if let Some(name) = map.repeated.first() {
            return Err(StateDictError::Repeated { what: "the map names", name: name.clone() });
        }
        let needed: Vec<_> = networks.iter().flat_map(|network| network.parameters()).collect();
        let sources: Vec<Source> = needed.iter().map(|spec| map.source(&spec.name)).collect();
        let count = |prefix: &&str| {
            sources.iter().filter(|own| self.tensors.contains_key(&format!("{prefix}{}", own.theirs))).count()
        };
        // Of equally good ones the last, which is the shortest.
        let prefix = self.prefixes().into_iter().rev().max_by_key(count).unwrap_or_default();
        let mut used = BTreeSet::new();
        let (mut found, mut missing) = (ParameterSet::new(), Vec::new());
        let mut unlike = None;
        for (spec, Source { theirs, rows }) in needed.into_iter().zip(sources) {
            let theirs = format!("{prefix}{theirs}");
            let Some((name, parameter)) = self.tensors.get_key_value(&theirs) else {
                if let Some(found) = self.others.get(&theirs) {
                    unlike = unlike.or(Some(StateDictError::Type { name: theirs, found: found.clone() }));
                } else if !missing.contains(&theirs) {
                    missing.push(theirs);
                }
                continue;
            };
            used.insert(name);
            let taken = match rows {
                Some((first, step)) => rows_of(parameter, first, step),
                None => parameter.clone(),
            };
            if taken.shape() != spec.shape {
                let (ours, found, expected) = (spec.name, taken.shape().to_vec(), spec.shape);
                let error = match rows {
                    Some((first, step)) => {
                        let shape = parameter.shape().to_vec();
                        StateDictError::Rows { theirs, ours, shape, first, step, found, expected }
                    }
                    None => StateDictError::Shape { theirs, ours, found, expected },
                };
                unlike = unlike.or(Some(error));
                continue;
            }
            found.insert(spec.name, taken);
        }
        let is_ignored = |name: &str| {
            let short = name.strip_prefix(prefix).unwrap_or(name);
            map.ignored.contains(name) || map.ignored.contains(short)
        };
        let is_unexpected = |name: &&String| !used.contains(*name) && !is_ignored(name);
        let unexpected: Vec<String> = self.tensors.keys().filter(is_unexpected).cloned().collect();
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
    /// A map in which all names are equal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps a layer or parameter of the network to one of the other program.
    #[must_use]
    pub fn rename(self, ours: &str, theirs: &str) -> Self {
        self.entry(ours, theirs, None)
    }

    /// Maps a layer or parameter of the network to every `step`-th row (along the first axis) of one of the other
    /// program, from row `first` on.
    #[must_use]
    pub fn rows(self, ours: &str, theirs: &str, first: usize, step: usize) -> Self {
        self.entry(ours, theirs, Some((first, step.max(1))))
    }

    /// Ignores a parameter of the other program, such as a counter of batches.
    #[must_use]
    pub fn ignore(mut self, theirs: &str) -> Self {
        self.ignored.insert(theirs.to_owned());
        self
    }

    fn entry(mut self, ours: &str, theirs: &str, rows: Option<(usize, usize)>) -> Self {
        let source = Source { theirs: theirs.to_owned(), rows };
        if self.entries.insert(ours.to_owned(), source).is_some() {
            self.repeated.insert(ours.to_owned());
        }
        self
    }

    /// The name of a parameter in the other program.
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
        // Two layers may read one, which is listed once.
        let shared = NameMap::new().rows("a", "h", 0, 2).rows("a.b", "h", 1, 2).ignore("steps");
        match theirs.parameters(&[&network()], &shared) {
            Err(StateDictError::Names { missing, .. }) => assert_eq!(missing, ["h.weight", "h.bias"]),
            other => panic!("{other:?}"),
        }
        let theirs =
            dict(&[("a.weight", &[3, 2]), ("a.bias", &[2]), ("a.b.weight", &[2, 3]), ("a.b.bias", &[2])]);
        let error = theirs.parameters(&[&network()], &NameMap::new()).unwrap_err().to_string();
        assert!(error.contains("\"a.weight\" has shape [3, 2]") && error.contains("[2, 3]"), "{error}");
    }

    #[test]
    fn a_prefix_of_all_names_is_left_out() {
        let of = |prefix: &str, more: &str| {
            let own = [("a.weight", 6), ("a.bias", 2), ("a.b.weight", 6), ("a.b.bias", 2)];
            let mut all: Vec<_> = own
                .into_iter()
                .map(|(name, count)| (format!("{prefix}{name}"), vec![2, count / 2], vec![1.0; count]))
                .collect();
            all.iter_mut()
                .filter(|(name, ..)| name.ends_with("bias"))
                .for_each(|(_, shape, _)| *shape = vec![2]);
            all.push((more.to_owned(), vec![1], vec![0.0]));
            StateDict::new(all).unwrap()
        };
        let map = NameMap::new().ignore("steps");
        for (prefix, more) in [
            ("", "steps"),
            ("module.", "module.steps"),
            ("module.net.", "module.net.steps"),
            ("module.", "steps"),
        ] {
            let dict = of(prefix, more);
            assert!(dict.prefixes().contains(&prefix), "{prefix}");
            assert_eq!(dict.parameters(&[&network()], &map).unwrap().iter().count(), 4, "{prefix}");
        }
        // The ignored name may also be the whole one.
        let whole = NameMap::new().ignore("module.steps");
        assert!(of("module.", "module.steps").parameters(&[&network()], &whole).is_ok());
        match of("net.", "loss.weight").parameters(&[&network()], &map) {
            Err(StateDictError::Names { missing, unexpected }) => {
                assert_eq!((missing, unexpected), (vec![], vec!["loss.weight".to_owned()]));
            }
            other => panic!("{other:?}"),
        }
        let halves = dict(&[("one.a", &[1]), ("one.b", &[1]), ("two.a", &[1]), ("two.b", &[1])]);
        assert_eq!(halves.prefixes(), [""]);
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let bad = StateDict::new([("a", vec![2], vec![1.0, f32::NAN])]);
        assert!(matches!(bad, Err(StateDictError::NonFinite { index: 1, .. })));
        assert!(matches!(
            StateDict::new([("a", vec![3], vec![1.0])]),
            Err(StateDictError::Count { found: 1, .. })
        ));
        let twice =
            StateDict::new([("a", vec![1], vec![1.0]), ("b", vec![1], vec![2.0]), ("a", vec![1], vec![3.0])]);
        assert_eq!(twice.unwrap_err().to_string(), "the parameters hold \"a\" more than once");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(StateDict::read(path("a.bin")), Err(StateDictError::Kind { .. })));
        assert!(matches!(StateDict::read(path("a.safetensors")), Err(StateDictError::Read { .. })));
        std::fs::write(path("a.safetensors"), b"nothing of the kind").unwrap();
        assert!(matches!(StateDict::read(path("a.safetensors")), Err(StateDictError::Format { .. })));
    }

    #[test]
    fn rows_past_the_end_are_told_with_the_shape_of_all() {
        let theirs = dict(&[("h.weight", &[4, 3]), ("h.bias", &[4])]);
        for (first, rows) in [(3, 1), (4, 0), (9, 0)] {
            let map = NameMap::new().rows("a", "h", 0, 2).rows("a.b", "h", first, 2);
            let error = theirs.parameters(&[&network()], &map).unwrap_err().to_string();
            let expected = format!(
                "parameter \"h.weight\" has shape [4, 3]: its rows from {first} on in steps of 2 have shape \
                 [{rows}, 3], \"a.b.weight\" needs [2, 3]"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_name_is_mapped_once() {
        let theirs = dict(&[("h.weight", &[4, 3]), ("h.bias", &[4])]);
        let map = NameMap::new().rows("a", "h", 0, 2).rows("a.b", "h", 1, 2);
        assert!(theirs.parameters(&[&network()], &map).is_ok());
        for map in
            [map.clone().rows("a.b", "h", 0, 2), map.clone().rows("a.b", "h", 1, 2), map.rename("a.b", "h")]
        {
            let error = theirs.parameters(&[&network()], &map).unwrap_err().to_string();
            assert_eq!(error, "the map names \"a.b\" more than once");
        }
    }
}
