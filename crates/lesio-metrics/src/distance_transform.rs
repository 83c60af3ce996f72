//! Exact Euclidean distance from every voxel to the nearest of a set.

use rayon::prelude::*;

/// Squared distance from each voxel centre to the nearest of `seeds`, in squared units of `spacing`; infinite
/// everywhere when there is no seed. Row-major, `seeds.len()` being the product of `shape`.
///
/// One axis after the other: along a line, the result is the lower envelope of parabolas (Felzenszwalb and
/// Huttenlocher, Theory of Computing 8, 2012), so the time is proportional to the number of voxels.
pub(crate) fn squared_distances(seeds: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut field: Vec<f64> = seeds.iter().map(|&seed| if seed { 0.0 } else { f64::INFINITY }).collect();
    if field.is_empty() {
        return field;
    }
    let [depth, height, width] = shape;

    field.par_chunks_mut(width).for_each_init(
        || Envelope::new(width),
        |envelope, row| {
            envelope.transform(row, spacing[2]);
        },
    );
    if height > 1 {
        field.par_chunks_mut(height * width).for_each_init(
            || (Envelope::new(height), vec![0.0; height]),
            |(envelope, line), slice| {
                for column in 0..width {
                    gather(slice, column, width, line);
                    envelope.transform(line, spacing[1]);
                    scatter(line, slice, column, width);
                }
            },
        );
    }
    if depth > 1 {
        // Lines through the slices, one row of them at a time: each task owns a copy and no two share a voxel.
        let stride = height * width;
        let rows: Vec<Vec<f64>> = (0..height)
            .into_par_iter()
            .map_init(
                || (Envelope::new(depth), vec![0.0; depth]),
                |(envelope, line), row| {
                    let mut plane: Vec<f64> = (0..depth)
                        .flat_map(|slice| &field[slice * stride + row * width..][..width])
                        .copied()
                        .collect();
                    for column in 0..width {
                        gather(&plane, column, width, line);
                        envelope.transform(line, spacing[0]);
                        scatter(line, &mut plane, column, width);
                    }
                    plane
                },
            )
            .collect();
        for (row, plane) in rows.iter().enumerate() {
            for (slice, values) in plane.chunks(width).enumerate() {
                field[slice * stride + row * width..][..width].copy_from_slice(values);
            }
        }
    }
    field
}

fn gather(from: &[f64], start: usize, stride: usize, line: &mut [f64]) {
    line.iter_mut().zip(from[start..].iter().step_by(stride)).for_each(|(to, from)| *to = *from);
}

fn scatter(line: &[f64], to: &mut [f64], start: usize, stride: usize) {
    line.iter().zip(to[start..].iter_mut().step_by(stride)).for_each(|(from, to)| *to = *from);
}

/// The parabolas that make up the lower envelope of a line, from left to right.
struct Envelope {
    /// Place and height of each apex.
    apexes: Vec<(f64, f64)>,
    /// Where each parabola takes over from the one before it.
    starts: Vec<f64>,
}

impl Envelope {
    fn new(length: usize) -> Self {
        Self { apexes: Vec::with_capacity(length), starts: Vec::with_capacity(length) }
    }

    /// Replaces each value `f(x)` by the least `f(y) + (x - y)^2`, for `x` and `y` multiples of `spacing`.
    fn transform(&mut self, line: &mut [f64], spacing: f64) {
        self.apexes.clear();
        self.starts.clear();
        for (index, &height) in line.iter().enumerate() {
            if height == f64::INFINITY {
                continue;
            }
            let place = index as f64 * spacing;
            let mut start = f64::NEG_INFINITY;
            while let (Some(&(last_place, last_height)), Some(&last_start)) =
                (self.apexes.last(), self.starts.last())
            {
                // Where both parabolas are equally high.
                start = 0.5 * ((height - last_height) / (place - last_place) + place + last_place);
                if start > last_start {
                    break;
                }
                self.apexes.pop();
                self.starts.pop();
                start = f64::NEG_INFINITY;
            }
            self.apexes.push((place, height));
            self.starts.push(start);
        }
        if self.apexes.is_empty() {
            return;
        }
        let mut parabola = 0;
        for (index, value) in line.iter_mut().enumerate() {
            let place = index as f64 * spacing;
            while self.starts.get(parabola + 1).is_some_and(|&start| start <= place) {
                parabola += 1;
            }
            let (apex, height) = self.apexes[parabola];
            *value = (place - apex) * (place - apex) + height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_nearest_of_all_seeds(
            seeds in prop::collection::vec(prop::bool::weighted(0.1), 120),
            shape in prop::sample::select(vec![[1, 1, 120], [1, 10, 12], [4, 5, 6], [120, 1, 1], [2, 60, 1]]),
            spacing in prop::array::uniform3(0.3f64..4.0),
        ) {
            let [_, h, w] = shape;
            let place = |v: usize| [v / (h * w), v / w % h, v % w];
            let found = squared_distances(&seeds, shape, spacing);
            for (voxel, &found) in found.iter().enumerate() {
                let nearest = (0..seeds.len()).filter(|&s| seeds[s]).map(|s| {
                    (0..3).map(|a| {
                        let d = (place(voxel)[a] as f64 - place(s)[a] as f64) * spacing[a];
                        d * d
                    }).sum::<f64>()
                }).fold(f64::INFINITY, f64::min);
                prop_assert!(found == nearest || (found - nearest).abs() <= 1e-9 * nearest.max(1.0));
            }
        }
    }

    #[test]
    fn no_seed_is_infinitely_far_and_no_voxel_is_nothing() {
        assert_eq!(squared_distances(&[false; 6], [1, 2, 3], [1.0; 3]), [f64::INFINITY; 6]);
        assert!(squared_distances(&[], [1, 0, 3], [1.0; 3]).is_empty());
        assert!(squared_distances(&[], [0, 3, 0], [1.0; 3]).is_empty());
    }
}
