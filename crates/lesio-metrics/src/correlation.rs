//! Correlation of two series.

use ndarray::ArrayView1;

use crate::error::{MetricError, all_finite, same_length};
use crate::sum::Sum;

/// Pearson's product-moment correlation, in [-1, 1]; `None` for fewer than two pairs or when a series is constant.
///
/// The series are slices, or arrays or views of one axis, of one length.
///
/// # Errors
/// [`MetricError::Length`] or [`MetricError::NotFinite`].
pub fn pearson<'x, 'y>(
    x: impl Into<ArrayView1<'x, f64>>,
    y: impl Into<ArrayView1<'y, f64>>,
) -> Result<Option<f64>, MetricError> {
    let (x, y) = checked(x.into(), y.into())?;
    Ok(pearson_of(x, y))
}

/// Spearman's rank correlation: Pearson's of the ranks, ties taking their average rank. `None` as for [`pearson`].
///
/// # Errors
/// [`MetricError::Length`] or [`MetricError::NotFinite`].
pub fn spearman<'x, 'y>(
    x: impl Into<ArrayView1<'x, f64>>,
    y: impl Into<ArrayView1<'y, f64>>,
) -> Result<Option<f64>, MetricError> {
    let (x, y) = checked(x.into(), y.into())?;
    Ok(pearson_of((&average_ranks(x)).into(), (&average_ranks(y)).into()))
}

/// Kendall's tau-b, in [-1, 1]: concordant minus discordant pairs, over the geometric mean of the numbers of pairs not
/// tied in each series. `None` as for [`pearson`].
///
/// By sorting (Knight, JASA 61, 1966), in O(n log n).
///
/// # Errors
/// [`MetricError::Length`] or [`MetricError::NotFinite`].
pub fn kendall_tau_b<'x, 'y>(
    x: impl Into<ArrayView1<'x, f64>>,
    y: impl Into<ArrayView1<'y, f64>>,
) -> Result<Option<f64>, MetricError> {
    let (x, y) = checked(x.into(), y.into())?;
    Ok(kendall_of(x, y))
}

/// Two series, of one length and finite.
fn checked<'x, 'y>(
    x: ArrayView1<'x, f64>,
    y: ArrayView1<'y, f64>,
) -> Result<(ArrayView1<'x, f64>, ArrayView1<'y, f64>), MetricError> {
    same_length("second series", x.len(), y.len())?;
    all_finite("first series", x)?;
    all_finite("second series", y)?;
    Ok((x, y))
}

pub(crate) fn pearson_of(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) =
        (x.iter().copied().collect::<Sum>().value() / n, y.iter().copied().collect::<Sum>().value() / n);
    // Constant series are told by their values: their computed deviations may be rounding errors.
    let varies = |series: ArrayView1<'_, f64>| series.iter().any(|v| *v != series[0]);
    if !varies(x) || !varies(y) {
        return None;
    }
    // Deviations scaled to at most 1, so that squares neither overflow nor vanish.
    let scale =
        |series: ArrayView1<'_, f64>, mean: f64| series.iter().fold(0.0, |m: f64, v| m.max((v - mean).abs()));
    let (scale_x, scale_y) = (scale(x, mean_x), scale(y, mean_y));
    let (mut xx, mut yy, mut xy) = (Sum::default(), Sum::default(), Sum::default());
    for (&x, &y) in x.iter().zip(y) {
        let (dx, dy) = ((x - mean_x) / scale_x, (y - mean_y) / scale_y);
        xx.add(dx * dx);
        yy.add(dy * dy);
        xy.add(dx * dy);
    }
    let correlation = xy.value() / (xx.value().sqrt() * yy.value().sqrt());
    correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
}

/// Ranks from 1, ties taking the average of the ranks they span.
pub(crate) fn average_ranks(values: ArrayView1<'_, f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| compare(values[a], values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + 0.5 * (tied.len() as f64 + 1.0);
        tied.iter().for_each(|&index| ranks[index] = rank);
        before += tied.len();
    }
    ranks
}

/// Order of numbers; both zeros are one. Only for values that are numbers.
pub(crate) fn compare(a: f64, b: f64) -> std::cmp::Ordering {
    (a + 0.0).total_cmp(&(b + 0.0))
}

fn kendall_of(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> Option<f64> {
    let mut pairs: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    pairs.sort_by(|a, b| compare(a.0, b.0).then(compare(a.1, b.1)));
    let tied = |same: fn(&(f64, f64), &(f64, f64)) -> bool, pairs: &[(f64, f64)]| -> u128 {
        pairs.chunk_by(same).map(|tied| couples(tied.len())).sum()
    };
    let tied_x = tied(|a, b| a.0 == b.0, &pairs);
    let tied_both = tied(|a, b| a == b, &pairs);
    // Each exchange that sorting by y needs is one discordant pair; pairs tied in x already are in order.
    let mut series: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let discordant = sort_counting_exchanges(&mut series);
    let tied_y: u128 = series.chunk_by(|a, b| a == b).map(|tied| couples(tied.len())).sum();

    let all = couples(x.len());
    let (untied_x, untied_y) = (all - tied_x, all - tied_y);
    if untied_x == 0 || untied_y == 0 {
        return None;
    }
    let concordant = all + tied_both - tied_x - tied_y - discordant;
    let difference = concordant as f64 - discordant as f64;
    Some((difference / ((untied_x as f64).sqrt() * (untied_y as f64).sqrt())).clamp(-1.0, 1.0))
}

fn couples(n: usize) -> u128 {
    let n = n as u128;
    n * n.saturating_sub(1) / 2
}

/// Merge sort from the bottom up, counting the pairs that were out of order.
fn sort_counting_exchanges(values: &mut Vec<f64>) -> u128 {
    let n = values.len();
    let mut merged = Vec::with_capacity(n);
    let mut exchanges = 0u128;
    let mut width = 1;
    while width < n {
        merged.clear();
        for run in values.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some(&l), Some(&r)) = (left.first(), right.first()) {
                if l <= r {
                    merged.push(l);
                    left = &left[1..];
                } else {
                    exchanges += left.len() as u128;
                    merged.push(r);
                    right = &right[1..];
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(values, &mut merged);
        width *= 2;
    }
    exchanges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Correlation = fn(&[f64], &[f64]) -> Result<Option<f64>, MetricError>;

    #[test]
    fn a_constant_series_has_no_correlation() {
        // The mean of these is not exactly .1, so computed deviations are not exactly zero.
        let constant = [0.1; 7];
        let varied = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let all: [Correlation; 3] = [|x, y| pearson(x, y), |x, y| spearman(x, y), |x, y| kendall_tau_b(x, y)];
        for correlation in all {
            assert_eq!(correlation(&constant, &varied), Ok(None));
            assert_eq!(correlation(&varied, &constant), Ok(None));
            assert_eq!(correlation(&[], &[]), Ok(None));
            assert_eq!(correlation(&[1.0], &[2.0]), Ok(None));
            assert!(matches!(correlation(&varied, &[f64::NAN; 7]), Err(MetricError::NotFinite { .. })));
            assert!(matches!(correlation(&varied, &[1.0]), Err(MetricError::Length { .. })));
        }
    }

    #[test]
    fn scales_do_not_overflow() {
        let x = [1e300, 2e300, 3e300];
        let y = [1e-300, 2e-300, 3e-300];
        assert!((pearson(&x, &y).unwrap().unwrap() - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn tau_is_that_of_all_pairs(pairs in prop::collection::vec((0u8..6, 0u8..6), 2..40)) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().map(|p| (f64::from(p.0), f64::from(p.1))).unzip();
            let (mut difference, mut untied_x, mut untied_y) = (0.0, 0.0, 0.0);
            for i in 0..x.len() {
                for j in 0..i {
                    let (dx, dy) = (x[i] - x[j], y[i] - y[j]);
                    difference += f64::signum(dx * dy) * f64::from(u8::from(dx * dy != 0.0));
                    untied_x += f64::from(u8::from(dx != 0.0));
                    untied_y += f64::from(u8::from(dy != 0.0));
                }
            }
            match kendall_tau_b(&x, &y).unwrap() {
                Some(tau) => prop_assert!((tau - difference / f64::sqrt(untied_x * untied_y)).abs() < 1e-12),
                None => prop_assert!(untied_x == 0.0 || untied_y == 0.0),
            }
        }

        #[test]
        fn rank_correlations_ignore_monotone_maps(
            pairs in prop::collection::vec((-300i16..300, -300i16..300), 3..40)
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) =
                pairs.into_iter().map(|(x, y)| (f64::from(x) / 100.0, f64::from(y) / 100.0)).unzip();
            let mapped: Vec<f64> = x.iter().map(|v| v.exp()).collect();
            let falling: Vec<f64> = x.iter().map(|v| -v).collect();
            let by_rank: [Correlation; 2] = [|x, y| spearman(x, y), |x, y| kendall_tau_b(x, y)];
            for correlation in by_rank {
                let own = correlation(&x, &y).unwrap();
                prop_assert_eq!(own, correlation(&mapped, &y).unwrap());
                prop_assert_eq!(own, correlation(&y, &x).unwrap());
                let turned = correlation(&falling, &y).unwrap();
                prop_assert!(own.zip(turned).is_none_or(|(a, b)| (a + b).abs() < 1e-12));
            }
        }
    }
}
