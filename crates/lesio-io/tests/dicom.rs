//! DICOM series, made here with dicom-rs: what they become, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

#[path = "support/dicom.rs"]
mod support;
#[path = "support/warnings.rs"]
mod warnings;

use std::fs;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use lesio_image::Volume;
use lesio_io::{ReadError, ReadOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::Slice;

/// Retired, and still in archives.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

const COLUMNS: usize = 5;
const ROWS: usize = 4;
/// Turned about two axes.
const ALONG: [f64; 3] = [0.96, 0.28, 0.0];
const DOWN: [f64; 3] = [-0.168, 0.576, -0.8];
/// Across: along times down.
const NORMAL: [f64; 3] = [-0.224, 0.768, 0.6];
const START: [f64; 3] = [-100.5, 20.25, 7.0];

fn text(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.6}")).collect::<Vec<_>>().join("\\")
}

fn at(height: f64) -> String {
    text(&std::array::from_fn::<f64, 3, _>(|axis| START[axis] + height * NORMAL[axis]))
}

/// The value of a pixel, different for every one.
fn value(column: usize, row: usize, slice: usize) -> u16 {
    (column + 10 * row + 100 * slice) as u16
}

/// The slice of this number, three millimeters from the one before.
fn numbered(number: usize) -> Slice {
    let row = |row| (0..COLUMNS).map(move |column| value(column, row, number));
    Slice::new([COLUMNS, ROWS], (0..ROWS).flat_map(row).collect()).with(|s| {
        s.spacing = text(&[1.5, 0.75]);
        s.orientation = text(&[ALONG, DOWN].concat());
        s.position = at(3.0 * number as f64);
    })
}

/// Writes slices under names in no order, and reads them.
fn read(slices: &[Slice]) -> Result<Volume<f32>, ReadError> {
    let folder = tempfile::tempdir().unwrap();
    for (number, slice) in slices.iter().enumerate() {
        slice.write(&folder.path().join(format!("{:02}-{number}.dcm", number * 7 % 11)));
    }
    ReadOptions::new().read_dicom(folder.path())
}

fn series(count: usize) -> Vec<Slice> {
    (0..count).map(numbered).collect()
}

/// Values where they belong, and the world of the first voxel of each slice.
fn check(volume: &Volume<f32>, count: usize, expected: impl Fn(u16, usize) -> f32) {
    assert_eq!(volume.shape(), [COLUMNS, ROWS, count]);
    for ((column, row, slice), &found) in volume.data().indexed_iter() {
        assert_eq!(found, expected(value(column, row, slice), slice), "{column} {row} {slice}");
        // In the patient's coordinates, which run to the left and to the back.
        let place = |axis: usize| {
            START[axis]
                + 0.75 * column as f64 * ALONG[axis]
                + 1.5 * row as f64 * DOWN[axis]
                + 3.0 * slice as f64 * NORMAL[axis]
        };
        let found = volume.geometry().to_world([column as f64, row as f64, slice as f64]);
        for (found, expected) in found.into_iter().zip([-place(0), -place(1), place(2)]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn slices_become_a_volume_in_its_place_whatever_their_names() {
    for count in [2, 3, 9] {
        let mut slices = series(count);
        check(&read(&slices).unwrap(), count, |value, _| f32::from(value));
        slices.reverse();
        check(&read(&slices).unwrap(), count, |value, _| f32::from(value));
    }
}

#[test]
fn every_uncompressed_transfer_syntax_gives_the_same() {
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN] {
        let slices: Vec<Slice> =
            series(4).into_iter().map(|slice| slice.with(|s| s.syntax = syntax)).collect();
        check(&read(&slices).unwrap(), 4, |value, _| f32::from(value));
    }
}

#[test]
fn scaling_is_that_of_each_slice() {
    let scales = [("1", "0"), ("2.5", "-1024"), ("-0.5", "10")];
    let slices: Vec<Slice> = series(3)
        .into_iter()
        .zip(scales)
        .map(|(slice, scale)| slice.with(|s| s.scaling = Some(scale)))
        .collect();
    check(&read(&slices).unwrap(), 3, |value, slice| {
        let (slope, intercept) = scales[slice];
        f32::from(value) * slope.parse::<f32>().unwrap() + intercept.parse::<f32>().unwrap()
    });
}

#[test]
fn bits_are_taken_as_stored() {
    // Twelve bits, signed, with an overlay in the bits above.
    let stored: Vec<i32> = vec![0, 1, -1, 2047, -2048, 5];
    let twelve = stored.iter().map(|&value| (value as u16 & 0xfff) | 0xa000).collect::<Vec<_>>();
    let eight = vec![0_u8, 1, 127, 128, 254, 255];
    let slices = |change: &dyn Fn(&mut Slice)| -> Vec<Slice> {
        let sized = |slice: Slice| slice.with(|s| (s.rows, s.columns) = (2, 3)).with(|s| change(s));
        series(2).into_iter().map(sized).collect()
    };
    let first = |volume: Volume<f32>| volume.data().t().iter().take(6).copied().collect::<Vec<_>>();
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN] {
        let signed = slices(&|s| {
            (s.syntax, s.bits, s.signed) = (syntax, [16, 12, 11], 1);
            s.pixels = Some(PrimitiveValue::U16(twelve.clone().into()));
        });
        assert_eq!(first(read(&signed).unwrap()), stored.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let bytes = slices(&|s| {
            (s.syntax, s.bits) = (syntax, [8, 8, 7]);
            s.pixels = Some(PrimitiveValue::U8(eight.clone().into()));
        });
        assert_eq!(first(read(&bytes).unwrap()), eight.iter().map(|&v| f32::from(v)).collect::<Vec<_>>());
    }
}

#[test]
fn a_single_slice_is_as_thick_as_it_says() {
    let volume = read(&[numbered(0).with(|s| s.thickness = Some("3"))]).unwrap();
    check(&volume, 1, |value, _| f32::from(value));
    let error = read(&[numbered(0)]).unwrap_err();
    assert_eq!(error.kind().name(), "BadAttribute");
    assert!(error.to_string().contains("SliceThickness"), "{error}");
}

#[test]
fn a_tilted_gantry_stays_tilted() {
    let tilt = |number: usize| {
        let mut position = [0.0; 3];
        for axis in 0..3 {
            position[axis] = START[axis] + number as f64 * (3.0 * NORMAL[axis] + 0.5 * DOWN[axis]);
        }
        text(&position)
    };
    let slices: Vec<Slice> =
        (0..5).map(|number| numbered(number).with(|s| s.position = tilt(number))).collect();
    let volume = read(&slices).unwrap();
    let step = |axis: usize| volume.geometry().affine()[axis][2];
    let expected: [f64; 3] = std::array::from_fn(|axis| 3.0 * NORMAL[axis] + 0.5 * DOWN[axis]);
    for (found, expected) in
        [step(0), step(1), step(2)].into_iter().zip([-expected[0], -expected[1], expected[2]])
    {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// Slices at these distances, with positions of this many decimals.
fn rounded(step: f64, decimals: usize, count: usize) -> Vec<Slice> {
    let slice = |number: usize| {
        numbered(number).with(|s| {
            s.orientation = text(&[1., 0., 0., 0., 1., 0.]);
            s.position = format!("-60\\-50.5\\{:.decimals$}", -40.0 + step * number as f64);
        })
    };
    (0..count).map(slice).collect()
}

#[test]
fn thin_slices_with_rounded_positions_are_even() {
    for (step, decimals) in [(0.625, 2), (0.625, 1), (1.25, 1), (3.333_333, 2), (0.7, 1)] {
        let volume = read(&rounded(step, decimals, 40)).unwrap();
        let (found, unit) = (volume.geometry().spacing()[2], 10_f64.powi(-(decimals as i32)));
        // By the whole extent.
        assert!((found - step).abs() <= unit / 38.0, "{step} {decimals}: {found}");
        for (count, gone) in [(40, 20), (40, 38), (4, 1), (5, 2)] {
            let mut slices = rounded(step, decimals, count);
            slices.remove(gone);
            let error = read(&slices).unwrap_err();
            assert_eq!(error.kind().name(), "MissingSlices", "{step} {decimals} {count} {gone}: {error}");
            assert!(error.to_string().contains("1 slices are missing"), "{error}");
        }
    }
    // In any direction.
    let oblique = |number: usize| {
        let height = 0.625 * number as f64;
        let place: [f64; 3] = std::array::from_fn(|axis| START[axis] + height * NORMAL[axis]);
        let [x, y, z] = place;
        numbered(number).with(|s| s.position = format!("{x:.2}\\{y:.2}\\{z:.2}"))
    };
    assert_eq!(read(&(0..30).map(oblique).collect::<Vec<_>>()).unwrap().shape(), [COLUMNS, ROWS, 30]);
    // A slice that is shifted by a tenth of the step.
    for (step, decimals) in [(0.625, 6), (0.625, 2), (3.0, 6)] {
        let mut slices = rounded(step, decimals, 20);
        slices[9].position = format!("-60\\-50.5\\{:.decimals$}", -40.0 + step * 9.1);
        let error = read(&slices).unwrap_err();
        assert_eq!(error.kind().name(), "UnevenSpacing", "{step} {decimals}: {error}");
    }
    // Whole numbers are not rounded ones, and lengths in messages are short.
    let mut slices = rounded(3.0, 0, 5);
    slices[2].position = "-60\\-50.5\\-33".to_owned();
    let text = read(&slices).unwrap_err().to_string();
    assert!(text.contains("lies 4.000 mm after") && text.contains("expected 3.000 mm"), "{text}");
}

#[test]
fn padding_gets_the_smallest_other_value() {
    let short =
        |tag, value: i16| DataElement::new(tag, VR::SS, PrimitiveValue::I16([value].as_slice().into()));
    let word = |value: u16| {
        let value = PrimitiveValue::U16([value].as_slice().into());
        DataElement::new(tags::PIXEL_PADDING_VALUE, VR::US, value)
    };
    let padding = short(tags::PIXEL_PADDING_VALUE, -2000);
    // Signed pixels: 0, -1500 and 5 among padding, and a slice of nothing but padding.
    let slices = |more: Vec<DataElement<InMemDicomObject>>| -> Vec<Slice> {
        let slice = |number: usize| {
            numbered(number).with(|s| {
                let mut pixels = vec![-2000_i16; ROWS * COLUMNS];
                if number != 1 {
                    pixels[3..6].copy_from_slice(&[0, -1500, 5]);
                }
                let pixels: Vec<u16> = pixels.into_iter().map(i16::cast_unsigned).collect();
                (s.signed, s.scaling, s.more) = (1, Some(("2", "-10")), more.clone());
                s.pixels = Some(PrimitiveValue::U16(pixels.into()));
            })
        };
        (0..3).map(slice).collect()
    };
    let values =
        |slices: &[Slice]| -> Vec<f32> { read(slices).unwrap().data().t().iter().copied().collect() };
    let all = |inside: [f32; 3], outside: f32| -> Vec<f32> {
        let mut values = vec![outside; 3 * ROWS * COLUMNS];
        for slice in [0, 2] {
            values[slice * ROWS * COLUMNS + 3..][..3].copy_from_slice(&inside);
        }
        values
    };
    assert_eq!(values(&slices(Vec::new())), all([-10.0, -3010.0, 0.0], -4010.0));
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN] {
        // Some writers give the type of unsigned pixels.
        for padding in [padding.clone(), word(63_536)] {
            let mut slices = slices(vec![padding]);
            slices.iter_mut().for_each(|slice| slice.syntax = syntax);
            assert_eq!(values(&slices), all([-10.0, -3010.0, 0.0], -3010.0));
        }
    }
    let range = vec![padding, short(tags::PIXEL_PADDING_RANGE_LIMIT, -1500)];
    assert_eq!(values(&slices(range)), all([-10.0, -10.0, 0.0], -10.0));
    // A value that the stored bits cannot hold is that of no pixel; 2096 has the same lowest twelve bits.
    let twelve: Vec<Slice> = series(3)
        .into_iter()
        .map(|slice| {
            slice.with(|s| {
                (s.bits, s.more) = ([16, 12, 11], vec![word(63_536)]);
                s.pixels = Some(PrimitiveValue::U16(vec![2096; ROWS * COLUMNS].into()));
            })
        })
        .collect();
    assert!(values(&twelve).iter().all(|&value| value == 2096.0));
    // A padding that means 0 stays 0, and one that does not is replaced.
    let zero = |scaling| -> Vec<Slice> {
        let slices = series(3).into_iter();
        slices.map(|slice| slice.with(|s| (s.scaling, s.more) = (scaling, vec![word(0)]))).collect()
    };
    check(&read(&zero(None)).unwrap(), 3, |value, _| f32::from(value));
    check(&read(&zero(Some(("1", "-1000")))).unwrap(), 3, |value, _| f32::from(value.max(1)) - 1000.0);
    // Nothing but padding is constant.
    let nothing = vec![numbered(0).with(|s| {
        (s.thickness, s.more) = (Some("3"), vec![word(7)]);
        s.pixels = Some(PrimitiveValue::U16(vec![7; ROWS * COLUMNS].into()));
    })];
    assert!(values(&nothing).iter().all(|&value| value == 0.0));
}

/// With every second slice missing, no gap stands out; what the files state tells.
#[test]
fn slices_a_multiple_of_the_stated_distance_apart_are_doubted() {
    let stated = |slices: Vec<Slice>| {
        let slices = slices.into_iter().map(|own| own.text(tags::SPACING_BETWEEN_SLICES, VR::DS, "3"));
        warnings::told_by(|| read(&slices.collect::<Vec<_>>()).unwrap()).1
    };
    assert_eq!(stated(series(7)), [""; 0]);
    let told = stated(series(7).into_iter().step_by(2).collect());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("6.000 mm apart") && told[0].contains("each 2 slices may be missing"),
        "{told:?}"
    );
}

#[test]
fn what_does_not_make_one_volume_is_refused_by_name() {
    let change = |number: usize, change: &dyn Fn(&mut Slice)| {
        let mut slices = series(5);
        change(&mut slices[number]);
        slices
    };
    let two = |tag: Tag, vr: VR, values: [&str; 2]| {
        let slices = series(5).into_iter().enumerate();
        slices.map(|(number, slice)| slice.text(tag, vr, values[number % 2])).collect::<Vec<_>>()
    };
    assert!(read(&two(tags::ECHO_TIME, VR::DS, ["10", "10.0"])).is_ok());
    assert!(read(&two(tags::ECHO_TIME, VR::DS, ["10", ""])).is_ok());
    let without = |tag: Tag| change(2, &|s| s.without = vec![tag]);
    let mut missing_one = series(7);
    missing_one.remove(3);
    let mut missing_two = series(9);
    missing_two.drain(3..5);
    let sequence = DataElement::new(
        tags::REFERENCED_IMAGE_SEQUENCE,
        VR::SQ,
        dicom_core::value::DataSetSequence::from(vec![InMemDicomObject::from_element_iter([
            DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(9_u16)),
        ])]),
    );
    let cases: Vec<(&str, Vec<Slice>, &str, &str)> = vec![
        ("no slice", Vec::new(), "NoSlices", "expected the slices"),
        ("one missing", missing_one, "MissingSlices", "1 slices are missing"),
        ("two missing", missing_two, "MissingSlices", "2 slices are missing"),
        ("uneven", change(2, &|s| s.position = at(7.0)), "UnevenSpacing", "as between the others"),
        ("twice in a place", change(2, &|s| s.position = at(3.0)), "SamePosition", "one slice per position"),
        (
            "shifted",
            change(2, &|s| {
                s.position = text(&[
                    START[0] + 6.0 * NORMAL[0] + ALONG[0],
                    START[1] + 6.0 * NORMAL[1] + ALONG[1],
                    START[2] + 6.0 * NORMAL[2],
                ])
            }),
            "SliceOffLine",
            "on the line",
        ),
        ("another series", change(2, &|s| s.series = "1.2.9"), "MixedSeries", "SeriesInstanceUID is 1.2.9"),
        ("another frame", change(2, &|s| s.frame = "1.2.9"), "MixedSeries", "FrameOfReferenceUID"),
        ("of another echo", two(tags::ECHO_TIME, VR::DS, ["10", "90"]), "MixedSeries", "EchoTime is"),
        ("of another patient", two(tags::PATIENT_ID, VR::LO, ["A", "B"]), "MixedSeries", "PatientID is"),
        (
            "turned",
            change(2, &|s| s.orientation = text(&[1., 0., 0., 0., 1., 0.])),
            "MixedSeries",
            "Orientation",
        ),
        ("of another spacing", change(2, &|s| s.spacing = text(&[1.5, 0.8])), "MixedSeries", "PixelSpacing"),
        (
            "of other rows",
            change(2, &|s| (s.rows, s.columns) = (5, 4)),
            "MixedSeries",
            "Rows is 5, expected 4",
        ),
        (
            "compressed",
            change(2, &|s| s.syntax = uids::JPEG_BASELINE8_BIT),
            "UnsupportedTransferSyntax",
            "JPEG",
        ),
        ("of wavelets", change(0, &|s| s.syntax = uids::JPEG2000), "UnsupportedTransferSyntax", "JPEG 2000"),
        ("run length", change(0, &|s| s.syntax = uids::RLE_LOSSLESS), "UnsupportedTransferSyntax", "RLE"),
        ("in color", change(2, &|s| s.samples = 3), "BadAttribute", "SamplesPerPixel is 3"),
        ("inverted", change(2, &|s| s.photometric = "MONOCHROME1"), "BadAttribute", "MONOCHROME1"),
        ("of frames", change(2, &|s| s.frames = Some("4")), "BadAttribute", "NumberOfFrames is 4"),
        ("of 12 bits packed", change(2, &|s| s.bits = [12, 12, 11]), "BadAttribute", "BitsAllocated is 12"),
        ("of too many bits", change(2, &|s| s.bits = [16, 17, 16]), "BadAttribute", "BitsStored is 17"),
        ("of high bits", change(2, &|s| s.bits = [16, 12, 15]), "BadAttribute", "HighBit is 15"),
        ("of a third sign", change(2, &|s| s.signed = 2), "BadAttribute", "PixelRepresentation is 2"),
        ("of no rows", change(0, &|s| s.rows = 0), "BadAttribute", "Rows is 0"),
        ("of more rows", change(0, &|s| s.rows = 400), "BadAttribute", "PixelData is 40 bytes"),
        ("of slope 0", change(2, &|s| s.scaling = Some(("0", "1"))), "BadScaling", "slope 0"),
        ("of no slope", change(2, &|s| s.scaling = Some(("x", "1"))), "BadAttribute", "RescaleSlope is x"),
        ("of a huge slope", change(2, &|s| s.scaling = Some(("1e300", "1"))), "LossyConversion", "2e302"),
        ("of no size", change(2, &|s| s.spacing = text(&[0.0, 1.0])), "BadAttribute", "PixelSpacing is 0"),
        ("of one size", change(2, &|s| s.spacing = "1.5".into()), "BadAttribute", "PixelSpacing is 1.5"),
        ("of NaN", change(2, &|s| s.position = "nan\\1\\2".into()), "BadAttribute", "ImagePositionPatient"),
        (
            "askew",
            change(0, &|s| s.orientation = text(&[1., 0., 0., 0.5, 1., 0.])),
            "BadAttribute",
            "orthogonal",
        ),
        ("of no direction", change(0, &|s| s.orientation = text(&[0.0; 6])), "BadAttribute", "orthogonal"),
        ("without position", without(tags::IMAGE_POSITION_PATIENT), "BadAttribute", "Position"),
        ("without orientation", without(tags::IMAGE_ORIENTATION_PATIENT), "BadAttribute", "Orientation"),
        ("without spacing", without(tags::PIXEL_SPACING), "BadAttribute", "PixelSpacing is missing"),
        ("without columns", without(tags::COLUMNS), "BadAttribute", "Columns is missing"),
        ("without bits", without(tags::BITS_ALLOCATED), "BadAttribute", "BitsAllocated is missing"),
        ("without meaning", without(tags::PHOTOMETRIC_INTERPRETATION), "BadAttribute", "missing"),
        ("without pixels", without(tags::PIXEL_DATA), "BadAttribute", "PixelData is missing"),
    ];
    for (name, slices, kind, part) in cases {
        let error = read(&slices).map(|volume| volume.shape()).unwrap_err();
        assert_eq!(error.kind().name(), kind, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    // What stands in a sequence is another image's.
    let with_sequence: Vec<Slice> =
        series(3).into_iter().map(|slice| slice.with(|s| s.more = vec![sequence.clone()])).collect();
    check(&read(&with_sequence).unwrap(), 3, |value, _| f32::from(value));
}

#[test]
fn a_folder_holds_slices_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let read = |limit| ReadOptions::new().max_bytes(limit).read_dicom(folder.path());
    for (number, slice) in series(3).iter().enumerate() {
        slice.write(&folder.path().join(number.to_string()));
    }
    fs::write(folder.path().join(".DS_Store"), b"x").unwrap();
    fs::write(folder.path().join("DICOMDIR"), b"x").unwrap();
    fs::create_dir(folder.path().join("other-series")).unwrap();
    check(&read(1 << 20).unwrap(), 3, |value, _| f32::from(value));
    // Less than the volume has; less than a file has.
    for limit in [COLUMNS as u64 * ROWS as u64 * 3 * 4 - 1, 100] {
        assert_eq!(read(limit).unwrap_err().kind().name(), "LimitExceeded");
    }
    fs::write(folder.path().join("notes.txt"), b"not a slice").unwrap();
    let error = read(1 << 20).unwrap_err();
    assert_eq!(error.kind().name(), "NotDicom");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    let named = |name: &str| ReadOptions::new().read_dicom(folder.path().join(name)).unwrap_err();
    assert_eq!(named("0").kind().name(), "NotFolder");
    assert_eq!(named("absent").kind().name(), "NotFound");
}

/// One file's bytes.
fn file(syntax: &'static str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    numbered(0).with(|s| (s.syntax, s.thickness) = (syntax, Some("3"))).write(&path);
    fs::read(path).unwrap()
}

fn read_bytes(folder: &Path, bytes: &[u8]) -> Result<Volume<f32>, ReadError> {
    fs::write(folder.join("a"), bytes).unwrap();
    ReadOptions::new().read_dicom(folder)
}

#[test]
fn every_cut_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN] {
        let whole = file(syntax);
        check(&read_bytes(folder.path(), &whole).unwrap(), 1, |value, _| f32::from(value));
        for length in 0..whole.len() {
            let error = read_bytes(folder.path(), &whole[..length]).unwrap_err();
            let kind = error.kind().name();
            assert!(["Truncated", "NotDicom", "BadAttribute"].contains(&kind), "{length}: {error}");
        }
    }
}

#[test]
fn lies_and_nesting_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let refused = |more: Vec<u8>, kind: &str, part: &str| {
        let error = read_bytes(folder.path(), &[whole.clone(), more].concat()).unwrap_err();
        assert_eq!(error.kind().name(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    let element = |vr: &[u8; 2], length: u32| {
        [&[0xe1, 0x7f, 0x10, 0x00][..], vr, &[0, 0], &length.to_le_bytes()].concat()
    };
    refused(element(b"OB", u32::MAX - 1), "Truncated", "a data element");
    refused(element(b"UT", 1 << 31), "Truncated", "a data element");
    refused(element(b"SQ", u32::MAX), "Truncated", "a data element");
    refused(element(b"o1", 0), "NotDicom", "expected one of DICOM's");
    // Others take what follows a type they do not know for 32 bits of length: here, a gigabyte and a half.
    let unknown = [&[0x28, 0x00, 0x52, 0x10][..], b"LS", &[12, 0], b"1\\0\\0\\0\\1\\0\\"].concat();
    refused(unknown, "NotDicom", "(0028,1052) has type \"LS\"");
    // A sequence in the place of a number, with a lie inside.
    let lie = [&[0xfe, 0xff, 0x00, 0xe0, 8, 0, 0, 0][..], &[8, 0, 5, 0, b'U', b'N', 0, 0]].concat();
    let sequence = [&[0x28, 0x00, 0x53, 0x10][..], b"SQ", &[0, 0, 16, 0, 0, 0], &lie].concat();
    refused(sequence, "NotDicom", "expected a text or a number");
    // A sequence in an item in a sequence, and so on, ten thousand deep.
    let nested: Vec<u8> = (0..10_000)
        .flat_map(|_| {
            [element(b"SQ", u32::MAX), vec![0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff]].concat()
        })
        .collect();
    refused(nested, "NotDicom", "nested more than 64");
    let stray = [element(b"SQ", u32::MAX), vec![1, 0, 1, 0, b'U', b'S', 0, 0]].concat();
    refused(stray, "NotDicom", "expected an item");
    // The rows a second time.
    refused(vec![0x28, 0x00, 0x10, 0x00, b'U', b'S', 2, 0, 9, 0], "NotDicom", "twice");
    let long = [&[0x28, 0x00, 0x53, 0x10, b'D', b'S'][..], &8000_u16.to_le_bytes(), &[b'1'; 8000]].concat();
    refused(long, "NotDicom", "8000 bytes");
    // A transfer syntax that nobody knows.
    let text = b"1.2.840.10008.1.2.1";
    let place = whole.windows(text.len()).position(|bytes| bytes == text).unwrap();
    let mut unknown = whole.clone();
    unknown[place + text.len() - 1] = b'9';
    let error = read_bytes(folder.path(), &unknown).unwrap_err();
    assert_eq!(error.kind().name(), "UnsupportedTransferSyntax");
    assert!(error.to_string().contains("1.2.840.10008.1.2.9 (of no known name)"), "{error}");
    // Nested and well: passed over.
    let end = |tag: u8| vec![0xfe, 0xff, tag, 0xe0, 0, 0, 0, 0];
    let item = vec![0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff];
    let good = [
        element(b"SQ", u32::MAX),
        item.clone(),
        element(b"UN", u32::MAX),
        item,
        end(0x0d),
        end(0xdd),
        end(0x0d),
        end(0xdd),
    ];
    check(&read_bytes(folder.path(), &[whole.clone(), good.concat()].concat()).unwrap(), 1, |value, _| {
        f32::from(value)
    });
}

/// Files made byte by byte from the standard, by `fuzz/make_corpus.py`, without dicom-rs.
#[test]
fn files_that_others_made_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dicom");
    let folder = tempfile::tempdir().unwrap();
    for name in ["seed-explicit", "seed-implicit", "seed-sequence"] {
        let volume = read_bytes(folder.path(), &fs::read(corpus.join(name)).unwrap()).unwrap();
        // Twelve bits, signed, doubled, less 1024; along the row first.
        let found: Vec<f32> = volume.data().t().iter().copied().collect();
        assert_eq!(found, [-1022.0, -1020.0, -1026.0, 3070.0], "{name}");
        let affine =
            [[-0.5, 0.0, 0.0, -1.0], [0.0, -0.5, 0.0, 2.0], [0.0, 0.0, 2.5, 3.5], [0.0, 0.0, 0.0, 1.0]];
        assert_eq!(*volume.geometry().affine(), affine, "{name}");
    }
}

#[test]
fn no_changed_file_panics() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN].map(file);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut read = 0;
    for turn in 0..2000 {
        let mut bytes = seeds[turn % seeds.len()].clone();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(128..bytes.len());
            bytes[place] = match random.random_range(0..3) {
                0 => random.random(),
                1 => bytes[place] ^ (1 << random.random_range(0..8)),
                _ => [0, 0xff, 0x7f, b'-', b'\\'][random.random_range(0..5)],
            };
        }
        read += usize::from(read_bytes(folder.path(), &bytes).is_ok());
    }
    println!("2000 files, {read} read");
    assert!((100..1900).contains(&read), "{read}");
}

/// Series that `dicom_golden.py` made with pydicom, and the values that pydicom reads in them.
#[test]
fn values_are_those_of_pydicom() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dicom");
    let golden: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("values.json")).unwrap()).unwrap();
    let series = golden["values"].as_object().unwrap();
    assert_eq!(series.len(), 16);
    for (name, slices) in series {
        let volume = ReadOptions::new().read_dicom(folder.join(name)).unwrap();
        assert_eq!(volume.shape(), [5, 4, 2], "{name}");
        for ((column, row, slice), &found) in volume.data().indexed_iter() {
            let expected = slices[slice][row][column].as_f64().unwrap();
            assert_eq!(f64::from(found), f64::from(expected as f32), "{name}: {column} {row} {slice}");
        }
    }
}

/// A Modality LUT Sequence of some items.
fn tables(items: &[InMemDicomObject]) -> DataElement<InMemDicomObject> {
    let sequence = dicom_core::value::DataSetSequence::from(items.to_vec());
    DataElement::new(tags::MODALITY_LUT_SEQUENCE, VR::SQ, sequence)
}

fn table(descriptor: [u16; 3], vr: VR, data: PrimitiveValue) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16(descriptor.as_slice().into())),
        DataElement::new(tags::LUT_DATA, vr, data),
    ])
}

#[test]
fn tables_of_any_size_are_applied_and_kept_once() {
    // As many entries as 16 bits count, for which the file has 0.
    let entries: Vec<u16> = (0..=u16::MAX).map(|value| value.wrapping_mul(3)).collect();
    let whole = tables(&[table([0, 0, 16], VR::OW, PrimitiveValue::U16(entries.into()))]);
    let slices: Vec<Slice> =
        series(3).into_iter().map(|slice| slice.with(|s| s.more = vec![whole.clone()])).collect();
    check(&read(&slices).unwrap(), 3, |value, _| f32::from(value.wrapping_mul(3)));
    // Entries of 8 bits, two to a word; an odd number of them is filled up.
    let bytes: Vec<u8> = (0..251).map(|value: u8| 250 - value).chain([99]).collect();
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN] {
        // In words whose bytes are swapped where the high one comes first.
        let words: Vec<u16> =
            bytes.chunks(2).map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8).collect();
        let packed = tables(&[table([251, 0, 8], VR::OW, PrimitiveValue::U16(words.into()))]);
        let slices: Vec<Slice> = series(3)
            .into_iter()
            .map(|slice| slice.with(|s| (s.syntax, s.more) = (syntax, vec![packed.clone()])))
            .collect();
        check(&read(&slices).unwrap(), 3, |value, _| 250.0 - f32::from(value.min(250)));
    }
    // The first value mapped has the sign of the pixels, also where its type has none.
    let signed = tables(&[table([3, 0xfffe, 16], VR::US, PrimitiveValue::U16([7, 8, 9].as_slice().into()))]);
    let stored: Vec<u16> = [-30_000_i16, -3, -2, -1, 0, 1, 30_000]
        .iter()
        .map(|&value| value.cast_unsigned())
        .chain([0; 13])
        .collect();
    let slice = numbered(0).with(|s| {
        (s.signed, s.more, s.thickness) = (1, vec![signed], Some("3"));
        s.pixels = Some(PrimitiveValue::U16(stored.into()));
    });
    let found: Vec<f32> = read(&[slice]).unwrap().data().t().iter().take(7).copied().collect();
    assert_eq!(found, [7.0, 7.0, 7.0, 8.0, 9.0, 9.0, 9.0]);
    // One without an item is none.
    let none: Vec<Slice> =
        series(3).into_iter().map(|slice| slice.with(|s| s.more = vec![tables(&[])])).collect();
    check(&read(&none).unwrap(), 3, |value, _| f32::from(value));
}

#[test]
fn what_else_changes_pixels_is_refused_by_name() {
    let words = |count: usize| PrimitiveValue::U16(vec![500; count].into());
    let good = || table([4, 0, 16], VR::US, words(4));
    let with = |element: DataElement<InMemDicomObject>| {
        numbered(0).with(|s| (s.thickness, s.more) = (Some("3"), vec![element]))
    };
    let scaled = |scale| with(tables(&[good()])).with(|s| s.scaling = Some(scale));
    let without = |tag| {
        let mut table = good();
        table.remove_element(tag);
        with(tables(&[table]))
    };
    let empty = dicom_core::value::DataSetSequence::from(vec![InMemDicomObject::new_empty()]);
    let groups = |tag| with(DataElement::new(tag, VR::SQ, empty.clone()));
    let cases = [
        ("of a scaling too", scaled(("2", "0")), "present beside RescaleSlope 2"),
        ("of an intercept too", scaled(("1", "-1024")), "RescaleIntercept -1024"),
        ("of two tables", with(tables(&[good(), good()])), "of several items"),
        ("of 12 bits", with(tables(&[table([4, 0, 12], VR::US, words(4))])), "LUTDescriptor is 12 bits"),
        ("of no bits", with(tables(&[table([4, 0, 0], VR::US, words(4))])), "LUTDescriptor is 0 bits"),
        ("too short", with(tables(&[table([5, 0, 16], VR::US, words(4))])), "LUTData has 8 bytes"),
        ("too long", with(tables(&[table([3, 0, 16], VR::US, words(4))])), "3 entries of 16 bits"),
        ("of 65536", with(tables(&[table([0, 0, 16], VR::US, words(4))])), "65536 entries"),
        ("of large bytes", with(tables(&[table([4, 0, 8], VR::US, words(4))])), "one is 500"),
        ("without data", without(tags::LUT_DATA), "without LUTDescriptor or LUTData"),
        ("without numbers", without(tags::LUT_DESCRIPTOR), "without LUTDescriptor or LUTData"),
        ("of shared groups", groups(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE), "SharedFunctionalGroups"),
        ("of groups", groups(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE), "PerFrameFunctionalGroups"),
        (
            "of floats",
            with(DataElement::new(
                tags::FLOAT_PIXEL_DATA,
                VR::OF,
                PrimitiveValue::F32([1.0; 20].as_slice().into()),
            )),
            "FloatPixelData is present",
        ),
    ];
    for (name, slice, part) in cases {
        let error = read(&[slice]).unwrap_err();
        assert_eq!(error.kind().name(), "BadAttribute", "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    let identity = scaled(("1", "0"));
    assert!(read(&[identity]).unwrap().data().iter().all(|&value| value == 500.0));
}

/// What a series says of itself may be made to act on a terminal.
#[test]
fn what_a_file_says_does_not_reach_the_terminal_as_a_command() {
    let slices = [numbered(0), numbered(1).with(|s| s.series = "1.2\u{1b}]0;gotcha\u{7}\u{9b}2J")];
    let message = read(&slices).unwrap_err().to_string();
    assert!(message.contains("\\u{1b}]0;gotcha\\u{7}"), "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

/// A series of the shared cases, where they are.
#[test]
fn the_shared_series_goes_through_its_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/dicom-lut");
    if !folder.is_dir() {
        println!("skipped: {} is not present", folder.display());
        return;
    }
    let volume = ReadOptions::new().read_dicom(&folder).unwrap();
    assert_eq!(volume.shape(), [16, 12, 5]);
    // By pydicom 3.0.2: apply_modality_lut(pixel_array, dataset) of the lowest slice.
    let first: Vec<f32> = volume.data().t().iter().take(4).copied().collect();
    let sum: f64 = volume.data().iter().map(|&value| f64::from(value)).sum();
    assert_eq!((first.as_slice(), sum), ([5528.0, 266.0, 2720.0, 8168.0].as_slice(), 3_895_864.0));
}
