//! Planes and volumes on another grid.
//!
//! Positions follow the pixel-center convention: an axis of `n` pixels covers the interval `[0, n]`,
//! pixel `i` has its center at `i + 1/2`, and resampling maps the whole interval onto the whole new
//! one. Corners of the field of view stay where they are; centers of corner pixels do not.

use std::ops::Range;

use ndarray::{Array, Array2, ArrayRef, ArrayRef2, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::geometry::{Geometry, GeometryError};
use crate::volume::Volume;

/// The largest number of elements that a resampled array may have: 2^31, 8 GiB of `f32`.
const MAX_ELEMENTS: usize = 1 << 31;

/// The interpolation of values between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Interpolation {
    /// The value of the nearest pixel, the upper one of two equally near. For labels.
    Nearest,
    /// The mean over a box about the new pixel's center, as wide as one pixel of the coarser of
    /// the two grids.
    ///
    /// When enlarging that is linear interpolation, and when shrinking the average over the area
    /// that the new pixel covers, so nothing aliases. The default: images are smooth, and a mean
    /// makes no value that was not between its neighbors.
    #[default]
    Linear,
}

/// Why an array was not resampled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// The source, or the requested size, has an axis without elements.
    #[error("cannot resample shape {from:?} to {to:?}: an axis is empty")]
    EmptyAxis {
        /// Shape of the source.
        from: Vec<usize>,
        /// Requested shape.
        to: Vec<usize>,
    },
    /// The requested size is too large.
    #[error("resampling to {to:?} would take more than {limit} elements")]
    TooLarge {
        /// Requested shape.
        to: Vec<usize>,
        /// The largest number of elements.
        limit: usize,
    },
    /// The requested spacing, or the resulting grid, is not a valid geometry.
    #[error("resampled grid has no valid geometry")]
    Geometry(#[from] GeometryError),
}

/// A plane `[row, column]` resampled to `size`.
///
/// Values are averaged in `f64`. NaN spreads to the pixels that it contributes to.
///
/// ```
/// use lesio_image::{Interpolation, resample_plane};
/// use ndarray::array;
///
/// let plane = array![[1.0, 3.0], [5.0, 7.0]];
/// assert_eq!(resample_plane(&plane, [1, 1], Interpolation::Linear)?, array![[4.0]]);
/// let wide = resample_plane(&plane, [2, 4], Interpolation::Linear)?;
/// assert_eq!(wide.row(0).to_vec(), [1.0, 1.5, 2.5, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ResampleError::EmptyAxis`] where an axis of either grid is empty, [`ResampleError::TooLarge`]
/// beyond 2^31 elements.
pub fn resample_plane(
    plane: &ArrayRef2<f32>,
    size: [usize; 2],
    interpolation: Interpolation,
) -> Result<Array2<f32>, ResampleError> {
    let maps = whole_axes(plane.shape(), &size, interpolation)?;
    Ok(apply_axes(plane, &maps, 0.0))
}

/// A volume resampled to `size` voxels; the field of view stays, and the geometry follows.
///
/// # Errors
/// Those of [`resample_plane`]; [`ResampleError::Geometry`] where the new voxels would be degenerate.
pub fn resample_volume(
    volume: &Volume<f32>,
    size: [usize; 3],
    interpolation: Interpolation,
) -> Result<Volume<f32>, ResampleError> {
    let maps = whole_axes(&volume.shape(), &size, interpolation)?;
    let scale: [f64; 3] = std::array::from_fn(|axis| volume.shape()[axis] as f64 / size[axis] as f64);
    let geometry = scaled_geometry(volume.geometry(), scale)?;
    Ok(Volume::new(apply_axes(volume.data(), &maps, 0.0), geometry))
}

/// A volume resampled to voxels of about `spacing` millimeters.
///
/// The field of view stays, so each axis gets the whole number of voxels nearest to its length
/// divided by the spacing (at least one), and the spacing of the result, which its geometry tells,
/// differs from the requested one by up to half a voxel in the length of the axis.
///
/// # Errors
/// [`ResampleError::Geometry`] for a spacing that is not positive and finite; else as
/// [`resample_volume`].
pub fn respace_volume(
    volume: &Volume<f32>,
    spacing: [f64; 3],
    interpolation: Interpolation,
) -> Result<Volume<f32>, ResampleError> {
    Geometry::from_spacing(spacing)?;
    let own = volume.geometry().spacing();
    // `as` saturates, and the size is checked before anything is allocated.
    let size = std::array::from_fn(|axis| {
        (volume.shape()[axis] as f64 * own[axis] / spacing[axis]).round().max(1.0) as usize
    });
    resample_volume(volume, size, interpolation)
}

/// The geometry of the grid whose voxels are `scale` times as large over the same field of view.
fn scaled_geometry(geometry: &Geometry, scale: [f64; 3]) -> Result<Geometry, GeometryError> {
    let mut matrix = [[0.0; 3]; 3];
    for (axis, row) in matrix.iter_mut().enumerate() {
        row[axis] = scale[axis];
    }
    // The first new center lies half a new voxel from the edge, which is half an old one from 0.
    geometry.composed(matrix, scale.map(|s| 0.5 * s - 0.5))
}

fn whole_axes(
    from: &[usize],
    to: &[usize],
    interpolation: Interpolation,
) -> Result<Vec<AxisMap>, ResampleError> {
    if from.contains(&0) || to.contains(&0) {
        return Err(ResampleError::EmptyAxis { from: from.to_vec(), to: to.to_vec() });
    }
    // Axes are resampled one after the other: no intermediate array may be too large either.
    let mut shape = from.to_vec();
    for (axis, &length) in to.iter().enumerate() {
        shape[axis] = length;
        let elements = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(ResampleError::TooLarge { to: to.to_vec(), limit: MAX_ELEMENTS });
        }
    }
    Ok(from
        .iter()
        .zip(to)
        .map(|(&n, &m)| AxisMap::new(n, m, n as f64 / m as f64, 0.0, interpolation))
        .collect())
}

/// For every output position of an axis the source positions that it is a weighted mean of.
#[derive(Clone, Debug)]
pub(crate) struct AxisMap {
    /// First source position and the range of `weights`, for every output; empty: outside.
    taps: Vec<(usize, Range<usize>)>,
    weights: Vec<f64>,
}

impl AxisMap {
    /// The map of an axis of `source` pixels to one of `output` pixels, each `scale` source pixels
    /// wide, the first of which begins at `origin` in the source (`[0, source]` from edge to edge).
    ///
    /// Outputs with their center in the source repeat its border pixels where their box reaches
    /// beyond; those with their center outside have no source.
    pub(crate) fn new(
        source: usize,
        output: usize,
        scale: f64,
        origin: f64,
        interpolation: Interpolation,
    ) -> Self {
        Self::of_part(source, 0..source, output, scale, origin, interpolation)
    }

    /// Like [`AxisMap::new`], of a source that holds values in a part of its pixels only: no other pixel has weight,
    /// and the border pixels of the part are repeated beyond it. An empty part stands for the whole source.
    pub(crate) fn of_part(
        source: usize,
        part: Range<usize>,
        output: usize,
        scale: f64,
        origin: f64,
        interpolation: Interpolation,
    ) -> Self {
        let mut map = Self { taps: Vec::with_capacity(output), weights: Vec::new() };
        let part = if part.is_empty() { 0..source } else { part };
        let borders = [part.start as f64, part.end.saturating_sub(1) as f64];
        for index in 0..output {
            let center = center_of(index, scale, origin);
            let begin = map.weights.len();
            let mut first = 0;
            if reaches(source, center) {
                match interpolation {
                    Interpolation::Nearest => {
                        first = center.floor().clamp(borders[0], borders[1]) as usize;
                        map.weights.push(1.0);
                    }
                    Interpolation::Linear => {
                        let width = scale.max(1.0);
                        first = map.push_box(center - 0.5 * width, width, borders);
                    }
                }
            }
            map.taps.push((first, begin..map.weights.len()));
        }
        map
    }

    /// The outputs of [`AxisMap::new`] that have a source.
    pub(crate) fn outputs_inside(source: usize, output: usize, scale: f64, origin: f64) -> Range<usize> {
        let is_inside = |index: &usize| reaches(source, center_of(*index, scale, origin));
        match ((0..output).find(is_inside), (0..output).rfind(is_inside)) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        }
    }

    /// Weights of the box of `width` that begins at `low`; returns the first pixel of positive weight. What lies beyond
    /// the first and the last pixel of `borders` counts for these.
    fn push_box(&mut self, low: f64, width: f64, borders: [f64; 2]) -> usize {
        const NEGLIGIBLE: f64 = 1e-9;
        let high = low + width;
        let mut first = None;
        let mut pixel = low.floor();
        while pixel < high {
            let overlap = ((pixel + 1.0).min(high) - pixel.max(low)) / width;
            if overlap > NEGLIGIBLE {
                let own = pixel.clamp(borders[0], borders[1]) as usize;
                let start = *first.get_or_insert((own, self.weights.len()));
                match self.weights.get_mut(start.1 + own - start.0) {
                    Some(weight) => *weight += overlap,
                    None => self.weights.push(overlap),
                }
            }
            pixel += 1.0;
        }
        let Some((first, begin)) = first else { return 0 };
        let sum: f64 = self.weights[begin..].iter().sum();
        self.weights[begin..].iter_mut().for_each(|weight| *weight /= sum);
        first
    }

    /// Whether every output is one source pixel, or none.
    pub(crate) fn is_exact(&self) -> bool {
        self.taps.iter().all(|(_, range)| range.len() <= 1)
    }

    /// The one source pixel of an output of an exact map; `None` outside.
    pub(crate) fn source(&self, output: usize) -> Option<usize> {
        self.taps.get(output).filter(|(_, range)| !range.is_empty()).map(|(first, _)| *first)
    }
}

/// Where the center of an output pixel lies in the source.
fn center_of(index: usize, scale: f64, origin: f64) -> f64 {
    origin + (index as f64 + 0.5) * scale
}

/// Whether a position lies on an axis of `source` pixels. Rounding must not push the border pixel of a whole-axis map
/// out.
fn reaches(source: usize, position: f64) -> bool {
    source > 0 && (-1e-6..=source as f64 + 1e-6).contains(&position)
}

/// Maps every axis of an array, one after the other; outputs without source are `fill`.
pub(crate) fn apply_axes<D: Dimension>(
    data: &ArrayRef<f32, D>,
    maps: &[AxisMap],
    fill: f32,
) -> Array<f32, D> {
    let mut shape: Vec<usize> = data.shape().to_vec();
    let mut values: Vec<f32> = data.iter().copied().collect();
    // Shrinking axes first is cheaper; the last axis first is as good for the usual even factors.
    for (axis, map) in maps.iter().enumerate().rev() {
        let inner: usize = shape[axis + 1..].iter().product();
        values = apply_axis(&values, shape[axis], inner, map, fill);
        shape[axis] = map.taps.len();
    }
    let mut dim = data.raw_dim();
    for (axis, &length) in shape.iter().enumerate() {
        dim[axis] = length;
    }
    // The length is the product of the shape by construction.
    Array::from_shape_vec(dim.clone(), values).unwrap_or_else(|_| Array::from_elem(dim, fill))
}

/// Maps the middle axis of an array `[outer, length, inner]`.
fn apply_axis(source: &[f32], length: usize, inner: usize, map: &AxisMap, fill: f32) -> Vec<f32> {
    let outputs = map.taps.len();
    let outer = source.len().checked_div(length * inner).unwrap_or(0);
    let mut out = vec![fill; outer * outputs * inner];
    if out.is_empty() {
        return out;
    }
    // Every output row depends on its own taps alone, so the split does not matter to the result.
    let rows_a_task = (1 << 14) / inner + 1;
    out.par_chunks_mut(inner).enumerate().with_min_len(rows_a_task).for_each_init(
        || vec![0.0_f64; inner],
        |sums, (index, row)| {
            let (first, range) = &map.taps[index % outputs];
            let weights = &map.weights[range.clone()];
            let lines = source[(index / outputs * length + first) * inner..].chunks_exact(inner);
            match weights {
                [] => {}
                [_] => lines.take(1).for_each(|line| row.copy_from_slice(line)),
                _ => {
                    sums.fill(0.0);
                    for (weight, line) in weights.iter().zip(lines) {
                        for (sum, &value) in sums.iter_mut().zip(line) {
                            *sum += weight * f64::from(value);
                        }
                    }
                    row.iter_mut().zip(sums).for_each(|(value, sum)| *value = *sum as f32);
                }
            }
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let plane = Array2::from_shape_fn((5, 7), |(r, c)| (r * 7 + c) as f32 * 0.1);
        for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
            assert_eq!(resample_plane(&plane, [5, 7], interpolation).unwrap(), plane);
        }
    }

    #[test]
    fn shrinking_averages_the_covered_area() {
        // Three pixels onto two: each new pixel covers one and a half.
        let plane = array![[3.0, 6.0, 12.0]];
        let half = resample_plane(&plane, [1, 2], Interpolation::Linear).unwrap();
        assert_relative_eq!(half[[0, 0]], (3.0 + 0.5 * 6.0) / 1.5, epsilon = 1e-6);
        assert_relative_eq!(half[[0, 1]], (0.5 * 6.0 + 12.0) / 1.5, epsilon = 1e-6);
        let nearest = resample_plane(&plane, [1, 1], Interpolation::Nearest).unwrap();
        assert_eq!(nearest, array![[6.0]]);
    }

    #[test]
    fn enlarging_is_linear_between_centers_and_flat_beyond() {
        let plane = array![[0.0], [8.0]];
        let tall = resample_plane(&plane, [8, 1], Interpolation::Linear).unwrap();
        assert_eq!(tall.into_raw_vec_and_offset().0, [0.0, 0.0, 1.0, 3.0, 5.0, 7.0, 8.0, 8.0]);
    }

    #[test]
    fn a_linear_ramp_keeps_its_world_coordinates() {
        let geometry =
            Geometry::new([[2.0, 0.1, 0., -5.], [0., 1.0, 0.2, 4.], [0.3, 0., 3.0, 1.], [0., 0., 0., 1.]])
                .unwrap();
        let ramp = |p: [f64; 3]| (0.3 * p[0] - 0.7 * p[1] + 0.2 * p[2]) as f32;
        let data = Array3::from_shape_fn((6, 8, 4), |(i, j, k)| {
            ramp(geometry.to_world([i as f64, j as f64, k as f64]))
        });
        let volume = Volume::new(data, geometry);
        let half = resample_volume(&volume, [3, 4, 2], Interpolation::Linear).unwrap();
        for ((i, j, k), &value) in half.data().indexed_iter() {
            let expected = ramp(half.geometry().to_world([i as f64, j as f64, k as f64]));
            assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        }
        let fine = resample_volume(&volume, [12, 16, 8], Interpolation::Linear).unwrap();
        assert_eq!(fine.shape(), [12, 16, 8]);
        // Inside; the outermost half voxel repeats the border.
        let inner = fine.data()[[5, 7, 3]];
        assert!((inner - ramp(fine.geometry().to_world([5.0, 7.0, 3.0]))).abs() < 1e-4);
    }

    #[test]
    fn spacing_changes_the_number_of_voxels() {
        let geometry = Geometry::from_spacing([1.0, 1.0, 3.0]).unwrap();
        let volume = Volume::new(Array3::from_elem((10, 11, 4), 2.5), geometry);
        let cubic = respace_volume(&volume, [2.0, 2.0, 2.0], Interpolation::Linear).unwrap();
        assert_eq!(cubic.shape(), [5, 6, 6]);
        let spacing = cubic.geometry().spacing();
        assert_relative_eq!(spacing[1], 11.0 / 6.0, epsilon = 1e-12);
        assert_relative_eq!(spacing[2], 2.0, epsilon = 1e-12);
        assert!(cubic.data().iter().all(|&v| v == 2.5));
        assert!(respace_volume(&volume, [0.0, 1.0, 1.0], Interpolation::Linear).is_err());
        assert!(matches!(
            respace_volume(&volume, [1e-12, 1.0, 1.0], Interpolation::Linear),
            Err(ResampleError::TooLarge { .. })
        ));
    }

    #[test]
    fn empty_axes_and_absurd_sizes_are_refused() {
        let empty = Array2::<f32>::zeros((0, 4));
        assert!(matches!(
            resample_plane(&empty, [2, 2], Interpolation::Linear),
            Err(ResampleError::EmptyAxis { .. })
        ));
        let plane = Array2::<f32>::zeros((2, 2));
        assert!(resample_plane(&plane, [0, 2], Interpolation::Linear).is_err());
        assert!(matches!(
            resample_plane(&plane, [usize::MAX, usize::MAX], Interpolation::Nearest),
            Err(ResampleError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn the_mean_is_kept_when_sizes_divide(rows in 1_usize..6, columns in 1_usize..6,
                                              by_rows in 1_usize..4, by_columns in 1_usize..4, seed in 0_u32..1000) {
            let plane = Array2::from_shape_fn((rows * by_rows, columns * by_columns), |(r, c)| {
                ((r as u32 * 37 + c as u32 * 101 + seed) % 97) as f32
            });
            let small = resample_plane(&plane, [rows, columns], Interpolation::Linear).unwrap();
            let mean = |a: &Array2<f32>| a.iter().map(|&v| f64::from(v)).sum::<f64>() / a.len() as f64;
            prop_assert!((mean(&plane) - mean(&small)).abs() < 1e-4);
        }

        #[test]
        fn values_stay_within_the_range(rows in 1_usize..9, columns in 1_usize..9,
                                        to_rows in 1_usize..20, to_columns in 1_usize..20, seed in 0_u32..1000) {
            let plane = Array2::from_shape_fn((rows, columns), |(r, c)| {
                ((r as u32 * 31 + c as u32 * 57 + seed) % 23) as f32 - 11.0
            });
            let low = plane.iter().copied().fold(f32::MAX, f32::min);
            let high = plane.iter().copied().fold(f32::MIN, f32::max);
            for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
                let other = resample_plane(&plane, [to_rows, to_columns], interpolation).unwrap();
                prop_assert!(other.iter().all(|&v| v >= low && v <= high));
            }
        }
    }
}
