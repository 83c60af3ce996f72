//! Runs of a mask joined into connected components.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3, Axis};
use rayon::prelude::*;

use crate::connectivity::Connectivity;

/// The runs of `true` along the last axis of a mask, in row-major order, each with its component.
///
/// Runs are far fewer than voxels, so only finding them and writing the labels is expensive. Slabs of rows are
/// processed in parallel, then joined; their size depends only on the shape of the mask.
pub(crate) struct Runs {
    lines: usize,
    columns: usize,
    rows_in_slab: usize,
    slabs: Vec<Slab>,
    /// Number, from 0, of the component of every run.
    component: Vec<usize>,
    count: usize,
}

/// The rows of a mask, or of the intersection of two.
struct Rows<'a> {
    mask: ArrayView3<'a, bool>,
    inside: Option<ArrayView3<'a, bool>>,
    lines: usize,
}

impl<'a> Rows<'a> {
    /// A row, numbered through all planes; it is copied if it is not contiguous in memory.
    fn get<'b>(&'b self, row: usize, gathered: &'b mut Vec<bool>) -> &'b [bool] {
        let mask = self.line(&self.mask, row);
        gathered.clear();
        match (&self.inside, mask.to_slice()) {
            (None, Some(values)) => return values,
            (None, None) => gathered.extend(mask),
            (Some(inside), _) => {
                gathered.extend(mask.iter().zip(self.line(inside, row)).map(|(on, inside)| on & inside));
            }
        }
        gathered
    }

    fn line<'b>(&self, of: &'b ArrayView3<'_, bool>, row: usize) -> ArrayView1<'b, bool> {
        of.index_axis(Axis(0), row / self.lines).index_axis_move(Axis(0), row % self.lines)
    }
}

/// Consecutive rows, and their runs.
struct Slab {
    spans: Vec<Range<usize>>,
    /// One past the last run of every row.
    ends: Vec<usize>,
    /// Number of the slab's first run.
    offset: usize,
}

impl Slab {
    /// The runs of the rows `first..end`, numbered through all planes.
    fn new(rows: &Rows<'_>, first: usize, end: usize) -> Self {
        let mut spans = Vec::new();
        let mut ends = Vec::with_capacity(end - first);
        let mut gathered = Vec::new();
        for row in first..end {
            runs_of_row(rows.get(row, &mut gathered), &mut spans);
            ends.push(spans.len());
        }
        Self { spans, ends, offset: 0 }
    }

    /// The runs of a row: their numbers within the slab.
    fn row(&self, row: usize) -> Range<usize> {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        begin..self.ends[row]
    }
}

impl Runs {
    /// The runs of a mask, or of the intersection of two masks.
    pub(crate) fn new(
        mask: ArrayView3<'_, bool>,
        inside: Option<ArrayView3<'_, bool>>,
        connectivity: Connectivity,
    ) -> Self {
        let (planes, lines, columns) = mask.dim();
        // Rows are connected at most a plane and a row back: most of their neighbors are in the same slab.
        let rows_in_slab = (if planes > 1 { 8 * (lines + 1) } else { 8 }).max(512);
        let mut runs =
            Self { lines, columns, rows_in_slab, slabs: Vec::new(), component: Vec::new(), count: 0 };
        if mask.is_empty() {
            return runs;
        }
        let rows = Rows { mask, inside, lines };
        let count = planes * lines;
        let within: Vec<(Slab, Vec<usize>)> = (0..count.div_ceil(rows_in_slab))
            .into_par_iter()
            .map(|index| {
                let first = index * rows_in_slab;
                let slab = Slab::new(&rows, first, count.min(first + rows_in_slab));
                let mut parent: Vec<usize> = (0..slab.spans.len()).collect();
                for row in 0..slab.ends.len() {
                    for_earlier(first + row, lines, connectivity, |earlier, slack| {
                        if let Some(earlier) = earlier.checked_sub(first) {
                            join_rows((&slab, earlier), (&slab, row), &mut parent, slack);
                        }
                    });
                }
                (slab, parent)
            })
            .collect();
        let mut parent = Vec::with_capacity(within.iter().map(|(_, parent)| parent.len()).sum());
        for (mut slab, own) in within {
            slab.offset = parent.len();
            parent.extend(own.iter().map(|run| run + slab.offset));
            runs.slabs.push(slab);
        }
        runs.join_slabs(&mut parent, connectivity);
        for run in 0..parent.len() {
            // The parent of a run comes before it, and by then holds the number of its component.
            if parent[run] == run {
                parent[run] = runs.count;
                runs.count += 1;
            } else {
                parent[run] = parent[parent[run]];
            }
        }
        runs.component = parent;
        runs
    }

    /// Joins the first rows of each slab with the rows of the slab before.
    fn join_slabs(&self, parent: &mut [usize], connectivity: Connectivity) {
        for (index, pair) in self.slabs.windows(2).enumerate() {
            let [before, slab] = pair else { continue };
            let first = (index + 1) * self.rows_in_slab;
            for row in 0..slab.ends.len().min(self.lines + 1) {
                for_earlier(first + row, self.lines, connectivity, |earlier, slack| {
                    if earlier < first {
                        let earlier = earlier - index * self.rows_in_slab;
                        join_rows((before, earlier), (slab, row), parent, slack);
                    }
                });
            }
        }
    }

    /// Number of components.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Every run with its position `[plane, row]` and its component.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ([usize; 2], &Range<usize>, usize)> {
        self.slabs.iter().enumerate().flat_map(move |(index, slab)| {
            (0..slab.ends.len()).flat_map(move |row| {
                let flat = index * self.rows_in_slab + row;
                let place = [flat / self.lines, flat % self.lines];
                slab.row(row).map(move |run| (place, &slab.spans[run], self.component[slab.offset + run]))
            })
        })
    }

    /// The label of every element in row-major order: 0, or one more than its component.
    pub(crate) fn labels(&self) -> Vec<u32> {
        let rows: usize = self.slabs.iter().map(|slab| slab.ends.len()).sum();
        let mut labels = vec![0_u32; rows * self.columns];
        self.paint(&mut labels, |component| component as u32 + 1);
        labels
    }

    /// Sets the elements of every component to its value; `values` has one for each element in row-major order.
    pub(crate) fn paint<T: Copy + Send>(&self, values: &mut [T], of: impl Fn(usize) -> T + Sync) {
        if values.is_empty() {
            return;
        }
        values.par_chunks_mut(self.columns * self.rows_in_slab).zip(&self.slabs).for_each(
            |(values, slab)| {
                for (row, values) in values.chunks_exact_mut(self.columns).enumerate() {
                    for run in slab.row(row) {
                        values[slab.spans[run].clone()].fill(of(self.component[slab.offset + run]));
                    }
                }
            },
        );
    }
}

/// Calls `join` with every earlier row that may be connected to a row, and the largest gap between connected runs.
fn for_earlier(row: usize, lines: usize, connectivity: Connectivity, mut join: impl FnMut(usize, usize)) {
    let (plane, line) = (row / lines, row % lines);
    let mut at = |earlier: usize, steps: usize| {
        if let Some(slack) = connectivity.slack(steps) {
            join(earlier, slack);
        }
    };
    if line > 0 {
        at(row - 1, 1);
    }
    if plane > 0 {
        at(row - lines, 1);
        if line > 0 {
            at(row - lines - 1, 2);
        }
        if line + 1 < lines {
            at(row - lines + 1, 2);
        }
    }
}

/// Joins the runs of two rows that overlap, or lie at most `slack` apart.
fn join_rows(
    (earlier, earlier_row): (&Slab, usize),
    (later, later_row): (&Slab, usize),
    parent: &mut [usize],
    slack: usize,
) {
    let (mut a, mut b) = (earlier.row(earlier_row), later.row(later_row));
    while let (Some(one), Some(other)) = (earlier.spans.get(a.clone()), later.spans.get(b.clone()))
        && let ([one, ..], [other, ..]) = (one, other)
    {
        if one.start < other.end + slack && other.start < one.end + slack {
            let roots = (find(parent, earlier.offset + a.start), find(parent, later.offset + b.start));
            parent[roots.0.max(roots.1)] = roots.0.min(roots.1);
        }
        if one.end <= other.end { a.start += 1 } else { b.start += 1 }
    }
}

/// The root of a run, which is the lowest number of its set; halves the path on the way.
fn find(parent: &mut [usize], mut run: usize) -> usize {
    while parent[run] != run {
        parent[run] = parent[parent[run]];
        run = parent[run];
    }
    run
}

/// Appends the runs of one row, found as the changes between neighboring bits of 64 values.
fn runs_of_row(row: &[bool], spans: &mut Vec<Range<usize>>) {
    let mut open = None;
    for (word, values) in row.chunks(64).enumerate() {
        let bits = packed(values);
        let mut changes = bits ^ (bits << 1 | u64::from(open.is_some()));
        while changes != 0 {
            let position = word * 64 + changes.trailing_zeros() as usize;
            // Bits past the last value are 0, which ends a run that reaches the end of the row.
            match open.take() {
                None => open = Some(position),
                Some(start) => spans.push(start..position),
            }
            changes &= changes - 1;
        }
    }
    if let Some(start) = open {
        spans.push(start..row.len());
    }
}

/// Up to 64 values as the bits of a word, the first as the lowest.
fn packed(values: &[bool]) -> u64 {
    let mut eights = values.chunks_exact(8);
    let mut bits = 0;
    for (index, eight) in eights.by_ref().enumerate() {
        let bytes = std::array::from_fn(|i| u8::from(eight[i]));
        // The product moves bit 0 of byte `i` to bit `56 + i`; no two terms overlap, so nothing carries.
        let byte = u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= byte << (8 * index);
    }
    let done = values.len() / 8 * 8;
    for (index, &inside) in eights.remainder().iter().enumerate() {
        bits |= u64::from(inside) << (done + index);
    }
    bits
}
