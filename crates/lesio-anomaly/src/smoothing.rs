//! Gaussian smoothing of maps on the network's grid.

/// Largest deviation for smoothing: a larger one would give the mean of any map.
pub(crate) const LARGEST_DEVIATION: f64 = 4096.0;

/// Smooths maps `[n, h, w]` by a Gaussian of `deviation` pixels, cut at three deviations; outside
/// the border is 0, so that the edge of a frame does not get higher scores.
pub(crate) fn smooth(maps: &mut [f32], height: usize, width: usize, deviation: f64) {
    let radius = (3.0 * deviation).ceil() as usize;
    if radius == 0 || height * width == 0 {
        return;
    }
    let mut weights: Vec<f64> =
        (0..=radius).map(|d| (-((d * d) as f64) / (2.0 * deviation * deviation)).exp()).collect();
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.iter_mut().for_each(|weight| *weight /= total);
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight as f32).collect();
    let mut scratch = vec![0.0; height * width];
    for map in maps.chunks_exact_mut(height * width) {
        for row in 0..height {
            line(
                &map[row * width..(row + 1) * width],
                &mut scratch[row * width..(row + 1) * width],
                &weights,
            );
        }
        let mut column = vec![0.0; height];
        let mut out = vec![0.0; height];
        for x in 0..width {
            column.iter_mut().enumerate().for_each(|(y, value)| *value = scratch[y * width + x]);
            line(&column, &mut out, &weights);
            out.iter().enumerate().for_each(|(y, value)| map[y * width + x] = *value);
        }
    }
}

fn line(values: &[f32], out: &mut [f32], weights: &[f32]) {
    let radius = weights.len() - 1;
    for (at, out) in out.iter_mut().enumerate() {
        let from = at.saturating_sub(radius);
        let to = (at + radius).min(values.len() - 1);
        *out = (from..=to).map(|other| weights[other.abs_diff(at)] * values[other]).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_becomes_a_gaussian_of_the_same_sum() {
        let mut map = vec![0.0; 21 * 25];
        map[10 * 25 + 12] = 1.0;
        smooth(&mut map, 21, 25, 1.5);
        assert!((map.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let ratio = map[10 * 25 + 13] / map[10 * 25 + 12];
        assert!((ratio - (-1.0f32 / 4.5).exp()).abs() < 1e-5);
        assert_eq!(map[10 * 25 + 11], map[9 * 25 + 12]);
    }

    #[test]
    fn agrees_with_the_sum_over_both_axes() {
        let (height, width, deviation) = (7, 11, 1.2f64);
        let source: Vec<f32> = (0..2 * height * width).map(|k| ((k * 31) % 23) as f32 / 23.0).collect();
        let mut found = source.clone();
        smooth(&mut found, height, width, deviation);
        let radius = (3.0 * deviation).ceil() as i64;
        let weight = |d: i64| (-((d * d) as f64) / (2.0 * deviation * deviation)).exp();
        let total: f64 = (-radius..=radius).map(weight).sum();
        for (map, smoothed) in source.chunks(height * width).zip(found.chunks(height * width)) {
            #[allow(clippy::needless_range_loop, reason = "an index of two maps")]
            for at in 0..height * width {
                let (row, column) = ((at / width) as i64, (at % width) as i64);
                let mut sum = 0.0;
                for down in -radius..=radius {
                    for right in -radius..=radius {
                        let (r, c) = (row + down, column + right);
                        if (0..height as i64).contains(&r) && (0..width as i64).contains(&c) {
                            sum += weight(down)
                                * weight(right)
                                * f64::from(map[r as usize * width + c as usize]);
                        }
                    }
                }
                assert!((f64::from(smoothed[at]) - sum / (total * total)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn no_deviation_leaves_maps_as_they_are() {
        let mut map = vec![1.0, 2.0, 3.0];
        smooth(&mut map, 1, 3, 0.0);
        assert_eq!(map, [1.0, 2.0, 3.0]);
    }
}
