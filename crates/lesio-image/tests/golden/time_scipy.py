"""Times scipy.ndimage on the cases of benches/filters.rs, medians in milliseconds.

Needs numpy and scipy; the values in docs were taken with numpy 2.4.6 and scipy 1.17.1.
"""

import time

import numpy as np
from scipy import ndimage

random = np.random.default_rng(1)


def milliseconds(call, rounds=7):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[rounds // 2]


def show(name, call, rounds=7):
    print(f"{name:40} {milliseconds(call, rounds):10.2f} ms", flush=True)


plane = random.random((128, 128), dtype=np.float32)
large = random.random((1024, 1024), dtype=np.float32)
stack = random.random((64, 128, 128), dtype=np.float32)
for size in (3, 5, 7, 9, 11, 15):
    show(f"median {size}x{size}, 128x128", lambda: ndimage.median_filter(plane, size))
for size in (5, 15):
    show(f"median {size}x{size}, 1024x1024", lambda: ndimage.median_filter(large, size), 3)
for size in ((1, 5, 5), (3, 3, 3), (5, 5, 5), (7, 7, 7)):
    show(f"median {list(size)}, 64x128x128", lambda: ndimage.median_filter(stack, size), 3)

smooth = ndimage.gaussian_filter(stack, 1.5)
blobs = smooth > np.quantile(smooth, 0.8)
speckle = stack > 0.8
for name, mask in (("blobs", blobs), ("speckle", speckle)):
    for connectivity, rank in (("Faces", 1), ("Corners", 3)):
        structure = ndimage.generate_binary_structure(3, rank)
        show(f"label {name}, {connectivity}, 64x128x128", lambda: ndimage.label(mask, structure))
sparse = random.random((256, 256, 256), dtype=np.float32) > 0.97
show("label sparse, Faces, 256x256x256", lambda: ndimage.label(sparse), 3)
ball = np.indices((7, 7, 7)) - 3
ball = (ball**2).sum(0) <= 9
show("erode by 3, 64x128x128", lambda: ndimage.binary_erosion(blobs, ball, border_value=1), 3)
show("gaussian 1.5, 64x128x128", lambda: ndimage.gaussian_filter(stack, 1.5))
