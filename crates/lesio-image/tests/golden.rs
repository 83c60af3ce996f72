//! Filters, components and distances against scipy 1.17.1 and numpy 2.4.6.
//!
//! `golden/make.py` writes `golden/scipy.json` and says with what.

#![allow(clippy::unwrap_used, reason = "a test that cannot run shall fail")]

use lesio_image::{
    Connectivity, RobustScaling, dilate, erode, fill_holes_plane, gaussian_filter_volume, label_volume,
    median_filter_plane, median_filter_volume, squared_distance,
};
use ndarray::{ArrayD, Ix2, Ix3};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/scipy.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn sizes<const N: usize>(value: &Value) -> [usize; N] {
    numbers(value).iter().map(|&v| v as usize).collect::<Vec<_>>().try_into().unwrap()
}

fn array(value: &Value) -> ArrayD<f64> {
    let shape: Vec<usize> = numbers(&value["shape"]).iter().map(|&v| v as usize).collect();
    ArrayD::from_shape_vec(shape, numbers(&value["values"])).unwrap()
}

fn mask(value: &Value) -> ArrayD<bool> {
    array(value).mapv(|v| v != 0.0)
}

fn singles(value: &Value) -> ArrayD<f32> {
    array(value).mapv(|v| v as f32)
}

#[test]
fn medians_are_scipys() {
    let golden = golden();
    let plane = singles(&golden["plane"]).into_dimensionality::<Ix2>().unwrap();
    for case in golden["median_plane"].as_array().unwrap() {
        let found = median_filter_plane(&plane, sizes(&case["size"])).unwrap();
        assert_eq!(found.into_dyn(), singles(&case["result"]), "size {}", case["size"]);
    }
    let volume = singles(&golden["volume"]).into_dimensionality::<Ix3>().unwrap();
    for case in golden["median_volume"].as_array().unwrap() {
        let found = median_filter_volume(&volume, sizes(&case["size"])).unwrap();
        assert_eq!(found.into_dyn(), singles(&case["result"]), "size {}", case["size"]);
    }
}

#[test]
fn gaussians_are_scipys() {
    let golden = golden();
    let volume = singles(&golden["volume"]).into_dimensionality::<Ix3>().unwrap();
    for case in golden["gaussian"].as_array().unwrap() {
        let sigma: [f64; 3] = numbers(&case["sigma"]).try_into().unwrap();
        let found = gaussian_filter_volume(&volume, sigma).unwrap();
        for (found, expected) in found.iter().zip(&array(&case["result"])) {
            // The values reach 2.5; each axis rounds to f32 once.
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn labels_are_scipys() {
    let golden = golden();
    let mask = mask(&golden["mask"]).into_dimensionality::<Ix3>().unwrap();
    let ways = [Connectivity::Face, Connectivity::Edge, Connectivity::Vertex];
    for (connectivity, expected) in ways.into_iter().zip(golden["labels"].as_array().unwrap()) {
        let found = label_volume(&mask, connectivity);
        assert_eq!(found.labels().mapv(f64::from).into_dyn(), array(expected), "{connectivity:?}");
    }
}

#[test]
fn distances_and_morphology_are_scipys() {
    let golden = golden();
    let volume = mask(&golden["mask"]).into_dimensionality::<Ix3>().unwrap();
    assert_eq!(squared_distance(&volume).into_dyn(), array(&golden["squared_distance"]));
    let slice = mask(&golden["slice"]).into_dimensionality::<Ix2>().unwrap();
    assert_eq!(fill_holes_plane(&slice).into_dyn(), mask(&golden["filled"]));
    assert_eq!(erode(&slice, 1.0).into_dyn(), mask(&golden["eroded_cross"]));
    assert_eq!(dilate(&slice, 1.5).into_dyn(), mask(&golden["dilated_square"]));
}

#[test]
fn percentiles_are_numpys() {
    let golden = golden();
    let volume = singles(&golden["volume"]);
    let wanted = numbers(&golden["percentiles"]["wanted"]);
    let expected = numbers(&golden["percentiles"]["result"]);
    for (&percentile, expected) in wanted.iter().zip(expected) {
        let found = if percentile < 50.0 {
            RobustScaling::new().percentiles(percentile, 100.0).fit(&volume, None).unwrap().low()
        } else {
            RobustScaling::new().percentiles(0.0, percentile).fit(&volume, None).unwrap().high()
        };
        assert!((found - expected).abs() < 1e-12, "{percentile}: {found} {expected}");
    }
}
