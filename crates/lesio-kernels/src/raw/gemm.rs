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
//! terms in their order, whatever the neighbors, the tile or the thread.

use super::call::{Call, blocks_of_isa};
use super::operands::{Axis, Finish, Gemm, Kind, Operands, Range, TAPS};
use super::vector::LANES;
use super::workers::Workers;
use crate::error::KernelError;

impl Gemm {
    /// Computes the product.
    ///
    /// # Errors
    /// For indices outside the slices, and outputs that would share a place.
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
    /// Those of [`Gemm::run`]; pairs for [`Kind::Values`] alone.
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

    /// Whether neighboring columns read the same values of `b` with neighboring taps, three of them: then
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
    fn item(&self, product: &Gemm, item: usize) -> (Range, [Range; 2]) {
        let pieces = self.pieces();
        let cut = |index: usize, per: usize, count: usize| index * per..((index + 1) * per).min(count);
        let groups = cut(item / pieces[2] % pieces[1], self.per_group, self.groups);
        let blocks = groups.start * self.at_once..(groups.end * self.at_once).min(product.blocks());
        let first = cut(item / (pieces[2] * pieces[1]), self.per_outer[0], self.outer[0]);
        let second = cut(item % pieces[2], self.per_outer[1], self.outer[1]);
        (blocks, [first, second])
    }
}
