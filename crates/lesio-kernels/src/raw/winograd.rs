//! The sums before and after the products of Winograd's algorithm along the rows: see `crate::winograd`.

use super::isa::{Isa, Level};
use super::vector::{LANES, Portable, Vector, load};
use crate::error::{KernelError, check_len};

/// Rows of the output that are computed from the same sums.
pub(crate) const ROWS: usize = 4;
/// Rows of the source that they depend on, and products.
pub(crate) const PARTS: usize = 6;

const ROOT: f32 = std::f32::consts::SQRT_2;
const HALF_ROOT: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Defines a function over vectors that is compiled for each instruction set, and its choice.
macro_rules! dispatch {
    ($name:ident($($argument:ident: $kind:ty),*)) => {
        /// # Safety
        /// As the function of the same name in `over`.
        unsafe fn $name(isa: Isa, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($argument: $kind),*) {
                // SAFETY: the caller's; compiled for the instructions of the type.
                unsafe { over::$name::<super::vector::Avx2>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f")]
            unsafe fn avx512($($argument: $kind),*) {
                // SAFETY: the caller's; compiled for the instructions of the type.
                unsafe { over::$name::<super::vector::Avx512>($($argument),*) }
            }
            match isa.level() {
                // SAFETY: the caller's.
                Level::Portable => unsafe { over::$name::<Portable>($($argument),*) },
                // SAFETY: the caller's, and an `Isa` of this level exists only where the instructions do.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

/// Pixels of a row: how many, how far apart, and how many channels of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixels {
    pub(crate) count: usize,
    pub(crate) step: usize,
    pub(crate) channels: usize,
}

impl Pixels {
    /// Values from the first to the last.
    fn span(self) -> Result<usize, KernelError> {
        let span = || self.count.checked_sub(1)?.checked_mul(self.step)?.checked_add(self.channels);
        span().ok_or(KernelError::Size { what: "a row" })
    }

    /// The same pixels as few long runs: the number of runs, how far apart they are there and where all
    /// channels lie side by side, and the values of each.
    fn runs(self) -> (usize, [usize; 2], usize) {
        if self.step == self.channels {
            (1, [0; 2], self.count * self.channels)
        } else {
            (self.count, [self.step, self.channels], self.channels)
        }
    }
}

/// `B' d`: six rows of sums of six rows. Their pixels lie side by side in `to`, and the rows of sums `apart`
/// from one another.
///
/// # Errors
/// Refuses slices that are too short.
pub(crate) fn sums_of_source(
    isa: Isa,
    rows: [&[f32]; PARTS],
    pixels: Pixels,
    to: &mut [f32],
    apart: usize,
) -> Result<(), KernelError> {
    for row in rows {
        check_len("a row of the source", row.len(), pixels.span()?)?;
    }
    let size = KernelError::Size { what: "a row of sums" };
    let len = pixels.count.checked_mul(pixels.channels).ok_or(size.clone())?;
    let needed = apart.checked_mul(PARTS - 1).and_then(|last| last.checked_add(len)).ok_or(size)?;
    check_len("the sums", to.len(), needed)?;
    let (runs, steps, len) = pixels.runs();
    let rows = rows.map(<[f32]>::as_ptr);
    // SAFETY: all runs lie inside the rows and the rows of sums, as was just checked.
    unsafe { source(isa, rows, runs, steps, len, to.as_mut_ptr(), apart) };
    Ok(())
}

/// `A g`: six rows of sums of four rows. The pixels are padded with zeros to whole vectors and lie side by
/// side in `to`, and the rows of sums `apart` from one another.
///
/// # Errors
/// Refuses slices that are too short.
pub(crate) fn sums_of_gradient(
    isa: Isa,
    rows: [&[f32]; ROWS],
    pixels: Pixels,
    to: &mut [f32],
    apart: usize,
) -> Result<(), KernelError> {
    for row in rows {
        check_len("a row of the gradient", row.len(), pixels.span()?)?;
    }
    check_len("the sums", to.len(), padded_len(pixels, apart).ok_or(KernelError::Size { what: "a row" })?)?;
    let rows = rows.map(<[f32]>::as_ptr);
    // SAFETY: all pixels lie inside the rows, and all vectors inside the rows of sums, as was just checked.
    unsafe { gradient(isa, rows, pixels, to.as_mut_ptr(), apart) };
    Ok(())
}

/// Values up to the last of six rows that lie `apart`, their pixels padded to whole vectors.
fn padded_len(pixels: Pixels, apart: usize) -> Option<usize> {
    let len = pixels.channels.checked_next_multiple_of(LANES)?.checked_mul(pixels.count)?;
    len.checked_add(apart.checked_mul(PARTS - 1)?)
}

/// Where results go, and what is done with them before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Rows of pixels, at most [`ROWS`].
    pub(crate) rows: usize,
    /// Distance between them.
    pub(crate) row: usize,
    pub(crate) pixels: Pixels,
    /// The results are added to what is there.
    pub(crate) add: bool,
    /// Added to each channel.
    pub(crate) bias: Option<&'a [f32]>,
    /// Negative results are multiplied by this; 1 changes nothing.
    pub(crate) slope: f32,
    /// Values from the first pixel, the distances of rows and pixels, and the slope where they are not
    /// positive.
    pub(crate) mask: Option<(&'a [f32], [usize; 2], f32)>,
}

/// `A' m`: up to four rows of the output from six rows of products, which lie `apart`, each pixel of them
/// padded to whole vectors.
///
/// # Errors
/// Refuses slices that are too short, and more than four rows.
pub(crate) fn sums_of_products(
    isa: Isa,
    from: &[f32],
    apart: usize,
    to: &mut [f32],
    place: &Place<'_>,
) -> Result<(), KernelError> {
    let size = KernelError::Size { what: "rows of the output" };
    let Place { rows, row, pixels, .. } = *place;
    if rows == 0 || rows > ROWS || pixels.channels == 0 {
        return Err(size);
    }
    let span = |row: usize, step: usize| {
        row.checked_mul(rows - 1)?.checked_add(Pixels { step, ..pixels }.span().ok()?)
    };
    check_len("the output", to.len(), span(row, pixels.step).ok_or(size.clone())?)?;
    if let Some((values, [row, step], _)) = place.mask {
        check_len("the mask", values.len(), span(row, step).ok_or(size.clone())?)?;
    }
    if let Some(bias) = place.bias {
        check_len("the bias", bias.len(), pixels.channels)?;
    }
    check_len("the products", from.len(), padded_len(pixels, apart).ok_or(size)?)?;
    // SAFETY: all vectors and their parts lie inside the slices, as was just checked.
    unsafe { products(isa, from.as_ptr(), apart, to.as_mut_ptr(), place) };
    Ok(())
}

dispatch!(source(
    rows: [*const f32; PARTS],
    runs: usize,
    steps: [usize; 2],
    len: usize,
    to: *mut f32,
    apart: usize
));
dispatch!(gradient(rows: [*const f32; ROWS], pixels: Pixels, to: *mut f32, apart: usize));
dispatch!(products(from: *const f32, apart: usize, to: *mut f32, place: &Place<'_>));

/// The functions over any vectors.
mod over {
    use super::{HALF_ROOT, LANES, PARTS, Pixels, Place, ROOT, ROWS, Vector, load};

    /// # Safety
    /// In a function compiled for the instructions of `V`; `runs` runs of `len` values are readable from
    /// each row and writable from each sixth of `to`.
    #[inline(always)]
    pub(super) unsafe fn source<V: Vector>(
        rows: [*const f32; PARTS],
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
                    let sums = of_source(rows.map(|row| V::load(row.add(at))));
                    for (part, sum) in sums.into_iter().enumerate() {
                        sum.store(to.add(part * apart + at));
                    }
                }
                if whole < len {
                    let sums = of_source(rows.map(|row| V::load_first(row.add(whole), len - whole)));
                    for (part, sum) in sums.into_iter().enumerate() {
                        sum.store_first(to.add(part * apart + whole), len - whole);
                    }
                }
            }
        }
    }

    /// `B' d`.
    ///
    /// # Safety
    /// In a function compiled for the instructions of `V`.
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

    /// `A' m`.
    ///
    /// # Safety
    /// In a function compiled for the instructions of `V`.
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

    /// # Safety
    /// In a function compiled for the instructions of `V`; the caller checked all that `place` says.
    #[inline(always)]
    pub(super) unsafe fn products<V: Vector>(
        from: *const f32,
        apart: usize,
        to: *mut f32,
        place: &Place<'_>,
    ) {
        // Written out, so that sums stay in registers.
        // SAFETY: the caller's.
        unsafe {
            match place.rows {
                1 => some_rows::<V, 1>(from, apart, to, place),
                2 => some_rows::<V, 2>(from, apart, to, place),
                3 => some_rows::<V, 3>(from, apart, to, place),
                _ => some_rows::<V, ROWS>(from, apart, to, place),
            }
        }
    }

    /// # Safety
    /// As [`products`].
    #[inline(always)]
    unsafe fn some_rows<V: Vector, const COUNT: usize>(
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
                    let sums = of_products([0, 1, 2, 3, 4, 5].map(|part| V::load(from.add(part * apart))));
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
}
