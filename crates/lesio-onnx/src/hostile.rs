//! Tests with models that are wrong on purpose.

use lesio_nn::Shape;
use prost::Message;

use crate::error::OnnxError;
use crate::model::OnnxModel;
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    attribute, data_type,
};

fn input(dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&length| DimensionProto { value: Some(length), parameter: None }).collect();
    let tensor = TensorTypeProto { element: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: "x".to_owned(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

pub(crate) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("the {operator}"),
        ..NodeProto::default()
    }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: attribute::INTS,
        ..Default::default()
    }
}

pub(crate) fn bytes(dims: &[i64], nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> Vec<u8> {
    bytes_of(dims, nodes, weights, &["y"])
}

pub(crate) fn bytes_of(
    dims: &[i64],
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    outputs: &[&str],
) -> Vec<u8> {
    let output = outputs.iter().map(|&name| ValueInfoProto { name: name.to_owned(), kind: None });
    let graph = GraphProto {
        node: nodes,
        initializer: weights,
        input: vec![input(dims)],
        output: output.collect(),
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec()
}

/// The error of a model for images of 2 channels and 8 x 8 pixels.
fn error(nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> OnnxError {
    let converted =
        OnnxModel::from_bytes(&bytes(&[1, 2, 8, 8], nodes, weights)).and_then(|m| m.network(&[], None));
    converted.expect_err("the model is wrong")
}

#[test]
fn graphs_that_are_none_are_named() {
    let text = |nodes, weights| error(nodes, weights).to_string();
    let circle = text(vec![node("Relu", &["z"], "y"), node("Relu", &["y"], "z")], vec![]);
    assert!(circle.contains("depends on it"), "{circle}");
    let own = text(vec![node("Add", &["x", "y"], "y")], vec![]);
    assert!(own.contains("depends on it"), "{own}");
    let missing = text(vec![node("Relu", &["z"], "y")], vec![]);
    assert!(
        missing.contains("\"z\"") && missing.contains("Relu (opset 17) at node \"the Relu\""),
        "{missing}"
    );
    let twice = text(vec![node("Relu", &["x"], "y"), node("Tanh", &["x"], "y")], vec![]);
    assert!(twice.contains("twice"), "{twice}");
    let nothing = text(vec![node("Relu", &["x"], "z")], vec![]);
    assert!(nothing.contains("no tensor \"y\""), "{nothing}");
    let unknown = text(vec![node("Einsum", &["x"], "y")], vec![]);
    assert!(unknown.contains("Einsum (opset 17) at node \"the Einsum\" is not supported"), "{unknown}");
    let foreign = NodeProto { domain: "com.example".to_owned(), ..node("Relu", &["x"], "y") };
    let foreign = text(vec![foreign], vec![]);
    assert!(foreign.contains("com.example.Relu (opset 0)"), "{foreign}");
    let empty = text(vec![node("Conv", &[], "y")], vec![]);
    assert!(empty.contains("input 0 is missing"), "{empty}");
    // Operators of sets that are not known may be defined otherwise.
    for (version, is_read) in [(8, false), (9, true), (24, true), (25, false)] {
        let bytes = bytes(&[1, 2, 8, 8], vec![node("Relu", &["x"], "y")], vec![]);
        let mut model = ModelProto::decode(&bytes[..]).unwrap();
        model.opset_import[0].version = version;
        let found = OnnxModel::from_bytes(&model.encode_to_vec()).unwrap().network(&[], None);
        let text = found.map_or_else(|error| error.to_string(), |_| "read".to_owned());
        assert_eq!(text.contains("operator sets 9 to 24 are read"), !is_read, "{version}: {text}");
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let conv = || vec![node("Conv", &["x", "w"], "y")];
    let nan = error(conv(), vec![floats("w", &[1, 2, 1, 1], &[1.0, f32::NAN])]);
    assert!(
        matches!(&nan, OnnxError::Tensor { name, reason } if name == "w" && reason.contains("NaN")),
        "{nan}"
    );
    let few = error(conv(), vec![floats("w", &[1, 2, 3, 3], &[1.0])]);
    assert!(matches!(few, OnnxError::Tensor { .. }), "{few}");
    let channels = error(conv(), vec![floats("w", &[1, 1, 1, 1], &[1.0])]);
    assert!(matches!(channels, OnnxError::Invalid { .. }), "{channels}");
    let large = error(conv(), vec![floats("w", &[1, 2, 9, 9], &[0.5; 162])]);
    assert!(matches!(large, OnnxError::Invalid { .. }), "{large}");
    let negative = floats("v", &[2], &[1.0, -1.0]);
    let norm = vec![node("BatchNormalization", &["x", "a", "a", "a", "v"], "y")];
    let negative = error(norm, vec![floats("a", &[2], &[1.0, 1.0]), negative]);
    assert!(matches!(negative, OnnxError::Invalid { .. }), "{negative}");
}

/// A model that claims to need all memory is an error before any of this memory is allocated.
#[test]
fn what_only_claims_to_be_large_takes_no_memory() {
    let shape = integers("s", &[1 << 20, 1 << 20]);
    let fill = vec![node("ConstantOfShape", &["s"], "c"), node("Add", &["x", "c"], "y")];
    let fill = error(fill, vec![shape]);
    assert!(matches!(fill, OnnxError::Invalid { .. }), "{fill}");
    let expand = vec![node("Expand", &["a", "s"], "c"), node("Add", &["x", "c"], "y")];
    let expand = error(expand, vec![floats("a", &[1], &[1.0]), integers("s", &[1 << 15, 1 << 15])]);
    assert!(matches!(expand, OnnxError::Invalid { .. }), "{expand}");
    let range = vec![node("Range", &["a", "b", "c"], "r"), node("Reshape", &["x", "r"], "y")];
    let range = error(range, vec![integers("a", &[0]), integers("b", &[i64::MAX]), integers("c", &[1])]);
    assert!(matches!(range, OnnxError::Unsupported { .. }), "{range}");
    // As a dense kernel, a depthwise convolution of many channels would be too large.
    let mut depthwise = node("Conv", &["x", "w"], "y");
    depthwise.attribute = vec![AttributeProto {
        name: "group".to_owned(),
        i: 40_000,
        kind: attribute::INT,
        ..AttributeProto::default()
    }];
    let weights = floats("w", &[40_000, 1, 1, 1], &vec![1.0; 40_000]);
    let model = OnnxModel::from_bytes(&bytes(&[1, 40_000, 2, 2], vec![depthwise], vec![weights])).unwrap();
    let error = model.network(&[], None).unwrap_err();
    assert!(matches!(error, OnnxError::Unsupported { .. }), "{error}");
    // As a dense kernel, a dilated convolution of nine weights would be, too.
    let mut dilated = node("Conv", &["x", "w"], "y");
    dilated.attribute = vec![ints("dilations", &[4000, 4000]), ints("pads", &[4000; 4])];
    let weights = floats("w", &[1, 1, 3, 3], &[1.0; 9]);
    let model = OnnxModel::from_bytes(&bytes(&[1, 1, 8, 8], vec![dilated], vec![weights])).unwrap();
    let error = model.network(&[], None).unwrap_err().to_string();
    assert!(error.contains("1 x 1 x 8001 x 8001 weights is too large"), "{error}");
    // Images that do not fit into any memory.
    let model =
        OnnxModel::from_bytes(&bytes(&[1, 1, 1 << 20, 1 << 20], vec![node("Relu", &["x"], "y")], vec![]));
    assert!(model.unwrap().network(&[], None).is_err());
    let model =
        OnnxModel::from_bytes(&bytes(&[1, 1 << 40, 1 << 40], vec![node("Relu", &["x"], "y")], vec![]));
    assert!(model.unwrap().network(&[], None).is_err());
}

/// A chain as long as the format allows ends in an error or a network, not in a stack overflow.
#[test]
fn long_chains_end() {
    let mut nodes = Vec::new();
    let names: Vec<String> = (0..20_000).map(|k| format!("t{k}")).collect();
    let mut last = "x";
    for name in &names {
        nodes.push(node("Relu", &[last], name));
        last = name;
    }
    nodes.push(node("Identity", &[last], "y"));
    assert!(matches!(error(nodes, vec![]), OnnxError::Network(_)));
    // Folding 5000 multiplications by a number results in one multiplication.
    let mut nodes = Vec::new();
    let mut last = "x";
    for name in &names[..5000] {
        nodes.push(node("Mul", &[last, "c"], name));
        last = name;
    }
    nodes.push(node("Identity", &[last], "y"));
    let model = OnnxModel::from_bytes(&bytes(&[1, 2, 8, 8], nodes, vec![floats("c", &[], &[-1.0])])).unwrap();
    assert!(model.network(&[], None).is_ok());
}

#[test]
fn attributes_out_of_range_are_errors() {
    let weights = || vec![floats("w", &[2, 2, 3, 3], &[0.1; 36])];
    for (name, values) in [
        ("strides", &[0, 0][..]),
        ("strides", &[1, 2]),
        ("strides", &[-1, -1]),
        ("pads", &[1, 1]),
        ("pads", &[-1, 0, 0, 0]),
        ("pads", &[i64::MAX; 4]),
        ("dilations", &[i64::MAX, i64::MAX]),
        ("dilations", &[0, 1]),
        ("kernel_shape", &[5, 5]),
        ("kernel_shape", &[]),
    ] {
        let mut conv = node("Conv", &["x", "w"], "y");
        conv.attribute = vec![ints(name, values)];
        let error = error(vec![conv], weights());
        assert!(error.to_string().contains("Conv (opset 17)"), "{name} {values:?}: {error}");
    }
    for (name, values) in [("kernel_shape", &[0, 0][..]), ("kernel_shape", &[9, 9]), ("pads", &[1])] {
        let mut pool = node("MaxPool", &["x"], "y");
        pool.attribute = vec![ints("kernel_shape", &[2, 2]), ints(name, values)];
        assert!(error(vec![pool], vec![]).to_string().contains("MaxPool"), "{name} {values:?}");
    }
}

/// What is selected is a matrix in a network: its limit, and what was found, are named.
#[test]
fn large_selections_name_their_limit() {
    for (side, named) in [
        (80, "it selects 6240 of 6400 values: the product of both may be 16777216 at most"),
        (1200, "it selects along axis 2 of [n, [1, 1200, 1200]], expected at most 1048576 values"),
    ] {
        let slice = node("Slice", &["x", "first", "last", "axes"], "y");
        let weights = vec![integers("first", &[1]), integers("last", &[-1]), integers("axes", &[2])];
        let made = OnnxModel::from_bytes(&bytes(&[1, 1, side, side], vec![slice], weights));
        let error = made.and_then(|model| model.network(&[], None)).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("the Slice"), "{error}");
    }
}

/// A factor that is not whole is an error, even if the size that it makes is a whole multiple.
#[test]
fn factors_of_resize_are_whole() {
    let resize = |factors: &[f32]| {
        let mut node = node("Resize", &["x", "", "s"], "y");
        node.attribute = vec![AttributeProto {
            name: "mode".to_owned(),
            s: b"linear".to_vec(),
            kind: attribute::STRING,
            ..AttributeProto::default()
        }];
        let bytes = bytes(&[1, 2, 8, 8], vec![node], vec![floats("s", &[4], factors)]);
        OnnxModel::from_bytes(&bytes).and_then(|model| model.network(&[], None))
    };
    let made = resize(&[1.0, 1.0, 2.0, 2.0]).unwrap().network.output_shapes();
    assert_eq!(made, [Shape::new(2, 16, 16)]);
    // Sizes of 16, 8, 24 and 0.
    for factor in [2.1, 1.1, 3.01, 0.1] {
        let error = resize(&[1.0, 1.0, factor, factor]).unwrap_err();
        assert!(matches!(error, OnnxError::Unsupported { .. }), "{error}");
        let text = error.to_string();
        let named = format!("its factors are [1.0, 1.0, {factor}, {factor}], expected whole numbers");
        assert!(text.contains(&named) && text.contains("the Resize"), "{text}");
    }
}

#[test]
fn weights_in_other_files_stay_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret.data"), [0; 8]).unwrap();
    std::fs::write(inside.join("own.data"), [0; 8]).unwrap();
    let read = |location: &str, more: &[(&str, &str)]| {
        let entry =
            |key: &str, value: &str| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() };
        let external =
            std::iter::once(entry("location", location)).chain(more.iter().map(|(k, v)| entry(k, v)));
        let tensor = TensorProto {
            float_data: vec![],
            data_location: 1,
            external_data: external.collect(),
            ..floats("w", &[1, 2, 1, 1], &[])
        };
        let path = inside.join("model.onnx");
        std::fs::write(&path, bytes(&[1, 2, 8, 8], vec![node("Conv", &["x", "w"], "y")], vec![tensor]))
            .unwrap();
        OnnxModel::read(path)
    };
    assert!(read("own.data", &[]).is_ok());
    assert!(read("own.data", &[("offset", "0"), ("length", "8")]).is_ok());
    for (location, more) in [
        ("../secret.data", &[][..]),
        ("/etc/hostname", &[]),
        ("", &[]),
        ("missing.data", &[]),
        ("own.data", &[("offset", "4")]),
        ("own.data", &[("offset", "18446744073709551615"), ("length", "8")]),
        ("own.data", &[("length", "many")]),
    ] {
        assert!(read(location, more).is_err(), "{location:?} {more:?}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.data", inside.join("link.data")).unwrap();
        assert!(read("link.data", &[]).is_err());
    }
    // A model that is decoded from bytes has no folder for its weights.
    let whole = std::fs::read(inside.join("model.onnx")).unwrap();
    assert!(OnnxModel::from_bytes(&whole).is_err());
}

#[test]
fn sizes_that_the_model_leaves_open_are_stated() {
    let open = bytes(&[-1, 2, -1, -1], vec![node("Relu", &["x"], "y")], vec![]);
    let model = OnnxModel::from_bytes(&open).unwrap();
    let error = model.network(&[], None).unwrap_err().to_string();
    assert!(error.contains("state its size"), "{error}");
    let network = model.network(&[], Some(Shape::new(2, 4, 6))).unwrap().network;
    assert_eq!(network.input_shapes(), [Shape::new(2, 4, 6)]);
    assert!(model.network(&[], Some(Shape::new(3, 4, 6))).is_err());
    // The size of an image that a model reads as a vector, or without its axis of channels.
    for axes in [&[-1, 24][..], &[-1, -1], &[1, 4, 6], &[-1, -1, -1]] {
        let model = bytes(axes, vec![node("Relu", &["x"], "y")], vec![]);
        let model = OnnxModel::from_bytes(&model).unwrap();
        let network = model.network(&[], Some(Shape::new(1, 4, 6))).unwrap().network;
        assert_eq!(network.input_shapes(), [Shape::new(1, 4, 6)], "{axes:?}");
        let other = model.network(&[], Some(Shape::new(2, 4, 6)));
        assert_eq!(other.is_ok(), axes == [-1, -1], "{axes:?}");
    }
}
