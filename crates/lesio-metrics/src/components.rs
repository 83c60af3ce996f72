//! Connected regions of a mask of two or three axes.

use ndarray::{Array1, ArrayView, ArrayView3, Axis, Dimension, Zip};
use serde::{Deserialize, Serialize};

use crate::error::MetricError;

/// Which pixels or voxels touch each other.
///
/// In two dimensions [`Connectivity::Edge`] and [`Connectivity::Vertex`] are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connectivity {
    /// Those that share a side: 4 neighbours of a pixel, 6 of a voxel.
    Face,
    /// Those that share a side or an edge: 8 neighbours of a pixel, 18 of a voxel.
    Edge,
    /// Those that share at least a corner: 8 neighbours of a pixel, 26 of a voxel.
    Vertex,
}

impl Connectivity {
    /// Offsets to the half of the neighbours that come earlier in row-major order.
    fn earlier_neighbours(self) -> Vec<[isize; 3]> {
        let most = match self {
            Self::Face => 1,
            Self::Edge => 2,
            Self::Vertex => 3,
        };
        let mut offsets = Vec::with_capacity(13);
        for i in -1..=0 {
            for j in -1..=1 {
                for k in -1..=1 {
                    let away = isize::abs(i) + isize::abs(j) + isize::abs(k);
                    if [i, j, k] < [0, 0, 0] && away <= most {
                        offsets.push([i, j, k]);
                    }
                }
            }
        }
        offsets
    }
}

/// The connected regions of a mask, numbered from 1 in the order of their first voxel.
#[derive(Clone, Debug)]
pub(crate) struct Components {
    /// Region of each voxel in logical (row-major) order, 0 outside.
    pub(crate) labels: Vec<u32>,
    /// Number of voxels of each region, that of region 1 first.
    pub(crate) sizes: Vec<u64>,
}

impl Components {
    /// Labels the voxels where a mask holds and, if there is one, `within` of the same shape.
    pub(crate) fn new(
        mask: &ArrayView3<'_, bool>,
        within: Option<&ArrayView3<'_, bool>>,
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        let voxels = mask.len();
        if u32::try_from(voxels).is_err() {
            return Err(MetricError::TooMany { what: "voxels of one mask", found: voxels as u64 });
        }
        let (depth, height, width) = mask.dim();
        // An image is a volume of one slice: it has no neighbours before it.
        let offsets: Vec<([isize; 3], usize)> = connectivity
            .earlier_neighbours()
            .into_iter()
            .filter(|offset| depth > 1 || offset[0] == 0)
            .map(|[i, j, k]| ([i, j, k], (-((i * height as isize + j) * width as isize + k)) as usize))
            .collect();

        // `parent[label]` leads to the smallest label of the same region; label 0 is the outside.
        let mut parent = vec![0u32];
        let mut labels = vec![0u32; voxels];
        // One row at a time lies side by side, whatever the layout of the mask.
        let mut line = Array1::from_elem(width, false);
        let mut lines_within = within.map(|within| within.rows().into_iter());
        for (row, mask) in mask.rows().into_iter().enumerate() {
            match lines_within.as_mut().and_then(Iterator::next) {
                Some(within) => {
                    Zip::from(&mut line)
                        .and(mask)
                        .and(within)
                        .for_each(|on, &mask, &in_it| *on = mask & in_it);
                }
                None => line.assign(&mask),
            }
            let (i, j) = (row / height, row % height);
            for (k, _) in line.iter().enumerate().filter(|(_, on)| **on) {
                let voxel = row * width + k;
                let mut own = 0;
                for &([di, dj, dk], back) in &offsets {
                    let inside = (di == 0 || i > 0)
                        && (dj >= 0 || j > 0)
                        && (dj <= 0 || j + 1 < height)
                        && (dk >= 0 || k > 0)
                        && (dk <= 0 || k + 1 < width);
                    if !inside || labels[voxel - back] == 0 {
                        continue;
                    }
                    let other = root(&mut parent, labels[voxel - back]);
                    own = match own {
                        0 => other,
                        own if own == other => own,
                        own => {
                            let (low, high) = (own.min(other), own.max(other));
                            parent[high as usize] = low;
                            low
                        }
                    };
                }
                if own == 0 {
                    own = parent.len() as u32;
                    parent.push(own);
                }
                labels[voxel] = own;
            }
        }

        // A root is the smallest label of its region, so one pass upwards numbers the regions in order.
        let mut number = vec![0u32; parent.len()];
        let mut sizes = Vec::new();
        for label in 1..parent.len() as u32 {
            let root = root(&mut parent, label);
            if root == label {
                sizes.push(0);
                number[label as usize] = sizes.len() as u32;
            } else {
                number[label as usize] = number[root as usize];
            }
        }
        for label in labels.iter_mut().filter(|label| **label > 0) {
            *label = number[*label as usize];
            sizes[*label as usize - 1] += 1;
        }
        Ok(Self { labels, sizes })
    }

    /// Number of regions.
    pub(crate) fn count(&self) -> usize {
        self.sizes.len()
    }
}

/// The smallest known label of a region, shortening the path to it.
fn root(parent: &mut [u32], mut label: u32) -> u32 {
    while parent[label as usize] != label {
        let above = parent[parent[label as usize] as usize];
        parent[label as usize] = above;
        label = above;
    }
    label
}

/// An array of two or three axes as a volume; an image is a volume of one slice.
pub(crate) fn volume<T, D: Dimension>(array: ArrayView<'_, T, D>) -> Result<ArrayView3<'_, T>, MetricError> {
    let found = array.ndim();
    let array = array.into_dyn();
    let array = if found == 2 { array.insert_axis(Axis(0)) } else { array };
    array.into_dimensionality().map_err(|_| MetricError::Axes { found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picture(rows: &[&str]) -> (Vec<bool>, [usize; 3]) {
        let mask = rows.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect();
        (mask, [1, rows.len(), rows[0].len()])
    }

    fn labelled(mask: &[bool], shape: [usize; 3], connectivity: Connectivity) -> Components {
        Components::new(&ArrayView3::from_shape(shape, mask).unwrap(), None, connectivity).unwrap()
    }

    #[test]
    fn corners_join_or_not() {
        let (mask, shape) = picture(&["#..#.", ".#..#", "...#.", "##..."]);
        let sizes = |c| labelled(&mask, shape, c).sizes;
        assert_eq!(sizes(Connectivity::Face), [1, 1, 1, 1, 1, 2]);
        assert_eq!(sizes(Connectivity::Vertex), [2, 3, 2]);
        assert_eq!(sizes(Connectivity::Edge), sizes(Connectivity::Vertex));
    }

    #[test]
    fn branches_that_meet_late_are_one() {
        let (mask, shape) = picture(&["#.#.#", "#.#.#", "#.###", "###.."]);
        let components = labelled(&mask, shape, Connectivity::Face);
        assert_eq!(components.sizes, [mask.iter().filter(|&&m| m).count() as u64]);
        assert!(components.labels.iter().zip(&mask).all(|(&label, &m)| label == u32::from(m)));
    }

    #[test]
    fn nothing_has_no_regions() {
        for shape in [[0, 3, 3], [1, 0, 3], [1, 3, 0], [2, 2, 2]] {
            let mask = vec![false; shape.iter().product()];
            assert_eq!(labelled(&mask, shape, Connectivity::Face).count(), 0);
        }
    }

    /// Regions by repeated flooding.
    fn flooded(mask: &[bool], [d, h, w]: [usize; 3], connectivity: Connectivity) -> Vec<u32> {
        let most = match connectivity {
            Connectivity::Face => 1,
            Connectivity::Edge => 2,
            Connectivity::Vertex => 3,
        };
        let place = |v: usize| [v / (h * w), v / w % h, v % w];
        let mut labels = vec![0; d * h * w];
        let mut count = 0;
        for seed in 0..mask.len() {
            if !mask[seed] || labels[seed] > 0 {
                continue;
            }
            count += 1;
            let mut front = vec![seed];
            labels[seed] = count;
            while let Some(v) = front.pop() {
                for n in 0..mask.len() {
                    let steps: Vec<usize> =
                        place(v).iter().zip(place(n)).map(|(a, b)| a.abs_diff(b)).collect();
                    let near = steps.iter().all(|&s| s <= 1) && steps.iter().sum::<usize>() <= most;
                    if near && mask[n] && labels[n] == 0 {
                        labels[n] = count;
                        front.push(n);
                    }
                }
            }
        }
        labels
    }

    proptest! {
        #[test]
        fn as_flooding_finds_them(
            mask in prop::collection::vec(prop::bool::weighted(0.4), 60),
            shape in prop::sample::select(vec![[1, 6, 10], [3, 4, 5], [60, 1, 1], [2, 1, 30], [5, 12, 1]]),
        ) {
            for connectivity in [Connectivity::Face, Connectivity::Edge, Connectivity::Vertex] {
                let found = labelled(&mask, shape, connectivity);
                prop_assert_eq!(&found.labels, &flooded(&mask, shape, connectivity));
            }
        }
    }
}
