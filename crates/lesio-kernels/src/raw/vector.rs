//! Sixteen `f32` lanes, as one AVX-512 register, two AVX2 registers, or an array.

/// Number of lanes of every [`Vector`].
pub(super) const LANES: usize = 16;

/// Sixteen lanes of `f32`.
///
/// # Safety
/// Methods other than those of the array need the instructions of their type: call them only inside a
/// function compiled for these, on a processor that has them. Pointers need what each method says;
/// none needs to be aligned.
pub(super) trait Vector: Copy {
    /// Most columns of a tile that is one vector wide, and of one that is two wide (0: never two wide).
    const COLUMNS: [usize; 2];
    /// The same for tiles that slide over three taps.
    const SLIDING_COLUMNS: [usize; 2];
    /// Rows and samples of a tile of dot products.
    const DOTS: [usize; 2];

    /// All lanes the same value.
    unsafe fn splat(value: f32) -> Self;
    /// Reads 16 values.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads `count <= 16` values; the other lanes are 0.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// Writes 16 values.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count <= 16` values.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `a * b + self`, rounded once where the processor can.
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self;
    /// Lanes of `self` where those of `sign` are positive, else `slope` times them.
    unsafe fn rectify(self, sign: Self, slope: f32) -> Self;
    /// Asks for the cache line of an address, which need not be valid. Changes no values.
    #[inline(always)]
    unsafe fn fetch_ahead(from: *const f32) {
        let _ = from;
    }
    /// Sum of the lanes: lane i with i + 8, the sums with i + 4, then 2, then 1.
    unsafe fn sum(self) -> f32;
    /// `a * b + self` where each lane of `a` and `b` holds the bits of two bfloat16, whose products are both
    /// added. `ONE` asks for the one instruction that does it, which only some processors with AVX-512 have.
    unsafe fn multiply_add_pairs<const ONE: bool>(self, a: Self, b: Self) -> Self;
}

/// A vector whose products are of pairs of bfloat16: [`Vector::multiply_add_pairs`].
#[derive(Clone, Copy)]
pub(super) struct Pairs<V, const ONE: bool>(V);

// SAFETY of the blocks in this implementation: the caller grants to each method what the same method of `V` needs.
impl<V: Vector, const ONE: bool> Vector for Pairs<V, ONE> {
    /// Where pairs are taken apart, registers are needed for their halves too.
    const COLUMNS: [usize; 2] = if ONE { V::COLUMNS } else { [3, 0] };
    const SLIDING_COLUMNS: [usize; 2] = V::SLIDING_COLUMNS;
    const DOTS: [usize; 2] = V::DOTS;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { V::splat(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { V::load(from) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { V::load_first(from, count) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above the implementation.
        unsafe { self.0.store(to) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: see above the implementation.
        unsafe { self.0.store_first(to, count) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { self.0.add(other.0) })
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { self.0.multiply_add_pairs::<ONE>(a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn rectify(self, sign: Self, slope: f32) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { self.0.rectify(sign.0, slope) })
    }

    #[inline(always)]
    unsafe fn fetch_ahead(from: *const f32) {
        // SAFETY: see above the implementation.
        unsafe { V::fetch_ahead(from) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see above the implementation.
        unsafe { self.0.sum() }
    }

    #[inline(always)]
    unsafe fn multiply_add_pairs<const OTHER: bool>(self, a: Self, b: Self) -> Self {
        // SAFETY: see above the implementation.
        Self(unsafe { self.0.multiply_add_pairs::<OTHER>(a.0, b.0) })
    }
}

/// Reads `count <= 16` values; the other lanes are 0.
///
/// # Safety
/// Like [`Vector::load_first`].
#[inline(always)]
pub(super) unsafe fn load<V: Vector>(from: *const f32, count: usize) -> V {
    // SAFETY: the caller's.
    unsafe { if count == LANES { V::load(from) } else { V::load_first(from, count) } }
}

/// The portable vector: an array, which the compiler maps to what the target has.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Portable([f32; LANES]);

impl Vector for Portable {
    const COLUMNS: [usize; 2] = [3, 0];
    const SLIDING_COLUMNS: [usize; 2] = [2, 0];
    const DOTS: [usize; 2] = [2, 1];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller grants 16 readable values; arrays of f32 ask for no more than their alignment.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; LANES];
        for (index, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: `index < count`, and the caller grants `count` readable values.
            *lane = unsafe { *from.add(index) };
        }
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller grants 16 writable values.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (index, lane) in self.0.into_iter().enumerate().take(count) {
            // SAFETY: `index < count`, and the caller grants `count` writable values.
            unsafe { *to.add(index) = lane };
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| a.0[lane] * b.0[lane] + self.0[lane]))
    }

    #[inline(always)]
    unsafe fn rectify(self, sign: Self, slope: f32) -> Self {
        Self(std::array::from_fn(|lane| if sign.0[lane] > 0.0 { self.0[lane] } else { self.0[lane] * slope }))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut lanes = self.0;
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        lanes[0]
    }

    #[inline(always)]
    unsafe fn multiply_add_pairs<const ONE: bool>(self, a: Self, b: Self) -> Self {
        let low = |word: f32| f32::from_bits(word.to_bits() << 16);
        let high = |word: f32| f32::from_bits(word.to_bits() & 0xffff_0000);
        Self(std::array::from_fn(|lane| {
            let (a, b) = (a.0[lane], b.0[lane]);
            self.0[lane] + low(a) * low(b) + high(a) * high(b)
        }))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Vector};
    use std::arch::x86_64::*;

    /// Two registers of AVX2, with fused multiply-add.
    #[derive(Clone, Copy)]
    pub(in crate::raw) struct Avx2(__m256, __m256);

    /// Masks for the first `count` of 8 lanes, from a window over ones and zeros.
    #[inline(always)]
    unsafe fn first_of_eight(count: usize) -> __m256i {
        const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: 8 - count is in 0..=8, so 8 values from there lie inside the window.
        unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - count.min(8)).cast()) }
    }

    // SAFETY of the blocks in this implementation: the caller of each method runs in a function compiled
    // for AVX2 and FMA, and grants the memory that the method reads or writes.
    impl Vector for Avx2 {
        const COLUMNS: [usize; 2] = [6, 0];
        const SLIDING_COLUMNS: [usize; 2] = [4, 0];
        const DOTS: [usize; 2] = [2, 3];

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above; masked lanes are not touched, and the second pointer is only formed
            // by wrapping arithmetic, never read, where `count <= 8`.
            unsafe {
                Self(
                    _mm256_maskload_ps(from, first_of_eight(count)),
                    _mm256_maskload_ps(from.wrapping_add(8), first_of_eight(count.saturating_sub(8))),
                )
            }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above the implementation.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: as in `load_first`.
            unsafe {
                _mm256_maskstore_ps(to, first_of_eight(count), self.0);
                _mm256_maskstore_ps(to.wrapping_add(8), first_of_eight(count.saturating_sub(8)), self.1);
            }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }

        #[inline(always)]
        unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }

        #[inline(always)]
        unsafe fn rectify(self, sign: Self, slope: f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe {
                let (slope, zero) = (_mm256_set1_ps(slope), _mm256_setzero_ps());
                let one = |value, sign| {
                    let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(sign, zero);
                    _mm256_blendv_ps(_mm256_mul_ps(value, slope), value, positive)
                };
                Self(one(self.0, sign.0), one(self.1, sign.1))
            }
        }

        #[inline(always)]
        unsafe fn fetch_ahead(from: *const f32) {
            // SAFETY: a prefetch is a hint and may be given for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: see above the implementation.
            unsafe {
                let eight = _mm256_add_ps(self.0, self.1);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }

        #[inline(always)]
        unsafe fn multiply_add_pairs<const ONE: bool>(self, a: Self, b: Self) -> Self {
            // SAFETY: see above the implementation.
            unsafe {
                let half = |sum, a, b| {
                    let low =
                        |words| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(words)));
                    let mask = _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000));
                    let high = |words| _mm256_and_ps(words, mask);
                    _mm256_fmadd_ps(high(a), high(b), _mm256_fmadd_ps(low(a), low(b), sum))
                };
                Self(half(self.0, a.0, b.0), half(self.1, a.1, b.1))
            }
        }
    }

    /// One register of AVX-512.
    #[derive(Clone, Copy)]
    pub(in crate::raw) struct Avx512(__m512);

    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        (0xffff_u32 >> (LANES - count.min(LANES))) as __mmask16
    }

    // SAFETY of the blocks in this implementation: the caller of each method runs in a function compiled
    // for AVX-512 F, and grants the memory that the method reads or writes; masked lanes are not touched.
    impl Vector for Avx512 {
        const COLUMNS: [usize; 2] = [14, 12];
        const SLIDING_COLUMNS: [usize; 2] = [16, 12];
        const DOTS: [usize; 2] = [4, 6];

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm512_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm512_maskz_loadu_ps(first(count), from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above the implementation.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: see above the implementation.
            unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
            // SAFETY: see above the implementation.
            unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }

        #[inline(always)]
        unsafe fn rectify(self, sign: Self, slope: f32) -> Self {
            // SAFETY: see above the implementation.
            unsafe {
                let rest = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(sign.0, _mm512_setzero_ps());
                Self(_mm512_mask_mul_ps(self.0, rest, self.0, _mm512_set1_ps(slope)))
            }
        }

        #[inline(always)]
        unsafe fn fetch_ahead(from: *const f32) {
            // SAFETY: a prefetch is a hint and may be given for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: see above the implementation. The upper half is taken as integers because the
            // extraction of 8 floats belongs to AVX-512 DQ.
            unsafe {
                let upper = _mm512_extracti64x4_epi64::<1>(_mm512_castps_si512(self.0));
                let eight = _mm256_add_ps(_mm512_castps512_ps256(self.0), _mm256_castsi256_ps(upper));
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }

        #[inline(always)]
        unsafe fn multiply_add_pairs<const ONE: bool>(self, a: Self, b: Self) -> Self {
            if ONE {
                // SAFETY: see above the implementation; whoever asks for the one instruction grants it too.
                return Self(unsafe { multiply_add_pairs(self.0, a.0, b.0) });
            }
            // SAFETY: see above the implementation.
            unsafe {
                let (a, b) = (_mm512_castps_si512(a.0), _mm512_castps_si512(b.0));
                let low = |words| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words));
                let mask = _mm512_set1_epi32(-0x1_0000);
                let high = |words| _mm512_castsi512_ps(_mm512_and_si512(words, mask));
                let sum = _mm512_fmadd_ps(low(a), low(b), self.0);
                Self(_mm512_fmadd_ps(high(a), high(b), sum))
            }
        }
    }

    /// By itself, so that nothing else is compiled for an instruction that few processors have.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply_add_pairs(sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: any bits are 32 bfloat16.
        let pairs = |words: __m512| unsafe { std::mem::transmute::<__m512, __m512bh>(words) };
        _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every method on a type and compares with plain loops, bit for bit.
    #[inline(always)]
    unsafe fn check<V: Vector>(fused: bool) {
        let a: [f32; LANES] = std::array::from_fn(|i| (i as f32 - 7.3) * 0.37);
        let b: [f32; LANES] = std::array::from_fn(|i| (5.1 - i as f32) * 1.13);
        let mut out = [0.0_f32; LANES];
        for count in 0..=LANES {
            // SAFETY: all arrays hold 16 values; the instructions are there (callers).
            unsafe {
                let v = V::load_first(a.as_ptr(), count);
                v.store(out.as_mut_ptr());
                assert!((0..LANES).all(|i| out[i] == if i < count { a[i] } else { 0.0 }), "{count}");
                out = [9.0; LANES];
                V::load(b.as_ptr()).store_first(out.as_mut_ptr(), count);
                assert!((0..LANES).all(|i| out[i] == if i < count { b[i] } else { 9.0 }), "{count}");
            }
        }
        // SAFETY: as above.
        unsafe {
            let (x, y) = (V::load(a.as_ptr()), V::load(b.as_ptr()));
            x.add(y).store(out.as_mut_ptr());
            assert!((0..LANES).all(|i| out[i] == a[i] + b[i]));
            V::splat(0.7).multiply_add(x, y).store(out.as_mut_ptr());
            let expected = |i: usize| if fused { a[i].mul_add(b[i], 0.7) } else { a[i] * b[i] + 0.7 };
            assert!((0..LANES).all(|i| out[i] == expected(i)));
            x.rectify(y, 0.25).store(out.as_mut_ptr());
            assert!((0..LANES).all(|i| out[i] == if b[i] > 0.0 { a[i] } else { a[i] * 0.25 }));
            assert_eq!(x.sum(), Portable::load(a.as_ptr()).sum());
            let nan = V::splat(f32::NAN);
            nan.rectify(nan, 0.5).store(out.as_mut_ptr());
            assert!(out.iter().all(|v| v.is_nan()));
        }
    }

    #[test]
    fn every_vector_type_computes_the_same() {
        // SAFETY: the portable type needs no instructions.
        unsafe { check::<Portable>(false) };
        #[cfg(target_arch = "x86_64")]
        for isa in crate::Isa::available() {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2() {
                // SAFETY: compiled for these instructions.
                unsafe { check::<Avx2>(true) }
            }
            #[target_feature(enable = "avx2,fma,avx512f")]
            unsafe fn avx512() {
                // SAFETY: compiled for these instructions.
                unsafe { check::<Avx512>(true) }
            }
            match isa.level() {
                crate::raw::Level::Portable => {}
                // SAFETY: the level says that the processor has the instructions.
                crate::raw::Level::Avx2 => unsafe { avx2() },
                // SAFETY: as above.
                crate::raw::Level::Avx512 => unsafe { avx512() },
            }
        }
    }
}
