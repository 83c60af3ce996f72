#!/usr/bin/env python3
"""Makes small ONNX models and what ONNX Runtime computes with them, for tests/golden.rs.

Development only: pip install onnx onnxruntime numpy. Writes NAME.onnx for each case and expected.safetensors, which holds
NAME/input/TENSOR and NAME/output/TENSOR, and in its metadata seed and versions. The same seed gives the same files.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 21
HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(SEED)
expected = {}


class Graph:
    """A graph that grows node by node."""

    def __init__(self, opset, shape, name="x", batch="n"):
        self.opset, self.nodes, self.weights, self.count = opset, [], [], 0
        self.shape, self.name, self.batch = shape, name, batch

    def fresh(self, of):
        self.count += 1
        return f"{of}_{self.count}"

    def weight(self, *shape, scale=0.5, shift=0.0):
        return self.const(random.normal(size=shape) * scale + shift, "w")

    def const(self, values, of="c", dtype=np.float32):
        name = self.fresh(of)
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def ints(self, values):
        return self.const(values, "i", np.int64)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [self.fresh(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"/{names[0]}/{kind}", **attributes))
        return names[0] if outputs == 1 else names

    def named(self, value, name):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def model(self, outputs):
        made = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info(self.name, TensorProto.FLOAT, [self.batch, *self.shape])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        version = 8 if self.opset < 20 else 10
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(made, opset_imports=imports, ir_version=version, producer_name="golden")


def run(model, inputs, outputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def case(name, graph, *outputs, scale=1.0, batch=2):
    model = graph.model(outputs)
    x = (random.normal(size=(batch, *graph.shape)) * scale).astype(np.float32)
    save(name, model, x, graph.name, outputs, run(model, {graph.name: x}, list(outputs)))


def save(name, model, x, of, outputs, values):
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    expected[f"{name}/input/{of}"] = x
    for output, value in zip(outputs, values):
        assert np.isfinite(value).all(), name
        expected[f"{name}/output/{output}"] = value.astype(np.float32)


IMAGE = (3, 4, 6)


def simple(name, kind, *more, opset=17, shape=IMAGE, scale=1.0, **attributes):
    g = Graph(opset, shape)
    inputs = [m(g) if callable(m) else m for m in more]
    case(name, g, g.op(kind, "x", *inputs, **attributes), scale=scale)


def w(*shape, **kw):
    return lambda g: g.weight(*shape, **kw)


def c(values):
    return lambda g: g.const(values)


def i(values):
    return lambda g: g.ints(values)


def convolutions():
    simple("conv", "Conv", w(4, 3, 3, 3), w(4), pads=[1, 1, 1, 1])
    simple("conv_stride", "Conv", w(4, 3, 4, 4), w(4), pads=[1, 1, 1, 1], strides=[2, 2])
    simple("conv_asymmetric", "Conv", w(2, 3, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2])
    simple("conv_dilated", "Conv", w(2, 3, 3, 3), w(2), pads=[2, 2, 2, 2], dilations=[2, 2])
    simple("conv_grouped", "Conv", w(4, 2, 3, 3), w(4), pads=[1, 1, 1, 1], group=2, shape=(4, 6, 8))
    simple("conv_depthwise", "Conv", w(3, 1, 3, 3), pads=[1, 1, 1, 1], group=3, strides=[2, 2])
    simple("conv_row", "Conv", w(2, 3, 1, 3), pads=[0, 1, 0, 1])
    simple("conv_same", "Conv", w(2, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    simple("convt", "ConvTranspose", w(3, 4, 4, 4), w(4), pads=[1, 1, 1, 1], strides=[2, 2])
    simple("convt_padded", "ConvTranspose", w(3, 2, 3, 3), w(2), pads=[1, 1, 1, 1], strides=[2, 2], output_padding=[1, 1])
    simple("convt_grouped", "ConvTranspose", w(4, 2, 2, 2), w(4), strides=[2, 2], group=2, shape=(4, 3, 4))
    simple("convt_asymmetric", "ConvTranspose", w(3, 2, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2])
    g = Graph(13, IMAGE)
    padded = g.op("Pad", "x", g.ints([0, 0, 0, 1, 0, 0, 1, 0]))
    case("pad_conv", g, g.op("Conv", padded, g.weight(2, 3, 3, 3), strides=[2, 2]))
    g = Graph(13, IMAGE)
    padded = g.op("Pad", "x", g.ints([0, 0, 0, 1, 0, 0, 1, 2]))
    case("pad_uneven", g, g.op("Conv", padded, g.weight(2, 3, 3, 3), strides=[2, 2]))
    simple("pad", "Pad", i([0, 0, 1, 0, 0, 0, 0, 1]), opset=13)


def matrices():
    simple("gemm", "Gemm", w(4, 5), w(4), shape=(5,), transB=1)
    simple("gemm_scaled", "Gemm", w(5, 4), w(1, 4), shape=(5,), alpha=0.5, beta=2.0)
    g = Graph(17, (5,))
    case("matmul", g, g.op("Add", g.op("MatMul", "x", g.weight(5, 4)), g.weight(4)))


def normalizations():
    stats = [w(3, shift=1.0), w(3), w(3), c([0.5, 1.5, 1.0])]
    simple("batch_norm", "BatchNormalization", *stats, epsilon=1e-3)
    simple("instance_norm", "InstanceNormalization", w(3, shift=1.0), w(3))
    simple("group_norm_18", "GroupNormalization", w(2), w(2), opset=18, shape=(4, 6, 8), num_groups=2)
    simple("group_norm_21", "GroupNormalization", w(4), w(4), opset=21, shape=(4, 6, 8), num_groups=2)
    g = Graph(17, (4, 6, 8))
    shape = g.op("Shape", "x")
    groups = g.op("Reshape", "x", g.ints([0, 2, -1]))
    normal = g.op("InstanceNormalization", groups, g.const([1, 1]), g.const([0, 0]), epsilon=1e-5)
    back = g.op("Reshape", normal, shape)
    case("group_norm_exported", g, g.op("Add", g.op("Mul", back, g.weight(4, 1, 1)), g.weight(4, 1, 1)))
    g = Graph(17, IMAGE)
    folded = g.op("BatchNormalization", g.op("Conv", "x", g.weight(4, 3, 3, 3)), *[s(g) for s in [w(4), w(4), w(4), c([1, 2, 1, 0.5])]])
    case("conv_batch_norm", g, g.op("Relu", folded))


def functions():
    simple("relu", "Relu")
    simple("leaky_relu", "LeakyRelu", alpha=0.2)
    simple("prelu", "PRelu", c([[[0.25]]]))
    simple("prelu_steep", "PRelu", c([[[-1.5]]]))
    simple("sigmoid", "Sigmoid", scale=3)
    simple("tanh", "Tanh", scale=3)
    simple("hard_sigmoid", "HardSigmoid", scale=3)
    simple("gelu", "Gelu", opset=20, scale=3)
    simple("gelu_by_tanh", "Gelu", opset=20, scale=3, approximate="tanh")
    simple("clip", "Clip", c(0.0), c(6.0), scale=6)
    g = Graph(17, IMAGE)
    case("silu", g, g.op("Mul", "x", g.op("Sigmoid", "x")), scale=3)
    g = Graph(17, IMAGE)
    erf = g.op("Add", g.op("Erf", g.op("Div", "x", g.const(np.sqrt(2)))), g.const(1))
    case("gelu_exported", g, g.op("Mul", g.op("Mul", "x", erf), g.const(0.5)), scale=3)
    g = Graph(17, IMAGE)
    erf = g.op("Add", g.op("Erf", g.op("Mul", "x", g.const(np.sqrt(0.5)))), g.const(1))
    case("gelu_exported_2", g, g.op("Mul", g.op("Mul", "x", g.const(0.5)), erf), scale=3)
    g = Graph(17, IMAGE)
    cube = g.op("Mul", g.op("Mul", g.op("Mul", "x", "x"), "x"), g.const(0.044715))
    tanh = g.op("Tanh", g.op("Mul", g.op("Add", "x", cube), g.const(np.sqrt(2 / np.pi))))
    case("gelu_tanh_exported", g, g.op("Mul", g.op("Mul", "x", g.const(0.5)), g.op("Add", tanh, g.const(1))), scale=3)
    g = Graph(17, IMAGE)
    case("clip_noop", g, g.op("Clip", g.op("Sigmoid", "x"), g.const(0), g.const(1)))


def resampling():
    simple("max_pool", "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    simple("max_pool_overlap", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    simple("average_pool", "AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    simple("average_overlap", "AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1)
    simple("global_average", "GlobalAveragePool")
    simple("reduce_mean", "ReduceMean", axes=[2, 3], keepdims=0)
    twice = [c([]), c([1, 1, 2, 2])]
    nearest = dict(mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")
    simple("resize_nearest", "Resize", *twice, **nearest)
    simple("resize_default", "Resize", *twice)
    simple("resize_linear", "Resize", *twice, mode="linear")
    torch = dict(mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    simple("resize_pytorch", "Resize", *twice, **torch)
    simple("resize_corners", "Resize", *twice, mode="linear", coordinate_transformation_mode="align_corners")
    simple("resize_10", "Resize", c([1, 1, 3, 3]), opset=10, mode="nearest")
    simple("upsample_9", "Upsample", c([1, 1, 2, 2]), opset=9, mode="nearest")
    g = Graph(13, IMAGE)
    shape = g.op("Shape", "x")
    rows = g.op("Gather", shape, g.ints(2), axis=0)
    columns = g.op("Gather", shape, g.ints(3), axis=0)
    sizes = []
    for size in (rows, columns):
        real = g.op("Mul", g.op("Cast", size, to=TensorProto.FLOAT), g.const(2))
        whole = g.op("Cast", g.op("Floor", real), to=TensorProto.INT64)
        sizes.append(g.op("Unsqueeze", whole, g.ints([0])))
    first = g.op("Slice", shape, g.ints([0]), g.ints([2]), g.ints([0]))
    target = g.op("Concat", first, *sizes, axis=0)
    case("resize_computed", g, g.op("Resize", "x", "", "", target, **nearest))


def arrangements():
    g = Graph(17, IMAGE)
    case("concat", g, g.op("Concat", "x", g.op("Relu", "x"), axis=1))
    g = Graph(11, (8,))
    case("split_11", g, *g.op("Split", g.op("Gemm", "x", g.weight(8, 6)), outputs=2, axis=1))
    g = Graph(13, (8,))
    case("split_13", g, *g.op("Split", g.op("Gemm", "x", g.weight(8, 6)), g.ints([4, 2]), outputs=2, axis=-1))
    g = Graph(17, (8,))
    head = g.op("Gemm", "x", g.weight(6, 8), g.weight(6), transB=1)
    even = g.op("Slice", head, g.ints([0]), g.ints([2**63 - 1]), g.ints([1]), g.ints([2]))
    odd = g.op("Slice", head, g.ints([1]), g.ints([2**63 - 1]), g.ints([1]), g.ints([2]))
    case("slice_strided", g, even, odd)
    g = Graph(17, IMAGE)
    case("slice_channels", g, g.op("Slice", "x", g.ints([1]), g.ints([3]), g.ints([1])))
    g = Graph(17, (8,))
    pairs = g.op("Reshape", g.op("Gemm", "x", g.weight(8, 6)), g.ints([-1, 3, 2]))
    case("gather_pairs", g, g.op("Gather", pairs, g.ints(0), axis=2), g.op("Gather", pairs, g.ints(1), axis=2))
    g = Graph(17, IMAGE)
    batch = g.op("Unsqueeze", g.op("Gather", g.op("Shape", "x"), g.ints(0), axis=0), g.ints([0]))
    flat = g.op("Reshape", "x", g.op("Concat", batch, g.ints([-1]), axis=0))
    case("reshape_computed", g, g.op("Gemm", flat, g.weight(72, 4)))
    g = Graph(17, IMAGE, batch=1)
    case("reshape_fixed", g, g.op("Gemm", g.op("Reshape", "x", g.ints([1, -1])), g.weight(72, 4)), batch=1)
    g = Graph(17, IMAGE)
    case("flatten", g, g.op("Gemm", g.op("Flatten", "x"), g.weight(72, 4)))
    g = Graph(13, (5,))
    image = g.op("Unsqueeze", "x", g.ints([2, 3]))
    case("unsqueeze", g, g.op("Squeeze", g.op("Conv", image, g.weight(4, 5, 1, 1)), g.ints([2, 3])))
    g = Graph(17, IMAGE)
    last = g.op("Flatten", g.op("Transpose", "x", perm=[0, 2, 3, 1]))
    back = g.op("Reshape", g.op("Gemm", last, g.weight(72, 24)), g.ints([-1, 2, 4, 3]))
    case("channels_last", g, g.op("Transpose", back, perm=[0, 3, 1, 2]))
    g = Graph(17, IMAGE)
    kept = g.op("Dropout", g.op("Identity", "x"), g.const(0.5))
    case("dropout", g, g.op("Add", kept, "x"))


def arithmetic():
    g = Graph(17, IMAGE)
    scaled = g.op("Div", g.op("Sub", "x", g.weight(1, 3, 1, 1)), g.const([[[0.5]], [[2.0]], [[4.0]]]))
    case("standardize", g, g.op("Mul", g.op("Add", g.const(0.3), scaled), g.const(1.7)))
    g = Graph(17, IMAGE)
    case("turn", g, g.op("Sub", g.const(1.0), "x"))
    g = Graph(17, IMAGE)
    case("difference", g, g.op("Sub", "x", g.op("Relu", "x")))


def block(g, x, channels, width):
    for k in range(2):
        x = g.op("Conv", x, g.weight(width, channels if k == 0 else width, 3, 3, scale=0.3), pads=[1, 1, 1, 1])
        stats = [g.weight(width, scale=0.1, shift=1), g.weight(width), g.weight(width), g.const(random.uniform(0.5, 2, width))]
        x = g.op("Relu", g.op("BatchNormalization", x, *stats))
    return x


def u_net(name, upsampling):
    g = Graph(17, (1, 16, 24))
    fine = block(g, "x", 1, 4)
    coarse = block(g, g.op("MaxPool", fine, kernel_shape=[2, 2], strides=[2, 2]), 4, 6)
    if upsampling == "transposed":
        larger = g.op("ConvTranspose", coarse, g.weight(6, 4, 2, 2), g.weight(4), strides=[2, 2])
    else:
        # As torch.nn.functional.pad by the difference of sizes, which is none, is exported.
        larger = g.op("Resize", coarse, "", g.const([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="align_corners")
        sizes = []
        for axis in (2, 3):
            of = lambda t: g.op("Gather", g.op("Shape", t), g.ints(axis), axis=0)
            difference = g.op("Sub", of(fine), of(larger))
            half = g.op("Div", difference, g.ints(2))
            sizes.append([g.op("Unsqueeze", t, g.ints([0])) for t in (half, g.op("Sub", difference, half))])
        none = g.ints([0, 0])
        pads = g.op("Concat", none, sizes[0][0], sizes[1][0], none, sizes[0][1], sizes[1][1], axis=0)
        larger = g.op("Pad", larger, pads, mode="constant")
    joined = g.op("Concat", fine, larger, axis=1)
    last = block(g, joined, 8 if upsampling == "transposed" else 10, 4)
    out = g.op("Conv", last, g.weight(1, 4, 1, 1), g.weight(1))
    case(name, g, g.named(out, "reconstruction"))


def autoencoder():
    g = Graph(18, (3, 16, 16))
    x = g.op("Gelu" if False else "Relu", g.op("Conv", "x", g.weight(6, 3, 3, 3), g.weight(6), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = g.op("GroupNormalization", x, g.weight(3, shift=1), g.weight(3), num_groups=3)
    x = g.op("Mul", x, g.op("Sigmoid", x))
    x = g.op("Conv", x, g.weight(4, 6, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    x = g.op("LeakyRelu", g.op("ConvTranspose", x, g.weight(4, 6, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2], output_padding=[1, 1]))
    x = g.op("Conv", g.op("Resize", x, "", g.const([1, 1, 2, 2]), mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"), g.weight(3, 6, 5, 5, scale=0.1), g.weight(3), pads=[2, 2, 2, 2])
    case("autoencoder", g, g.named(g.op("Sigmoid", x), "reconstruction"))


def vae(name, sampling, outputs):
    """A VAE in one graph, with its sampling; what is expected is the reconstruction of the mean."""
    g = Graph(17, (1, 16, 16))
    x = g.op("Relu", g.op("Conv", "x", g.weight(4, 1, 4, 4), g.weight(4), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = g.op("Relu", g.op("Conv", x, g.weight(6, 4, 4, 4), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = g.op("Flatten", x)
    mean = g.named(g.op("Gemm", x, g.weight(5, 96, scale=0.1), g.weight(5), transB=1), outputs[1])
    log_variance = g.named(g.op("Gemm", x, g.weight(5, 96, scale=0.1), g.weight(5), transB=1), outputs[2])

    def decoder(z):
        y = g.op("Relu", g.op("Gemm", z, weights[0], weights[1], transB=1))
        y = g.op("Relu", g.op("ConvTranspose", g.op("Reshape", y, weights[2]), weights[3], pads=[1, 1, 1, 1], strides=[2, 2]))
        return g.op("Sigmoid", g.op("ConvTranspose", y, weights[4], weights[5], pads=[1, 1, 1, 1], strides=[2, 2]))

    weights = [g.weight(96, 5), g.weight(96), g.ints([-1, 6, 4, 4]), g.weight(6, 4, 4, 4), g.weight(4, 1, 4, 4), g.weight(1)]
    deviation = g.op("Exp", g.op("Mul", log_variance, g.const(0.5)))
    noise = g.op("RandomNormalLike", deviation)
    z = g.op("Add", mean, g.op("Mul", deviation, noise)) if sampling else mean
    g.named(decoder(z), outputs[0])
    model = g.model(outputs)
    still = g.named(decoder(mean), "still")
    x = random.uniform(size=(2, 1, 16, 16)).astype(np.float32)
    values = run(g.model([still, *outputs[1:]]), {"x": x}, [still, *outputs[1:]])
    save(name, model, x, "x", outputs, values)


def products():
    """Products of values that the network computes, and windows that overlap."""
    g = Graph(17, [3, 6, 5])
    case("product", g, g.op("Mul", g.op("Conv", "x", g.weight(2, 3, 1, 1)), g.op("Conv", "x", g.weight(2, 3, 1, 1))))
    g = Graph(17, [3, 6, 5])
    attention = g.op("Sigmoid", g.op("Conv", "x", g.weight(1, 3, 1, 1), g.weight(1)))
    case("gate", g, g.op("Mul", attention, "x"))
    g = Graph(17, [4, 6, 6])
    squeezed = g.op("Relu", g.op("Conv", g.op("GlobalAveragePool", "x"), g.weight(2, 4, 1, 1), g.weight(2, shift=1.0)))
    case("squeeze_excite", g, g.op("Mul", "x", g.op("Sigmoid", g.op("Conv", squeezed, g.weight(4, 2, 1, 1)))))
    g = Graph(17, [3, 6, 7])
    case("max_pool_wide", g, g.op("MaxPool", "x", kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 0, 1]))
    g = Graph(17, [3, 6, 7])
    case("max_pool_uneven", g, g.op("MaxPool", "x", kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 0, 0]))


def computed_weights():
    """Weights that the graph computes: spectral and weight normalization, and standardization."""
    g = Graph(17, IMAGE)
    weight, left, right = g.weight(4, 3, 3, 3, shift=1), g.weight(4, shift=1), g.weight(27, shift=1)
    norm = g.op("MatMul", left, g.op("MatMul", g.op("Reshape", weight, g.ints([4, -1])), right))
    case("spectral_norm", g, g.op("Conv", "x", g.op("Div", weight, norm)))
    g = Graph(20, IMAGE)
    weight = g.weight(4, 3, 3, 3)
    norm = g.op("ReduceL2", weight, g.ints([1, 2, 3]), keepdims=1)
    case("weight_norm", g, g.op("Conv", "x", g.op("Mul", g.op("Div", weight, norm), g.weight(4, 1, 1, 1))))
    g = Graph(17, IMAGE)
    weight = g.weight(4, 3, 3, 3, shift=0.3)
    centered = g.op("Sub", weight, g.op("ReduceMean", weight, axes=[-3, -2, -1]))
    variance = g.op("Div", g.op("ReduceSum", g.op("Mul", centered, centered), g.ints([1, 2, 3])), g.const(26))
    case("weight_standardization", g, g.op("Conv", "x", g.op("Div", centered, g.op("Sqrt", variance))))


def views():
    """What is computed after a view."""
    g = Graph(17, (2, 3, 4))
    view = g.op("Reshape", g.op("Gemm", g.op("Flatten", "x"), g.weight(24, 24), g.weight(24)), g.ints([-1, 2, 3, 4]))
    erf = g.op("Add", g.op("Erf", g.op("Div", view, g.const(np.sqrt(2)))), g.const(1))
    case("gelu_view", g, g.op("Mul", g.op("Mul", view, erf), g.const(0.5)))


def vae_of_vectors(name, outputs, sample):
    """A VAE that reads images as vectors and makes vectors; what is expected is the reconstruction of the mean."""
    g = Graph(17, (1, 8, 8))
    hidden = g.op("Relu", g.op("Gemm", g.op("Reshape", "x", g.ints([-1, 64])), g.weight(64, 12, scale=0.2), g.weight(12)))
    mean = g.named(g.op("Gemm", hidden, g.weight(12, 5), g.weight(5)), outputs[1])
    spread = g.named(sample(g, g.op("Gemm", hidden, g.weight(12, 5), g.weight(5)), None), outputs[2])
    weights = [g.weight(5, 12), g.weight(12), g.weight(12, 64), g.weight(64)]

    def decoder(z):
        return g.op("Sigmoid", g.op("Gemm", g.op("Relu", g.op("Gemm", z, *weights[:2])), *weights[2:]))

    g.named(decoder(g.op("Add", mean, sample(g, spread, mean))), outputs[0])
    model = g.model(outputs)
    still = g.named(decoder(mean), "still")
    x = random.uniform(size=(2, 1, 8, 8)).astype(np.float32)
    values = run(g.model([still, *outputs[1:]]), {"x": x}, [still, *outputs[1:]])
    save(name, model, x, "x", outputs, values)


def vaes_of_vectors():
    def log_sigma(g, spread, mean):
        if mean is None:
            return spread
        deviation = g.op("Exp", spread)
        return g.op("Mul", deviation, g.op("RandomNormalLike", deviation))

    def root(g, spread, mean):
        """As torch.distributions.Normal draws with an open batch size."""
        if mean is None:
            return spread
        zero, one = (numpy_helper.from_array(np.full(1, value, np.float32)) for value in (0, 1))
        shape = g.op("Shape", mean)
        zeros, ones = g.op("ConstantOfShape", shape, value=zero), g.op("ConstantOfShape", shape, value=one)
        noise = g.op("Add", g.op("Mul", ones, g.op("RandomNormalLike", zeros)), zeros)
        return g.op("Mul", noise, g.op("Sqrt", g.op("Exp", spread)))

    def sigma(g, spread, mean):
        if mean is None:
            return g.op("Softplus", spread)
        return g.op("Mul", spread, g.op("RandomNormalLike", spread))

    vae_of_vectors("vae_log_sigma", ["out", "a", "b"], log_sigma)
    vae_of_vectors("vae_vectors", ["recon", "mu", "logvar"], root)
    vae_of_vectors("vae_sigma", ["recon", "mu", "logvar"], sigma)


def write():
    header, body = {}, b""
    header["__metadata__"] = {
        "seed": str(SEED),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
    for name, value in sorted(expected.items()):
        data = np.ascontiguousarray(value, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (HERE / "expected.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)


for old in HERE.glob("*.onnx"):
    old.unlink()
convolutions()
matrices()
normalizations()
functions()
resampling()
arrangements()
arithmetic()
u_net("u_net_transposed", "transposed")
u_net("u_net_corners", "corners")
autoencoder()
vae("vae", True, ["reconstruction", "mean", "log_variance"])
vae("vae_unnamed", True, ["out", "a", "b"])
vae("vae_still", False, ["reconstruction", "mu", "logvar"])
products()
computed_weights()
views()
vaes_of_vectors()
write()
print(f"{len(list(HERE.glob('*.onnx')))} models, {sum(f.stat().st_size for f in HERE.iterdir())} bytes", file=sys.stderr)
