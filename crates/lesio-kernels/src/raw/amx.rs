//! Products of pairs of bfloat16 by the matrix unit of some Intel processors (AMX).
//!
//! A tile is a register of up to 16 rows of 16 words. One instruction multiplies a tile of pixels (a row for each
//! column of the product, a word for each pair of terms) by a tile of weights (a row for each pair of terms, a word
//! for each lane), and adds the products to a tile of sums. Both operands lie in memory as the tiles want them:
//! pixels are as far apart as the columns, and weights as the terms. Nothing is packed.
//!
//! Four tiles of sums are worked on at once, because each instruction waits longer for the sums of the one before than
//! for the unit: two tiles of columns by two blocks of lanes, or four by one. Sums of more than 16 pairs go on in the
//! same tiles. Where the terms that lie side by side are no multiple of 16, they are cut into equal runs, or else into
//! runs of 16 and one rest, which is summed by itself afterwards, because the shapes of all tiles are set at once. How
//! sums are cut depends on the product alone, so that no result depends on neighbors or threads.

use std::arch::asm;
use std::mem::offset_of;

use super::amx_unit::{SIDE, WORD};
use super::call::{Call, Part};
use super::operands::{Axis, Range, Start};
use super::place::Place;
use super::vector::{Avx512, LANES, Vector, load};

/// Tiles of sums that are worked on at once.
const SUMS: usize = 4;
/// Products of tiles between which sums stay in their tiles. More than [`Gemm::in_parts`] leaves together.
///
/// [`Gemm::in_parts`]: super::Gemm::in_parts
const STEPS: usize = 64;

/// The shapes of all tiles, as the processor takes them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row.
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// For tiles of `height` columns, of `terms` pairs, and of one or two blocks the last of which has `last` lanes;
    /// none of these is 0 or more than 16.
    fn new(height: usize, terms: usize, two: bool, last: usize) -> Self {
        let mut shapes = Self { palette: 1, start_row: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        let mut set = |tile: usize, rows: usize, words: usize| {
            (shapes.rows[tile], shapes.bytes[tile]) = (rows as u8, (words * WORD) as u16);
        };
        let first = if two { LANES } else { last };
        [first, last, first, last].into_iter().enumerate().for_each(|(tile, lanes)| set(tile, height, lanes));
        set(4, height, terms);
        set(5, height, terms);
        set(6, terms, first);
        if two {
            set(7, terms, last)
        } else {
            set(7, height, terms)
        }
        shapes
    }

    /// Gives all tiles these shapes, and zeros.
    ///
    /// # Safety
    /// Like [`Release::when_dropped`], and a [`Release`] must be alive.
    unsafe fn set(&self) {
        // SAFETY: the caller's; the 64 bytes are a palette and shapes that every such processor has (`new`).
        unsafe {
            asm!(
                "ldtilecfg [{shapes}]",
                shapes = in(reg) self,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(readonly, nostack),
            );
        }
    }
}

/// Four tiles of sums: where they, their pixels and their weights begin, and distances of rows in bytes.
#[repr(C)]
struct Sums {
    outputs: [*mut f32; SUMS],
    pixels: [*const f32; SUMS],
    weights: [*const f32; 2],
    /// The first step, and the end behind the last: bytes from where weights and pixels begin to those of the step.
    steps: *const [usize; 2],
    end: *const [usize; 2],
    output_row: usize,
    pixel_row: usize,
    weight_row: usize,
    /// Whether the sums go on from the values in the output: 1 or 0.
    continued: usize,
}

/// Defines a function that computes four tiles of sums, given the instructions of a step; before them `{weight}`
/// and `{pixel}` hold the distances of the step, and `{at}` is theirs to change.
macro_rules! sums {
    ($(#[$attribute:meta])* $name:ident, [$($step:literal)*]) => {
        $(#[$attribute])*
        ///
        /// # Safety
        /// The tiles' shapes were set to those of the sums, and all rows of all tiles lie inside memory that may be
        /// read, and written for the outputs. There is at least one step.
        unsafe fn $name(sums: &Sums) {
            // SAFETY: the caller's. One block, so that the compiler need not know that tiles hold something between.
            unsafe {
                asm!(
                    "mov {row}, [{sums} + {output_row}]",
                    "cmp qword ptr [{sums} + {continued}], 0",
                    "jne 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "jmp 3f",
                    "2:",
                    "mov {at}, [{sums} + {outputs}]",
                    "tileloadd tmm0, [{at} + {row}]",
                    "mov {at}, [{sums} + {outputs} + 8]",
                    "tileloadd tmm1, [{at} + {row}]",
                    "mov {at}, [{sums} + {outputs} + 16]",
                    "tileloadd tmm2, [{at} + {row}]",
                    "mov {at}, [{sums} + {outputs} + 24]",
                    "tileloadd tmm3, [{at} + {row}]",
                    "3:",
                    "mov {step}, [{sums} + {steps}]",
                    "mov {pixel_step}, [{sums} + {pixel_row}]",
                    "mov {weight_step}, [{sums} + {weight_row}]",
                    "4:",
                    "mov {weight}, [{step}]",
                    "mov {pixel}, [{step} + 8]",
                    $($step,)*
                    "add {step}, 16",
                    "cmp {step}, [{sums} + {end}]",
                    "jne 4b",
                    "mov {at}, [{sums} + {outputs}]",
                    "tilestored [{at} + {row}], tmm0",
                    "mov {at}, [{sums} + {outputs} + 8]",
                    "tilestored [{at} + {row}], tmm1",
                    "mov {at}, [{sums} + {outputs} + 16]",
                    "tilestored [{at} + {row}], tmm2",
                    "mov {at}, [{sums} + {outputs} + 24]",
                    "tilestored [{at} + {row}], tmm3",
                    sums = in(reg) sums,
                    row = out(reg) _,
                    at = out(reg) _,
                    step = out(reg) _,
                    weight = out(reg) _,
                    pixel = out(reg) _,
                    weight_step = out(reg) _,
                    pixel_step = out(reg) _,
                    outputs = const offset_of!(Sums, outputs),
                    pixels = const offset_of!(Sums, pixels),
                    weights = const offset_of!(Sums, weights),
                    steps = const offset_of!(Sums, steps),
                    end = const offset_of!(Sums, end),
                    output_row = const offset_of!(Sums, output_row),
                    pixel_row = const offset_of!(Sums, pixel_row),
                    weight_row = const offset_of!(Sums, weight_row),
                    continued = const offset_of!(Sums, continued),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

sums!(
    /// Two tiles of columns by two blocks: sums 0 and 1 are those of the first columns.
    two_by_two,
    [
        "mov {at}, [{sums} + {pixels}]"
        "add {at}, {pixel}"
        "tileloadd tmm4, [{at} + {pixel_step}]"
        "mov {at}, [{sums} + {weights}]"
        "add {at}, {weight}"
        "tileloadd tmm6, [{at} + {weight_step}]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "mov {at}, [{sums} + {weights} + 8]"
        "add {at}, {weight}"
        "tileloadd tmm7, [{at} + {weight_step}]"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "mov {at}, [{sums} + {pixels} + 16]"
        "add {at}, {pixel}"
        "tileloadd tmm5, [{at} + {pixel_step}]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7"
    ]
);
sums!(
    /// Four tiles of columns by one block.
    four_by_one,
    [
        "mov {at}, [{sums} + {weights}]"
        "add {at}, {weight}"
        "tileloadd tmm6, [{at} + {weight_step}]"
        "mov {at}, [{sums} + {pixels}]"
        "add {at}, {pixel}"
        "tileloadd tmm4, [{at} + {pixel_step}]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "mov {at}, [{sums} + {pixels} + 8]"
        "add {at}, {pixel}"
        "tileloadd tmm5, [{at} + {pixel_step}]"
        "tdpbf16ps tmm1, tmm5, tmm6"
        "mov {at}, [{sums} + {pixels} + 16]"
        "add {at}, {pixel}"
        "tileloadd tmm7, [{at} + {pixel_step}]"
        "tdpbf16ps tmm2, tmm7, tmm6"
        "mov {at}, [{sums} + {pixels} + 24]"
        "add {at}, {pixel}"
        "tileloadd tmm4, [{at} + {pixel_step}]"
        "tdpbf16ps tmm3, tmm4, tmm6"
    ]
);

/// How `terms` that lie side by side are cut: where runs begin, their length, and how many there are.
fn runs(terms: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let runs = terms.div_ceil(SIDE);
    let (whole, rest) = (terms / SIDE, terms % SIDE);
    let cut = if terms.is_multiple_of(runs) {
        [(0, terms / runs, runs), (0, 0, 0)]
    } else {
        [(0, SIDE, whole), (whole * SIDE, rest, 1)]
    };
    cut.into_iter().filter(|&(_, _, count)| count > 0)
}

/// How a row of columns is cut into tiles of about the same height: as [`runs`].
fn heights(columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let tiles = columns.div_ceil(SIDE);
    let (low, higher) = (columns / tiles, columns % tiles);
    let cut = [(0, low + 1, higher), (higher * (low + 1), low, tiles - higher)];
    cut.into_iter().filter(|&(_, _, count)| count > 0)
}

impl Call<'_> {
    /// Whether tiles compute the product.
    pub(super) fn suits_tiles(&self) -> bool {
        let product = self.product;
        self.is_of_pairs() && !product.separate_parts && product.terms.iter().all(|axis| axis.count > 0)
    }

    /// Like [`Call::part`], on tiles.
    ///
    /// # Safety
    /// Like [`Call::part`]; there are tiles, a [`Release`] is alive, and the product suits them.
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub(super) unsafe fn part_on_tiles<const BLOCKS: usize>(&self, part: &Part<'_>) {
        let &Part { block, last, position, is_first, is_last, outer, .. } = part;
        let two = BLOCKS == 2;
        let product = self.product;
        let (terms, first) = self.terms_of(block, position);
        let [rows, columns, inner] = terms;
        let mut continued = !(is_first && product.start == Start::Replace);
        let (last_run, _, _) = runs(inner.count).last().unwrap_or_default();
        for (start, size, count) in runs(inner.count) {
            let all = rows.count * columns.count * count;
            for done in (0..all).step_by(STEPS) {
                let mut steps = [[0; 2]; STEPS];
                let few = STEPS.min(all - done);
                for (index, step) in (done..done + few).zip(&mut steps) {
                    let tap = index / count;
                    let at = [tap / columns.count, tap % columns.count, start + index % count * size];
                    let distance = |stride: fn(&Axis) -> usize| {
                        at.iter().zip(&terms).map(|(at, axis)| at * stride(axis)).sum::<usize>() * WORD
                    };
                    *step = [distance(|axis| axis.a), distance(|axis| axis.b)];
                }
                let finish = is_last && start == last_run && done + few == all && self.finishes();
                for heights in heights(product.columns.count) {
                    let group = Group {
                        call: self,
                        steps: &steps[..few],
                        weight_row: inner.a,
                        block,
                        two,
                        last,
                        height: heights.1,
                        continued,
                        finish,
                    };
                    // SAFETY: the caller's; all these numbers are between 1 and 16. The group's terms lie inside the
                    // part, and its columns inside the product.
                    unsafe {
                        Shapes::new(heights.1, size, two, last).set();
                        group.run(first, outer, heights);
                    }
                }
                continued = true;
            }
        }
    }
}

/// Tiles of columns of one height, and what is computed for them while weights are near.
struct Group<'g> {
    call: &'g Call<'g>,
    steps: &'g [[usize; 2]],
    /// Distance of terms in the weights.
    weight_row: usize,
    block: usize,
    two: bool,
    /// Lanes of the last block.
    last: usize,
    height: usize,
    continued: bool,
    finish: bool,
}

impl Group<'_> {
    /// Goes over all positions, so many tiles at once as there are sums for. Order matters only for speed.
    ///
    /// # Safety
    /// Like [`Call::part_on_tiles`]; shapes were set to the group's, and `first` is where the part begins in `a` and
    /// `b`.
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn run(
        &self,
        first: [usize; 2],
        outer: &[Range; 2],
        (column, height, count): (usize, usize, usize),
    ) {
        let product = self.call.product;
        let room = if self.two { 2 } else { SUMS };
        let nowhere = Place {
            a: std::ptr::null(),
            b: std::ptr::null(),
            c: std::ptr::null_mut(),
            mask: std::ptr::null(),
        };
        let (mut places, mut held) = ([nowhere; SUMS], 0);
        for inner in 0..product.outer[2].count * product.outer[3].count {
            let (i2, i3) = (inner / product.outer[3].count, inner % product.outer[3].count);
            for i0 in outer[0].clone() {
                for i1 in outer[1].clone() {
                    let at = [i0, i1, i2, i3];
                    for tile in 0..count {
                        // SAFETY: the caller's: the first column of the tile is one of the product's.
                        let place = unsafe { self.call.place(first, self.block, at, column + tile * height) };
                        if held == room || held > 0 && places[0].a != place.a {
                            // SAFETY: the caller's.
                            unsafe { self.compute(&places[..held]) };
                            held = 0;
                        }
                        places[held] = place;
                        held += 1;
                    }
                }
            }
        }
        if held > 0 {
            // SAFETY: the caller's.
            unsafe { self.compute(&places[..held]) };
        }
    }

    /// Computes one tile or some, which have the same weights. Tiles that are missing are the first once more: the
    /// unit would wait for as long.
    ///
    /// # Safety
    /// Like [`Group::run`]; there is at least one place, and no more than there are sums for.
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn compute(&self, places: &[Place]) {
        let product = self.call.product;
        let place = |index: usize| places.get(index).unwrap_or(&places[0]);
        let blocks = if self.two { 2 } else { 1 };
        let steps = self.steps.as_ptr_range();
        let sums = Sums {
            outputs: std::array::from_fn(|sum| {
                place(sum / blocks).c.wrapping_add(sum % blocks * product.c_block)
            }),
            pixels: std::array::from_fn(|sum| place(sum / blocks).b),
            weights: [places[0].a, places[0].a.wrapping_add((blocks - 1) * product.a_block)],
            steps: steps.start,
            end: steps.end,
            output_row: product.columns.c * WORD,
            pixel_row: product.columns.b * WORD,
            weight_row: self.weight_row * WORD,
            continued: usize::from(self.continued),
        };
        // SAFETY: the caller's: these are columns, lanes and terms of the product, whose indices `Gemm::check`
        // found inside the slices. Sums that are computed twice are read before either is written.
        unsafe { if self.two { two_by_two(&sums) } else { four_by_one(&sums) } }
        if !self.finish {
            return;
        }
        let ending = self.call.ending(self.block);
        for place in places {
            for column in 0..self.height {
                let mask = match place.mask.is_null() {
                    true => place.mask,
                    false => place.mask.wrapping_add(column * product.columns.mask),
                };
                for block in 0..blocks {
                    let room = if block + 1 == blocks { self.last } else { LANES };
                    // SAFETY: as above; mask and bias reach as far as the outputs, and the instructions are there.
                    unsafe {
                        let to = place.c.add(column * product.columns.c + block * product.c_block);
                        let sum = ending.of(load::<Avx512>(to, room), mask, block, room);
                        if room == LANES { sum.store(to) } else { sum.store_first(to, room) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
