//! Pictures with their masks: orientation, and which pixels are inside; and the cases of `../shared`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

#[path = "support/warnings.rs"]
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use lesio_image::Image;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset, Layout, Mask};
use lesio_io::{ExifOrientation, MaskRule, Matching, ReadError, ReadOptions, read_image, write_png};
use ndarray::{Array2, Array3};
use warnings::told_by;

type Pair = (Image<f32>, Option<Array2<bool>>);

/// Reads an image and its mask as a case, and tells the warnings.
fn case(
    image: (&str, &[u8]),
    mask: (&str, &[u8]),
    options: &ReadOptions,
) -> (Result<Pair, ReadError>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(image.0), image.1).unwrap();
    fs::write(folder.join(mask.0), mask.1).unwrap();
    let data = Dataset::open(root.path(), &Layout::cases(image.0, Some(mask.0))).unwrap();
    let (pair, told) = told_by(|| data.cases()[0].read_image(options));
    (pair, told)
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden").join(name)).unwrap()
}

fn png(mask: &Array2<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write_png(&path, &Image::new(mask.clone().insert_axis(ndarray::Axis(0))), Existing::Refuse).unwrap();
    fs::read(path).unwrap()
}

fn jpeg(mask: &Array2<u8>, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (rows, columns) = mask.dim();
    let values: Vec<u8> = mask.iter().copied().collect();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(&values, columns as u32, rows as u32, ExtendedColorType::L8)
        .unwrap();
    bytes
}

/// A mask in one corner, of a size.
fn corner(rows: usize, columns: usize) -> Array2<u8> {
    Array2::from_shape_fn((rows, columns), |(row, column)| if row < 9 && column < 5 { 255 } else { 0 })
}

/// A gray TIFF file whose only strip is a JPEG stream.
fn tiff_of_jpeg(jpeg: &[u8], [rows, columns]: [u32; 2]) -> Vec<u8> {
    const ENTRIES: u32 = 9;
    let start = 8 + 2 + 12 * ENTRIES + 4;
    let fields: [[u32; 2]; ENTRIES as usize] = [
        [256, columns],
        [257, rows],
        [258, 8],
        // JPEG, black is 0.
        [259, 7],
        [262, 1],
        [273, start],
        [277, 1],
        [278, rows],
        [279, jpeg.len() as u32],
    ];
    let mut file = [b"II*\0".as_slice(), &8_u32.to_le_bytes(), &(ENTRIES as u16).to_le_bytes()].concat();
    for [tag, value] in fields {
        file.extend((tag as u16).to_le_bytes());
        file.extend(4_u16.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    file.extend(jpeg);
    file
}

/// The compression decides, not the kind of file.
#[test]
fn masks_compressed_with_loss_have_a_threshold_in_any_file() {
    let options = ReadOptions::new();
    let (rows, columns) = (24, 40);
    let drawn = |greatest: u8| {
        Array2::from_shape_fn((rows, columns), |(i, j)| if i > 10 && j > 13 { greatest } else { 0 })
    };
    let jpeg = |greatest: u8| {
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, 20);
        let values = drawn(greatest).into_raw_vec_and_offset().0;
        encoder.write_image(&values, columns as u32, rows as u32, ExtendedColorType::L8).unwrap();
        bytes
    };
    let picture = png(&corner(rows, columns));
    let read = |name: &str, mask: &[u8]| {
        case(("a.png", &picture), (name, mask), &options).0.map(|pair| pair.1.unwrap())
    };
    let tiff = |greatest: u8| tiff_of_jpeg(&jpeg(greatest), [rows as u32, columns as u32]);
    let expected = drawn(255).mapv(|value| value > 0);
    assert_eq!(read("mask.jpg", &jpeg(255)).unwrap(), expected);
    assert_eq!(read("mask.tif", &tiff(255)).unwrap(), expected);
    for (name, mask) in [("mask.jpg", jpeg(40)), ("mask.tif", tiff(40))] {
        assert_eq!(read(name, &mask).unwrap_err().kind().name(), "BlurredMask", "{name}");
    }
}

#[test]
fn masks_are_as_shown_or_turned_with_their_picture() {
    let options = ReadOptions::new();
    // The pictures have 24 rows of 40 columns in their files.
    for number in 1..=8 {
        let image = golden(&format!("turned-{number}.jpg"));
        let shown = read_image_of(&image);
        let size = (shown.height(), shown.width());
        assert_eq!(size, if number < 5 { (24, 40) } else { (40, 24) });
        // Drawn on the picture as it is shown.
        let drawn = corner(size.0, size.1);
        let (pair, told) = case(("a.jpg", &image), ("mask.png", &png(&drawn)), &options);
        let (found, mask) = pair.unwrap();
        assert_eq!(found, shown);
        assert_eq!(mask.unwrap(), drawn.mapv(|value| value > 0));
        // Turning is told, and that the mask may be meant otherwise where its size does not tell.
        let expected = match number {
            1 => 0,
            2..=4 => 2,
            _ => 1,
        };
        assert_eq!(told.len(), expected, "{number}: {told:?}");
        assert!(told.iter().all(|text| text.contains(&format!("orientation={number}"))), "{told:?}");
        // Drawn on the rows of the file: its size says so, and it is turned with the picture.
        if number >= 5 {
            let stored = corner(24, 40);
            let (pair, told) = case(("a.jpg", &image), ("mask.png", &png(&stored)), &options);
            let mask = pair.unwrap().1.unwrap();
            let (rows, columns) = (40, 24);
            for ((row, column), &inside) in mask.indexed_iter() {
                // Where the pixel stands in the file.
                let (row, column) = match number {
                    5 => (column, row),
                    6 => (columns - 1 - column, row),
                    7 => (columns - 1 - column, rows - 1 - row),
                    _ => (column, rows - 1 - row),
                };
                assert_eq!(inside, stored[[row, column]] > 0, "{number}");
            }
            assert_eq!(told.len(), 2, "{told:?}");
        }
        // As stored, for who asks for it.
        let (pair, told) = case(
            ("a.jpg", &image),
            ("mask.png", &png(&corner(24, 40))),
            &ReadOptions::new().exif_orientation(ExifOrientation::Ignore),
        );
        let (found, mask) = pair.unwrap();
        assert_eq!(([found.height(), found.width()], mask.unwrap().dim()), ([24, 40], (24, 40)));
        assert!(told.is_empty());
        // A mask of any other size is refused.
        let (pair, _) = case(("a.jpg", &image), ("mask.png", &png(&corner(24, 41))), &options);
        assert_eq!(pair.unwrap_err().kind().name(), "SizeMismatch");
    }
    // A mask with a note of its own is turned by it: here the picture itself, as its own mask.
    for number in 2..=8 {
        let image = golden(&format!("turned-{number}.png"));
        let (pair, _) = case(("a.png", &image), ("mask.png", &image), &options);
        let (image, mask) = pair.unwrap();
        let inside =
            image.data().map_axis(ndarray::Axis(0), |values| values.iter().any(|&value| value != 0.0));
        assert_eq!(mask.unwrap(), inside);
    }
}

/// Labels lie on a picture as its mask does.
#[test]
fn labels_are_turned_as_masks_are() {
    let options = ReadOptions::new();
    for number in 1..=8 {
        let image = golden(&format!("turned-{number}.jpg"));
        for size in [(24, 40), (40, 24)] {
            let drawn = corner(size.0, size.1).mapv(|value| value / 51);
            let (pair, told) = case(("a.jpg", &image), ("mask.png", &png(&drawn)), &options);
            let root = tempfile::tempdir().unwrap();
            let files = ["a.jpg", "mask.png"].map(|name| root.path().join(name));
            fs::write(&files[0], &image).unwrap();
            fs::write(&files[1], png(&drawn)).unwrap();
            let own = Case::of_files("a", [&files[0]], Mask::File(files[1].clone()), Matching::Place);
            let (found, warnings) = told_by(|| own.read_labeled(&options));
            match (found, pair) {
                (Ok((scan, labels)), Ok((_, mask))) => {
                    let expected = mask.unwrap().mapv(|inside| if inside { 5 } else { 0 });
                    let labels = labels.unwrap();
                    assert_eq!(labels.data().index_axis(ndarray::Axis(2), 0).t(), expected, "{number}");
                    assert_eq!(own.labels_on(&scan, &files[1], &options).unwrap(), labels);
                    assert_eq!(warnings.len(), told.len(), "{number}");
                }
                (Err(found), Err(expected)) => assert_eq!(found.kind().name(), expected.kind().name()),
                (found, pair) => panic!("{number} {size:?}: {:?} {:?}", found.is_ok(), pair.is_ok()),
            }
        }
    }
}

fn read_image_of(bytes: &[u8]) -> Image<f32> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read_image(file.path()).unwrap()
}

#[test]
fn a_jpeg_mask_of_small_values_is_refused() {
    let image = png(&corner(48, 64));
    let options = ReadOptions::new();
    let disc = |value: u8| {
        Array2::from_shape_fn((48, 64), |(row, column)| {
            let square = (row as i32 - 24).pow(2) + (column as i32 - 30).pow(2);
            if square < 90 { value } else { 0 }
        })
    };
    let read = |name: &str, bytes: &[u8]| case(("a.png", &image), (name, bytes), &options).0;
    for value in [1, 2, 100] {
        for quality in [75, 100] {
            match read("mask.jpg", &jpeg(&disc(value), quality)) {
                // Coarse coding may leave nothing of a value of 1: then nothing is there to be inside.
                Ok((_, mask)) => {
                    assert!(value < 3 && quality < 100 && !mask.unwrap().iter().any(|&inside| inside));
                }
                Err(error) => {
                    assert_eq!(error.kind().name(), "BlurredMask", "{error}");
                    assert!(error.to_string().contains("PNG"), "{error}");
                }
            }
        }
    }
    // Black and white is what a JPEG can hold, and nothing is nothing; the content decides, not the name.
    for name in ["mask.jpg", "mask.png"] {
        let mask = read(name, &jpeg(&disc(255), 75)).unwrap().1.unwrap();
        let (found, expected) =
            (mask.iter().filter(|&&inside| inside).count(), disc(1).iter().filter(|&&v| v > 0).count());
        assert!(found.abs_diff(expected) <= 6, "{found} inside, expected {expected}");
        assert!(read(name, &jpeg(&disc(0), 75)).unwrap().1.unwrap().iter().all(|&inside| !inside));
        // A PNG keeps a 1, whatever it is called.
        let mask = read(name, &png(&disc(1))).unwrap().1.unwrap();
        assert_eq!(mask, disc(1).mapv(|value| value > 0));
    }
}

#[test]
fn the_limit_holds_for_picture_and_mask_together() {
    let image = png(&corner(48, 64));
    let need = 48 * 64 * (2 * 4 + 2) + 2000;
    let read = |limit| case(("a.png", &image), ("mask.png", &image), &ReadOptions::new().max_bytes(limit)).0;
    read(need).unwrap();
    assert_eq!(read(48 * 64 * 4 + 3000).unwrap_err().kind().name(), "LimitExceeded");
}

/// The cases that were once wrong, as files that are not part of the repository.
#[test]
fn the_shared_cases_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/pictures");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let path = |name: &str| -> PathBuf { folder.join(name) };
    // Bits of each byte reversed.
    for (name, bits) in [("fill_order_2_8bit.tif", 8), ("fill_order_2_1bit.tif", 1)] {
        let image = read_image(path(name)).unwrap();
        let bytes = fs::read(path(name)).unwrap();
        let (entries, count) = (u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize, 12);
        let offset = (entries + 2..).step_by(count).find(|&at| bytes[at..at + 2] == [0x11, 1]).unwrap();
        let value = &bytes[offset + 8..offset + 12];
        let start = if bytes[offset + 2] == 3 {
            usize::from(u16::from_le_bytes([value[0], value[1]]))
        } else {
            u32::from_le_bytes(value.try_into().unwrap()) as usize
        };
        let line = (image.width() * bits).div_ceil(8);
        let expected = Array3::from_shape_fn((1, image.height(), image.width()), |(_, row, column)| {
            let byte = bytes[start + row * line + column * bits / 8];
            if bits == 8 {
                f32::from(byte.reverse_bits())
            } else {
                f32::from((byte >> (column % 8)) & 1) * 255.0
            }
        });
        assert_eq!(*image.data(), expected, "{name}");
    }
    // Three planes of 20 by 20, in tiles: as tifffile 2026.3.3 reads them.
    let planar = read_image(path("planar_tiles_3x20x20.tif")).unwrap();
    assert_eq!([planar.channels(), planar.height(), planar.width()], [3, 20, 20]);
    let bytes: Vec<u8> = planar.data().iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(crc32fast::hash(&bytes), 91_486_495);
    let error = read_image(path("one_scan_a_component.jpg")).unwrap_err();
    assert_eq!(error.kind().name(), "UnsupportedPixels", "{error}");
}

/// A PNG file of a palette, from the index of each pixel.
fn indexed(indices: &Array2<u8>, palette: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (rows, columns) = indices.dim();
    let mut encoder = png::Encoder::new(&mut bytes, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    let values: Vec<u8> = indices.iter().copied().collect();
    encoder.write_header().unwrap().write_image_data(&values).unwrap();
    bytes
}

#[test]
fn masks_that_may_be_none_are_told() {
    let picture = png(&corner(20, 30));
    let told = |mask: &[u8]| {
        let (pair, told) = case(("a.png", &picture), ("mask.png", mask), &ReadOptions::new());
        (pair.unwrap().1.unwrap(), told)
    };
    let drawn = corner(20, 30).mapv(|value| value / 255);
    // Colors decide, as programs show them.
    let (mask, texts) = told(&indexed(&drawn, &[0, 0, 0, 200, 0, 0]));
    assert_eq!((mask, texts.len()), (drawn.mapv(|index| index == 1), 0), "{texts:?}");
    let (mask, texts) = told(&indexed(&drawn, &[255, 255, 255, 0, 0, 0]));
    assert_eq!(mask, drawn.mapv(|index| index == 0));
    assert!(texts.len() == 1 && texts[0].contains("the first color of this mask's palette"), "{texts:?}");
    let edges = Array2::from_shape_fn((20, 30), |(_, column)| [0, 1, 127, 128, 255][column % 5]);
    let (mask, texts) = told(&png(&edges));
    assert_eq!(mask, edges.mapv(|value| value > 0));
    assert!(texts.len() == 1 && texts[0].contains("gray=360 nonzero=480"), "{texts:?}");
    let options = ReadOptions::new().mask_rule(MaskRule::above(127.0).unwrap());
    let (pair, texts) = case(("a.png", &picture), ("mask.png", &png(&edges)), &options);
    assert_eq!((pair.unwrap().1.unwrap(), texts.len()), (edges.mapv(|value| value > 127), 0), "{texts:?}");
    let (_, texts) = told(&png(&Array2::from_elem((20, 30), 255)));
    assert!(texts.len() == 1 && texts[0].contains("all of this mask is inside"), "{texts:?}");
    assert!(MaskRule::above(f64::NAN).is_err() && MaskRule::above(f64::INFINITY).is_err());
    // Labels are no shades; a large one beside them may be one to ignore.
    let few =
        |values: [u8; 3]| told(&png(&Array2::from_shape_fn((20, 30), |(_, column)| values[column % 3]))).1;
    assert!(few([0, 1, 2]).is_empty() && few([0, 64, 3]).is_empty() && few([0, 0, 254]).is_empty());
    assert!(few([0, 1, 255])[0].contains("a label for what is to be ignored"));
    assert!(few([0, 65, 254])[0].contains("shades of gray"));
    // A threshold above all values.
    let options = ReadOptions::new().mask_rule(MaskRule::above(2.5).unwrap());
    let labels = png(&Array2::from_shape_fn((20, 30), |(_, column)| (column % 3) as u8));
    let (pair, texts) = case(("a.png", &picture), ("mask.png", &labels), &options);
    assert!(!pair.unwrap().1.unwrap().iter().any(|&inside| inside));
    assert!(
        texts.len() == 1 && texts[0].contains("no value of this mask is above the threshold"),
        "{texts:?}"
    );
}

#[test]
fn masks_of_fractions_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.nii.gz");
    let told = |value: fn(usize) -> f32| {
        let data = Array3::from_shape_fn((8, 8, 8), |(i, j, k)| value(i * 64 + j * 8 + k));
        let volume = lesio_image::Volume::new(data, lesio_image::Geometry::default());
        lesio_io::WriteOptions::new().existing(Existing::Replace).write(&path, &volume).unwrap();
        let (mask, told) = told_by(|| ReadOptions::new().read_mask(&path).unwrap());
        assert!(
            mask.data()
                .indexed_iter()
                .all(|((i, j, k), &inside)| inside == (value(i * 64 + j * 8 + k) != 0.0))
        );
        told
    };
    // Labels, and 1 as it comes from 255 and a slope.
    assert!(told(|index| (index % 50) as f32).is_empty());
    assert!(told(|index| if index < 99 { 1.000_000_1 } else { 0.0 }).is_empty());
    let texts = told(|index| index as f32 / 511.0);
    assert!(texts.len() == 1 && texts[0].contains("values of this mask are fractions"), "{texts:?}");
    // A mask of 0 and 1 that was averaged, and one of gray whole numbers.
    assert_eq!(told(|index| if index < 99 { 0.25 * (index % 4) as f32 } else { 0.0 }).len(), 1);
    assert!(told(|index| [0.0, 80.0, 255.0][index % 3])[0].contains("shades of gray"));
    assert_eq!(told(|index| index as f32 / 511.0).len(), 1);
    let above = ReadOptions::new().mask_rule(MaskRule::above(0.5).unwrap());
    let mask = above.read_mask(&path).unwrap();
    assert!(mask.data().indexed_iter().all(|((i, j, k), &inside)| inside == (i * 64 + j * 8 + k > 255)));
}
