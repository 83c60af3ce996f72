"""Makes pictures of every kind that is read, with the values that other decoders give for them.

    python make.py OUT [--all]     (numpy 2.4.6, Pillow 13.0.0, tifffile 2026.3.3, imagecodecs 2026.3.6)

Pillow decodes PNG, JPEG and BMP, tifffile and imagecodecs decode TIFF; files that they do not write are written by hand
here. Without --all, of the many kinds of TIFF only some are made: each value of each setting, but not all pairs.
"""
import io, itertools, json, pathlib, struct, sys, zlib
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
everything = "--all" in sys.argv
rng = np.random.default_rng(20261126)
expected = {}


def smooth(h, w, c=1, top=255):
    y, x = np.mgrid[:h, :w]
    planes = [(np.sin(y / (3 + k)) + np.cos(x / (4 + k)) + 2) / 4 * top for k in range(c)]
    return np.stack(planes, -1) if c > 1 else planes[0]


def keep(name, content, values, within=0.0):
    """values: (rows, columns) or (rows, columns, channels). Exact ones are kept as a checksum of floats."""
    (out / name).write_bytes(content)
    a = np.asarray(values)
    a = a[None] if a.ndim == 2 else np.moveaxis(a, -1, 0)
    expected[name] = {"shape": list(a.shape)}
    if within:
        expected[name] |= {"bytes": a.astype("u1").tobytes().hex(), "within": within}
    else:
        expected[name]["checksum"] = zlib.crc32(np.ascontiguousarray(a, dtype="<f4").tobytes())


def refuse(name, content, kind):
    (out / name).write_bytes(content)
    expected[name] = {"error": kind}


def encoded(image, kind, **settings):
    b = io.BytesIO()
    image.save(b, kind, **settings)
    return b.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


# PNG, written here: all colour types, bits, filters, interlacing.
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def filtered(a, bits, kinds):
    """Rows of (rows, columns, channels), each filtered by one of the kinds in turn."""
    rows, columns, channels = a.shape
    unit, lines = max(1, bits * channels // 8), []
    before = None
    for r in range(rows):
        if bits == 16:
            raw = a[r].astype(">u2").tobytes()
        elif bits == 8:
            raw = a[r].astype("u1").tobytes()
        else:
            flags = ((a[r].ravel()[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype("u1").ravel()
            raw = np.packbits(flags).tobytes()
        up = before if before is not None else bytes(len(raw))
        kind, line = kinds[r % len(kinds)], bytearray()
        for i, v in enumerate(raw):
            left = raw[i - unit] if i >= unit else 0
            corner = up[i - unit] if i >= unit else 0
            p = left + up[i] - corner
            paeth = min((abs(p - left), 0, left), (abs(p - up[i]), 1, up[i]), (abs(p - corner), 2, corner))[2]
            line.append((v - [0, left, up[i], (left + up[i]) // 2, paeth][kind]) & 255)
        lines.append(bytes([kind]) + bytes(line))
        before = raw
    return b"".join(lines)


def png(a, color, bits, interlaced=False, extra=b"", cut=1):
    a = a if a.ndim == 3 else a[..., None]
    passes = PASSES if interlaced else [(0, 0, 1, 1)]
    data = b"".join(filtered(a[y::dy, x::dx], bits, [0, 1, 2, 3, 4]) for y, x, dy, dx in passes if a[y::dy, x::dx].size)
    z = zlib.compress(data)
    parts = [z[i * len(z) // cut:(i + 1) * len(z) // cut] for i in range(cut)]
    head = struct.pack(">IIBBBBB", a.shape[1], a.shape[0], bits, color, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + b"".join(chunk(b"IDAT", p) for p in parts)
            + chunk(b"IEND", b""))


for color, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16)), (6, 4, (8, 16))):
    for bits, interlaced in itertools.product(depths, (False, True)):
        for h, w in ((9, 13), (1, 1), (3, 2)) if interlaced else ((9, 13),):
            a = rng.integers(0, 2 ** bits, (h, w, channels))
            extra, colors = b"", a[..., :3] if color in (2, 6) else a[..., :1]
            if color in (4, 6):
                a[..., -1] = 2 ** bits - 1
            if color == 3:
                palette = rng.integers(0, 256, (2 ** bits, 3))
                extra, colors = chunk(b"PLTE", palette.astype("u1").tobytes()), palette[a[..., 0]]
            elif bits < 8:
                colors = colors * (255 // (2 ** bits - 1))
            content = png(a, color, bits, interlaced, extra, cut=3 if bits == 8 else 1)
            name = f"png-{color}-{bits}{'-interlaced' if interlaced else ''}-{h}x{w}.png"
            keep(name, content, colors)
            # Pillow agrees (it has 8 bits of coloured ones of 16).
            other = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) if color == 3 else decoded(content)
            other = (other * 255 if other.dtype == bool else other)
            other = other if other.ndim == 3 else other[..., None]
            mine = colors >> 8 if bits == 16 and color != 0 else colors
            assert (other[..., :mine.shape[-1]] == mine).all(), name
a = rng.integers(0, 256, (9, 13))
key = next(v for v in range(256) if v not in a)
keep("png-key-of-no-pixel.png", png(a, 0, 8, extra=chunk(b"tRNS", struct.pack(">H", key))), a)
refuse("png-key-of-a-pixel.png", png(a, 0, 8, extra=chunk(b"tRNS", struct.pack(">H", int(a[4, 5])))), "UnsupportedPixels")
keep("png-notes.png", png(a, 0, 8, extra=chunk(b"gAMA", struct.pack(">I", 200000)) + chunk(b"sBIT", b"\x04")), a)

# JPEG, written by Pillow (libjpeg-turbo) and imagecodecs.
for h, w in ((16, 16), (13, 17), (1, 1), (33, 31), (40, 9)):
    gray, rgb = (Image.fromarray(smooth(h, w, c).round().astype("u1")) for c in (1, 3))
    for progressive in (False, True):
        way = "-progressive" if progressive else ""
        content = encoded(gray, "jpeg", quality=92, progressive=progressive)
        keep(f"jpeg-gray{way}-{h}x{w}.jpg", content, decoded(content), 2)
        for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
            content = encoded(rgb, "jpeg", quality=92, subsampling=sampling, progressive=progressive)
            keep(f"jpeg-{name}{way}-{h}x{w}.jpg", content, decoded(content), 4)
rgb = Image.fromarray(smooth(33, 45, 3).round().astype("u1"))
for name, settings in (("restarts", {"restart_marker_blocks": 2}), ("restarts-progressive", {"restart_marker_blocks": 3, "progressive": True}),
                       ("restart-rows", {"restart_marker_rows": 1}), ("optimized", {"optimize": True}), ("coarse", {"quality": 5}),
                       ("fine", {"quality": 100}), ("rgb", {"keep_rgb": True})):
    content = encoded(rgb, "jpeg", **{"quality": 90, **settings})
    keep(f"jpeg-{name}.jpg", content, decoded(content), 4)
noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype("u1"))
content = encoded(noise, "jpeg", quality=95, subsampling=0)
keep("jpeg-noise.jpg", content, decoded(content), 4)
content = encoded(noise, "jpeg", quality=95, subsampling=0, progressive=True)
keep("jpeg-noise-progressive.jpg", content, decoded(content), 4)
# Large: only how much memory it takes is tested.
(out / "large-progressive.jpg").write_bytes(encoded(Image.fromarray(smooth(1000, 1500, 3).round().astype("u1")), "jpeg", quality=10, progressive=True))
for sampling in ("440", "411"):
    content = bytes(imagecodecs.jpeg8_encode(np.asarray(rgb), level=92, subsampling=sampling))
    if sampling == "440":
        keep(f"jpeg-{sampling}.jpg", content, decoded(content), 4)
    else:
        refuse(f"jpeg-{sampling}.jpg", content, "UnsupportedPixels")
# Sampling factors of a single component mean nothing; numbers of components are names, and some name colors.
frame_of = lambda c: next(i for i in range(len(c)) if c[i] == 255 and c[i + 1] in (0xC0, 0xC2))
for progressive in (False, True):
    for h, w in ((31, 33), (9, 40)):
        content = encoded(Image.fromarray(smooth(h, w).round().astype("u1")), "jpeg", quality=90, progressive=progressive)
        at = frame_of(content)
        for factors in (0x22, 0x21, 0x44):
            changed = content[:at + 11] + bytes([factors]) + content[at + 12:]
            keep(f"jpeg-gray-{factors:x}-{'progressive-' if progressive else ''}{h}x{w}.jpg", changed, decoded(changed), 2)
content = bytearray(encoded(Image.fromarray(smooth(24, 24, 3).round().astype("u1")), "jpeg", quality=95, subsampling=0))
for numbers in ((0, 1, 2), (34, 35, 77), b"RGB"):
    for has_jfif in (True, False):
        changed = bytearray(content)
        at, scan = frame_of(changed), changed.index(b"\xff\xda")
        for k, number in enumerate(numbers):
            changed[at + 10 + 3 * k] = changed[scan + 5 + 2 * k] = number
        changed = bytes(changed if has_jfif else changed[:2] + changed[20:])
        keep(f"jpeg-numbers-{numbers[0]}-{'jfif' if has_jfif else 'plain'}.jpg", changed, decoded(changed), 4)


def segment(marker, data):
    return bytes([255, marker]) + struct.pack(">H", len(data) + 2) + data


def scans(factors, w=24, h=16):
    """A baseline JPEG of one scan for each component, in which each block has one value."""
    tables = bytes([0] + [0, 0, 0, 12] + [0] * 12) + bytes(range(12)), bytes([0x10] + [1] + [0] * 15) + b"\0"
    most = [max(f[k] for f in factors) for k in (0, 1)]
    head = struct.pack(">BHHB", 8, h, w, 3) + b"".join(bytes([k + 1, f[0] << 4 | f[1], 0]) for k, f in enumerate(factors))
    s = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC0, head) + b"".join(segment(0xC4, t) for t in tables)
    for k, f in enumerate(factors):
        blocks, before, bits = -(-w * f[0] // (8 * most[0])) * -(-h * f[1] // (8 * most[1])), 0, ""
        for v in rng.integers(-400, 400, blocks):
            d, before = int(v) - before, int(v)
            size = abs(d).bit_length()
            bits += format(size, "04b") + (format(d if d > 0 else d + (1 << size) - 1, f"0{size}b") if size else "") + "0"
        bits += "1" * (-len(bits) % 8)
        data = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
        s += segment(0xDA, bytes([1, k + 1, 0, 0, 63, 0])) + data
    return s + b"\xff\xd9"


for name, luminance in (("444", (1, 1)), ("420", (2, 2)), ("422", (2, 1))):
    content = scans([luminance, (1, 1), (1, 1)])
    assert decoded(content).shape == (16, 24, 3)
    refuse(f"jpeg-scans-{name}.jpg", content, "UnsupportedPixels")
content = encoded(Image.fromarray(rng.integers(0, 256, (9, 9, 4)).astype("u1"), "CMYK"), "jpeg")
refuse("jpeg-cmyk.jpg", content, "UnsupportedPixels")
for bits, name in ((12, "12"),):
    deep = (smooth(16, 16, top=4095)).astype("u2")
    refuse(f"jpeg-{name}-bits.jpg", bytes(imagecodecs.jpeg8_encode(deep, bitspersample=12)), "UnsupportedPixels")
refuse("jpeg-lossless.jpg", bytes(imagecodecs.ljpeg_encode(smooth(16, 16).astype("u1"))), "UnsupportedPixels")

# BMP, written by Pillow, and by hand.
for mode in ("1", "L", "P", "RGB"):
    image = Image.fromarray(rng.integers(0, 256, (9, 13, 3)).astype("u1")).convert(mode)
    content = encoded(image, "bmp")
    values = np.asarray(image.convert("RGB" if mode in ("P", "RGB") else "L"))
    keep(f"bmp-{mode}.bmp", content, values)


def bmp(a, bits, palette=b"", top_down=False, header=40, masks=b"", compression=0):
    lines = []
    for row in a if top_down else a[::-1]:
        if bits >= 8:
            raw = row.astype("u1").tobytes()
        else:
            raw = np.packbits(((row.ravel()[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype("u1").ravel()).tobytes()
        lines.append(raw + bytes(-len(raw) % 4))
    data, h, w = b"".join(lines), a.shape[0], a.shape[1]
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(data), 0, 0, 0, 0)
        info += masks + bytes(max(0, header - 40 - len(masks)))
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


a = rng.integers(0, 256, (9, 13, 3))
for top_down in (False, True):
    keep(f"bmp-24{'-top-down' if top_down else ''}.bmp", bmp(a[..., ::-1], 24, top_down=top_down), a)
four = np.concatenate([a[..., ::-1], rng.integers(0, 256, (9, 13, 1))], -1)
keep("bmp-32.bmp", bmp(four, 32), a)
keep("bmp-core.bmp", bmp(a[..., ::-1], 24, header=12), a)
masks = struct.pack("<IIII", 0xff, 0xff00, 0xff0000, 0xff000000)
opaque = np.concatenate([a, np.full((9, 13, 1), 255)], -1)
keep("bmp-masks.bmp", bmp(opaque, 32, header=108, masks=masks, compression=3), a)
refuse("bmp-transparent.bmp", bmp(np.concatenate([a, a[..., :1]], -1), 32, header=108, masks=masks, compression=3), "UnsupportedPixels")
for bits in (1, 4, 8):
    index, palette = rng.integers(0, 2 ** bits, (9, 13)), rng.integers(0, 256, (2 ** bits, 4))
    content = bmp(index, bits, palette.astype("u1").tobytes())
    keep(f"bmp-palette-{bits}.bmp", content, palette[index][..., 2::-1])
    assert (np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) == palette[index][..., 2::-1]).all()
refuse("bmp-run-lengths.bmp", bmp(rng.integers(0, 2, (9, 13)), 8, bytes(1024), compression=1), "UnsupportedPixels")

# TIFF, written and read by tifffile. Settings beside the type of values:
TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
LAYOUTS = ["gray", "rgb", "planar", "bands", "rgba"]
CHUNKS = ["strip", "strips", "tiles"]
PACKINGS = [(None, None), ("lzw", None), ("zlib", None), ("packbits", None), ("lzw", 2), ("zlib", 2), ("zlib", 3)]
ORDERS = [("<", False), (">", False), ("<", True), (">", True)]
rows = list(itertools.product(TYPES, LAYOUTS, CHUNKS, PACKINGS, ORDERS))
if not everything:
    rng.shuffle(rows)
    rows, seen, some = [list(r) for r in rows], set(), []
    for r in rows:
        pairs = {(0, r[0], r[1]), (1, r[1], r[2], r[3]), (2, r[3], r[0]), (3, r[4], r[2]), (4, tuple(r[4]), tuple(r[3]))}
        pairs = {tuple(map(str, p)) for p in pairs}
        if len(pairs - seen) >= 3:
            some.append(r)
            seen |= pairs
    rows = some
for kind, layout, chunks, (packing, predictor), (order, big) in rows:
    dtype = np.dtype(kind)
    if predictor == 3 and dtype.kind != "f" or layout == "rgba" and kind not in ("u1", "u2"):
        continue
    shape = {"gray": (20, 37), "rgb": (20, 37, 3), "planar": (3, 20, 37), "bands": (20, 37, 2), "rgba": (20, 37, 4)}[layout]
    if dtype.kind == "f":
        a = (rng.standard_normal(shape) * 100).astype(dtype)
    else:
        # As far as 32-bit floats are exact.
        low, high = max(np.iinfo(dtype).min, -2 ** 24), min(np.iinfo(dtype).max, 2 ** 24)
        a = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    settings = {"photometric": "rgb" if layout in ("rgb", "planar", "rgba") else "minisblack", "metadata": None}
    settings["planarconfig"] = "separate" if layout == "planar" else "contig" if layout != "gray" else None
    settings |= {"strip": {}, "strips": {"rowsperstrip": 7}, "tiles": {"tile": (16, 16)}}[chunks]
    if layout == "rgba":
        a[..., 3] = np.iinfo(dtype).max
        settings["extrasamples"] = ["unassalpha"]
    if layout == "bands":
        settings["extrasamples"] = ["unspecified"]
    if predictor and kind == "f2" and predictor == 2:
        continue
    b = io.BytesIO()
    name = f"tiff-{kind}-{layout}-{chunks}-{packing}-{predictor}-{'big' if big else 'classic'}-{'le' if order == '<' else 'be'}.tif"
    try:
        tifffile.imwrite(b, a, byteorder=order, bigtiff=big, compression=packing, predictor=predictor, **settings)
        again = tifffile.imread(io.BytesIO(b.getvalue()))
    except Exception as error:
        print(name, error)
        continue
    if not (again == a).all():
        print(name, "is not read as written")
        continue
    shown = np.moveaxis(a, 0, -1) if layout == "planar" else a[..., :3] if layout == "rgba" else a
    keep(name, b.getvalue(), shown.astype(np.float32))
for order in "<>":
    a = rng.integers(0, 2, (20, 37)).astype(bool)
    b = io.BytesIO()
    tifffile.imwrite(b, a, byteorder=order, photometric="minisblack", metadata=None)
    keep(f"tiff-1-bit-{'le' if order == '<' else 'be'}.tif", b.getvalue(), a * 255.0)
    for bits in (2, 3, 4, 6, 10, 12, 14, 24, 31):
        a = rng.integers(0, 2 ** min(bits, 24), (20, 37), dtype="u4")
        flags = ((a[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype("u1").reshape(20, -1)
        raw = np.packbits(flags, axis=1).tobytes()
        if bits == 24:
            # Whole bytes stand in the file's order.
            raw = b"".join(int(v).to_bytes(3, "little" if order == "<" else "big") for v in a.ravel())
        entries = [(256, 4, 37), (257, 4, 20), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 20), (279, 4, len(raw))]
        e = b"".join(struct.pack(order + "HHI", t, f, 1) + (struct.pack(order + "HH", v, 0) if f == 3 else struct.pack(order + "I", v)) for t, f, v in entries)
        content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(raw)) + raw + struct.pack(order + "H", 9) + e + bytes(4)
        # tifffile does not read 24 bits.
        assert bits == 24 or (tifffile.imread(io.BytesIO(content)) == a).all(), bits
        keep(f"tiff-{bits}-bits-{'le' if order == '<' else 'be'}.tif", content, a.astype("f4") * np.float32(255 / (2 ** bits - 1) if bits < 8 else 1))
a = rng.integers(0, 256, (20, 37)).astype("u1")
b = io.BytesIO()
tifffile.imwrite(b, a, photometric="miniswhite", metadata=None)
keep("tiff-white-is-zero.tif", b.getvalue(), decoded(b.getvalue()))
for sampling, color in (((1, 1), "ycbcr"), ((2, 2), "ycbcr"), ((2, 1), "ycbcr"), (None, "rgb"), (None, "minisblack")):
    for chunks in ({}, {"tile": (16, 16)}, {"rowsperstrip": 16}):
        b = io.BytesIO()
        image = smooth(40, 37, 1 if color == "minisblack" else 3).round().astype("u1")
        tifffile.imwrite(b, image, photometric=color, compression="jpeg", compressionargs={"level": 95}, subsampling=sampling, metadata=None, **chunks)
        name = f"tiff-jpeg-{color}-{sampling and f'{sampling[0]}{sampling[1]}'}-{'-'.join(chunks) or 'strip'}.tif"
        keep(name, b.getvalue(), tifffile.imread(io.BytesIO(b.getvalue())), 4)
for name, a, settings in (("palette", rng.integers(0, 256, (20, 37)).astype("u1"), {"photometric": "palette", "colormap": np.zeros((3, 256), "u2")}),
                          ("cmyk", rng.integers(0, 256, (20, 37, 4)).astype("u1"), {"photometric": "separated"}),
                          ("complex", np.ones((20, 37), "c8"), {}),
                          ("pages", np.ones((3, 20, 37), "u1"), {"photometric": "minisblack"}),
                          ("stack", np.ones((3, 20, 37), "u1"), {"photometric": "minisblack", "volumetric": True}),
                          ("zstd", np.ones((20, 37), "u1"), {"compression": "zstd"}),
                          ("lzma", np.ones((20, 37), "u1"), {"compression": "lzma"}),
                          ("webp", np.ones((20, 37, 3), "u1"), {"compression": "webp"}),
                          ("transparent", rng.integers(0, 256, (20, 37, 4)).astype("u1"), {"photometric": "rgb", "extrasamples": ["unassalpha"]})):
    b = io.BytesIO()
    tifffile.imwrite(b, a, **settings)
    refuse(f"tiff-{name}.tif", b.getvalue(), "UnsupportedPixels")
b = io.BytesIO()
tifffile.imwrite(b, rng.integers(0, 9, (4, 20, 37)).astype("u1"), imagej=True)
refuse("tiff-imagej.tif", b.getvalue(), "UnsupportedPixels")
for packing in ("group3", "group4"):
    refuse(f"tiff-{packing}.tif", encoded(Image.fromarray(rng.integers(0, 2, (20, 37)).astype(bool)), "tiff", compression=packing), "UnsupportedPixels")

# The eight orientations, as each format notes them; Pillow turns.
from PIL import ImageOps
colors = rng.integers(0, 256, (5, 7, 3)).astype("u1")
for number in range(1, 9):
    note = Image.Exif()
    note[274] = number
    for kind in ("png", "tiff"):
        content = encoded(Image.fromarray(colors), kind, exif=note)
        keep(f"turned-{number}.{kind[:3]}", content, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    content = encoded(Image.fromarray(smooth(24, 40, 3).round().astype("u1")), "jpeg", exif=note, quality=95, subsampling=0)
    keep(f"turned-{number}.jpg", content, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))), 4)

(out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")))
print(len(expected), "files")
