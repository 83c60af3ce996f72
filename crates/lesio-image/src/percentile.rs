//! Exact percentiles.

/// Percentiles of `values`, which are reordered; NaN for no values.
///
/// The `p`-th percentile of `n` sorted values lies at rank `p / 100 * (n - 1)` and between ranks on
/// the line between its neighbours (definition 7 of Hyndman and Fan, The American Statistician 50,
/// 1996; NumPy's default). `wanted` ascends, within [0, 100]. Takes time linear in the number of
/// values for each percentile; values are ordered by `f32::total_cmp`.
pub(crate) fn percentiles<const N: usize>(values: &mut [f32], wanted: [f64; N]) -> [f64; N] {
    let mut done = 0;
    wanted.map(|percentile| percentile_from(values, &mut done, percentile))
}

/// As [`percentiles`], for any number of them.
pub(crate) fn percentile_list(values: &mut [f32], wanted: &[f64]) -> Vec<f64> {
    let mut done = 0;
    wanted.iter().map(|&percentile| percentile_from(values, &mut done, percentile)).collect()
}

/// One percentile of values whose first `done` are known to be the least of all, in any order.
fn percentile_from(values: &mut [f32], done: &mut usize, percentile: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let rank = (percentile.clamp(0.0, 100.0) / 100.0) * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let fraction = rank - lower as f64;
    // Ranks ascend, so the search goes on in what is not below the last one.
    let from = (*done).min(lower);
    let (_, &mut value, above) = values[from..].select_nth_unstable_by(lower - from, f32::total_cmp);
    *done = lower;
    let value = f64::from(value);
    if fraction == 0.0 {
        return value;
    }
    let next = above.iter().copied().min_by(f32::total_cmp).map_or(value, f64::from);
    value + fraction * (next - value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_numpy() {
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], [0, 10, 50, 99, 100]) of NumPy 2.4.6.
        let mut values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let found = percentiles(&mut values, [0.0, 10.0, 50.0, 99.0, 100.0]);
        for (found, expected) in found.iter().zip([1.0, 1.0, 3.5, 8.79, 9.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(percentiles(&mut [], [50.0])[0].is_nan());
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(mut values in prop::collection::vec(-50_i32..50, 1..60),
                               mut wanted in prop::collection::vec(0.0_f64..=100.0, 1..8)) {
            wanted.sort_by(f64::total_cmp);
            let mut data: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            let found = percentile_list(&mut data, &wanted);
            values.sort_unstable();
            for (percentile, found) in wanted.iter().zip(found) {
                let rank = percentile / 100.0 * (values.len() - 1) as f64;
                let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
                let expected = f64::from(low) + rank.fract() * f64::from(high - low);
                prop_assert!((found - expected).abs() < 1e-9);
            }
        }
    }
}
