//! Ranking metrics over pooled pixels: exact at every distinct threshold, ties handled.

use lesio_settings::require;
use ndarray::{ArrayView, Dimension};

use crate::confusion::Confusion;
use crate::error::{MetricError, same_pixels};
use crate::keys::{self, Keys};
use crate::sum::Sum;
use crate::sweep::{Step, steps};
use crate::threshold::ValidationThreshold;

/// Area under the receiver operating characteristic: the probability that a positive scores higher than a
/// negative, ties counting half. In [0, 1].
///
/// `scores` and `truth` are of one shape, any number of axes: slices, arrays or views.
///
/// # Errors
/// As for [`PixelCurve::update`] and [`PixelCurve::rank`].
///
/// ```
/// let scores = [0.1, 0.4, 0.35, 0.8];
/// let truth = [false, false, true, true];
/// assert_eq!(lesio_metrics::auroc(&scores, &truth)?, 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn auroc<'s, 't, D: Dimension>(
    scores: impl Into<ArrayView<'s, f32, D>>,
    truth: impl Into<ArrayView<'t, bool, D>>,
) -> Result<f64, MetricError> {
    rank(scores, truth).map(|ranked| ranked.auroc())
}

/// Average precision: the precision at each distinct score, weighted by the recall gained there. In (0, 1]; about the
/// prevalence for an uninformative score, and exactly the prevalence for a constant one. Arguments as for [`auroc`].
///
/// # Errors
/// As for [`PixelCurve::update`] and [`PixelCurve::rank`].
///
/// ```
/// let scores = [0.5, 0.5, 0.2, 8.3];
/// let truth = [false, true, false, true];
/// let precision = lesio_metrics::average_precision(&scores, &truth)?;
/// assert!((precision - 5.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn average_precision<'s, 't, D: Dimension>(
    scores: impl Into<ArrayView<'s, f32, D>>,
    truth: impl Into<ArrayView<'t, bool, D>>,
) -> Result<f64, MetricError> {
    rank(scores, truth).map(|ranked| ranked.average_precision())
}

fn rank<'s, 't, D: Dimension>(
    scores: impl Into<ArrayView<'s, f32, D>>,
    truth: impl Into<ArrayView<'t, bool, D>>,
) -> Result<RankedPixels, MetricError> {
    let mut pixels = PixelCurve::new();
    pixels.update(scores, truth)?;
    pixels.rank()
}

/// Pixels of any number of images, gathered for [`RankedPixels`].
///
/// Pixels are pooled: each counts alike, whichever image it comes from, and the order of the updates makes no
/// difference. A pixel takes 4 bytes here (and spare capacity, as any vector that grows) and 8 while it is ranked.
///
/// ```
/// use lesio_metrics::PixelCurve;
///
/// let mut pixels = PixelCurve::new();
/// for (map, truth) in [([0.2, 0.9, 0.4], [false, true, false]), ([0.3, 0.1, 0.7], [true, false, false])] {
///     pixels.update(&map, &truth)?;
/// }
/// let ranked = pixels.rank()?;
/// assert_eq!(ranked.auroc(), 0.75);
/// assert_eq!(ranked.ceil_dice().dice, 2.0 / 3.0);
/// assert_eq!(ranked.ceil_dice().threshold, 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PixelCurve {
    keys: Keys,
}

impl PixelCurve {
    /// No pixels yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds pixels: `scores` (higher is more abnormal) and whether each is truly abnormal, of one shape and any number of
    /// axes. Infinite scores rank above and below all others; no pixels add nothing.
    ///
    /// # Errors
    /// [`MetricError::Length`] for slices, and arrays of one axis, of different length; [`MetricError::Shape`] for other
    /// arrays of different shape; [`MetricError::NotANumber`] with the count and the first index in row-major order. Nothing
    /// is added then.
    pub fn update<'s, 't, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<(), MetricError> {
        self.keys.extend(&scores.into(), &truth.into())
    }

    /// Adds the pixels where `within` holds (a head, an object) and no others.
    ///
    /// # Errors
    /// As for [`PixelCurve::update`]; scores outside may be anything, and indices count the pixels within.
    pub fn update_within<'s, 't, 'w, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
    ) -> Result<(), MetricError> {
        let (scores, truth, within) = (scores.into(), truth.into(), within.into());
        same_pixels("truth", scores.shape(), truth.shape())?;
        same_pixels("mask", scores.shape(), within.shape())?;
        let pixels = scores.iter().zip(&truth).zip(&within).filter(|(_, within)| **within);
        self.keys.extend_pixels(pixels.map(|((&score, &truth), _)| (score, truth)))
    }

    /// Adds pixels as an iterator hands them on, each a score and whether it is truly abnormal.
    ///
    /// # Errors
    /// [`MetricError::NotANumber`] with the count and the first index, in the order in which they come; nothing is added
    /// then.
    ///
    /// ```
    /// use lesio_metrics::PixelCurve;
    ///
    /// let mut pixels = PixelCurve::new();
    /// pixels.update_pixels((0..10).map(|i| (i as f32, i > 6)))?;
    /// assert_eq!(pixels.rank()?.auroc(), 1.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_pixels(
        &mut self,
        pixels: impl IntoIterator<Item = (f32, bool)>,
    ) -> Result<(), MetricError> {
        self.keys.extend_pixels(pixels)
    }

    /// Adds the pixels of another accumulator.
    pub fn append(&mut self, other: Self) {
        self.keys.positives.extend(other.keys.positives);
        self.keys.negatives.extend(other.keys.negatives);
    }

    /// Number of positive pixels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.keys.positives.len() as u64
    }

    /// Number of negative pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.keys.negatives.len() as u64
    }

    /// Sorts the pixels, once, for every metric.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] unless there is a positive and a negative.
    pub fn rank(mut self) -> Result<RankedPixels, MetricError> {
        self.keys.sort();
        RankedPixels::new(self.keys)
    }

    /// The pixels, not sorted.
    pub(crate) fn into_keys(self) -> Keys {
        self.keys
    }
}

/// The best Dice that any threshold reaches on these very pixels.
///
/// An upper bound, since the threshold is selected with the truth: never report it as a result of a detector.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct CeilDice {
    /// Dice of pooled pixels, in (0, 1].
    pub dice: f64,
    /// The highest threshold that reaches it: a pixel is positive when its score is `>=` this.
    pub threshold: f32,
}

/// Pooled pixels in order of their scores, with at least one positive and one negative.
///
/// A pixel takes 4 bytes.
#[derive(Clone, Debug)]
pub struct RankedPixels {
    keys: Keys,
    auroc: f64,
    average_precision: f64,
    ceil_dice: CeilDice,
}

impl RankedPixels {
    /// Takes sorted keys.
    pub(crate) fn new(keys: Keys) -> Result<Self, MetricError> {
        let (positives, negatives) = (keys.positives.len() as u64, keys.negatives.len() as u64);
        if positives == 0 || negatives == 0 {
            return Err(MetricError::OneClass { positives, negatives });
        }
        let mut sums = RankSums::new(positives, negatives);
        steps(&keys).for_each(|step| sums.add(&step));
        let Ranks { auroc, average_precision, ceil_dice } = sums.finish();
        Ok(Self { auroc, average_precision, ceil_dice, keys })
    }

    /// Number of positive pixels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.keys.positives.len() as u64
    }

    /// Number of negative pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.keys.negatives.len() as u64
    }

    /// Fraction of positive pixels: the average precision of a constant score.
    #[must_use]
    pub fn prevalence(&self) -> f64 {
        self.positives() as f64 / (self.positives() + self.negatives()) as f64
    }

    /// Area under the receiver operating characteristic, see [`auroc`].
    #[must_use]
    pub fn auroc(&self) -> f64 {
        self.auroc
    }

    /// Average precision, see [`average_precision`].
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        self.average_precision
    }

    /// The best Dice over every distinct score of these pixels, with its threshold.
    #[must_use]
    pub fn ceil_dice(&self) -> CeilDice {
        self.ceil_dice
    }

    /// Dice at a threshold that was selected on validation pixels: applied unchanged, `score >= threshold`. In [0, 1].
    #[must_use]
    pub fn dice_at(&self, threshold: &ValidationThreshold) -> f64 {
        self.dice_of(keys::key(threshold.value()))
    }

    /// Counts at a given threshold, `score >= threshold`.
    ///
    /// # Errors
    /// [`MetricError::Parameter`] when the threshold is not a number.
    pub fn confusion_at(&self, threshold: f32) -> Result<Confusion, MetricError> {
        require(!threshold.is_nan(), "threshold", threshold, "a number")?;
        Ok(self.confusion_of(keys::key(threshold)))
    }

    /// Area under the precision-recall curve by the trapezoid rule, from the artificial point (recall 0, precision 1).
    ///
    /// Only for comparison with tools that report it: it interpolates between points that no threshold reaches, and
    /// differs from
    /// [`RankedPixels::average_precision`].
    #[must_use]
    pub fn trapezoidal_precision_recall_area(&self) -> f64 {
        let mut area = Sum::default();
        for step in steps(&self.keys) {
            // The curve rises from its last point above this score, which negatives alone may have set.
            let above = step.positives_above + step.negatives_above;
            let left = if above == 0 { 1.0 } else { step.positives_above as f64 / above as f64 };
            let found = step.true_positives();
            let right = found as f64 / (found + step.false_positives()) as f64;
            area.add(step.positives_tied as f64 * 0.5 * (left + right));
        }
        area.value() / self.positives() as f64
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn dice_of(&self, key: u32) -> f64 {
        let Confusion { true_positives, false_positives, .. } = self.confusion_of(key);
        2.0 * true_positives as f64 / (true_positives + false_positives + self.positives()) as f64
    }

    fn confusion_of(&self, key: u32) -> Confusion {
        let below = |sorted: &[u32]| sorted.partition_point(|&k| k < key) as u64;
        let (false_negatives, true_negatives) = (below(&self.keys.positives), below(&self.keys.negatives));
        Confusion {
            true_positives: self.positives() - false_negatives,
            false_positives: self.negatives() - true_negatives,
            false_negatives,
            true_negatives,
        }
    }
}

/// What the sweep through all scores comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranks {
    pub(crate) auroc: f64,
    pub(crate) average_precision: f64,
    pub(crate) ceil_dice: CeilDice,
}

/// Gathers [`Ranks`] as the threshold comes down; the same steps give the same bits, wherever they come from.
#[derive(Clone, Debug)]
pub(crate) struct RankSums {
    positives: u64,
    negatives: u64,
    /// Twice the Mann-Whitney statistic, so that half a tie is an integer: exact until the division.
    twice_wins: u128,
    precision: Sum,
    ceil_dice: CeilDice,
}

impl RankSums {
    /// Of so many pixels of each class, of which there is at least one.
    pub(crate) fn new(positives: u64, negatives: u64) -> Self {
        let ceil_dice = CeilDice { dice: 0.0, threshold: f32::INFINITY };
        Self { positives, negatives, twice_wins: 0, precision: Sum::default(), ceil_dice }
    }

    pub(crate) fn add(&mut self, step: &Step) {
        let below = self.negatives - step.false_positives();
        self.twice_wins += u128::from(step.positives_tied) * u128::from(2 * below + step.negatives_tied);
        let predicted = (step.true_positives() + step.false_positives()) as f64;
        let found = step.true_positives() as f64;
        self.precision.add(step.positives_tied as f64 * (found / predicted));
        // F1 has many peaks, so every distinct score is tried; those that only negatives hold cannot win.
        let dice = 2.0 * found / (predicted + self.positives as f64);
        if dice > self.ceil_dice.dice {
            self.ceil_dice = CeilDice { dice, threshold: keys::score(step.key) };
        }
    }

    pub(crate) fn finish(self) -> Ranks {
        let (positives, negatives) = (self.positives as f64, self.negatives as f64);
        Ranks {
            auroc: self.twice_wins as f64 / (2.0 * positives * negatives),
            average_precision: (self.precision.value() / positives).min(1.0),
            ceil_dice: self.ceil_dice,
        }
    }
}
