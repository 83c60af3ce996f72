//! A set of ranks that counts, for the medians of large windows.

/// Ranks below a bound, with counts over blocks of 64, blocks of 64 blocks and so on, so that the
/// `n`-th smallest is found by one scan of at most 64 counts a level.
#[derive(Clone, Debug)]
pub(crate) struct RankSet {
    members: Vec<u64>,
    /// Counts of the words, of 64 words, ...; the last level has at most 64.
    counts: Vec<Vec<u32>>,
}

impl RankSet {
    /// The empty set of ranks below `bound`.
    pub(crate) fn new(bound: usize) -> Self {
        let members = vec![0; bound.div_ceil(64).max(1)];
        let mut counts = vec![vec![0; members.len()]];
        while let Some(last) = counts.last()
            && last.len() > 64
        {
            let next = vec![0; last.len().div_ceil(64)];
            counts.push(next);
        }
        Self { members, counts }
    }

    /// Adds a rank that is not a member.
    pub(crate) fn insert(&mut self, rank: usize) {
        self.members[rank / 64] |= 1 << (rank % 64);
        let mut index = rank / 64;
        for level in &mut self.counts {
            level[index] += 1;
            index /= 64;
        }
    }

    /// Takes out a member.
    pub(crate) fn remove(&mut self, rank: usize) {
        self.members[rank / 64] &= !(1 << (rank % 64));
        let mut index = rank / 64;
        for level in &mut self.counts {
            level[index] -= 1;
            index /= 64;
        }
    }

    /// The member with `position` members below it; there are more than `position`.
    pub(crate) fn select(&self, position: usize) -> usize {
        let mut left = position as u32;
        let mut index = 0;
        for level in self.counts.iter().rev() {
            index *= 64;
            while level[index] <= left {
                left -= level[index];
                index += 1;
            }
        }
        let mut word = self.members[index];
        for _ in 0..left {
            word &= word - 1;
        }
        index * 64 + word.trailing_zeros() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn selects_as_a_sorted_set_does(ranks in prop::collection::btree_set(0_usize..300_000, 1..200),
                                        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..50)) {
            let mut set = RankSet::new(300_000);
            let mut expected: BTreeSet<usize> = ranks.clone();
            ranks.iter().for_each(|&rank| set.insert(rank));
            for index in removed {
                if expected.len() > 1 {
                    let rank = *expected.iter().nth(index.index(expected.len())).unwrap();
                    expected.remove(&rank);
                    set.remove(rank);
                }
            }
            for (position, &rank) in expected.iter().enumerate() {
                prop_assert_eq!(set.select(position), rank);
            }
        }
    }
}
