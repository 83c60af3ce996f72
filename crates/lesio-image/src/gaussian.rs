//! Gaussian smoothing.

use lesio_settings::SettingError;
use ndarray::{Array, Array2, Array3, ArrayRef, ArrayRef2, ArrayRef3, Dimension};
use rayon::prelude::*;

use crate::error::check_finite;
use crate::median::{FilterError, mirrored};

/// Beyond this many standard deviations the kernel is cut off.
const TRUNCATE: f64 = 4.0;

/// The widest kernel, in pixels.
const MAX_SIGMA: f64 = 1000.0;

/// A plane smoothed by a Gaussian of standard deviations `sigma` (pixels along rows' and columns'
/// axes, that is `[vertical, horizontal]`); 0 leaves an axis unfiltered.
///
/// The kernel is sampled at pixel centers, cut at 4 standard deviations (radius `⌊4 sigma + 1/2⌋`)
/// and sums to 1; sums are taken in `f64`, and beyond its border the plane is mirrored about the
/// pixels' edges. These are the defaults of `scipy.ndimage.gaussian_filter`.
///
/// ```
/// use lesio_image::gaussian_filter_plane;
/// use ndarray::Array2;
///
/// let constant = Array2::from_elem((5, 7), 3.0);
/// assert_eq!(gaussian_filter_plane(&constant, [1.0, 2.0])?, constant);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FilterError::Config`] for standard deviations that are negative, NaN or above 1000;
/// [`FilterError::Image`] for an empty plane and for values that are not finite.
pub fn gaussian_filter_plane(plane: &ArrayRef2<f32>, sigma: [f64; 2]) -> Result<Array2<f32>, FilterError> {
    smooth(plane, &sigma)
}

/// A volume smoothed by a Gaussian of standard deviations `sigma` in voxels along each axis; 0
/// leaves an axis alone. As [`gaussian_filter_plane`].
///
/// # Errors
/// Those of [`gaussian_filter_plane`].
pub fn gaussian_filter_volume(data: &ArrayRef3<f32>, sigma: [f64; 3]) -> Result<Array3<f32>, FilterError> {
    smooth(data, &sigma)
}

fn smooth<D: Dimension>(data: &ArrayRef<f32, D>, sigma: &[f64]) -> Result<Array<f32, D>, FilterError> {
    if sigma.iter().any(|s| !(0.0..=MAX_SIGMA).contains(s)) {
        return Err(SettingError::new("gaussian sigma", sigma, "0 to 1000 pixels").into());
    }
    check_finite(data)?;
    let shape = data.shape().to_vec();
    let mut values: Vec<f32> = data.iter().copied().collect();
    for (axis, &sigma) in sigma.iter().enumerate() {
        let kernel = kernel(sigma);
        if kernel.len() > 1 {
            let inner = shape[axis + 1..].iter().product();
            values = smooth_axis(&values, shape[axis], inner, &kernel);
        }
    }
    let dim = data.raw_dim();
    // One value an element.
    Ok(Array::from_shape_vec(dim, values).unwrap_or_else(|_| data.to_owned()))
}

/// The kernel from its center to one side, such that both sides and the center sum to 1.
fn kernel(sigma: f64) -> Vec<f64> {
    let radius = (TRUNCATE * sigma + 0.5) as usize;
    if radius == 0 {
        return vec![1.0];
    }
    let half: Vec<f64> = (0..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    half.into_iter().map(|weight| weight / sum).collect()
}

/// Smooths the middle axis of an array `[outer, length, inner]`.
fn smooth_axis(source: &[f32], length: usize, inner: usize, kernel: &[f64]) -> Vec<f32> {
    let radius = kernel.len() - 1;
    let sources = mirrored(length, radius, length + 2 * radius);
    let mut out = vec![0.0_f32; source.len()];
    if inner == 1 {
        // Lines lie side by side: one is padded, then every kernel weight runs over all of it.
        out.par_chunks_mut(length).zip(source.par_chunks(length)).with_min_len(64).for_each_init(
            || (vec![0.0_f64; sources.len()], vec![0.0_f64; length]),
            |(padded, sums), (out, line)| {
                for (value, &from) in padded.iter_mut().zip(&sources) {
                    *value = f64::from(line[from]);
                }
                weighted(
                    sums,
                    kernel,
                    |shift| padded[radius - shift..].iter().copied(),
                    |shift| padded[radius + shift..].iter().copied(),
                );
                out.iter_mut().zip(sums).for_each(|(value, sum)| *value = *sum as f32);
            },
        );
        return out;
    }
    out.par_chunks_mut(inner).enumerate().for_each_init(
        || vec![0.0_f64; inner],
        |sums, (row, out)| {
            let (block, position) = (row / length * length, row % length);
            let line = |from: usize| {
                source[(block + sources[from]) * inner..][..inner].iter().map(|&value| f64::from(value))
            };
            let center = position + radius;
            weighted(sums, kernel, |shift| line(center - shift), |shift| line(center + shift));
            out.iter_mut().zip(sums).for_each(|(value, sum)| *value = *sum as f32);
        },
    );
    out
}

/// `sums = kernel[0] * before(0) + sum over s of kernel[s] * (before(s) + after(s))`, by elements.
fn weighted<I: Iterator<Item = f64>, J: Iterator<Item = f64>>(
    sums: &mut [f64],
    kernel: &[f64],
    before: impl Fn(usize) -> I,
    after: impl Fn(usize) -> J,
) {
    for (shift, &weight) in kernel.iter().enumerate() {
        if shift == 0 {
            sums.iter_mut().zip(before(0)).for_each(|(sum, value)| *sum = weight * value);
        } else {
            for ((sum, a), b) in sums.iter_mut().zip(before(shift)).zip(after(shift)) {
                *sum += weight * (a + b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageError;
    use ndarray::array;

    #[test]
    fn the_response_to_a_point_is_the_kernel() {
        let mut data = Array3::<f32>::zeros((9, 21, 21));
        data[[4, 10, 10]] = 1.0;
        let smoothed = gaussian_filter_volume(&data, [0.0, 1.0, 2.0]).unwrap();
        assert_eq!(smoothed[[3, 10, 10]], 0.0);
        let (a, b) = (kernel(1.0), kernel(2.0));
        assert_eq!((a.len(), b.len()), (5, 9));
        for j in 0..21_usize {
            for k in 0..21_usize {
                let weight = |kernel: &[f64], x: usize| kernel.get(x.abs_diff(10)).copied().unwrap_or(0.0);
                let expected = weight(&a, j) * weight(&b, k);
                assert!((f64::from(smoothed[[4, j, k]]) - expected).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn mirrored_borders_keep_the_sum() {
        let plane = Array2::from_shape_fn((6, 9), |(r, c)| ((r * 5 + c * 3) % 11) as f32);
        let smoothed = gaussian_filter_plane(&plane, [3.0, 5.0]).unwrap();
        let sum = |a: &Array2<f32>| a.iter().map(|&v| f64::from(v)).sum::<f64>();
        assert!((sum(&plane) - sum(&smoothed)).abs() < 1e-4);
    }

    #[test]
    fn what_cannot_be_smoothed_is_refused() {
        let plane = Array2::<f32>::zeros((3, 3));
        assert!(matches!(gaussian_filter_plane(&plane, [1.0, -1.0]), Err(FilterError::Config(_))));
        assert!(matches!(gaussian_filter_plane(&plane, [f64::NAN, 1.0]), Err(FilterError::Config(_))));
        assert!(matches!(
            gaussian_filter_plane(&array![[f32::NAN]], [1.0, 1.0]),
            Err(FilterError::Image(ImageError::NonFiniteVoxels { .. }))
        ));
        assert!(gaussian_filter_plane(&Array2::<f32>::zeros((0, 3)), [1.0, 1.0]).is_err());
    }
}
