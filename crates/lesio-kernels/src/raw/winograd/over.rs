//! The sums over any vectors, to be compiled for each instruction set.

use super::{FEW_PARTS, FEW_ROWS, HALF_ROOT, LANES, PARTS, Pixels, Place, ROOT, ROWS, Vector, load};

/// # Safety
/// In a function compiled for the instructions of `V`; `runs` runs of `len` values are readable from
/// each row and writable from each row of `to`.
#[inline(always)]
pub(super) unsafe fn source<V: Vector>(
    rows: &[*const f32],
    runs: usize,
    steps: [usize; 2],
    len: usize,
    to: *mut f32,
    apart: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if let Ok(rows) = rows.try_into() {
            each_run::<V, ThreeFromFour, FEW_PARTS>(rows, runs, steps, len, to, apart);
        } else if let Ok(rows) = rows.try_into() {
            each_run::<V, FourFromSix, PARTS>(rows, runs, steps, len, to, apart);
        }
    }
}

/// The sums of one of the algorithms. Not closures: those are compiled for no instructions in particular, and
/// it is the optimizer's whim whether what they call is then inlined.
trait Algorithm<const COUNT: usize> {
    /// `B' d`.
    ///
    /// # Safety
    /// In a function compiled for the instructions of `V`.
    unsafe fn of_source<V: Vector>(rows: [V; COUNT]) -> [V; COUNT];

    /// `A' m`, with rows at the end that are not wanted where there are fewer.
    ///
    /// # Safety
    /// In a function compiled for the instructions of `V`.
    unsafe fn of_products<V: Vector>(parts: [V; COUNT]) -> [V; ROWS];
}

/// Four rows from six products, kernels of three rows.
struct FourFromSix;

impl Algorithm<PARTS> for FourFromSix {
    #[inline(always)]
    unsafe fn of_source<V: Vector>([a, b, c, d, e, f]: [V; PARTS]) -> [V; PARTS] {
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = (e.multiply_add(c, V::splat(-2.0)), d.multiply_add(b, V::splat(-2.0)));
            let (far_even, far_odd) = (e.multiply_add(c, V::splat(-0.5)), d.multiply_add(b, V::splat(-0.5)));
            [
                a.add(e).multiply_add(c, V::splat(-2.5)),
                even.multiply_add(odd, V::splat(HALF_ROOT)),
                even.multiply_add(odd, V::splat(-HALF_ROOT)),
                far_even.multiply_add(far_odd, V::splat(ROOT)),
                far_even.multiply_add(far_odd, V::splat(-ROOT)),
                b.add(f).multiply_add(d, V::splat(-2.5)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_products<V: Vector>([a, b, c, d, e, f]: [V; PARTS]) -> [V; ROWS] {
        // SAFETY: the caller's.
        unsafe {
            let (even, far_even) = (b.add(c), d.add(e));
            let minus = V::splat(-1.0);
            let (odd, far_odd) = (b.multiply_add(c, minus), d.multiply_add(e, minus));
            let zero = V::splat(0.0);
            [
                a.add(even.add(far_even)),
                zero.multiply_add(odd.multiply_add(far_odd, V::splat(2.0)), V::splat(HALF_ROOT)),
                zero.multiply_add(even.multiply_add(far_even, V::splat(4.0)), V::splat(0.5)),
                f.multiply_add(odd.multiply_add(far_odd, V::splat(8.0)), V::splat(0.5 * HALF_ROOT)),
            ]
        }
    }
}

/// Three rows from four products, kernels of two rows.
struct ThreeFromFour;

impl Algorithm<FEW_PARTS> for ThreeFromFour {
    #[inline(always)]
    unsafe fn of_source<V: Vector>([a, b, c, d]: [V; FEW_PARTS]) -> [V; FEW_PARTS] {
        // SAFETY: the caller's.
        unsafe {
            let minus = V::splat(-1.0);
            [a.multiply_add(c, minus), b.add(c), c.multiply_add(b, minus), d.multiply_add(b, minus)]
        }
    }

    #[inline(always)]
    unsafe fn of_products<V: Vector>([a, b, c, d]: [V; FEW_PARTS]) -> [V; ROWS] {
        // SAFETY: the caller's.
        unsafe {
            let sum = b.add(c);
            [a.add(sum), b.multiply_add(c, V::splat(-1.0)), d.add(sum), sum]
        }
    }
}

/// # Safety
/// Like [`source`].
#[inline(always)]
unsafe fn each_run<V: Vector, A: Algorithm<COUNT>, const COUNT: usize>(
    rows: [*const f32; COUNT],
    runs: usize,
    steps: [usize; 2],
    len: usize,
    to: *mut f32,
    apart: usize,
) {
    for run in 0..runs {
        // SAFETY: the caller's; vectors begin inside the run, and the last is cut to its end.
        unsafe {
            let rows = rows.map(|row| row.add(run * steps[0]));
            let to = to.add(run * steps[1]);
            let whole = len / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                let sums = A::of_source(rows.map(|row| V::load(row.add(at))));
                for (part, sum) in sums.into_iter().enumerate() {
                    sum.store(to.add(part * apart + at));
                }
            }
            if whole < len {
                let sums = A::of_source(rows.map(|row| V::load_first(row.add(whole), len - whole)));
                for (part, sum) in sums.into_iter().enumerate() {
                    sum.store_first(to.add(part * apart + whole), len - whole);
                }
            }
        }
    }
}

/// # Safety
/// In a function compiled for the instructions of `V`; the pixels are readable from each row, and
/// writable, padded to whole vectors, from each sixth of `to`.
#[inline(always)]
pub(super) unsafe fn gradient<V: Vector>(
    rows: [*const f32; ROWS],
    pixels: Pixels,
    to: *mut f32,
    apart: usize,
) {
    let blocks = pixels.channels.div_ceil(LANES);
    for column in 0..pixels.count {
        for block in 0..blocks {
            let first = block * LANES;
            let count = LANES.min(pixels.channels - first);
            // SAFETY: the caller's; reads are cut to the channels.
            unsafe {
                let sums =
                    of_gradient(rows.map(|row| load::<V>(row.add(column * pixels.step + first), count)));
                for (part, sum) in sums.into_iter().enumerate() {
                    sum.store(to.add(part * apart + (column * blocks + block) * LANES));
                }
            }
        }
    }
}

/// `A g`.
///
/// # Safety
/// In a function compiled for the instructions of `V`.
#[inline(always)]
unsafe fn of_gradient<V: Vector>([a, b, c, d]: [V; ROWS]) -> [V; PARTS] {
    // SAFETY: the caller's.
    unsafe {
        let (even, odd) = (a.multiply_add(c, V::splat(0.5)), b.multiply_add(d, V::splat(0.5)));
        let (far_even, far_odd) = (a.multiply_add(c, V::splat(2.0)), b.multiply_add(d, V::splat(2.0)));
        [
            a,
            even.multiply_add(odd, V::splat(HALF_ROOT)),
            even.multiply_add(odd, V::splat(-HALF_ROOT)),
            far_even.multiply_add(far_odd, V::splat(ROOT)),
            far_even.multiply_add(far_odd, V::splat(-ROOT)),
            d,
        ]
    }
}

/// # Safety
/// In a function compiled for the instructions of `V`; the caller checked all that `place` says.
#[inline(always)]
pub(super) unsafe fn products<V: Vector>(from: *const f32, apart: usize, to: *mut f32, place: &Place<'_>) {
    // Written out, so that sums stay in registers.
    // SAFETY: the caller's.
    unsafe {
        let few = place.parts == FEW_PARTS;
        match place.rows {
            1 if few => some_rows::<V, ThreeFromFour, FEW_PARTS, 1>(from, apart, to, place),
            2 if few => some_rows::<V, ThreeFromFour, FEW_PARTS, 2>(from, apart, to, place),
            _ if few => some_rows::<V, ThreeFromFour, FEW_PARTS, FEW_ROWS>(from, apart, to, place),
            1 => some_rows::<V, FourFromSix, PARTS, 1>(from, apart, to, place),
            2 => some_rows::<V, FourFromSix, PARTS, 2>(from, apart, to, place),
            3 => some_rows::<V, FourFromSix, PARTS, 3>(from, apart, to, place),
            _ => some_rows::<V, FourFromSix, PARTS, ROWS>(from, apart, to, place),
        }
    }
}

/// # Safety
/// Like [`products`].
#[inline(always)]
unsafe fn some_rows<V: Vector, A: Algorithm<PARTS>, const PARTS: usize, const COUNT: usize>(
    from: *const f32,
    apart: usize,
    to: *mut f32,
    place: &Place<'_>,
) {
    let pixels = place.pixels;
    let blocks = pixels.channels.div_ceil(LANES);
    let (mask, [mask_row, mask_step], mask_slope) = match place.mask {
        Some((values, steps, slope)) => (values.as_ptr(), steps, slope),
        None => (std::ptr::null(), [0; 2], 1.0),
    };
    for block in 0..blocks {
        let first = block * LANES;
        let count = LANES.min(pixels.channels - first);
        // SAFETY: the caller's: products are whole vectors, all else is cut to the channels.
        unsafe {
            let bias = match place.bias {
                Some(bias) => load::<V>(bias.as_ptr().add(first), count),
                None => V::splat(0.0),
            };
            for column in 0..pixels.count {
                let from = from.add((column * blocks + block) * LANES);
                let sums = A::of_products(std::array::from_fn(|part| V::load(from.add(part * apart))));
                for (row, mut sum) in sums.into_iter().enumerate().take(COUNT) {
                    let to = to.add(row * place.row + column * pixels.step + first);
                    if place.add {
                        sum = sum.add(load::<V>(to, count));
                    }
                    if place.bias.is_some() {
                        sum = sum.add(bias);
                    }
                    if place.slope != 1.0 {
                        sum = sum.rectify(sum, place.slope);
                    }
                    if !mask.is_null() {
                        let at = row * mask_row + column * mask_step + first;
                        sum = sum.rectify(load::<V>(mask.add(at), count), mask_slope);
                    }
                    if count == LANES { sum.store(to) } else { sum.store_first(to, count) }
                }
            }
        }
    }
}
