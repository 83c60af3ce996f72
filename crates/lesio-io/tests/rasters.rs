//! Pictures of every kind, against what other decoders give (`rasters/make.py`), and pictures that are damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

#[path = "support/pictures.rs"]
mod pictures;

use std::fs;
use std::path::{Path, PathBuf};

use lesio_io::ReadOptions;
use pictures::{SIGNATURE, chunk, header, png, tags, tiff, zlib};

/// One entry of `expected.json`: the values, their checksum, or the error.
#[derive(serde::Deserialize)]
struct Expected {
    shape: Option<[usize; 3]>,
    checksum: Option<u32>,
    bytes: Option<String>,
    within: Option<f32>,
    error: Option<String>,
}

fn golden() -> PathBuf {
    // A folder made with `--all` has every pair of settings.
    std::env::var_os("LESIO_RASTERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden"), PathBuf::from)
}

fn compare(path: &Path, expected: &Expected) -> Result<(), String> {
    let image = match (ReadOptions::new().read_image(path), &expected.error) {
        (Err(error), Some(name)) if error.kind().name() == name => return Ok(()),
        (Err(error), _) => return Err(format!("{error}: {:?}", std::error::Error::source(&error))),
        (Ok(_), Some(name)) => return Err(format!("is read, expected {name}")),
        (Ok(image), None) => image,
    };
    let shape = [image.channels(), image.height(), image.width()];
    if Some(shape) != expected.shape {
        return Err(format!("shape {shape:?}, expected {:?}", expected.shape));
    }
    if let Some(bytes) = &expected.bytes {
        let values: Vec<f32> = (0..bytes.len() / 2)
            .map(|at| f32::from(u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).unwrap()))
            .collect();
        let apart = |(a, b): (&f32, &f32)| (a - b).abs();
        let most = image.data().iter().zip(&values).map(apart).fold(0.0, f32::max);
        let mean = image.data().iter().zip(&values).map(apart).sum::<f32>() / values.len() as f32;
        let within = expected.within.unwrap();
        return if most <= within && mean <= 1.0 {
            Ok(())
        } else {
            Err(format!("{most} off, {mean} on average"))
        };
    }
    let bytes: Vec<u8> = image.data().iter().flat_map(|value| value.to_le_bytes()).collect();
    if Some(crc32fast::hash(&bytes)) == expected.checksum { Ok(()) } else { Err("other values".to_owned()) }
}

#[test]
fn every_kind_is_read_as_other_decoders_read_it() {
    let folder = golden();
    let list: std::collections::BTreeMap<String, Expected> =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let failures: Vec<String> = list
        .iter()
        .filter_map(|(name, expected)| {
            compare(&folder.join(name), expected).err().map(|difference| format!("{name}: {difference}"))
        })
        .collect();
    println!("{} files, {} failures", list.len(), failures.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), list.len(), failures.join("\n"));
    assert!(list.len() > 200, "only {} files", list.len());
}

fn read(bytes: &[u8]) -> Result<lesio_image::Image<f32>, lesio_io::ReadError> {
    read_with(&ReadOptions::new(), bytes)
}

fn read_with(options: &ReadOptions, bytes: &[u8]) -> Result<lesio_image::Image<f32>, lesio_io::ReadError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    options.read_image(file.path())
}

/// Names what was not refused as expected.
fn refused(name: &str, bytes: &[u8], kinds: &[&str]) -> Option<String> {
    match read(bytes) {
        Ok(_) => Some(format!("{name} is read")),
        Err(error) if kinds.contains(&error.kind().name()) => None,
        Err(error) => Some(format!("{name}: {error} ({:?})", error.kind())),
    }
}

fn none(failures: Vec<Option<String>>) {
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_damaged_png_is_refused() {
    let rows: Vec<u8> = (0..48_u32)
        .flat_map(|row| [0].into_iter().chain((0..64).map(move |column| ((7 * row + column) % 251) as u8)))
        .collect();
    let (head, data) = (header(64, 48, 8, 0, 0), zlib(&rows));
    let whole = png(&head, &[], &data);
    assert_eq!(read(&whole).unwrap().data()[[0, 47, 63]], ((7 * 47 + 63) % 251) as f32);
    let end = data.len() - 1;
    let mut wrong = data.clone();
    wrong[end] ^= 1;
    let decode = &["Decode"][..];
    let check = |name: &str, bytes: &[u8]| refused(name, bytes, decode);
    let note = chunk(b"tEXt", b"key\0text");
    let mut broken_note = note.clone();
    *broken_note.last_mut().unwrap() ^= 1;
    let palette = chunk(b"PLTE", &[1, 2, 3, 4, 5, 6]);
    let mut failures = vec![
        check("a wrong Adler-32", &png(&head, &[], &wrong)),
        check("no Adler-32", &png(&head, &[], &data[..data.len() - 4])),
        check("half of Adler-32", &png(&head, &[], &data[..data.len() - 2])),
        check("half of the stream", &png(&head, &[], &data[..data.len() / 2])),
        check("one row less", &png(&header(64, 49, 8, 0, 0), &[], &data)),
        check("one row more", &png(&header(64, 47, 8, 0, 0), &[], &data)),
        check("a byte more in the stream", &png(&head, &[], &zlib(&[&rows[..], &[0]].concat()))),
        check("an ancillary checksum", &png(&head, &broken_note, &data)),
        check("no IEND", &whole[..whole.len() - 12]),
        check("half of IEND", &whole[..whole.len() - 6]),
        check("chunks between", &{
            let (a, b) = data.split_at(99);
            let parts = [&chunk(b"IDAT", a)[..], &note, &chunk(b"IDAT", b)].concat();
            [SIGNATURE, &chunk(b"IHDR", &head), &parts, &chunk(b"IEND", &[])].concat()
        }),
        check("a color beyond the palette", &png(&header(4, 1, 8, 3, 0), &palette, &zlib(&[0, 0, 1, 2, 0]))),
        check(
            "a palette of half a color",
            &png(&header(4, 1, 8, 3, 0), &chunk(b"PLTE", &[1; 5]), &zlib(&[0; 5])),
        ),
        check("a filter that does not exist", &png(&header(4, 1, 8, 0, 0), &[], &zlib(&[5, 0, 0, 0, 0]))),
        check("interlacing that does not exist", &png(&header(64, 48, 8, 0, 2), &[], &data)),
        check("interlaced, but not", &png(&header(64, 48, 8, 0, 1), &[], &data)),
    ];
    let unsupported = &["UnsupportedPixels"][..];
    let frames = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    failures.push(refused("several frames", &png(&head, &frames, &data), unsupported));
    failures.push(refused(
        "an unknown critical chunk",
        &png(&head, &chunk(b"CgBI", &[0; 4]), &data),
        unsupported,
    ));
    none(failures);
    // Good, though unusual.
    for (name, bytes) in [
        ("a frame of one", png(&head, &chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]), &data)),
        ("a note", png(&head, &note, &data)),
        ("bytes behind the end", [&whole[..], b"and more"].concat()),
        ("bytes behind the stream", png(&head, &[], &[&data[..], &[0; 9]].concat())),
        ("an empty IDAT", png(&head, &chunk(b"IDAT", &[]), &data)),
    ] {
        assert_eq!(read(&bytes).unwrap(), read(&whole).unwrap(), "{name}");
    }
    // Every bit counts, but for those that only say how well the stream is compressed.
    let mut passed = Vec::new();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        if read(&bytes).is_ok() {
            passed.push(at);
        }
    }
    assert!(passed.is_empty(), "changes of bytes {passed:?} are not seen");
}

#[test]
fn masks_of_few_bits_are_read() {
    let inside = |row: u32, column: u32| row.abs_diff(500) < 60 && column.abs_diff(300) < 40;
    let count = 119 * 79;
    for side in [384_u32, 512, 1024, 2048, 4096] {
        let bits: Vec<u8> = (0..side)
            .flat_map(|row| {
                let byte = move |at: u32| {
                    (0..8).fold(0, |byte, bit| byte << 1 | u8::from(inside(row, 8 * at + bit)))
                };
                [0].into_iter().chain((0..side / 8).map(byte))
            })
            .collect();
        let image = read(&png(&header(side, side, 1, 0, 0), &[], &zlib(&bits))).unwrap();
        let found = image.data().iter().filter(|&&value| value == 255.0).count();
        assert_eq!(
            found,
            (0..side).flat_map(|r| (0..side).map(move |c| (r, c))).filter(|&(r, c)| inside(r, c)).count()
        );
        assert!(side < 1024 || found == count);
        // Nothing inside, of each number of bits, plain and interlaced.
        for (bits, color) in [(1, 0), (2, 0), (8, 0), (16, 0), (1, 3), (8, 3), (8, 2)] {
            if side > 1024 && bits * if color == 2 { 3 } else { 1 } > 8 {
                continue;
            }
            let palette = if color == 3 { chunk(b"PLTE", &[0, 0, 0, 255, 255, 255]) } else { Vec::new() };
            for interlace in [0, 1] {
                let pass = |start: u32, step: u32| side.saturating_sub(start).div_ceil(step);
                let passes: &[[u32; 4]] = if interlace == 0 {
                    &[[0, 0, 1, 1]]
                } else {
                    &[
                        [0, 0, 8, 8],
                        [0, 4, 8, 8],
                        [4, 0, 8, 4],
                        [0, 2, 4, 4],
                        [2, 0, 4, 2],
                        [0, 1, 2, 2],
                        [1, 0, 2, 1],
                    ]
                };
                let values = if color == 2 { 3 } else { 1 };
                let need: u32 = passes
                    .iter()
                    .map(|&[y, x, dy, dx]| {
                        pass(y, dy) * (1 + (pass(x, dx) * values * u32::from(bits)).div_ceil(8))
                    })
                    .sum();
                let data = zlib(&vec![0; need as usize]);
                let image = read(&png(&header(side, side, bits, color, interlace), &palette, &data)).unwrap();
                assert_eq!(image.channels(), if matches!(color, 2 | 3) { 3 } else { 1 });
                assert!(image.data().iter().all(|&value| value == 0.0));
            }
        }
    }
    // More than deflate can hold is a lie, whatever the number of bits.
    let lie = png(&header(1 << 20, 1 << 10, 1, 0, 0), &[], &zlib(&[0; 1000]));
    assert_eq!(read(&lie).unwrap_err().kind().name(), "ImpossibleClaim");
}

fn base(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden").join(name)).unwrap()
}

fn find(bytes: &[u8], marker: u8) -> usize {
    bytes.windows(2).position(|pair| pair == [0xff, marker]).unwrap()
}

#[test]
fn a_damaged_jpeg_is_refused() {
    let damage = &["Decode", "Truncated", "ImpossibleClaim"][..];
    let mut failures = Vec::new();
    for name in [
        "jpeg-gray-33x31.jpg",
        "jpeg-420-33x31.jpg",
        "jpeg-444-33x31.jpg",
        "jpeg-422-progressive-33x31.jpg",
        "jpeg-gray-progressive-33x31.jpg",
        "jpeg-restarts.jpg",
        "jpeg-restarts-progressive.jpg",
    ] {
        let whole = base(name);
        read(&whole).unwrap();
        let data = find(&whole, 0xda) + 12;
        // Cut anywhere in the data, with an end marker put behind.
        for part in 1..20 {
            let mut cut = whole[..data + (whole.len() - 2 - data) * part / 20].to_vec();
            if cut.last() == Some(&0xff) {
                cut.pop();
            }
            failures.push(refused(&format!("{name}, {part} twentieths"), &cut, damage));
            let ended = [&cut[..], &[0xff, 0xd9]].concat();
            failures.push(refused(&format!("{name}, {part} twentieths and an end"), &ended, damage));
        }
        let frame = whole.windows(2).position(|pair| matches!(pair, [0xff, 0xc0..=0xc2])).unwrap();
        let rows = u16::from_be_bytes([whole[frame + 5], whole[frame + 6]]);
        for (what, rows) in [("ten times the rows", rows * 10), ("twice the rows", rows * 2), ("16 rows", 16)]
        {
            let mut bytes = whole.clone();
            bytes[frame + 5..frame + 7].copy_from_slice(&rows.to_be_bytes());
            failures.push(refused(&format!("{name}, {what}"), &bytes, damage));
        }
        let mut bytes = whole.clone();
        bytes[frame + 7..frame + 9].copy_from_slice(&200_u16.to_be_bytes());
        failures.push(refused(&format!("{name}, more columns"), &bytes, damage));
        // Restart markers that are missing, repeated, or of another number.
        if name.contains("restarts") {
            let marker = data + find(&whole[data..], 0xd1);
            for (what, bytes) in [
                ("without a restart marker", [&whole[..marker], &whole[marker + 2..]].concat()),
                ("another restart marker", [&whole[..marker], &[0xff, 0xd5], &whole[marker + 2..]].concat()),
                ("a restart marker twice", [&whole[..marker], &[0xff, 0xd1], &whole[marker..]].concat()),
            ] {
                failures.push(refused(&format!("{name}, {what}"), &bytes, damage));
            }
        }
        // Scans of a progressive image that are missing, at the end and in between.
        if name.contains("progressive") {
            let scans: Vec<usize> =
                (0..whole.len() - 1).filter(|&at| whole[at..].starts_with(&[0xff, 0xda])).collect();
            // Tables stand before a scan: from behind the data of the one before.
            for pair in scans.windows(2) {
                let data = pair[0] + 2 + usize::from(whole[pair[0] + 3]);
                let end = data
                    + whole[data..]
                        .windows(2)
                        .position(|next| matches!(next, [0xff, marker] if !matches!(marker, 0 | 0xd0..=0xd7)))
                        .unwrap();
                let ended = [&whole[..end], &[0xff, 0xd9]].concat();
                failures.push(refused(&format!("{name}, ended at {end}"), &ended, damage));
                let skipped = [&whole[..pair[0]], &whole[end..]].concat();
                failures.push(refused(&format!("{name}, without the scan at {}", pair[0]), &skipped, damage));
            }
        }
        // What stands behind the end is not looked at.
        assert_eq!(read(&[&whole[..], b"a preview"].concat()).unwrap(), read(&whole).unwrap());
    }
    let flat = base("jpeg-gray-16x16.jpg");
    let frame = find(&flat, 0xc0);
    for (what, marker) in [("arithmetic coding", 0xc9), ("no loss", 0xc3), ("a hierarchy", 0xc5)] {
        let mut bytes = flat.clone();
        bytes[frame + 1] = marker;
        failures.push(refused(what, &bytes, &["UnsupportedPixels"]));
    }
    none(failures);
}

#[test]
fn every_tag_of_a_tiff_is_honoured_or_refused() {
    let data: Vec<u8> = (0..3072_u32).map(|value| (value % 251) as u8).collect();
    let file = |changes: &[(u16, u16, u32)]| tiff(&data, &tags([48, 64], 8, 3072, changes));
    assert_eq!(read(&file(&[])).unwrap().data()[[0, 47, 63]], (3071 % 251) as f32);
    let decode = |name: &str, changes: &[(u16, u16, u32)]| {
        refused(name, &file(changes), &["Decode", "ImpossibleClaim"])
    };
    let unsupported =
        |name: &str, changes: &[(u16, u16, u32)]| refused(name, &file(changes), &["UnsupportedPixels"]);
    none(vec![
        decode("a third of the bytes", &[(279, 4, 1000)]),
        decode("a byte less", &[(279, 4, 3071)]),
        decode("no bytes", &[(279, 4, 0)]),
        decode("a strip outside of the file", &[(273, 4, 1 << 30)]),
        decode("no offsets", &[(273, 0, 0)]),
        decode("no counts", &[(279, 0, 0)]),
        decode("more rows than strips", &[(278, 4, 24)]),
        decode("no interpretation", &[(262, 0, 0)]),
        refused(
            "a tag twice",
            &tiff(&data, &[tags([48, 64], 8, 3072, &[]), vec![(257, 4, 24)]].concat()),
            &["Decode"],
        ),
        decode("colors in one value", &[(262, 3, 2)]),
        decode("not a deflate stream", &[(259, 3, 8)]),
        decode("no LZW stream of this length", &[(259, 3, 5), (273, 4, 9), (279, 4, 3071)]),
        unsupported("LZW in its old form", &[(259, 3, 5)]),
        decode("tiles and strips", &[(322, 3, 16), (323, 3, 16), (324, 4, 8), (325, 4, 256)]),
        unsupported("fax", &[(259, 3, 3)]),
        unsupported("an unknown compression", &[(259, 3, 12345)]),
        unsupported("a palette", &[(262, 3, 3)]),
        unsupported("a mask", &[(262, 3, 4)]),
        unsupported("inks", &[(262, 3, 5)]),
        unsupported("differences of colors", &[(262, 3, 6)]),
        unsupported("a color filter array", &[(262, 3, 32803)]),
        unsupported("a fill order", &[(266, 3, 3)]),
        unsupported("an orientation", &[(274, 3, 9)]),
        unsupported("a planar configuration", &[(284, 3, 3)]),
        unsupported("a predictor without compression", &[(317, 3, 2)]),
        unsupported("an unknown predictor", &[(317, 3, 4), (259, 3, 8)]),
        unsupported("complex numbers", &[(339, 3, 6), (258, 3, 64), (256, 4, 8)]),
        unsupported("undefined values", &[(339, 3, 4)]),
        unsupported("floats of 8 bits", &[(339, 3, 3)]),
        unsupported("signed with 0 for white", &[(339, 3, 2), (262, 3, 0)]),
        unsupported("a thumbnail", &[(254, 4, 1)]),
        unsupported("a mask of another", &[(254, 4, 4)]),
        unsupported("layers", &[(32997, 4, 2)]),
    ]);
    // The fill order, through every compression.
    let reversed: Vec<u8> = data.iter().map(|byte| byte.reverse_bits()).collect();
    let file = |content: &[u8], compression: u32| {
        let content: Vec<u8> = content.iter().map(|byte| byte.reverse_bits()).collect();
        tiff(&content, &tags([48, 64], 8, content.len(), &[(259, 3, compression), (266, 3, 2)]))
    };
    let packed: Vec<u8> = data.chunks(128).flat_map(|part| [&[127][..], part].concat()).collect();
    let lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(&data).unwrap();
    for (content, compression) in [(data.clone(), 1), (packed, 32773), (zlib(&data), 8), (lzw, 5)] {
        let image = read(&file(&content, compression)).unwrap();
        let found: Vec<u8> = image.data().iter().map(|&value| value as u8).collect();
        assert_eq!(found, data, "compression {compression}");
        // Half of what is compressed does not hold the pixels.
        let half = refused(
            "half",
            &file(&content[..content.len() / 2], compression),
            &["Decode", "ImpossibleClaim"],
        );
        none(vec![half]);
    }
    let mut wrong = zlib(&data);
    *wrong.last_mut().unwrap() ^= 1;
    none(vec![
        refused("a wrong checksum of deflate", &file(&wrong, 8), &["Decode"]),
        refused("no checksum of deflate", &file(&wrong[..wrong.len() - 4], 8), &["Decode"]),
    ]);
    assert_eq!(read(&file(&reversed, 1)).unwrap().data()[[0, 0, 1]], 128.0);
    // Few bits, reversed: the first pixel is in the lowest bit.
    let bits = tiff(&[0b0000_0101], &tags([1, 8], 1, 1, &[(266, 3, 2)]));
    assert_eq!(read(&bits).unwrap().data().as_slice().unwrap()[..4], [255.0, 0.0, 255.0, 0.0]);
    // Blank images of large size, as tightly as each compression can.
    let side = 2048_u32;
    let blank = vec![0; (side * side) as usize];
    let lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(&blank).unwrap();
    let packed = [129, 0].repeat(blank.len() / 128);
    for (content, compression) in [(zlib(&blank), 8), (lzw, 5), (packed, 32773)] {
        let file = tiff(&content, &tags([side, side], 8, content.len(), &[(259, 3, compression)]));
        assert!(read(&file).unwrap().data().iter().all(|&value| value == 0.0));
    }
}

#[test]
fn the_orientation_can_be_ignored() {
    let options = ReadOptions::new().exif_orientation(lesio_io::ExifOrientation::Ignore);
    for ending in ["png", "tif"] {
        let stored = read(&base(&format!("turned-1.{ending}"))).unwrap();
        for number in 2..=8 {
            let bytes = base(&format!("turned-{number}.{ending}"));
            assert_eq!(read_with(&options, &bytes).unwrap(), stored, "{number}.{ending}");
            assert_ne!(read(&bytes).unwrap(), stored, "{number}.{ending}");
        }
    }
    // A note that is damaged, or out of range, turns nothing.
    let plain = base("jpeg-gray-16x16.jpg");
    let expected = read(&plain).unwrap();
    for block in [
        &b"Exif\0\0"[..],
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
    ] {
        let segment = [&[0xff, 0xe1], &(block.len() as u16 + 2).to_be_bytes()[..], block].concat();
        assert_eq!(read(&[&plain[..2], &segment, &plain[2..]].concat()).unwrap(), expected);
    }
}

#[test]
fn a_damaged_bmp_is_refused() {
    let whole = base("bmp-24.bmp");
    let damage = &["Decode", "Truncated", "UnsupportedPixels", "LimitExceeded"][..];
    let mut failures = Vec::new();
    for cut in [20, 30, 54, 60, whole.len() / 2, whole.len() - 2] {
        failures.push(refused(&format!("cut at {cut}"), &whole[..cut], damage));
    }
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    for (name, at, value) in [
        ("many rows", 22, i32::MAX),
        ("many columns", 18, i32::MAX),
        ("the least number of rows", 22, i32::MIN),
        ("negative columns", 18, -13),
        ("no rows", 22, 0),
        ("rows within the header", 10, 20),
        ("an unknown header", 14, 41),
        ("an unknown compression", 30, 9),
        ("no planes", 26, 0x0018_0000),
    ] {
        failures.push(refused(name, &patched(at, &value.to_le_bytes()), damage));
    }
    let few = base("bmp-palette-4.bmp");
    let mut bytes = few.clone();
    bytes[46] = 2;
    failures.push(refused("a palette of too few colors", &bytes, damage));
    none(failures);
}

#[test]
fn bmp_is_read_as_the_image_crate_reads_it() {
    for name in
        ["1", "L", "P", "RGB", "24", "24-top-down", "core", "masks", "palette-1", "palette-4", "palette-8"]
    {
        let bytes = base(&format!("bmp-{name}.bmp"));
        let other = image::load_from_memory_with_format(&bytes, image::ImageFormat::Bmp).unwrap().to_rgb8();
        let mine = read(&bytes).unwrap();
        for (column, row, color) in other.enumerate_pixels() {
            for channel in 0..3 {
                let value = mine.data()[[channel.min(mine.channels() - 1), row as usize, column as usize]];
                assert_eq!(value, f32::from(color[channel]), "{name}");
            }
        }
    }
}

/// Bytes of good files are changed at random: whatever comes of it, no decoder fails in a way that it does not
/// say itself, and no memory is taken beyond the limit.
#[test]
fn no_change_of_bytes_makes_a_decoder_fail() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(16);
    let mut names: Vec<PathBuf> =
        fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|ending| ending != "json"));
    names.sort();
    let rounds = std::env::var("LESIO_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let options = ReadOptions::new().max_bytes(16 << 20);
    let (mut read, mut refused) = (0, 0);
    for name in names.iter().filter(|name| !name.ends_with("large-progressive.jpg")) {
        let whole = fs::read(name).unwrap();
        for _ in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            if random.random_range(0..4) == 0 {
                bytes.truncate(random.random_range(0..bytes.len()));
            }
            match read_with(&options, &bytes) {
                Ok(image) => {
                    assert!(image.width() > 0 && image.height() > 0 && image.channels() > 0);
                    read += 1;
                }
                Err(error) => {
                    let source =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    assert!(!source.contains("the decoder failed"), "{}: {source}", name.display());
                    refused += 1;
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 0 && refused > 0);
}
