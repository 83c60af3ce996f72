"""Compares the files of a folder, as nibabel reads them, with `expected.json` in it.

Run by the test `nibabel`: LESIO_PYTHON=python cargo test -p lesio-io --test nibabel -- --nocapture
"""
import json
import pathlib
import sys

import nibabel
import numpy

folder = pathlib.Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())
for want in expected:
    image = nibabel.load(folder / want["file"])
    header = image.header
    found = {
        "file": want["file"],
        "shape": list(image.shape),
        "type": str(header.get_data_dtype()),
        "affine": image.affine.tolist(),
        # Column-major: the order of the file.
        "values": numpy.asarray(image.dataobj).ravel("F").tolist(),
        "codes": [int(header["qform_code"]), int(header["sform_code"])],
        "units": list(header.get_xyzt_units()),
        "extensions": [[e.get_code(), e.get_content().decode() if isinstance(e.get_content(), bytes) else e.get_content()]
                       for e in header.extensions],
        "description": header["descrip"].item().decode(),
    }
    assert found == want, f"\nfound    {found}\nexpected {want}"
    # The quaternion says the same as the matrix.
    assert numpy.allclose(header.get_qform(), want["affine"], atol=1e-5), want["file"]
print(f"{len(expected)} files agree with nibabel {nibabel.__version__}")
