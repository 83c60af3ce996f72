//! Confusion counts of a prediction and the truth, and overlap scores.

use std::ops::AddAssign;

use ndarray::{ArrayView, Dimension, Zip};
use serde::{Deserialize, Serialize};

use crate::error::{MetricError, same_shape};

/// The value of an overlap score if both masks are empty, so that its formula is 0 / 0.
///
/// There is no default: averages over a data set change with this choice, so whoever averages states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenEmpty {
    /// 1: there was nothing to find, and nothing was predicted.
    One,
    /// 0: a score is earned only if there is something to find.
    Zero,
    /// No value: the functions return [`MetricError::Undefined`], the methods `None`.
    Undefined,
}

/// True and false positives and negatives of a binary prediction.
///
/// Counts of several images add up (`+=`), which pools their pixels: scores of the sum weigh every pixel alike.
/// Pixels that are in no array are counted as an iterator hands them on, each a pair of prediction and truth:
///
/// ```
/// use lesio_metrics::{Confusion, WhenEmpty};
///
/// let (scores, truth) = ([0.9, 0.2, 0.6], [true, true, false]);
/// let counts: Confusion = scores.iter().zip(truth).map(|(&score, truth)| (score >= 0.5, truth)).collect();
/// assert_eq!(counts.dice(WhenEmpty::Undefined), Some(0.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Predicted and true.
    pub true_positives: u64,
    /// Predicted, not true.
    pub false_positives: u64,
    /// True, not predicted.
    pub false_negatives: u64,
    /// Neither predicted nor true.
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts over two masks of one shape, any number of axes. Masks without a pixel give counts of 0.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ.
    pub fn between<'p, 't, D: Dimension>(
        prediction: impl Into<ArrayView<'p, bool, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<Self, MetricError> {
        let (prediction, truth) = (prediction.into(), truth.into());
        same_shape("truth", prediction.shape(), truth.shape())?;
        Ok(Self::count(&prediction, &truth, |&on| on))
    }

    /// Counts over two arrays of one shape, in whatever order is the fastest.
    fn count<D: Dimension, T>(
        prediction: &ArrayView<'_, T, D>,
        truth: &ArrayView<'_, T, D>,
        is_on: impl Fn(&T) -> bool,
    ) -> Self {
        let (mut both, mut predicted, mut positive) = (0u64, 0u64, 0u64);
        Zip::from(prediction).and(truth).for_each(|p, t| {
            let (p, t) = (is_on(p), is_on(t));
            both += u64::from(p && t);
            predicted += u64::from(p);
            positive += u64::from(t);
        });
        Self {
            true_positives: both,
            false_positives: predicted - both,
            false_negatives: positive - both,
            true_negatives: prediction.len() as u64 + both - predicted - positive,
        }
    }

    /// The counts of the same pixels taken several times.
    pub(crate) fn times(self, times: u32) -> Self {
        let times = u64::from(times);
        Self {
            true_positives: times * self.true_positives,
            false_positives: times * self.false_positives,
            false_negatives: times * self.false_negatives,
            true_negatives: times * self.true_negatives,
        }
    }

    /// Dice coefficient, 2 TP / (2 TP + FP + FN), in [0, 1]; symmetric in prediction and truth.
    ///
    /// `None` only when both masks are empty and `when_empty` says [`WhenEmpty::Undefined`]; one empty mask gives 0.
    #[must_use]
    pub fn dice(&self, when_empty: WhenEmpty) -> Option<f64> {
        let sum = 2 * self.true_positives + self.false_positives + self.false_negatives;
        ratio(2 * self.true_positives, sum).or_else(|| when_empty.value())
    }

    /// Jaccard index (intersection over union), TP / (TP + FP + FN); empty masks as for [`Confusion::dice`].
    #[must_use]
    pub fn jaccard(&self, when_empty: WhenEmpty) -> Option<f64> {
        let union = self.true_positives + self.false_positives + self.false_negatives;
        ratio(self.true_positives, union).or_else(|| when_empty.value())
    }

    /// Fraction of the true pixels that were predicted (recall); `None` without true pixels.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Fraction of the other pixels that were not predicted; `None` without such pixels.
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Fraction of the predicted pixels that are true; `None` when nothing was predicted.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }
}

impl AddAssign for Confusion {
    fn add_assign(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
    }
}

impl Extend<(bool, bool)> for Confusion {
    /// Counts further pixels, each a pair of prediction and truth.
    fn extend<I: IntoIterator<Item = (bool, bool)>>(&mut self, pixels: I) {
        pixels.into_iter().for_each(|pixel| match pixel {
            (true, true) => self.true_positives += 1,
            (true, false) => self.false_positives += 1,
            (false, true) => self.false_negatives += 1,
            (false, false) => self.true_negatives += 1,
        });
    }
}

impl FromIterator<(bool, bool)> for Confusion {
    /// Counts pixels, each a pair of prediction and truth.
    fn from_iter<I: IntoIterator<Item = (bool, bool)>>(pixels: I) -> Self {
        let mut counts = Self::default();
        counts.extend(pixels);
        counts
    }
}

impl WhenEmpty {
    fn value(self) -> Option<f64> {
        match self {
            Self::One => Some(1.0),
            Self::Zero => Some(0.0),
            Self::Undefined => None,
        }
    }
}

/// Dice coefficient of two masks of one shape, any number of axes; in [0, 1].
///
/// # Errors
/// [`MetricError::Shape`] when the shapes differ; [`MetricError::Undefined`] when both masks are empty (no pixel is `true`,
/// or there is no pixel) and `when_empty` asks for it.
///
/// ```
/// use lesio_metrics::{WhenEmpty, dice};
/// use ndarray::array;
///
/// let a = array![[true, true], [false, false]];
/// let b = array![[true, false], [true, false]];
/// assert_eq!(dice(&a, &b, WhenEmpty::One)?, 0.5);
/// // Any view will do: here the first columns, and the same from below.
/// assert_eq!(dice(a.column(0), b.slice(ndarray::s![..;-1, 0]), WhenEmpty::One)?, 2.0 / 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dice<'a, 'b, D: Dimension>(
    a: impl Into<ArrayView<'a, bool, D>>,
    b: impl Into<ArrayView<'b, bool, D>>,
    when_empty: WhenEmpty,
) -> Result<f64, MetricError> {
    let undefined = MetricError::Undefined { what: "dice", why: "both masks are empty" };
    Confusion::between(a, b)?.dice(when_empty).ok_or(undefined)
}

/// Jaccard index of two masks of one shape, any number of axes; in [0, 1].
///
/// # Errors
/// As for [`dice`].
pub fn jaccard<'a, 'b, D: Dimension>(
    a: impl Into<ArrayView<'a, bool, D>>,
    b: impl Into<ArrayView<'b, bool, D>>,
    when_empty: WhenEmpty,
) -> Result<f64, MetricError> {
    let undefined = MetricError::Undefined { what: "jaccard", why: "both masks are empty" };
    Confusion::between(a, b)?.jaccard(when_empty).ok_or(undefined)
}

/// Dice coefficient of each label of two label maps of one shape, any number of axes, in the order of `labels`; `None`
/// for a label that neither map holds when `when_empty` is [`WhenEmpty::Undefined`].
///
/// # Errors
/// [`MetricError::Shape`] when the shapes differ.
pub fn dice_per_label<'a, 'b, D: Dimension, L: PartialEq + 'a + 'b>(
    a: impl Into<ArrayView<'a, L, D>>,
    b: impl Into<ArrayView<'b, L, D>>,
    labels: &[L],
    when_empty: WhenEmpty,
) -> Result<Vec<Option<f64>>, MetricError> {
    let (a, b) = (a.into(), b.into());
    same_shape("second label map", a.shape(), b.shape())?;
    let of = |label: &L| Confusion::count(&a, &b, |found| found == label).dice(when_empty);
    Ok(labels.iter().map(of).collect())
}

/// `part / whole`; `None` for 0 / 0.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, array};

    #[test]
    fn both_empty_is_what_the_caller_says() {
        let none = Array3::from_elem((2, 3, 4), false);
        let dice = |policy| dice(none.view(), none.view(), policy);
        assert_eq!(dice(WhenEmpty::One), Ok(1.0));
        assert_eq!(dice(WhenEmpty::Zero), Ok(0.0));
        assert!(matches!(dice(WhenEmpty::Undefined), Err(MetricError::Undefined { .. })));
        // One empty mask is no special case.
        let some = Array3::from_elem((2, 3, 4), true);
        assert_eq!(super::dice(none.view(), some.view(), WhenEmpty::One), Ok(0.0));
    }

    #[test]
    fn labels_are_scored_one_by_one() {
        let a: Array1<u8> = array![0, 1, 1, 2, 2, 2];
        let b: Array1<u8> = array![0, 1, 2, 2, 2, 0];
        let scores = dice_per_label(a.view(), b.view(), &[1, 2, 3], WhenEmpty::Undefined).unwrap();
        assert_eq!(scores, [Some(2.0 / 3.0), Some(4.0 / 6.0), None]);
    }

    #[test]
    fn counts_pool() {
        let a = array![true, true, false, false, false];
        let b = array![true, false, true, true, false];
        let mut sum = Confusion::between(a.view(), b.view()).unwrap();
        let one = Confusion { true_positives: 1, false_positives: 1, false_negatives: 2, true_negatives: 1 };
        assert_eq!(sum, one);
        sum += one;
        assert_eq!(sum.jaccard(WhenEmpty::Zero), Some(2.0 / 8.0));
        assert_eq!(sum.sensitivity(), Some(2.0 / 6.0));
        assert_eq!(sum.specificity(), Some(0.5));
        assert_eq!(sum.precision(), Some(0.5));
    }

    #[test]
    fn pairs_count_as_arrays_do() {
        let (a, b) = ([true, true, false, false, false], [true, false, true, true, false]);
        let mut counts: Confusion = a.into_iter().zip(b).take(2).collect();
        counts.extend(a.into_iter().zip(b).skip(2));
        assert_eq!(Confusion::between(&a, &b), Ok(counts));
        assert_eq!(std::iter::empty().collect::<Confusion>(), Confusion::default());
    }

    #[test]
    fn shapes_must_agree() {
        let (a, b) = (Array1::from_elem(3, true), Array1::from_elem(4, true));
        assert_eq!(
            dice(a.view(), b.view(), WhenEmpty::One),
            Err(MetricError::Shape { what: "truth", expected: vec![3], found: vec![4] })
        );
    }
}
