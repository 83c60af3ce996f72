//! The resolutions and extents of images and of the calibration subjects of a localizer.

use std::fmt;

use lesio_image::{Intensity, Placement, Plane, PreparedScan, Scan, Volume};
use ndarray::Axis;
use serde::{Deserialize, Serialize};

/// Largest factor by which an image may be finer than all calibration subjects along each axis. Filters follow the
/// voxel size, and resampling to the grid averages noise: false-positive rates are kept at twice the resolution
/// (docs/results.md).
const FINER: f64 = 2.0;

/// Largest factor by which an image may be coarser. In a coarser image, resampling averages less noise, and the network
/// sees a blurred image. At a factor of 1.5 the false-positive rate is no longer kept (docs/results.md).
const COARSER: f64 = 1.25;

/// The resolution of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resolution {
    /// A volume: millimeters from slice to slice, from row to row and from column to column.
    Volume([f64; 3]),
    /// An image, whose pixels have no known size: pixels of the network's grid from row to row and from
    /// column to column, 0.5 where the image has twice as many pixels as the grid.
    Image([f64; 2]),
}

impl Resolution {
    /// The resolution of a volume of any orientation, with slices along `plane`.
    #[must_use]
    pub fn of_volume<T>(volume: &Volume<T>, plane: Plane) -> Self {
        let spacing = volume.geometry().spacing();
        Self::Volume(slice_axes(volume, plane).map(|axis| spacing[axis]))
    }

    /// The resolution of a prepared scan with slices along `plane`.
    #[must_use]
    pub fn of_scan(scan: &Scan, plane: Plane, prepared: &PreparedScan) -> Self {
        match prepared.planes.first() {
            Some(first) if scan.is_picture() => Self::of_image(&first.placement),
            _ => Self::of_volume(&prepared.foreground, plane),
        }
    }

    /// The resolution of an image with this placement on the grid.
    #[must_use]
    pub fn of_image(placement: &Placement) -> Self {
        Self::Image(placement.scale().map(f64::recip))
    }

    /// Size of a voxel in cubic millimeters, or of a pixel in square pixels of the grid.
    #[must_use]
    pub fn voxel_size(&self) -> f64 {
        match self {
            Self::Volume(spacing) => spacing.iter().product(),
            Self::Image(spacing) => spacing.iter().product(),
        }
    }

    /// Millimeters from slice to slice; `None` for an image.
    #[must_use]
    pub fn between_slices(&self) -> Option<f64> {
        match self {
            Self::Volume([slices, ..]) => Some(*slices),
            Self::Image(_) => None,
        }
    }

    /// Spacing of slices, rows and columns; the slice spacing of an image is one unit.
    pub(crate) fn spacing(&self) -> [f64; 3] {
        match *self {
            Self::Volume(spacing) => spacing,
            Self::Image([rows, columns]) => [1.0, rows, columns],
        }
    }

    fn axes(&self) -> (&'static [&'static str], &[f64]) {
        const AXES: [&str; 3] = ["slices", "rows", "columns"];
        match self {
            Self::Volume(spacing) => (&AXES, spacing),
            Self::Image(spacing) => (&AXES[1..], spacing),
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Volume(_) => "mm",
            Self::Image(_) => "pixels of the grid",
        }
    }
}

/// Smallest and largest spacing of the calibration subjects of a localizer along each axis, separately for volumes and
/// images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Ranges")]
pub struct ResolutionRange {
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<[[f64; 3]; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<[[f64; 2]; 2]>,
}

#[derive(Deserialize)]
struct Ranges {
    #[serde(default)]
    volumes: Option<[[f64; 3]; 2]>,
    #[serde(default)]
    images: Option<[[f64; 2]; 2]>,
}

impl TryFrom<Ranges> for ResolutionRange {
    type Error = &'static str;

    fn try_from(ranges: Ranges) -> Result<Self, Self::Error> {
        let lengths = |[low, high]: [&[f64]; 2]| {
            let mut pairs = low.iter().zip(high);
            pairs.all(|(low, high)| *low > 0.0 && low <= high && high.is_finite())
        };
        let volumes = ranges.volumes.as_ref().is_none_or(|[low, high]| lengths([low, high]));
        let images = ranges.images.as_ref().is_none_or(|[low, high]| lengths([low, high]));
        if !(volumes && images) {
            return Err("a range of resolutions must be two positive ascending lengths per axis");
        }
        Ok(Self { volumes: ranges.volumes, images: ranges.images })
    }
}

impl ResolutionRange {
    /// The resolutions of no subject.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the resolution of a subject.
    pub fn add(&mut self, resolution: Resolution) {
        match resolution {
            Resolution::Volume(own) => widen(&mut self.volumes, own),
            Resolution::Image(own) => widen(&mut self.images, own),
        }
    }

    /// Whether no subject was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.volumes.is_none() && self.images.is_none()
    }

    /// Why a calibration on these subjects may not be valid for an image: the image is more than twice as fine as all
    /// of them along an axis, or more than 1.25 times as coarse; or they are volumes and it is an image, or the
    /// reverse. `None` if the calibration should be valid, and if no subject was added.
    #[must_use]
    pub fn doubt(&self, image: &Resolution) -> Option<CalibrationDoubt> {
        if self.is_empty() {
            return None;
        }
        let range = match image {
            Resolution::Volume(_) => self.volumes.as_ref().map(|[low, high]| [&low[..], &high[..]]),
            Resolution::Image(_) => self.images.as_ref().map(|[low, high]| [&low[..], &high[..]]),
        };
        let Some([low, high]) = range else { return Some(CalibrationDoubt::Kind) };
        let (names, found) = image.axes();
        let axes = names.iter().zip(found).zip(low.iter().zip(high));
        // Relative to the allowed factor: values above 1 are too large.
        let beyond = |low: f64, found: f64, high: f64| (low / found / FINER).max(found / high / COARSER);
        let worst = axes.max_by(|((_, a), (al, ah)), ((_, b), (bl, bh))| {
            beyond(**al, **a, **ah).total_cmp(&beyond(**bl, **b, **bh))
        })?;
        let ((&axis, &found), (&low, &high)) = worst;
        // Sizes of voxels are rounded in files.
        if beyond(low, found, high) <= 1.0 + 1e-3 {
            return None;
        }
        Some(CalibrationDoubt::Axis { axis, found, calibrated: [low, high], unit: image.unit() })
    }
}

/// The voxel axes of a volume of any orientation that run across the slices of a plane, across the rows of a slice and
/// across its columns, in the orientation of [`Volume::plane`].
pub(crate) fn slice_axes<T>(volume: &Volume<T>, plane: Plane) -> [usize; 3] {
    let codes = volume.geometry().axis_codes();
    let own = |world: usize| codes.iter().position(|code| code.world().0 == world).unwrap_or(world);
    let (rows, columns) = match plane {
        Plane::Sagittal => (2, 1),
        Plane::Coronal => (2, 0),
        Plane::Axial => (1, 0),
    };
    [own(plane.axis()), own(rows), own(columns)]
}

/// Rows and columns with foreground of a volume with slices along `plane`, in millimeters; `None` for a picture and for an
/// empty foreground.
pub(crate) fn footprint(
    foreground: &Volume<bool>,
    plane: Plane,
    resolution: &Resolution,
) -> Option<[f64; 2]> {
    let Resolution::Volume([_, rows, columns]) = *resolution else { return None };
    let [_, row_axis, column_axis] = slice_axes(foreground, plane);
    let covered = |axis: usize, spacing: f64| {
        let lines = foreground.data().axis_iter(Axis(axis));
        lines.filter(|line| line.iter().any(|&inside| inside)).count() as f64 * spacing
    };
    let footprint = [covered(row_axis, rows), covered(column_axis, columns)];
    (footprint[0] > 0.0).then_some(footprint)
}

fn widen<const N: usize>(range: &mut Option<[[f64; N]; 2]>, own: [f64; N]) {
    let [low, high] = range.get_or_insert([own, own]);
    for axis in 0..N {
        low[axis] = low[axis].min(own[axis]);
        high[axis] = high[axis].max(own[axis]);
    }
}

/// Why rates and p-values may not be valid for an image: the calibration subjects have another resolution or extent, or
/// the model's images have other values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CalibrationDoubt {
    /// An axis is much finer or much coarser.
    Axis {
        /// `slices`, `rows` or `columns`.
        axis: &'static str,
        /// The spacing in the image.
        found: f64,
        /// The smallest and the largest spacing of the calibration subjects.
        calibrated: [f64; 2],
        /// The unit of these lengths.
        unit: &'static str,
    },
    /// Volumes calibrated the localizer and this is an image, or the other way round.
    Kind,
    /// The slices cover much less or much more than the normal slices of the calibration subjects, or their foreground
    /// does. The highest score of more pixels is higher, and scores are compared with those of the same relative position.
    Extent {
        /// `slices`, `rows` or `columns`.
        axis: &'static str,
        /// Those with foreground, in millimeters.
        found: f64,
        /// Those with foreground of the calibration subjects, in millimeters: the median. Of slices, the normal ones.
        calibrated: f64,
    },
    /// The model scales every image by the same range of values, and this image has another one, as 16-bit pictures have
    /// for a model of 8-bit pictures: more than half of its values are above the range, of which they reach eight times the
    /// length, or all are in its lowest hundredth.
    Values {
        /// The highest value.
        found: f64,
        /// The range.
        expected: [f64; 2],
    },
}

/// Values that reach this many times the range of a model's images have more bits: 12-bit pictures reach 16 times that of
/// 8-bit ones.
const BRIGHTER: f64 = 8.0;

/// Largest factor by which the extent of a volume may differ from the median of the calibration subjects. Heads differ by
/// about a fifth; that a third is still harmless was not measured.
const EXTENT: f64 = 4.0 / 3.0;

impl CalibrationDoubt {
    /// Why the extent of a volume along an axis, in millimeters, may not be comparable.
    pub(crate) fn of_extent(axis: &'static str, found: f64, calibrated: f64) -> Option<Self> {
        let comparable = found <= EXTENT * calibrated && calibrated <= EXTENT * found;
        (!comparable).then_some(Self::Extent { axis, found, calibrated })
    }

    /// Why the values of a scan may not be comparable with those of a model whose inputs have the range `inputs`, 0 to 1
    /// where it is not known. More than half of a scan may lie below a range: air in a window of CT values does. Metal in
    /// such a scan, and photographs brighter than those of the calibration, stay within [`BRIGHTER`].
    pub(crate) fn of_values(scan: &Scan, intensity: &Intensity, inputs: Option<[f32; 2]>) -> Option<Self> {
        let Intensity::Range(scale) = intensity else { return None };
        let [low, high] = inputs.unwrap_or([0.0, 1.0]).map(|value| f64::from(scale.inverse(value)));
        let above = scan.data().iter().filter(|&&value| f64::from(value) > high).count();
        let found = f64::from(scan.data().iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let is_bright = 2 * above > scan.data().len() && found > low + BRIGHTER * (high - low);
        let comparable = !is_bright && found > low + (high - low) / 100.0;
        (!comparable).then_some(Self::Values { found, expected: [low, high] })
    }
}

impl fmt::Display for CalibrationDoubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Axis { axis, found, calibrated: [low, high], unit } => {
                let (than, nearest) = if found < low { ("finer", low) } else { ("coarser", high) };
                let factor = (nearest / found).max(found / nearest);
                write!(
                    out,
                    "its {axis} are {factor:.1} times {than} than those that calibrated the model ({found:.3} {unit}, \
                     there {low:.3} to {high:.3}): rates and p-values may not hold"
                )
            }
            Self::Extent { axis, found, calibrated } => {
                let normal = if *axis == "slices" { "normal slices" } else { axis };
                write!(
                    out,
                    "its {axis} with foreground cover {found:.0} mm, and the {normal} of the subjects that calibrated the \
                     model {calibrated:.0} mm (median): rates and p-values may not hold"
                )
            }
            Self::Values { found, expected: [low, high] } => write!(
                out,
                "its values reach {found}, and those of the model's images span {low} to {high}: scores, rates and \
                 p-values may not hold"
            ),
            Self::Kind => write!(
                out,
                "volumes, whose voxels have a size, and images, whose pixels have none, do not calibrate each other: \
                 rates and p-values may not hold"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_image::{Geometry, GridFit, Image, LinearScale, Orientation};
    use ndarray::Array3;

    #[test]
    fn axes_are_slices_rows_and_columns_in_any_orientation() {
        let geometry = Geometry::from_spacing([1.0, 2.0, 5.0]).unwrap();
        let volume = Volume::new(Array3::<f32>::zeros((4, 5, 6)), geometry);
        for orientation in ["RAS", "SLP", "AIR"] {
            let volume = volume.reoriented(&orientation.parse::<Orientation>().unwrap());
            assert_eq!(Resolution::of_volume(&volume, Plane::Axial), Resolution::Volume([5.0, 2.0, 1.0]));
            assert_eq!(Resolution::of_volume(&volume, Plane::Coronal), Resolution::Volume([2.0, 5.0, 1.0]));
        }
        let placement = GridFit::new([32, 32]).place([64, 128], [1.0, 1.0]).unwrap();
        let image = Resolution::of_image(&placement);
        assert_eq!(image, Resolution::Image([0.25, 0.25]));
        assert_eq!(image.voxel_size(), 0.0625);
    }

    #[test]
    fn doubts_name_the_worst_axis() {
        let mut range = ResolutionRange::new();
        assert_eq!(range.doubt(&Resolution::Image([9.0, 9.0])), None);
        range.add(Resolution::Volume([5.0, 1.0, 1.0]));
        range.add(Resolution::Volume([6.0, 0.9, 0.9]));
        for fine in [[5.0, 1.0, 1.0], [7.5, 0.45, 1.25], [2.5, 1.0, 1.0]] {
            assert_eq!(range.doubt(&Resolution::Volume(fine)), None, "{fine:?}");
        }
        let coarse = range.doubt(&Resolution::Volume([9.5, 2.0, 1.0])).unwrap();
        assert_eq!(
            coarse,
            CalibrationDoubt::Axis { axis: "rows", found: 2.0, calibrated: [0.9, 1.0], unit: "mm" }
        );
        assert!(coarse.to_string().contains("rows are 2.0 times coarser"), "{coarse}");
        let fine = range.doubt(&Resolution::Volume([5.0, 1.0, 0.3])).unwrap().to_string();
        assert!(fine.contains("columns are 3.0 times finer"), "{fine}");
        assert_eq!(range.doubt(&Resolution::Image([1.0, 1.0])), Some(CalibrationDoubt::Kind));
        // Volumes stay one range, images another.
        range.add(Resolution::Image([1.0, 1.0]));
        assert_eq!(range.doubt(&Resolution::Image([1.2, 1.0])), None);
    }

    #[test]
    fn ranges_that_cannot_be_are_not_read() {
        let mut range = ResolutionRange::new();
        range.add(Resolution::Volume([5.0, 1.0, 0.1]));
        let text = serde_json::to_string(&range).unwrap();
        assert_eq!(serde_json::from_str::<ResolutionRange>(&text).unwrap(), range);
        for bad in ["-5.0", "0.0", "1e999", "null", "7.0"] {
            let changed = text.replacen("5.0", bad, 1);
            assert!(serde_json::from_str::<ResolutionRange>(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn pictures_of_other_bits_are_doubted() {
        let range = Intensity::Range(LinearScale::new(0.0, 255.0).unwrap());
        let of = |scale: f32, intensity: &Intensity| {
            let values =
                Array3::from_shape_fn((1, 4, 4), |(_, row, column)| scale * (4 * row + column) as f32);
            CalibrationDoubt::of_values(&Image::new(values).into(), intensity, None)
        };
        assert_eq!(of(17.0, &range), None);
        assert_eq!(
            of(17.0 * 257.0, &range),
            Some(CalibrationDoubt::Values { found: 65535.0, expected: [0.0, 255.0] })
        );
        assert_eq!(
            of(1.0 / 15.0, &range),
            Some(CalibrationDoubt::Values { found: 1.0, expected: [0.0, 255.0] })
        );
        assert_eq!(of(17.0 * 257.0, &Intensity::Unchanged), None);
        // A scale from the middle of the values: inputs from -1 to 1 are 0 to 255.
        let middle = Intensity::Range(LinearScale::new(127.5, 255.0).unwrap());
        let dark =
            Image::new(Array3::from_shape_fn((1, 4, 4), |(_, row, column)| 7.0 * (4 * row + column) as f32));
        let inputs = Some([-1.0, 1.0]);
        assert_eq!(CalibrationDoubt::of_values(&dark.clone().into(), &middle, inputs), None);
        // What is only brighter than the range has no other bits.
        let narrow = Intensity::Range(LinearScale::new(0.0, 30.0).unwrap());
        assert_eq!(CalibrationDoubt::of_values(&dark.into(), &narrow, None), None);
        // Air is below a window of CT.
        let window = Intensity::Range(LinearScale::new(170.0, 300.0).unwrap());
        assert_eq!(of(17.0, &window), None);
    }
}
