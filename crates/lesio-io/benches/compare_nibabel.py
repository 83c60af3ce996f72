"""Reads the file of the benchmark `read` with nibabel, and prints how the times compare.

    cargo bench -p lesio-io --bench read
    python crates/lesio-io/benches/compare_nibabel.py [TARGET_FOLDER]

Needs nibabel and numpy. Both sides give an array of 32-bit floats; lesio verifies checksum and length
of the compressed stream to its end, which nibabel does not (it stops at the last voxel).
"""
import json
import pathlib
import statistics
import sys
import time

import nibabel
import numpy

target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target")
path = target / "tmp" / "256.nii.gz"
estimates = json.loads((target / "criterion" / "read_256_i16_gz" / "lesio" / "new" / "estimates.json").read_text())
lesio = estimates["median"]["point_estimate"] / 1e6

ways = {
    "get_fdata(dtype=float32)": lambda: nibabel.load(path).get_fdata(dtype=numpy.float32),
    "asarray(dataobj, float32)": lambda: numpy.asarray(nibabel.load(path).dataobj, dtype=numpy.float32),
}
print(f"lesio {lesio:.0f} ms")
for name, read in ways.items():
    times = []
    for _ in range(7):
        start = time.perf_counter()
        array = read()
        times.append((time.perf_counter() - start) * 1e3)
        assert array.dtype == numpy.float32 and array.shape == (256, 256, 256)
    median = statistics.median(times)
    print(f"nibabel {nibabel.__version__} {name} {median:.0f} ms, ratio lesio / nibabel {lesio / median:.2f}")
