"""Makes the seeds of the corpora, from nothing but the standards: python fuzz/make_corpus.py"""
import gzip
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
save("dataset", "cases", b"a/flair.nii.gz\na/mask.nii.gz\nb/flair.nii\n\npatient,split\na,train\nb,test\n")
save("dataset", "mvtec", b"train/good/a.png\ntest/crack/a.png\nground_truth/crack/a_mask.png\n")
save("dataset", "acdc", b"p1/p1_frame01.nii.gz\np1/p1_frame01_gt.nii.gz\n\npatient,frame,split\np1,frame01,train\n")
save("dataset", "msd", b"imagesTr/a.nii.gz\nlabelsTr/a.nii.gz\nimagesTs/b.nii\n")
save("dataset", "images", b"a/b/c.png\nd.nii\ne/\nf>d.nii\ng>nowhere\nh.png>a\n")
