//! Dot products of rows of a matrix with samples, for linear layers with few outputs.
//!
//! `c[sample, row] = finish(sum over k of a[row, k] * b[sample, k])`, 16 values of k side by side. The
//! sum is cut into spans of fixed length; within a span lane i sums the terms k = i mod 16 in their
//! order, the lanes are added as [`Vector::sum`] says, and the spans in their order. No sample's result
//! depends on the other samples, on tiles or on threads.

use super::isa::{Isa, Level};
use super::vector::{LANES, Portable, Vector, load};
use super::workers::{Shared, Workers};
use crate::error::{KernelError, check_len};

/// Terms of a span: samples and rows of a span stay in the nearest caches.
const SPAN: usize = 1024;
/// Rows of one item of work, at least and at most: each item reads all samples anew.
const ROWS: usize = 16;
const MOST_ROWS: usize = 64;

/// Sizes and strides of dot products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contraction {
    pub(crate) rows: usize,
    pub(crate) samples: usize,
    pub(crate) terms: usize,
    /// Distance between rows of `a`.
    pub(crate) a_row: usize,
    /// Distance between samples of `b` and of `c`.
    pub(crate) b_sample: usize,
    pub(crate) c_sample: usize,
}

impl Contraction {
    /// Computes all dot products, replacing what `c` holds.
    ///
    /// # Errors
    /// For indices outside the slices and outputs that would share a place.
    pub(crate) fn run(
        &self,
        workers: &Workers<'_>,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) -> Result<(), KernelError> {
        if self.rows == 0 || self.samples == 0 {
            return Ok(());
        }
        let end = |count: usize, stride: usize, last: usize| {
            (count - 1)
                .checked_mul(stride)
                .and_then(|sum| sum.checked_add(last))
                .ok_or(KernelError::Size { what: "a linear layer" })
        };
        check_len("the matrix", a.len(), end(self.rows, self.a_row, self.terms)?)?;
        check_len("the samples", b.len(), end(self.samples, self.b_sample, self.terms)?)?;
        check_len("the output", c.len(), end(self.samples, self.c_sample, self.rows)?)?;
        if self.samples > 1 && self.c_sample < self.rows {
            return Err(KernelError::Overlap);
        }
        let (a, b, c) =
            (Shared(a.as_ptr().cast_mut()), Shared(b.as_ptr().cast_mut()), Shared(c.as_mut_ptr()));
        let isa = workers.isa();
        let two_each = self.rows.div_ceil(2 * workers.threads());
        let each = two_each.next_multiple_of(ROWS).clamp(ROWS, MOST_ROWS);
        workers.run(self.rows.div_ceil(each), &|item| {
            let rows = item * each..((item + 1) * each).min(self.rows);
            // SAFETY: all indices were found inside the slices above; items write different rows.
            unsafe { self.item(isa, rows, a.get(), b.get(), c.get()) };
        });
        Ok(())
    }

    /// # Safety
    /// The slices reach as far as `run` checks, and no other thread works on these rows.
    unsafe fn item(&self, isa: Isa, rows: std::ops::Range<usize>, a: *const f32, b: *const f32, c: *mut f32) {
        type Rows = std::ops::Range<usize>;
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(call: &Contraction, rows: Rows, a: *const f32, b: *const f32, c: *mut f32) {
            // SAFETY: the caller's; compiled for the instructions of the type.
            unsafe {
                call.rows::<super::vector::Avx2, { super::vector::Avx2::DOTS[0] }, { super::vector::Avx2::DOTS[1] }>(rows, a, b, c)
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,avx512f")]
        unsafe fn avx512(call: &Contraction, rows: Rows, a: *const f32, b: *const f32, c: *mut f32) {
            // SAFETY: the caller's; compiled for the instructions of the type.
            unsafe {
                call.rows::<super::vector::Avx512, { super::vector::Avx512::DOTS[0] }, { super::vector::Avx512::DOTS[1] }>(rows, a, b, c)
            }
        }
        match isa.level() {
            // SAFETY: the caller's.
            Level::Portable => unsafe {
                self.rows::<Portable, { Portable::DOTS[0] }, { Portable::DOTS[1] }>(rows, a, b, c)
            },
            // SAFETY: the caller's, and an `Isa` of this level exists only where the instructions do.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, rows, a, b, c) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, rows, a, b, c) },
        }
    }

    /// # Safety
    /// Like [`Contraction::item`], in a function compiled for the instructions of `V`.
    #[inline(always)]
    unsafe fn rows<V: Vector, const ROWS: usize, const SAMPLES: usize>(
        &self,
        rows: std::ops::Range<usize>,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
    ) {
        let spans = self.terms.div_ceil(SPAN).max(1);
        if self.samples <= SAMPLES {
            // Each row is read once: from its beginning to its end, as the processor fetches ahead.
            for row in rows.clone().step_by(ROWS) {
                for span in 0..spans {
                    // SAFETY: the caller's.
                    unsafe { self.span::<V, ROWS, SAMPLES>(row..(row + ROWS).min(rows.end), span, a, b, c) };
                }
            }
        } else {
            for span in 0..spans {
                // SAFETY: the caller's.
                unsafe { self.span::<V, ROWS, SAMPLES>(rows.clone(), span, a, b, c) };
            }
        }
    }

    /// One span of the sums of these rows.
    ///
    /// # Safety
    /// Like [`Contraction::rows`].
    #[inline(always)]
    unsafe fn span<V: Vector, const ROWS: usize, const SAMPLES: usize>(
        &self,
        rows: std::ops::Range<usize>,
        span: usize,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
    ) {
        let first = span * SPAN;
        let terms = SPAN.min(self.terms - first);
        // A few samples stay in the first cache while the rows pass: samples are often a power of two apart, so
        // that not many of them fit the second cache together, and rows never are.
        let mut sample = 0;
        while sample < self.samples {
            let wide = self.samples - sample >= SAMPLES;
            let mut row = rows.start;
            while row < rows.end {
                let tall = rows.end - row >= ROWS;
                // SAFETY: rows, samples and terms lie inside what the caller grants.
                unsafe {
                    let a = a.add(row * self.a_row + first);
                    let b = b.add(sample * self.b_sample + first);
                    let c = c.add(sample * self.c_sample + row);
                    match (tall, wide) {
                        (true, true) => self.tile::<V, ROWS, SAMPLES>(terms, span == 0, a, b, c),
                        (true, false) => self.tile::<V, ROWS, 1>(terms, span == 0, a, b, c),
                        (false, true) => self.tile::<V, 1, SAMPLES>(terms, span == 0, a, b, c),
                        (false, false) => self.tile::<V, 1, 1>(terms, span == 0, a, b, c),
                    }
                }
                row += if tall { ROWS } else { 1 };
            }
            sample += if wide { SAMPLES } else { 1 };
        }
    }

    /// # Safety
    /// Like [`Contraction::rows`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Two indices into a matrix of registers.
    unsafe fn tile<V: Vector, const ROWS: usize, const SAMPLES: usize>(
        &self,
        terms: usize,
        replace: bool,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
    ) {
        // SAFETY of all blocks here: the caller's.
        let mut sums = [[unsafe { V::splat(0.0) }; SAMPLES]; ROWS];
        let mut from = 0;
        while from < terms {
            let count = LANES.min(terms - from);
            let mut left = [unsafe { V::splat(0.0) }; ROWS];
            for (row, left) in left.iter_mut().enumerate() {
                *left = unsafe { load::<V>(a.add(row * self.a_row + from), count) };
            }
            for sample in 0..SAMPLES {
                let right = unsafe { load::<V>(b.add(sample * self.b_sample + from), count) };
                for row in 0..ROWS {
                    sums[row][sample] = unsafe { sums[row][sample].multiply_add(left[row], right) };
                }
            }
            from += LANES;
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (sample, sum) in sums.into_iter().enumerate() {
                unsafe {
                    let to = c.add(sample * self.c_sample + row);
                    *to = if replace { sum.sum() } else { *to + sum.sum() };
                }
            }
        }
    }
}
