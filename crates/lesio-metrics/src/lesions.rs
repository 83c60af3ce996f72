//! Lesion-wise detection: found and missed lesions, and false alarms.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;

use lesio_grid::Connectivity;
use lesio_settings::{field_defaults, require};
use ndarray::{ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::confusion::ratio;
use crate::error::{MetricError, same_shape};
use crate::volumes::{Regions, volume};

/// When a predicted region matches a true lesion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OverlapRule {
    /// They share a voxel.
    AnyVoxel,
    /// Their intersection over union is greater than this, in [0, 1). Above one half no region meets two lesions.
    IntersectionOverUnion(f64),
}

/// How predicted regions and true lesions are defined and matched.
///
/// Both are connected components of their masks. Pairs that meet the rule are matched **one to one**, as many as
/// possible (a maximum matching, begun with the pairs of largest intersection over union): a lesion found in three
/// fragments is one lesion found and two false alarms, and a region that runs over two lesions has found one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct LesionMatching {
    /// The connectivity of lesions.
    pub connectivity: Connectivity,
    /// Which pairs may be matched.
    pub overlap: OverlapRule,
    /// True lesions of fewer voxels are left out; a predicted region that overlaps only such lesions is ignored,
    /// however little it overlaps them.
    #[serde(default = "MatchingDefaults::minimum_lesion")]
    pub minimum_lesion: u64,
    /// Predicted regions of fewer voxels are left out.
    #[serde(default = "MatchingDefaults::minimum_prediction")]
    pub minimum_prediction: u64,
}

impl LesionMatching {
    /// No lesion and no region left out.
    #[must_use]
    pub fn new(connectivity: Connectivity, overlap: OverlapRule) -> Self {
        Self { connectivity, overlap, minimum_lesion: 1, minimum_prediction: 1 }
    }

    /// Leaves out true lesions of fewer voxels.
    #[must_use]
    pub fn minimum_lesion(mut self, voxels: u64) -> Self {
        self.minimum_lesion = voxels;
        self
    }

    /// Leaves out predicted regions of fewer voxels.
    #[must_use]
    pub fn minimum_prediction(mut self, voxels: u64) -> Self {
        self.minimum_prediction = voxels;
        self
    }
}

field_defaults!(MatchingDefaults: LesionMatching::new(Connectivity::Vertex, OverlapRule::AnyVoxel) => {
    minimum_lesion: u64,
    minimum_prediction: u64,
});

/// Lesions of one or more images or volumes; counts add up by `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LesionCounts {
    /// Images or volumes counted.
    pub images: u64,
    /// True lesions.
    pub lesions: u64,
    /// Predicted regions.
    pub predictions: u64,
    /// Matched pairs: lesions found, one region each.
    pub matched: u64,
    /// Lesions that meet the overlap rule with any region, however many lesions that region meets. Never fewer than
    /// `matched`; the count that much literature reports.
    pub touched: u64,
}

impl LesionCounts {
    /// Counts over one image `[row, column]` or volume `[i, j, k]`; masks without a pixel hold no lesion and no region.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ, [`MetricError::Axes`] for other than two or three axes,
    /// [`MetricError::TooMany`] for more than `u32::MAX` pixels, or [`MetricError::Parameter`] when the overlap rule's bound is
    /// outside [0, 1).
    ///
    /// ```
    /// use lesio_metrics::{Connectivity, LesionMatching, LesionCounts, OverlapRule};
    /// use ndarray::array;
    ///
    /// let config = LesionMatching::new(Connectivity::Vertex, OverlapRule::AnyVoxel);
    /// let truth = array![[true, true, true, true, false], [false, false, false, false, false]];
    /// // Two fragments of one lesion.
    /// let prediction = array![[true, false, true, true, false], [false, false, false, false, false]];
    /// let counts = LesionCounts::between(&prediction, &truth, &config)?;
    /// assert_eq!(counts.sensitivity(), Some(1.0));
    /// assert_eq!(counts.precision(), Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn between<'p, 't, D: Dimension>(
        prediction: impl Into<ArrayView<'p, bool, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        config: &LesionMatching,
    ) -> Result<Self, MetricError> {
        let (prediction, truth) = (prediction.into(), truth.into());
        if let OverlapRule::IntersectionOverUnion(bound) = config.overlap {
            let holds = (0.0..1.0).contains(&bound);
            require(holds, "intersection over union", bound, "a fraction in [0, 1)")?;
        }
        same_shape("truth", prediction.shape(), truth.shape())?;
        let components = |mask| Regions::new(&volume(mask)?, None, config.connectivity);
        let (regions, lesions) = (components(prediction)?, components(truth)?);
        Ok(matched(&regions, &lesions, config))
    }

    /// Fraction of the lesions that were matched; `None` without lesions.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.matched, self.lesions)
    }

    /// Fraction of the predicted regions that were matched; `None` when nothing was predicted.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.matched, self.predictions)
    }

    /// Harmonic mean of both, 2 matched / (lesions + predictions); `None` when there is neither.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.matched, self.lesions + self.predictions)
    }

    /// Predicted regions without a lesion per image or volume; `None` of none.
    #[must_use]
    pub fn false_positives_per_image(&self) -> Option<f64> {
        ratio(self.predictions - self.matched, self.images)
    }
}

impl AddAssign for LesionCounts {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.lesions += other.lesions;
        self.predictions += other.predictions;
        self.matched += other.matched;
        self.touched += other.touched;
    }
}

/// Counts of one image, from its predicted regions and true lesions.
fn matched(regions: &Regions, lesions: &Regions, config: &LesionMatching) -> LesionCounts {
    let mut shared: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (&lesion, &region) in lesions.labels.iter().zip(&regions.labels) {
        if lesion > 0 && region > 0 {
            *shared.entry((lesion as usize - 1, region as usize - 1)).or_default() += 1;
        }
    }

    // Pairs that meet the rule, best first; equal ones in order of place.
    let mut pairs: Vec<(f64, usize, usize)> = shared
        .iter()
        .map(|(&(lesion, region), &both)| {
            let union = lesions.sizes[lesion] + regions.sizes[region] - both;
            (both as f64 / union as f64, lesion, region)
        })
        .filter(|&(overlap, _, region)| {
            regions.sizes[region] >= config.minimum_prediction
                && match config.overlap {
                    OverlapRule::AnyVoxel => true,
                    OverlapRule::IntersectionOverUnion(bound) => overlap > bound,
                }
        })
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));

    let counted = |lesion: usize| lesions.sizes[lesion] >= config.minimum_lesion;
    let mut candidates = vec![Vec::new(); lesions.count()];
    for &(_, lesion, region) in pairs.iter().filter(|pair| counted(pair.1)) {
        candidates[lesion].push(region);
    }
    // Every overlap matters here, not only the pairs: the rule says what matches, not what a region is excused by.
    let mut excused = vec![false; regions.count()];
    for &(_, region) in shared.keys().filter(|overlap| !counted(overlap.0)) {
        excused[region] = true;
    }
    for &(_, region) in shared.keys().filter(|overlap| counted(overlap.0)) {
        excused[region] = false;
    }

    let predictions = (0..regions.count())
        .filter(|&region| regions.sizes[region] >= config.minimum_prediction && !excused[region])
        .count();
    let best_first = pairs.iter().filter(|pair| counted(pair.1)).map(|pair| (pair.1, pair.2));
    LesionCounts {
        images: 1,
        lesions: (0..lesions.count()).filter(|&lesion| counted(lesion)).count() as u64,
        predictions: predictions as u64,
        matched: maximum_matching(best_first, &candidates, regions.count()),
        touched: candidates.iter().filter(|regions| !regions.is_empty()).count() as u64,
    }
}

/// Size of a largest one-to-one matching: greedy in the order of `pairs`, then grown along augmenting paths
/// (breadth first, so that no chain of regions is too long for the stack).
fn maximum_matching(
    pairs: impl Iterator<Item = (usize, usize)>,
    candidates: &[Vec<usize>],
    regions: usize,
) -> u64 {
    let mut region_of = vec![None; candidates.len()];
    let mut lesion_of = vec![None; regions];
    for (lesion, region) in pairs {
        if region_of[lesion].is_none() && lesion_of[region].is_none() {
            region_of[lesion] = Some(region);
            lesion_of[region] = Some(lesion);
        }
    }
    for start in 0..candidates.len() {
        if region_of[start].is_some() {
            continue;
        }
        let mut reached_from = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        'search: while let Some(lesion) = queue.pop_front() {
            for &region in &candidates[lesion] {
                if reached_from.contains_key(&region) {
                    continue;
                }
                reached_from.insert(region, lesion);
                match lesion_of[region] {
                    Some(holder) => queue.push_back(holder),
                    None => {
                        // Hand regions on along the path, back to the start.
                        let mut free = Some(region);
                        while let Some(region) = free {
                            let lesion = reached_from[&region];
                            lesion_of[region] = Some(lesion);
                            free = region_of[lesion].replace(region).filter(|_| lesion != start);
                        }
                        break 'search;
                    }
                }
            }
        }
    }
    region_of.iter().flatten().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    fn picture(rows: &[&str]) -> Array2<bool> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i].as_bytes()[j] == b'#')
    }

    fn any_voxel() -> LesionMatching {
        LesionMatching::new(Connectivity::Vertex, OverlapRule::AnyVoxel)
    }

    #[test]
    fn documents_need_what_new_needs_and_hold_nothing_else() {
        let read = |text: &str| serde_json::from_str::<LesionMatching>(text);
        let found = read(r#"{"connectivity":"vertex","overlap":"any-voxel","minimum_lesion":3}"#).unwrap();
        assert_eq!(found, any_voxel().minimum_lesion(3));
        let error = read(r#"{"connectivity":"vertex","overlap":"any-voxel","minimum":3}"#).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `minimum`"), "{error}");
    }

    #[test]
    fn one_region_over_two_lesions_finds_one() {
        let truth = picture(&["##.##", ".....", "....."]);
        let prediction = picture(&["#####", ".....", "#...."]);
        let counts = LesionCounts::between(prediction.view(), truth.view(), &any_voxel()).unwrap();
        assert_eq!((counts.lesions, counts.predictions, counts.matched, counts.touched), (2, 2, 1, 2));
        assert_eq!(counts.false_positives_per_image(), Some(1.0));
        assert_eq!(counts.f1(), Some(0.5));
    }

    #[test]
    fn pairs_are_exchanged_where_that_finds_more() {
        // The long region overlaps the left lesion best, but the dot can only stand for the left one.
        let truth = picture(&["######..#", "........."]);
        let prediction = picture(&["#.#######", "........."]);
        let counts = LesionCounts::between(prediction.view(), truth.view(), &any_voxel()).unwrap();
        assert_eq!((counts.lesions, counts.predictions, counts.matched), (2, 2, 2));
    }

    #[test]
    fn overlap_must_exceed_the_bound() {
        let truth = picture(&["####"]);
        let prediction = picture(&["##.."]);
        let half = |bound| {
            let config = LesionMatching::new(Connectivity::Face, OverlapRule::IntersectionOverUnion(bound));
            LesionCounts::between(prediction.view(), truth.view(), &config).unwrap().matched
        };
        assert_eq!((half(0.49), half(0.5)), (1, 0));
        let config = LesionMatching::new(Connectivity::Face, OverlapRule::IntersectionOverUnion(1.0));
        assert!(matches!(
            LesionCounts::between(prediction.view(), truth.view(), &config),
            Err(MetricError::Parameter { .. })
        ));
    }

    #[test]
    fn small_ones_are_left_out() {
        let truth = picture(&["#..###", "......"]);
        let prediction = picture(&["#..##.", "......"]);
        let counts =
            |config: &LesionMatching| LesionCounts::between(prediction.view(), truth.view(), config).unwrap();
        let all = counts(&any_voxel());
        assert_eq!((all.lesions, all.predictions, all.matched), (2, 2, 2));
        // The dot meets a lesion too small to count: no false alarm.
        let large = counts(&any_voxel().minimum_lesion(2));
        assert_eq!((large.lesions, large.predictions, large.matched), (1, 1, 1));
        let sure = counts(&any_voxel().minimum_prediction(2));
        assert_eq!((sure.lesions, sure.predictions, sure.matched), (2, 1, 1));
    }

    #[test]
    fn only_lesions_left_out_excuse_a_region_whatever_the_rule() {
        let by = |rule, truth: &str, prediction: &str| {
            let config = LesionMatching::new(Connectivity::Face, rule).minimum_lesion(5);
            let (truth, prediction) = (picture(&[truth]), picture(&[prediction]));
            let counts = LesionCounts::between(prediction.view(), truth.view(), &config).unwrap();
            (counts.lesions, counts.predictions, counts.matched)
        };
        let half = OverlapRule::IntersectionOverUnion(0.5);
        // The first region lies over a small lesion, too large to match it; the second over nothing.
        let over_small = ("###.......", "######.###");
        assert_eq!(by(half, over_small.0, over_small.1), (0, 1, 0));
        assert_eq!(by(OverlapRule::AnyVoxel, over_small.0, over_small.1), (0, 1, 0));
        // It would match the small lesion, but touches a large one, too.
        let over_both = ("###.##########", "#####.........");
        assert_eq!(by(half, over_both.0, over_both.1), (1, 1, 0));
        assert_eq!(by(OverlapRule::AnyVoxel, over_both.0, over_both.1), (1, 1, 1));
    }

    #[test]
    fn nothing_gives_no_rates() {
        let none = Array2::from_elem((3, 3), false);
        let mut counts = LesionCounts::between(none.view(), none.view(), &any_voxel()).unwrap();
        counts += counts;
        assert_eq!(counts.images, 2);
        assert_eq!((counts.sensitivity(), counts.precision(), counts.f1()), (None, None, None));
        assert_eq!(counts.false_positives_per_image(), Some(0.0));
    }

    /// Largest matching by trying everything.
    fn brute_force(candidates: &[Vec<usize>], taken: &mut Vec<usize>) -> u64 {
        let Some((first, rest)) = candidates.split_first() else { return 0 };
        let mut best = brute_force(rest, taken);
        for &region in first {
            if !taken.contains(&region) {
                taken.push(region);
                best = best.max(1 + brute_force(rest, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_matching_is_larger(
            candidates in prop::collection::vec(prop::collection::btree_set(0usize..6, 0..4), 0..7)
        ) {
            let candidates: Vec<Vec<usize>> =
                candidates.into_iter().map(|set| set.into_iter().collect()).collect();
            let pairs = candidates.iter().enumerate().flat_map(|(l, rs)| rs.iter().map(move |&r| (l, r)));
            prop_assert_eq!(
                maximum_matching(pairs, &candidates, 6),
                brute_force(&candidates, &mut Vec::new())
            );
        }
    }
}
