//! ONNX models, read from files.

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
    /// `encoder.weight`). The prefix that gives the most matches is left out; of equal ones, the shortest.
    ///
    /// # Errors
    /// For a weight of the graph that `weights` does not contain or that has another shape there.
    pub fn replace_weights(&mut self, weights: &StateDict) -> Result<BTreeSet<String>, OnnxError> {
        let theirs: BTreeMap<&str, &[usize]> = weights.names().collect();
        let own: Vec<String> = self.weights().map(str::to_owned).collect();
        let known = |prefix: &str| {
            own.iter()
                .filter(|name| name.strip_prefix(prefix).is_some_and(|n| theirs.contains_key(n)))
                .count()
        };
        // The first 64 names suffice, since a useful prefix is common to most names.
        let prefixes: BTreeSet<&str> = own
            .iter()
            .take(64)
            .flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..=dot]).chain([""]))
            .collect();
        let prefix =
            prefixes.into_iter().rev().max_by_key(|prefix| known(prefix)).unwrap_or_default().to_owned();
        // Single numbers may be constants, which are not parameters.
        let is_number = |name: &&String| self.constants.get(*name).is_some_and(|tensor| tensor.len() <= 1);
        let missing: Vec<&str> = own
            .iter()
            .filter(|name| !is_number(name))
            .map(|name| name.strip_prefix(&prefix).unwrap_or(name))
            .filter(|name| !theirs.contains_key(name))
            .collect();
        if !missing.is_empty() {
            return Err(OnnxError::Weights(format!("they do not hold {}", missing.join(", "))));
        }
        let mut used = BTreeSet::new();
        for name in &own {
            let short = name.strip_prefix(&prefix).unwrap_or(name);
            let (Some(tensor), Some(weight)) = (self.constants.get_mut(name), weights.get(short)) else {
                continue;
            };
            if tensor.dims != weight.shape() {
                return Err(OnnxError::Weights(format!(
                    "{short:?} has shape {:?}, the model needs {:?}",
                    weight.shape(),
                    tensor.dims
                )));
            }
            tensor.data = Data::Floats(weight.values().into());
            used.insert(short.to_owned());
        }
        Ok(used)
    }
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
