//! Networks as documents: how they stand in files.

use lesio_kernels::Precision;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::builder::NetworkBuilder;
use super::graph::{Network, Node, NodeId, Operation};
use crate::layer::Layer;
use crate::shape::Shape;

/// A network as it is written; it is declared again, with every check, when it is read.
#[derive(Serialize, Deserialize)]
struct Document {
    nodes: Vec<NodeDocument>,
    /// Places of the outputs among the nodes.
    outputs: Vec<usize>,
    #[serde(default)]
    precision: Precision,
}

/// Either an input or a layer. It is no flattened enum, which would hide unknown settings from the reader.
#[derive(Serialize, Deserialize)]
struct NodeDocument {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Shape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<LayerDocument>,
}

#[derive(Serialize, Deserialize)]
struct LayerDocument {
    of: Layer,
    /// Places of the nodes that it reads.
    reads: Vec<usize>,
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer)?.declared()
    }
}

impl From<&Network> for Document {
    fn from(network: &Network) -> Self {
        let place = |ids: &[NodeId]| ids.iter().map(|id| id.index()).collect();
        let node = |node: &Node| {
            let (input, layer) = match node.operation() {
                Operation::Input => (Some(node.shape()), None),
                Operation::Layer { layer, inputs } => {
                    (None, Some(LayerDocument { of: layer.clone(), reads: place(inputs) }))
                }
            };
            NodeDocument { name: node.name().to_owned(), input, layer }
        };
        Self {
            nodes: network.nodes().iter().map(node).collect(),
            outputs: place(network.outputs()),
            precision: network.precision(),
        }
    }
}

impl Document {
    fn declared<E: de::Error>(self) -> Result<Network, E> {
        let ids = |places: Vec<usize>| places.into_iter().map(NodeId).collect::<Vec<_>>();
        let mut builder = NetworkBuilder::new();
        for NodeDocument { name, input, layer } in self.nodes {
            match (input, layer) {
                (Some(shape), None) => {
                    builder.input(name, shape);
                }
                (None, Some(LayerDocument { of, reads })) => {
                    builder.layer(name, of, &ids(reads)).map_err(E::custom)?;
                }
                _ => return Err(E::custom(format_args!("node {name:?} is not one of an input and a layer"))),
            }
        }
        Ok(builder.finish(&ids(self.outputs)).map_err(E::custom)?.with_precision(self.precision))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Activation, Convolution};

    fn network() -> Network {
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 8, 8));
        let a = net.layer("a", Layer::Convolution(Convolution::new(2, 3).padding(1)), &[image]).unwrap();
        let b = net.layer("b", Layer::Activation(Activation::LeakyRelu { slope: 0.1 }), &[a]).unwrap();
        let c = net.layer("c", Layer::Concatenate, &[b, image]).unwrap();
        let d = net.layer("d", Layer::GroupNormalization { groups: 3, epsilon: 1e-5 }, &[c]).unwrap();
        net.finish(&[d, a]).unwrap()
    }

    #[test]
    fn a_document_gives_the_network_back() {
        let text = serde_json::to_string(&network()).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), network(), "{text}");
    }

    #[test]
    fn documents_are_checked_as_declarations_are() {
        let whole = serde_json::to_value(network()).unwrap();
        for (path, value) in [
            ("/nodes/1/layer/reads/0", 1),
            ("/nodes/1/layer/reads/0", 4_000_000_000u64),
            ("/nodes/1/layer/of/convolution/kernel", 99),
            ("/nodes/1/layer/of/convolution/channels", u64::MAX),
            ("/nodes/4/layer/of/group-normalization/groups", 0),
            ("/nodes/0/input/height", 0),
            ("/outputs/0", 17),
        ] {
            let mut changed = whole.clone();
            *changed.pointer_mut(path).expect(path) = value.into();
            assert!(serde_json::from_value::<Network>(changed).is_err(), "{path}: {value}");
        }
        for (path, value) in [
            // Neither, and both.
            ("/nodes/0/input", serde_json::Value::Null),
            ("/nodes/1/input", whole["nodes"][0]["input"].clone()),
        ] {
            let mut changed = whole.clone();
            let (node, name) = path.rsplit_once('/').unwrap();
            changed.pointer_mut(node).unwrap()[name] = value;
            let error = serde_json::from_value::<Network>(changed).unwrap_err().to_string();
            assert!(error.contains("is not one of an input and a layer"), "{error}");
        }
    }

    /// Of one pixel each, with seconds of work or gigabytes.
    #[test]
    fn documents_of_more_work_than_their_size_are_errors() {
        let window = json!({"channels": 1, "kernel": 1, "stride": 65_536, "padding": 0, "bias": "None"});
        let [size, padding] = [[65_536; 2], [65_535; 2]];
        for layer in [
            json!({"convolution": window}),
            json!({"transposed-convolution": window}),
            json!({"max-pool-strided": {"window": size, "stride": size, "padding": padding}}),
        ] {
            let document = json!({
                "nodes": [
                    {"name": "image", "input": {"channels": 1, "height": 1, "width": 1}},
                    {"name": "hostile", "layer": {"of": layer, "reads": [0]}},
                ],
                "outputs": [1],
            });
            let error = serde_json::from_value::<Network>(document).unwrap_err().to_string();
            assert!(error.contains("65536, expected at most 1024"), "{layer}: {error}");
        }
    }

    #[test]
    fn no_number_makes_a_document_panic() {
        let whole = serde_json::to_value(network()).unwrap();
        for mutation in lesio_settings::mutation::mutations(&whole) {
            let _ = serde_json::from_value::<Network>(mutation.document);
        }
    }
}
