//! The way of a product's item: through its blocks, its positions and the parts of its sums.

use std::hint::black_box;

#[cfg(target_arch = "x86_64")]
use super::amx_unit::Release;
use super::isa::{Isa, Level};
use super::microkernel::{Microkernel, SLIDING, VALUES, WEIGHTS};
use super::operands::{Axis, Finish, Gemm, Kind, Operands, Range, Start};
use super::place::{Ending, Place};
#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use super::vector::{LANES, Pairs, Portable, Vector};
use super::workers::Shared;

/// Columns that are worked on with one part of the weights before the next part.
const STRIP: usize = 256;
/// Weights that stay in the second cache beside the images that are worked on: with more than these, one
/// block's weights are used for all images of an item before the next block's.
const NEAR: usize = 1 << 17;

/// A product with its operands.
pub(super) struct Call<'p> {
    pub(super) product: &'p Gemm,
    operands: Operands,
    a: Shared<f32>,
    b: Shared<f32>,
    c: Shared<f32>,
    bias: Option<Shared<f32>>,
    slope: f32,
    mask: Option<(Shared<f32>, f32)>,
}

impl<'p> Call<'p> {
    /// A product on these operands, `a` and `b`, and this output.
    pub(super) fn new(
        product: &'p Gemm,
        operands: Operands,
        [a, b]: [&'p [f32]; 2],
        c: &'p mut [f32],
        finish: Finish<'p>,
    ) -> Self {
        Self {
            product,
            operands,
            a: Shared(a.as_ptr().cast_mut()),
            b: Shared(b.as_ptr().cast_mut()),
            c: Shared(c.as_mut_ptr()),
            bias: finish.bias.map(|bias| Shared(bias.as_ptr().cast_mut())),
            slope: finish.slope,
            mask: finish.mask.map(|mask| (Shared(mask.values[mask.first..].as_ptr().cast_mut()), mask.slope)),
        }
    }
}

/// A part of the sums for one or two blocks.
pub(super) struct Part<'o> {
    pub(super) block: usize,
    /// Lanes of the last block.
    pub(super) last: usize,
    /// Of the part among all.
    pub(super) position: [usize; 3],
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    pub(super) in_first_block: bool,
    /// Positions of the two outermost loops.
    pub(super) outer: &'o [Range; 2],
}

/// Computes a part.
type Summing = unsafe fn(&Call<'_>, &Part<'_>);

/// The functions that compute parts of one and of two blocks with some instructions. Each number of blocks and each kind
/// of tile has a separate function: one function with all tiles takes the compiler much longer than several with few.
struct Compiled {
    one: Summing,
    /// `None` where tiles are never two blocks wide.
    two: Option<Summing>,
}

impl Compiled {
    /// These functions, compiled for a vector.
    fn new<V: Vector>([one, two]: [Summing; 2]) -> Self {
        Self { one, two: (V::COLUMNS[1] > 0).then_some(two) }
    }

    fn most_blocks(&self) -> usize {
        if self.two.is_some() { 2 } else { 1 }
    }
}

impl Call<'_> {
    /// # Safety
    /// `Gemm::check` accepted the operands, and no other thread works on these outputs.
    pub(super) unsafe fn run(&self, isa: Isa, blocks: Range, outer: [Range; 2]) {
        /// Compiles parts for instructions.
        macro_rules! compiled {
            ($name:ident, [$($features:literal)?], $vector:ty) => {
                $(#[target_feature(enable = $features)])?
                unsafe fn $name<const HOW: u8, const BLOCKS: usize>(call: &Call<'_>, part: &Part<'_>) {
                    // SAFETY: the caller's; compiled for the instructions of the type.
                    unsafe { call.part::<$vector, HOW, BLOCKS>(part) };
                }
            };
        }
        compiled!(portable, [], Portable);
        compiled!(portable_pairs, [], Pairs<Portable, false>);
        #[cfg(target_arch = "x86_64")]
        compiled!(avx2, ["avx2,fma"], Avx2);
        #[cfg(target_arch = "x86_64")]
        compiled!(avx2_pairs, ["avx2,fma"], Pairs<Avx2, false>);
        #[cfg(target_arch = "x86_64")]
        compiled!(avx512, ["avx2,fma,avx512f"], Avx512);
        #[cfg(target_arch = "x86_64")]
        compiled!(avx512_apart, ["avx2,fma,avx512f"], Pairs<Avx512, false>);
        #[cfg(target_arch = "x86_64")]
        compiled!(avx512_pairs, ["avx2,fma,avx512f,avx512bf16"], Pairs<Avx512, true>);
        #[cfg(target_arch = "x86_64")]
        unsafe fn tiles<const BLOCKS: usize>(call: &Call<'_>, part: &Part<'_>) {
            // SAFETY: the caller's.
            unsafe { call.part_on_tiles::<BLOCKS>(part) };
        }
        /// The functions for this product's kind of tile. Products of pairs have only one.
        macro_rules! of_kind {
            ($single:ident: $vector:ty, $pairs:ident: $of_pairs:ty) => {
                match (self.operands, self.how()) {
                    (Operands::Pairs, _) => {
                        Compiled::new::<$of_pairs>([$pairs::<VALUES, 1>, $pairs::<VALUES, 2>])
                    }
                    (Operands::Single, SLIDING) => {
                        Compiled::new::<$vector>([$single::<SLIDING, 1>, $single::<SLIDING, 2>])
                    }
                    (Operands::Single, WEIGHTS) => {
                        Compiled::new::<$vector>([$single::<WEIGHTS, 1>, $single::<WEIGHTS, 2>])
                    }
                    (Operands::Single, _) => {
                        Compiled::new::<$vector>([$single::<VALUES, 1>, $single::<VALUES, 2>])
                    }
                }
            };
        }
        #[cfg(target_arch = "x86_64")]
        let mut _release = None;
        let compiled = match isa.level() {
            Level::Portable => of_kind!(portable: Portable, portable_pairs: Pairs<Portable, false>),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => of_kind!(avx2: Avx2, avx2_pairs: Pairs<Avx2, false>),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if isa.has_tiles() && self.suits_tiles() => {
                // SAFETY: such an `Isa` exists only where there are tiles.
                _release = Some(unsafe { Release::when_dropped() });
                // The vectors finish what tiles have summed.
                Compiled::new::<Avx512>([tiles::<1>, tiles::<2>])
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if isa.multiplies_pairs() => {
                of_kind!(avx512: Avx512, avx512_pairs: Pairs<Avx512, true>)
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => of_kind!(avx512: Avx512, avx512_apart: Pairs<Avx512, false>),
        };
        // SAFETY: the caller's, and an `Isa` of a level exists only where its instructions do.
        unsafe { self.item(&compiled, blocks, outer) };
    }

    /// The kind of tile: [`VALUES`], [`SLIDING`] or [`WEIGHTS`].
    fn how(&self) -> u8 {
        match self.product.kind {
            Kind::Weights => WEIGHTS,
            Kind::Values if self.product.slides() => SLIDING,
            Kind::Values => VALUES,
        }
    }

    /// All parts of the sums for the outputs of an item, in an order that keeps in the caches what is
    /// read again soonest.
    ///
    /// # Safety
    /// Like [`Call::run`]; the processor has the instructions of the compiled functions. For those on tiles, a
    /// [`Release`] is alive, and the product suits them.
    unsafe fn item(&self, compiled: &Compiled, blocks: Range, outer: [Range; 2]) {
        let product = self.product;
        let [first, second] = outer;
        let weights = product.terms.iter().map(|axis| axis.count).product::<usize>() * product.lanes;
        let positions = product.columns.count * product.outer[2].count * product.outer[3].count;
        let (block_step, first_step, second_step) = match product.kind {
            // A part is a band of pixels: all taps and columns before the next band.
            Kind::Weights => (blocks.len(), first.len(), second.len()),
            Kind::Values if weights > NEAR => (compiled.most_blocks(), 1, STRIP.div_ceil(positions)),
            Kind::Values => (blocks.len(), 1, STRIP.div_ceil(positions)),
        };
        for block in blocks.clone().step_by(block_step.max(1)) {
            for i0 in first.clone().step_by(first_step.max(1)) {
                for i1 in second.clone().step_by(second_step.max(1)) {
                    let blocks = block..(block + block_step).min(blocks.end);
                    let outer =
                        [i0..(i0 + first_step).min(first.end), i1..(i1 + second_step).min(second.end)];
                    // SAFETY: the caller's.
                    unsafe { self.blocks_of(compiled, blocks, &outer) };
                }
            }
        }
    }

    /// All parts of the sums for these blocks and outer positions.
    ///
    /// # Safety
    /// Like [`Call::item`].
    unsafe fn blocks_of(&self, compiled: &Compiled, blocks: Range, outer: &[Range; 2]) {
        let product = self.product;
        let first_block = blocks.start;
        let mut block = blocks.start;
        while block < blocks.end {
            // A block of a gradient that ends early goes by itself, so that only one tile must mask its reads.
            let short = product.kind == Kind::Weights && !product.lanes.is_multiple_of(LANES);
            let whole = if short { (product.blocks() - 1).min(blocks.end) } else { blocks.end };
            let (count, sum) = match compiled.two {
                Some(two) if whole >= block + 2 => (2, two),
                _ => (1, compiled.one),
            };
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
                let part = Part {
                    block,
                    last,
                    position,
                    is_first: piece == 0,
                    is_last: piece + 1 == all,
                    in_first_block: block == first_block,
                    outer,
                };
                // SAFETY: the caller's; the parts lie inside the terms.
                unsafe { sum(self, &part) };
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
    /// `Gemm::check` accepted the operands, and block, position and column are the product's.
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
    /// Like [`Call::item`].
    #[inline(always)]
    unsafe fn part<V: Vector, const HOW: u8, const BLOCKS: usize>(&self, part: &Part<'_>) {
        let &Part { block, last, position, is_first, is_last, in_first_block, outer } = part;
        let product = self.product;
        let (terms, first) = self.terms_of(block, position);
        let replace = is_first && product.start == Start::Replace;
        let ahead = if is_first && in_first_block { product.rows_ahead() } else { 0 };
        let mut tile = Microkernel {
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
            ahead: 0,
            ahead_first: product.terms[0].count * product.terms[0].b,
            ahead_row: product.terms[0].b,
            asks: is_first
                && product.prefetch.iter().any(|prefetch| prefetch.values > 0 || prefetch.by_block),
            prefetch: [(std::ptr::null(), 0, 0); 3],
            finish: is_last && self.finishes(),
            ending: self.ending(block),
        };
        for i0 in outer[0].clone() {
            for i1 in outer[1].clone() {
                for i2 in 0..product.outer[2].count {
                    for i3 in 0..product.outer[3].count {
                        tile.ahead = if i2 == 0 && i3 == 0 { ahead } else { 0 };
                        if tile.asks {
                            let at = [i0, i1, i2, i3];
                            tile.prefetch = product.prefetch.map(|prefetch| prefetch.at(at, block, BLOCKS));
                        }
                        // SAFETY: the caller's, and the position is one of the product's.
                        unsafe {
                            let Place { a, b, c, mask } = self.place(first, block, [i0, i1, i2, i3], 0);
                            tile.row::<V, HOW, BLOCKS>(a, b, c, mask, product.columns.count);
                        }
                    }
                }
            }
        }
    }
}

/// Blocks of one tile, given the widths of tiles of one and of two.
fn blocks_at_once(columns: [usize; 2]) -> usize {
    if columns[1] > 0 { 2 } else { 1 }
}

/// The same for instructions.
pub(super) fn blocks_of_isa(isa: Isa) -> usize {
    blocks_at_once(match isa.level() {
        Level::Portable => Portable::COLUMNS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Avx2::COLUMNS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Avx512::COLUMNS,
    })
}
