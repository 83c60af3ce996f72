//! Slices of patients with their true labels.

use std::borrow::Cow;
use std::collections::BTreeSet;

use lesio_image::{BoundingBox, GridFault, Orientation, Scan, Volume, bounding_box};
use lesio_nn::random;
use ndarray::{Array2, Array3, Axis};

use crate::error::InputError;

/// The axis of a volume's array through which it is cut into slices: the last, along which the distance between slices
/// lies. A picture is one slice.
pub const SLICE_AXIS: usize = 2;

/// A slice with its truth.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrueSlice {
    /// The patient.
    pub patient: String,
    /// The volume it belongs to.
    pub case: String,
    /// Its position in the volume, counted from 0.
    pub index: usize,
    /// Intensities, `[channel, i, j]`: of the first two axes of the volume.
    pub image: Array3<f32>,
    /// True labels, `(i, j)`, 0 for none.
    pub truth: Array2<u8>,
    /// Side in millimeters of a square with the area of a pixel; `None` where it is unknown.
    pub pixel_millimeters: Option<f64>,
    /// The orientation of the volume it belongs to; `None` where it is unknown.
    pub orientation: Option<Orientation>,
    /// Center `[i, j]` of the labeled structures in pixels from the first pixel's outer edge: of the slice's own, else of
    /// the whole volume's.
    pub center: [f64; 2],
    /// Segmentations of this slice, `(i, j)`, by the user's networks: candidates in addition to those of a pipeline. None of these
    /// networks may have been trained on the patient. See [`TrueSlice::segmented`].
    pub given: Vec<Array2<u8>>,
}

impl TrueSlice {
    /// The slices of a scan; none where it holds no label.
    ///
    /// Labels in another order of voxels are brought into the image's, by both affines.
    ///
    /// # Errors
    /// For different shapes and positions; [`InputError::SliceAxis`].
    pub fn of_scan(
        patient: &str,
        case: &str,
        image: &Scan,
        truth: &Volume<u8>,
    ) -> Result<Vec<Self>, InputError> {
        let truth = on_grid_of(image, truth)?;
        let Some(whole) = bounding_box(&truth.data().mapv(|label| label != 0)) else { return Ok(Vec::new()) };
        let whole =
            BoundingBox { start: [whole.start[0], whole.start[1]], end: [whole.end[0], whole.end[1]] };
        let mut slices = Vec::new();
        for index in 0..truth.shape()[SLICE_AXIS] {
            let labels = truth.data().index_axis(Axis(SLICE_AXIS), index).to_owned();
            let bounds = bounding_box(&labels.mapv(|label| label != 0)).unwrap_or(whole);
            slices.push(Self {
                patient: patient.to_owned(),
                case: case.to_owned(),
                index,
                image: image.data().index_axis(Axis(1 + SLICE_AXIS), index).to_owned(),
                truth: labels,
                pixel_millimeters: pixel_millimeters(image),
                orientation: (!image.is_picture()).then(|| image.geometry().orientation()),
                center: center(&bounds),
                given: Vec::new(),
            });
        }
        Ok(slices)
    }

    /// Adds to the slices of a scan a segmentation of that scan, as [`TrueSlice::given`].
    ///
    /// `slices` are those of one [`TrueSlice::of_scan`], and `image` is the scan that it was given. A segmentation in another
    /// order of voxels is brought into the image's, by both affines.
    ///
    /// # Errors
    /// For different shapes and positions, and slices beyond the volume.
    pub fn segmented(slices: &mut [Self], image: &Scan, segmentation: &Volume<u8>) -> Result<(), InputError> {
        let segmentation = on_grid_of(image, segmentation)?;
        if let Some(slice) = slices.iter().find(|slice| slice.index >= segmentation.shape()[SLICE_AXIS]) {
            let (image, segmentation) = (vec![slice.index + 1], segmentation.shape().to_vec());
            return Err(InputError::Shape { image, segmentation });
        }
        for slice in slices {
            slice.given.push(segmentation.data().index_axis(Axis(SLICE_AXIS), slice.index).to_owned());
        }
        Ok(())
    }

    /// A slice by itself, as of a phantom, `[channel, i, j]` and `(i, j)`; `None` where it holds no label.
    #[must_use]
    pub fn alone(patient: &str, image: Array3<f32>, truth: Array2<u8>) -> Option<Self> {
        let bounds = bounding_box(&truth.mapv(|label| label != 0))?;
        let (patient, case) = (patient.to_owned(), patient.to_owned());
        Some(Self {
            patient,
            case,
            index: 0,
            image,
            truth,
            pixel_millimeters: None,
            orientation: None,
            center: center(&bounds),
            given: Vec::new(),
        })
    }
}

/// Voxels that are longer than this times their length along the third axis say that slices lie along another axis.
const MOST_ELONGATED: f64 = 1.5;

/// Returns an error if slices evidently lie along another axis than [`SLICE_AXIS`].
fn check_slice_axis(image: &Scan) -> Result<(), InputError> {
    let spacing = image.geometry().spacing();
    let longest = spacing.iter().copied().fold(0.0, f64::max);
    if image.grid()[SLICE_AXIS] > 1 && longest > MOST_ELONGATED * spacing[SLICE_AXIS] {
        return Err(InputError::SliceAxis { spacing });
    }
    Ok(())
}

/// Labels on the grid of their image, in the order of its voxels.
pub(crate) fn on_grid_of<'a>(
    image: &Scan,
    labels: &'a Volume<u8>,
) -> Result<Cow<'a, Volume<u8>>, InputError> {
    check_slice_axis(image)?;
    let (grid, shape) = (image.geometry(), image.grid());
    if labels.geometry() == grid && labels.shape() == shape {
        return Ok(Cow::Borrowed(labels));
    }
    let (labels, agreement) = labels.clone().aligned_to(grid, shape).map_err(|error| match error.fault {
        GridFault::Shape => {
            let (image, segmentation) = (error.expected.shape.to_vec(), error.found.shape.to_vec());
            InputError::Shape { image, segmentation }
        }
        _ => InputError::Grid(error),
    })?;
    if !agreement.is_exact() {
        let (voxels, millimeters) = (agreement.voxels, agreement.millimeters);
        tracing::warn!(
            voxels,
            millimeters,
            "the affines of segmentation and image differ slightly: treated as the same position"
        );
    }
    Ok(Cow::Owned(labels))
}

/// Side in millimeters of a square with the area of a pixel of a slice; `None` for a picture.
pub(crate) fn pixel_millimeters(image: &Scan) -> Option<f64> {
    let spacing = image.geometry().spacing();
    let sides = (0..3).filter(|&axis| axis != SLICE_AXIS).map(|axis| spacing[axis]);
    (!image.is_picture()).then(|| sides.product::<f64>().sqrt())
}

fn center(bounds: &BoundingBox<2>) -> [f64; 2] {
    std::array::from_fn(|axis| (bounds.start[axis] + bounds.end[axis]) as f64 / 2.0)
}

/// Patients in groups that never mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatientGroups {
    groups: Vec<BTreeSet<String>>,
}

impl PatientGroups {
    /// Deals patients into groups whose sizes are as these shares (at least one each where there are as
    /// many), by a seed.
    ///
    /// The deal depends on the set of names alone, not on their order or number of mentions.
    #[must_use]
    pub fn deal<S: AsRef<str>>(patients: impl IntoIterator<Item = S>, shares: &[f64], seed: u64) -> Self {
        let names: BTreeSet<String> = patients.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let order = random::permutation(&mut random::generator(seed, 0x9a71), names.len());
        let total: f64 = shares.iter().sum();
        let mut groups = vec![BTreeSet::new(); shares.len()];
        let (mut start, mut share) = (0, 0.0);
        for (number, own) in shares.iter().enumerate() {
            share += own / total;
            let later = shares.len() - 1 - number;
            let end = ((share * names.len() as f64).round() as usize)
                .max(start + 1)
                .min(names.len().saturating_sub(later))
                .max(start);
            let end = if later == 0 { names.len() } else { end };
            groups[number] = order.get(start..end).unwrap_or(&[]).iter().map(|&k| names[k].clone()).collect();
            start = end;
        }
        Self { groups }
    }

    /// The patients of a group, in the order of their names; empty past the last.
    pub fn patients(&self, group: usize) -> impl Iterator<Item = &str> {
        self.groups.get(group).into_iter().flatten().map(String::as_str)
    }

    /// The group of a patient.
    #[must_use]
    pub fn group(&self, patient: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.contains(patient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_image::Geometry;
    use ndarray::Array3;
    use proptest::prelude::*;

    #[test]
    fn slices_without_labels_are_centered_as_the_volume() {
        let geometry = Geometry::from_spacing([1.0, 1.0, 8.0]).unwrap();
        let mut truth = Array3::<u8>::zeros((20, 30, 2));
        truth[[4, 10, 0]] = 2;
        truth[[7, 21, 0]] = 1;
        let image = Scan::from(Volume::new(truth.mapv(f32::from), geometry));
        let slices = TrueSlice::of_scan("p", "p_1", &image, &Volume::new(truth, geometry)).unwrap();
        assert_eq!(slices.len(), 2);
        assert_eq!(slices[0].center, [6.0, 16.0]);
        assert_eq!(slices[1].center, [6.0, 16.0]);
        let empty = Volume::new(Array3::zeros((20, 30, 2)), geometry);
        assert!(TrueSlice::of_scan("p", "p_1", &image, &empty).unwrap().is_empty());
    }

    #[test]
    fn slices_along_another_axis_are_refused() {
        let read = |spacing: [f64; 3], slices: usize| {
            let geometry = Geometry::from_spacing(spacing).unwrap();
            let image = Volume::new(Array3::zeros((4, 5, slices)), geometry);
            TrueSlice::of_scan("p", "p_1", &image.clone().into(), &image.map(|_| 1))
                .map(|slices| slices.len())
        };
        let refused = read([8.0, 1.0, 1.2], 3).unwrap_err();
        assert!(matches!(refused, InputError::SliceAxis { spacing: [8.0, 1.0, 1.2] }));
        assert!(refused.to_string().contains("8.00 x 1.00 x 1.20"), "{refused}");
        assert_eq!([read([1.0, 1.0, 8.0], 3).unwrap(), read([1.4, 1.0, 1.0], 3).unwrap()], [3, 3]);
        assert_eq!(read([1.5, 1.5, 0.1], 1).unwrap(), 1, "one slice has no other axis");
    }

    proptest! {
        #[test]
        fn every_patient_has_one_group(count in 3usize..40, seed in 0u64..100) {
            let names: Vec<String> = (0..count).map(|k| format!("patient{k}")).collect();
            let twice: Vec<&String> = names.iter().rev().chain(&names).collect();
            let groups = PatientGroups::deal(&names, &[0.7, 0.2, 0.1], seed);
            prop_assert_eq!(&groups, &PatientGroups::deal(twice, &[0.7, 0.2, 0.1], seed));
            let sizes: Vec<usize> = (0..3).map(|group| groups.patients(group).count()).collect();
            prop_assert_eq!(sizes.iter().sum::<usize>(), count);
            prop_assert!(sizes.iter().all(|&size| size > 0), "{:?}", sizes);
            for name in &names {
                let group = groups.group(name).unwrap();
                prop_assert!((0..3).all(|g| (g == group) == groups.patients(g).any(|own| own == name)));
            }
        }
    }
}
