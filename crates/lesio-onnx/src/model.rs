//! ONNX models, read from files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use lesio_nn::StateDict;
use prost::Message;

use crate::census;
use crate::error::{NodeName, OnnxError};
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type,
};
use crate::tensor::{Data, Tensor};

/// The maximum size, in bytes, of a model file and of a file of weights: 1 GiB, as for the parameters of a network.
pub const LARGEST_FILE: u64 = 1 << 30;

/// Why weights may be missing or left over although both files are of one model.
pub(crate) const FOLDED: &str = "If the exporter folded layers, export with do_constant_folding=False (with \
                                 dynamo=True: optimize=False). If it merged equal weights: export the trained model \
                                 itself";

/// What PyTorch puts before all names of a wrapped model: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// An ONNX model: its graph and its weights, decoded and checked, but not converted.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: BTreeMap<String, Tensor>,
    pub(crate) inputs: Vec<Input>,
    outputs: Vec<String>,
    metadata: BTreeMap<String, String>,
    producer: String,
    fingerprint: String,
}

/// An operation of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) attributes: BTreeMap<String, AttributeProto>,
    /// Whether the operator is defined by ONNX itself.
    pub(crate) is_standard: bool,
}

/// An input of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// Lengths of the axes, the batch first; `None` if a length is not stated.
    pub(crate) dims: Option<Vec<Option<usize>>>,
    pub(crate) element: i32,
}

impl OnnxModel {
    /// Reads a model. Weights in other files are read only from the model's folder.
    ///
    /// # Errors
    /// For files that cannot be read, are larger than [`LARGEST_FILE`] bytes or are damaged; for tensors whose values
    /// do not fill their shape; and for names that are defined twice.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OnnxError> {
        let path = path.as_ref();
        let bytes = read_file(path)?;
        let mut external = External { folder: path.parent().map(Path::to_owned), files: BTreeMap::new() };
        Self::decode(&bytes, &mut external)
    }

    /// Decodes a model from the bytes of a file.
    ///
    /// # Errors
    /// The errors of [`OnnxModel::read`]; also for weights in other files.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OnnxError> {
        Self::decode(bytes, &mut External { folder: None, files: BTreeMap::new() })
    }

    fn decode(bytes: &[u8], external: &mut External) -> Result<Self, OnnxError> {
        census::check(bytes)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(bytes);
        let model = ModelProto::decode(bytes)?;
        let opsets: BTreeMap<String, i64> =
            model.opset_import.iter().map(|set| (own_domain(&set.domain), set.version)).collect();
        let graph = model.graph.ok_or_else(|| OnnxError::Model("has no graph".to_owned()))?;
        let metadata = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let producer = format!("{} {}", model.producer_name, model.producer_version).trim().to_owned();
        let GraphProto { node, initializer, input, output, .. } = graph;
        let nodes: Vec<Node> = node.into_iter().map(|node| Node::new(node, &opsets)).collect();
        let mut names = BTreeSet::new();
        let mut defined = |name: &str| match name.is_empty() || names.insert(name.to_owned()) {
            true => Ok(()),
            false => Err(OnnxError::Model(format!("defines {name:?} twice"))),
        };
        let mut constants = BTreeMap::new();
        for tensor in initializer {
            defined(&tensor.name)?;
            let value = external.tensor(&tensor)?;
            constants.insert(tensor.name, value);
        }
        let mut inputs = Vec::new();
        for input in input {
            // Up to version 3 of the format, the inputs include the initializers.
            if !constants.contains_key(&input.name) {
                defined(&input.name)?;
                inputs.push(Input::new(input)?);
            }
        }
        for name in nodes.iter().flat_map(|node| &node.outputs) {
            defined(name)?;
        }
        let outputs = output.into_iter().map(|output| output.name).collect();
        let mut length = bytes.len();
        for file in external.files.values() {
            checksum.update(file);
            length += file.len();
        }
        let fingerprint = format!("{length} bytes, crc32 {:08x}", checksum.finalize());
        Ok(Self { nodes, constants, inputs, outputs, metadata, producer, fingerprint })
    }

    /// Names of the inputs, without the weights.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Names of the outputs.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Metadata of the file (`metadata_props`), by key.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The program that wrote the model, with its version; empty if the file does not state it.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// Total length and checksum of the file and of the files of weights beside it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Names of the weights, which are initializers of floats, in alphabetical order.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        let floats = self.constants.iter().filter(|(_, tensor)| tensor.as_floats().is_some());
        floats.map(|(name, _)| name.as_str())
    }

    /// Replaces weights by those of another file, such as a `state_dict`. Returns the names of the `weights` it used.
    ///
    /// Weights are matched by name. Exporters may add a prefix to all names of the graph (`model.encoder.weight` for
    /// `encoder.weight`), and other programs one to the names of `weights` (`net.encoder.weight`). The prefix that
    /// gives the most matches is left out; of equal ones, the shortest. Prefixes of both are left out only if that of
    /// `weights` is `module.` or `_orig_mod.`, which PyTorch writes: otherwise the weights of an encoder might fit a
    /// decoder. Constants without axes and the scales of a resize are no weights: they are kept if `weights` does not
    /// contain them.
    ///
    /// Exporters write a weight of several names once. Tensors of `weights` that equal a used one count as used if
    /// several nodes read the weight, or if a PyTorch file holds both as one tensor.
    ///
    /// # Errors
    /// For a weight of the graph that `weights` does not contain or that has another shape there, and for one of
    /// `weights` that fits two of the graph. The model is then unchanged.
    pub fn replace_weights(&mut self, weights: &StateDict) -> Result<BTreeSet<String>, OnnxError> {
        Ok(self.replaced_by(weights)?.0)
    }

    /// [`OnnxModel::replace_weights`], with the prefixes that were left out, as a decision.
    pub(crate) fn replaced_by(
        &mut self,
        weights: &StateDict,
    ) -> Result<(BTreeSet<String>, Option<String>), OnnxError> {
        let own: Vec<String> = self.weights().map(str::to_owned).collect();
        let [ours, prefix] = prefixes(&own, weights);
        let file = weights.path().map_or_else(|| "the other file".to_owned(), |path| format!("{path:?}"));
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in own {
            let Some(tensor) = self.constants.get(&name) else { continue };
            let readers = self.nodes.iter().filter(|node| node.inputs.contains(&name));
            let theirs = format!("{prefix}{}", name.strip_prefix(&ours).unwrap_or(&name));
            let Some(weight) = weights.get(&theirs) else {
                if let Some(kind) = weights.other_type(&theirs) {
                    return Err(OnnxError::Weights(format!("{theirs:?} of {file} holds {kind}, not floats")));
                }
                let mut operators = readers.map(|node| node.name.operator.as_str());
                let is_setting = operators.all(|operator| matches!(operator, "Resize" | "Upsample"));
                if !(tensor.dims.is_empty() || is_setting) {
                    missing.push(theirs);
                }
                continue;
            };
            if tensor.dims != weight.shape() {
                return Err(OnnxError::Weights(format!(
                    "{theirs:?} of {file} has shape {:?}, the model needs {:?}",
                    weight.shape(),
                    tensor.dims
                )));
            }
            let readers = readers.count();
            found.push((name, theirs, weight, readers));
        }
        let mut used = BTreeMap::new();
        for (name, theirs, _, readers) in &found {
            if let Some((other, _)) = used.insert(theirs.as_str(), (name, *readers)) {
                let reason = format!("{theirs:?} of {file} fits both {other:?} and {name:?} of the model");
                return Err(OnnxError::Weights(reason));
            }
        }
        let names = || weights.names().map(|(name, _)| name);
        if !missing.is_empty() {
            let others: Vec<&str> = names().filter(|name| !used.contains_key(name)).collect();
            let others = match others[..] {
                [] => String::new(),
                _ => format!(", and the model does not use its {}", some_of(&others)),
            };
            let missing = missing.join(", ");
            return Err(OnnxError::Weights(format!("{file} does not hold {missing}{others}. {FOLDED}")));
        }
        let is_tied = |name: &str| {
            used.iter().any(|(other, (_, readers))| {
                weights.is_same(other, name) || (*readers > 1 && weights.get(other) == weights.get(name))
            })
        };
        let is_used = |name: &&str| used.contains_key(name) || is_tied(name);
        let all = names().filter(is_used).map(str::to_owned).collect();
        let left_out = [(&ours, "the model"), (&prefix, "the other file")];
        let left_out = left_out.into_iter().filter(|(prefix, _)| !prefix.is_empty());
        let left_out: Vec<String> = left_out.map(|(prefix, of)| format!("{prefix:?} in {of}")).collect();
        let decision = format!("the names of weights are matched without {}", left_out.join(" and "));
        for (name, _, weight, _) in found {
            if let Some(tensor) = self.constants.get_mut(&name) {
                tensor.data = Data::Floats(weight.values().into());
            }
        }
        Ok((all, (!left_out.is_empty()).then_some(decision)))
    }
}

/// The prefixes, of the weights of a graph and of those of another program, without which the most names are equal.
/// Without both, names of different parts of a model may be equal.
fn prefixes(own: &[String], weights: &StateDict) -> [String; 2] {
    // The first 64 names suffice, since a useful prefix is common to most names.
    let ours: BTreeSet<&str> = own
        .iter()
        .take(64)
        .flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..=dot]))
        .chain([""])
        .collect();
    let pairs =
        weights.prefixes().into_iter().flat_map(|theirs| ours.iter().map(move |ours| [*ours, theirs]));
    let pairs = pairs.filter(|[ours, theirs]| ours.is_empty() || is_wrapper(theirs));
    let best = pairs.max_by_key(|[ours, theirs]| {
        let short = own.iter().filter_map(|name| name.strip_prefix(ours));
        let known = short.filter(|name| weights.get(&format!("{theirs}{name}")).is_some()).count();
        (known, Reverse(ours.len() + theirs.len()))
    });
    best.unwrap_or_default().map(str::to_owned)
}

/// Whether a prefix, which may be empty, says nothing about the part of a model.
fn is_wrapper(prefix: &str) -> bool {
    prefix.split_inclusive('.').all(|part| WRAPPERS.contains(&part))
}

/// The first names, and the number of the others.
fn some_of(names: &[&str]) -> String {
    let told = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{told} and {} more", names.len() - 5) } else { told }
}

impl Node {
    fn new(node: NodeProto, opsets: &BTreeMap<String, i64>) -> Self {
        let domain = own_domain(&node.domain);
        let opset = opsets.get(&domain).copied().unwrap_or(0);
        let is_standard = domain.is_empty();
        let operator = if is_standard { node.op_type } else { format!("{domain}.{}", node.op_type) };
        let name =
            if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name };
        let attributes =
            node.attribute.into_iter().map(|attribute| (attribute.name.clone(), attribute)).collect();
        let name = NodeName { operator, opset, name };
        Self { name, inputs: node.input, outputs: node.output, attributes, is_standard }
    }
}

/// The empty domain for ONNX's own operators, whose domain may also be written as `ai.onnx`.
fn own_domain(domain: &str) -> String {
    if domain == "ai.onnx" { String::new() } else { domain.to_owned() }
}

impl Input {
    fn new(info: ValueInfoProto) -> Result<Self, OnnxError> {
        let tensor = info.kind.and_then(|kind| kind.tensor);
        let element = tensor.as_ref().map_or(data_type::FLOAT, |tensor| tensor.element);
        let mut dims = None;
        if let Some(shape) = tensor.and_then(|tensor| tensor.shape) {
            let mut lengths = Vec::with_capacity(shape.dim.len());
            for dimension in shape.dim {
                lengths.push(match dimension.value {
                    None => None,
                    // Some exporters write 0 or -1 for an unknown length.
                    Some(-1 | 0) => None,
                    Some(length) => Some(usize::try_from(length).map_err(|_| OnnxError::Tensor {
                        name: info.name.clone(),
                        reason: format!("has an axis of length {length}"),
                    })?),
                });
            }
            dims = Some(lengths);
        }
        Ok(Self { name: info.name, dims, element })
    }
}

/// Files of weights beside a model.
struct External {
    folder: Option<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl External {
    /// A tensor, whose values are read from another file if the model refers to one.
    fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor, OnnxError> {
        let wrong = |reason: String| OnnxError::Tensor { name: proto.name.clone(), reason };
        let tensor = if proto.data_location == 1 {
            let entry =
                |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
            let location =
                entry("location").ok_or_else(|| wrong("does not say in which file it is".to_owned()))?;
            let number = |key: &str| match entry(key).map(str::parse::<usize>) {
                None => Ok(None),
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) => Err(wrong(format!("has no number as {key}"))),
            };
            let first = number("offset")?.unwrap_or(0);
            let length = number("length")?;
            let bytes = self.file(location).map_err(|error| match error {
                OnnxError::Model(reason) => wrong(reason),
                other => other,
            })?;
            let end = length.map_or(Some(bytes.len()), |length| first.checked_add(length));
            let own = end.and_then(|end| bytes.get(first..end));
            let own = own.ok_or_else(|| {
                wrong(format!("lies outside of {location:?}, which holds {} bytes", bytes.len()))
            })?;
            Tensor::from_proto(proto, Some(own))?
        } else {
            Tensor::from_proto(proto, None)?
        };
        check_finite(&proto.name, &tensor)?;
        Ok(tensor)
    }

    fn file(&mut self, location: &str) -> Result<&[u8], OnnxError> {
        let Some(folder) = &self.folder else {
            return Err(OnnxError::Model(format!("is kept in another file, {location:?}")));
        };
        let relative = Path::new(location);
        // The path must be below the folder: no `..`, no root, no drive.
        if location.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(OnnxError::Model(format!("is kept outside of the model's folder, in {location:?}")));
        }
        let path = folder.join(relative);
        // The path must not be a link that leads out of the folder.
        let inside = |path: &Path| {
            path.canonicalize().map_err(|source| OnnxError::Read { path: path.to_owned(), source })
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
        if !inside(&path)?.starts_with(inside(folder)?) {
            return Err(OnnxError::Model(format!("is kept outside of the model's folder, in {location:?}")));
        }
        if !self.files.contains_key(&path) {
            let bytes = read_file(&path)?;
            self.files.insert(path.clone(), bytes);
        }
        Ok(self.files.get(&path).map_or(&[], Vec::as_slice))
    }
}

/// Checks that weights are finite. Constants of nodes may be infinite, such as the limits of a clamp.
fn check_finite(name: &str, tensor: &Tensor) -> Result<(), OnnxError> {
    let values = tensor.as_floats().unwrap_or_default();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) if values.len() > 1 => {
            let reason = format!("holds {} at index {index}", values[index]);
            Err(OnnxError::Tensor { name: name.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, OnnxError> {
    let failed = |source| OnnxError::Read { path: path.to_owned(), source };
    let (mut file, length) = lesio_files::open(path, LARGEST_FILE).map_err(failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.by_ref().take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl Node {
    pub(crate) fn attribute(&self, name: &str, kind: i32) -> Option<&AttributeProto> {
        // Writers older than version 3 of the format do not state the kind.
        self.attributes.get(name).filter(|attribute| attribute.kind == kind || attribute.kind == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{bytes, floats, node};

    /// Two convolutions with one weight, a bias of one number, and constants that are no weights.
    fn model() -> OnnxModel {
        let nodes = vec![
            node("Conv", &["x", "net.a.weight", "net.a.bias"], "a"),
            node("Conv", &["a", "net.a.weight", "net.out.bias"], "b"),
            node("Mul", &["b", "half"], "c"),
            node("Resize", &["c", "", "scales"], "y"),
        ];
        let weights = vec![
            floats("net.a.weight", &[1, 1, 1, 2], &[1.0, 2.0]),
            floats("net.a.bias", &[1], &[3.0]),
            floats("net.out.bias", &[1], &[4.0]),
            floats("half", &[], &[0.5]),
            floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]),
        ];
        OnnxModel::from_bytes(&bytes(&[1, 1, 8, 8], nodes, weights)).unwrap()
    }

    fn dict(names: &[(&str, &[f32])]) -> StateDict {
        StateDict::new(names.iter().map(|(name, values)| {
            let shape = if name.ends_with("bias") { vec![values.len()] } else { vec![1, 1, 1, values.len()] };
            (*name, shape, values.to_vec())
        }))
        .unwrap()
    }

    #[test]
    fn weights_are_replaced_and_constants_kept() {
        for prefix in ["", "net.", "module.", "module.net.", "_orig_mod.module."] {
            let names = ["a.weight", "a.bias", "out.bias"].map(|name| format!("{prefix}{name}"));
            let values: [&[f32]; 3] = [&[5.0, 6.0], &[7.0], &[8.0]];
            let mut model = model();
            let given: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
            let used = model.replace_weights(&dict(&given)).unwrap();
            assert_eq!(used, names.into_iter().collect());
            let values = |name: &str| model.constants[name].as_floats().unwrap().to_vec();
            assert_eq!(
                (values("net.a.weight"), values("net.out.bias")),
                (vec![5.0, 6.0], vec![8.0]),
                "{prefix}"
            );
            assert_eq!((values("half"), values("scales").len()), (vec![0.5], 4));
        }
    }

    /// A bias of one number is a weight: its old value is not that of the trained model.
    #[test]
    fn missing_weights_are_errors() {
        let mut model = model();
        let theirs = dict(&[("a.weight", &[5.0, 6.0]), ("a.bias", &[7.0]), ("last.bias", &[8.0])]);
        let error = model.replace_weights(&theirs).unwrap_err().to_string();
        assert!(
            error.contains("the other file does not hold out.bias, and the model does not use its last"),
            "{error}"
        );
        assert!(error.contains("do_constant_folding=False"), "{error}");
        let wrong = dict(&[("a.weight", &[5.0, 6.0]), ("a.bias", &[7.0, 1.0]), ("out.bias", &[8.0])]);
        let error = model.replace_weights(&wrong).unwrap_err().to_string();
        assert!(error.contains("\"a.bias\" of the other file has shape [2], the model needs [1]"), "{error}");
        assert_eq!(model.constants["net.a.weight"].as_floats(), Some(&[1.0, 2.0][..]));
    }

    /// Both files hold the same names behind their prefixes, such as those of an encoder and of a decoder.
    #[test]
    fn weights_of_another_part_do_not_fit() {
        let mut model = model();
        let values: [&[f32]; 3] = [&[5.0, 6.0], &[7.0], &[8.0]];
        let other: Vec<_> =
            ["other.a.weight", "other.a.bias", "other.out.bias"].into_iter().zip(values).collect();
        let error = model.replace_weights(&dict(&other)).unwrap_err().to_string();
        assert!(error.contains("does not hold net.a.bias"), "{error}");
        let short: Vec<_> = ["a.weight", "a.bias", "out.bias"].into_iter().zip(values).collect();
        let (_, decision) = model.replaced_by(&dict(&short)).unwrap();
        let expected = "the names of weights are matched without \"net.\" in the model";
        assert_eq!(decision.as_deref(), Some(expected));
        // Without its prefix, a name of the inner network is that of an outer layer.
        let nodes = vec![
            node("Conv", &["x", "net.a.weight", "net.a.bias"], "a"),
            node("Conv", &["a", "net.a.weight", "net.out.bias"], "b"),
            node("Conv", &["b", "net.a.weight", "out.bias"], "y"),
        ];
        let weights = vec![
            floats("net.a.weight", &[1, 1, 1, 2], &[1.0, 2.0]),
            floats("net.a.bias", &[1], &[3.0]),
            floats("net.out.bias", &[1], &[4.0]),
            floats("out.bias", &[1], &[5.0]),
        ];
        let mut model = OnnxModel::from_bytes(&bytes(&[1, 1, 8, 8], nodes, weights)).unwrap();
        let error = model.replace_weights(&dict(&short)).unwrap_err().to_string();
        let expected =
            "\"out.bias\" of the other file fits both \"net.out.bias\" and \"out.bias\" of the model";
        assert!(error.contains(expected), "{error}");
        assert_eq!(model.constants["out.bias"].as_floats(), Some(&[5.0][..]));
    }

    #[test]
    fn weights_with_several_names_are_used() {
        let own: [(&str, &[f32]); 3] = [("a.weight", &[5.0, 6.0]), ("a.bias", &[7.0]), ("out.bias", &[8.0])];
        let used = |more: &[(&str, &[f32])]| {
            let used = model().replace_weights(&dict(&[&own, more].concat())).unwrap();
            used.into_iter().filter(|name| own.iter().all(|(own, _)| own != name)).collect::<Vec<_>>()
        };
        assert_eq!(used(&[("b.weight", &[5.0, 6.0]), ("c.weight", &[5.0, 7.0])]), ["b.weight"]);
        // One node reads the bias: an equal one, such as that of a copied block, says nothing.
        assert!(used(&[("b.bias", &[7.0])]).is_empty());
        let even: [(&str, &[f32]); 4] =
            [("a.weight", &[1.0, 1.0]), ("a.bias", &[7.0]), ("out.bias", &[8.0]), ("b.weight", &[1.0, 1.0])];
        assert!(model().replace_weights(&dict(&even)).unwrap().contains("b.weight"));
    }
}
