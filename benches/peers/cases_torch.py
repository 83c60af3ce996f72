"""The network cases in PyTorch.

A case has `variants` (ways to do the same work; the fastest counts), `prepare(variant)`, which gives
a function that does the work once, and `outputs()`, which gives the tensors that lesio's side must
reproduce. Networks, parameter names, inputs and losses are those of ../src/networks.rs and
../src/cases/networks.rs.
"""

import numpy
import torch
import torch.nn.functional as functional
from torch import nn

RATE = 1e-4
CHECKED_STEPS = 5
DEVICE = torch.device("cpu")


class Vae(nn.Module):
    """1-32-64-128-256 channels, 4x4 kernels of stride 2, 128 latent values, 128x128 pixels."""

    def __init__(self):
        super().__init__()
        widths = [1, 32, 64, 128, 256]
        self.encoder = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in zip(widths, widths[1:]))
        self.mean = nn.Linear(256 * 64, 128)
        self.log_variance = nn.Linear(256 * 64, 128)
        self.start = nn.Linear(128, 256 * 64)
        widths.reverse()
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in zip(widths, widths[1:]))

    def forward(self, image, noise):
        x = image
        for layer in self.encoder:
            x = functional.leaky_relu(layer(x), 0.2)
        x = x.flatten(1)
        mean, log_variance = self.mean(x), self.log_variance(x)
        latent = mean + (0.5 * log_variance).exp() * noise
        x = functional.leaky_relu(self.start(latent), 0.2).view(-1, 256, 8, 8)
        for layer in self.decoder[:-1]:
            x = functional.leaky_relu(layer(x), 0.2)
        return self.decoder[-1](x), mean, log_variance


def negative_elbo(image, reconstruction, mean, log_variance):
    """Squared error plus Kullback-Leibler divergence, summed over the batch."""
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return ((reconstruction - image) ** 2).sum() + divergence


class Pair(nn.Module):
    """Two 3x3 convolutions, each with its normalization, if any, and a ReLU."""

    def __init__(self, inputs, outputs, normalize):
        super().__init__()
        self.conv0 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm0 = nn.GroupNorm(8, outputs) if normalize else nn.Identity()
        self.norm1 = nn.GroupNorm(8, outputs) if normalize else nn.Identity()

    def forward(self, x):
        x = functional.relu(self.norm0(self.conv0(x)))
        return functional.relu(self.norm1(self.conv1(x)))


class UNet(nn.Module):
    """16-32-64-128 channels, maximum pooling, nearest upsampling and concatenation."""

    def __init__(self, normalize):
        super().__init__()
        widths = [16, 32, 64, 128]
        self.down = nn.ModuleList(Pair(i, o, normalize) for i, o in zip([1] + widths, widths))
        self.up = nn.ModuleList(Pair(widths[i] + widths[i + 1], widths[i], normalize) for i in range(3))
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        skips = []
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for level in (2, 1, 0):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([x, skips.pop()], 1))
        return self.out(x)


class NetworkCase:
    """What the network cases share: parameters and inputs from files, layouts, precision.

    On a graphics card a piece of work begins with values in the host's memory and ends with values
    there, as lesio's does; the variant `resident` keeps all on the card and only waits for it.
    """

    variants = ["default", "channels-last"]

    def __init__(self, store, network, bfloat16):
        self.store = store
        self.network = network
        self.bfloat16 = bfloat16
        if DEVICE.type != "cpu":
            self.variants = [*self.variants, "resident"]

    def load(self, module, variant, weights="initial"):
        file = self.network if weights == "initial" else f"{self.network}-clear"
        tensors = {name: torch.from_numpy(value) for name, value in self.store.read(file).items()}
        module.load_state_dict(tensors)
        self.variant = variant
        return self.layout(module.to(DEVICE))

    def layout(self, value):
        plain = self.variant in ("default", "resident")
        return value if plain else value.to(memory_format=torch.channels_last)

    def input(self, name, batch):
        value = torch.from_numpy(self.store.read("inputs")[name][:batch]).clone()
        value = value.to(DEVICE) if self.variant == "resident" else value
        return self.layout(value) if value.dim() == 4 else value

    def finished(self, *values):
        """The results, in the host's memory but for the variant `resident`."""
        if self.variant == "resident":
            torch.cuda.synchronize()
            return values
        return tuple(value.cpu() for value in values)

    def precision(self):
        return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=self.bfloat16 and self.variant != "converted")


class Training(NetworkCase):
    """A step of training: forward, loss, backward, Adam."""

    variants = ["default", "channels-last"]

    def prepare(self, variant, weights="initial"):
        self.module = self.load(self.build(), variant, weights)
        self.optimizer = torch.optim.Adam(self.module.parameters(), RATE, fused=True)
        self.make_inputs()
        return self.step

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return self.finished(loss.detach())[0]

    def outputs(self):
        """Losses of the first steps from the initial weights; first gradients, and parameters after
        the steps, from the clear ones, with which no unit is near its rectifier's kink.

        The gradients are computed in f64, and `rounding.NAME` says how far f32 is from them: where
        large terms cancel, as for a bias before a normalization, little of a gradient is left."""
        self.prepare("default")
        losses = [self.step().item() for _ in range(CHECKED_STEPS)]
        tensors = {"losses": numpy.array(losses, numpy.float32)}
        self.prepare("default", "clear")
        for step in range(CHECKED_STEPS):
            self.step()
            if step == 0:
                single = self.gradients()
        for name, parameter in self.module.named_parameters():
            tensors[f"trained.{name}"] = parameter.detach().cpu().numpy().copy()
        for name, exact in self.exact_gradients().items():
            largest = max(numpy.abs(exact).max(), 1e-30)
            tensors[f"gradient.{name}"] = exact
            tensors[f"rounding.gradient.{name}"] = numpy.array([numpy.abs(single[name] - exact).max() / largest])
        return tensors

    def gradients(self):
        return {name: parameter.grad.cpu().numpy().copy() for name, parameter in self.module.named_parameters()}

    def exact_gradients(self):
        self.prepare("default", "clear")
        self.module.double()
        self.image, self.noise = self.image.double(), self.noise.double()
        self.loss().backward()
        return self.gradients()


class VaeTraining(Training):
    def __init__(self, store, batch, bfloat16=False):
        super().__init__(store, "vae", bfloat16)
        self.batch = batch

    def build(self):
        return Vae()

    def make_inputs(self):
        self.image = self.input("image", self.batch)
        self.noise = self.input("noise", self.batch)

    def loss(self):
        image, noise = self.image.to(DEVICE), self.noise.to(DEVICE)
        with self.precision():
            outputs = self.module(image, noise)
        return negative_elbo(image, *(value.to(image.dtype) for value in outputs)) / self.batch


class UNetTraining(Training):
    def __init__(self, store, batch, normalize, bfloat16=False):
        super().__init__(store, "unet-gn" if normalize else "unet", bfloat16)
        self.batch = batch
        self.normalize = normalize

    def build(self):
        return UNet(self.normalize)

    def make_inputs(self):
        self.image = self.input("image", self.batch)
        self.noise = torch.zeros(0)

    def loss(self):
        image = self.image.to(DEVICE)
        with self.precision():
            output = self.module(image)
        return ((output.to(image.dtype) - image) ** 2).mean()


class FrozenCase(NetworkCase):
    """With frozen weights, which in bfloat16 may be converted once, and the image with them."""

    def __init__(self, store, network, bfloat16):
        super().__init__(store, network, bfloat16)
        if bfloat16:
            self.variants = [*self.variants, "converted"]

    def load(self, module, variant, weights="initial"):
        module = super().load(module, variant, weights)
        return module.bfloat16() if variant == "converted" else module

    def given(self, value):
        value = value.to(DEVICE)
        return value.bfloat16() if self.variant == "converted" else value


class VaeForward(FrozenCase):
    """Encoding, latent value with given noise, decoding."""

    def __init__(self, store, batch, bfloat16=False):
        super().__init__(store, "vae", bfloat16)
        self.batch = batch

    def prepare(self, variant):
        self.module = self.load(Vae(), variant)
        self.image = self.input("image", self.batch)
        self.noise = self.input("noise", self.batch)
        return self.forward

    def forward(self):
        with torch.inference_mode(), self.precision():
            return self.finished(*self.module(self.given(self.image), self.given(self.noise)))

    def outputs(self):
        names = ["reconstruction", "mean", "log_variance"]
        return dict(zip(names, (value.cpu().float().numpy().copy() for value in self.prepare("default")())))


class VaeInputGradient(FrozenCase):
    """Gradient of the negative ELBO at z = mean with respect to each pixel; weights frozen."""

    def __init__(self, store, batch, bfloat16=False):
        super().__init__(store, "vae", bfloat16)
        self.batch = batch

    def prepare(self, variant, weights="initial"):
        self.module = self.load(Vae(), variant, weights).requires_grad_(False)
        self.image = self.input("image", self.batch)
        self.noise = torch.zeros(self.batch, 128, device=self.image.device)
        return self.gradient

    def gradient(self):
        image = self.image.to(DEVICE).detach().requires_grad_(True)
        with self.precision():
            outputs = self.module(self.given(image), self.given(self.noise))
        loss = negative_elbo(image, *(value.float() for value in outputs))
        return self.finished(torch.autograd.grad(loss, image)[0])[0]

    def outputs(self):
        return {"gradient": self.prepare("default", "clear")().numpy().copy()}


class Sgemm:
    """A product of two matrices of 2048x2048: what the processor can do in f32."""

    variants = ["default"]

    def __init__(self, store):
        generator = numpy.random.default_rng(7)
        self.factors = [generator.random((2048, 2048), numpy.float32) for _ in range(2)]

    def prepare(self, variant):
        left, right = (torch.from_numpy(factor) for factor in self.factors)
        self.product = torch.empty(2048, 2048)
        return lambda: torch.mm(left, right, out=self.product)


def start(threads, device):
    global DEVICE
    DEVICE = torch.device(device)
    # Both sides in f32: PyTorch's default for convolutions on a card is a shorter type.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    # Before the first parallel region: the worker threads take the setting over from this one.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


CASES = {
    "vae-train-32": lambda store: VaeTraining(store, 32),
    "vae-forward-32": lambda store: VaeForward(store, 32),
    "vae-input-gradient-1": lambda store: VaeInputGradient(store, 1),
    "vae-input-gradient-16": lambda store: VaeInputGradient(store, 16),
    "unet-train-8": lambda store: UNetTraining(store, 8, False),
    "unet-gn-train-8": lambda store: UNetTraining(store, 8, True),
    "vae-train-32-bf16": lambda store: VaeTraining(store, 32, True),
    "vae-forward-32-bf16": lambda store: VaeForward(store, 32, True),
    "vae-input-gradient-1-bf16": lambda store: VaeInputGradient(store, 1, True),
    "vae-input-gradient-16-bf16": lambda store: VaeInputGradient(store, 16, True),
    "sgemm": Sgemm,
}
