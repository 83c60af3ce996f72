//! Rules that combine the maps of members.

use lesio_image::Volume;
use lesio_settings::setters;
use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::EnsembleError;
use super::learned::LearnedWeights;
use super::scale::MemberScale;
use crate::calibration::NormalScores;

/// How the members' values at a pixel are combined. Every rule is increasing in every member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EnsembleRule {
    /// Their mean. On the scale of surprise it orders pixels like the product of the upper-tail shares.
    Mean,
    /// The highest.
    Maximum,
    /// Their geometric mean, with values below 0 replaced by 0: it is high only if all members agree.
    Product,
    /// The mean rank among the normal pixels: `-log10` of the members' mean upper-tail share, on any scale. Orders
    /// pixels like their mean rank, without rounding away differences at the top.
    RankAverage,
    /// The mean over groups of the highest in each (Aggarwal and Sathe 2015, "Theoretical foundations and
    /// algorithms for outlier ensembles"). Members form groups in their order, of sizes that differ by one
    /// at most; one group is the maximum, as many as there are members is the mean.
    AverageOfMaximum {
        /// Number of groups, from 1 to the number of members.
        groups: usize,
    },
    /// The mean with weights learned from lesions of a validation set.
    Weighted(LearnedWeights),
}

/// How an ensemble combines its members.
///
/// ```
/// use lesio_anomaly::{EnsembleConfig, EnsembleRule, NormalScoresBuilder};
/// use ndarray::{Array2, array};
///
/// // Two members, one with scores in the thousands.
/// let mut normals = [NormalScoresBuilder::new(), NormalScoresBuilder::new()];
/// normals[0].add((0..1000).map(|k| k as f32 / 1000.0));
/// normals[1].add((0..1000).map(|k| k as f32));
/// let normals: Vec<_> = normals.into_iter().filter_map(NormalScoresBuilder::finish).collect();
///
/// let maps = [array![[0.9, 0.5], [0.1, 1.1]], array![[900.0, 990.0], [100.0, 1100.0]]];
/// let members = [(maps[0].view(), &normals[0]), (maps[1].view(), &normals[1])];
/// let combined: Array2<f32> = EnsembleConfig::new(EnsembleRule::Mean).combine(&members)?;
/// assert!((combined[[0, 0]] - 1.0).abs() < 1e-3); // one normal pixel in ten, for both
/// assert!(combined[[1, 1]] > combined[[0, 0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EnsembleConfig {
    /// The members' common scale. Default [`MemberScale::Surprise`].
    #[serde(default)]
    pub scale: MemberScale,
    /// How the members are combined.
    pub rule: EnsembleRule,
}

/// Pixels in one task: enough to justify a thread.
const CHUNK: usize = 1 << 14;

impl EnsembleConfig {
    /// An ensemble with a rule, on the scale of surprise.
    #[must_use]
    pub fn new(rule: EnsembleRule) -> Self {
        Self { scale: MemberScale::default(), rule }
    }

    /// Combines the maps of members, each with its normal scores of the same stage: raw maps with raw normal scores,
    /// post-processed maps with post-processed ones.
    ///
    /// What is not finite in any map is NaN in the result.
    ///
    /// # Errors
    /// No members, maps of different shapes, or a rule for another number of members.
    pub fn combine<D: Dimension>(
        &self,
        members: &[(ArrayView<'_, f32, D>, &NormalScores)],
    ) -> Result<Array<f32, D>, EnsembleError> {
        let Some((first, _)) = members.first() else { return Err(EnsembleError::NoMembers) };
        for (member, (map, _)) in members.iter().enumerate() {
            if map.shape() != first.shape() {
                let (found, expected) = (map.shape().to_vec(), first.shape().to_vec());
                return Err(EnsembleError::Shape { member, found, expected });
            }
        }
        let maps: Vec<_> = members.iter().map(|(map, _)| map.as_standard_layout()).collect();
        // Standard layout, so every map is one slice.
        let slices: Vec<&[f32]> = maps.iter().map(|map| map.as_slice().unwrap_or(&[])).collect();
        let normals: Vec<&NormalScores> = members.iter().map(|(_, normals)| *normals).collect();
        let combined = self.combine_slices(&slices, &normals)?;
        let shape = || EnsembleError::Shape {
            member: 0,
            found: vec![slices[0].len()],
            expected: first.shape().to_vec(),
        };
        Array::from_shape_vec(first.raw_dim(), combined).map_err(|_| shape())
    }

    /// Like [`EnsembleConfig::combine`], of maps on one grid.
    ///
    /// # Errors
    /// Those of [`EnsembleConfig::combine`]; also [`EnsembleError::Geometry`] for maps with another geometry than the
    /// first.
    pub fn combine_volumes(
        &self,
        members: &[(&Volume<f32>, &NormalScores)],
    ) -> Result<Volume<f32>, EnsembleError> {
        let Some((first, _)) = members.first() else { return Err(EnsembleError::NoMembers) };
        let elsewhere = |(map, _): &(&Volume<f32>, _)| !map.geometry().is_close(first.geometry(), 1e-4);
        if let Some(member) = members.iter().position(elsewhere) {
            return Err(EnsembleError::Geometry { member });
        }
        let views: Vec<_> = members.iter().map(|(map, normals)| (map.data().view(), *normals)).collect();
        Ok(Volume::new(self.combine(&views)?, *first.geometry()))
    }

    /// Combines maps of equal length.
    pub(super) fn combine_slices(
        &self,
        maps: &[&[f32]],
        normals: &[&NormalScores],
    ) -> Result<Vec<f32>, EnsembleError> {
        self.check(maps.len())?;
        let length = maps.first().map_or(0, |map| map.len());
        let mut combined = vec![0.0; length];
        combined.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            let mut values = vec![0.0; maps.len()];
            for (place, out) in out.iter_mut().enumerate() {
                let pixel = chunk * CHUNK + place;
                for ((value, map), normals) in values.iter_mut().zip(maps).zip(normals) {
                    *value = self.scaled(normals, map[pixel]);
                }
                *out = self.rule.of(&values) as f32;
            }
        });
        Ok(combined)
    }

    /// A member's score on the common scale.
    pub(crate) fn scaled(&self, normals: &NormalScores, score: f32) -> f64 {
        match (&self.rule, self.scale) {
            // The surprise at negative infinity would be 0, that of a normal score.
            _ if !score.is_finite() => f64::NAN,
            (EnsembleRule::RankAverage, _) | (_, MemberScale::Surprise) => normals.surprise(score),
            (_, MemberScale::Deviations) => normals.deviations(score),
        }
    }

    /// Returns an error for a number of members that does not fit the rule.
    pub(crate) fn check(&self, members: usize) -> Result<(), EnsembleError> {
        let count = |expected: String| Err(EnsembleError::Count { found: members, expected });
        match &self.rule {
            _ if members == 0 => Err(EnsembleError::NoMembers),
            EnsembleRule::AverageOfMaximum { groups } if !(1..=members).contains(groups) => {
                count(format!("1 or more groups, and at least as many ({groups})"))
            }
            EnsembleRule::Weighted(weights) if weights.weights().len() != members => {
                count(weights.weights().len().to_string())
            }
            EnsembleRule::Weighted(weights) if weights.scale() != self.scale => {
                Err(EnsembleError::Learning {
                    reason: "they were learned on another scale of the members".into(),
                })
            }
            _ => Ok(()),
        }
    }
}

setters!(EnsembleConfig { scale: MemberScale });

impl EnsembleRule {
    /// One value of the members' values, of which there is at least one.
    fn of(&self, values: &[f64]) -> f64 {
        let count = values.len() as f64;
        // `f64::max` would forget a NaN.
        let highest = |values: &[f64]| {
            values.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b.is_nan() || b > a { b } else { a })
        };
        if values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        match self {
            Self::Mean => values.iter().sum::<f64>() / count,
            Self::Maximum => highest(values),
            Self::Product => {
                let log = values.iter().map(|value| value.max(0.0).ln()).sum::<f64>() / count;
                log.exp()
            }
            Self::RankAverage => {
                // 10^-v may underflow if every member is large, so the smallest is factored out.
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let mean = values.iter().map(|value| 10f64.powf(least - value)).sum::<f64>() / count;
                least - mean.log10()
            }
            Self::AverageOfMaximum { groups } => {
                let groups = (*groups).clamp(1, values.len());
                let bounds = |group: usize| group * values.len() / groups;
                let sum: f64 = (0..groups).map(|g| highest(&values[bounds(g)..bounds(g + 1)])).sum();
                sum / groups as f64
            }
            Self::Weighted(weights) => weights.weights().iter().zip(values).map(|(w, v)| w * v).sum(),
        }
    }
}
