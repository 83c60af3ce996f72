//! Storage of sorted runs of scores outside of memory.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::MetricError;

/// Entries of a block: few enough that reading one for a single entry costs little, many enough that the blocks' places,
/// which stay in memory, take a hundredth of what their entries would.
const ENTRIES: usize = 1024;
/// Entries of one stretch of keys, which are in memory at once.
const STRETCH: usize = 1 << 18;
/// Stretches that are decoded at once: fixed, so that memory does not depend on the number of threads.
const AHEAD: usize = 4;
/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// A store of bytes that can be read again: a file, or a `Cursor<Vec<u8>>`.
trait Store: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Store for T {}

/// Storage for streams of scores outside of memory; any number of streams can share one.
///
/// The format is private, and the content is useless without the streams that wrote it. Typically it is a temporary
/// file that is deleted with its handle.
///
/// ```
/// use std::io::Cursor;
///
/// let scratch = lesio_metrics::Scratch::new(Cursor::new(Vec::new()));
/// assert_eq!(scratch.bytes(), 0);
/// ```
pub struct Scratch {
    store: Box<dyn Store>,
    end: u64,
    /// Where reading or writing goes on without a seek.
    position: Option<u64>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("bytes", &self.end).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Stores scores in an empty file, or in any other empty store.
    pub fn new(store: impl Read + Write + Seek + Send + 'static) -> Self {
        Self { store: Box::new(store), end: 0, position: None }
    }

    /// Bytes kept so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Copies everything that is kept here, as [`Scratch::absorb_from`] takes it.
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn copy_to(&mut self, mut out: impl Write) -> Result<(), MetricError> {
        self.for_each_piece(|piece| out.write_all(piece).map_err(|error| failed("write", &error)))
    }

    /// Appends everything that another scratch holds. The streams of the other one are then read from here, see
    /// [`StreamedPatients::absorb`](crate::StreamedPatients::absorb).
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn absorb(&mut self, other: &mut Self) -> Result<Moved, MetricError> {
        let moved = Moved(self.end);
        other.for_each_piece(|piece| self.append(piece).map(drop))?;
        Ok(moved)
    }

    /// Appends the bytes that [`Scratch::copy_to`] wrote, up to the end of the reader. Other bytes give other scores, or an
    /// error when they are read: who keeps them in a file guards them with a checksum.
    ///
    /// # Errors
    /// [`MetricError::Scratch`] where the bytes cannot be read or written.
    pub fn absorb_from(&mut self, mut from: impl Read) -> Result<Moved, MetricError> {
        let moved = Moved(self.end);
        let mut piece = Vec::new();
        loop {
            piece.clear();
            from.by_ref().take(PIECE).read_to_end(&mut piece).map_err(|error| failed("read", &error))?;
            if piece.is_empty() {
                return Ok(moved);
            }
            self.append(&piece)?;
        }
    }

    fn for_each_piece(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), MetricError>,
    ) -> Result<(), MetricError> {
        let mut start = 0;
        while start < self.end {
            let length = (self.end - start).min(PIECE);
            each(&self.read(start, length as usize)?)?;
            start += length;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<u64, MetricError> {
        let start = self.end;
        self.seek(start)?;
        self.store.write_all(bytes).map_err(|error| failed("write", &error))?;
        self.end += bytes.len() as u64;
        self.position = Some(self.end);
        Ok(start)
    }

    fn read(&mut self, start: u64, length: usize) -> Result<Vec<u8>, MetricError> {
        // Before memory is taken for them: places may come from a file.
        if start.checked_add(length as u64).is_none_or(|end| end > self.end) {
            return Err(failed("read", &io::ErrorKind::UnexpectedEof.into()));
        }
        self.seek(start)?;
        let mut bytes = vec![0; length];
        self.store.read_exact(&mut bytes).map_err(|error| failed("read", &error))?;
        self.position = Some(start + length as u64);
        Ok(bytes)
    }

    fn seek(&mut self, to: u64) -> Result<(), MetricError> {
        if self.position != Some(to) {
            // Unknown until the operation after it has succeeded.
            self.position = None;
            self.store.seek(SeekFrom::Start(to)).map_err(|error| failed("seek", &error))?;
        }
        Ok(())
    }
}

fn failed(operation: &'static str, error: &io::Error) -> MetricError {
    MetricError::Scratch { operation, kind: error.kind(), message: error.to_string() }
}

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

/// By how much the places of streams moved, when their [`Scratch`] was absorbed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved(u64);

/// The pixels of one class of one map, ascending, in blocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    blocks: Vec<Block>,
    pixels: u64,
}

/// Entries that are decoded together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Block {
    start: u64,
    bytes: u32,
    /// Lowest and highest key.
    first: u32,
    last: u32,
}

impl Run {
    /// Writes ascending orders, of any number of pixels.
    pub(crate) fn write(
        scratch: &mut Scratch,
        sorted: impl Iterator<Item = u64>,
    ) -> Result<Self, MetricError> {
        let mut run = Self::default();
        let mut bytes = Vec::new();
        // Start and end of each block within the bytes.
        let mut open: Option<(usize, usize, u32)> = None;
        let mut last_key = 0;
        let mut add = |entry: Entry, run: &mut Self, bytes: &mut Vec<u8>| {
            let key = entry.key();
            let (begin, entries, first) = match open {
                Some((begin, entries, first)) if entries < ENTRIES => (begin, entries, first),
                full => {
                    run.close(full, last_key, bytes.len());
                    last_key = 0;
                    (bytes.len(), 0, key)
                }
            };
            encode(entry, &mut last_key, bytes);
            open = Some((begin, entries + 1, first));
            run.pixels += entry.count;
        };
        let mut pending: Option<Entry> = None;
        for order in sorted {
            match &mut pending {
                Some(entry) if entry.order == order => entry.count += 1,
                _ => {
                    if let Some(entry) = pending.replace(Entry { order, count: 1 }) {
                        add(entry, &mut run, &mut bytes);
                    }
                }
            }
        }
        if let Some(entry) = pending {
            add(entry, &mut run, &mut bytes);
        }
        let (open, last_key) = (open, last_key);
        run.close(open, last_key, bytes.len());
        let start = scratch.append(&bytes)?;
        run.blocks.iter_mut().for_each(|block| block.start += start);
        run.blocks.shrink_to_fit();
        Ok(run)
    }

    fn close(&mut self, open: Option<(usize, usize, u32)>, last: u32, end: usize) {
        if let Some((begin, _, first)) = open {
            // A block takes at most 1024 entries of 25 bytes.
            self.blocks.push(Block { start: begin as u64, bytes: (end - begin) as u32, first, last });
        }
    }

    /// The same run in the scratch that absorbed its own.
    pub(crate) fn moved(mut self, moved: Moved) -> Self {
        self.blocks.iter_mut().for_each(|block| block.start = block.start.saturating_add(moved.0));
        self
    }

    /// Number of pixels.
    pub(crate) fn pixels(&self) -> u64 {
        self.pixels
    }

    /// Lowest key; `None` of no pixels.
    pub(crate) fn lowest(&self) -> Option<u32> {
        self.blocks.first().map(|block| block.first)
    }

    /// The bytes of all entries.
    pub(crate) fn read(&self, scratch: &mut Scratch) -> Result<Encoded, MetricError> {
        Encoded::read(scratch, &self.blocks)
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
    fn read(scratch: &mut Scratch, blocks: &[Block]) -> Result<Self, MetricError> {
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

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
fn push(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

struct Decoder<'a> {
    bytes: &'a [u8],
    last_key: u32,
}

impl Decoder<'_> {
    fn pull(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }
}

impl Iterator for Decoder<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let head = self.pull()?;
        self.last_key = self.last_key.wrapping_add((head >> 2) as u32);
        let size = if head & 2 != 0 { self.pull()? } else { 0 };
        let count = if head & 1 != 0 { self.pull()? } else { 1 };
        Some(Entry { order: u64::from(self.last_key) << 32 | size, count })
    }
}

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
pub(crate) fn for_each_stretch(
    scratch: &mut Scratch,
    positives: &[&Run],
    negatives: &[&Run],
    direction: Direction,
    mut each: impl FnMut(Stretch),
) -> Result<(), MetricError> {
    let mut bounds = bounds(positives.iter().chain(negatives).copied());
    if direction == Direction::Descending {
        bounds.reverse();
    }
    for bounds in bounds.chunks(AHEAD) {
        let mut encoded = Vec::with_capacity(bounds.len());
        for &(low, high) in bounds {
            let mut of = |runs: &[&Run]| -> Result<Vec<Encoded>, MetricError> {
                let parts = runs.iter().map(|run| {
                    let from = run.blocks.partition_point(|block| block.last < low);
                    let to = run.blocks.partition_point(|block| u64::from(block.first) < high);
                    run.blocks.get(from..to).unwrap_or_default()
                });
                parts
                    .filter(|blocks| !blocks.is_empty())
                    .map(|blocks| Encoded::read(scratch, blocks))
                    .collect()
            };
            encoded.push((of(positives)?, of(negatives)?, low, high));
        }
        let stretches: Vec<Stretch> = encoded
            .into_par_iter()
            .map(|(positives, negatives, low, high)| Stretch {
                positives: within(&positives, low, high),
                negatives: within(&negatives, low, high),
            })
            .collect();
        stretches.into_iter().for_each(&mut each);
    }
    Ok(())
}

/// The entries of some runs from key `low` to before `high`, ascending.
fn within(runs: &[Encoded], low: u32, high: u64) -> Vec<Entry> {
    let inside = |entry: &Entry| entry.key() >= low && u64::from(entry.key()) < high;
    let mut entries: Vec<Entry> = runs.iter().flat_map(|run| run.entries().filter(inside)).collect();
    // A stable sort takes the runs for what they are and merges them.
    entries.sort_by_key(|entry| entry.order);
    entries
}

/// Stretches of keys, ascending, that hold few entries each; the last one ends beyond every key.
fn bounds<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<(u32, u64)> {
    let mut count = 0;
    let mut firsts: Vec<u32> = Vec::new();
    for run in runs {
        count += 1;
        firsts.extend(run.blocks.iter().map(|block| block.first));
    }
    firsts.sort_unstable();
    // A stretch also reads a block of each run that begins before it, so it is to hold a good part of as many.
    let blocks = (STRETCH / ENTRIES).max(count / 4);
    let mut starts: Vec<u32> = firsts.iter().step_by(blocks).copied().collect();
    starts.dedup();
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
        fn runs_are_read_as_they_were_written(runs in prop::collection::vec(any_run(), 0..6)) {
            let mut scratch = Scratch::new(Cursor::new(Vec::new()));
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
            let mut merged = Vec::new();
            for_each_stretch(&mut scratch, &all, &[], Direction::Ascending, |stretch| {
                merged.extend(unpacked(stretch.positives.into_iter()));
            }).unwrap();
            prop_assert_eq!(merged, expected);
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
        assert!(stretches > 4 && most < 2 * STRETCH, "{stretches} {most}");
        // Ascending in small steps, an entry takes little more than a byte.
        assert!(scratch.bytes() < 2 * pixels, "{}", scratch.bytes());
    }

    #[test]
    fn a_store_that_fails_is_an_error() {
        struct Full;
        impl Read for Full {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
        }
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Seek for Full {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let error = Run::write(&mut Scratch::new(Full), [1].into_iter()).unwrap_err();
        assert!(
            matches!(
                error,
                MetricError::Scratch { operation: "write", kind: io::ErrorKind::StorageFull, .. }
            ),
            "{error}"
        );
    }
}
