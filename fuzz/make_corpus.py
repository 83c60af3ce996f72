"""Makes the seeds of the corpora, from nothing but the standards: python fuzz/make_corpus.py"""
import gzip
import json
import pathlib
import struct
import zlib

ROOT = pathlib.Path(__file__).parent / "corpus"


def save(target, name, content):
    (ROOT / target).mkdir(parents=True, exist_ok=True)
    (ROOT / target / f"seed-{name}").write_bytes(content)


def nifti1(datatype, bits, data, order="<", magic=b"n+1\0", offset=352.0, dim=(3, 3, 2, 2), form=1, between=b""):
    h = bytearray(348)
    struct.pack_into(order + "i", h, 0, 348)
    struct.pack_into(order + "8h", h, 40, *(list(dim) + [1] * (8 - len(dim))))
    struct.pack_into(order + "hh", h, 70, datatype, bits)
    struct.pack_into(order + "8f", h, 76, *[1.0] * 8)
    struct.pack_into(order + "3f", h, 108, offset + len(between), 2.0, -1.0)
    struct.pack_into(order + "hh", h, 252, 1, form)
    struct.pack_into(order + "12f", h, 280, 1, 0, 0, -3, 0, 1, 0, 4, 0, 0, 2, 5)
    h[344:348] = magic
    return bytes(h) + bytes([1 if between else 0, 0, 0, 0]) + between + data


def nifti2(datatype, bits, data, order="<"):
    h = bytearray(540)
    struct.pack_into(order + "i", h, 0, 540)
    h[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into(order + "hh", h, 12, datatype, bits)
    struct.pack_into(order + "8q", h, 16, 4, 3, 2, 1, 2, 1, 1, 1)
    struct.pack_into(order + "8d", h, 104, *[1.0] * 8)
    struct.pack_into(order + "q", h, 168, 544)
    struct.pack_into(order + "ii", h, 344, 1, 0)
    return bytes(h) + bytes(4) + data


def model(tensors, kind="a test", document=None):
    """A safetensors file as lesio writes it: the envelope in the metadata, tensors of 32-bit floats."""
    offset, header, data, checksums = 0, {}, b"", {}
    for name, values in tensors.items():
        content = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [offset, offset + len(content)]}
        checksums[name] = zlib.crc32(content)
        offset, data = offset + len(content), data + content
    envelope = {"kind": kind, "version": 1, "checksums": checksums, "document": document}
    text = json.dumps({"__metadata__": {"lesio": json.dumps(envelope)}, **header}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def dicom(explicit, more=b""):
    """A slice of two by two pixels."""

    def element(group, number, vr, value):
        value += b"\0" * (len(value) % 2)
        tag = struct.pack("<HH", group, number)
        if not explicit and group != 2:
            return tag + struct.pack("<I", len(value)) + value
        if vr in (b"OB", b"OW", b"SQ", b"UN"):
            return tag + vr + struct.pack("<HI", 0, len(value)) + value
        return tag + vr + struct.pack("<H", len(value)) + value

    syntax = b"1.2.840.10008.1.2.1" if explicit else b"1.2.840.10008.1.2"
    short = [(2, 1), (0x10, 2), (0x11, 2), (0x100, 16), (0x101, 12), (0x102, 11), (0x103, 1)]
    return b"".join([
        b"\0" * 128 + b"DICM",
        element(2, 0x10, b"UI", syntax),
        element(0x18, 0x50, b"DS", b"2.5 "),
        element(0x20, 0x32, b"DS", b"1\\-2\\3.5"),
        element(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0"),
        element(0x28, 0x04, b"CS", b"MONOCHROME2 "),
        *[element(0x28, number, b"US", struct.pack("<H", value)) for number, value in short],
        element(0x28, 0x30, b"DS", b"0.5\\0.5"),
        element(0x28, 0x1052, b"DS", b"-1024"),
        element(0x28, 0x1053, b"DS", b"2 "),
        more,
        element(0x7FE0, 0x10, b"OW", struct.pack("<4H", 1, 2, 0xFFF, 0x7FF)),
    ])


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(color, bits, rows, extra=b""):
    header = struct.pack(">IIBBBBB", 4, 2, bits, color, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def tiff(bits, data):
    tags = [(256, 4), (257, 2), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, len(data))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def bmp(bits, palette, rows):
    head = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, bits, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(rows), 0, 0, 54 + len(palette)) + head + palette + rows


def jpeg(progressive):
    """Two blocks of gray, of one difference each: 8 rows of 16 columns."""
    table = b"\x00" + b"\1" + bytes(15) + b"\0"
    segment = lambda marker, data: bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
    frame = segment(0xC2 if progressive else 0xC0, struct.pack(">BHHB", 8, 8, 16, 1) + b"\1\x11\0")
    scan = lambda first, last, data: segment(0xDA, b"\1\1\0" + bytes([first, last, 0])) + data
    scans = scan(0, 0, b"\x3f") + scan(1, 63, b"\x3f") if progressive else scan(0, 63, b"\x0f")
    return (b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + frame + segment(0xC4, table)
            + segment(0xC4, b"\x10" + table[1:]) + scans + b"\xff\xd9")


bytes12 = bytes(range(1, 13))
shorts = struct.pack("<12h", *range(-6, 6))
floats = struct.pack(">12f", *[i / 4 for i in range(12)])
comment = struct.pack("<ii", 32, 6) + b"a comment of 24 bytes..."
save("volume", "bytes", b"\0" + nifti1(2, 8, bytes12))
save("volume", "shorts-extension", b"\0" + nifti1(4, 16, shorts, between=comment))
save("volume", "floats-big", b"\0" + nifti1(16, 32, floats, order=">", form=0))
save("volume", "rgb", b"\0" + nifti1(128, 24, bytes12 * 3))
save("volume", "complex", b"\0" + nifti1(32, 64, floats * 2))
save("volume", "two", b"\0" + nifti2(4, 16, shorts))
save("volume", "gz", b"\1" + gzip.compress(nifti1(4, 16, shorts), mtime=0))
whole = nifti1(2, 8, bytes12)
save("volume", "gz-members", b"\1" + gzip.compress(whole[:200], mtime=0) + gzip.compress(whole[200:], mtime=0))
save("volume", "pair", b"\2" + nifti1(2, 8, bytes12, magic=b"ni1\0", offset=0.0))
save("image", "gray.png", png(0, 8, b"\0abcd\0efgh"))
save("image", "bits.png", png(0, 1, b"\0\xa0\0\x50"))
save("image", "palette.png", png(3, 8, b"\0\0\1\1\0\0\1\0\1\0", chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6]))))
save("image", "alpha.png", png(4, 8, b"\0a\xffb\xffc\xffd\xff\0a\xffb\xffc\xffd\xff"))
save("image", "deep.png", png(0, 16, b"\0aabbccdd\0eeffgghh"))
save("image", "gray.tif", tiff(8, b"abcdefgh"))
save("image", "deep.tif", tiff(16, b"aabbccddeeffgghh"))
save("image", "gray.bmp", bmp(24, b"", b"abcdefghijkl" * 2))
save("image", "palette.bmp", bmp(1, b"\0\0\0\0\xff\xff\xff\0", b"\xa0\0\0\0\x50\0\0\0"))
save("image", "baseline.jpg", jpeg(False))
save("image", "progressive.jpg", jpeg(True))
packed = zlib.compress(b"abcdefgh")
save("image", "deflate.tif", tiff(8, packed).replace(struct.pack("<HHII", 259, 4, 1, 1), struct.pack("<HHII", 259, 4, 1, 8)))
save("dataset", "cases", b"a/flair.nii.gz\na/mask.nii.gz\nb/flair.nii\n\npatient,split\na,train\nb,test\n")
save("dataset", "mvtec", b"train/good/a.png\ntest/crack/a.png\nground_truth/crack/a_mask.png\n")
save("dataset", "acdc", b"p1/p1_frame01.nii.gz\np1/p1_frame01_gt.nii.gz\n\npatient,frame,split\np1,frame01,train\n")
save("dataset", "msd", b"imagesTr/a.nii.gz\nlabelsTr/a.nii.gz\nimagesTs/b.nii\n")
save("dataset", "images", b"a/b/c.png\nd.nii\ne/\nf>d.nii\ng>nowhere\nh.png>a\n")
save("model", "two", model({"a": [1.0, -2.5], "b": [0.0]}, document={"x": [1, 0.1]}))
save("model", "none", model({}))
save("model", "other-kind", model({"a": [1.0]}, kind="another"))
save("model", "nan", model({"a": [float("nan")]}))
save("dicom", "explicit", dicom(True))
save("dicom", "implicit", dicom(False))
item, end = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
save("dicom", "sequence", dicom(True, b"\x40\0\x75\x02SQ\0\0\xff\xff\xff\xff" + item + end))
