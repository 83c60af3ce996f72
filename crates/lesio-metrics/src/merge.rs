//! Runs outside of memory merged in order of their scores.

use rayon::prelude::*;

use crate::error::MetricError;
use crate::run::{Block, Encoded, Entry, Run, RunWriter};
use crate::scratch::{Scratch, damaged};

/// Entries of one stretch of keys, which are in memory at once.
const STRETCH: f64 = (1 << 17) as f64;
/// Stretches that are decoded at once: fixed, so that memory does not depend on the number of threads.
const AHEAD: usize = 4;
/// Entries of a block of merged runs. There are fewer such runs, so larger blocks cost little, and their places less.
const ENTRIES: usize = 4096;

/// Entries of both classes within a stretch of keys, ascending; those of one order may come several times.
#[derive(Default)]
pub(crate) struct Stretch {
    pub(crate) positives: Vec<Entry>,
    pub(crate) negatives: Vec<Entry>,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// Hands on the entries of runs a stretch of keys after the other: all entries of a key are in one stretch.
///
/// More than 64 runs are first merged into fewer. These are written at the end of the scratch and dropped afterwards, so
/// that memory hardly grows with the number of runs.
pub(crate) fn for_each_stretch(
    scratch: &mut Scratch,
    positives: &[&Run],
    negatives: &[&Run],
    direction: Direction,
    mut each: impl FnMut(Stretch),
) -> Result<(), MetricError> {
    let end = scratch.bytes();
    let mut merged = || {
        let (positives, negatives) = (few(scratch, positives)?, few(scratch, negatives)?);
        stretches(scratch, &positives, &negatives, direction, |_, stretch| {
            each(stretch);
            Ok(())
        })
    };
    let done = merged();
    scratch.truncate(end);
    done
}

/// The entries of the runs in so few runs that they can be merged at once.
fn few(scratch: &mut Scratch, runs: &[&Run]) -> Result<Vec<Run>, MetricError> {
    let most = scratch.most_runs;
    let mut runs: Vec<Run> = runs.iter().map(|run| **run).collect();
    while runs.len() > most {
        runs = runs.chunks(most).map(|runs| joined(scratch, runs)).collect::<Result<_, _>>()?;
    }
    Ok(runs)
}

/// One run of the entries of some.
fn joined(scratch: &mut Scratch, runs: &[Run]) -> Result<Run, MetricError> {
    let mut writer = RunWriter::new(scratch, ENTRIES);
    stretches(scratch, runs, &[], Direction::Ascending, |scratch, stretch| {
        stretch.positives.into_iter().try_for_each(|entry| writer.push(scratch, entry))
    })?;
    writer.finish(scratch)
}

fn stretches(
    scratch: &mut Scratch,
    positives: &[Run],
    negatives: &[Run],
    direction: Direction,
    mut each: impl FnMut(&mut Scratch, Stretch) -> Result<(), MetricError>,
) -> Result<(), MetricError> {
    let mut blocks = |runs: &[Run]| -> Result<Vec<Vec<Block>>, MetricError> {
        runs.iter().map(|run| run.blocks(scratch)).collect()
    };
    let (of_positives, of_negatives) = (blocks(positives)?, blocks(negatives)?);
    let runs = positives.iter().chain(negatives);
    let mut bounds = bounds(runs.zip(of_positives.iter().chain(&of_negatives)));
    if direction == Direction::Descending {
        bounds.reverse();
    }
    let mut left = [Left::of(positives)?, Left::of(negatives)?];
    for bounds in bounds.chunks(AHEAD) {
        let mut encoded = Vec::with_capacity(bounds.len());
        for &(low, high) in bounds {
            let mut of = |runs: &[Vec<Block>]| -> Result<Vec<Encoded>, MetricError> {
                let parts = runs.iter().map(|blocks| {
                    let from = blocks.partition_point(|block| block.last < low);
                    let to = blocks.partition_point(|block| u64::from(block.first) < high);
                    blocks.get(from..to).unwrap_or_default()
                });
                parts
                    .filter(|blocks| !blocks.is_empty())
                    .map(|blocks| Encoded::read(scratch, blocks))
                    .collect()
            };
            encoded.push((of(&of_positives)?, of(&of_negatives)?, low, high));
        }
        let stretches: Vec<Stretch> = encoded
            .into_par_iter()
            .map(|(positives, negatives, low, high)| Stretch {
                positives: within(&positives, low, high),
                negatives: within(&negatives, low, high),
            })
            .collect();
        for stretch in stretches {
            left = [left[0].less(&stretch.positives)?, left[1].less(&stretch.negatives)?];
            each(scratch, stretch)?;
        }
    }
    // Runs that were read from a file may state any numbers.
    if left == [Left(0), Left(0)] { Ok(()) } else { Err(damaged()) }
}

/// Pixels of runs that are still to come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left(u64);

impl Left {
    /// All pixels that the runs state.
    fn of(runs: &[Run]) -> Result<Self, MetricError> {
        let sum = runs.iter().try_fold(0u64, |sum, run| sum.checked_add(run.pixels()));
        sum.map(Self).ok_or_else(damaged)
    }

    /// What is left after these entries; an error if they have more pixels.
    fn less(self, entries: &[Entry]) -> Result<Self, MetricError> {
        let rest = entries.iter().try_fold(self.0, |left, entry| left.checked_sub(entry.count));
        rest.map(Self).ok_or_else(damaged)
    }
}

/// The entries of some runs from key `low` to before `high`, ascending.
fn within(runs: &[Encoded], low: u32, high: u64) -> Vec<Entry> {
    let inside = |entry: &Entry| entry.key() >= low && u64::from(entry.key()) < high;
    let mut entries: Vec<Entry> = runs.iter().flat_map(|run| run.entries().filter(inside)).collect();
    // A stable sort detects the sorted runs and merges them.
    entries.sort_by_key(|entry| entry.order);
    entries
}

/// Stretches of keys, ascending, that hold few entries each; the last one ends beyond every key.
fn bounds<'a>(runs: impl Iterator<Item = (&'a Run, &'a Vec<Block>)>) -> Vec<(u32, u64)> {
    let firsts =
        runs.flat_map(|(run, blocks)| blocks.iter().map(|block| (block.first, run.entries_of_block())));
    let mut firsts: Vec<(u32, f64)> = firsts.collect();
    firsts.sort_unstable_by_key(|first| first.0);
    let mut starts: Vec<u32> = Vec::new();
    let mut held = STRETCH;
    for (first, entries) in firsts {
        if held >= STRETCH && starts.last() != Some(&first) {
            starts.push(first);
            held = 0.0;
        }
        held += entries;
    }
    let ends = starts.iter().skip(1).map(|&start| u64::from(start)).chain([1 << 32]);
    starts.iter().copied().zip(ends.collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn any_run() -> impl Strategy<Value = Vec<u64>> {
        let order = prop_oneof![
            (0u64..5, 0u64..3).prop_map(|(key, size)| key << 32 | size),
            any::<u64>(),
            Just(u64::MAX),
            (0u64..1 << 20).prop_map(|key| key << 32),
        ];
        prop::collection::vec(order, 0..200).prop_map(|mut orders| {
            orders.sort_unstable();
            orders
        })
    }

    fn unpacked(entries: impl Iterator<Item = Entry>) -> Vec<u64> {
        entries.flat_map(|entry| std::iter::repeat_n(entry.order, entry.count as usize)).collect()
    }

    proptest! {
        #[test]
        fn runs_are_read_as_they_were_written(
            runs in prop::collection::vec(any_run(), 0..12),
            most_runs in 2usize..13,
        ) {
            let mut scratch = Scratch::new(Cursor::new(Vec::new()));
            scratch.most_runs = most_runs;
            let written: Vec<Run> =
                runs.iter().map(|run| Run::write(&mut scratch, run.iter().copied()).unwrap()).collect();
            for (run, expected) in written.iter().zip(&runs) {
                prop_assert_eq!(run.pixels(), expected.len() as u64);
                prop_assert_eq!(run.lowest(), expected.first().map(|order| (order >> 32) as u32));
                prop_assert_eq!(&unpacked(run.read(&mut scratch).unwrap().entries()), expected);
            }
            let all: Vec<&Run> = written.iter().collect();
            let mut expected: Vec<u64> = runs.concat();
            expected.sort_unstable();
            // The memory of merging depends on the number of runs.
            let end = scratch.bytes();
            prop_assert!(few(&mut scratch, &all).unwrap().len() <= most_runs);
            scratch.truncate(end);
            let mut merged = Vec::new();
            for_each_stretch(&mut scratch, &all, &[], Direction::Ascending, |stretch| {
                merged.extend(unpacked(stretch.positives.into_iter()));
            }).unwrap();
            prop_assert_eq!(merged, expected);
            // Nothing of the merging is left, and what was written is.
            let end = written.iter().map(Run::end).max().unwrap_or(0);
            prop_assert_eq!(scratch.bytes(), end);
        }
    }

    #[test]
    fn many_blocks_come_in_order_and_no_key_is_cut() {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let run = |scratch: &mut Scratch, step: u64| {
            Run::write(scratch, (0..1_200_000u64).map(|place| (place * step / 7) << 32)).unwrap()
        };
        let runs = [run(&mut scratch, 5), run(&mut scratch, 9), run(&mut scratch, 11)];
        let (mut before, mut pixels, mut most, mut stretches) = (u64::from(u32::MAX) + 1, 0, 0, 0);
        for_each_stretch(
            &mut scratch,
            &[&runs[0]],
            &[&runs[1], &runs[2]],
            Direction::Descending,
            |stretch| {
                stretches += 1;
                most = most.max(stretch.positives.len() + stretch.negatives.len());
                let both = || stretch.positives.iter().chain(&stretch.negatives);
                assert!(stretch.negatives.is_sorted_by_key(|entry| entry.order));
                assert!(both().all(|entry| u64::from(entry.key()) < before));
                before = both().map(|entry| u64::from(entry.key())).min().unwrap();
                pixels += both().map(|entry| entry.count).sum::<u64>();
            },
        )
        .unwrap();
        assert_eq!(pixels, 3_600_000);
        // In two passes, by a run of many pieces and blocks, the same entries come.
        let entries = |scratch: &mut Scratch, most_runs| {
            scratch.most_runs = most_runs;
            let (mut found, mut pixels) = (Vec::new(), 0);
            let all: Vec<&Run> = runs.iter().collect();
            for_each_stretch(scratch, &all, &[], Direction::Ascending, |stretch| {
                pixels += stretch.positives.iter().map(|entry| entry.count).sum::<u64>();
                found.extend(stretch.positives.iter().map(|entry| entry.order));
            })
            .unwrap();
            found.dedup();
            (found, pixels)
        };
        assert!(entries(&mut scratch, 2) == entries(&mut scratch, 64));
        assert!(stretches > 4 && (most as f64) < 2.0 * STRETCH, "{stretches} {most}");
        // Ascending in small steps, an entry takes little more than a byte.
        assert!(scratch.bytes() < 2 * pixels, "{}", scratch.bytes());
    }
}
