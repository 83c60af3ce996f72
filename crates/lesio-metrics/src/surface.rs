//! Distances between the surfaces of two masks.

use lesio_grid::{BoundingBox, squared_distance_spaced};
use lesio_settings::{SettingError, require};
use ndarray::{Array3, ArrayView, ArrayView3, Dimension, Slice};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::{MetricError, same_length, same_shape};
use crate::sum::{mean, quantile};
use crate::volumes::volume;

/// What a surface distance is when a mask is empty and has no surface.
///
/// There is no default: leaving missed lesions out of an average makes a worse segmentation look better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenNoSurface {
    /// 0 when both masks are empty, infinity when one is.
    Infinity,
    /// 0 when both masks are empty, this distance when one is: a stated penalty, such as the diagonal of the image. It
    /// is finite and at least 0, which is checked when it is read from a document; for another one the functions answer
    /// [`MetricError::Parameter`], the methods `None` where they need it.
    Penalty(#[serde(deserialize_with = "penalty")] f64),
    /// No value in either case: the functions answer [`MetricError::Undefined`], the methods `None`.
    Undefined,
}

impl WhenNoSurface {
    /// Checks the penalty.
    ///
    /// # Errors
    /// For one that is negative, infinite or not a number.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Penalty(distance) => {
                let sound = distance.is_finite() && distance >= 0.0;
                require(sound, "penalty", distance, "a finite distance of at least 0")
            }
            Self::Infinity | Self::Undefined => Ok(()),
        }
    }
}

fn penalty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let distance = f64::deserialize(deserializer)?;
    WhenNoSurface::Penalty(distance).validate().map(|()| distance).map_err(de::Error::custom)
}

/// How the two directions, from each surface to the other, become one percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Directions {
    /// The larger of the two directed percentiles: the convention of lesio's headline HD95.
    Maximum,
    /// The mean of the two directed percentiles.
    Mean,
    /// The percentile of all distances of both directions together.
    Pooled,
}

/// Distances from each surface voxel of one mask to the nearest surface voxel of the other, both ways.
///
/// The surface is those voxels of a mask of which a face neighbor (4 in images, 6 in volumes) is not in the mask or
/// lies outside the array. Distances are between voxel centers, in units of the spacing.
///
/// ```
/// use lesio_metrics::{SurfaceDistances, WhenNoSurface};
/// use ndarray::array;
///
/// let a = array![[true, true, false, false]];
/// let b = array![[true, true, true, true]];
/// let distances = SurfaceDistances::between(&a, &b, &[1.0, 0.5])?;
/// assert_eq!(distances.hausdorff(WhenNoSurface::Undefined), Some(1.0));
/// assert_eq!(distances.average_symmetric(WhenNoSurface::Undefined), Some(0.25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SurfaceDistances {
    /// From each surface voxel of the first mask, ascending.
    forth: Vec<f64>,
    /// From each surface voxel of the second mask, ascending.
    back: Vec<f64>,
}

impl SurfaceDistances {
    /// Distances between the surfaces of two masks `[row, column]` or `[i, j, k]`, with the distance of neighbors
    /// along each axis in `spacing`.
    ///
    /// A mask without a voxel that is `true` has no surface, and what that means is asked of each score. The distance
    /// transform needs its voxels side by side: whatever the layout of the masks, the smallest box that holds both is copied
    /// (at one byte a voxel and mask), and 8 bytes of it a voxel are computed.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ, [`MetricError::Axes`] for other than two or three axes,
    /// [`MetricError::Length`] when `spacing` has not one value an axis, or [`MetricError::Parameter`] when one is not positive
    /// and finite.
    pub fn between<'a, 'b, D: Dimension>(
        a: impl Into<ArrayView<'a, bool, D>>,
        b: impl Into<ArrayView<'b, bool, D>>,
        spacing: &[f64],
    ) -> Result<Self, MetricError> {
        let (a, b) = (a.into(), b.into());
        same_shape("second mask", a.shape(), b.shape())?;
        let axes = 3usize.saturating_sub(a.ndim())..3;
        let (a, b) = (volume(a)?, volume(b)?);
        same_length("spacing", axes.len(), spacing.len())?;
        if let Some(&found) = spacing.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(SettingError::new("spacing", found, "a positive finite distance").into());
        }
        let spacing = match *spacing {
            [rows, columns] => [1.0, rows, columns],
            [i, j, k] => [i, j, k],
            _ => return Err(MetricError::Axes { found: spacing.len() }),
        };
        // Outside the box that holds both masks there is no surface and nothing is asked for.
        let bounds = around(&a, &b);
        let surface_of = |mask: &ArrayView3<'_, bool>| surface(&cropped(mask, &bounds), axes.clone());
        let (a, b) = (surface_of(&a), surface_of(&b));
        Ok(Self { forth: distances(&a, &b, spacing), back: distances(&b, &a, spacing) })
    }

    /// Distances from the first mask's surface to the second's, ascending; infinite when the second is empty.
    #[must_use]
    pub fn forth(&self) -> &[f64] {
        &self.forth
    }

    /// Distances from the second mask's surface to the first's, ascending; infinite when the first is empty.
    #[must_use]
    pub fn back(&self) -> &[f64] {
        &self.back
    }

    /// Hausdorff distance: the farthest that either surface strays from the other.
    #[must_use]
    pub fn hausdorff(&self, when_no_surface: WhenNoSurface) -> Option<f64> {
        self.percentile(100.0, Directions::Maximum, when_no_surface)
    }

    /// Percentile of the distances, `percent` in [0, 100] (values outside count as the nearer end, and not-a-number has none), linear between
    /// order statistics: 95 and [`Directions::Maximum`] are the usual HD95.
    #[must_use]
    pub fn percentile(
        &self,
        percent: f64,
        directions: Directions,
        when_no_surface: WhenNoSurface,
    ) -> Option<f64> {
        self.score(when_no_surface, || {
            let q = percent / 100.0;
            let (forth, back) = (quantile(&self.forth, q)?, quantile(&self.back, q)?);
            match directions {
                Directions::Maximum => Some(forth.max(back)),
                Directions::Mean => Some(0.5 * (forth + back)),
                Directions::Pooled => quantile(&self.pooled(), q),
            }
        })
    }

    /// Average symmetric surface distance (ASSD): the mean of all distances of both directions together, in which the
    /// larger surface weighs more.
    #[must_use]
    pub fn average_symmetric(&self, when_no_surface: WhenNoSurface) -> Option<f64> {
        self.score(when_no_surface, || mean(self.pooled().into_iter()))
    }

    /// Mean average surface distance (MASD): the mean of the two directed means, which weigh alike.
    #[must_use]
    pub fn mean_average(&self, when_no_surface: WhenNoSurface) -> Option<f64> {
        self.score(when_no_surface, || {
            let (forth, back) = (mean(self.forth.iter().copied())?, mean(self.back.iter().copied())?);
            Some(0.5 * (forth + back))
        })
    }

    fn score(&self, when_no_surface: WhenNoSurface, of: impl Fn() -> Option<f64>) -> Option<f64> {
        match (self.forth.is_empty(), self.back.is_empty(), when_no_surface) {
            (false, false, _) => of(),
            (_, _, WhenNoSurface::Undefined) => None,
            (true, true, _) => Some(0.0),
            (_, _, WhenNoSurface::Infinity) => Some(f64::INFINITY),
            (_, _, WhenNoSurface::Penalty(distance)) => {
                when_no_surface.validate().is_ok().then_some(distance)
            }
        }
    }

    fn pooled(&self) -> Vec<f64> {
        let mut pooled = [self.forth.as_slice(), &self.back].concat();
        pooled.sort_by(f64::total_cmp);
        pooled
    }
}

/// The 95th percentile of the Hausdorff distance of two masks `[row, column]` or `[i, j, k]`, maximum of both directions,
/// in units of `spacing`. Copies as [`SurfaceDistances::between`] does.
///
/// # Errors
/// As for [`SurfaceDistances::between`]; [`MetricError::Undefined`] when a mask is empty and `when_no_surface` asks for
/// it; [`MetricError::Parameter`] for a penalty that [`WhenNoSurface::validate`] rejects, even if both masks have a
/// surface.
pub fn hd95<'a, 'b, D: Dimension>(
    a: impl Into<ArrayView<'a, bool, D>>,
    b: impl Into<ArrayView<'b, bool, D>>,
    spacing: &[f64],
    when_no_surface: WhenNoSurface,
) -> Result<f64, MetricError> {
    when_no_surface.validate()?;
    let undefined = MetricError::Undefined { what: "surface distance", why: "a mask is empty" };
    let distances = SurfaceDistances::between(a, b, spacing)?;
    distances.percentile(95.0, Directions::Maximum, when_no_surface).ok_or(undefined)
}

/// Distances from the voxels of one surface to the nearest of another, ascending.
fn distances(from: &Array3<bool>, to: &Array3<bool>, spacing: [f64; 3]) -> Vec<f64> {
    let squared = squared_distance_spaced(to, &spacing);
    let mut distances: Vec<f64> =
        squared.iter().zip(from).filter(|(_, from)| **from).map(|(squared, _)| squared.sqrt()).collect();
    distances.sort_by(f64::total_cmp);
    distances
}

/// The voxels of a mask that have a neighbor outside it along one of `axes`.
fn surface(mask: &Array3<bool>, axes: std::ops::Range<usize>) -> Array3<bool> {
    Array3::from_shape_fn(mask.dim(), |(i, j, k)| {
        let place = [i, j, k];
        mask[place]
            && axes.clone().any(|axis| {
                let neighbor = |at: Option<usize>| {
                    let mut next = place;
                    next[axis] = at.unwrap_or(usize::MAX);
                    mask.get(next).copied().unwrap_or(false)
                };
                !neighbor(place[axis].checked_sub(1)) || !neighbor(place[axis].checked_add(1))
            })
    })
}

/// The smallest box that holds both masks; empty when they are.
fn around(a: &ArrayView3<'_, bool>, b: &ArrayView3<'_, bool>) -> BoundingBox<3> {
    let shape: [usize; 3] = a.dim().into();
    let (mut start, mut end) = (shape, [0; 3]);
    for (row, (a, b)) in a.rows().into_iter().zip(b.rows()).enumerate() {
        let Some(first) = a.iter().zip(b).position(|(a, b)| a | b) else { continue };
        let last = a.iter().zip(b).rposition(|(a, b)| a | b).unwrap_or(first);
        let (i, j) = (row / shape[1], row % shape[1]);
        for (axis, (low, high)) in [(i, i), (j, j), (first, last)].into_iter().enumerate() {
            start[axis] = start[axis].min(low);
            end[axis] = end[axis].max(high + 1);
        }
    }
    BoundingBox { start, end: std::array::from_fn(|axis| end[axis].max(start[axis])) }
}

/// The part of a mask in a box, copied in row-major order.
fn cropped(mask: &ArrayView3<'_, bool>, bounds: &BoundingBox<3>) -> Array3<bool> {
    let part = mask.slice_each_axis(|of| {
        let axis = of.axis.index();
        Slice::from(bounds.start[axis]..bounds.end[axis])
    });
    part.as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};
    use proptest::prelude::*;

    #[test]
    fn an_empty_mask_is_what_the_caller_says() {
        let none = Array2::from_elem((4, 5), false);
        let mut dot = none.clone();
        dot[[2, 2]] = true;
        let hd = |a: &Array2<bool>, b: &Array2<bool>, policy| {
            SurfaceDistances::between(a.view(), b.view(), &[1.0; 2]).unwrap().hausdorff(policy)
        };
        for (one, other) in [(&none, &dot), (&dot, &none)] {
            assert_eq!(hd(one, other, WhenNoSurface::Infinity), Some(f64::INFINITY));
            assert_eq!(hd(one, other, WhenNoSurface::Penalty(7.0)), Some(7.0));
            assert_eq!(hd(one, other, WhenNoSurface::Undefined), None);
        }
        assert_eq!(hd(&none, &none, WhenNoSurface::Infinity), Some(0.0));
        assert_eq!(hd(&none, &none, WhenNoSurface::Penalty(7.0)), Some(0.0));
        assert_eq!(hd(&none, &none, WhenNoSurface::Undefined), None);
        assert_eq!(hd(&dot, &dot, WhenNoSurface::Undefined), Some(0.0));
        let undefined = hd95(none.view(), dot.view(), &[1.0; 2], WhenNoSurface::Undefined);
        assert!(matches!(undefined, Err(MetricError::Undefined { .. })));
    }

    #[test]
    fn refuses_a_penalty_that_is_no_distance() {
        let none = Array2::from_elem((4, 5), false);
        let mut dot = none.clone();
        dot[[2, 2]] = true;
        for bad in [f64::NAN, f64::INFINITY, -3.0] {
            let policy = WhenNoSurface::Penalty(bad);
            for other in [&none, &dot] {
                let found = hd95(dot.view(), other.view(), &[1.0; 2], policy);
                let is_named =
                    matches!(&found, Err(MetricError::Parameter(error)) if error.setting == "penalty");
                assert!(is_named, "{bad}: {found:?}");
            }
            let distances = SurfaceDistances::between(&none, &dot, &[1.0; 2]).unwrap();
            assert_eq!(distances.hausdorff(policy), None, "{bad}");
        }
        let read = |text: &str| serde_json::from_str::<WhenNoSurface>(text);
        let error = read(r#"{"penalty":-3}"#).unwrap_err().to_string();
        assert!(error.starts_with("penalty is -3.0, expected a finite distance"), "{error}");
        for text in [r#"{"penalty":0.0}"#, r#"{"penalty":7.5}"#, r#""infinity""#, r#""undefined""#] {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn refuses_a_spacing_that_is_none() {
        let mask = Array3::from_elem((2, 2, 2), true);
        let between = |spacing: &[f64]| SurfaceDistances::between(mask.view(), mask.view(), spacing);
        assert!(matches!(between(&[1.0; 2]), Err(MetricError::Length { expected: 3, found: 2, .. })));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(between(&[1.0, bad, 1.0]), Err(MetricError::Parameter { .. })), "{bad}");
        }
    }

    #[test]
    fn the_inside_is_no_surface() {
        let full = Array3::from_elem((5, 5, 5), true);
        let same = SurfaceDistances::between(full.view(), full.view(), &[1.0; 3]).unwrap();
        assert_eq!(same.forth().len(), 125 - 27);
        // An image has no front and back.
        let image = Array2::from_elem((5, 5), true);
        let same = SurfaceDistances::between(image.view(), image.view(), &[1.0; 2]).unwrap();
        assert_eq!(same.forth().len(), 25 - 9);
    }

    proptest! {
        #[test]
        fn as_every_pair_of_surface_voxels(
            a in prop::collection::vec(prop::bool::weighted(0.3), 105),
            b in prop::collection::vec(prop::bool::weighted(0.1), 105),
            spacing in prop::array::uniform3(0.5f64..3.0),
        ) {
            let shape = (3, 5, 7);
            let array = |mask: &[bool]| Array3::from_shape_vec(shape, mask.to_vec()).unwrap();
            let (a, b) = (array(&a), array(&b));
            let edges = |mask: &Array3<bool>| -> Vec<[usize; 3]> {
                let inside = |i: isize, j: isize, k: isize| {
                    usize::try_from(i).ok().zip(usize::try_from(j).ok()).zip(usize::try_from(k).ok())
                        .and_then(|((i, j), k)| mask.get([i, j, k]).copied()).unwrap_or(false)
                };
                mask.indexed_iter().filter(|(_, m)| **m).map(|((i, j, k), _)| [i, j, k]).filter(|&[i, j, k]| {
                    let (i, j, k) = (i as isize, j as isize, k as isize);
                    ![(i - 1, j, k), (i + 1, j, k), (i, j - 1, k), (i, j + 1, k), (i, j, k - 1), (i, j, k + 1)]
                        .iter().all(|&(i, j, k)| inside(i, j, k))
                }).collect()
            };
            let nearest = |from: &[[usize; 3]], to: &[[usize; 3]]| -> Vec<f64> {
                let mut all: Vec<f64> = from.iter().map(|p| to.iter().map(|q| {
                    (0..3).map(|x| ((p[x] as f64 - q[x] as f64) * spacing[x]).powi(2)).sum::<f64>().sqrt()
                }).fold(f64::INFINITY, f64::min)).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            let found = SurfaceDistances::between(a.view(), b.view(), &spacing).unwrap();
            for (found, expected) in [
                (found.forth(), nearest(&edges(&a), &edges(&b))),
                (found.back(), nearest(&edges(&b), &edges(&a))),
            ] {
                prop_assert_eq!(found.len(), expected.len());
                for (f, e) in found.iter().zip(&expected) {
                    prop_assert!(f == e || (f - e).abs() < 1e-9);
                }
            }
        }
    }
}
