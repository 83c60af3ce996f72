//! Images of odd numbers through every step from a file to a map and a metric: each step gives finite values or
//! the error that is written here, and never NaN in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::fmt::Debug;

use lesio_image::{
    Geometry, HistogramStandardizer, ImageError, Preprocessing, RobustScaling, Scan, Threshold, Volume,
    ZScore, gaussian_filter_volume, median_filter_volume,
};
use lesio_io::nifti::NiftiImage;
use lesio_io::{WriteOptions, atomic::Existing};
use lesio_metrics::{auroc, average_precision};
use ndarray::Array3;

const SHAPE: (usize, usize, usize) = (8, 7, 6);

/// An image by its name.
fn images() -> Vec<(&'static str, Array3<f32>)> {
    let ramp = || {
        Array3::from_shape_fn(SHAPE, |(i, j, k)| {
            // A body in air, brighter to one side.
            let inside = (1..7).contains(&i) && (1..6).contains(&j) && (1..5).contains(&k);
            if inside { (100 + 10 * i + 3 * j + k) as f32 } else { 0.0 }
        })
    };
    let with = |value: f32| {
        let mut image = ramp();
        image[[3, 3, 3]] = value;
        image
    };
    let filled = |value: f32| Array3::from_elem(SHAPE, value);
    let mut spot = filled(0.0);
    spot[[3, 3, 3]] = 1.0;
    vec![
        ("ordinary", ramp()),
        ("all zero", filled(0.0)),
        ("all seven", filled(7.0)),
        ("all a tenth", filled(0.1)),
        ("all the greatest number", filled(f32::MAX)),
        ("all NaN", filled(f32::NAN)),
        ("all infinite", filled(f32::INFINITY)),
        ("one NaN", with(f32::NAN)),
        ("one infinite", with(f32::INFINITY)),
        ("one minus infinite", with(f32::NEG_INFINITY)),
        ("one spot", spot),
        ("one outlier", with(1e30)),
        ("huge units", ramp().mapv(|value| value * 1e33)),
        ("tiny units", ramp().mapv(|value| value * 1e-38)),
        ("denormal", ramp().mapv(|value| value * 1e-44)),
        ("from end to end", ramp().mapv(|value| if value > 140.0 { f32::MAX } else { f32::MIN })),
        ("negative", ramp().mapv(|value| -value)),
        ("on an offset", ramp().mapv(|value| value + 1e7)),
        ("of two values", ramp().mapv(|value| f32::from(u8::from(value > 0.0)))),
        ("one slice", ramp().slice_move(ndarray::s![.., .., 2..3])),
        ("one row", ramp().slice_move(ndarray::s![.., 3..4, 2..3])),
        ("one voxel", Array3::from_elem((1, 1, 1), 5.0)),
        ("nothing", Array3::from_elem((0, 4, 4), 0.0)),
    ]
}

/// The innermost error's name, as its `Debug` form begins.
fn name<E: Debug>(error: &E) -> String {
    let text = format!("{error:?}");
    let known = [
        "EmptyImage",
        "NonFiniteVoxels",
        "ConstantImage",
        "EmptyForeground",
        "EmptyVolume",
        "NotFinite",
        "NotANumber",
        "OneClass",
        "Empty",
    ];
    known.iter().find(|known| text.contains(**known)).map_or(text.clone(), |known| (*known).to_owned())
}

fn told<E: Debug>(result: Result<Vec<f64>, E>) -> String {
    match result {
        Ok(values) if values.iter().all(|value| value.is_finite()) => "ok".to_owned(),
        Ok(values) => format!("NOT FINITE {:?}", values.iter().find(|value| !value.is_finite())),
        Err(error) => name(&error),
    }
}

fn wide(values: impl IntoIterator<Item = f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// What each step makes of an image.
fn steps(image: &Array3<f32>) -> Vec<(&'static str, String)> {
    let volume = Volume::new(image.clone(), Geometry::default());
    let scaled =
        |scale: Result<lesio_image::LinearScale, ImageError>| scale.map(|scale| wide(scale.apply(image)));
    let histogram = || -> Result<Vec<f64>, ImageError> {
        let mut fit = HistogramStandardizer::new().start().unwrap();
        fit.add(image, None)?;
        Ok(wide(fit.finish()?.map_for(image, None)?.apply(image)))
    };
    let heads = || -> Result<Vec<f64>, lesio_image::PreprocessError> {
        let scan = Scan::from(volume.clone());
        let prepared = Preprocessing::heads([8, 8]).fit([&scan])?.prepare(&scan)?;
        Ok(prepared.planes.iter().flat_map(|plane| wide(plane.input.iter().copied())).collect())
    };
    let truth: Vec<bool> = (0..image.len()).map(|index| index % 3 == 0).collect();
    let scores: Vec<f32> = image.iter().copied().collect();
    let file = || -> Result<Vec<f64>, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.nii");
        WriteOptions::new().existing(Existing::Refuse).write(&path, &volume)?;
        let statistics = NiftiImage::open(&path)?.statistics()?;
        let bad = image.iter().filter(|value| !value.is_finite()).count() as u64;
        assert_eq!(statistics.nonfinite, bad);
        Ok(vec![statistics.sum])
    };
    vec![
        ("robust", told(scaled(RobustScaling::new().fit(image, None)))),
        ("z-score", told(scaled(ZScore::plain().fit(image, None)))),
        ("histogram", told(histogram())),
        ("threshold", told(Threshold::Otsu.find(image).map(|value| vec![f64::from(value)]))),
        ("heads", told(heads())),
        ("median", told(median_filter_volume(image, [3, 3, 1]).map(wide))),
        ("gaussian", told(gaussian_filter_volume(image, [1.0, 1.0, 0.0]).map(wide))),
        ("auroc", told(auroc(&scores, &truth).map(|value| vec![value]))),
        ("precision", told(average_precision(&scores, &truth).map(|value| vec![value]))),
        ("file", told(file())),
    ]
}

/// Steps that look for contrast.
const SCALES: &str = "robust z-score histogram threshold heads";
/// Steps that look at every value and need none to differ.
const FILTERS: &str = "median gaussian";
const METRICS: &str = "auroc precision";

/// The errors of each image, by the steps that give them; all other steps give finite values.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    ("ordinary", &[]),
    ("all zero", &[(SCALES, "ConstantImage")]),
    ("all seven", &[(SCALES, "ConstantImage")]),
    ("all a tenth", &[(SCALES, "ConstantImage")]),
    ("all the greatest number", &[(SCALES, "ConstantImage")]),
    ("all NaN", &[(SCALES, "NonFiniteVoxels"), (FILTERS, "NonFiniteVoxels"), (METRICS, "NotANumber")]),
    // A score may be infinite: it has a rank.
    ("all infinite", &[(SCALES, "NonFiniteVoxels"), (FILTERS, "NonFiniteVoxels")]),
    ("one NaN", &[(SCALES, "NonFiniteVoxels"), (FILTERS, "NonFiniteVoxels"), (METRICS, "NotANumber")]),
    ("one infinite", &[(SCALES, "NonFiniteVoxels"), (FILTERS, "NonFiniteVoxels")]),
    ("one minus infinite", &[(SCALES, "NonFiniteVoxels"), (FILTERS, "NonFiniteVoxels")]),
    // Percentiles do not see one voxel, and opening takes it from the foreground.
    ("one spot", &[("robust histogram", "ConstantImage"), ("heads", "EmptyForeground")]),
    ("one outlier", &[]),
    ("huge units", &[]),
    ("tiny units", &[]),
    ("denormal", &[]),
    // What is above the threshold is constant.
    ("from end to end", &[("heads", "ConstantImage")]),
    // The surface has one value and the object is darker: that is an outside, too.
    ("negative", &[]),
    ("on an offset", &[]),
    ("of two values", &[("heads", "ConstantImage")]),
    ("one slice", &[]),
    ("one row", &[]),
    ("one voxel", &[(SCALES, "ConstantImage"), (METRICS, "OneClass")]),
    (
        "nothing",
        &[(SCALES, "EmptyImage"), (FILTERS, "EmptyImage"), (METRICS, "OneClass"), ("file", "EmptyVolume")],
    ),
];

#[test]
fn every_step_gives_finite_values_or_the_error_that_is_written_here() {
    let images = images();
    assert_eq!(images.len(), EXPECTED.len());
    let mut cases = 0;
    for ((image_name, image), (expected_name, errors)) in images.iter().zip(EXPECTED) {
        assert_eq!(image_name, expected_name);
        for (step, found) in steps(image) {
            let expected = errors
                .iter()
                .find(|(steps, _)| steps.split(' ').any(|name| name == step))
                .map_or("ok", |&(_, error)| error);
            assert_eq!(found, expected, "{image_name}: {step}");
            cases += 1;
        }
    }
    println!("{cases} cases");
    assert!(cases >= 200);
}

#[test]
fn a_constant_stays_the_constant_and_its_sum_is_exact() {
    for value in [0.0_f32, 7.0, 0.1, -3.3, 1e-40, f32::MAX] {
        let image = Array3::from_elem((33, 21, 17), value);
        let median = median_filter_volume(&image, [5, 5, 3]).unwrap();
        assert!(median.iter().all(|&found| found == value), "{value}");
        let gaussian = gaussian_filter_volume(&image, [2.0, 1.0, 1.0]).unwrap();
        let near = |found: f32| found.is_finite() && (found - value).abs() <= 1e-6 * value.abs().max(1e-38);
        assert!(gaussian.iter().all(|&found| near(found)), "{value}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii.gz");
        WriteOptions::new().write(&path, &Volume::new(image.clone(), Geometry::default())).unwrap();
        let statistics = NiftiImage::open(&path).unwrap().statistics().unwrap();
        let exact = f64::from(value) * image.len() as f64;
        assert!((statistics.sum - exact).abs() <= 1e-15 * exact.abs(), "{value}: {}", statistics.sum);
        assert_eq!((statistics.min, statistics.max), (f64::from(value), f64::from(value)));
    }
}
