//! Corruptions of one segmentation by one seed at all strengths.

use lesio_image::noise::{SmoothNoise, branch};
use lesio_image::squared_distance;
use lesio_nn::random;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, Zip};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::error::CorruptionError;
use super::kind::CorruptionKind;

/// What does not depend on the strength, worked out once.
#[derive(Debug)]
pub(super) enum Family<'a> {
    /// Each voxel takes another label once the strength reaches its time, within (0, 1].
    Timed { labels: ArrayView3<'a, u8>, time: Array3<f32>, later: Array3<u8> },
    /// Each voxel takes the label of a place in its slice, farther away as strength grows.
    Moved { labels: ArrayView3<'a, u8>, rows: Array3<f32>, columns: Array3<f32> },
    /// Signed depths within each label (positive inside) blend from one segmentation to another.
    Blended { labels: ArrayView3<'a, u8>, parts: Vec<(u8, Array3<f32>, Array3<f32>)> },
}

impl<'a> Family<'a> {
    pub(super) fn new(
        kind: CorruptionKind,
        labels: ArrayView3<'a, u8>,
        other: Option<ArrayView3<'a, u8>>,
        present: &[u8],
        favoured: Option<u8>,
        seed: u64,
    ) -> Result<Self, CorruptionError> {
        let mut random = random::generator(seed, 0);
        Ok(match kind {
            CorruptionKind::Shift => shift(labels, &mut random),
            CorruptionKind::Warp => warp(labels, seed),
            CorruptionKind::Erode => erode(labels, present),
            CorruptionKind::Dilate => {
                let grower = favoured.unwrap_or(present[random.random_range(0..present.len())]);
                dilate(labels, present, grower)
            }
            CorruptionKind::Holes => {
                Self::Timed { labels, time: blobs(labels, present, seed), later: Array3::zeros(labels.dim()) }
            }
            CorruptionKind::MissingSlices => missing_slices(labels, &mut random),
            CorruptionKind::SwapLabels => {
                if let [label] = *present {
                    return Err(CorruptionError::OneLabel { label });
                }
                let step = random.random_range(1..present.len());
                let later = labels.map(|label| match present.binary_search(label) {
                    Ok(index) => present[(index + step) % present.len()],
                    Err(_) => 0,
                });
                Self::Timed { labels, time: blobs(labels, present, seed), later }
            }
            CorruptionKind::OtherSubject => blend(labels, other.ok_or(CorruptionError::NoOther)?),
        })
    }

    /// The segmentation at a strength within 0 to 1; at 0 as it is.
    pub(super) fn at(&self, strength: f64) -> Array3<u8> {
        match self {
            Self::Timed { labels, time, later } => {
                let mut out = labels.to_owned();
                if strength > 0.0 {
                    Zip::from(&mut out).and(time).and(later).for_each(|label, &time, &later| {
                        if f64::from(time) <= strength {
                            *label = later;
                        }
                    });
                }
                out
            }
            Self::Moved { labels, rows, columns } => {
                let (height, width, _) = labels.dim();
                Array3::from_shape_fn(labels.dim(), |(i, j, k)| {
                    let from_row = i as f64 + (strength * f64::from(rows[[i, j, k]])).round();
                    let from_column = j as f64 + (strength * f64::from(columns[[i, j, k]])).round();
                    let inside = (0.0..height as f64).contains(&from_row)
                        && (0.0..width as f64).contains(&from_column);
                    if inside { labels[[from_row as usize, from_column as usize, k]] } else { 0 }
                })
            }
            Self::Blended { labels, .. } if strength == 0.0 => labels.to_owned(),
            Self::Blended { labels, parts } => {
                let mut deepest = Array3::<f32>::zeros(labels.dim());
                let mut out = Array3::zeros(labels.dim());
                let strength = strength as f32;
                for (label, own, other) in parts {
                    Zip::from(&mut out).and(&mut deepest).and(own).and(other).for_each(
                        |out, deepest, &own, &other| {
                            let depth = (1.0 - strength) * own + strength * other;
                            if depth > *deepest {
                                (*out, *deepest) = (*label, depth);
                            }
                        },
                    );
                }
                out
            }
        }
    }
}

fn shift<'a>(labels: ArrayView3<'a, u8>, random: &mut ChaCha8Rng) -> Family<'a> {
    let (sin, cos) = random.random_range(0.0..std::f64::consts::TAU).sin_cos();
    let [height, width] = extent(labels);
    // A rectangle moved by this has left its old place in any direction.
    let length = (cos.abs() * height + sin.abs() * width).max(1.0) + 1.0;
    let constant = |value: f64| Array3::from_elem(labels.dim(), value as f32);
    Family::Moved { labels, rows: constant(length * cos), columns: constant(length * sin) }
}

fn warp(labels: ArrayView3<'_, u8>, seed: u64) -> Family<'_> {
    let size = diameter(labels);
    let cell = (size / 2.0).max(2.0);
    let (rows, columns, _) = labels.dim();
    let field = |purpose: u64| {
        let noise = SmoothNoise::new(branch(seed, purpose), cell);
        let mut out = Array3::zeros(labels.dim());
        for (k, mut slice) in out.axis_iter_mut(Axis(2)).enumerate() {
            // Half a cell from slice to slice: neighbors bend alike.
            let mut plane = noise.plane(rows, columns, 1.0, 0.5 * cell * k as f64);
            plane.mapv_inplace(|value| value * 0.3 * size as f32);
            slice.assign(&plane);
        }
        out
    };
    Family::Moved { labels, rows: field(0), columns: field(1) }
}

fn erode<'a>(labels: ArrayView3<'a, u8>, present: &[u8]) -> Family<'a> {
    let mut time = Array3::from_elem(labels.dim(), f32::INFINITY);
    for &label in present {
        let depth =
            by_slice(labels, |slice| squared_distance(&slice.map(|&value| value != label)).mapv(f64::sqrt));
        let mut deepest: f64 = 0.0;
        Zip::from(labels).and(&depth).for_each(|&value, &depth| {
            if value == label && depth.is_finite() {
                deepest = deepest.max(depth);
            }
        });
        Zip::from(&mut time).and(labels).and(&depth).for_each(|time, &value, &depth| {
            if value == label {
                // A label that fills its slice has no rim: it goes last.
                *time = if depth.is_finite() { (depth / deepest) as f32 } else { 1.0 };
            }
        });
    }
    Family::Timed { labels, time, later: Array3::zeros(labels.dim()) }
}

fn dilate<'a>(labels: ArrayView3<'a, u8>, present: &[u8], grower: u8) -> Family<'a> {
    let reach = 0.5 * diameter(labels);
    let mut time = Array3::from_elem(labels.dim(), f32::INFINITY);
    let mut later = labels.to_owned();
    for &label in present {
        let distance =
            by_slice(labels, |slice| squared_distance(&slice.map(|&value| value == label)).mapv(f64::sqrt));
        Zip::from(&mut time).and(&mut later).and(labels).and(&distance).for_each(
            |time, later, &value, &distance| {
                let grows_here = value == 0 || (label == grower && value != grower);
                let when = (distance / reach) as f32;
                if grows_here && when < *time && when <= 1.0 {
                    (*time, *later) = (when, label);
                }
            },
        );
    }
    Family::Timed { labels, time, later }
}

fn missing_slices<'a>(labels: ArrayView3<'a, u8>, random: &mut ChaCha8Rng) -> Family<'a> {
    let mut filled: Vec<usize> = labels
        .axis_iter(Axis(2))
        .enumerate()
        .filter(|(_, slice)| slice.iter().any(|&label| label != 0))
        .map(|(index, _)| index)
        .collect();
    filled.shuffle(random);
    let mut time = Array3::from_elem(labels.dim(), f32::INFINITY);
    for (rank, &index) in filled.iter().enumerate() {
        // The nearest number of slices to the strength's share.
        let when = (rank as f32 + 0.5) / filled.len() as f32;
        time.index_axis_mut(Axis(2), index).fill(when);
    }
    Family::Timed { labels, time, later: Array3::zeros(labels.dim()) }
}

/// Times at which smooth blobs of each label come, as many by a strength as is its share of the label.
fn blobs(labels: ArrayView3<'_, u8>, present: &[u8], seed: u64) -> Array3<f32> {
    let cell = (diameter(labels) / 5.0).max(1.5);
    let noise = SmoothNoise::new(branch(seed, 2), cell);
    let (rows, columns, slices) = labels.dim();
    let planes: Vec<Array2<f32>> =
        (0..slices).map(|k| noise.plane(rows, columns, 1.0, cell * k as f64)).collect();
    let mut time = Array3::from_elem(labels.dim(), f32::INFINITY);
    for &label in present {
        let mut voxels: Vec<(f32, (usize, usize, usize))> = labels
            .indexed_iter()
            .filter(|&(_, &value)| value == label)
            .map(|((i, j, k), _)| (planes[k][[i, j]], (i, j, k)))
            .collect();
        // Stable, so that equal values keep the order of the array.
        voxels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = voxels.len() as f32;
        for (rank, (_, index)) in voxels.into_iter().enumerate() {
            time[index] = (rank as f32 + 1.0) / count;
        }
    }
    time
}

fn blend<'a>(labels: ArrayView3<'a, u8>, other: ArrayView3<'a, u8>) -> Family<'a> {
    let mut found = [false; 256];
    for &label in labels.iter().chain(other) {
        found[usize::from(label)] = true;
    }
    let parts = (1..=u8::MAX)
        .filter(|&label| found[usize::from(label)])
        .map(|label| (label, signed_depth(labels, label), signed_depth(other, label)))
        .collect();
    Family::Blended { labels, parts }
}

/// Distance within each slice to the outside of a label, negative outside of it; as far as a slice is large
/// where one or the other is missing.
fn signed_depth(labels: ArrayView3<'_, u8>, label: u8) -> Array3<f32> {
    let (rows, columns, _) = labels.dim();
    let far = (rows + columns) as f64;
    by_slice(labels, |slice| {
        let inside = squared_distance(&slice.map(|&value| value != label));
        let outside = squared_distance(&slice.map(|&value| value == label));
        let mut depth = inside;
        // Half a pixel: the boundary runs between pixels.
        depth.zip_mut_with(&outside, |depth, &outside| {
            *depth = if *depth > 0.0 { depth.sqrt().min(far) - 0.5 } else { 0.5 - outside.sqrt().min(far) };
        });
        depth
    })
    .mapv(|value| value as f32)
}

fn by_slice(labels: ArrayView3<'_, u8>, f: impl Fn(ArrayView2<'_, u8>) -> Array2<f64>) -> Array3<f64> {
    let mut out = Array3::zeros(labels.dim());
    for (slice, mut values) in labels.axis_iter(Axis(2)).zip(out.axis_iter_mut(Axis(2))) {
        values.assign(&f(slice));
    }
    out
}

/// Rows and columns of the box around all labels.
fn extent(labels: ArrayView3<'_, u8>) -> [f64; 2] {
    let mut low = [usize::MAX; 2];
    let mut high = [0; 2];
    for ((i, j, _), &label) in labels.indexed_iter() {
        if label != 0 {
            low = [low[0].min(i), low[1].min(j)];
            high = [high[0].max(i), high[1].max(j)];
        }
    }
    [0, 1].map(|axis| high[axis].saturating_sub(low[axis]) as f64 + 1.0)
}

/// Diameter of the disc as large as the labels of the slice that holds most.
fn diameter(labels: ArrayView3<'_, u8>) -> f64 {
    let area = labels
        .axis_iter(Axis(2))
        .map(|slice| slice.iter().filter(|&&label| label != 0).count())
        .max()
        .unwrap_or(0);
    2.0 * (area as f64 / std::f64::consts::PI).sqrt()
}
