//! Ensembles: the scores of several predictors, models or seeds as one.

use std::sync::Arc;

use lesio_image::Volume;
use lesio_nn::ImageBatch;
use lesio_vae::Wanted;
use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibration::{NormalScores, NormalScoresBuilder};
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::shared::SharedPass;
use crate::weights::LearntWeights;

/// The common scale on which members are combined. Raw scores of one member may be nats, of another
/// pixel values; what normal pixels score makes them comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemberScale {
    /// `-log10` of the share of normal pixels that score as high ([`NormalScores::surprise`]), whatever
    /// their distribution: at least 0. The default.
    #[default]
    Surprise,
    /// Standard deviations above the mean of the normal pixels ([`NormalScores::deviations`]): keeps
    /// differences below the usual too.
    Deviations,
}

/// How the members' values at a pixel become one. Every rule is increasing in every member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EnsembleRule {
    /// Their mean. On the scale of surprise it orders pixels as the product of the shares does.
    Mean,
    /// The highest.
    Maximum,
    /// Their geometric mean, values below 0 being taken as 0: all members must agree.
    Product,
    /// By the mean rank among the normal pixels: `-log10` of the members' mean upper-tail share, whatever the
    /// scale. Orders pixels as their mean rank does, without losing the differences at the top to rounding.
    RankAverage,
    /// The mean over groups of the highest in each (Aggarwal and Sathe 2015, "Theoretical foundations and
    /// algorithms for outlier ensembles"). Members form groups in their order, of sizes that differ by one
    /// at most; one group is the maximum, as many as there are members is the mean.
    AverageOfMaximum {
        /// Number of groups, from 1 to the number of members.
        groups: usize,
    },
    /// The mean with weights that lesions of a validation set have taught.
    Weighted(LearntWeights),
}

/// How an ensemble combines its members.
///
/// ```
/// use lesio_anomaly::{EnsembleConfig, EnsembleRule, NormalScoresBuilder};
/// use ndarray::{Array2, array};
///
/// // Two members, one of which counts in thousands.
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

/// Why members cannot be combined.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// An ensemble without members.
    #[error("an ensemble needs at least one member")]
    NoMembers,
    /// The rule is made for another number of members.
    #[error("the rule needs {expected} members, there are {found}")]
    Count {
        /// Number of members.
        found: usize,
        /// What the rule needs.
        expected: String,
    },
    /// A member's map has another shape than the first one's.
    #[error("the map of member {member} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The member, counted from 0.
        member: usize,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of the first.
        expected: Vec<usize>,
    },
    /// A member's map lies elsewhere than the first one's.
    #[error("the map of member {member} has another geometry than the first")]
    Geometry {
        /// The member, counted from 0.
        member: usize,
    },
    /// A member's normal subjects were not scored, or have no pixel.
    #[error("member {member} has no normal scores")]
    NotCalibrated {
        /// The member, counted from 0.
        member: usize,
    },
    /// Weights cannot be learnt from these pixels.
    #[error("weights cannot be learnt: {reason}")]
    Learning {
        /// Why.
        reason: String,
    },
}

/// Pixels computed at once: enough for a thread to be worth it.
const CHUNK: usize = 1 << 14;

impl EnsembleConfig {
    /// An ensemble by a rule, on the scale of surprise.
    #[must_use]
    pub fn new(rule: EnsembleRule) -> Self {
        Self { scale: MemberScale::default(), rule }
    }

    /// With another scale of the members.
    #[must_use]
    pub fn scale(mut self, scale: MemberScale) -> Self {
        self.scale = scale;
        self
    }

    /// Combines the maps of members, each with what its normal pixels score at the same stage: raw maps
    /// with raw normal scores, post-processed maps with post-processed ones.
    ///
    /// NaN in any map is NaN in the result.
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

    /// As [`EnsembleConfig::combine`], of maps on one grid.
    ///
    /// # Errors
    /// As there; also [`EnsembleError::Geometry`] for maps that lie elsewhere than the first.
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
    fn combine_slices(&self, maps: &[&[f32]], normals: &[&NormalScores]) -> Result<Vec<f32>, EnsembleError> {
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
            _ if score.is_nan() => f64::NAN,
            (EnsembleRule::RankAverage, _) | (_, MemberScale::Surprise) => normals.surprise(score),
            (_, MemberScale::Deviations) => normals.deviations(score),
        }
    }

    /// Refuses a number of members that the rule is not made for.
    fn check(&self, members: usize) -> Result<(), EnsembleError> {
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
                    reason: "they were learnt on another scale of the members".into(),
                })
            }
            _ => Ok(()),
        }
    }
}

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
                // 10^-v may underflow where every member is far out: the least is taken out first.
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

/// A predictor and what it says of normal images.
#[derive(Clone)]
struct Member {
    predictor: Arc<dyn Predictor>,
    normals: NormalScores,
}

/// Several predictors as one, on the network's grid: of one model or of several that see the same images.
///
/// To combine maps after post-processing, on the images' own grids, use [`EnsembleConfig::combine_volumes`].
pub struct Ensemble {
    members: Vec<Member>,
    config: EnsembleConfig,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.members.iter().map(|member| member.predictor.name()).collect();
        f.debug_struct("Ensemble").field("members", &names).field("config", &self.config).finish()
    }
}

impl Ensemble {
    /// An ensemble of predictors, each with its raw scores of normal pixels.
    ///
    /// # Errors
    /// No members, or a rule for another number of them.
    pub fn new(
        members: Vec<(Arc<dyn Predictor>, NormalScores)>,
        config: EnsembleConfig,
    ) -> Result<Self, EnsembleError> {
        config.check(members.len())?;
        let members = members.into_iter().map(|(predictor, normals)| Member { predictor, normals }).collect();
        Ok(Self { members, config })
    }

    /// An ensemble calibrated on normal subjects, each a batch of images `[n, c, h, w]` that no member was
    /// trained on; every pixel counts.
    ///
    /// # Errors
    /// What a member reports, no members, no pixels, or a rule for another number of members.
    pub fn calibrate<'a>(
        predictors: Vec<Arc<dyn Predictor>>,
        subjects: impl IntoIterator<Item = ImageBatch<'a>>,
        config: EnsembleConfig,
    ) -> Result<Self, PredictError> {
        config.check(predictors.len())?;
        let mut builders = vec![NormalScoresBuilder::new(); predictors.len()];
        let wanted = predictors.iter().fold(Wanted::NOTHING, |all, one| all.union(one.wants()));
        for images in subjects {
            let pass = SharedPass::new(images, wanted);
            for (builder, predictor) in builders.iter_mut().zip(&predictors) {
                builder.add(predictor.score_shared(&pass)?);
            }
        }
        let mut members = Vec::with_capacity(predictors.len());
        for (member, (predictor, builder)) in predictors.into_iter().zip(builders).enumerate() {
            let normals = builder.finish().ok_or(EnsembleError::NotCalibrated { member })?;
            members.push((predictor, normals));
        }
        Ok(Self::new(members, config)?)
    }

    /// How the members are combined.
    #[must_use]
    pub fn config(&self) -> &EnsembleConfig {
        &self.config
    }
}

impl Predictor for Ensemble {
    fn name(&self) -> String {
        "ensemble".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, self.wants()))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let expected = pass.images().len() * pass.images().shape().pixels();
        let mut maps = Vec::with_capacity(self.members.len());
        for (member, own) in self.members.iter().enumerate() {
            let map = own.predictor.score_shared(pass)?;
            if map.len() != expected {
                let (found, expected) = (vec![map.len()], vec![expected]);
                return Err(EnsembleError::Shape { member, found, expected }.into());
            }
            maps.push(map);
        }
        let slices: Vec<&[f32]> = maps.iter().map(Vec::as_slice).collect();
        let normals: Vec<&NormalScores> = self.members.iter().map(|member| &member.normals).collect();
        Ok(self.config.combine_slices(&slices, &normals)?)
    }

    fn wants(&self) -> Wanted {
        self.members.iter().fold(Wanted::NOTHING, |all, member| all.union(member.predictor.wants()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, arr1};

    /// Normal scores that are spread evenly over 0 to `top`.
    fn even(top: f32) -> NormalScores {
        let mut builder = NormalScoresBuilder::new();
        builder.add((0..10_000).map(|k| k as f32 / 10_000.0 * top));
        builder.finish().unwrap()
    }

    fn combined(rule: EnsembleRule, values: [f32; 4]) -> f32 {
        let normals = even(1.0);
        let maps = values.map(|value| arr1(&[value]));
        let members: Vec<_> = maps.iter().map(|map| (map.view(), &normals)).collect();
        EnsembleConfig::new(rule).combine(&members).unwrap()[0]
    }

    #[test]
    fn rules_are_what_they_say() {
        // Upper-tail shares of .1, .01, .5 and .1: surprises of 1, 2, .301 and 1.
        let values = [0.9, 0.99, 0.5, 0.9];
        let close = |found: f32, expected: f64| {
            assert!((f64::from(found) - expected).abs() < 2e-3, "{found}, expected {expected}");
        };
        let half = 2f64.log10();
        close(combined(EnsembleRule::Mean, values), (4.0 + half) / 4.0);
        close(combined(EnsembleRule::Maximum, values), 2.0);
        close(combined(EnsembleRule::Product, values), (2.0 * half).powf(0.25));
        close(combined(EnsembleRule::RankAverage, values), -(0.71f64 / 4.0).log10());
        close(combined(EnsembleRule::AverageOfMaximum { groups: 1 }, values), 2.0);
        close(combined(EnsembleRule::AverageOfMaximum { groups: 2 }, values), 1.5);
        close(combined(EnsembleRule::AverageOfMaximum { groups: 3 }, values), (1.0 + 2.0 + 1.0) / 3.0);
        close(combined(EnsembleRule::AverageOfMaximum { groups: 4 }, values), (4.0 + half) / 4.0);
    }

    #[test]
    fn every_rule_grows_with_every_member() {
        let rules = [
            EnsembleRule::Mean,
            EnsembleRule::Maximum,
            EnsembleRule::Product,
            EnsembleRule::RankAverage,
            EnsembleRule::AverageOfMaximum { groups: 2 },
        ];
        let steps: Vec<f32> = (0..60).map(|k| k as f32 * 0.03).collect();
        for rule in rules {
            for member in 0..4 {
                let mut before = f32::NEG_INFINITY;
                for &step in &steps {
                    let mut values = [0.3, 0.8, 0.6, 0.999];
                    values[member] = step;
                    let value = combined(rule.clone(), values);
                    assert!(value.is_finite() && value >= before - 1e-6, "{rule:?} {member} {step}");
                    before = value;
                }
            }
        }
    }

    /// Members that measure in other units say the same.
    #[test]
    fn units_do_not_matter() {
        let (small, large) = (even(1.0), even(1000.0));
        let map = Array1::from_iter((0..50).map(|k| k as f32 / 40.0));
        for scale in [MemberScale::Surprise, MemberScale::Deviations] {
            let config = EnsembleConfig::new(EnsembleRule::Mean).scale(scale);
            let one = config.combine(&[(map.view(), &small)]).unwrap();
            let scaled = map.mapv(|value| value * 1000.0);
            let both = config.combine(&[(map.view(), &small), (scaled.view(), &large)]).unwrap();
            for (one, both) in one.iter().zip(&both) {
                assert!((one - both).abs() < 1e-3 * one.abs().max(1.0), "{scale:?}: {one} {both}");
            }
        }
    }

    #[test]
    fn extreme_scores_stay_finite_and_apart() {
        for rule in [EnsembleRule::Mean, EnsembleRule::RankAverage, EnsembleRule::Product] {
            let (far, farther) = (combined(rule.clone(), [1e4; 4]), combined(rule, [2e4; 4]));
            assert!(far.is_finite() && farther > far);
        }
        assert!(combined(EnsembleRule::Maximum, [0.5, f32::NAN, 0.2, 0.1]).is_nan());
        assert!(combined(EnsembleRule::Maximum, [f32::NAN, 0.5, 0.2, 0.1]).is_nan());
    }

    #[test]
    fn misfits_are_named() {
        let normals = even(1.0);
        let (a, b) = (Array3::<f32>::zeros((2, 3, 4)), Array3::<f32>::zeros((2, 4, 3)));
        let mean = EnsembleConfig::new(EnsembleRule::Mean);
        let none: [(ArrayView<'_, f32, ndarray::Ix3>, &NormalScores); 0] = [];
        assert_eq!(mean.combine(&none), Err(EnsembleError::NoMembers));
        let shapes = mean.combine(&[(a.view(), &normals), (b.view(), &normals)]);
        assert!(matches!(shapes, Err(EnsembleError::Shape { member: 1, .. })));
        let grouped = EnsembleConfig::new(EnsembleRule::AverageOfMaximum { groups: 3 });
        let counted = grouped.combine(&[(a.view(), &normals), (a.view(), &normals)]);
        assert!(matches!(counted, Err(EnsembleError::Count { found: 2, .. })));
        let there = lesio_image::Geometry::from_spacing([1.0, 1.0, 2.0]).unwrap();
        let volumes = [Volume::new(a.clone(), lesio_image::Geometry::default()), Volume::new(a, there)];
        let elsewhere = mean.combine_volumes(&[(&volumes[0], &normals), (&volumes[1], &normals)]);
        assert_eq!(elsewhere, Err(EnsembleError::Geometry { member: 1 }));
    }

    /// Layout in memory does not matter: maps of volumes may be stored in either order.
    #[test]
    fn transposed_maps_combine_by_place() {
        let normals = even(12.0);
        let a = Array3::from_shape_fn((2, 3, 2), |(i, j, k)| (i * 6 + j * 2 + k) as f32);
        let mut b = Array3::zeros((2, 3, 2).f());
        b.assign(&a);
        use ndarray::ShapeBuilder;
        let config = EnsembleConfig::new(EnsembleRule::Mean);
        let one = config.combine(&[(a.view(), &normals)]).unwrap();
        assert_eq!(config.combine(&[(a.view(), &normals), (b.view(), &normals)]).unwrap(), one);
    }
}
