//! The loss of a map of probabilities against true classes.

/// Added to both sides of the Dice, in pixels: classes that are absent weigh little.
const PIXEL: f64 = 1.0;

/// Mean cross-entropy over the pixels plus one minus the mean soft Dice over the classes but the
/// background, for one sample `[classes, pixels]`; adds their gradient by the logits, times `scale`.
pub(crate) fn loss(probability: &[f32], truth: &[u8], by_logits: &mut [f32], scale: f32) -> f64 {
    let pixels = truth.len();
    let classes = probability.len() / pixels.max(1);
    let at = |class: usize, pixel: usize| class * pixels + pixel;
    let mut entropy = 0.0;
    for (pixel, &class) in truth.iter().enumerate() {
        let own = probability.get(at(usize::from(class), pixel)).copied().unwrap_or(1.0);
        entropy -= f64::from(own.max(f32::MIN_POSITIVE).ln());
    }
    let mut dice_loss = 0.0;
    let structures = classes.saturating_sub(1).max(1) as f64;
    // The soft Dice 2 b / s of each class, as its gradient by a probability needs it.
    let mut sums = vec![(0.0, 0.0); classes];
    for (class, (both, size)) in sums.iter_mut().enumerate().skip(1) {
        (*both, *size) = (PIXEL, PIXEL);
        for (pixel, &label) in truth.iter().enumerate() {
            let (q, m) = (f64::from(probability[at(class, pixel)]), f64::from(usize::from(label) == class));
            *both += 2.0 * q * m;
            *size += q + m;
        }
        dice_loss += (1.0 - *both / *size) / structures;
    }
    for (pixel, &label) in truth.iter().enumerate() {
        let label = usize::from(label);
        // By the probabilities of this pixel; their mean under the probabilities makes it one by logits.
        let slope = |class: usize| {
            let (both, size) = sums[class];
            if class == 0 {
                return 0.0;
            }
            -(2.0 * f64::from(label == class) - both / size) / size / structures
        };
        let mean: f64 =
            (1..classes).map(|class| f64::from(probability[at(class, pixel)]) * slope(class)).sum();
        for class in 0..classes {
            let q = f64::from(probability[at(class, pixel)]);
            let cross_entropy = (q - f64::from(label == class)) / pixels as f64;
            by_logits[at(class, pixel)] += scale * (cross_entropy + q * (slope(class) - mean)) as f32;
        }
    }
    entropy / pixels.max(1) as f64 + dice_loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::softmax;
    use proptest::prelude::*;

    #[test]
    fn a_perfect_map_costs_nothing() {
        let probability = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        let mut by = [0.0; 6];
        assert!(loss(&probability, &[0, 1, 1], &mut by, 1.0).abs() < 1e-6);
        assert!(by.iter().all(|gradient| gradient.abs() < 1e-6));
    }

    proptest! {
        #[test]
        fn gradients_match_finite_differences(
            logits in prop::collection::vec(-3.0f32..3.0, 15),
            truth in prop::collection::vec(0u8..3, 5),
            index in 0usize..15,
        ) {
            let value = |logits: &[f32], by: &mut [f32]| {
                let mut probability = [0.0; 15];
                softmax(logits, 5, &mut probability);
                loss(&probability, &truth, by, 1.0)
            };
            let mut by = [0.0; 15];
            value(&logits, &mut by);
            let at = |delta: f32| {
                let mut moved = logits.clone();
                moved[index] += delta;
                value(&moved, &mut [0.0; 15])
            };
            let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
            prop_assert!((difference - f64::from(by[index])).abs() < 1e-3, "{difference} {}", by[index]);
        }
    }
}
