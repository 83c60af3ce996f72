//! How many false alarms to expect of thresholds that some subjects calibrated.

/// The least number of `new` healthy subjects that are not more than those with an alarm, with this probability. The
/// threshold allows a share `level` and was calibrated on other subjects, with which it varies: the number is
/// beta-binomial.
#[must_use]
pub fn quantile(level: f64, calibration: usize, new: usize, probability: f64) -> usize {
    let allowed = (level * (1 + calibration) as f64 + 1e-9).floor();
    let (a, b) = (allowed, (calibration + 1) as f64 - allowed);
    let trials = new as f64;
    // P(0), then by the ratio of neighbors.
    let mut term: f64 = (0..new).map(|k| (b + k as f64) / (a + b + k as f64)).product();
    let mut below = term;
    for count in 0..new {
        if below >= probability {
            return count;
        }
        let k = count as f64;
        term *= (trials - k) / (k + 1.0) * (a + k) / (b + trials - k - 1.0);
        below += term;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy 1.17.1: betabinom.ppf(probability, new, allowed, calibration + 1 - allowed).
        assert_eq!(quantile(0.05, 19, 12, 0.99), 4);
        assert_eq!(quantile(0.1, 59, 40, 0.999), 14);
        assert_eq!(quantile(0.01, 99, 200, 0.99), 11);
        assert_eq!(quantile(0.05, 99, 200, 0.95), 20);
        // No threshold lets a subject through.
        assert_eq!(quantile(0.01, 50, 200, 0.99), 0);
    }
}
