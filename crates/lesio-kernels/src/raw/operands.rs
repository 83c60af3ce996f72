//! What a product is made of: its loops, its operands, and what is done with its sums.

use super::vector::LANES;

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
pub(crate) struct Prefetch {
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

impl Prefetch {
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

    /// What a slice holds from an index on; other fields as in [`Prefetch::NOTHING`].
    pub(crate) fn of(values: &[f32], first: usize) -> Self {
        Self { address: values.as_ptr().wrapping_add(first).addr(), ..Self::NOTHING }
    }
}

/// A product; `run` computes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm {
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
    pub(crate) prefetch: [Prefetch; 3],
}

/// Taps of a sliding tile: those of a row of the 3x3 kernels that most networks are made of.
pub(crate) const TAPS: usize = 3;

/// Positions of a loop.
pub(super) type Range = std::ops::Range<usize>;
