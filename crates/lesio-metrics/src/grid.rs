//! Bins of scores, fine enough to resample patients by their histograms.

/// Most bins of a grid; a patient's histogram takes 8 bytes a bin.
pub(crate) const BINS: usize = 4096;

/// Scores divided into bins, from low to high.
///
/// Few distinct scores get a bin each, and nothing is lost. Otherwise bins start at quantiles of either class, so that
/// none holds more than about 2 / `BINS` of the positives or of the negatives, except a bin of one score.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// Lowest key of each bin, ascending.
    starts: Vec<u32>,
    /// Whether all pixels of the bin have the same score.
    tied: Vec<bool>,
    /// Bin in which each block of 2^16 keys begins: where to look for a key.
    blocks: Vec<u16>,
}

impl Grid {
    /// A grid for the pixels of two classes, both sorted by the key that `positive` tells.
    pub(crate) fn new<P>(
        positives: &[P],
        positive: impl Fn(&P) -> u32,
        negatives: &[u32],
        bins: usize,
    ) -> Self {
        let bins = bins.clamp(4, BINS);
        let starts = distinct(positives, &positive, negatives, bins)
            .unwrap_or_else(|| quantiles(positives, &positive, negatives, bins));
        let tied = (0..starts.len())
            .map(|bin| {
                let before = |key: u32| {
                    let p = positives.partition_point(|p| positive(p) < key);
                    (p, negatives.partition_point(|&n| n < key))
                };
                let (p_start, n_start) = before(starts[bin]);
                let (p_end, n_end) =
                    starts.get(bin + 1).map_or((positives.len(), negatives.len()), |&next| before(next));
                let (p, n) = (&positives[p_start..p_end], &negatives[n_start..n_end]);
                let low = p.first().map(&positive).into_iter().chain(n.first().copied()).min();
                let high = p.last().map(&positive).into_iter().chain(n.last().copied()).max();
                low == high
            })
            .collect();
        Self::of(starts, tied)
    }

    /// A grid of bins that begin at these keys, ascending.
    pub(crate) fn of(starts: Vec<u32>, tied: Vec<bool>) -> Self {
        let blocks = (0..=u16::MAX)
            .map(|block| {
                let first = u32::from(block) << 16;
                starts.partition_point(|&start| start <= first).saturating_sub(1) as u16
            })
            .collect();
        Self { starts, tied, blocks }
    }

    /// Tells of each bin whether it holds but one score.
    pub(crate) fn set_tied(&mut self, tied: Vec<bool>) {
        self.tied = tied;
    }

    /// Number of bins.
    pub(crate) fn bins(&self) -> usize {
        self.starts.len()
    }

    /// Whether a bin holds but one score.
    pub(crate) fn is_tied(&self, bin: usize) -> bool {
        self.tied[bin]
    }

    /// The bin of a key of the pixels that the grid was made for.
    pub(crate) fn bin(&self, key: u32) -> usize {
        let block = (key >> 16) as usize;
        let first = usize::from(self.blocks[block]);
        let last = self.blocks.get(block + 1).map_or(self.starts.len() - 1, |&bin| usize::from(bin));
        first + self.starts[first + 1..=last].partition_point(|&start| start <= key)
    }
}

/// Every distinct key, ascending; `None` when there are more than `most`.
fn distinct<P>(
    positives: &[P],
    positive: impl Fn(&P) -> u32,
    negatives: &[u32],
    most: usize,
) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    let (mut p, mut n) = (0, 0);
    loop {
        let next = positives.get(p).map(&positive).into_iter().chain(negatives.get(n).copied()).min();
        let Some(key) = next else { return Some(found) };
        if found.len() == most {
            return None;
        }
        found.push(key);
        p += positives[p..].partition_point(|p| positive(p) <= key);
        n += negatives[n..].partition_point(|&n| n <= key);
    }
}

/// Quantiles of either class as bin starts; a score that spans several has a bin of its own.
fn quantiles<P>(positives: &[P], positive: impl Fn(&P) -> u32, negatives: &[u32], bins: usize) -> Vec<u32> {
    let of = |length: usize, key: &dyn Fn(usize) -> u32| -> Vec<u32> {
        ranks(length as u64, bins).map(|rank| key(rank as usize)).collect()
    };
    quantile_starts([
        of(positives.len(), &|place| positive(&positives[place])),
        of(negatives.len(), &|place| negatives[place]),
    ])
}

/// Ranks, ascending from 0, of the quantiles of a class of so many pixels.
pub(crate) fn ranks(pixels: u64, bins: usize) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator {
    // A score that needs a second start, behind it, has left another quantile's unused.
    let of_each = (bins / 2).min(usize::try_from(pixels).unwrap_or(usize::MAX));
    (0..of_each).map(move |quantile| (quantile as u128 * u128::from(pixels) / of_each as u128) as u64)
}

/// Where bins start, given the keys of both classes at the [`ranks`].
pub(crate) fn quantile_starts(classes: [Vec<u32>; 2]) -> Vec<u32> {
    let mut starts = vec![0];
    for keys in classes {
        let mut last = None;
        for key in keys {
            if last == Some(key) {
                starts.push(key.saturating_add(1));
            }
            starts.push(key);
            last = Some(key);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_is_in_its_bin_and_no_bin_is_heavy(
            mut positives in prop::collection::vec(prop_oneof![0u32..9, 60_000u32..70_000, any::<u32>()], 1..400),
            mut negatives in prop::collection::vec(prop_oneof![0u32..9, 60_000u32..70_000, any::<u32>()], 1..400),
            bins in 4usize..64,
        ) {
            positives.sort_unstable();
            negatives.sort_unstable();
            let grid = Grid::new(&positives, |&p| p, &negatives, bins);
            prop_assert!(grid.bins() <= bins + 1);
            for class in [&positives, &negatives] {
                let mut counts = vec![0; grid.bins()];
                for &key in class {
                    let bin = grid.bin(key);
                    counts[bin] += 1;
                    prop_assert!(grid.starts[bin] <= key);
                    prop_assert!(grid.starts.get(bin + 1).is_none_or(|&next| key < next));
                }
                let heavy = 2 * class.len().div_ceil(bins / 2);
                for (bin, count) in counts.into_iter().enumerate() {
                    prop_assert!(grid.is_tied(bin) || count <= heavy, "{} of {}", count, class.len());
                }
            }
            for (bin, &tied) in grid.tied.iter().enumerate() {
                let mut keys: Vec<u32> =
                    positives.iter().chain(&negatives).copied().filter(|&k| grid.bin(k) == bin).collect();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(tied, keys.len() <= 1);
            }
        }
    }

    #[test]
    fn few_scores_have_a_bin_each() {
        let (positives, negatives) = ([5u32, 5, 9], [1u32, 5, 7, 7]);
        let grid = Grid::new(&positives, |&p| p, &negatives, BINS);
        assert_eq!(grid.starts, [1, 5, 7, 9]);
        assert!((0..4).all(|bin| grid.is_tied(bin)));
    }
}
