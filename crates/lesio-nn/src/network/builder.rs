//! Declaration of networks, node by node.

use std::collections::BTreeSet;

use lesio_kernels::Precision;

use super::error::NetworkError;
use super::graph::{Network, Node, NodeId, Operation};
use super::shapes::{LARGEST_PARAMETERS, LARGEST_VALUES, layer_parameters, output_shape};
use crate::layer::Layer;
use crate::parameter_spec::ParameterSpec;
use crate::shape::Shape;

/// Most nodes of a network.
const LARGEST_NODES: usize = 1 << 12;

/// Declares a [`Network`] node by node.
#[derive(Clone, Debug, Default)]
pub struct NetworkBuilder {
    nodes: Vec<Node>,
    inputs: Vec<NodeId>,
    names: BTreeSet<String>,
    /// The first error about an input, which [`NetworkBuilder::finish`] reports.
    fault: Option<NetworkError>,
    /// Values of one sample and parameters so far.
    values: u64,
    parameters: u64,
}

impl NetworkBuilder {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an input of a shape. [`NetworkBuilder::finish`] reports a name that is used twice and a shape that
    /// is too large.
    pub fn input(&mut self, name: impl Into<String>, shape: Shape) -> NodeId {
        let name = name.into();
        if !self.names.insert(name.clone()) {
            self.fault.get_or_insert(NetworkError::DuplicateName { name: name.clone() });
        }
        if let Err(error) = self.count(&name, shape, &[]) {
            self.fault.get_or_insert(error);
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { name, operation: Operation::Input, shape });
        self.inputs.push(id);
        id
    }

    /// Applies a layer to earlier nodes.
    ///
    /// # Errors
    /// For a name used before, a number of inputs the layer does not take, shapes it does not fit, and for a
    /// network larger than [`LARGEST_PARAMETERS`] or [`LARGEST_VALUES`]; nothing is allocated before the check.
    pub fn layer(
        &mut self,
        name: impl Into<String>,
        layer: Layer,
        inputs: &[NodeId],
    ) -> Result<NodeId, NetworkError> {
        let name = name.into();
        if !self.names.insert(name.clone()) {
            return Err(NetworkError::DuplicateName { name });
        }
        let mut shapes = Vec::with_capacity(inputs.len());
        for id in inputs {
            let node = self.nodes.get(id.0).ok_or_else(|| NetworkError::UnknownNode {
                name: name.clone(),
                index: id.0,
                nodes: self.nodes.len(),
            })?;
            check_count(&name, "values per sample", node.shape.len() as u64, LARGEST_VALUES)?;
            shapes.push(node.shape);
        }
        let shape = output_shape(&name, &layer, &shapes)?;
        let mut own = Vec::new();
        check_count(&name, "values per sample", shape.len() as u64, LARGEST_VALUES)?;
        layer_parameters(&name, &layer, shapes.first().copied().unwrap_or(shape), &mut own);
        self.count(&name, shape, &own)?;
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { name, operation: Operation::Layer { layer, inputs: inputs.to_vec() }, shape });
        Ok(id)
    }

    /// Counts a node's values and parameters, and returns an error if they are too many.
    fn count(&mut self, name: &str, shape: Shape, own: &[ParameterSpec]) -> Result<(), NetworkError> {
        self.values = self.values.saturating_add(shape.len() as u64);
        self.parameters = own.iter().fold(self.parameters, |sum, spec| sum.saturating_add(spec.len() as u64));
        check_count(name, "values per sample", self.values, LARGEST_VALUES)?;
        check_count(name, "parameters", self.parameters, LARGEST_PARAMETERS)?;
        check_count(name, "nodes", self.nodes.len() as u64 + 1, LARGEST_NODES as u64)
    }

    /// Shape of a node declared before.
    #[must_use]
    pub fn shape(&self, id: NodeId) -> Option<Shape> {
        self.nodes.get(id.0).map(|node| node.shape)
    }

    /// The network with these outputs.
    ///
    /// # Errors
    /// For a network without input or output, two inputs of one name, and inputs that are too large.
    pub fn finish(self, outputs: &[NodeId]) -> Result<Network, NetworkError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.inputs.is_empty() || outputs.is_empty() {
            return Err(NetworkError::Empty);
        }
        for id in outputs {
            if id.0 >= self.nodes.len() {
                let name = "outputs".to_owned();
                return Err(NetworkError::UnknownNode { name, index: id.0, nodes: self.nodes.len() });
            }
        }
        for id in &self.inputs {
            let node = &self.nodes[id.0];
            if node.shape.is_empty() {
                let reason = "an input needs at least one value".to_owned();
                return Err(NetworkError::Shape { name: node.name.clone(), input: node.shape, reason });
            }
        }
        let precision = Precision::default();
        Ok(Network { nodes: self.nodes, inputs: self.inputs, outputs: outputs.to_vec(), precision })
    }
}

/// Returns an error for a count above `limit`, summed up to the node `name`.
fn check_count(name: &str, what: &'static str, found: u64, limit: u64) -> Result<(), NetworkError> {
    if found <= limit {
        return Ok(());
    }
    Err(NetworkError::Large { name: name.to_owned(), what, found, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Bias, Convolution};

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let mut net = NetworkBuilder::new();
        let a = net.input("a", Shape::new(3, 8, 6));
        let b = net.input("b", Shape::new(3, 8, 7));
        let bad = |net: &mut NetworkBuilder, layer, inputs: &[NodeId]| {
            let mut copy = net.clone();
            copy.layer("l", layer, inputs).unwrap_err().to_string()
        };
        assert!(bad(&mut net, Layer::Concatenate, &[a, b]).contains("[3, 8, 7]"));
        assert!(bad(&mut net, Layer::Convolution(Convolution::new(1, 9)), &[a]).contains("kernel 9"));
        assert!(
            bad(&mut net, Layer::GroupNormalization { groups: 2, epsilon: 1e-5 }, &[a]).contains("2 groups")
        );
        assert!(bad(&mut net, Layer::Reshape(Shape::vector(7)), &[a]).contains("144 values"));
        assert!(bad(&mut net, Layer::Add, &[]).contains("at least one"));
        assert!(bad(&mut net, Layer::MaxPool { window: [9, 2] }, &[a]).contains("window 9x2"));
        assert!(bad(&mut net, Layer::Multiply, &[a]).contains("expected two"));
        assert!(bad(&mut net, Layer::Multiply, &[a, b]).contains("[3, 8, 7]"));
        let strided = |window, stride, padding| Layer::MaxPoolStrided { window, stride, padding };
        assert!(
            bad(&mut net, strided([9, 2], [1, 1], [0, 0]), &[a]).contains("larger than the padded size 8")
        );
        assert!(bad(&mut net, strided([2, 2], [1, 0], [0, 0]), &[a]).contains("stride is 0"));
        assert!(bad(&mut net, strided([2, 2], [1, 1], [0, 2]), &[a]).contains("padding is 2"));
        assert!(matches!(
            net.layer("a", Layer::Add, &[a]),
            Err(NetworkError::DuplicateName { name }) if name == "a"
        ));
        let other = NodeId(99);
        assert!(matches!(net.clone().finish(&[other]), Err(NetworkError::UnknownNode { index: 99, .. })));
        assert_eq!(net.finish(&[]).unwrap_err(), NetworkError::Empty);
    }

    /// Sizes whose products overflow, and those that only no memory holds, are refused before anything is allocated.
    #[test]
    fn what_no_memory_holds_is_refused() {
        let convolution =
            |channels, kernel| Layer::Convolution(Convolution::new(channels, kernel).padding(1));
        let linear = |features| Layer::Linear { features, bias: Bias::Learned };
        let (parameters, values) = ("parameters", "values per sample");
        for (input, layer, what) in [
            (Shape::new(65_536, 4, 4), convolution(65_536, 3), parameters),
            (Shape::new(1 << 14, 1, 1), linear(1 << 15), parameters),
            (Shape::new(1, 1 << 16, 1 << 16), convolution(1, 3), values),
            (Shape::new(usize::MAX, usize::MAX, 2), convolution(1, 3), values),
            (Shape::new(1, 64, 64), convolution(usize::MAX, 3), values),
            (Shape::new(1, 64, 64), linear(usize::MAX), values),
            (Shape::new(1, 1 << 13, 1 << 13), convolution(16, 3), values),
        ] {
            let mut net = NetworkBuilder::new();
            let image = net.input("image", input);
            let error = net.layer("l", layer.clone(), &[image]).unwrap_err();
            assert!(
                matches!(&error, NetworkError::Large { what: found, found: count, limit, .. }
                    if *found == what && count > limit),
                "{input} {layer:?}: {error}"
            );
        }
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 64, 64));
        let steps = [
            Layer::Convolution(Convolution::new(1, usize::MAX).padding(usize::MAX)),
            Layer::Convolution(Convolution::new(1, 3).padding(usize::MAX / 2)),
            Layer::TransposedConvolution(Convolution::new(1, 3).stride(usize::MAX)),
            Layer::UpsampleNearest { factor: usize::MAX },
            Layer::MaxPool { window: [usize::MAX, usize::MAX] },
            Layer::MaxPoolStrided { window: [usize::MAX; 2], stride: [1, 1], padding: [usize::MAX - 1; 2] },
            Layer::MaxPoolStrided { window: [2, 2], stride: [usize::MAX; 2], padding: [1, 1] },
        ];
        for layer in steps {
            let error = net.clone().layer("l", layer.clone(), &[image]).unwrap_err();
            assert!(matches!(error, NetworkError::Shape { .. }), "{layer:?}: {error}");
        }
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 1 << 16, 1 << 16));
        assert!(matches!(net.finish(&[image]), Err(NetworkError::Large { .. })));
        let mut net = NetworkBuilder::new();
        let mut last = net.input("image", Shape::new(1, 1, 1));
        let error = (0..5000).find_map(|k| match net.layer(k.to_string(), Layer::Add, &[last]) {
            Ok(id) => {
                last = id;
                None
            }
            Err(error) => Some(error),
        });
        assert!(matches!(error, Some(NetworkError::Large { what: "nodes", .. })), "{error:?}");
    }

    /// What engines compute on the way to an output is bounded, too, however small input and output are.
    #[test]
    fn work_that_grows_with_strides_and_windows_is_bounded() {
        let window = |channels, stride, padding| {
            Convolution::new(channels, 1).stride(stride).padding(padding).bias(Bias::None)
        };
        let strided = |window, stride, padding| Layer::MaxPoolStrided {
            window: [window, 1],
            stride: [1, stride],
            padding: [padding, 0],
        };
        let fits = |shape, layer: Layer| {
            let mut net = NetworkBuilder::new();
            let image = net.input("image", shape);
            match net.layer("l", layer.clone(), &[image]) {
                Ok(_) => true,
                Err(NetworkError::Shape { .. }) => false,
                Err(other) => panic!("{layer:?}: {other}"),
            }
        };
        let pixel = Shape::new(1, 1, 1);
        for (stride, expected) in [(1024, true), (1025, false)] {
            assert_eq!(fits(pixel, Layer::Convolution(window(1, stride, 0))), expected);
            assert_eq!(fits(pixel, Layer::TransposedConvolution(window(1, stride, 0))), expected);
            assert_eq!(fits(pixel, strided(1, stride, 0)), expected);
            assert_eq!(fits(pixel, strided(stride, 1, stride / 2)), expected);
        }
        // Weights that are spread over a stride, images before their edges are cut off, and with edges.
        for (channels, expected) in [(256, true), (257, false)] {
            assert_eq!(fits(pixel, Layer::Convolution(window(channels, 1024, 0))), expected);
            assert_eq!(fits(pixel, Layer::TransposedConvolution(window(channels, 1024, 0))), expected);
        }
        let cut = Layer::TransposedConvolution(window(1, 1024, 65_536));
        assert!(!fits(Shape::new(1, 129, 129), cut));
        let layer = Layer::MaxPoolStrided { window: [1024; 2], stride: [1024; 2], padding: [1023; 2] };
        assert!(!fits(Shape::new(1 << 20, 1, 1), layer));
    }

    #[test]
    fn transposed_convolution_undoes_the_size_of_a_convolution() {
        let convolution = Convolution::new(2, 4).stride(2).padding(1);
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 12, 20));
        let down = net.layer("down", Layer::Convolution(convolution), &[image]).unwrap();
        assert_eq!(net.shape(down), Some(Shape::new(2, 6, 10)));
        let up = net.layer("up", Layer::TransposedConvolution(convolution), &[down]).unwrap();
        assert_eq!(net.shape(up), Some(Shape::new(2, 12, 20)));
        let network = net.finish(&[up]).unwrap();
        let shapes: Vec<_> = network.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(shapes[0], ("down.weight".to_owned(), vec![2, 1, 4, 4]));
        assert_eq!(shapes[2], ("up.weight".to_owned(), vec![2, 2, 4, 4]));
        // 2 * 1 * 16 taps * 60 pixels down, 2 * 2 * 16 * 60 up.
        assert_eq!(network.multiply_adds(), 1920 + 3840);
    }
}
