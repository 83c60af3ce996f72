//! The median.

/// The median, for an even count the mean of the two values in the middle; `None` without values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(*values.get(last / 2)?, *values.get(last.div_ceil(2))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_count_has_the_mean_of_the_middle() {
        let found = |values: &[f64]| median(values.to_vec());
        assert_eq!([found(&[]), found(&[3.0]), found(&[4.0, 1.0])], [None, Some(3.0), Some(2.5)]);
        assert_eq!([found(&[9.0, 1.0, 2.0]), found(&[9.0, 1.0, 2.0, 4.0])], [Some(2.0), Some(3.0)]);
    }
}
