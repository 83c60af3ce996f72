//! Boxes of whole pixels or voxels.

use ndarray::{ArrayRef, Dimension};
use serde::{Deserialize, Serialize};

/// A box of whole pixels or voxels: along axis `a` the indices `start[a]..end[a]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BoundingBox<const N: usize> {
    /// First index along each axis.
    pub start: [usize; N],
    /// One past the last index along each axis.
    pub end: [usize; N],
}

impl<const N: usize> BoundingBox<N> {
    /// Number of indices along each axis; zero if `end` is not beyond `start`.
    #[must_use]
    pub fn size(&self) -> [usize; N] {
        std::array::from_fn(|axis| self.end[axis].saturating_sub(self.start[axis]))
    }

    /// Whether an index lies inside.
    #[must_use]
    pub fn contains(&self, index: [usize; N]) -> bool {
        (0..N).all(|axis| (self.start[axis]..self.end[axis]).contains(&index[axis]))
    }
}

/// The smallest box that contains every `true` element of a mask; `None` if there is none.
///
/// ```
/// use lesio_grid::{BoundingBox, bounding_box};
/// use ndarray::array;
///
/// let mask = array![[false, false, false], [false, true, true]];
/// assert_eq!(bounding_box(&mask), Some(BoundingBox { start: [1, 1], end: [2, 3] }));
/// ```
#[must_use]
pub fn bounding_box<D, const N: usize>(mask: &ArrayRef<bool, D>) -> Option<BoundingBox<N>>
where
    D: Dimension<Pattern: Into<[usize; N]>>,
{
    trimmed_box(mask, 0.0)
}

/// The box that leaves at most the fraction `trim` of a mask's `true` elements outside on each side of each axis;
/// `None` if there is none.
///
/// A nose or a strap that protrudes by a few pixels changes the smallest box, but not this one. Fractions are clamped
/// to [0, 0.45], so the box is never empty.
#[must_use]
pub fn trimmed_box<D, const N: usize>(mask: &ArrayRef<bool, D>, trim: f64) -> Option<BoundingBox<N>>
where
    D: Dimension<Pattern: Into<[usize; N]>>,
{
    let mut counts: Vec<Vec<usize>> = mask.shape().iter().map(|&n| vec![0; n]).collect();
    let mut total = 0_usize;
    // Volumes from files have their first axis contiguous in memory.
    let strides: Vec<usize> = mask.strides().iter().map(|stride| stride.unsigned_abs()).collect();
    let is_reversed = strides.first() < strides.last();
    let view = if is_reversed { mask.view().reversed_axes() } else { mask.view() };
    for (index, &inside) in view.indexed_iter() {
        if inside {
            total += 1;
            let index: [usize; N] = index.into();
            for (place, &i) in index.iter().enumerate() {
                counts[if is_reversed { N - 1 - place } else { place }][i] += 1;
            }
        }
    }
    if total == 0 {
        return None;
    }
    let allowed = (trim.clamp(0.0, 0.45) * total as f64) as usize;
    let first = |counts: &mut dyn Iterator<Item = &usize>| {
        let mut outside = 0;
        counts
            .take_while(|&&count| {
                outside += count;
                outside <= allowed
            })
            .count()
    };
    let start = std::array::from_fn(|axis| first(&mut counts[axis].iter()));
    let end = std::array::from_fn(|axis| counts[axis].len() - first(&mut counts[axis].iter().rev()));
    Some(BoundingBox { start, end })
}

// serde does not support arrays of generic length: a box is written as two lists.
impl<const N: usize> Serialize for BoundingBox<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.start.as_slice(), self.end.as_slice()).serialize(serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for BoundingBox<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, end) = <(Vec<usize>, Vec<usize>)>::deserialize(deserializer)?;
        let array = |list: Vec<usize>| {
            let found = list.len();
            list.try_into()
                .map_err(|_| serde::de::Error::custom(format_args!("box of {found} axes, expected {N}")))
        };
        Ok(Self { start: array(start)?, end: array(end)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};

    #[test]
    fn the_box_of_two_corners() {
        let mut mask = Array3::from_elem((4, 5, 6), false);
        assert_eq!(bounding_box::<_, 3>(&mask), None);
        mask[[1, 4, 2]] = true;
        mask[[3, 2, 2]] = true;
        let bounds: BoundingBox<3> = bounding_box(&mask).unwrap();
        assert_eq!(bounds, BoundingBox { start: [1, 2, 2], end: [4, 5, 3] });
        assert_eq!(bounds.size(), [3, 3, 1]);
        let json = serde_json::to_string(&bounds).unwrap();
        assert_eq!(serde_json::from_str::<BoundingBox<3>>(&json).unwrap(), bounds);
        assert!(serde_json::from_str::<BoundingBox<2>>(&json).is_err());
    }

    #[test]
    fn a_thin_protrusion_is_trimmed() {
        // A block of 20x20 with a spike of one pixel's width.
        let mask = Array2::from_shape_fn((40, 40), |(r, c)| {
            ((15..35).contains(&r) && (10..30).contains(&c)) || ((5..15).contains(&r) && c == 20)
        });
        let tight: BoundingBox<2> = bounding_box(&mask).unwrap();
        assert_eq!(tight.start, [5, 10]);
        let trimmed: BoundingBox<2> = trimmed_box(&mask, 0.03).unwrap();
        assert_eq!(trimmed, BoundingBox { start: [15, 10], end: [35, 30] });
        // Whatever the fraction, something remains.
        let least: BoundingBox<2> = trimmed_box(&mask, 7.0).unwrap();
        assert!(least.size().iter().all(|&n| n > 0));
    }
}
