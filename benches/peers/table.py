"""Which cases there are, who does them beside lesio, and what is aimed at.

`goal` is the most that lesio's time may be of the peer's. `tolerance` bounds the difference of the
two sides' numbers, relative to the largest value of each tensor.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    name: str
    library: str
    goal: float
    work: str
    tolerance: float = 1e-4
    memory: bool = False
    # How much of the peer's own rounding is allowed where that is more than the tolerance.
    rounding: float = 1.0


CASES = [
    Case("vae-train-32", "torch", 0.80, "training step of the VAE, batch 32, Adam", memory=True),
    Case("vae-forward-32", "torch", 0.90, "forward pass of the VAE, batch 32"),
    Case("vae-input-gradient-1", "torch", 0.50, "gradient of the ELBO by the image, frozen weights, batch 1"),
    Case("vae-input-gradient-16", "torch", 0.75, "the same, batch 16"),
    Case("unet-train-8", "torch", 0.80, "training step of the U-Net, batch 8, Adam", memory=True),
    Case("unet-gn-train-8", "torch", 0.80, "the same with group normalization"),
    Case("vae-forward-1-onnx", "onnxruntime", 1.00, "forward pass of the VAE, batch 1"),
    Case("vae-forward-32-onnx", "onnxruntime", 1.00, "the same, batch 32"),
    Case("onnx-unet-1", "onnxruntime", 1.00, "forward pass of a U-Net from an ONNX file, group normalization, batch 1"),
    Case("onnx-unet-8", "onnxruntime", 1.00, "the same, batch 8"),
    Case("metric-auroc-ap", "scikit-learn", 1.00, "exact AUROC and average precision of 10^7 pixels", 1e-9),
    Case("metric-aupro", "scipy", 1.00, "exact AUPRO of 64 maps of 256x256", 1e-6),
    Case("filter-median-2d", "scipy", 1.00, "5x5 median of 64 slices of 240x240", 0.0),
    Case("filter-median-3d", "scipy", 1.00, "5x5x5 median of 96x96x64 voxels", 0.0),
    Case("filter-components", "scipy", 1.00, "components of a mask of 192x192x192, 26 neighbours", 0.0),
    Case("read-nifti-gz", "nibabel", 1.00, ".nii.gz of 256x256x256 16-bit integers to f32", 1e-6),
]

# Both sides in bfloat16, whose numbers have 8 bits: roundings amount to some thousandths of a tensor's largest value.
CASES += [
    Case(f"{case.name}-bf16", "torch", 1.00, f"{case.work}; both in bfloat16", 2e-2) for case in CASES[:4]
]


# On a graphics card: the networks in f32, beside the libraries of the card's vendor. Both sides add thousands of values in
# parallel, each in an order of its own: where a gradient is a difference of large terms, either may be off by as much.
CARD_CASES = [
    Case(case.name, case.library, 1.0 if "gradient" in case.name else 1.5, case.work, case.tolerance, rounding=2.0)
    for case in CASES[:6]
]


def of_device(device):
    return CASES if device == "cpu" else CARD_CASES


def selected(patterns, device):
    """All cases of the device, or those whose names are, or begin with, one of the patterns."""
    cases = of_device(device)
    if not patterns:
        return cases
    exact = {case.name for case in cases} & set(patterns)
    return [
        case
        for case in cases
        if case.name in exact or any(case.name.startswith(p) for p in patterns if p not in exact)
    ]
