//! The one computation behind convolutions and linear layers: a strided product of small matrices.
//!
//! On channel-last images with borders, each of the convolution's operations (forward, adjoint, weight
//! gradient) has the form
//!
//! ```text
//! c[o, x][lane] = finish(sum over t of a[o, t][lane] * b[o, t, x])
//! ```
//!
//! with 16 output channels side by side as lanes, columns x, terms t of up to three nested sums, and
//! outer loops o of up to four; all indices advance by fixed strides. Each result is the sum of its
//! terms in their order, whatever the neighbours, the tile or the thread.

use std::hint::black_box;

use super::isa::{Isa, Level};
#[cfg(target_arch = "x86_64")]
use super::tiles::Release;
#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use super::vector::{LANES, Pairs, Portable, Vector, load};
use super::workers::{Shared, Workers};
use crate::error::KernelError;

/// A loop: how often it runs, and how far each run moves in the operands, the output and the mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) count: usize,
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: usize,
    pub(crate) mask: usize,
}

impl Axis {
    /// A loop that runs once.
    pub(crate) const ONCE: Self = Self { count: 1, a: 0, b: 0, c: 0, mask: 0 };
}

/// What the lanes are, and which values of `b` lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lanes are outputs: `a` is packed weights in full blocks, `c` has no room beyond the last lane.
    /// The innermost terms of `b` lie side by side.
    Values,
    /// Lanes are terms of a gradient: `a` holds no values beyond the last lane, `c` is packed and takes
    /// full blocks. The columns of `b` lie side by side.
    Weights,
}

/// What the values of both factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operands {
    /// Each is one `f32`.
    Single,
    /// The bits of each are two bfloat16: the products of the lower and of the upper ones are terms.
    Pairs,
}

/// What becomes of the values already in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// They are replaced.
    Replace,
    /// The terms are added to them.
    Add,
}

/// What is done with each sum before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a> {
    /// Added to each lane.
    pub(crate) bias: Option<&'a [f32]>,
    /// Negative results are multiplied by this; 1 changes nothing.
    pub(crate) slope: f32,
    /// Results are multiplied by a slope where a value elsewhere is not positive.
    pub(crate) mask: Option<Mask<'a>>,
}

/// Values whose sign decides; they are found by the strides `mask` of the axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) first: usize,
    pub(crate) slope: f32,
}

impl Finish<'_> {
    pub(crate) const NOTHING: Self = Self { bias: None, slope: 1.0, mask: None };
}

/// Memory that is wanted soon after a product: it is asked for column by column while the product is
/// computed. Matters only for speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// Address of the first value; it need not be valid.
    pub(crate) address: usize,
    /// Values by which the two outermost loops, the two within and the columns move it, and how many positions
    /// of the outermost loop it is wanted for.
    pub(crate) outer: [usize; 2],
    pub(crate) inner: [usize; 2],
    pub(crate) column: usize,
    pub(crate) positions: usize,
    /// Values at each column: with the first block, or 16 with each block.
    pub(crate) values: usize,
    pub(crate) by_block: bool,
}

impl Ahead {
    /// Nothing is wanted.
    pub(crate) const NOTHING: Self = Self {
        address: 0,
        outer: [0; 2],
        inner: [0; 2],
        column: 0,
        positions: 0,
        values: 0,
        by_block: false,
    };

    /// Where the values for the first column begin at positions of the outer loops and some blocks, how far
    /// columns are apart, and how many values are wanted at each.
    #[inline(always)]
    fn at(&self, [i0, i1, i2, i3]: [usize; 4], block: usize, blocks: usize) -> (*const f32, usize, usize) {
        if i0 >= self.positions || (block > 0 && !self.by_block) {
            return (std::ptr::null(), 0, 0);
        }
        let inner = i2 * self.inner[0] + i3 * self.inner[1];
        let moved = i0 * self.outer[0] + i1 * self.outer[1] + inner + block * LANES;
        let from = std::ptr::without_provenance::<f32>(self.address).wrapping_add(moved);
        (from, self.column, if self.by_block { blocks * LANES } else { self.values })
    }

    /// What a slice holds from an index on; other fields as in [`Ahead::NOTHING`].
    pub(crate) fn of(values: &[f32], first: usize) -> Self {
        Self { address: values.as_ptr().wrapping_add(first).addr(), ..Self::NOTHING }
    }
}

/// A product; `run` computes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// Number of lanes; every 16 are a block.
    pub(crate) lanes: usize,
    pub(crate) kind: Kind,
    /// Distance between blocks in `a` and in `c` (16 in bias and mask).
    pub(crate) a_block: usize,
    pub(crate) c_block: usize,
    /// Loops around the columns; `a` may move.
    pub(crate) outer: [Axis; 4],
    /// The columns; only `b`, `c` and `mask` move.
    pub(crate) columns: Axis,
    /// The nested sums; only `a` and `b` move. A count of 0 makes an empty sum.
    pub(crate) terms: [Axis; 3],
    /// Terms are taken in parts of so many of each sum, all outputs for one part before the next, so
    /// that the operands of a part stay in a near cache.
    pub(crate) part: [usize; 3],
    /// Whether the parts are summed each by itself and then added, as rounding likes it for long sums,
    /// or on and on.
    pub(crate) separate_parts: bool,
    /// First index in `a`, `b` and `c`.
    pub(crate) first: [usize; 3],
    pub(crate) start: Start,
    pub(crate) ahead: [Ahead; 3],
}

impl Product {
    /// Computes the product.
    ///
    /// # Errors
    /// Refuses indices outside the slices, and outputs that would share a place.
    pub(crate) fn run(
        &self,
        workers: &Workers<'_>,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        finish: Finish<'_>,
    ) -> Result<(), KernelError> {
        self.run_on(Operands::Single, workers, a, b, c, finish)
    }

    /// Computes the product of what the values of `a` and `b` stand for.
    ///
    /// # Errors
    /// As [`Product::run`]; pairs for [`Kind::Values`] alone.
    pub(crate) fn run_on(
        &self,
        operands: Operands,
        workers: &Workers<'_>,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        finish: Finish<'_>,
    ) -> Result<(), KernelError> {
        if operands == Operands::Pairs && self.kind != Kind::Values {
            return Err(KernelError::Size { what: "a product of pairs" });
        }
        if self.lanes == 0 || self.columns.count == 0 || self.outer.iter().any(|axis| axis.count == 0) {
            return Ok(());
        }
        self.check(a, b, c, finish)?;
        let call = Call {
            product: self,
            operands,
            a: Shared(a.as_ptr().cast_mut()),
            b: Shared(b.as_ptr().cast_mut()),
            c: Shared(c.as_mut_ptr()),
            bias: finish.bias.map(|bias| Shared(bias.as_ptr().cast_mut())),
            slope: finish.slope,
            mask: finish.mask.map(|mask| (Shared(mask.values[mask.first..].as_ptr().cast_mut()), mask.slope)),
        };
        let split = self.split(workers.threads(), blocks_of_isa(workers.isa()));
        let isa = workers.isa();
        workers.run(split.items(), &|item| {
            let (blocks, outer) = split.item(self, item);
            // SAFETY: `check` found every index that these loops form inside the slices, which are
            // borrowed for the whole call, and the outputs of different items apart from each other.
            unsafe { call.run(isa, blocks, outer) };
        });
        Ok(())
    }

    /// Whether neighbouring columns read the same values of `b` with neighbouring taps, three of them: then
    /// each value is fetched once for three products. The terms of one outer position are then summed tap
    /// after tap within each innermost position.
    fn slides(&self) -> bool {
        let [_, taps, _] = self.terms;
        self.kind == Kind::Values && taps.count == TAPS && self.part[1] == TAPS && taps.b == self.columns.b
    }

    /// How many rows of `b` come into reach from one position of the second loop to the next, if the
    /// outermost sum is over rows.
    fn rows_ahead(&self) -> usize {
        let (step, row) = (self.outer[1].b, self.terms[0].b);
        match self.kind {
            Kind::Values if self.outer[1].count > 1 && row > self.columns.b => (step / row).min(4),
            _ => 0,
        }
    }

    fn blocks(&self) -> usize {
        self.lanes.div_ceil(LANES)
    }

    fn axes(&self) -> impl Iterator<Item = &Axis> {
        self.outer.iter().chain([&self.columns])
    }

    /// Finds the last index in each slice, and whether all outputs are apart.
    fn check(&self, a: &[f32], b: &[f32], c: &[f32], finish: Finish<'_>) -> Result<(), KernelError> {
        let size = KernelError::Size { what: "a product" };
        let blocks = self.blocks() - 1;
        let end =
            |first: usize, block: usize, lanes: usize, strides: &mut dyn Iterator<Item = (usize, usize)>| {
                let mut last = first.checked_add(block.checked_mul(blocks)?)?;
                for (count, stride) in strides {
                    last = last.checked_add(stride.checked_mul(count.saturating_sub(1))?)?;
                }
                last.checked_add(lanes)
            };
        let last_lanes = self.lanes - blocks * LANES;
        let (a_lanes, c_lanes, side_by_side) = match self.kind {
            Kind::Values => (LANES, last_lanes, self.terms[2].b),
            Kind::Weights => (last_lanes, LANES, self.columns.b),
        };
        crate::error::check_equal("the distance of values side by side", side_by_side, 1)?;
        let empty = self.terms.iter().any(|axis| axis.count == 0);
        if !empty {
            let mut strides = self.axes().chain(&self.terms).map(|axis| (axis.count, axis.a));
            let needed = end(self.first[0], self.a_block, a_lanes, &mut strides).ok_or(size.clone())?;
            crate::error::check_len("the left operand", a.len(), needed)?;
            let mut strides = self.axes().chain(&self.terms).map(|axis| (axis.count, axis.b));
            let needed = end(self.first[1], 0, 1, &mut strides).ok_or(size.clone())?;
            crate::error::check_len("the right operand", b.len(), needed)?;
        }
        let mut strides = self.axes().map(|axis| (axis.count, axis.c));
        let needed = end(self.first[2], self.c_block, c_lanes, &mut strides).ok_or(size.clone())?;
        crate::error::check_len("the output", c.len(), needed)?;
        if let Some(mask) = finish.mask {
            let mut strides = self.axes().map(|axis| (axis.count, axis.mask));
            let needed = end(mask.first, LANES, c_lanes, &mut strides).ok_or(size)?;
            crate::error::check_len("the mask", mask.values.len(), needed)?;
        }
        if let Some(bias) = finish.bias {
            crate::error::check_len("the bias", bias.len(), blocks * LANES + c_lanes)?;
        }
        self.check_apart(c_lanes)
    }

    /// Outputs are apart if each stride passes over all that the smaller strides span.
    fn check_apart(&self, c_lanes: usize) -> Result<(), KernelError> {
        let [first, second, third, fourth] = self.outer.map(|axis| (axis.c, axis.count));
        let columns = (self.columns.c, self.columns.count);
        let mut strides = [first, second, third, fourth, columns, (self.c_block, self.blocks())];
        strides.sort_unstable();
        let mut span = if self.blocks() == 1 { c_lanes } else { LANES };
        for (stride, count) in strides {
            if count == 1 {
                continue;
            }
            if stride < span {
                return Err(KernelError::Overlap);
            }
            // Blocks end with a partial one; counting it as full would refuse images of 24 channels.
            let last = if stride == self.c_block && span == LANES { c_lanes } else { span };
            span = stride
                .checked_mul(count - 1)
                .and_then(|sum| sum.checked_add(last))
                .ok_or(KernelError::Overlap)?;
        }
        Ok(())
    }

    /// Cuts the outputs into items of work: a matter of speed only.
    fn split(&self, threads: usize, at_once: usize) -> Split {
        let groups = self.blocks().div_ceil(at_once);
        let mut split = Split {
            at_once,
            groups,
            per_group: 1,
            outer: [self.outer[0].count, self.outer[1].count],
            per_outer: [1, 1],
        };
        if threads == 1 {
            split.per_group = split.groups;
            split.per_outer = split.outer;
            return split;
        }
        let terms: usize = self.terms.iter().map(|axis| axis.count).product();
        let inner = self.outer[2].count * self.outer[3].count * self.columns.count;
        // Multiply-adds of one block at one position of the two outermost loops.
        let unit = (terms * inner * LANES * at_once).max(1);
        let positions = split.outer[0] * split.outer[1];
        let wanted = (unit * positions * groups / SMALLEST_ITEM).clamp(1, threads * ITEMS_PER_THREAD);
        // First cut the outermost loop, then the blocks, then the second loop.
        let cut = |count: usize, pieces: usize| count.div_ceil(pieces.clamp(1, count));
        split.per_outer[0] = cut(split.outer[0], wanted);
        let done = split.outer[0].div_ceil(split.per_outer[0]);
        split.per_group = cut(groups, wanted.div_ceil(done));
        let done = done * groups.div_ceil(split.per_group);
        split.per_outer[1] = cut(split.outer[1], wanted.div_ceil(done));
        split
    }
}

/// Taps of a sliding tile: those of a row of the 3x3 kernels that most networks are made of.
pub(crate) const TAPS: usize = 3;

/// Multiply-adds below which an item is not worth its handing over (some 5 microseconds).
const SMALLEST_ITEM: usize = 1 << 19;
/// More items than threads, so that a thread that comes late or is interrupted costs little.
const ITEMS_PER_THREAD: usize = 8;
/// Columns that are worked on with one part of the weights before the next part.
const STRIP: usize = 256;
/// Weights that stay in the second cache beside the images that are worked on: with more than these, one
/// block's weights are used for all images of an item before the next block's.
const NEAR: usize = 1 << 17;

/// How the outputs of a product are cut into items.
#[derive(Clone, Copy, Debug)]
struct Split {
    at_once: usize,
    groups: usize,
    per_group: usize,
    outer: [usize; 2],
    per_outer: [usize; 2],
}

pub(super) type Range = std::ops::Range<usize>;

impl Split {
    fn pieces(&self) -> [usize; 3] {
        [
            self.outer[0].div_ceil(self.per_outer[0]),
            self.groups.div_ceil(self.per_group),
            self.outer[1].div_ceil(self.per_outer[1]),
        ]
    }

    fn items(&self) -> usize {
        self.pieces().iter().product()
    }

    /// Blocks, and positions of the two outermost loops, of an item.
    fn item(&self, product: &Product, item: usize) -> (Range, [Range; 2]) {
        let pieces = self.pieces();
        let cut = |index: usize, per: usize, count: usize| index * per..((index + 1) * per).min(count);
        let groups = cut(item / pieces[2] % pieces[1], self.per_group, self.groups);
        let blocks = groups.start * self.at_once..(groups.end * self.at_once).min(product.blocks());
        let first = cut(item / (pieces[2] * pieces[1]), self.per_outer[0], self.outer[0]);
        let second = cut(item % pieces[2], self.per_outer[1], self.outer[1]);
        (blocks, [first, second])
    }
}

/// Blocks of one tile, given the widths of tiles of one and of two.
fn blocks_at_once(columns: [usize; 2]) -> usize {
    if columns[1] > 0 { 2 } else { 1 }
}

/// The same for instructions.
fn blocks_of_isa(isa: Isa) -> usize {
    blocks_at_once(match isa.level() {
        Level::Portable => Portable::COLUMNS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Avx2::COLUMNS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Avx512::COLUMNS,
    })
}

/// A product with its operands.
pub(super) struct Call<'p> {
    pub(super) product: &'p Product,
    operands: Operands,
    a: Shared<f32>,
    b: Shared<f32>,
    c: Shared<f32>,
    bias: Option<Shared<f32>>,
    slope: f32,
    mask: Option<(Shared<f32>, f32)>,
}

impl Call<'_> {
    /// # Safety
    /// `Product::check` accepted the operands, and no other thread works on these outputs.
    unsafe fn run(&self, isa: Isa, blocks: Range, outer: [Range; 2]) {
        /// Compiles the call for instructions.
        macro_rules! compiled {
            ($name:ident, $features:literal, $single:ty, $pairs:ty) => {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = $features)]
                unsafe fn $name(call: &Call<'_>, blocks: Range, outer: [Range; 2]) {
                    // SAFETY: the caller's; compiled for the instructions of the type.
                    unsafe {
                        match call.operands {
                            Operands::Single => call.item::<$single, false>(blocks, outer),
                            Operands::Pairs => call.item::<$pairs, false>(blocks, outer),
                        }
                    }
                }
            };
        }
        compiled!(avx2, "avx2,fma", Avx2, Pairs<Avx2, false>);
        compiled!(avx512, "avx2,fma,avx512f", Avx512, Pairs<Avx512, false>);
        compiled!(avx512_pairs, "avx2,fma,avx512f,avx512bf16", Pairs<Avx512, true>, Pairs<Avx512, true>);
        /// Compiled for vectors, which finish what tiles have summed.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,avx512f")]
        unsafe fn tiles(call: &Call<'_>, blocks: Range, outer: [Range; 2]) {
            // SAFETY: the caller's, which grants tiles too.
            unsafe {
                let _release = Release::when_dropped();
                call.item::<Avx512, true>(blocks, outer);
            }
        }
        match isa.level() {
            // SAFETY: the caller's.
            Level::Portable => unsafe {
                match self.operands {
                    Operands::Single => self.item::<Portable, false>(blocks, outer),
                    Operands::Pairs => self.item::<Pairs<Portable, false>, false>(blocks, outer),
                }
            },
            // SAFETY: the caller's, and an `Isa` of this level exists only where the instructions do.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, blocks, outer) },
            // SAFETY: as above, and it says so of tiles too.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if isa.has_tiles() && self.suits_tiles() => unsafe { tiles(self, blocks, outer) },
            // SAFETY: as above, and it says so of this instruction too.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if isa.multiplies_pairs() && self.operands == Operands::Pairs => unsafe {
                avx512_pairs(self, blocks, outer)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, blocks, outer) },
        }
    }

    /// All parts of the sums for the outputs of an item, in an order that keeps in the caches what is
    /// read again soonest.
    ///
    /// # Safety
    /// As [`Call::run`], in a function compiled for the instructions of `V`. On `TILES`, there are tiles, a
    /// [`Release`] is alive, and the product suits them.
    #[inline(always)]
    unsafe fn item<V: Vector, const TILES: bool>(&self, blocks: Range, outer: [Range; 2]) {
        let product = self.product;
        let [first, second] = outer;
        let weights = product.terms.iter().map(|axis| axis.count).product::<usize>() * product.lanes;
        let positions = product.columns.count * product.outer[2].count * product.outer[3].count;
        let (block_step, first_step, second_step) = match product.kind {
            // A part is a band of pixels: all taps and columns before the next band.
            Kind::Weights => (blocks.len(), first.len(), second.len()),
            Kind::Values if weights > NEAR => (blocks_at_once(V::COLUMNS), 1, STRIP.div_ceil(positions)),
            Kind::Values => (blocks.len(), 1, STRIP.div_ceil(positions)),
        };
        for block in blocks.clone().step_by(block_step.max(1)) {
            for i0 in first.clone().step_by(first_step.max(1)) {
                for i1 in second.clone().step_by(second_step.max(1)) {
                    let blocks = block..(block + block_step).min(blocks.end);
                    let outer =
                        [i0..(i0 + first_step).min(first.end), i1..(i1 + second_step).min(second.end)];
                    // SAFETY: the caller's.
                    unsafe { self.blocks_of::<V, TILES>(blocks, &outer) };
                }
            }
        }
    }

    /// All parts of the sums for these blocks and outer positions.
    ///
    /// # Safety
    /// As [`Call::item`].
    #[inline(always)]
    unsafe fn blocks_of<V: Vector, const TILES: bool>(&self, blocks: Range, outer: &[Range; 2]) {
        let product = self.product;
        let first_block = blocks.start;
        let mut block = blocks.start;
        while block < blocks.end {
            // A block of a gradient that ends early goes by itself, so that only one tile must mask its reads.
            let short = product.kind == Kind::Weights && !product.lanes.is_multiple_of(LANES);
            let whole = if short { (product.blocks() - 1).min(blocks.end) } else { blocks.end };
            let two = V::COLUMNS[1] > 0 && whole >= block + 2;
            let count = if two { 2 } else { 1 };
            let last = if block + count == product.blocks() {
                product.lanes - (block + count - 1) * LANES
            } else {
                LANES
            };
            let pieces: [usize; 3] =
                std::array::from_fn(|k| product.terms[k].count.div_ceil(product.part[k].max(1)).max(1));
            let all = pieces[0] * pieces[1] * pieces[2];
            for piece in 0..all {
                let position =
                    [piece / (pieces[1] * pieces[2]), piece / pieces[2] % pieces[1], piece % pieces[2]];
                // SAFETY: the caller's; the parts lie inside the terms.
                unsafe {
                    let ends = (piece == 0, piece + 1 == all);
                    #[cfg(target_arch = "x86_64")]
                    if TILES {
                        self.part_on_tiles(block, two, last, position, ends, outer);
                        continue;
                    }
                    self.part::<V>(block, two, last, position, ends, block == first_block, outer);
                }
            }
            block += count;
        }
    }

    /// The terms of a part, and where it begins in `a` and `b`.
    #[inline(always)]
    pub(super) fn terms_of(&self, block: usize, position: [usize; 3]) -> ([Axis; 3], [usize; 2]) {
        let product = self.product;
        let mut terms = product.terms;
        let (mut a, mut b) = (product.first[0] + block * product.a_block, product.first[1]);
        for k in 0..3 {
            let skipped = position[k] * product.part[k].max(1);
            a += skipped * terms[k].a;
            b += skipped * terms[k].b;
            terms[k].count = terms[k].count.saturating_sub(skipped).min(product.part[k].max(1));
        }
        (terms, [a, b])
    }

    /// Whether the factors are pairs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_of_pairs(&self) -> bool {
        self.operands == Operands::Pairs
    }

    /// Whether anything is done with sums before they are written.
    pub(super) fn finishes(&self) -> bool {
        self.bias.is_some() || self.slope != 1.0 || self.mask.is_some()
    }

    /// What is done with the sums of blocks from this one on.
    #[inline(always)]
    pub(super) fn ending(&self, block: usize) -> Ending {
        Ending {
            // SAFETY: the bias reaches as far as the blocks (`check`).
            bias: self
                .bias
                .as_ref()
                .map_or(std::ptr::null(), |bias| unsafe { bias.get().add(block * LANES) }),
            slope: self.slope,
            mask_slope: self.mask.as_ref().map_or(1.0, |mask| mask.1),
        }
    }

    /// Where a block's values for a position of the outer loops and a column begin; `first` is where a part begins in
    /// `a` and `b`.
    ///
    /// # Safety
    /// `Product::check` accepted the operands, and block, position and column are the product's.
    #[inline(always)]
    pub(super) unsafe fn place(
        &self,
        first: [usize; 2],
        block: usize,
        [i0, i1, i2, i3]: [usize; 4],
        column: usize,
    ) -> Place {
        let product = self.product;
        let at = |stride: fn(&Axis) -> usize| {
            i0 * stride(&product.outer[0])
                + i1 * stride(&product.outer[1])
                + i2 * stride(&product.outer[2])
                + i3 * stride(&product.outer[3])
                + column * stride(&product.columns)
        };
        // SAFETY: all within what `check` found inside the slices; for empty sums `a` and `b` are never read, so
        // these are formed by wrapping arithmetic.
        unsafe {
            Place {
                a: self.a.get().cast_const().wrapping_add(first[0] + at(|axis| axis.a)),
                b: self.b.get().cast_const().wrapping_add(first[1] + at(|axis| axis.b)),
                c: self.c.get().add(product.first[2] + block * product.c_block + at(|axis| axis.c)),
                mask: match &self.mask {
                    Some((mask, _)) => mask.get().cast_const().add(block * LANES + at(|axis| axis.mask)),
                    None => std::ptr::null(),
                },
            }
        }
    }

    /// One part of the sums for one or two blocks.
    ///
    /// # Safety
    /// As [`Call::item`].
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // Which part, of which blocks, where.
    unsafe fn part<V: Vector>(
        &self,
        block: usize,
        two: bool,
        last: usize,
        position: [usize; 3],
        (first_part, last_part): (bool, bool),
        first_block: bool,
        outer: &[Range; 2],
    ) {
        let product = self.product;
        let (terms, first) = self.terms_of(block, position);
        let replace = first_part && product.start == Start::Replace;
        let ahead = if first_part && first_block { product.rows_ahead() } else { 0 };
        let mut tile = Tile {
            terms: &terms,
            a_block: product.a_block,
            b_step: product.columns.b,
            c_block: product.c_block,
            // The compiler must not see that these are multiples of one another: it would form each
            // column's address from the one before, and that chain takes longer than the sums.
            b_steps: [0, product.columns.b, 2 * product.columns.b, black_box(3 * product.columns.b)],
            b_groups: [0, 1, 2, 3].map(|group| black_box(4 * group * product.columns.b)),
            c_step: product.columns.c,
            mask_step: product.columns.mask,
            continued: !replace && !product.separate_parts,
            added: !replace && product.separate_parts,
            last,
            kind: product.kind,
            slides: product.slides() && !V::PAIRS,
            ahead: 0,
            ahead_first: product.terms[0].count * product.terms[0].b,
            ahead_row: product.terms[0].b,
            asks: first_part && product.ahead.iter().any(|wanted| wanted.values > 0 || wanted.by_block),
            wanted: [(std::ptr::null(), 0, 0); 3],
            finish: last_part && self.finishes(),
            ending: self.ending(block),
        };
        for i0 in outer[0].clone() {
            for i1 in outer[1].clone() {
                for i2 in 0..product.outer[2].count {
                    for i3 in 0..product.outer[3].count {
                        tile.ahead = if i2 == 0 && i3 == 0 { ahead } else { 0 };
                        if tile.asks {
                            let (at, blocks) = ([i0, i1, i2, i3], if two { 2 } else { 1 });
                            tile.wanted = product.ahead.map(|wanted| wanted.at(at, block, blocks));
                        }
                        // SAFETY: the caller's, and the position is one of the product's.
                        unsafe {
                            let Place { a, b, c, mask } = self.place(first, block, [i0, i1, i2, i3], 0);
                            tile.row::<V>(two, a, b, c, mask, product.columns.count);
                        }
                    }
                }
            }
        }
    }
}

/// Where values begin in the operands, the output and, if there is one, the mask.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) a: *const f32,
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
    pub(super) mask: *const f32,
}

/// What is done with sums before they are written: a bias, unless it is null, and two slopes.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    bias: *const f32,
    slope: f32,
    mask_slope: f32,
}

impl Ending {
    /// Does it with the first `room` lanes of a sum. `block` counts from the one whose bias comes first, and `mask` is
    /// null or where the values for that one begin.
    ///
    /// # Safety
    /// As [`Call::item`]; bias and mask reach as far as the lanes.
    #[inline(always)]
    pub(super) unsafe fn of<V: Vector>(&self, mut sum: V, mask: *const f32, block: usize, room: usize) -> V {
        // SAFETY: the caller's.
        unsafe {
            if !self.bias.is_null() {
                sum = sum.add(load::<V>(self.bias.add(block * LANES), room));
            }
            sum = sum.rectify(sum, self.slope);
            if !mask.is_null() {
                sum = sum.rectify(load::<V>(mask.add(block * LANES), room), self.mask_slope);
            }
        }
        sum
    }
}

/// What is common to the tiles of a part.
struct Tile<'t> {
    terms: &'t [Axis; 3],
    a_block: usize,
    b_step: usize,
    /// Distances of 0 to 3 columns, and of 0, 4, 8 and 12.
    b_steps: [usize; 4],
    b_groups: [usize; 4],
    c_block: usize,
    c_step: usize,
    mask_step: usize,
    /// The sums go on from the values in the output.
    continued: bool,
    /// The values in the output are added to the sums.
    added: bool,
    /// Lanes of the last block.
    last: usize,
    kind: Kind,
    slides: bool,
    /// Rows of `b` that the next position of the second loop reads and this one does not, where the first
    /// of them begins, and how far they are apart.
    ahead: usize,
    ahead_first: usize,
    ahead_row: usize,
    /// Whether anything is wanted ahead.
    asks: bool,
    /// For each [`Ahead`], where its values for the first column begin, how far columns are apart, and the
    /// number of values at each.
    wanted: [(*const f32, usize, usize); 3],
    finish: bool,
    ending: Ending,
}

impl Tile<'_> {
    /// Asks for what is wanted at some columns. By itself, so that the tiles of products that want nothing
    /// are compiled as if there were none of this.
    #[inline(never)]
    fn ask<V: Vector>(&self, columns: Range) {
        for (from, column, values) in self.wanted {
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
    /// As [`Call::item`], for the columns from these pointers.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // Pointers into four operands.
    unsafe fn row<V: Vector>(
        &self,
        two: bool,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        mask: *const f32,
        columns: usize,
    ) {
        let most = if self.slides { V::SLIDING_COLUMNS } else { V::COLUMNS }[usize::from(two)];
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
                match (self.kind, two) {
                    (Kind::Values, true) if !V::PAIRS && self.slides => {
                        self.sliding_wide::<V>(width, a, b, c, mask)
                    }
                    (Kind::Values, false) if !V::PAIRS && self.slides => {
                        self.sliding::<V>(width, a, b, c, mask)
                    }
                    (Kind::Values, true) => self.values_wide::<V>(width, a, b, c, mask),
                    (Kind::Values, false) => self.values::<V>(width, a, b, c, mask),
                    // Pairs have no such products and do not slide: nothing to compile.
                    (Kind::Weights, _) if V::PAIRS => {}
                    (Kind::Weights, true) => self.weights_wide::<V>(width, a, b, c, mask),
                    (Kind::Weights, false) if self.last == LANES => self.weights::<V>(width, a, b, c, mask),
                    (Kind::Weights, false) => self.weights_partial::<V>(width, a, b, c, mask),
                }
            }
            done += width;
        }
    }
}

/// Defines the choice of a tile's compiled width.
macro_rules! widths {
    ($name:ident, $columns:ident, $blocks:literal, $how:ident, [$($width:literal)*]) => {
        impl Tile<'_> {
            /// # Safety
            /// As [`Tile::row`].
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

/// Kinds of compiled tiles: [`Kind::Values`], the same sliding, [`Kind::Weights`], and the same where the
/// block of `a` ends early.
const VALUES: u8 = 0;
const SLIDING: u8 = 1;
const WEIGHTS: u8 = 2;
const PARTIAL_WEIGHTS: u8 = 3;

impl Tile<'_> {
    /// `BLOCKS * 16` lanes of `WIDTH` columns, held in registers over the whole part.
    ///
    /// # Safety
    /// As [`Tile::row`].
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

impl Tile<'_> {
    /// # Safety
    /// As [`Tile::row`].
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
    /// As [`Tile::row`].
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
    /// As [`Tile::row`].
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
/// As [`Tile::row`].
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
