//! A tile of a product: sums that stay in registers over a whole part.

use super::operands::{Axis, Range, TAPS};
use super::place::Ending;
use super::vector::{LANES, Vector, load};

/// What is common to the tiles of a part.
pub(super) struct Microkernel<'t> {
    pub(super) terms: &'t [Axis; 3],
    pub(super) a_block: usize,
    pub(super) b_step: usize,
    /// Distances of 0 to 3 columns, and of 0, 4, 8 and 12.
    pub(super) b_steps: [usize; 4],
    pub(super) b_groups: [usize; 4],
    pub(super) c_block: usize,
    pub(super) c_step: usize,
    pub(super) mask_step: usize,
    /// The sums go on from the values in the output.
    pub(super) continued: bool,
    /// The values in the output are added to the sums.
    pub(super) added: bool,
    /// Lanes of the last block.
    pub(super) last: usize,
    /// Rows of `b` that the next position of the second loop reads and this one does not, where the first
    /// of them begins, and how far they are apart.
    pub(super) ahead: usize,
    pub(super) ahead_first: usize,
    pub(super) ahead_row: usize,
    /// Whether anything is prefetch ahead.
    pub(super) asks: bool,
    /// For each [`Prefetch`], where its values for the first column begin, how far columns are apart, and the
    /// number of values at each.
    pub(super) prefetch: [(*const f32, usize, usize); 3],
    pub(super) finish: bool,
    pub(super) ending: Ending,
}

impl Microkernel<'_> {
    /// Asks for what is prefetch at some columns. By itself, so that the tiles of products that want nothing
    /// are compiled as if there were none of this.
    #[inline(never)]
    fn ask<V: Vector>(&self, columns: Range) {
        for (from, column, values) in self.prefetch {
            for at in columns.clone().take(if values > 0 { columns.len() } else { 0 }) {
                for value in (0..values).step_by(LANES) {
                    // SAFETY: any address may be asked for, and what asks needs no instructions that not
                    // every processor has.
                    unsafe { V::fetch_ahead(from.wrapping_add(at * column + value)) };
                }
            }
        }
    }

    /// A row of columns, cut into tiles of about the same width.
    ///
    /// # Safety
    /// Like [`Call::item`], for the columns from these pointers.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // Pointers into four operands.
    pub(super) unsafe fn row<V: Vector, const HOW: u8, const BLOCKS: usize>(
        &self,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        mask: *const f32,
        columns: usize,
    ) {
        let most = if HOW == SLIDING { V::SLIDING_COLUMNS } else { V::COLUMNS }[BLOCKS - 1];
        let tiles = columns.div_ceil(most);
        let mut done = 0;
        for tile in 0..tiles {
            let width = (columns - done).div_ceil(tiles - tile);
            if self.asks {
                self.ask::<V>(done..done + width);
            }
            // SAFETY: `done + width <= columns`, so all pointers stay within the row.
            unsafe {
                let b = b.wrapping_add(done * self.b_step);
                let c = c.add(done * self.c_step);
                let mask = if mask.is_null() { mask } else { mask.add(done * self.mask_step) };
                match (HOW, BLOCKS) {
                    (SLIDING, 2) => self.sliding_wide::<V>(width, a, b, c, mask),
                    (SLIDING, _) => self.sliding::<V>(width, a, b, c, mask),
                    (WEIGHTS, 2) => self.weights_wide::<V>(width, a, b, c, mask),
                    (WEIGHTS, _) if self.last == LANES => self.weights::<V>(width, a, b, c, mask),
                    (WEIGHTS, _) => self.weights_partial::<V>(width, a, b, c, mask),
                    (_, 2) => self.values_wide::<V>(width, a, b, c, mask),
                    _ => self.values::<V>(width, a, b, c, mask),
                }
            }
            done += width;
        }
    }
}

/// Defines the choice of a tile's compiled width.
macro_rules! widths {
    ($name:ident, $columns:ident, $blocks:literal, $how:ident, [$($width:literal)*]) => {
        impl Microkernel<'_> {
            /// # Safety
            /// Like [`Microkernel::row`].
            #[inline(always)]
            unsafe fn $name<V: Vector>(&self, width: usize, a: *const f32, b: *const f32, c: *mut f32, mask: *const f32) {
                match width {
                    // SAFETY: the caller's.
                    // Constants, so that tiles too wide for the vectors are not even compiled.
                    $($width if const { $width <= V::$columns[$blocks - 1] } => unsafe {
                        self.tile::<V, $blocks, $width, $how>(a, b, c, mask)
                    },)*
                    _ => {}
                }
            }
        }
    };
}
widths!(values, COLUMNS, 1, VALUES, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
widths!(values_wide, COLUMNS, 2, VALUES, [1 2 3 4 5 6 7 8 9 10 11 12]);
widths!(sliding, SLIDING_COLUMNS, 1, SLIDING, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]);
widths!(sliding_wide, SLIDING_COLUMNS, 2, SLIDING, [1 2 3 4 5 6 7 8 9 10 11 12]);
widths!(weights, COLUMNS, 1, WEIGHTS, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
widths!(weights_wide, COLUMNS, 2, WEIGHTS, [1 2 3 4 5 6 7 8 9 10 11 12]);
widths!(weights_partial, COLUMNS, 1, PARTIAL_WEIGHTS, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);

/// Kinds of compiled tiles: those of `Kind::Values`, the same sliding, those of `Kind::Weights`, and the same where the
/// block of `a` ends early.
pub(super) const VALUES: u8 = 0;
pub(super) const SLIDING: u8 = 1;
pub(super) const WEIGHTS: u8 = 2;
const PARTIAL_WEIGHTS: u8 = 3;

impl Microkernel<'_> {
    /// `BLOCKS * 16` lanes of `WIDTH` columns, held in registers over the whole part.
    ///
    /// # Safety
    /// Like [`Microkernel::row`].
    #[inline(always)]
    unsafe fn tile<V: Vector, const BLOCKS: usize, const WIDTH: usize, const HOW: u8>(
        &self,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        mask: *const f32,
    ) {
        // SAFETY of all blocks here: the caller's; `a` and `b` move by wrapping arithmetic to be formed
        // even where they are not read.
        let mut sums = [[unsafe { V::splat(0.0) }; BLOCKS]; WIDTH];
        let room = |block: usize| if HOW <= SLIDING && block + 1 == BLOCKS { self.last } else { LANES };
        let output =
            |column: usize, block: usize| unsafe { c.add(column * self.c_step + block * self.c_block) };
        if HOW <= SLIDING {
            // By the time the next row of the output is computed, the rows of the image that it adds to
            // those in the caches are there too.
            for row in 0..self.ahead {
                let from = b.wrapping_add(self.ahead_first + row * self.ahead_row);
                for value in (0..WIDTH * self.b_step).step_by(LANES) {
                    unsafe { V::fetch_ahead(from.wrapping_add(value)) };
                }
            }
        }
        if !mask.is_null() && self.finish {
            // The mask is read last, when all is waiting for it, and comes from far away.
            for column in 0..WIDTH {
                for block in 0..BLOCKS {
                    unsafe { V::fetch_ahead(mask.wrapping_add(column * self.mask_step + block * LANES)) };
                }
            }
        }
        if self.continued {
            for (column, sums) in sums.iter_mut().enumerate() {
                for (block, sum) in sums.iter_mut().enumerate() {
                    *sum = unsafe { load::<V>(output(column, block), room(block)) };
                }
            }
        }
        unsafe {
            match HOW {
                VALUES => self.sum_values(a, b, &mut sums),
                SLIDING => self.sum_sliding(a, b, &mut sums),
                _ => self.sum_weights::<V, BLOCKS, WIDTH>(HOW == PARTIAL_WEIGHTS, a, b, &mut sums),
            }
        }
        for (column, sums) in sums.into_iter().enumerate() {
            for (block, mut sum) in sums.into_iter().enumerate() {
                let (to, room) = (output(column, block), room(block));
                unsafe {
                    if self.added {
                        sum = sum.add(load::<V>(to, room));
                    }
                    if self.finish {
                        let mask = if mask.is_null() { mask } else { mask.add(column * self.mask_step) };
                        sum = self.ending.of(sum, mask, block, room);
                    }
                    if room == LANES { sum.store(to) } else { sum.store_first(to, room) }
                }
            }
        }
    }
}

impl Microkernel<'_> {
    /// # Safety
    /// Like [`Microkernel::row`].
    #[inline(always)]
    unsafe fn sum_values<V: Vector, const BLOCKS: usize, const WIDTH: usize>(
        &self,
        a: *const f32,
        b: *const f32,
        sums: &mut [[V; BLOCKS]; WIDTH],
    ) {
        // SAFETY of all blocks here: the caller's.
        let [outer, middle, inner] = self.terms;
        for i in 0..outer.count {
            for j in 0..middle.count {
                let mut a = a.wrapping_add(i * outer.a + j * middle.a);
                let b = b.wrapping_add(i * outer.b + j * middle.b);
                let mut groups = self.b_groups.map(|group| b.wrapping_add(group));
                for _ in 0..inner.count {
                    let mut lanes = [unsafe { V::splat(0.0) }; BLOCKS];
                    for (block, lane) in lanes.iter_mut().enumerate() {
                        *lane = unsafe { V::load(a.wrapping_add(block * self.a_block)) };
                    }
                    for (column, sums) in sums.iter_mut().enumerate() {
                        let from = groups[column / 4].wrapping_add(self.b_steps[column % 4]);
                        let value = unsafe { V::splat(*from) };
                        for (sum, lane) in sums.iter_mut().zip(lanes) {
                            *sum = unsafe { sum.multiply_add(lane, value) };
                        }
                    }
                    a = a.wrapping_add(inner.a);
                    groups = groups.map(|group| group.wrapping_add(1));
                }
            }
        }
    }

    /// As `sum_values`, each value of `b` fetched once for all taps that meet it.
    ///
    /// # Safety
    /// Like [`Microkernel::row`].
    #[inline(always)]
    unsafe fn sum_sliding<V: Vector, const BLOCKS: usize, const WIDTH: usize>(
        &self,
        a: *const f32,
        b: *const f32,
        sums: &mut [[V; BLOCKS]; WIDTH],
    ) {
        // SAFETY of all blocks here: the caller's.
        let [outer, middle, inner] = self.terms;
        for i in 0..outer.count {
            let mut a = a.wrapping_add(i * outer.a);
            let b = b.wrapping_add(i * outer.b);
            let mut groups = self.b_groups.map(|group| b.wrapping_add(group));
            // Columns 16 and 17 lie behind the last group.
            let mut beyond = groups[3].wrapping_add(self.b_groups[1]);
            for _ in 0..inner.count {
                let mut lanes = [[unsafe { V::splat(0.0) }; BLOCKS]; TAPS];
                for (tap, lanes) in lanes.iter_mut().enumerate() {
                    for (block, lane) in lanes.iter_mut().enumerate() {
                        *lane = unsafe { V::load(a.wrapping_add(tap * middle.a + block * self.a_block)) };
                    }
                }
                let all = [groups[0], groups[1], groups[2], groups[3], beyond];
                // Written out: the compiler unrolls only short loops, and sums that are indexed by a
                // variable do not stay in registers.
                unsafe { slide::<V, BLOCKS, WIDTH, 0>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 1>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 2>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 3>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 4>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 5>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 6>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 7>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 8>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 9>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 10>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 11>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 12>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 13>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 14>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 15>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 16>(&all, &self.b_steps, &lanes, sums) };
                unsafe { slide::<V, BLOCKS, WIDTH, 17>(&all, &self.b_steps, &lanes, sums) };
                a = a.wrapping_add(inner.a);
                groups = groups.map(|group| group.wrapping_add(1));
                beyond = beyond.wrapping_add(1);
            }
        }
    }

    /// # Safety
    /// Like [`Microkernel::row`].
    #[inline(always)]
    unsafe fn sum_weights<V: Vector, const BLOCKS: usize, const WIDTH: usize>(
        &self,
        partial: bool,
        a: *const f32,
        b: *const f32,
        sums: &mut [[V; BLOCKS]; WIDTH],
    ) {
        // SAFETY of all blocks here: the caller's.
        let [outer, middle, inner] = self.terms;
        for i in 0..outer.count {
            for j in 0..middle.count {
                let mut a = a.wrapping_add(i * outer.a + j * middle.a);
                let mut b = b.wrapping_add(i * outer.b + j * middle.b);
                for _ in 0..inner.count {
                    let mut lanes = [unsafe { V::splat(0.0) }; BLOCKS];
                    for (block, lane) in lanes.iter_mut().enumerate() {
                        let from = a.wrapping_add(block * self.a_block);
                        let short = partial && block + 1 == BLOCKS;
                        *lane = unsafe { if short { V::load_first(from, self.last) } else { V::load(from) } };
                    }
                    for (column, sums) in sums.iter_mut().enumerate() {
                        let value = unsafe { V::splat(*b.wrapping_add(column)) };
                        for (sum, lane) in sums.iter_mut().zip(lanes) {
                            *sum = unsafe { sum.multiply_add(lane, value) };
                        }
                    }
                    a = a.wrapping_add(inner.a);
                    b = b.wrapping_add(inner.b);
                }
            }
        }
    }
}

/// Position `AT` of a sliding tile: its value, for all columns that it meets.
///
/// # Safety
/// Like [`Microkernel::row`].
#[inline(always)]
unsafe fn slide<V: Vector, const BLOCKS: usize, const WIDTH: usize, const AT: usize>(
    groups: &[*const f32; 5],
    steps: &[usize; 4],
    lanes: &[[V; BLOCKS]; TAPS],
    sums: &mut [[V; BLOCKS]; WIDTH],
) {
    if AT >= WIDTH + TAPS - 1 {
        return;
    }
    // SAFETY of all blocks here: the caller's.
    let value = unsafe { V::splat(*groups[AT / 4].wrapping_add(steps[AT % 4])) };
    for tap in 0..TAPS {
        if AT >= tap && AT - tap < WIDTH {
            for block in 0..BLOCKS {
                let sum = &mut sums[AT - tap][block];
                *sum = unsafe { sum.multiply_add(lanes[tap][block], value) };
            }
        }
    }
}
