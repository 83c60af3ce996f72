//! PNG, JPEG, TIFF and BMP files.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiff::encoder::{TiffEncoder, colortype};

use super::pictures::{chunk, header, png, zlib};
use super::{Expect, List};

pub fn list(list: &mut List) {
    pngs(list);
    jpeg(list);
    tiffs(list);
    others(list);
}

fn encode_png(bytes: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    PngEncoder::new(&mut out).write_image(bytes, width, height, color).unwrap();
    out
}

fn pngs(list: &mut List) {
    use ExtendedColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    let six: Vec<u8> = (1..=6).map(|v| v * 40).collect();
    let gray = encode_png(&six, 3, 2, L8);
    let values = |v: &[u8]| v.iter().map(|&v| f32::from(v)).collect::<Vec<_>>();
    list.file("png gray", "a.png", gray.clone(), Expect::Image([1, 2, 3], values(&six)));
    list.file("png named jpg", "a.jpg", gray.clone(), Expect::Image([1, 2, 3], values(&six)));
    let wide: Vec<u16> = vec![0, 1, 255, 256, 65534, 65535];
    let bytes: Vec<u8> = wide.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let expected: Vec<f32> = wide.iter().map(|&v| f32::from(v)).collect();
    list.file(
        "png gray 16",
        "a.png",
        encode_png(&bytes, 3, 2, L16),
        Expect::Image([1, 2, 3], expected.clone()),
    );
    let rgb = Expect::Image([3, 1, 2], vec![40.0, 160.0, 80.0, 200.0, 120.0, 240.0]);
    list.file("png rgb", "a.png", encode_png(&six, 2, 1, Rgb8), rgb);
    let rgb = Expect::Image([3, 1, 2], vec![0.0, 256.0, 1.0, 65534.0, 255.0, 65535.0]);
    list.file("png rgb 16", "a.png", encode_png(&bytes, 2, 1, Rgb16), rgb);
    let opaque = [9, 255, 8, 255];
    list.file(
        "png gray opaque",
        "a.png",
        encode_png(&opaque, 2, 1, La8),
        Expect::Image([1, 1, 2], vec![9.0, 8.0]),
    );
    let see_through = || Expect::ImageError("UnsupportedPixels");
    list.file("png gray transparent", "a.png", encode_png(&[9, 255, 8, 254], 2, 1, La8), see_through());
    list.file(
        "png rgb opaque",
        "a.png",
        encode_png(&[1, 2, 3, 255], 1, 1, Rgba8),
        Expect::Image([3, 1, 1], vec![1.0, 2.0, 3.0]),
    );
    list.file("png rgb transparent", "a.png", encode_png(&[1, 2, 3, 0], 1, 1, Rgba8), see_through());
    let deep: Vec<u8> = [7_u16, 65535].iter().flat_map(|v| v.to_ne_bytes()).collect();
    list.file(
        "png gray 16 opaque",
        "a.png",
        encode_png(&deep, 1, 1, La16),
        Expect::Image([1, 1, 1], vec![7.0]),
    );
    let deep: Vec<u8> = [7_u16, 8, 9, 65534].iter().flat_map(|v| v.to_ne_bytes()).collect();
    list.file("png rgb 16 transparent", "a.png", encode_png(&deep, 1, 1, Rgba16), see_through());
    let made =
        |bits, color, rows: &[u8], before: &[u8]| png(&header(4, 1, bits, color, 0), before, &zlib(rows));
    list.file(
        "png of bits",
        "a.png",
        made(1, 0, &[0, 0b1010_0000], &[]),
        Expect::Image([1, 1, 4], vec![255.0, 0.0, 255.0, 0.0]),
    );
    list.file(
        "png of two bits",
        "a.png",
        made(2, 0, &[0, 0b0001_1011], &[]),
        Expect::Image([1, 1, 4], vec![0.0, 85.0, 170.0, 255.0]),
    );
    list.file(
        "png of four bits",
        "a.png",
        made(4, 0, &[0, 0x0f, 0x12], &[]),
        Expect::Image([1, 1, 4], vec![0.0, 255.0, 17.0, 34.0]),
    );
    let palette = chunk(b"PLTE", &[10, 20, 30, 40, 50, 60]);
    let colors = Expect::Image(
        [3, 1, 4],
        vec![10.0, 40.0, 40.0, 10.0, 20.0, 50.0, 50.0, 20.0, 30.0, 60.0, 60.0, 30.0],
    );
    list.file("png of a palette", "a.png", made(8, 3, &[0, 0, 1, 1, 0], &palette), colors);
    let faint = chunk(b"tRNS", &[255, 100]);
    list.file(
        "png of a palette, transparent",
        "a.png",
        made(8, 3, &[0, 0, 1, 1, 0], &[palette, faint].concat()),
        see_through(),
    );
    list.file(
        "png of a palette that is absent",
        "a.png",
        made(8, 3, &[0, 0, 1, 1, 0], &[]),
        Expect::ImageError("Decode"),
    );
    list.file("png of too few rows", "a.png", made(8, 0, &[0, 1], &[]), Expect::ImageError("Decode"));
    list.file("png of three bits", "a.png", made(3, 0, &[0, 1, 2, 3, 4], &[]), Expect::ImageError("Decode"));
    for (name, width, height) in
        [("30000 squared", 30000, 30000), ("2^31 wide", 1 << 31, 1), ("the widest", u32::MAX, u32::MAX)]
    {
        let lie = png(&header(width, height, 8, 0, 0), &[], &zlib(&[0; 50]));
        // PNG itself ends at 2^31 - 1.
        let kind = if width > i32::MAX as u32 { "Decode" } else { "ImpossibleClaim" };
        list.file(format!("png that claims {name}"), "a.png", lie, Expect::ImageError(kind));
    }
    for (name, width, height) in [("no width", 0, 1), ("no height", 1, 0)] {
        let empty = png(&header(width, height, 8, 0, 0), &[], &zlib(&[0; 5]));
        list.file(format!("png of {name}"), "a.png", empty, Expect::ImageError("Decode"));
    }
    for cut in [8, 20, 33, 45, gray.len() / 2 + 8] {
        list.file(format!("png cut at {cut}"), "a.png", gray[..cut].to_vec(), Expect::ImageError("Decode"));
    }
    // In the header, in the pixels, and in the checksum of the pixels.
    let data = gray.windows(4).position(|w| w == b"IDAT").unwrap();
    for at in [17, 25, data + 6, data + 9, gray.len() - 14] {
        let mut bytes = gray.clone();
        bytes[at] ^= 0x20;
        list.file(format!("png with byte {at} flipped"), "a.png", bytes, Expect::ImageError("Decode"));
    }
}

fn jpeg(list: &mut List) {
    let encode = |bytes: &[u8], width, height, color| {
        let mut out = Vec::new();
        JpegEncoder::new_with_quality(&mut out, 100).write_image(bytes, width, height, color).unwrap();
        out
    };
    let flat = encode(&[128; 256], 16, 16, ExtendedColorType::L8);
    list.file("jpeg gray", "a.jpg", flat.clone(), Expect::Image([1, 16, 16], vec![128.0; 256]));
    list.file("jpeg named tif", "a.tif", flat.clone(), Expect::Image([1, 16, 16], vec![128.0; 256]));
    let color = encode(&[128; 768], 16, 16, ExtendedColorType::Rgb8);
    list.file("jpeg color", "a.jpeg", color.clone(), Expect::Image([3, 16, 16], vec![128.0; 768]));
    let fill = [&flat[..2], &[0xff, 0xff, 0xff], &flat[2..]].concat();
    list.file("jpeg with fill bytes", "a.jpg", fill, Expect::Image([1, 16, 16], vec![128.0; 256]));
    for cut in [3, 4, 10, 21, 100, 200, flat.len() - 20, flat.len() - 2, flat.len() - 1] {
        list.file(
            format!("jpeg cut at {cut}"),
            "a.jpg",
            flat[..cut].to_vec(),
            Expect::ImageError("Truncated"),
        );
    }
    let frame = flat.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = flat.clone();
        bytes[frame + at..frame + at + value.len()].copy_from_slice(value);
        bytes
    };
    let claim = patched(5, &[0xff, 0xff, 0xff, 0xff]);
    list.file("jpeg that claims 65535 squared", "a.jpg", claim, Expect::ImageError("ImpossibleClaim"));
    list.file("jpeg of four components", "a.jpg", patched(9, &[4]), Expect::ImageError("UnsupportedPixels"));
    list.file("jpeg of no components", "a.jpg", patched(9, &[0]), Expect::ImageError("UnsupportedPixels"));
    list.file("jpeg of no height", "a.jpg", patched(5, &[0, 0]), Expect::ImageError("Decode"));
    list.file("jpeg of 12 bits", "a.jpg", patched(4, &[12]), Expect::ImageError("UnsupportedPixels"));
    list.file(
        "jpeg of nothing but ends",
        "a.jpg",
        vec![0xff, 0xd8, 0xff, 0xd9],
        Expect::ImageError("Decode"),
    );
    let junk = [&[0xff, 0xd8, 0xff, 0xd8][..], &[5; 50]].concat();
    list.file("jpeg of junk", "a.jpg", junk, Expect::ImageError("Decode"));
    let short = [&[0xff, 0xd8, 0xff, 0xe0, 0, 1][..], &flat[2..]].concat();
    list.file("jpeg with a segment of length 1", "a.jpg", short, Expect::ImageError("Decode"));
}

fn tiffs(list: &mut List) {
    fn encode<C: colortype::ColorType>(data: &[C::Inner], width: u32, height: u32) -> Vec<u8>
    where
        [C::Inner]: tiff::encoder::TiffValue,
    {
        let mut out = std::io::Cursor::new(Vec::new());
        TiffEncoder::new(&mut out).unwrap().write_image::<C>(width, height, data).unwrap();
        out.into_inner()
    }
    let six: Vec<u8> = vec![0, 1, 2, 127, 128, 255];
    let gray = encode::<colortype::Gray8>(&six, 3, 2);
    let as_f32 = |v: &[u8]| v.iter().map(|&v| f32::from(v)).collect::<Vec<_>>();
    list.file("tiff gray", "a.tif", gray.clone(), Expect::Image([1, 2, 3], as_f32(&six)));
    let wide = encode::<colortype::Gray16>(&[0, 65535, 256], 3, 1);
    list.file("tiff gray 16", "a.tiff", wide, Expect::Image([1, 1, 3], vec![0.0, 65535.0, 256.0]));
    let float = encode::<colortype::Gray32Float>(&[-1.5, f32::INFINITY, 1e-40], 3, 1);
    list.file("tiff float", "a.tif", float, Expect::Image([1, 1, 3], vec![-1.5, f32::INFINITY, 1e-40]));
    let double = encode::<colortype::Gray64Float>(&[-1.5, 0.25], 2, 1);
    list.file("tiff double", "a.tif", double, Expect::Image([1, 1, 2], vec![-1.5, 0.25]));
    let beyond = encode::<colortype::Gray64Float>(&[0.0, 1e300], 2, 1);
    list.file("tiff double beyond f32", "a.tif", beyond, Expect::ImageError("LossyConversion"));
    let signed = encode::<colortype::GrayI16>(&[-32768, 5], 2, 1);
    list.file("tiff signed", "a.tif", signed, Expect::Image([1, 1, 2], vec![-32768.0, 5.0]));
    let rgb = encode::<colortype::RGB8>(&[1, 2, 3, 4, 5, 6], 2, 1);
    list.file("tiff rgb", "a.tif", rgb, Expect::Image([3, 1, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let rgb = encode::<colortype::RGB16>(&[1, 2, 300], 1, 1);
    list.file("tiff rgb 16", "a.tif", rgb, Expect::Image([3, 1, 1], vec![1.0, 2.0, 300.0]));
    let opaque = encode::<colortype::RGBA8>(&[1, 2, 3, 255], 1, 1);
    list.file("tiff opaque", "a.tif", opaque, Expect::Image([3, 1, 1], vec![1.0, 2.0, 3.0]));
    let faint = encode::<colortype::RGBA8>(&[1, 2, 3, 25], 1, 1);
    list.file("tiff transparent", "a.tif", faint, Expect::ImageError("UnsupportedPixels"));
    let cmyk = encode::<colortype::CMYK8>(&[1, 2, 3, 25], 1, 1);
    list.file("tiff of inks", "a.tif", cmyk, Expect::ImageError("UnsupportedPixels"));
    let pages = {
        let mut out = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut out).unwrap();
        encoder.write_image::<colortype::Gray8>(3, 2, &six).unwrap();
        encoder.write_image::<colortype::Gray8>(3, 2, &six).unwrap();
        drop(encoder);
        out.into_inner()
    };
    list.file("tiff of two pages", "a.tif", pages, Expect::ImageError("UnsupportedPixels"));
    for cut in [4, 7, 8, 20, gray.len() / 2, gray.len() - 1] {
        list.file(format!("tiff cut at {cut}"), "a.tif", gray[..cut].to_vec(), Expect::ImageError("Decode"));
    }
    let mut nowhere = gray.clone();
    nowhere[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    list.file("tiff that starts nowhere", "a.tif", nowhere, Expect::ImageError("Decode"));
    // The directory's entries of width (256) and height (257) are 12 bytes each: tag, type, count, value.
    let lie = |tag: u16, value: u32| {
        let mut bytes = gray.clone();
        let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize + 2;
        let entry = (at..).step_by(12).find(|&at| bytes[at..at + 2] == tag.to_le_bytes()).unwrap();
        bytes[entry + 2..entry + 12].copy_from_slice(
            &[&4_u16.to_le_bytes()[..], &1_u32.to_le_bytes(), &value.to_le_bytes()].concat(),
        );
        bytes
    };
    list.file(
        "tiff that claims 2^30 columns",
        "a.tif",
        lie(256, 1 << 30),
        Expect::ImageError("ImpossibleClaim"),
    );
    list.file("tiff that claims 2^30 rows", "a.tif", lie(257, 1 << 30), Expect::ImageError("Decode"));
    list.file("tiff of no columns", "a.tif", lie(256, 0), Expect::ImageError("Decode"));
}

fn others(list: &mut List) {
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("one byte", vec![0x89]),
        ("a BMP", b"BM".repeat(40)),
        ("a GIF", b"GIF89a".repeat(10)),
        ("text", b"not an image".to_vec()),
        ("half a PNG signature", b"\x89PNG\r\n".to_vec()),
    ] {
        list.file(format!("image of {name}"), "a.png", bytes, Expect::ImageError("UnknownContent"));
    }
    list.files("image absent", Vec::new(), "absent.png", Expect::ImageError("NotFound"));
    list.made(
        "image that is a folder",
        "a.png",
        |at| std::fs::create_dir(at.join("a.png")).unwrap(),
        Expect::ImageError("NotRegularFile"),
    );
}
