//! Networks as documents: how they stand in files.

use lesio_kernels::Precision;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::builder::NetworkBuilder;
use super::error::NetworkError;
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

#[derive(Serialize, Deserialize)]
struct NodeDocument {
    name: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Input(Shape),
    Layer {
        of: Layer,
        /// Places of the nodes that it reads.
        reads: Vec<usize>,
    },
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer)?.declared().map_err(de::Error::custom)
    }
}

impl From<&Network> for Document {
    fn from(network: &Network) -> Self {
        let place = |ids: &[NodeId]| ids.iter().map(|id| id.index()).collect();
        let node = |node: &Node| NodeDocument {
            name: node.name().to_owned(),
            kind: match node.operation() {
                Operation::Input => Kind::Input(node.shape()),
                Operation::Layer { layer, inputs } => Kind::Layer { of: layer.clone(), reads: place(inputs) },
            },
        };
        Self {
            nodes: network.nodes().iter().map(node).collect(),
            outputs: place(network.outputs()),
            precision: network.precision(),
        }
    }
}

impl Document {
    fn declared(self) -> Result<Network, NetworkError> {
        let ids = |places: Vec<usize>| places.into_iter().map(NodeId).collect::<Vec<_>>();
        let mut builder = NetworkBuilder::new();
        for NodeDocument { name, kind } in self.nodes {
            match kind {
                Kind::Input(shape) => {
                    builder.input(name, shape);
                }
                Kind::Layer { of, reads } => {
                    builder.layer(name, of, &ids(reads))?;
                }
            }
        }
        Ok(builder.finish(&ids(self.outputs))?.with_precision(self.precision))
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn no_number_makes_a_document_panic() {
        let whole = serde_json::to_value(network()).unwrap();
        for mutation in lesio_settings::mutation::mutations(&whole) {
            let _ = serde_json::from_value::<Network>(mutation.document);
        }
    }
}
