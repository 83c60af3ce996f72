"""Writes scipy.json: what scipy.ndimage and numpy make of small random arrays.

Run as `python make.py > scipy.json`; last with Python 3.11, numpy 2.4.6 and scipy 1.17.1. Values are
integers or multiples of 1/8, so that they and their medians are exact in f32 and in JSON.
"""

import json

import numpy as np
from scipy import ndimage

random = np.random.default_rng(20261123)


def flat(array):
    return {"shape": list(array.shape), "values": array.astype(float).ravel().tolist()}


def bits(array):
    return {"shape": list(array.shape), "values": array.astype(int).ravel().tolist()}


plane = random.integers(-40, 40, (11, 37)) / 8
volume = random.integers(-20, 20, (5, 8, 9)) / 8
mask = ndimage.gaussian_filter(random.random((6, 9, 14)), 0.7) > 0.52
slice_ = ndimage.gaussian_filter(random.random((20, 30)), 1.0) > 0.5
percentiles = [0, 1, 10, 25, 50, 77.5, 90, 99, 100]

print(
    json.dumps(
        {
            "plane": flat(plane),
            "volume": flat(volume),
            "median_plane": [
                {"size": list(size), "result": flat(ndimage.median_filter(plane, size))}
                for size in ((3, 3), (5, 5), (7, 3), (13, 13))
            ],
            "median_volume": [
                {"size": list(size), "result": flat(ndimage.median_filter(volume, size))}
                for size in ((3, 3, 3), (5, 5, 5), (1, 5, 5), (7, 5, 5))
            ],
            "gaussian": [
                {"sigma": list(sigma), "result": flat(ndimage.gaussian_filter(volume, sigma))}
                for sigma in ((1.0, 1.0, 1.0), (0.0, 2.5, 0.6))
            ],
            "mask": bits(mask),
            "slice": bits(slice_),
            "labels": [
                bits(ndimage.label(mask, ndimage.generate_binary_structure(3, rank))[0]) for rank in (1, 2, 3)
            ],
            "squared_distance": flat(np.rint(ndimage.distance_transform_edt(~mask) ** 2)),
            "filled": bits(ndimage.binary_fill_holes(slice_)),
            "eroded_cross": bits(ndimage.binary_erosion(slice_, border_value=1)),
            "dilated_square": bits(ndimage.binary_dilation(slice_, np.ones((3, 3)))),
            "percentiles": {"wanted": percentiles, "result": np.percentile(volume, percentiles).tolist()},
        }
    )
)
