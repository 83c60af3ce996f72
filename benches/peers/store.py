"""The data that both sides work on, in one folder: safetensors files and a NIfTI volume.

Networks' parameters and inputs are written by lesio's worker (`--export`), the rest by
`write_data` here.
"""

import gzip
from pathlib import Path

import numpy
from safetensors.numpy import load_file, save_file

RANKED_PIXELS = 10_000_000


class Store:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.files = {}

    def path(self, name):
        return self.folder / name

    def read(self, name):
        if name not in self.files:
            self.files[name] = load_file(self.path(f"{name}.safetensors"))
        return self.files[name]

    def write(self, name, tensors):
        arrays = {key: numpy.array(value, order="C") for key, value in tensors.items()}
        save_file(arrays, self.path(f"{name}.safetensors"))


def write_data(folder):
    """Writes what is not there yet."""
    store = Store(folder)
    makers = {"ranking": ranking, "regions": regions, "volume": volume, "mask": mask}
    for name, make in makers.items():
        if not store.path(f"{name}.safetensors").exists():
            store.write(name, make(numpy.random.default_rng(11)))
    if not store.path("volume.nii.gz").exists():
        write_nifti(store.path("volume.nii.gz"), numpy.random.default_rng(12))


def ranking(generator):
    """Scores of 10^7 pixels, 2 % of them abnormal and on average higher."""
    truth = generator.random(RANKED_PIXELS) < 0.02
    scores = generator.gamma(2.0, 0.1, RANKED_PIXELS) + 0.15 * truth
    return {"truth": truth.astype(numpy.uint8), "scores": scores.astype(numpy.float32)}


def smooth_noise(generator, shape, sigma):
    from scipy import ndimage

    field = ndimage.gaussian_filter(generator.standard_normal(shape, numpy.float32), sigma, mode="wrap")
    return field / field.std()


def regions(generator):
    """64 maps of 256x256 pixels with regions of many sizes and scores that partly follow them."""
    field = smooth_noise(generator, (64, 256, 256), (0, 6, 6))
    truth = field > 2.0
    scores = 0.5 * field + smooth_noise(generator, field.shape, (0, 2, 2))
    return {"truth": truth.astype(numpy.uint8), "scores": scores.astype(numpy.float32)}


def volume(generator):
    """Slices and a volume as noisy as an anomaly map."""
    noise = generator.standard_normal
    return {
        "slices": smooth_noise(generator, (64, 240, 240), (0, 3, 3)) + noise((64, 240, 240), numpy.float32),
        "volume": smooth_noise(generator, (96, 96, 64), 3) + noise((96, 96, 64), numpy.float32),
    }


def mask(generator):
    """A volume of blobs and specks, as a thresholded map has them."""
    field = smooth_noise(generator, (192, 192, 192), 2)
    specks = generator.random(field.shape) < 0.002
    return {"mask": ((field > 1.2) | specks).astype(numpy.uint8)}


def write_nifti(path, generator):
    import nibabel

    field = smooth_noise(generator, (256, 256, 256), 8)
    noise = generator.standard_normal(field.shape, numpy.float32)
    head = sum(((i - 127.5) / 110) ** 2 for i in numpy.ogrid[:256, :256, :256]) < 1
    voxels = numpy.where(head, 800 + 150 * field + 25 * noise, 0).astype(numpy.int16)
    image = nibabel.Nifti1Image(voxels, numpy.diag([0.9, 0.9, 1.1, 1.0]))
    image.header.set_slope_inter(0.5, -3.0)
    data = image.to_bytes()
    temporary = path.with_suffix(".partial")
    with open(temporary, "wb") as file, gzip.GzipFile("", "wb", 6, file, 0) as compressed:
        compressed.write(data)
    temporary.rename(path)
