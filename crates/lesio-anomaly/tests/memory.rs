//! What the maps of a volume take, counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use lesio_anomaly::{Localizer, Model, ModelConfig, PostProcessing, PredictorName, Provenance};
use lesio_image::{Geometry, Orientation, Preprocessing, Scan, Volume};
use lesio_nn::Device;
use lesio_vae::{VaeConfig, initial_parameters};
use ndarray::{Array3, ShapeBuilder};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most that stands at a time beyond what stood before.
fn peak(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage() - before
}

/// A head of a shape, in the order in memory in which files are read.
fn head(shape: [usize; 3]) -> Volume<f32> {
    let mut data = Array3::zeros((shape[0], shape[1], shape[2]).f());
    let mut state = 7u32;
    for ((i, j, k), value) in data.indexed_iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let away = |place: usize, length: usize| (2.0 * place as f32 / length as f32 - 1.0).powi(2);
        let inside = away(i, shape[0]) + away(j, shape[1]) + away(k, shape[2]) < 0.8;
        *value = if inside { 80.0 } else { 0.0 } + (state >> 27) as f32;
    }
    let geometry = Geometry::from_spacing([1.0; 3]).unwrap();
    Volume::new(data, geometry)
}

#[test]
fn maps_are_made_one_at_a_time_and_filtered_where_they_lie() {
    let config = VaeConfig::new(1, 32, 32).widths([4, 8]);
    let parameters = initial_parameters(&config, 2).unwrap();
    let model = Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &Device::Cpu).unwrap();
    let preprocessing = Preprocessing::heads([32, 32]).fit([Scan::from(head([40, 40, 20]))]).unwrap();
    let localizer = Localizer::new(model, preprocessing, Provenance::default())
        .unwrap()
        .with_postprocessing(PostProcessing::default().median(5.0, 5.0, 5.0).erosion(2.0));
    let names = [PredictorName::PixelL1, PredictorName::Intensity];
    for turned in ["RAS", "LPS"] {
        let orientation: Orientation = turned.parse().unwrap();
        let shape = [256, 256, 200];
        let volume = head(shape).reoriented(&orientation);
        // Reorientation brings the last axis nearest.
        let mut data = Array3::zeros((shape[0], shape[1], shape[2]).f());
        data.assign(volume.data());
        let scan = Scan::from(Volume::new(data, *volume.geometry()));
        let floats = 4 * scan.data().len();
        let bytes = peak(|| {
            let scored = localizer.maps(&scan, &names).unwrap();
            for maps in scored.maps() {
                let raw = maps.raw().unwrap();
                let map = maps.postprocessed(raw).unwrap();
                assert_eq!(map.shape(), shape);
            }
        });
        let times = bytes as f64 / floats as f64;
        println!("{turned}: {times:.2} times the volume beside it");
        // A map, two masks of a quarter each, and what is filtered at a time: with the volume itself 2.7.
        assert!(times < 2.0, "{turned}: {times}");
    }
}
