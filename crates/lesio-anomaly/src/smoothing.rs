//! Gaussian smoothing of maps on the network's grid.

/// Smooths maps `[n, h, w]` by a Gaussian of `deviation` pixels, cut at three deviations; beyond the
/// border is 0, so that a frame's edge does not gain.
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
}
