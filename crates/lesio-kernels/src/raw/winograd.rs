//! The sums before and after the products of Winograd's algorithm along the rows: see `crate::winograd`.

mod over;

use super::isa::{Isa, Level};
use super::vector::{LANES, Portable, Vector, load};
use crate::error::{KernelError, check_len};

/// Rows of the output that are computed from the same sums.
pub(crate) const ROWS: usize = 4;
/// Rows of the source that they depend on, and products.
pub(crate) const PARTS: usize = 6;
/// The same for kernels of two rows.
pub(crate) const FEW_ROWS: usize = 3;
pub(crate) const FEW_PARTS: usize = 4;

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

/// `B' d`: six rows of sums of six rows, or four of four. Their pixels lie side by side in `to`, and the rows
/// of sums `apart` from one another.
///
/// # Errors
/// For slices that are too short, and other numbers of rows.
pub(crate) fn sums_of_source(
    isa: Isa,
    rows: &[&[f32]],
    pixels: Pixels,
    to: &mut [f32],
    apart: usize,
) -> Result<(), KernelError> {
    let parts = check_parts(rows.len())?;
    for row in rows {
        check_len("a row of the source", row.len(), pixels.span()?)?;
    }
    let size = KernelError::Size { what: "a row of sums" };
    let len = pixels.count.checked_mul(pixels.channels).ok_or(size.clone())?;
    let needed = apart.checked_mul(parts - 1).and_then(|last| last.checked_add(len)).ok_or(size)?;
    check_len("the sums", to.len(), needed)?;
    let (runs, steps, len) = pixels.runs();
    let mut pointers = [std::ptr::null(); PARTS];
    pointers.iter_mut().zip(rows).for_each(|(to, row)| *to = row.as_ptr());
    // SAFETY: all runs lie inside the rows and the rows of sums, as was just checked.
    unsafe { source(isa, &pointers[..parts], runs, steps, len, to.as_mut_ptr(), apart) };
    Ok(())
}

/// Only these numbers of products are known.
fn check_parts(parts: usize) -> Result<usize, KernelError> {
    match parts {
        PARTS | FEW_PARTS => Ok(parts),
        _ => Err(KernelError::Size { what: "the rows of sums" }),
    }
}

/// `A g`: six rows of sums of four rows. The pixels are padded with zeros to whole vectors and lie side by
/// side in `to`, and the rows of sums `apart` from one another.
///
/// # Errors
/// For slices that are too short.
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
    check_len(
        "the sums",
        to.len(),
        padded_len(pixels, apart, PARTS).ok_or(KernelError::Size { what: "a row" })?,
    )?;
    let rows = rows.map(<[f32]>::as_ptr);
    // SAFETY: all pixels lie inside the rows, and all vectors inside the rows of sums, as was just checked.
    unsafe { gradient(isa, rows, pixels, to.as_mut_ptr(), apart) };
    Ok(())
}

/// Values up to the last of the rows that lie `apart`, their pixels padded to whole vectors.
fn padded_len(pixels: Pixels, apart: usize, rows: usize) -> Option<usize> {
    let len = pixels.channels.checked_next_multiple_of(LANES)?.checked_mul(pixels.count)?;
    len.checked_add(apart.checked_mul(rows - 1)?)
}

/// Where results go, and what is done with them before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Rows of products: [`PARTS`] or [`FEW_PARTS`].
    pub(crate) parts: usize,
    /// Rows of pixels, at most [`ROWS`] or [`FEW_ROWS`].
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

/// `A' m`: up to four rows of the output from six rows of products, or up to three from four, which lie
/// `apart`, each pixel of them padded to whole vectors.
///
/// # Errors
/// For slices that are too short, more rows, and other numbers of products.
pub(crate) fn sums_of_products(
    isa: Isa,
    from: &[f32],
    apart: usize,
    to: &mut [f32],
    place: &Place<'_>,
) -> Result<(), KernelError> {
    let size = KernelError::Size { what: "rows of the output" };
    let Place { rows, row, pixels, .. } = *place;
    let parts = check_parts(place.parts)?;
    let most = if parts == PARTS { ROWS } else { FEW_ROWS };
    if rows == 0 || rows > most || pixels.channels == 0 {
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
    check_len("the products", from.len(), padded_len(pixels, apart, parts).ok_or(size)?)?;
    // SAFETY: all vectors and their parts lie inside the slices, as was just checked.
    unsafe { products(isa, from.as_ptr(), apart, to.as_mut_ptr(), place) };
    Ok(())
}

dispatch!(source(
    rows: &[*const f32],
    runs: usize,
    steps: [usize; 2],
    len: usize,
    to: *mut f32,
    apart: usize
));
dispatch!(gradient(rows: [*const f32; ROWS], pixels: Pixels, to: *mut f32, apart: usize));
dispatch!(products(from: *const f32, apart: usize, to: *mut f32, place: &Place<'_>));

#[cfg(test)]
mod tests {
    use super::*;

    /// Four output rows from the three sums' functions, against the plain correlation with one weight each.
    #[test]
    fn the_matrices_are_those_of_a_correlation_of_rows() {
        let (channels, count) = (19, 3);
        let pixels = Pixels { count, step: 21, channels };
        let value = |row: usize, index: usize| ((row * 31 + index * 7) % 23) as f32 - 11.0;
        let rows: Vec<Vec<f32>> = (0..PARTS).map(|row| (0..61).map(|k| value(row, k)).collect()).collect();
        let kernel = [0.5_f32, -1.25, 2.0];
        // `G g` in f64.
        let root = f64::sqrt(2.0);
        let [a, b, c] = kernel.map(f64::from);
        let (even, odd) = (-(2.0 * a + c) / 3.0, root / 3.0 * b);
        let (far_even, far_odd) = ((a + 2.0 * c) / 6.0, root / 6.0 * b);
        let weights = [a, even - odd, even + odd, far_even + far_odd, far_even - far_odd, c];
        for isa in Isa::available() {
            let source: [&[f32]; PARTS] = std::array::from_fn(|row| &rows[row][..]);
            let apart = count * channels + 5;
            let mut sums = vec![9.0; PARTS * apart];
            sums_of_source(isa, &source, pixels, &mut sums, apart).unwrap();
            assert!(sums[count * channels..apart].iter().all(|&rest| rest == 9.0));
            let padded = count * 32;
            let mut products = vec![f32::NAN; PARTS * padded];
            for part in 0..PARTS {
                for index in 0..count * channels {
                    let to = part * padded + index / channels * 32 + index % channels;
                    products[to] = sums[part * apart + index] * weights[part] as f32;
                }
            }
            for rows_wanted in 1..=ROWS {
                let place = Place {
                    parts: PARTS,
                    rows: rows_wanted,
                    row: 70,
                    pixels,
                    add: false,
                    bias: None,
                    slope: 1.0,
                    mask: None,
                };
                let mut to = vec![9.0; 70 * ROWS];
                sums_of_products(isa, &products, padded, &mut to, &place).unwrap();
                for (at, &found) in to.iter().enumerate() {
                    let (row, pixel, channel) = (at / 70, at % 70 / 21, at % 70 % 21);
                    let inside = row < rows_wanted && pixel < count && channel < channels;
                    let index = pixel * 21 + channel;
                    let expected = if inside {
                        (0..3).map(|tap| rows[row + tap][index] * kernel[tap]).sum()
                    } else {
                        9.0
                    };
                    assert!((found - expected).abs() < 1e-4, "{isa:?} {at}: {found} {expected}");
                }
            }
            // The gradient of a weight is the sum over rows of its two rows' products.
            let gradient: [&[f32]; ROWS] = std::array::from_fn(|row| &rows[5 - row][..]);
            let mut sums = vec![9.0; PARTS * padded];
            sums_of_gradient(isa, gradient, pixels, &mut sums, padded).unwrap();
            for part in 0..PARTS {
                let power = [0.0, 0.5 * root, -0.5 * root, root, -root, 0.0][part];
                for (index, &found) in sums[part * padded..(part + 1) * padded].iter().enumerate() {
                    let (pixel, channel) = (index / 32, index % 32);
                    let of = |row: usize| f64::from(gradient[row][pixel * 21 + channel]);
                    let expected = match part {
                        _ if channel >= channels => 0.0,
                        5 => of(3),
                        _ => (0..ROWS).map(|row| power.powi(row as i32) * of(row)).sum(),
                    };
                    assert!((f64::from(found) - expected).abs() < 1e-4, "{isa:?} {part} {index}");
                }
            }
        }
    }

    /// The same for kernels of two rows.
    #[test]
    fn the_few_matrices_are_those_of_a_correlation_of_rows() {
        let pixels = Pixels { count: 1, step: 16, channels: 16 };
        let rows: [[f32; 16]; FEW_PARTS] =
            std::array::from_fn(|row| std::array::from_fn(|k| ((row * 31 + k * 7) % 23) as f32 - 11.0));
        let kernel = [0.5_f32, -1.25];
        let weights = [0.5, -0.375, 0.875, -1.25];
        for isa in Isa::available() {
            let mut sums = [9.0; FEW_PARTS * 16];
            sums_of_source(isa, &[0, 1, 2, 3].map(|row| &rows[row][..]), pixels, &mut sums, 16).unwrap();
            let products: Vec<f32> = (0..64).map(|k| sums[k] * weights[k / 16]).collect();
            for rows_wanted in 1..=FEW_ROWS {
                let place = Place {
                    parts: FEW_PARTS,
                    rows: rows_wanted,
                    row: 16,
                    pixels,
                    add: false,
                    bias: None,
                    slope: 1.0,
                    mask: None,
                };
                let mut to = [9.0; FEW_ROWS * 16];
                sums_of_products(isa, &products, 16, &mut to, &place).unwrap();
                for (at, &found) in to.iter().enumerate() {
                    let (row, k) = (at / 16, at % 16);
                    let sum = rows[row][k] * kernel[0] + rows[row + 1][k] * kernel[1];
                    let expected = if row < rows_wanted { sum } else { 9.0 };
                    assert!((found - expected).abs() < 1e-4, "{isa:?} {at}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_short_is_refused() {
        let isa = Isa::best();
        let pixels = Pixels { count: 3, step: 20, channels: 18 };
        let row = [0.0; 58];
        let mut to = [0.0; 600];
        assert!(sums_of_source(isa, &[&row[..]; PARTS], pixels, &mut to[..5 * 54 + 54], 54).is_ok());
        assert!(sums_of_source(isa, &[&row[..]; PARTS], pixels, &mut to[..5 * 54 + 53], 54).is_err());
        assert!(sums_of_source(isa, &[&row[1..]; PARTS], pixels, &mut to, 54).is_err());
        assert!(sums_of_source(isa, &[&row[..]; PARTS], pixels, &mut to, usize::MAX / 4).is_err());
        assert!(sums_of_gradient(isa, [&row[..]; ROWS], pixels, &mut to[..5 * 96 + 96], 96).is_ok());
        assert!(sums_of_gradient(isa, [&row[..]; ROWS], pixels, &mut to[..5 * 96 + 95], 96).is_err());
        assert!(sums_of_gradient(isa, [&row[1..]; ROWS], pixels, &mut to, 96).is_err());
        assert!(sums_of_source(isa, &[&row[..]; FEW_PARTS], pixels, &mut to[..3 * 54 + 54], 54).is_ok());
        assert!(sums_of_source(isa, &[&row[..]; FEW_PARTS], pixels, &mut to[..3 * 54 + 53], 54).is_err());
        assert!(sums_of_source(isa, &[&row[..]; 5], pixels, &mut to, 54).is_err());
        let products = [0.0; 5 * 96 + 96];
        let place = Place {
            parts: PARTS,
            rows: 4,
            row: 60,
            pixels,
            add: true,
            bias: Some(&row[..18]),
            slope: 0.1,
            mask: Some((&products, [100, 30], 0.2)),
        };
        let mut run = |from: &[f32], len: usize, place: Place<'_>| {
            sums_of_products(isa, from, 96, &mut to[..len], &place).is_ok()
        };
        let len = 3 * 60 + 58;
        assert!(run(&products, len, place));
        assert!(!run(&products[1..], len, place));
        assert!(!run(&products, len - 1, place));
        assert!(!run(&products, len, Place { bias: Some(&row[..17]), ..place }));
        assert!(run(&products, len, Place { mask: Some((&products[..378], [100, 30], 0.2)), ..place }));
        assert!(!run(&products, len, Place { mask: Some((&products[..377], [100, 30], 0.2)), ..place }));
        assert!(!run(&products, len, Place { rows: 0, ..place }));
        assert!(!run(&products, len, Place { rows: 5, ..place }));
        assert!(run(&products, len, Place { parts: FEW_PARTS, rows: 3, ..place }));
        assert!(!run(&products, len, Place { parts: FEW_PARTS, ..place }));
        assert!(!run(&products, len, Place { parts: 5, rows: 3, ..place }));
        assert!(!run(&products, len, Place { row: usize::MAX / 2, ..place }));
    }
}
