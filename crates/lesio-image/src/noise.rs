//! Smooth noise as a function of seed and position.
//!
//! Synthetic anatomy is read at any height of a subject in any order, so its randomness must be a function of
//! place, not a sequence: lattice values come from a hash of their coordinates.

use ndarray::Array2;

/// Sum over the lattice of the squared cubic B-spline weights, averaged over the cell: the variance that
/// interpolating white lattice values leaves, for each dimension.
const SPLINE_VARIANCE: f64 = 151.0 / 315.0;

/// A new seed from a seed and what it is for: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
#[must_use]
pub fn branch(seed: u64, purpose: u64) -> u64 {
    let mut z = seed.wrapping_add(purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `[low, high)` that belongs to a seed and a purpose.
#[must_use]
pub fn uniform(seed: u64, purpose: u64, low: f64, high: f64) -> f64 {
    // The upper 53 bits are a fraction that a double holds exactly.
    let fraction = (branch(seed, purpose) >> 11) as f64 / (1u64 << 53) as f64;
    low + (high - low) * fraction
}

/// Smooth noise along a line: zero mean, unit variance, correlated over about one unit of `t`.
#[must_use]
pub fn drift(seed: u64, t: f64) -> f64 {
    let (first, weights) = spline(t);
    let sum: f64 = (first..).zip(weights).map(|(node, weight)| weight * lattice(seed, [node, 0, 0])).sum();
    sum / SPLINE_VARIANCE.sqrt()
}

/// Smooth noise in space: zero mean, unit variance, correlated over about one `cell` of millimeters.
#[derive(Clone, Copy, Debug)]
pub struct SmoothNoise {
    seed: u64,
    cell: f64,
}

impl SmoothNoise {
    /// Noise of a seed, with cells of so many millimeters; above 0.
    #[must_use]
    pub fn new(seed: u64, cell: f64) -> Self {
        Self { seed, cell }
    }

    /// The value at a place in millimeters.
    #[must_use]
    pub fn at(&self, place: [f64; 3]) -> f64 {
        let [x, y, z] = place.map(|v| spline(v / self.cell));
        let mut sum = 0.0;
        for (i, wx) in (x.0..).zip(x.1) {
            for (j, wy) in (y.0..).zip(y.1) {
                for (k, wz) in (z.0..).zip(z.1) {
                    sum += wx * wy * wz * lattice(self.seed, [i, j, k]);
                }
            }
        }
        sum / SPLINE_VARIANCE.powf(1.5)
    }

    /// The values on a plane of pixels `spacing` millimeters apart at height `z`: [`SmoothNoise::at`] of
    /// `(column * spacing, row * spacing, z)`, at a few operations for each pixel.
    #[must_use]
    pub fn plane(&self, rows: usize, columns: usize, spacing: f64, z: f64) -> Array2<f32> {
        let nodes = (columns as f64 * spacing / self.cell) as usize + 5;
        let scale = SPLINE_VARIANCE.powf(-1.5);
        let (height, along_z) = spline(z / self.cell);
        let across: Vec<_> = (0..columns).map(|column| spline(column as f64 * spacing / self.cell)).collect();
        // Lattice rows are combined along z once, then along y for each image row.
        let layer = |j: i64| -> Vec<f64> {
            (-1..nodes as i64 - 1)
                .map(|i| {
                    let sum: f64 =
                        (height..).zip(along_z).map(|(k, w)| w * lattice(self.seed, [i, j, k])).sum();
                    sum * scale
                })
                .collect()
        };
        let mut window: Vec<(i64, Vec<f64>)> = Vec::new();
        let mut line = vec![0.0; nodes];
        let mut out = Array2::zeros((rows, columns));
        for (row, mut values) in out.outer_iter_mut().enumerate() {
            let (first, weights) = spline(row as f64 * spacing / self.cell);
            window.retain(|(j, _)| *j >= first);
            for j in first..first + 4 {
                if !window.iter().any(|(held, _)| *held == j) {
                    window.push((j, layer(j)));
                }
            }
            line.fill(0.0);
            for ((_, layer), weight) in window.iter().zip(weights) {
                for (sum, value) in line.iter_mut().zip(layer) {
                    *sum += weight * value;
                }
            }
            for (value, (first, weights)) in values.iter_mut().zip(&across) {
                // The first node is -1, which `line` holds at 0.
                let start = (first + 1) as usize;
                let sum: f64 = line[start..start + 4].iter().zip(weights).map(|(v, w)| v * w).sum();
                *value = sum as f32;
            }
        }
        out
    }
}

/// First lattice node and weights of the cubic B-spline at `t`.
fn spline(t: f64) -> (i64, [f64; 4]) {
    // Far beyond any grid; nodes near the ends of an integer's range could not be counted on from.
    let t = t.clamp(-1e12, 1e12);
    let cell = t.floor();
    let u = t - cell;
    let v = 1.0 - u;
    let weights = [
        v * v * v / 6.0,
        (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0,
        (3.0 * v * v * v - 6.0 * v * v + 4.0) / 6.0,
        u * u * u / 6.0,
    ];
    (cell as i64 - 1, weights)
}

/// The lattice value at a node: uniform, zero mean, unit variance.
fn lattice(seed: u64, node: [i64; 3]) -> f64 {
    let [i, j, k] = node.map(|v| v as u64);
    let place = i
        .wrapping_mul(0x8cb9_2ba7_2f3d_8dd7)
        .wrapping_add(j.wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(k.wrapping_mul(0xaef1_7502_108e_f2d9));
    let half_width = 3f64.sqrt();
    uniform(seed, place, -half_width, half_width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_equals_its_points() {
        let noise = SmoothNoise::new(7, 5.3);
        let plane = noise.plane(40, 33, 1.7, -12.5);
        for ((row, column), &value) in plane.indexed_iter() {
            let expected = noise.at([column as f64 * 1.7, row as f64 * 1.7, -12.5]);
            assert!((f64::from(value) - expected).abs() < 1e-5, "{row} {column}: {value} {expected}");
        }
    }

    #[test]
    fn noise_has_zero_mean_and_unit_variance() {
        // 200 x 200 cells of a lattice: the standard error of the mean is about 1/200.
        let plane = SmoothNoise::new(3, 1.0).plane(800, 800, 0.25, 0.3);
        let n = plane.len() as f64;
        let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = plane.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.05, "{mean}");
        // At one height the variance of the layer's own lattice enters: near one, not one.
        assert!((0.6..1.6).contains(&variance), "{variance}");
        let line: Vec<f64> = (0..20_000).map(|t| drift(5, f64::from(t) * 0.1)).collect();
        let variance = line.iter().map(|v| v * v).sum::<f64>() / line.len() as f64;
        assert!((0.85..1.15).contains(&variance), "{variance}");
    }

    #[test]
    fn seeds_branch_apart() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            for purpose in 0..100 {
                assert!(seen.insert(branch(seed, purpose)));
            }
        }
    }
}
