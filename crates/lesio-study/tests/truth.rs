//! Truth and labels that lie where their image does, and others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use lesio_image::{Geometry, Image, Orientation, Preprocessing, Scan, Volume};
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_study::{
    Injection, InjectionConfig, InjectionError, StudyError, Subject, TruthError, fit_preprocessing,
    normal_examples,
};
use lesio_vae::Examples;
use ndarray::{Array2, Array3};

/// A head of ten slices, of which the last three hold a lesion on one side.
fn head() -> (Volume<f32>, Volume<bool>) {
    let grid = Geometry::from_spacing([1.0, 1.0, 3.0]).unwrap();
    let inside = |i: usize, j: usize| (i as f32 - 11.5).hypot(j as f32 - 13.5) < 9.0;
    let head = Array3::from_shape_fn((24, 28, 10), |(i, j, k)| {
        if inside(i, j) { 100.0 + ((i * 7 + j * 5 + k * 3) % 11) as f32 } else { 0.0 }
    });
    let truth =
        Array3::from_shape_fn((24, 28, 10), |(i, j, k)| i > 13 && i < 17 && j > 10 && j < 14 && k > 6);
    (Volume::new(head, grid), Volume::new(truth, grid))
}

fn examples(subject: Subject) -> Result<Examples, StudyError> {
    let subjects = [subject];
    let preprocessing = fit_preprocessing(&Preprocessing::new([16, 16]), &subjects)?;
    normal_examples(&preprocessing, &subjects)
}

#[test]
fn normal_slices_are_those_without_truth_at_their_place() {
    let (volume, truth) = head();
    let gather = |volume: &Volume<f32>, truth: Option<Volume<bool>>| {
        examples(Subject::new("a", volume.clone(), truth))
    };
    let all = gather(&volume, None).unwrap();
    let straight = gather(&volume, Some(truth.clone())).unwrap();
    assert_eq!((all.len(), straight.len()), (10, 7));
    // Whatever the order of voxels, of the image or of its truth.
    for image in ["RAS", "LPI", "SAR", "PIL"] {
        let image = volume.reoriented(&image.parse::<Orientation>().unwrap());
        for mask in ["RAS", "LAS", "RAI", "IRA"] {
            let mask = truth.reoriented(&mask.parse().unwrap());
            assert_eq!(gather(&image, Some(mask)).unwrap().len(), 7);
        }
    }
    // A truth that is none of this volume is refused, not cut.
    let elsewhere = Volume::new(truth.data().clone(), Geometry::default());
    let short = Volume::new(Array3::from_elem((24, 28, 9), false), *truth.geometry());
    for wrong in [elsewhere, short] {
        let error = gather(&volume, Some(wrong)).unwrap_err();
        assert!(
            matches!(&error, StudyError::Truth { case, source: TruthError::Grid(_) } if case == "a"),
            "{error}"
        );
    }
}

#[test]
fn an_image_with_a_truth_of_another_size_is_refused() {
    let image = Image::from_plane(Array2::from_shape_fn((16, 20), |(i, j)| (i * 3 + j * 5 % 7) as f32));
    let gather =
        |truth: Option<Array2<bool>>| examples(Subject::new("a", image.clone(), truth.map(Scan::of_picture)));
    let spot = |height, width| Array2::from_shape_fn((height, width), |(i, j)| i == 3 && j == 4);
    assert_eq!(gather(None).unwrap().len(), 1);
    assert_eq!(gather(Some(spot(16, 20).mapv(|_| false))).unwrap().len(), 1);
    assert_eq!(gather(Some(spot(16, 20))).unwrap().len(), 0);
    for wrong in [spot(20, 16), spot(8, 10)] {
        assert!(matches!(
            gather(Some(wrong)).unwrap_err(),
            StudyError::Truth { source: TruthError::Size(_), .. }
        ));
    }
}

#[test]
fn labels_are_matched_by_their_place() {
    let brains = BrainPhantom::new(BrainConfig::new([48, 48], Contrast::T1, 3).slices(6)).unwrap();
    let subject = brains.volume(0).unwrap();
    let injection = Injection::new(InjectionConfig::new(5).lesions(2).radius(3.0, 4.0)).unwrap();
    let straight = injection.inject(0, &subject.image, &subject.labels).unwrap();
    let turned = subject.labels.reoriented(&"PIL".parse().unwrap());
    assert_ne!(turned.shape(), subject.labels.shape());
    assert_eq!(injection.inject(0, &subject.image, &turned).unwrap(), straight);
    let shifted = subject
        .labels
        .geometry()
        .composed([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.5, 0.0, 0.0]);
    for geometry in [Geometry::from_spacing([9.0; 3]).unwrap(), shifted.unwrap()] {
        let elsewhere = Volume::new(subject.labels.data().clone(), geometry);
        let error = injection.inject(0, &subject.image, &elsewhere).unwrap_err();
        assert!(matches!(error, InjectionError::Labels(_)), "{error}");
    }
}
