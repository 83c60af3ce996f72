//! Agreement of a segmentation with a map of probabilities, with gradients.

/// Statistics of one label.
pub(crate) const STATISTICS: usize = 5;

/// Added to sums over the grid, in pixels: keeps ratios finite, and still where both masks are small.
const PIXEL: f64 = 1.0;

/// Sums over one label's plane from which its statistics and their gradients follow.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    segmentation: f64,
    probability: f64,
    both: f64,
    sharp: f64,
    both_sharp: f64,
    doubt: f64,
}

/// Statistics of a plane of probabilities against a mask (0 and 1) of the same size: the soft Dice; the
/// soft Dice of the sharpened probabilities `q^2 / (q^2 + (1 - q)^2)`; the logarithm of the ratio of
/// their sizes; the share of the probability that is in doubt, `sum q (1 - q) / sum q`; and the
/// logarithm of the mask's size.
pub(crate) fn statistics(probability: &[f32], mask: &[f32]) -> [f32; STATISTICS] {
    let s = sums(probability, mask);
    [
        (2.0 * s.both + PIXEL) / (s.segmentation + s.probability + PIXEL),
        (2.0 * s.both_sharp + PIXEL) / (s.segmentation + s.sharp + PIXEL),
        ((s.probability + PIXEL) / (s.segmentation + PIXEL)).ln(),
        s.doubt / (s.probability + PIXEL),
        (s.segmentation + PIXEL).ln() / 5.0,
    ]
    .map(|value| value as f32)
}

/// Adds the gradient by each probability, for these gradients by the statistics.
pub(crate) fn add_gradient(probability: &[f32], mask: &[f32], by: &[f32], into: &mut [f32]) {
    let s = sums(probability, mask);
    let by: [f64; STATISTICS] = std::array::from_fn(|k| by.get(k).map_or(0.0, |&value| f64::from(value)));
    let size = s.segmentation + s.probability + PIXEL;
    let sharp_size = s.segmentation + s.sharp + PIXEL;
    let dice = (2.0 * s.both + PIXEL) / size;
    let sharp_dice = (2.0 * s.both_sharp + PIXEL) / sharp_size;
    let own = s.probability + PIXEL;
    for ((into, &q), &m) in into.iter_mut().zip(probability).zip(mask) {
        let (q, m) = (f64::from(q), f64::from(m));
        let (_, slope) = sharpened(q);
        let mut gradient = by[0] * (2.0 * m - dice) / size;
        gradient += by[1] * slope * (2.0 * m - sharp_dice) / sharp_size;
        gradient += by[2] / own;
        gradient += by[3] * (1.0 - 2.0 * q - s.doubt / own) / own;
        *into += gradient as f32;
    }
}

fn sums(probability: &[f32], mask: &[f32]) -> Sums {
    let mut s = Sums::default();
    for (&q, &m) in probability.iter().zip(mask) {
        let (q, m) = (f64::from(q), f64::from(m));
        let (sharp, _) = sharpened(q);
        s.segmentation += m;
        s.probability += q;
        s.both += q * m;
        s.sharp += sharp;
        s.both_sharp += sharp * m;
        s.doubt += q * (1.0 - q);
    }
    s
}

/// `q^2 / (q^2 + (1 - q)^2)` and its derivative; the denominator is at least a half.
fn sharpened(q: f64) -> (f64, f64) {
    let (square, rest) = (q * q, (1.0 - q) * (1.0 - q));
    let sum = square + rest;
    (square / sum, 2.0 * q * (1.0 - q) / (sum * sum))
}

/// The probabilities of classes, `[classes, pixels]`, from their logits of the same layout.
pub(crate) fn softmax(logits: &[f32], pixels: usize, into: &mut [f32]) {
    let classes = logits.len() / pixels.max(1);
    for pixel in 0..pixels {
        let at = |class: usize| class * pixels + pixel;
        let highest = (0..classes).map(|class| logits[at(class)]).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for class in 0..classes {
            into[at(class)] = (logits[at(class)] - highest).exp();
            sum += into[at(class)];
        }
        for class in 0..classes {
            into[at(class)] /= sum;
        }
    }
}

/// Turns gradients by probabilities into gradients by logits, in place.
pub(crate) fn softmax_gradient(probability: &[f32], pixels: usize, by: &mut [f32]) {
    let classes = probability.len() / pixels.max(1);
    for pixel in 0..pixels {
        let at = |class: usize| class * pixels + pixel;
        let mean: f32 = (0..classes).map(|class| probability[at(class)] * by[at(class)]).sum();
        for class in 0..classes {
            by[at(class)] = probability[at(class)] * (by[at(class)] - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agreement_of_equal_masks_is_one() {
        let mask = [1.0, 1.0, 0.0, 0.0, 1.0];
        let [dice, sharp, ratio, doubt, _] = statistics(&mask, &mask);
        assert_eq!((dice, sharp, ratio, doubt), (1.0, 1.0, 0.0, 0.0));
        let [dice, ..] = statistics(&[0.0; 5], &mask);
        assert_eq!(dice, 1.0 / 4.0);
    }

    proptest! {
        #[test]
        fn gradients_match_finite_differences(
            logits in prop::collection::vec(-3.0f32..3.0, 12),
            mask in prop::collection::vec(prop::bool::ANY, 6),
            by in prop::collection::vec(-1.0f32..1.0, STATISTICS),
            pixel in 0usize..12,
        ) {
            let mask: Vec<f32> = mask.into_iter().map(|inside| if inside { 1.0 } else { 0.0 }).collect();
            let value = |logits: &[f32]| -> f64 {
                let mut p = [0.0; 12];
                softmax(logits, 6, &mut p);
                statistics(&p[6..], &mask).iter().zip(&by).map(|(&s, &b)| f64::from(s) * f64::from(b)).sum()
            };
            let mut p = [0.0; 12];
            softmax(&logits, 6, &mut p);
            let mut gradient = [0.0; 12];
            add_gradient(&p[6..], &mask, &by, &mut gradient[6..]);
            softmax_gradient(&p, 6, &mut gradient);
            let step = 1e-2;
            let at = |delta: f32| {
                let mut moved = logits.clone();
                moved[pixel] += delta;
                value(&moved)
            };
            let difference = (at(step) - at(-step)) / f64::from(2.0 * step);
            prop_assert!((difference - f64::from(gradient[pixel])).abs() < 2e-3, "{difference} {}", gradient[pixel]);
        }
    }
}
