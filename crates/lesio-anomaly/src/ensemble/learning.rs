//! Weights of an ensemble's members, learned from the lesions of a validation set.

use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;

use super::error::EnsembleError;
use super::learned::LearnedWeights;
use super::rule::{EnsembleConfig, EnsembleRule};
use super::scale::MemberScale;
use crate::calibration::NormalScores;

/// Pixels of a validation set with known lesions, from which weights are learned.
///
/// ```
/// use lesio_anomaly::{EnsembleConfig, EnsembleRule, MemberScale, NormalScoresBuilder, ValidationLesions};
/// use ndarray::{Array1, array};
///
/// let mut normals = NormalScoresBuilder::new();
/// normals.add((0..100).map(|k| k as f32));
/// let normals = normals.finish().ok_or("no subject")?;
///
/// // The first member sees the lesion, the second does not.
/// let truth = array![false, false, true, true, false, true];
/// let seeing = array![10.0, 85.0, 90.0, 99.0, 20.0, 80.0];
/// let blind = array![10.0, 50.0, 50.0, 20.0, 60.0, 40.0];
/// let mut lesions = ValidationLesions::new(MemberScale::Surprise);
/// lesions.add(&[(seeing.view(), &normals), (blind.view(), &normals)], truth.view(), None)?;
/// let weights = lesions.learn()?;
/// assert!(weights.weights()[0] > 0.9);
///
/// let ensemble = EnsembleConfig::new(EnsembleRule::Weighted(weights));
/// let map: Array1<f32> = ensemble.combine(&[(seeing.view(), &normals), (blind.view(), &normals)])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ValidationLesions {
    pub(super) scale: MemberScale,
    members: Option<usize>,
    /// The members' values on their common scale, pixel after pixel.
    pub(super) values: Vec<f32>,
    pub(super) truth: Vec<bool>,
}

impl ValidationLesions {
    /// A set without pixels, for members on this scale.
    #[must_use]
    pub fn new(scale: MemberScale) -> Self {
        Self { scale, members: None, values: Vec::new(), truth: Vec::new() }
    }

    /// Whether it has no lesion pixel: then nothing can be learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.truth.contains(&true)
    }

    /// Adds a validation subject: its maps by member, each with the scores of normal pixels, its truth, and the pixels
    /// that count (all of them without `within`). Pixels at which a map is not finite are left out.
    ///
    /// # Errors
    /// No members or another number of them than before, and shapes that differ.
    pub fn add<D: Dimension>(
        &mut self,
        maps: &[(ArrayView<'_, f32, D>, &NormalScores)],
        truth: ArrayView<'_, bool, D>,
        within: Option<ArrayView<'_, bool, D>>,
    ) -> Result<(), EnsembleError> {
        if maps.is_empty() {
            return Err(EnsembleError::NoMembers);
        }
        let members = *self.members.get_or_insert(maps.len());
        if members != maps.len() {
            return Err(EnsembleError::Count { found: maps.len(), expected: members.to_string() });
        }
        let shapes =
            maps.iter().map(|(map, _)| map.shape()).chain(within.iter().map(|within| within.shape()));
        for (member, shape) in shapes.enumerate() {
            if shape != truth.shape() {
                let (found, expected) = (shape.to_vec(), truth.shape().to_vec());
                return Err(EnsembleError::Shape { member, found, expected });
            }
        }
        let config = EnsembleConfig::new(EnsembleRule::Mean).scale(self.scale);
        let mut cursors: Vec<_> = maps.iter().map(|(map, normals)| (map.iter(), *normals)).collect();
        let mut counts = within.iter().flatten();
        for &abnormal in &truth {
            let counted = within.is_none() || counts.next().copied().unwrap_or(false);
            let before = self.values.len();
            for (scores, normals) in &mut cursors {
                let score = scores.next().copied().unwrap_or(f32::NAN);
                self.values.push(if counted { config.scaled(normals, score) as f32 } else { f32::NAN });
            }
            if self.values[before..].iter().all(|value| value.is_finite()) {
                self.truth.push(abnormal);
            } else {
                self.values.truncate(before);
            }
        }
        Ok(())
    }

    /// Learns the weights: a logistic regression of the truth on the members' values, with weights of at
    /// least 0 (so that the ensemble grows with every member) and an intercept, by projected Newton steps
    /// (Bertsekas 1982). Steps are damped by a thousandth of the curvature, so that equal members
    /// share their weight. The same pixels in the same order give the same weights on any number of
    /// threads.
    ///
    /// # Errors
    /// [`EnsembleError::Learning`] if there are no lesion pixels or no normal pixels, or if no member scores lesions
    /// higher.
    pub fn learn(&self) -> Result<LearnedWeights, EnsembleError> {
        let members = self.members_of_both_classes()?;
        let lesions = self.truth.iter().filter(|&&abnormal| abnormal).count();
        let mut coefficients = vec![0.0; members + 1];
        let rate = lesions as f64 / self.truth.len() as f64;
        coefficients[members] = (rate / (1.0 - rate)).ln();
        let mut fit = self.fit_of(&coefficients);
        for _ in 0..STEPS {
            let direction = newton_direction(&fit, &coefficients);
            let mut length = 1.0;
            let improved = loop {
                let mut tried: Vec<f64> =
                    coefficients.iter().zip(&direction).map(|(c, d)| c - length * d).collect();
                tried[..members].iter_mut().for_each(|weight| *weight = weight.max(0.0));
                let own = self.fit_of(&tried);
                if own.loss < fit.loss {
                    break Some((tried, own));
                }
                length *= 0.5;
                if length < 1e-6 {
                    break None;
                }
            };
            let Some((tried, own)) = improved else { break };
            let gain = fit.loss - own.loss;
            (coefficients, fit) = (tried, own);
            if gain < 1e-9 {
                break;
            }
        }
        coefficients.truncate(members);
        let sum: f64 = coefficients.iter().sum();
        if !(sum > 0.0 && sum.is_finite()) {
            let reason = "no member scores lesions higher than the rest".to_owned();
            return Err(EnsembleError::Learning { reason });
        }
        let weights = coefficients.into_iter().map(|weight| weight / sum).collect();
        Ok(LearnedWeights { weights, scale: self.scale })
    }

    /// The number of members, if there are lesion and normal pixels.
    pub(super) fn members_of_both_classes(&self) -> Result<usize, EnsembleError> {
        let members = self.members.ok_or(EnsembleError::NoMembers)?;
        let missing = [(true, "no lesion pixel was added"), (false, "no normal pixel was added")];
        match missing.into_iter().find(|(class, _)| !self.truth.contains(class)) {
            Some((_, reason)) => Err(EnsembleError::Learning { reason: reason.to_owned() }),
            None => Ok(members),
        }
    }

    /// Mean logistic loss with its gradient and curvature, computed in fixed blocks of pixels.
    fn fit_of(&self, coefficients: &[f64]) -> Fit {
        let size = coefficients.len();
        let members = size - 1;
        let parts: Vec<Fit> = (self.truth.par_chunks(PART))
            .zip(self.values.par_chunks(PART * members))
            .map(|(truth, values)| {
                let mut fit = Fit::zero(size);
                let mut row = vec![1.0; size];
                for (&abnormal, values) in truth.iter().zip(values.chunks_exact(members)) {
                    row.iter_mut().zip(values).for_each(|(row, &value)| *row = f64::from(value));
                    fit.add(&row, abnormal, coefficients);
                }
                fit
            })
            .collect();
        let mut sum = Fit::zero(size);
        for part in &parts {
            sum.loss += part.loss;
            sum.gradient.iter_mut().zip(&part.gradient).for_each(|(sum, part)| *sum += part);
            sum.curvature.iter_mut().zip(&part.curvature).for_each(|(sum, part)| *sum += part);
        }
        sum.scale(1.0 / self.truth.len() as f64);
        sum
    }
}

/// Pixels summed at once.
const PART: usize = 1 << 15;

/// Most Newton steps: a dozen suffice.
const STEPS: usize = 50;

/// Damping as a share of a coefficient's own curvature.
const DAMPING: f64 = 1e-3;

/// A logistic loss, its gradient and its matrix of second derivatives, row-major.
struct Fit {
    loss: f64,
    gradient: Vec<f64>,
    curvature: Vec<f64>,
}

impl Fit {
    fn zero(size: usize) -> Self {
        Self { loss: 0.0, gradient: vec![0.0; size], curvature: vec![0.0; size * size] }
    }

    fn add(&mut self, row: &[f64], abnormal: bool, coefficients: &[f64]) {
        let logit: f64 = row.iter().zip(coefficients).map(|(value, c)| value * c).sum();
        let probability = 0.5 * ((0.5 * logit).tanh() + 1.0);
        let truth = f64::from(u8::from(abnormal));
        self.loss += logit.max(0.0) + (-logit.abs()).exp().ln_1p() - truth * logit;
        let weight = probability * (1.0 - probability);
        for (i, &a) in row.iter().enumerate() {
            self.gradient[i] += (probability - truth) * a;
            for (j, &b) in row.iter().enumerate().take(i + 1) {
                self.curvature[i * row.len() + j] += weight * a * b;
            }
        }
    }

    fn scale(&mut self, factor: f64) {
        self.loss *= factor;
        self.gradient.iter_mut().chain(&mut self.curvature).for_each(|value| *value *= factor);
    }
}

/// The Newton direction in the free coefficients: weights at 0 stay there if the gradient would make them negative. The
/// last coefficient, the intercept, is always free.
fn newton_direction(fit: &Fit, coefficients: &[f64]) -> Vec<f64> {
    let size = coefficients.len();
    let free: Vec<usize> =
        (0..size).filter(|&k| k + 1 == size || coefficients[k] > 0.0 || fit.gradient[k] < 0.0).collect();
    // Cholesky factor of the free part, and the two triangular systems.
    let count = free.len();
    let mut factor = vec![0.0; count * count];
    for i in 0..count {
        for j in 0..=i {
            let mut sum = fit.curvature[free[i] * size + free[j]];
            if i == j {
                sum += DAMPING * sum + f64::MIN_POSITIVE.sqrt();
            }
            sum -= (0..j).map(|k| factor[i * count + k] * factor[j * count + k]).sum::<f64>();
            factor[i * count + j] = if i == j { sum.max(1e-12).sqrt() } else { sum / factor[j * count + j] };
        }
    }
    let mut solved: Vec<f64> = free.iter().map(|&k| fit.gradient[k]).collect();
    for i in 0..count {
        let known: f64 = (0..i).map(|k| factor[i * count + k] * solved[k]).sum();
        solved[i] = (solved[i] - known) / factor[i * count + i];
    }
    for i in (0..count).rev() {
        let known: f64 = (i + 1..count).map(|k| factor[k * count + i] * solved[k]).sum();
        solved[i] = (solved[i] - known) / factor[i * count + i];
    }
    let mut direction = vec![0.0; size];
    free.iter().zip(solved).for_each(|(&k, value)| direction[k] = value);
    direction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::NormalScoresBuilder;
    use lesio_nn::random;
    use ndarray::{Array1, arr1};

    fn draws(stream: u64, count: usize) -> Array1<f32> {
        let mut values = vec![0.0; count];
        random::fill_normal(&mut random::generator(3, stream), &mut values);
        Array1::from_vec(values)
    }

    fn standard() -> NormalScores {
        let mut builder = NormalScoresBuilder::new();
        builder.add(draws(9, 100_000));
        builder.finish().unwrap()
    }

    /// Pixels of which one in ten is abnormal and shifted by a number of deviations in each member.
    fn lesions(shifts: &[f32], pixels: usize) -> ValidationLesions {
        let normals = standard();
        let truth = Array1::from_shape_fn(pixels, |k| k % 10 == 0);
        let maps: Vec<Array1<f32>> = shifts
            .iter()
            .enumerate()
            .map(|(member, &shift)| {
                let mut map = draws(member as u64, pixels);
                map.iter_mut().zip(&truth).for_each(|(v, &t)| *v += if t { shift } else { 0.0 });
                map
            })
            .collect();
        let members: Vec<_> = maps.iter().map(|map| (map.view(), &normals)).collect();
        let mut lesions = ValidationLesions::new(MemberScale::Deviations);
        lesions.add(&members, truth.view(), None).unwrap();
        lesions
    }

    /// For normal classes of equal variance the best linear weights are the shifts themselves.
    #[test]
    fn weights_are_those_of_the_linear_discriminant() {
        let weights = lesions(&[1.0, 2.0, 0.0, -1.0], 60_000).learn().unwrap();
        let expected = [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0];
        for (found, expected) in weights.weights().iter().zip(expected) {
            assert!((found - expected).abs() < 0.02, "{:?}", weights.weights());
        }
        // The member that is lower in lesions is held at 0, not turned around.
        assert_eq!(weights.weights()[3], 0.0);
    }

    #[test]
    fn gradient_and_curvature_are_derivatives() {
        let lesions = lesions(&[0.7, 0.3], 500);
        let at = [0.4, 1.1, -0.6];
        let fit = lesions.fit_of(&at);
        for k in 0..3 {
            let moved = |delta: f64| {
                let mut at = at;
                at[k] += delta;
                lesions.fit_of(&at)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            assert!((fit.gradient[k] - (up.loss - down.loss) / 2e-5).abs() < 1e-8);
            for j in 0..=k {
                let second = (up.gradient[j] - down.gradient[j]) / 2e-5;
                assert!((fit.curvature[k * 3 + j] - second).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn perfect_members_do_not_run_away() {
        let normals = standard();
        let truth = arr1(&[false, false, true, true]);
        let map = arr1(&[0.0, 0.1, 3.0, 3.1]);
        let mut lesions = ValidationLesions::new(MemberScale::Surprise);
        lesions.add(&[(map.view(), &normals), (map.view(), &normals)], truth.view(), None).unwrap();
        let weights = lesions.learn().unwrap();
        assert!(weights.weights().iter().all(|weight| (weight - 0.5).abs() < 1e-6));
    }

    #[test]
    fn what_cannot_teach_is_refused() {
        let normals = standard();
        let map = arr1(&[0.0, 1.0, 2.0]);
        let new = || ValidationLesions::new(MemberScale::Surprise);
        assert_eq!(new().learn(), Err(EnsembleError::NoMembers));
        for truth in [[false; 3], [true; 3]] {
            let mut lesions = new();
            lesions.add(&[(map.view(), &normals)], arr1(&truth).view(), None).unwrap();
            assert!(matches!(lesions.learn(), Err(EnsembleError::Learning { .. })));
        }
        let mut lower = new();
        lower.add(&[(map.view(), &normals)], arr1(&[true, false, false]).view(), None).unwrap();
        assert!(matches!(lower.learn(), Err(EnsembleError::Learning { .. })));
        let misfit = new().add(&[(map.view(), &normals)], arr1(&[true]).view(), None);
        assert!(matches!(misfit, Err(EnsembleError::Shape { .. })));
    }

    #[test]
    fn pixels_outside_are_left_out() {
        let normals = standard();
        let map = arr1(&[0.0, 1.0, 2.0, f32::NAN]);
        let (truth, within) = (arr1(&[true, false, true, true]), arr1(&[false, true, true, true]));
        let mut lesions = ValidationLesions::new(MemberScale::Surprise);
        lesions.add(&[(map.view(), &normals)], truth.view(), Some(within.view())).unwrap();
        assert_eq!(lesions.truth, [false, true]);
        assert_eq!(lesions.learn().unwrap().weights(), [1.0]);
    }

    #[test]
    fn weights_from_a_file_are_checked() {
        let weights = lesions(&[1.0, 1.0], 1000).learn().unwrap();
        let json = serde_json::to_string(&weights).unwrap();
        assert_eq!(serde_json::from_str::<LearnedWeights>(&json).unwrap(), weights);
        let broken = r#"{"weights": [0.5, 0.6], "scale": "surprise"}"#;
        assert!(serde_json::from_str::<LearnedWeights>(broken).is_err());
    }
}
