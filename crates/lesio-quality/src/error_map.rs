//! Where a segmentation is wrong.

/// Probability that the label of each pixel is wrong, `[n, pixels]`, of segmentations `[n, pixels]` of 0 or 1 + the
/// position of the label, by the probabilities of the labels, `[n, labels, pixels]`.
pub(crate) fn error_probability(
    probability: &[f32],
    segmentations: &[u8],
    pixels: usize,
    labels: usize,
) -> Vec<f32> {
    let (all, one) = ((labels * pixels).max(1), pixels.max(1));
    let samples = probability.chunks_exact(all).zip(segmentations.chunks_exact(one));
    let of_sample = |(own, segmentation): (&[f32], &[u8])| -> Vec<f32> {
        let of = |label: usize, pixel: usize| own.get(label * pixels + pixel).copied().unwrap_or(0.0);
        let right = |(pixel, &index): (usize, &u8)| match usize::from(index) {
            0 => 1.0 - (0..labels).map(|label| of(label, pixel)).sum::<f32>(),
            index => of(index - 1, pixel),
        };
        segmentation.iter().enumerate().map(right).map(|right| (1.0 - right).clamp(0.0, 1.0)).collect()
    };
    samples.flat_map(of_sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_opinion_leaves_is_an_error() {
        let opinion = [0.9, 0.2, 0.1, 0.0, 0.7, 0.1];
        let close = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        // Two labels on three pixels.
        close(&error_probability(&opinion, &[1, 1, 0], 3, 2), &[0.1, 0.8, 0.2]);
        // One label, two samples of three pixels.
        close(&error_probability(&opinion, &[1, 0, 0, 0, 1, 1], 3, 1), &[0.1, 0.2, 0.1, 0.0, 0.3, 0.9]);
        // No label has this number.
        close(&error_probability(&opinion, &[9, 1, 2], 3, 2), &[1.0, 0.8, 0.9]);
    }
}
