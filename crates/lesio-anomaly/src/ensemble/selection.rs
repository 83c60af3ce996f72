//! Greedy selection of an ensemble's members on the lesions of a validation set.

use super::error::EnsembleError;
use super::learned::LearnedWeights;
use super::learning::ValidationLesions;

/// Smallest improvement of the measure for more picks.
const LEAST_GAIN: f64 = 0.001;
/// Most picks: weights are multiples of a sixteenth at the finest.
const MOST_PICKS: usize = 16;
/// Picks without an improvement after which the search ends. A third member first takes weight from the two before it, so
/// an improvement often takes several picks.
const PATIENCE: usize = 4;

impl ValidationLesions {
    /// Selects members greedily (Caruana et al. 2004, "Ensemble selection from libraries of models"): first the one
    /// with the highest `measure`, then repeatedly the one with which the mean has the highest measure, also if that is
    /// lower than before. The search ends after 16 picks, or four picks after the last improvement by at least .001. The
    /// picks up to that improvement are the ensemble. A member may be picked several times; its weight is its share of the
    /// picks. The ensemble is therefore never worse on these pixels than the best single member.
    ///
    /// `measure` takes the scores of all pixels and which of them are abnormal, such as the average precision; it may be NaN,
    /// which is never the highest.
    ///
    /// # Errors
    /// Those of [`ValidationLesions::learn`], where nothing was added, or only lesion or only normal pixels.
    pub fn select(&self, measure: impl Fn(&[f32], &[bool]) -> f64) -> Result<LearnedWeights, EnsembleError> {
        let members = self.members_of_both_classes()?;
        let mut picks = vec![0usize; members];
        let mut kept: Option<(f64, Vec<usize>)> = None;
        let mut since = 0;
        let mut sum = vec![0.0f32; self.truth.len()];
        let mut tried = vec![0.0f32; self.truth.len()];
        for _ in 0..MOST_PICKS {
            let mut found: Option<(usize, f64)> = None;
            for member in 0..members {
                let own = self.values.iter().skip(member).step_by(members);
                tried.iter_mut().zip(&sum).zip(own).for_each(|((tried, sum), own)| *tried = sum + own);
                let reached = measure(&tried, &self.truth);
                if found.map_or(!reached.is_nan(), |(_, best)| reached > best) {
                    found = Some((member, reached));
                }
            }
            let Some((member, reached)) = found else { break };
            picks[member] += 1;
            let own = self.values.iter().skip(member).step_by(members);
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            since += 1;
            if kept.as_ref().is_none_or(|(best, _)| reached >= best + LEAST_GAIN) {
                kept = Some((reached, picks.clone()));
                since = 0;
            }
            if since == PATIENCE {
                break;
            }
        }
        let Some((_, picks)) = kept else {
            let reason = "no member could be measured".to_owned();
            return Err(EnsembleError::Learning { reason });
        };
        let count: usize = picks.iter().sum();
        let weights = picks.into_iter().map(|own| own as f64 / count as f64).collect();
        Ok(LearnedWeights { weights, scale: self.scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::NormalScoresBuilder;
    use crate::ensemble::MemberScale;
    use ndarray::{Array1, ArrayView1};

    /// The share of pairs of a lesion and a normal pixel that are in order.
    fn ordered(scores: &[f32], truth: &[bool]) -> f64 {
        let of =
            |class: bool| scores.iter().zip(truth).filter(move |(_, own)| **own == class).map(|(s, _)| *s);
        let pairs =
            of(true).flat_map(|lesion| of(false).map(move |normal| f64::from(u8::from(lesion > normal))));
        let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), own| (sum + own, count + 1.0));
        sum / count
    }

    fn lesions(maps: &[Array1<f32>], truth: &Array1<bool>) -> ValidationLesions {
        let mut normals = NormalScoresBuilder::new();
        normals.add((0..1000).map(|k| k as f32 / 100.0 - 5.0));
        let normals = normals.finish().unwrap();
        let views: Vec<(ArrayView1<'_, f32>, _)> = maps.iter().map(|map| (map.view(), &normals)).collect();
        let mut lesions = ValidationLesions::new(MemberScale::Deviations);
        lesions.add(&views, truth.view(), None).unwrap();
        lesions
    }

    #[test]
    fn members_that_complete_each_other_are_chosen() {
        let truth = Array1::from_shape_fn(400, |k| k % 4 == 0);
        let noise = |k: usize, by: usize| ((k * by + 17) % 101) as f32 / 101.0;
        // Each of the first two sees half of the lesions; the third sees nothing, the fourth is upside down.
        let sees = |half: usize| {
            Array1::from_shape_fn(400, |k| {
                noise(k, 7 + half) + if k % 4 == 0 && (k / 4) % 2 == half { 1.5 } else { 0.0 }
            })
        };
        let blind = Array1::from_shape_fn(400, |k| noise(k, 31));
        let wrong = sees(0).mapv(|score| -score);
        let weights = lesions(&[sees(0), sees(1), blind, wrong], &truth).select(ordered).unwrap();
        let [first, second, blind, wrong] = weights.weights() else { panic!("{weights:?}") };
        assert!(*first > 0.2 && *second > 0.2 && *blind < 0.3 && *wrong == 0.0, "{weights:?}");
        // One member that is perfect is the ensemble.
        let perfect = truth.mapv(|lesion| if lesion { 3.0 } else { 0.0 });
        let weights = lesions(&[sees(0), perfect], &truth).select(ordered).unwrap();
        assert_eq!(weights.weights(), [0.0, 1.0]);
    }

    /// After two picks of one member each, a third of either is worse; only two more members together are better.
    #[test]
    fn an_improvement_may_take_several_picks() {
        let truth = Array1::from_shape_fn(40, |k| k % 2 == 0);
        let maps: Vec<Array1<f32>> =
            (0..3).map(|own| Array1::from_shape_fn(40, |k| ((k * 7 + own) % 13) as f32 / 10.0)).collect();
        let members = lesions(&maps, &truth);
        // Of the weights of the members, in picks, by the values that the set holds.
        let wanted = |picks: [f32; 3], scores: &[f32]| {
            let sum: f32 = picks.iter().sum();
            let mean = |k: usize| {
                let own = &members.values[k * 3..k * 3 + 3];
                own.iter().zip(picks).map(|(value, pick)| value * pick / sum).sum::<f32>()
            };
            (0..40).all(|k| (scores[k] / sum - mean(k)).abs() < 1e-4)
        };
        let goodness =
            [([1.0, 0.0, 0.0], 0.5), ([1.0, 1.0, 0.0], 0.7), ([1.0, 1.0, 1.0], 0.6), ([1.0, 2.0, 1.0], 0.8)];
        let measure = |scores: &[f32], _: &[bool]| {
            let own = goodness.iter().find(|(picks, _)| wanted(*picks, scores));
            own.map_or(0.0, |(_, value)| *value)
        };
        assert_eq!(members.select(measure).unwrap().weights(), [0.25, 0.5, 0.25]);
    }

    #[test]
    fn what_cannot_choose_is_refused() {
        let map = Array1::from_vec(vec![0.0, 1.0]);
        for truth in [[true, true], [false, false]] {
            let one = lesions(std::slice::from_ref(&map), &Array1::from_vec(truth.to_vec()));
            assert!(matches!(one.select(ordered), Err(EnsembleError::Learning { .. })));
        }
        let one = lesions(std::slice::from_ref(&map), &Array1::from_vec(vec![true, false]));
        assert!(matches!(one.select(|_, _| f64::NAN), Err(EnsembleError::Learning { .. })));
        // The only member is chosen, however bad it is.
        assert_eq!(one.select(ordered).unwrap().weights(), [1.0]);
    }
}
