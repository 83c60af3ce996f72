"""Writes small DICOM series to `golden/dicom` beside this script, with the values that pydicom gives them.

python dicom_golden.py   (seed 16; made with pydicom 3.0.2 and numpy 2.4.6)
"""
import json
import pathlib
import shutil

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

ROWS, COLUMNS, SLICES, SEED = 4, 5, 2, 16
OUT = pathlib.Path(__file__).parent / "golden" / "dicom"
rng = np.random.default_rng(SEED)


def table(first, entries, bits=16, vr="US"):
    """A Modality LUT Sequence; 8-bit entries stand in words of 16 bits, as pydicom reads them."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTExplanation = "made"
    item.ModalityLUTType = "US"
    if vr == "US":
        item.add_new(0x00283006, "US", [int(entry) for entry in entries])
    else:
        item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


def series(name, pixels, tables=None, scales=None, syntax=ExplicitVRLittleEndian, signed=0, stored=16, undefined=False):
    """Writes a series; `pixels` is an array [slice, row, column] of stored values. Returns what pydicom reads."""
    folder = OUT / name
    folder.mkdir(parents=True)
    values = []
    allocated = pixels.dtype.itemsize * 8
    for number in range(len(pixels)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data = Dataset()
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Modality, data.SeriesInstanceUID, data.FrameOfReferenceUID = "CT", "1.2.4", "1.2.5"
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = [1.5, 0.75]
        data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = allocated, stored, stored - 1
        data.PixelRepresentation = signed
        if tables:
            data.ModalityLUTSequence = tables[number % len(tables)]
            data["ModalityLUTSequence"].is_undefined_length = undefined
            data.ModalityLUTSequence[0].is_undefined_length_sequence_item = undefined
        if scales:
            data.RescaleSlope, data.RescaleIntercept = scales[number % len(scales)]
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        content = pixels[number].astype(pixels.dtype.newbyteorder(order)).tobytes()
        if allocated == 8 and syntax == ExplicitVRBigEndian:
            # Bytes in words of 16 bits, the high one first.
            content = np.frombuffer(content + b"\0" * (len(content) % 2), "<u2").astype(">u2").tobytes()
        data.add_new(0x7FE00010, "OW", content)
        path = folder / f"{number}.dcm"
        data.save_as(path, enforce_file_format=True)
        again = pydicom.dcmread(path)
        values.append(np.asarray(apply_modality_lut(again.pixel_array, again), np.float64).tolist())
    return values


def unsigned(high, dtype="u2"):
    return rng.integers(0, high, (SLICES, ROWS, COLUMNS)).astype(dtype)


shutil.rmtree(OUT, ignore_errors=True)
entries = rng.integers(0, 65536, 40)
bytes_ = rng.integers(0, 256, 40)
signed = rng.integers(-60, 60, (SLICES, ROWS, COLUMNS)).astype("i2")
found = {
    "table": series("table", unsigned(70), [table(10, entries)]),
    "table-in-words": series("table-in-words", unsigned(70), [table(10, entries, vr="OW")]),
    "table-of-bytes": series("table-of-bytes", unsigned(70), [table(10, bytes_, 8, "OW")]),
    "table-of-bytes-us": series("table-of-bytes-us", unsigned(70), [table(10, bytes_, 8)]),
    "table-signed": series("table-signed", signed, [table(-20, entries)], signed=1),
    "table-each": series("table-each", unsigned(70), [table(10, entries), table(0, entries[::-1][:20])]),
    "table-implicit": series("table-implicit", signed, [table(-20, entries, vr="OW")], signed=1, syntax=ImplicitVRLittleEndian),
    "table-undefined": series("table-undefined", unsigned(70), [table(10, entries)], undefined=True),
    "table-undefined-implicit": series(
        "table-undefined-implicit", unsigned(70), [table(10, entries, vr="OW")], syntax=ImplicitVRLittleEndian, undefined=True
    ),
    "table-big-endian": series("table-big-endian", signed, [table(-20, entries)], signed=1, syntax=ExplicitVRBigEndian),
    "table-beside-no-scale": series("table-beside-no-scale", unsigned(70), [table(10, entries)], [(1, 0)]),
    "table-bytes-of-pixels": series("table-bytes-of-pixels", unsigned(70, "u1"), [table(10, entries)], stored=8),
    "scale-each": series("scale-each", signed, None, [(2.5, -1024), (-0.5, 7)], signed=1),
    "scale-12-bits": series("scale-12-bits", unsigned(4096), None, [(1, -1024)], stored=12),
    "bytes-big-endian": series("bytes-big-endian", unsigned(256, "u1"), stored=8, syntax=ExplicitVRBigEndian),
    "longs": series("longs", rng.integers(0, 2**32, (SLICES, ROWS, COLUMNS)).astype("u4"), stored=32),
}
versions = {"pydicom": pydicom.__version__, "numpy": np.__version__, "seed": SEED}
text = json.dumps({"made by": versions, "values": found}, indent=None, separators=(",", ":"))
(OUT / "values.json").write_text(text.replace("]],[[", "]],\n[[") + "\n")
print(len(found), "series,", sum(p.stat().st_size for p in OUT.rglob("*.dcm")), "bytes")
