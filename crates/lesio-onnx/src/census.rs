//! Counts the contents of a file before memory is allocated for them.
//!
//! An empty message takes two bytes in a file and about a hundred in memory; a small integer takes one byte and
//! eight. A walk over the wire format counts both before the file is decoded.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::error::OnnxError;

/// The maximum number of nodes, initializers, attributes, names and dimensions of a graph together.
const LARGEST_COUNT: u64 = 1 << 18;

/// The maximum number of bytes of variable-length integers in a graph.
const LARGEST_PACKED: u64 = 32 << 20;

/// The deepest nesting that the walk enters: model, graph, node, attribute, tensor, entry.
const DEEPEST: usize = 7;

/// The kind of a message, which determines which of its fields are messages or repeated strings.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Leaf,
}

impl Kind {
    /// The kind of a length-delimited field: `Some` for a message or a counted string, `None` for plain bytes.
    fn field(self, tag: u32) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 8 | 14) => Self::Leaf,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) => Self::Tensor,
            (Self::Graph, 11 | 12) => Self::ValueInfo,
            (Self::Node, 1 | 2) => Self::Leaf,
            (Self::Node, 5) => Self::Attribute,
            (Self::Attribute, 5) => Self::Tensor,
            (Self::Tensor, 13) => Self::Leaf,
            (Self::ValueInfo, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Leaf,
            _ => return None,
        })
    }

    /// Whether a length-delimited field contains packed integers of variable length.
    fn is_packed(self, tag: u32) -> bool {
        matches!((self, tag), (Self::Tensor, 1 | 5 | 7) | (Self::Attribute, 8))
    }
}

#[derive(Default)]
struct Census {
    messages: u64,
    packed: u64,
}

/// Checks that decoding a model takes no more memory than a few times its length.
///
/// # Errors
/// For a damaged wire format, and for too many messages or integers.
pub(crate) fn check(bytes: &[u8]) -> Result<(), OnnxError> {
    Census::default().message(bytes, Kind::Model, DEEPEST)
}

impl Census {
    fn message(&mut self, mut bytes: &[u8], kind: Kind, depth: usize) -> Result<(), OnnxError> {
        while bytes.has_remaining() {
            let (tag, wire) = decode_key(&mut bytes)?;
            match wire {
                WireType::Varint => {
                    decode_varint(&mut bytes)?;
                    self.count(0, u64::from(kind.is_packed(tag)))?;
                }
                WireType::SixtyFourBit => skip(&mut bytes, 8)?,
                WireType::ThirtyTwoBit => skip(&mut bytes, 4)?,
                WireType::LengthDelimited => {
                    let length = decode_varint(&mut bytes)?;
                    let inner = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
                    let inner = inner.ok_or_else(damaged)?;
                    if kind.is_packed(tag) {
                        self.count(0, length)?;
                    } else if let Some(inside) = kind.field(tag) {
                        self.count(1, 0)?;
                        if depth > 0 && !matches!(inside, Kind::Leaf) {
                            self.message(inner, inside, depth - 1)?;
                        }
                    }
                    bytes.advance(inner.len());
                }
                WireType::StartGroup | WireType::EndGroup => return Err(damaged()),
            }
        }
        Ok(())
    }

    fn count(&mut self, messages: u64, packed: u64) -> Result<(), OnnxError> {
        self.messages += messages;
        self.packed += packed;
        for (what, found, limit) in [
            ("nodes, tensors, attributes and names", self.messages, LARGEST_COUNT),
            ("bytes of integers", self.packed, LARGEST_PACKED),
        ] {
            if found > limit {
                return Err(OnnxError::Large { what, found, limit });
            }
        }
        Ok(())
    }
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<(), OnnxError> {
    if bytes.len() < length {
        return Err(damaged());
    }
    bytes.advance(length);
    Ok(())
}

/// The error for a message that ends early or has a wire type that ONNX does not use.
fn damaged() -> OnnxError {
    OnnxError::Model("is cut off or damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
    use prost::Message;

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    #[test]
    fn what_grows_in_memory_is_refused_before_it_is_decoded() {
        let few = GraphProto { node: vec![NodeProto::default(); 1000], ..GraphProto::default() };
        assert!(check(&model(few)).is_ok());
        let many = GraphProto { node: vec![NodeProto::default(); 300_000], ..GraphProto::default() };
        assert!(matches!(check(&model(many)), Err(OnnxError::Large { .. })));
        let tensor = TensorProto { int64_data: vec![1; 40 << 20], ..TensorProto::default() };
        let packed = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
        assert!(matches!(check(&model(packed)), Err(OnnxError::Large { .. })));
    }

    #[test]
    fn damaged_files_are_errors() {
        for bytes in [&[0x3a, 0xff][..], &[0x3a, 5, 1], &[0x0b], &[0x3d, 1, 2], &[0xff; 12]] {
            assert!(check(bytes).is_err(), "{bytes:?}");
        }
    }
}
