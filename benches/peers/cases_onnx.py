"""Forward passes of the VAE and of a U-Net in ONNX Runtime."""

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

THREADS = 2


def vae_model(parameters, batch):
    """The network of `cases_torch.Vae` as an ONNX graph for a fixed batch."""
    nodes = []

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(operator, name, x):
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return node(operator, inputs, name, kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1])

    def linear(name, x, output):
        return node("Gemm", [x, f"{name}.weight", f"{name}.bias"], output, transB=1)

    def activation(x):
        return node("LeakyRelu", [x], f"{x}.active", alpha=0.2)

    x = "image"
    for layer in range(4):
        x = activation(convolution("Conv", f"encoder.{layer}", x))
    x = node("Flatten", [x], "features")
    mean, log_variance = linear("mean", x, "mean"), linear("log_variance", x, "log_variance")
    deviation = node("Exp", [node("Mul", [log_variance, "half"], "half_log_variance")], "deviation")
    latent = node("Add", [mean, node("Mul", [deviation, "noise"], "spread")], "latent")
    x = node("Reshape", [activation(linear("start", latent, "start")), "square"], "start.square")
    for layer in range(4):
        x = convolution("ConvTranspose", f"decoder.{layer}", x)
        x = activation(x) if layer < 3 else node("Identity", [x], "reconstruction")

    weights = [numpy_helper.from_array(value, name) for name, value in parameters.items()]
    weights.append(helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]))
    weights.append(helper.make_tensor("square", TensorProto.INT64, [4], [batch, 256, 8, 8]))

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])

    graph = helper.make_graph(
        nodes,
        "vae",
        [value("image", 1, 128, 128), value("noise", 128)],
        [value("reconstruction", 1, 128, 128), value("mean", 128), value("log_variance", 128)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class VaeForward:
    variants = ["default"]

    def __init__(self, store, batch):
        self.store = store
        self.batch = batch

    def prepare(self, variant):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        model = vae_model(self.store.read("vae"), self.batch)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {name: self.store.read("inputs")[name][: self.batch] for name in ("image", "noise")}
        return lambda: session.run(["reconstruction", "mean", "log_variance"], inputs)

    def outputs(self):
        return dict(zip(["reconstruction", "mean", "log_variance"], self.prepare("default")()))


class UNetForward:
    """The file that lesio's worker writes and reads."""

    variants = ["default"]

    def __init__(self, store, batch):
        self.store = store
        self.batch = batch

    def prepare(self, variant):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        path = str(self.store.path("unet-gn.onnx"))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs = {"image": self.store.read("inputs")["image"][: self.batch]}
        return lambda: session.run(["reconstruction"], inputs)

    def outputs(self):
        return {"reconstruction": self.prepare("default")()[0]}


def start(threads, _device):
    global THREADS
    THREADS = threads


CASES = {
    "vae-forward-1-onnx": lambda store: VaeForward(store, 1),
    "vae-forward-32-onnx": lambda store: VaeForward(store, 32),
    "onnx-unet-1": lambda store: UNetForward(store, 1),
    "onnx-unet-8": lambda store: UNetForward(store, 8),
}
