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

use super::call::{Call, blocks_of_isa};
use super::vector::LANES;
use super::workers::Workers;
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
    pub(super) fn at(
        &self,
        [i0, i1, i2, i3]: [usize; 4],
        block: usize,
        blocks: usize,
    ) -> (*const f32, usize, usize) {
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
        let call = Call::new(self, operands, [a, b], c, finish);
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
    pub(super) fn slides(&self) -> bool {
        let [_, taps, _] = self.terms;
        self.kind == Kind::Values && taps.count == TAPS && self.part[1] == TAPS && taps.b == self.columns.b
    }

    /// How many rows of `b` come into reach from one position of the second loop to the next, if the
    /// outermost sum is over rows.
    pub(super) fn rows_ahead(&self) -> usize {
        let (step, row) = (self.outer[1].b, self.terms[0].b);
        match self.kind {
            Kind::Values if self.outer[1].count > 1 && row > self.columns.b => (step / row).min(4),
            _ => 0,
        }
    }

    pub(super) fn blocks(&self) -> usize {
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
