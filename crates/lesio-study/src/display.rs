//! How slices are displayed: their brightness, which side is left, and how large their pixels are drawn.

use lesio_image::{Geometry, Plane, order_statistics};
use lesio_io::AffineSource;
use lesio_io::nifti::NiftiHeader;
use lesio_report::{Scale, ScaleError};

/// One value in this many may exceed the white level.
const BRIGHTER: usize = 200;

/// Smallest number of rows of an image after enlargement.
const LEAST_ROWS: usize = 192;
const MOST_ENLARGED: usize = 6;
/// Sides whose ratio is nearer to 1 than this are drawn equal.
const ALIKE: f64 = 0.02;
/// The largest factor of one side.
const MOST: usize = 12;
/// The most rows or columns of a picture that factors of unequal sides make, unless it has more already.
const MOST_PIXELS: usize = 2048;

/// The gray window: from 0, or the lowest value if that is negative, to the value that one in 200 exceeds, so that one
/// bright voxel does not darken all others.
pub(crate) fn window(values: impl Iterator<Item = f32> + Clone) -> Result<Scale, ScaleError> {
    let finite = values.filter(|value| value.is_finite());
    let count = finite.clone().count();
    let (mut low, mut high) = (0.0, 1.0);
    if let Some(last) = count.checked_sub(count / BRIGHTER + 1) {
        let found = order_statistics(finite, &[0, last]);
        (low, high) = (f64::from(found[0].min(0.0)), f64::from(found[1]));
    }
    Scale::new(low, if high > low { high } else { low + 1.0 })
}

/// Whether columns of upright slices run from the subject's left to the right, as they do in axial and coronal ones. A
/// NIfTI header without a usable form does not say which side is left.
pub(crate) fn left_to_right(plane: Plane, header: Option<&NiftiHeader>) -> bool {
    let has = |header: &NiftiHeader, form| header.geometry_by(form).is_ok();
    let forms = [AffineSource::Sform, AffineSource::Qform];
    plane != Plane::Sagittal && header.is_none_or(|header| forms.into_iter().any(|form| has(header, form)))
}

/// The factor that makes small pictures large enough to be seen.
pub(crate) fn enlargement(rows: usize) -> usize {
    LEAST_ROWS.div_ceil(rows.max(1)).clamp(1, MOST_ENLARGED)
}

/// The sides of a pixel of an upright slice along `plane`, down and across, in millimeters.
pub(crate) fn pixel_of(geometry: &Geometry, plane: Plane) -> [f64; 2] {
    let [down, across] = match plane {
        Plane::Axial => [1, 0],
        Plane::Coronal => [2, 0],
        Plane::Sagittal => [2, 1],
    };
    let codes = geometry.axis_codes();
    let along = |world: usize| {
        let sides = codes.iter().zip(geometry.spacing());
        sides.filter(|(code, _)| code.world().0 == world).map(|(_, side)| side).fold(1.0, |_, side| side)
    };
    [along(down), along(across)]
}

/// How often each row and each column of a slice of `size` is drawn: `equal` times if its pixels, of these sides, are
/// squares, otherwise whole numbers in about the ratio of the sides: to a fifth or so, so that pictures stay small.
pub(crate) fn magnification(equal: usize, size: [usize; 2], pixel: [f64; 2]) -> [usize; 2] {
    let aspect = pixel[0] / pixel[1];
    let equal = equal.max(1);
    // Also of sides that are not known.
    if !(aspect.is_finite() && aspect > 0.0) || aspect.ln().abs() < ALIKE {
        return [equal; 2];
    }
    let fits = |factor: usize, size: usize| factor == 1 || factor.saturating_mul(size) <= MOST_PIXELS;
    let mut best = ([1, 1], f64::INFINITY);
    for down in (1..=MOST).filter(|&down| fits(down, size[0])) {
        for across in (1..=MOST).filter(|&across| fits(across, size[1])) {
            let distortion = (down as f64 / across as f64 / aspect).ln().abs();
            // A small distortion is not worth a picture of many times the pixels.
            let growth = ((down * across) as f64 / (equal * equal) as f64).ln().max(0.0);
            // Among about equal ratios, the one whose smaller factor is nearest to that of squares.
            let other_size = (down.min(across) as f64 / equal as f64).ln().abs();
            let cost = distortion + 0.3 * growth + 0.01 * other_size;
            if cost < best.1 {
                best = ([down, across], cost);
            }
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use lesio_image::Volume;
    use ndarray::Array3;

    use super::*;

    #[test]
    fn sides_are_known_from_planes_and_affines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii.gz");
        lesio_io::write_volume(&path, &Volume::new(Array3::<f32>::zeros((6, 8, 20)), Geometry::default()))
            .unwrap();
        let mut header = lesio_io::nifti::read_header(&path).unwrap();
        for (plane, known) in [(Plane::Axial, true), (Plane::Coronal, true), (Plane::Sagittal, false)] {
            assert_eq!(left_to_right(plane, Some(&header)), known, "{plane:?}");
            // A DICOM series has no such header, but a position.
            assert_eq!(left_to_right(plane, None), known, "{plane:?}");
        }
        (header.sform_code, header.qform_code) = (0, 0);
        assert!(!left_to_right(Plane::Axial, Some(&header)));
    }

    #[test]
    fn a_window_spares_the_brightest_and_never_is_empty() {
        let scale = window((0..1000u16).map(f32::from)).unwrap();
        assert_eq!((scale.low(), scale.high()), (0.0, 994.0));
        let scale = window([-2.0, f32::NAN, 5.0].into_iter()).unwrap();
        assert_eq!((scale.low(), scale.high()), (-2.0, 5.0));
        assert!(window([0.0; 4].into_iter()).is_ok() && window(std::iter::empty()).is_ok());
    }

    #[test]
    fn voxels_keep_their_proportions() {
        for (equal, size, pixel, expected) in [
            (2, [128, 128], [1.0, 1.0], [2, 2]),
            (2, [128, 128], [1.0, 1.01], [2, 2]),
            (1, [217, 45], [1.0, 4.0], [1, 4]),
            (6, [20, 240], [5.0, 1.0], [10, 2]),
            (1, [520, 520], [2.0, 1.0], [2, 1]),
            (1, [400, 400], [3.0, 1.0], [3, 1]),
            // Pictures are not made much larger for a small distortion.
            (1, [512, 512], [1.2, 1.0], [1, 1]),
            (1, [256, 170], [0.78, 1.0], [1, 1]),
            (2, [128, 128], [0.9, 1.0], [2, 2]),
            (1, [2000, 2000], [3.0, 1.0], [1, 1]),
            (3, [64, 64], [f64::NAN, 1.0], [3, 3]),
            (3, [64, 64], [0.0, 0.0], [3, 3]),
            (0, [64, 64], [1.0, 1.0], [1, 1]),
        ] {
            assert_eq!(magnification(equal, size, pixel), expected, "{size:?} {pixel:?}");
        }
    }

    #[test]
    fn pixels_are_those_of_upright_slices() {
        // Voxel axes: to the back, to the left, upward.
        let geometry = Geometry::new([
            [0.0, -2.0, 0.0, 0.0],
            [-3.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 5.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let of = |plane| pixel_of(&geometry, plane);
        assert_eq!(
            [of(Plane::Axial), of(Plane::Coronal), of(Plane::Sagittal)],
            [[3.0, 2.0], [5.0, 2.0], [5.0, 3.0]]
        );
    }
}
