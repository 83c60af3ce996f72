//! The whole way to a network's grid and back, through the public interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run shall fail")]

use lesio_image::{
    Alignment, AlignmentScope, Aspect, Background, FittedPreprocessing, Foreground, ForegroundMask, Frame,
    Geometry, GridFit, HistogramStandardizer, Image, ImageError, Intensity, LinearScale, Orientation, Plane,
    PreprocessError, Preprocessing, Resize, RobustScaling, Scan, SlicePosition, Volume, ZScore,
};
use lesio_settings::mutation::mutations;
use ndarray::{Array2, Array3, Axis};
use proptest::prelude::*;

/// A head-like ellipsoid with texture, a dark cleft and a marker beside it, of any gain and offset.
fn head(gain: f32, offset: f32, shift: f32) -> Volume {
    let data = Array3::from_shape_fn((40, 50, 14), |(i, j, k)| {
        let (x, y, z) = (i as f32 - 19.0 - shift, j as f32 - 25.0 + shift, k as f32 - 6.5);
        let radius = (x / 13.0).powi(2) + (y / 17.0).powi(2) + (z / 6.0).powi(2);
        let tissue =
            if x.abs() < 1.0 && y.abs() < 8.0 { 1.0 } else { 60.0 + ((i * 7 + j * 3 + k) % 23) as f32 };
        let value = if radius < 1.0 {
            tissue
        } else if i < 2 && j < 2 {
            150.0
        } else {
            ((i + j) % 3) as f32
        };
        gain * value + offset
    });
    let affine =
        [[-1.5, 0.1, 0.0, 30.0], [0.1, 1.25, 0.2, -9.0], [0.0, -0.2, 4.0, 7.0], [0.0, 0.0, 0.0, 1.0]];
    Volume::new(data, Geometry::new(affine).unwrap())
}

fn first_channels(prepared: &lesio_image::PreparedScan) -> Vec<Array2<f32>> {
    prepared.planes.iter().map(|plane| plane.input.index_axis(Axis(0), 0).to_owned()).collect()
}

fn inputs(prepared: &lesio_image::PreparedScan) -> Vec<Array3<f32>> {
    prepared.planes.iter().map(|plane| plane.input.clone()).collect()
}

#[test]
fn without_interpolation_the_way_back_is_exact() {
    let volume = head(1.0, 0.0, 0.0);
    let frame = Frame::Fit(GridFit::new([64, 48]).resize(Resize::CropPad));
    for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
        let fitted = Preprocessing::new([1, 1])
            .frame(frame.clone())
            .plane(plane)
            .fit([&Scan::from(volume.clone())])
            .unwrap();
        let prepared = fitted.prepare(&volume.clone().into()).unwrap();
        assert_eq!(prepared.planes.len(), volume.reoriented(&Orientation::RAS).planes(plane));
        let back = prepared.restore_map(&first_channels(&prepared), f32::NAN).unwrap();
        // 50 columns of a sagittal slice do not fit a grid of 48: two are cropped.
        let cropped = if plane == Plane::Sagittal { 2 * 40 * 14 } else { 0 };
        assert_eq!(back.data().iter().filter(|v| v.is_nan()).count(), cropped, "{plane:?}");
        assert!(back.data().iter().zip(volume.data()).all(|(b, v)| b.is_nan() || b == v));
        assert_eq!(back.geometry(), volume.geometry());
    }
}

/// Grids that slices do not fill are padded with 0, which has no part in what comes back.
#[test]
fn the_borders_of_a_padded_volume_come_back() {
    let data =
        Array3::from_shape_fn((20, 30, 11), |(i, j, k)| 1000.0 + i as f32 + 0.5 * j as f32 + 2.0 * k as f32);
    let affine = [[-1.0, 0.1, 0.0, 30.0], [0.1, 1.0, 0.2, -9.0], [0.0, -0.2, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]];
    let volume = Volume::new(data, Geometry::new(affine).unwrap());
    for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
        // Enlarged and reduced.
        for grid in [[64, 48], [64, 64], [16, 16]] {
            let fitted = Preprocessing::new(grid).plane(plane).fit([] as [Scan; 0]).unwrap();
            let prepared = fitted.prepare(&volume.clone().into()).unwrap();
            let back = prepared.restore_map(&first_channels(&prepared), f32::NAN).unwrap();
            // A value moves by less than the side of a grid pixel along each axis.
            let limit = 2.0 * prepared.planes[0].placement.scale().iter().sum::<f64>() as f32;
            for (place, value) in volume.data().indexed_iter() {
                let off = (back.data()[place] - value).abs();
                assert!(off < limit, "{plane:?} on {grid:?}, {place:?}: {off}, limit {limit}");
            }
        }
    }
}

#[test]
fn any_orientation_comes_back_as_it_was() {
    let volume = head(2.0, 10.0, 1.0);
    let fitted = Preprocessing::heads([32, 32]).fit([&Scan::from(volume.clone())]).unwrap();
    let straight = fitted.prepare(&volume.clone().into()).unwrap();
    let maps = first_channels(&straight);
    let expected = straight.restore_map(&maps, 0.0).unwrap();
    for letters in ["RAS", "LPI", "PSR", "SAL", "IRP"] {
        let turned = volume.reoriented(&letters.parse().unwrap());
        let prepared = fitted.prepare(&turned.clone().into()).unwrap();
        assert_eq!(first_channels(&prepared), maps, "{letters}");
        let back = prepared.restore_map(&maps, 0.0).unwrap();
        assert_eq!(back.geometry(), turned.geometry());
        assert_eq!(back.data(), expected.reoriented(&letters.parse().unwrap()).data(), "{letters}");
        assert_eq!(prepared.foreground.geometry(), turned.geometry());
        assert_eq!(prepared.foreground.shape(), turned.shape());
    }
}

#[test]
fn heads_of_any_gain_and_place_look_alike() {
    let training = [head(1.0, 0.0, 0.0), head(3.0, 20.0, 2.0)];
    let fitted = Preprocessing::heads([32, 32]).fit(training.map(Scan::from)).unwrap();
    let one = fitted.prepare(&head(1.0, 0.0, 0.0).into()).unwrap();
    let other = fitted.prepare(&head(17.0, -4.0, 0.0).into()).unwrap();
    for (a, b) in one.planes.iter().zip(&other.planes) {
        assert!(a.input.iter().zip(&b.input).all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(a.input.iter().all(|v| (0.0..=1.0).contains(v)));
        // The marker is gone, and the cleft is part of the head.
        assert!(a.input.iter().zip(a.mask.iter()).filter(|(_, inside)| !**inside).count() > 0);
    }
    assert!(!one.foreground.data()[[0, 0, 6]]);
    assert!(one.foreground.data()[[19, 25, 6]]);
    // The box fills nine tenths of the longer axis in the widest slice.
    let widest = &one.planes[6].mask;
    let rows = widest.rows().into_iter().filter(|row| row.iter().any(|v| *v)).count();
    assert!((27..=31).contains(&rows), "{rows}");
}

#[test]
fn intensities_come_back() {
    let volume = head(2.0, -7.0, 0.0);
    let robust = RobustScaling::new().percentiles(0.0, 100.0);
    let rules = [
        Intensity::Unchanged,
        Intensity::Range(LinearScale::new(-10.0, 300.0).unwrap()),
        Intensity::Robust(robust),
        Intensity::ZScore(ZScore::default()),
        Intensity::Standardized(HistogramStandardizer::new()),
    ];
    for intensity in rules {
        let frame = Frame::Fit(GridFit::new([64, 64]).resize(Resize::CropPad));
        let fitted = Preprocessing::new([1, 1])
            .intensity(intensity)
            .frame(frame)
            .fit([&Scan::from(volume.clone())])
            .unwrap();
        let prepared = fitted.prepare(&volume.clone().into()).unwrap();
        let back = prepared.restore_intensities(&inputs(&prepared)).unwrap();
        for (back, value) in back.data().iter().zip(volume.data()) {
            assert!((back - value).abs() < 2e-3, "{back} {value} {:?}", fitted.config().intensity);
        }
    }
}

#[test]
fn saved_preprocessing_does_the_same() {
    let volume = head(1.0, 0.0, 0.0);
    let fitted = Preprocessing::heads([24, 32])
        .slice_position(SlicePosition::Channel)
        .fit([&Scan::from(volume.clone())])
        .unwrap();
    let json = serde_json::to_string(&fitted).unwrap();
    let loaded: FittedPreprocessing = serde_json::from_str(&json).unwrap();
    assert_eq!(loaded, fitted);
    assert_eq!(
        loaded.prepare(&volume.clone().into()).unwrap().planes,
        fitted.prepare(&volume.clone().into()).unwrap().planes
    );
    // What was altered is refused, and so is a scale without its configuration.
    let broken = json.replace("\"coverage\":0.9", "\"coverage\":1.9");
    assert_ne!(broken, json);
    assert!(serde_json::from_str::<FittedPreprocessing>(&broken).is_err());
    let config = serde_json::to_string(fitted.config()).unwrap();
    let without = format!("{{\"config\":{config}}}");
    assert!(serde_json::from_str::<FittedPreprocessing>(&without).is_err());
}

#[test]
fn positions_run_over_the_head() {
    let volume = head(1.0, 0.0, 0.0);
    let fitted = Preprocessing::heads([16, 16])
        .slice_position(SlicePosition::Channel)
        .fit([&Scan::from(volume.clone())])
        .unwrap();
    assert_eq!(fitted.config().input_channels(1), 2);
    let prepared = fitted.prepare(&volume.clone().into()).unwrap();
    let positions: Vec<f32> = prepared.planes.iter().map(|plane| plane.position).collect();
    assert!(positions.is_sorted());
    assert_eq!((positions[0], positions[13]), (0.0, 1.0));
    for plane in &prepared.planes {
        assert_eq!(plane.input.dim(), (2, 16, 16));
        assert!(plane.input.index_axis(Axis(0), 1).iter().all(|&v| v == plane.position));
    }
}

#[test]
fn planes_may_be_aligned_one_by_one() {
    let volume = head(1.0, 0.0, 0.0);
    let alignment = Alignment::new([32, 32]).scope(AlignmentScope::Plane).aspect(Aspect::Stretch).trim(0.0);
    let fitted = Preprocessing::heads([1, 1])
        .frame(Frame::Align(alignment))
        .fit([&Scan::from(volume.clone())])
        .unwrap();
    let prepared = fitted.prepare(&volume.clone().into()).unwrap();
    for plane in prepared.planes.iter().filter(|plane| plane.mask.iter().any(|v| *v)) {
        let rows = plane.mask.rows().into_iter().filter(|row| row.iter().any(|v| *v)).count();
        let columns = plane.mask.columns().into_iter().filter(|c| c.iter().any(|v| *v)).count();
        assert!((27..=31).contains(&rows) && (27..=31).contains(&columns), "{rows} {columns}");
    }
    // Slices without head take the placement of the volume.
    let masks: Vec<_> = prepared.planes.iter().map(|plane| plane.mask.clone()).collect();
    let back = prepared.restore_mask(&masks).unwrap();
    let agree = back.data().iter().zip(prepared.foreground.data()).filter(|(a, b)| a == b).count();
    assert!(agree as f64 > 0.995 * back.data().len() as f64);
}

#[test]
fn images_keep_their_channels() {
    let image = Image::new(Array3::from_shape_fn((3, 30, 50), |(c, r, k)| (c * 80 + (r * k) % 60) as f32));
    let range = Intensity::Range(LinearScale::new(0.0, 255.0).unwrap());
    let frame = Frame::Fit(GridFit::new([64, 64]).resize(Resize::CropPad));
    let fitted =
        Preprocessing::new([1, 1]).intensity(range).frame(frame).fit([&Scan::from(image.clone())]).unwrap();
    let prepared = fitted.prepare(&image.clone().into()).unwrap();
    assert_eq!(prepared.planes[0].input.dim(), (3, 64, 64));
    assert_eq!(prepared.planes[0].input[[0, 0, 0]], 0.0);
    let back = prepared.restore_intensities(&inputs(&prepared)).unwrap().into_image();
    assert!(back.data().iter().zip(image.data()).all(|(a, b)| (a - b).abs() < 1e-3));
    let wrong = Array3::zeros((3, 64, 63));
    assert!(matches!(prepared.restore_intensities(&[wrong]), Err(ImageError::ShapeMismatch { .. })));
}

#[test]
fn the_foreground_of_an_image_is_that_of_its_channels_together() {
    // A disc that each channel shows in one half only.
    let image = Image::new(Array3::from_shape_fn((2, 60, 80), |(c, r, k)| {
        let inside = (r as f32 - 20.0).powi(2) + (k as f32 - 50.0).powi(2) < 225.0;
        if inside && (k < 50) == (c == 0) { 90.0 + ((r + k) % 5) as f32 } else { (r % 3) as f32 }
    }));
    let fitted = Preprocessing::heads([40, 40]).fit([&Scan::from(image.clone())]).unwrap();
    let prepared = fitted.prepare(&image.clone().into()).unwrap();
    let found = prepared.foreground.data().iter().filter(|v| **v).count();
    assert!((680..740).contains(&found), "{found}");
    // Aligned: the disc of 29 pixels fills 36 of 40.
    assert!((prepared.planes[0].placement.scale()[0] - 29.0 / 36.0).abs() < 0.05);
    let back =
        prepared.restore_map(&[prepared.planes[0].mask.mapv(|m| f32::from(u8::from(m)))], 0.0).unwrap();
    let agree =
        back.data().iter().zip(prepared.foreground.data()).filter(|(a, b)| (**a > 0.5) == **b).count();
    assert!(agree > back.data().len() * 99 / 100);
}

#[test]
fn standardization_of_images_pools_their_channels() {
    let image = |gain: f32| {
        Scan::from(Image::new(Array3::from_shape_fn((2, 24, 24), move |(c, r, k)| {
            gain * ((c + 1) * ((r * k) % 31)) as f32
        })))
    };
    let rule = Intensity::Standardized(HistogramStandardizer::new());
    let fitted = Preprocessing::new([24, 24]).intensity(rule).fit([image(1.0), image(9.0)]).unwrap();
    let (a, b) = (fitted.prepare(&image(2.0)).unwrap(), fitted.prepare(&image(5.0)).unwrap());
    assert!(a.planes[0].input.iter().zip(&b.planes[0].input).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn what_cannot_be_prepared_has_a_name() {
    let good = Scan::from(head(1.0, 0.0, 0.0));
    let fitted = Preprocessing::heads([16, 16]).fit([&good]).unwrap();
    let with =
        |data: Array3<f32>| fitted.prepare(&Volume::new(data, Geometry::default()).into()).unwrap_err();
    let constant = with(Array3::from_elem((4, 5, 6), 3.0));
    assert!(matches!(
        constant,
        PreprocessError::Image(ImageError::ConstantImage { value: 3.0, voxels: 120 })
    ));
    let empty = with(Array3::zeros((4, 0, 6)));
    assert!(matches!(empty, PreprocessError::Image(ImageError::EmptyImage { .. })));
    let mut nan = head(1.0, 0.0, 0.0).into_data();
    nan[[3, 4, 5]] = f32::NAN;
    assert!(matches!(
        fitted.prepare(&Volume::new(nan, Geometry::default()).into()).unwrap_err(),
        PreprocessError::Image(ImageError::NonFiniteVoxels { count: 1, first }) if first == [3, 4, 5]
    ));
    // In an order of voxels that is not that of the network: the index is that of the array.
    let plain =
        Preprocessing::new([16, 16]).intensity(Intensity::ZScore(ZScore::plain())).fit([&good]).unwrap();
    for orientation in ["LAS", "SLP", "IAR"] {
        let mut turned = head(1.0, 0.0, 0.0).reoriented(&orientation.parse().unwrap());
        turned.data_mut()[[3, 4, 5]] = f32::NAN;
        let turned = Scan::from(turned);
        for fitted in [&fitted, &plain] {
            assert!(
                matches!(
                    fitted.prepare(&turned).unwrap_err(),
                    PreprocessError::Image(ImageError::NonFiniteVoxels { count: 1, first }) if first == [3, 4, 5]
                ),
                "{orientation}"
            );
        }
    }
    let dark = ForegroundMask::new().threshold(lesio_image::Threshold::Above(1e6));
    let none = Preprocessing::new([16, 16]).foreground(Foreground::Mask(dark)).fit([&good]).unwrap();
    let error = none.prepare(&good).unwrap_err();
    assert!(matches!(error, PreprocessError::Image(ImageError::EmptyForeground)));

    let learning =
        Preprocessing::new([16, 16]).intensity(Intensity::Standardized(HistogramStandardizer::new()));
    let nobody: [Scan; 0] = [];
    assert_eq!(learning.fit(nobody), Err(PreprocessError::NoTrainingImages));
    let flat = Scan::from(Volume::new(Array3::zeros((4, 5, 6)), Geometry::default()));
    assert!(matches!(
        learning.fit([&good, &flat]),
        Err(PreprocessError::Training { index: 1, source: ImageError::ConstantImage { .. } })
    ));
    for bad in [
        Preprocessing::new([0, 16]),
        Preprocessing::new([16, 16]).clip(Some([1.0, 0.0])),
        Preprocessing::new([16, 16]).clip(Some([f32::NAN, 1.0])),
        Preprocessing::heads([16, 16]).frame(Frame::Align(Alignment::new([16, 16]).coverage(-1.0))),
    ] {
        assert!(matches!(bad.fit([&good]), Err(PreprocessError::Config(_))), "{bad:?}");
    }
    let prepared = fitted.prepare(&good).unwrap();
    assert!(matches!(prepared.restore_map(&[], 0.0), Err(ImageError::CountMismatch { expected: 14, .. })));
    let small = vec![Array2::zeros((16, 15)); 14];
    assert!(matches!(prepared.restore_map(&small, 0.0), Err(ImageError::ShapeMismatch { .. })));
}

#[test]
fn one_voxel_is_enough_where_no_contrast_is_asked() {
    let one = Volume::new(Array3::from_elem((1, 1, 1), 0.5), Geometry::default());
    let fitted =
        Preprocessing::new([8, 8]).background(Background::Zero).fit([&Scan::from(one.clone())]).unwrap();
    let prepared = fitted.prepare(&one.clone().into()).unwrap();
    assert_eq!(prepared.planes.len(), 1);
    assert_eq!(prepared.planes[0].position, 0.5);
    assert_eq!(prepared.restore_map(&first_channels(&prepared), 0.0).unwrap(), one);
}

#[test]
fn threads_do_not_change_a_bit() {
    let volume = head(1.0, 0.0, 0.0);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let fitted = Preprocessing::heads([40, 40]).fit([&Scan::from(volume.clone())]).unwrap();
            fitted.prepare(&volume.clone().into()).unwrap().planes
        })
    };
    assert_eq!(run(1), run(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_volume_survives_the_way(shape in (1_usize..9, 1_usize..9, 1_usize..9), grid in (1_usize..12, 1_usize..12),
                                   seed in 0_u32..1000, letters in prop::sample::select(vec!["RAS", "LIP", "PSR"]),
                                   plane in prop::sample::select(vec![Plane::Axial, Plane::Coronal, Plane::Sagittal])) {
        let data = Array3::from_shape_fn(shape, |(i, j, k)| ((i * 31 + j * 17 + k * 7 + seed as usize) % 19) as f32);
        let volume = Volume::new(data, Geometry::from_spacing([1.0, 2.0, 0.5]).unwrap())
            .reoriented(&letters.parse().unwrap());
        for frame in [
            Frame::Fit(GridFit::new([grid.0, grid.1])),
            Frame::Fit(GridFit::new([grid.0, grid.1]).resize(Resize::Stretch)),
            Frame::Align(Alignment::new([grid.0, grid.1])),
        ] {
            let fitted = Preprocessing::new([1, 1]).plane(plane).frame(frame).fit([&Scan::from(volume.clone())]).unwrap();
            let prepared = fitted.prepare(&volume.clone().into()).unwrap();
            let ones: Vec<_> = prepared.planes.iter().map(|p| Array2::from_elem(p.mask.dim(), 1.0)).collect();
            let back = prepared.restore_map(&ones, 1.0).unwrap();
            prop_assert_eq!(back.shape(), volume.shape());
            prop_assert_eq!(back.geometry(), volume.geometry());
            prop_assert!(back.data().iter().all(|v| *v == 1.0));
            for plane in &prepared.planes {
                prop_assert!(plane.input.iter().all(|v| (0.0..=18.0).contains(v)));
            }
        }
    }
}

/// Whatever stands in a document is refused by name, or prepares a volume without a panic.
#[test]
fn no_number_of_a_saved_preprocessing_does_harm() {
    let volume = head(1.0, 0.0, 0.0);
    let intensities = [
        Intensity::Robust(RobustScaling::new()),
        Intensity::ZScore(ZScore::default()),
        Intensity::Range(LinearScale::new(-10.0, 300.0).unwrap()),
        Intensity::Standardized(HistogramStandardizer::new()),
    ];
    let mut refused = 0;
    for intensity in intensities {
        let fitted =
            Preprocessing::heads([24, 32]).intensity(intensity).fit([&Scan::from(volume.clone())]).unwrap();
        for mutation in mutations(&serde_json::to_value(&fitted).unwrap()) {
            match serde_json::from_value::<FittedPreprocessing>(mutation.document) {
                Ok(read) => {
                    // Errors are allowed here: a clip, a coverage or a radius may leave nothing.
                    let _ = read.prepare(&volume.clone().into());
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 200, "only {refused} were refused");
}

#[test]
fn misspelled_settings_are_named() {
    let written = serde_json::to_value(Preprocessing::heads([16, 16])).unwrap();
    let mut misspelled = written.clone();
    misspelled["clips"] = serde_json::json!([0.0, 1.0]);
    let error = serde_json::from_value::<Preprocessing>(misspelled).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `clips`"), "{error}");
    let error = serde_json::from_str::<ForegroundMask>(r#"{"thresholds": {}}"#).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `thresholds`"), "{error}");
    assert_eq!(serde_json::from_value::<Preprocessing>(written).unwrap(), Preprocessing::heads([16, 16]));
}

#[test]
fn settings_that_cannot_be_are_named() {
    let heads = || Preprocessing::heads([32, 32]);
    let aligned = |alignment| heads().frame(Frame::Align(alignment));
    let masked = |mask| heads().foreground(Foreground::Mask(mask));
    let scored = |low, high| heads().intensity(Intensity::ZScore(ZScore::default().deviations(low, high)));
    let mut cases = vec![
        ("grid height", Preprocessing::heads([0, 32])),
        ("grid width", Preprocessing::heads([32, usize::MAX])),
        ("grid height", Preprocessing::new([4097, 32])),
        ("clip", heads().clip(Some([1.0, f32::NAN]))),
        ("clip", heads().clip(Some([1.0, 0.0]))),
        ("z-score low", scored(-1e18, 1.0)),
        ("z-score high", scored(0.0, f64::INFINITY)),
        ("z-score ends", scored(1.0, 1.0)),
    ];
    for value in [f64::NAN, f64::INFINITY, -1.0, 1e9] {
        cases.push(("alignment coverage", aligned(Alignment::new([32, 32]).coverage(value))));
        cases.push(("alignment trim", aligned(Alignment::new([32, 32]).trim(value))));
        cases.push(("foreground opening", masked(ForegroundMask::new().opening(value))));
        cases.push(("foreground closing", masked(ForegroundMask::new().closing(value))));
        let percentiles = vec![1.0, value];
        let standardizer = HistogramStandardizer::new().percentiles(percentiles);
        cases.push(("histogram landmarks", heads().intensity(Intensity::Standardized(standardizer))));
    }
    let many = HistogramStandardizer::new().percentiles(vec![0.0; 2000]);
    cases.push(("number of histogram landmarks", heads().intensity(Intensity::Standardized(many))));
    for (setting, config) in cases {
        assert_eq!(config.validate().unwrap_err().setting, setting);
        // The same where it is used.
        assert!(
            matches!(config.fit([Scan::from(head(1.0, 0.0, 0.0))]), Err(PreprocessError::Config(_))),
            "{setting}"
        );
    }
}

#[test]
fn a_fault_of_one_of_several_channels_names_it() {
    let good = Array3::from_shape_fn((6, 6, 4), |(i, j, k)| (i * 7 + j * 3 + k) as f32);
    let scan = |bad: Array3<f32>| {
        let volumes = [good.clone(), bad].map(|data| Volume::new(data, Geometry::default()));
        Scan::joined(volumes.to_vec()).unwrap()
    };
    let mut broken = good.clone();
    broken[[1, 2, 3]] = f32::NAN;
    let faults = [(broken, "1 values are NaN"), (Array3::zeros((6, 6, 4)), "no contrast")];
    for intensity in [Intensity::Robust(RobustScaling::new()), Intensity::Standardized(Default::default())] {
        let preprocessing = Preprocessing::new([8, 8]).intensity(intensity);
        let fitted = preprocessing.fit([scan(good.clone())]).unwrap();
        for (bad, said) in &faults {
            let bad = scan(bad.clone());
            let named = bad.clone().with_names(["flair", "t1"]).unwrap();
            for (scan, name) in [(&bad, "1"), (&named, "t1")] {
                let Err(PreprocessError::Image(ImageError::Channel { channel, source })) =
                    fitted.prepare(scan)
                else {
                    panic!("another error");
                };
                assert_eq!(channel, name);
                assert!(source.to_string().contains(said), "{source}");
            }
        }
    }
}
