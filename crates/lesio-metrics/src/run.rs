//! Sorted runs of scores outside of memory.

use serde::{Deserialize, Serialize};

use crate::error::MetricError;
use crate::scratch::{Moved, Scratch, damaged, pull, push};

/// Entries of a block: few enough that reading one for a single entry costs little, many enough that the blocks' places
/// take a hundredth of what their entries do.
const ENTRIES: usize = 1024;
/// Bytes of a block's place.
const PLACE: usize = 12;
/// Bytes that are written at once.
const PIECE: usize = 1 << 20;

/// Pixels of one score: of one region in the positive class, of any in the negative one, where `size` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Key of the score in the upper half, size of the region in the lower.
    pub(crate) order: u64,
    /// Number of pixels, at least 1.
    pub(crate) count: u64,
}

impl Entry {
    pub(crate) fn key(&self) -> u32 {
        (self.order >> 32) as u32
    }

    pub(crate) fn size(&self) -> u32 {
        self.order as u32
    }
}

/// Pixels of one class, ascending, in blocks, followed by the places of the blocks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    start: u64,
    /// Length of all blocks.
    bytes: u64,
    blocks: u32,
    entries: u64,
    pixels: u64,
    /// Lowest key.
    lowest: Option<u32>,
}

/// Entries that are decoded together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    start: u64,
    bytes: u32,
    /// Lowest and highest key.
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Run {
    /// Writes ascending orders, of any number of pixels.
    pub(crate) fn write(
        scratch: &mut Scratch,
        sorted: impl Iterator<Item = u64>,
    ) -> Result<Self, MetricError> {
        let mut writer = RunWriter::new(scratch, ENTRIES);
        sorted.into_iter().try_for_each(|order| writer.push(scratch, Entry { order, count: 1 }))?;
        writer.finish(scratch)
    }

    /// The same run in the scratch that absorbed its own.
    pub(crate) fn moved(mut self, moved: Moved) -> Self {
        self.start = self.start.saturating_add(moved.0);
        self
    }

    /// Number of pixels.
    pub(crate) fn pixels(&self) -> u64 {
        self.pixels
    }

    /// Lowest key; `None` of no pixels.
    pub(crate) fn lowest(&self) -> Option<u32> {
        self.lowest
    }

    /// Where the run ends in its scratch.
    #[cfg(test)]
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes + u64::from(self.blocks) * PLACE as u64
    }

    /// Number of entries of a block, on average.
    pub(crate) fn entries_of_block(&self) -> f64 {
        self.entries as f64 / f64::from(self.blocks.max(1))
    }

    /// The places of the blocks, ascending.
    pub(crate) fn blocks(&self, scratch: &mut Scratch) -> Result<Vec<Block>, MetricError> {
        let places = self.start.saturating_add(self.bytes);
        let mut start = self.start;
        let bytes = scratch.read(places, (self.blocks as usize).saturating_mul(PLACE))?;
        let blocks = bytes.chunks_exact(PLACE).map(|place| {
            let value =
                |at: usize| u32::from_le_bytes([place[at], place[at + 1], place[at + 2], place[at + 3]]);
            let block = Block { start, bytes: value(0), first: value(4), last: value(8) };
            start = start.saturating_add(block.bytes.into());
            block
        });
        let blocks = blocks.collect();
        if start == places { Ok(blocks) } else { Err(damaged()) }
    }

    /// All entries, of as many pixels as the run states.
    pub(crate) fn read(&self, scratch: &mut Scratch) -> Result<Encoded, MetricError> {
        let blocks = self.blocks(scratch)?;
        let encoded = Encoded::read(scratch, &blocks)?;
        let pixels = encoded.entries().try_fold(0u64, |sum, entry| sum.checked_add(entry.count));
        if pixels == Some(self.pixels) { Ok(encoded) } else { Err(damaged()) }
    }
}

/// A run that is being written at the end of a scratch; nothing else is appended meanwhile.
pub(crate) struct RunWriter {
    run: Run,
    entries_of_block: usize,
    /// What was not written yet.
    bytes: Vec<u8>,
    places: Vec<u8>,
    open: Option<OpenBlock>,
    pending: Option<Entry>,
}

/// A block that more entries are added to.
struct OpenBlock {
    /// Where it begins in the run.
    begin: u64,
    entries: usize,
    first: u32,
    last: u32,
}

impl RunWriter {
    pub(crate) fn new(scratch: &Scratch, entries_of_block: usize) -> Self {
        let run = Run { start: scratch.bytes(), bytes: 0, blocks: 0, entries: 0, pixels: 0, lowest: None };
        Self { run, entries_of_block, bytes: Vec::new(), places: Vec::new(), open: None, pending: None }
    }

    /// Adds the next entry, of an order that is not below that of the last.
    pub(crate) fn push(&mut self, scratch: &mut Scratch, entry: Entry) -> Result<(), MetricError> {
        match &mut self.pending {
            Some(pending) if pending.order == entry.order => {
                pending.count += entry.count;
                Ok(())
            }
            _ => match self.pending.replace(entry) {
                Some(complete) => self.add(scratch, complete),
                None => Ok(()),
            },
        }
    }

    pub(crate) fn finish(mut self, scratch: &mut Scratch) -> Result<Run, MetricError> {
        if let Some(last) = self.pending.take() {
            self.add(scratch, last)?;
        }
        self.close();
        self.run.bytes += self.bytes.len() as u64;
        self.bytes.append(&mut self.places);
        scratch.append(&self.bytes)?;
        Ok(self.run)
    }

    fn add(&mut self, scratch: &mut Scratch, entry: Entry) -> Result<(), MetricError> {
        let key = entry.key();
        if self.open.as_ref().is_none_or(|block| block.entries == self.entries_of_block) {
            self.close();
            if self.bytes.len() >= PIECE {
                scratch.append(&self.bytes)?;
                self.run.bytes += self.bytes.len() as u64;
                self.bytes.clear();
            }
        }
        let begin = self.run.bytes + self.bytes.len() as u64;
        let block = self.open.get_or_insert(OpenBlock { begin, entries: 0, first: key, last: 0 });
        encode(entry, &mut block.last, &mut self.bytes);
        block.entries += 1;
        self.run.entries += 1;
        self.run.pixels += entry.count;
        self.run.lowest.get_or_insert(key);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(block) = self.open.take() {
            // A block takes at most 4096 entries of 25 bytes.
            let bytes = (self.run.bytes + self.bytes.len() as u64 - block.begin) as u32;
            self.places.extend([bytes, block.first, block.last].into_iter().flat_map(u32::to_le_bytes));
            self.run.blocks += 1;
        }
    }
}

/// Entries that follow each other, still encoded.
#[derive(Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    /// Length of each block.
    blocks: Vec<u32>,
}

impl Encoded {
    /// Blocks that follow each other in the scratch.
    pub(crate) fn read(scratch: &mut Scratch, blocks: &[Block]) -> Result<Self, MetricError> {
        let Some(first) = blocks.first() else { return Ok(Self::default()) };
        let length = blocks.iter().map(|block| block.bytes as usize).sum();
        let bytes = scratch.read(first.start, length)?;
        Ok(Self { bytes, blocks: blocks.iter().map(|block| block.bytes).collect() })
    }

    /// The entries, ascending.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let mut rest = self.bytes.as_slice();
        self.blocks.iter().flat_map(move |&length| {
            let (block, after) = rest.split_at(length as usize);
            rest = after;
            Decoder { bytes: block, last_key: 0 }
        })
    }
}

fn encode(entry: Entry, last_key: &mut u32, bytes: &mut Vec<u8>) {
    // Two bits tell what follows: the size of a region, and a count that is not 1.
    let step = u64::from(entry.key() - *last_key);
    *last_key = entry.key();
    let (has_size, has_count) = (entry.size() != 0, entry.count != 1);
    push(step << 2 | u64::from(has_size) << 1 | u64::from(has_count), bytes);
    if has_size {
        push(entry.size().into(), bytes);
    }
    if has_count {
        push(entry.count, bytes);
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    last_key: u32,
}

impl Iterator for Decoder<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let head = pull(&mut self.bytes)?;
        self.last_key = self.last_key.wrapping_add((head >> 2) as u32);
        let size = if head & 2 != 0 { pull(&mut self.bytes)? } else { 0 };
        let count = if head & 1 != 0 { pull(&mut self.bytes)? } else { 1 };
        Some(Entry { order: u64::from(self.last_key) << 32 | size, count })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn places_that_do_not_fit_the_entries_are_an_error() {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let run = Run::write(&mut scratch, (0..5000u64).map(|key| key << 32)).unwrap();
        assert_eq!((run.blocks, run.entries, run.pixels, run.lowest), (5, 5000, 5000, Some(0)));
        assert!(run.read(&mut scratch).is_ok());
        for wrong in [
            Run { bytes: run.bytes - 1, ..run },
            Run { blocks: run.blocks - 1, ..run },
            Run { blocks: u32::MAX, ..run },
            Run { start: run.start + 1, ..run },
            Run { bytes: u64::MAX, ..run },
            Run { pixels: run.pixels - 1, ..run },
            Run { pixels: run.pixels + 1, ..run },
        ] {
            let found = wrong.read(&mut scratch).map(|_| ());
            assert!(
                matches!(found, Err(MetricError::Scratch { operation: "read", .. })),
                "{wrong:?} {found:?}"
            );
        }
    }
}
