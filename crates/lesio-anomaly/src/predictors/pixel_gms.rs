//! Scores by the gradient magnitude similarity of an image and its reconstruction.

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::{Reconstructor, RequestedGradients};

use crate::channels::{compare_planes, mean_over_channels};
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Needs};
use crate::shared::SharedPass;

pub(crate) const PIXEL_GMS: Entry = Entry::new("pixel-gms", Needs::Reconstructor, |parts| {
    Ok(Box::new(PixelGms::new(parts.reconstructor()?, parts.settings.inputs())))
});

/// The constant of the similarity for values of [0, 1]; 170 for values of [0, 255] (Xue et al. 2014, "Gradient
/// magnitude similarity deviation").
const C: f64 = 0.0026;

/// The image, and its pooling applied one, two and three times (Zavrtanik et al. 2021, "Reconstruction by inpainting
/// for visual anomaly detection").
const SCALES: u32 = 4;

/// A coarser scale whose smaller side is shorter is left out: there, nearly every gradient is one of the border.
const SMALLEST_SIDE: usize = 4;

/// One minus the gradient magnitude similarity of image and reconstruction, averaged over scales and channels.
#[derive(Debug)]
pub(crate) struct PixelGms {
    model: Arc<dyn Reconstructor>,
    range: [f32; 2],
}

impl PixelGms {
    /// The predictor for a model whose images have this range, two ascending values.
    pub(crate) fn new(model: Arc<dyn Reconstructor>, range: [f32; 2]) -> Self {
        Self { model, range }
    }

    /// Scores by channel, `[n, c, h, w]`.
    fn values(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let (x, shape) = (pass.images().values(), pass.images().shape());
        let y = pass.reconstruction(&self.model)?;
        Ok(dissimilarity([x, &y], self.range, shape.height, shape.width))
    }
}

impl Predictor for PixelGms {
    fn name(&self) -> String {
        PIXEL_GMS.name.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, RequestedGradients::NOTHING))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(&self.values(pass)?, pass.images()))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        self.values(pass).map(Some)
    }
}

/// The score of each pixel of two images with planes `[.., h, w]`, whose values are brought from a range to [0, 1];
/// between 0 and 1.
///
/// It is computed in f64: in f32 the gradients of a bright, nearly flat region would be lost in rounding, and squares
/// of large values would not be finite.
fn dissimilarity([x, y]: [&[f32]; 2], range: [f32; 2], height: usize, width: usize) -> Vec<f32> {
    compare_planes([x, y], height * width, |out, pair| score_plane(out, pair, range, height, width))
}

fn score_plane(out: &mut [f32], [x, y]: [&[f32]; 2], range: [f32; 2], height: usize, width: usize) {
    let [low, high] = range.map(f64::from);
    let mut images = [x, y].map(|values| {
        let values = values.iter().map(|&value| (f64::from(value) - low) / (high - low)).collect();
        Plane { height, width, values }
    });
    let mut sum = vec![0.0; out.len()];
    let mut scales = 0;
    for scale in 0..SCALES {
        if scale > 0 {
            images = images.map(|image| image.pooled());
            if images[0].height.min(images[0].width) < SMALLEST_SIDE {
                break;
            }
        }
        add_enlarged(&mut sum, width, &compared(&images), 1 << scale);
        scales += 1;
    }
    for (k, out) in out.iter_mut().enumerate() {
        // The filters give their center no weight: a single pixel that is not finite could get a normal score.
        let finite = x[k].is_finite() && y[k].is_finite();
        *out = if finite { (sum[k] / f64::from(scales)) as f32 } else { f32::NAN };
    }
}

/// One channel of an image at one scale.
struct Plane {
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Plane {
    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// The means of blocks of 2 x 2 pixels. The last blocks of an odd side contain less.
    fn pooled(&self) -> Self {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let mut values = Vec::with_capacity(height * width);
        for top in (0..self.height).step_by(2) {
            let rows = top..(top + 2).min(self.height);
            for left in (0..self.width).step_by(2) {
                let columns = left..(left + 2).min(self.width);
                let count = (rows.len() * columns.len()) as f64;
                let sum: f64 = rows.clone().flat_map(|row| &self.row(row)[columns.clone()]).sum();
                values.push(sum / count);
            }
        }
        Self { height, width, values }
    }

    /// The magnitude of each pixel's gradient by Prewitt filters, with the border replicated.
    fn gradients(&self) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.values.len());
        for row in 0..self.height {
            let (above, below) = (row.saturating_sub(1), (row + 1).min(self.height - 1));
            let rows = [above, row, below].map(|row| self.row(row));
            for column in 0..self.width {
                let (left, right) = (column.saturating_sub(1), (column + 1).min(self.width - 1));
                let across: f64 = rows.iter().map(|row| row[right] - row[left]).sum();
                let down: f64 = [left, column, right].iter().map(|&at| rows[2][at] - rows[0][at]).sum();
                out.push((across * across + down * down).sqrt() / 3.0);
            }
        }
        out
    }
}

/// One minus the similarity of two images at one scale.
///
/// `1 - (2 a b + c) / (a^2 + b^2 + c)` is written as one fraction, which is exactly 0 for equal gradients. It is NaN if
/// a gradient is not finite.
fn compared([x, y]: &[Plane; 2]) -> Plane {
    let of = |(a, b): (f64, f64)| (a - b) * (a - b) / (a * a + b * b + C);
    let values = x.gradients().into_iter().zip(y.gradients()).map(of).collect();
    Plane { height: x.height, width: x.width, values }
}

/// Adds a map to one of full size, whose pixels are smaller by a factor, with bilinear interpolation. Beyond the
/// centers of the outermost pixels of the map its values continue.
fn add_enlarged(sum: &mut [f64], width: usize, map: &Plane, factor: usize) {
    let columns: Vec<_> = (0..width).map(|column| source(column, factor, map.width)).collect();
    for (row, sum) in sum.chunks_exact_mut(width).enumerate() {
        let (above, below, down) = source(row, factor, map.height);
        let (above, below) = (map.row(above), map.row(below));
        for (sum, &(left, right, across)) in sum.iter_mut().zip(&columns) {
            let of_row = |row: &[f64]| row[left] * (1.0 - across) + row[right] * across;
            *sum += of_row(above) * (1.0 - down) + of_row(below) * down;
        }
    }
}

/// The two pixels of a coarser line around the center of a pixel, and the weight of the second one.
///
/// A coarse pixel is as long as `factor` pixels, also the last one if it has fewer: the ratio of both lengths would
/// move the map against the image.
fn source(at: usize, factor: usize, length: usize) -> (usize, usize, f64) {
    let last = length - 1;
    let position = ((at as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, last as f64);
    let first = position as usize;
    (first, (first + 1).min(last), position - first as f64)
}

#[cfg(test)]
mod tests {
    use lesio_nn::Shape;
    use lesio_vae::ModelError;

    use super::*;

    const UNIT: [f32; 2] = [0.0, 1.0];

    /// An image and its reconstruction, with values of [0, 1].
    fn pair(pixels: usize) -> [Vec<f32>; 2] {
        let value = |k: usize, p: usize| ((k * p + k / 5) % 17) as f32 / 17.0;
        let x: Vec<f32> = (0..pixels).map(|k| value(k, 7)).collect();
        let y = (0..pixels).map(|k| 0.7 * value(k, 7) + 0.3 * value(k, 3)).collect();
        [x, y]
    }

    fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (k, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (f64::from(found) - expected).abs() <= tolerance,
                "pixel {k}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn equal_images_give_0_and_others_at_most_1() {
        let [x, y] = pair(33 * 40);
        assert!(dissimilarity([&x, &x], UNIT, 33, 40).iter().all(|&d| d == 0.0));
        let found = dissimilarity([&x, &y], UNIT, 33, 40);
        assert!(found.iter().all(|d| (0.0..=1.0).contains(d)) && found.iter().any(|&d| d > 0.1));
        let large: Vec<f32> = x.iter().map(|v| v * f32::MAX).collect();
        assert!(dissimilarity([&large, &y], UNIT, 33, 40).iter().all(|d| (0.0..=1.0).contains(d)));
        assert_eq!(dissimilarity([&[0.5], &[0.25]], UNIT, 1, 1), [0.0]);
        assert!(dissimilarity([&[], &[]], UNIT, 0, 5).is_empty());
    }

    #[test]
    fn small_cases_are_as_by_hand() {
        let flat = [0.0; 64];
        // The gradients of a point: 1/3 beside it, 1/3 in both directions at corners, and none at the point itself.
        let point = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let (side, corner) = (1.0 / 9.0 / (1.0 / 9.0 + 0.0026), 2.0 / 9.0 / (2.0 / 9.0 + 0.0026));
        let expected = [corner, side, corner, side, 0.0, side, corner, side, corner];
        assert_close(&dissimilarity([&point, &flat[..9]], UNIT, 3, 3), &expected, 1e-6);
        // A step has a gradient of 1 on either side, at 8 x 8 and at 4 x 4 pixels; 2 x 2 pixels are too few.
        let step: Vec<f32> = (0..64).map(|k| if k % 8 < 4 { 0.0 } else { 1.0 }).collect();
        let row = [0.0, 0.125, 0.375, 1.0, 1.0, 0.375, 0.125, 0.0].map(|part| part / 1.0026);
        assert_close(&dissimilarity([&step, &flat], UNIT, 8, 8), &row.repeat(8), 1e-6);
    }

    /// An image at a scale, the definition: the mean of what there is of four pixels of the finer scale.
    fn pixel(image: &[f32], [height, width]: [usize; 2], scale: u32, [row, column]: [usize; 2]) -> f64 {
        if scale == 0 {
            return f64::from(image[row * width + column]);
        }
        let [finer_height, finer_width] = [height, width].map(|side| side.div_ceil(1 << (scale - 1)));
        let corners = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[r, c]| [2 * row + r, 2 * column + c]);
        let inside: Vec<f64> = corners
            .into_iter()
            .filter(|&[r, c]| r < finer_height && c < finer_width)
            .map(|at| pixel(image, [height, width], scale - 1, at))
            .collect();
        inside.iter().sum::<f64>() / inside.len() as f64
    }

    /// The magnitude of the gradient, with both filters written out.
    fn magnitude(image: &[f32], size: [usize; 2], scale: u32, [row, column]: [usize; 2]) -> f64 {
        let [height, width] = size.map(|side| side.div_ceil(1 << scale) as isize);
        let (mut gx, mut gy) = (0.0, 0.0);
        for (down, across) in (-1..=1).flat_map(|down| (-1..=1).map(move |across| (down, across))) {
            let near_row = (row as isize + down).clamp(0, height - 1) as usize;
            let near_column = (column as isize + across).clamp(0, width - 1) as usize;
            let value = pixel(image, size, scale, [near_row, near_column]);
            gx += value * across as f64 / 3.0;
            gy += value * down as f64 / 3.0;
        }
        f64::hypot(gx, gy)
    }

    /// The definition, pixel by pixel: at each scale the weights of bilinear interpolation at the pixel's center.
    fn defined(x: &[f32], y: &[f32], [height, width]: [usize; 2], scales: u32) -> Vec<f64> {
        let size = [height, width];
        let mut out = vec![0.0; height * width];
        for (k, scale) in (0..height * width).flat_map(|k| (0..scales).map(move |scale| (k, scale))) {
            let coarse = size.map(|side| side.div_ceil(1 << scale));
            let center = |at: usize, length: usize| {
                let position = (at as f64 + 0.5) / f64::from(1 << scale);
                position.clamp(0.5, length as f64 - 0.5)
            };
            let (down, across) = (center(k / width, coarse[0]), center(k % width, coarse[1]));
            for at in (0..coarse[0]).flat_map(|row| (0..coarse[1]).map(move |column| [row, column])) {
                let near = |at: usize, center: f64| (1.0 - (at as f64 + 0.5 - center).abs()).max(0.0);
                let weight = near(at[0], down) * near(at[1], across);
                if weight > 0.0 {
                    let (a, b) = (magnitude(x, size, scale, at), magnitude(y, size, scale, at));
                    let similarity = (2.0 * a * b + 0.0026) / (a.powi(2) + b.powi(2) + 0.0026);
                    out[k] += weight * (1.0 - similarity) / f64::from(scales);
                }
            }
        }
        out
    }

    #[test]
    fn agrees_with_the_definition() {
        for (size, scales) in [([3, 5], 1), ([13, 9], 2), ([9, 13], 2), ([14, 16], 3), ([26, 31], 4)] {
            let [x, y] = pair(size[0] * size[1]);
            let found = dissimilarity([&x, &y], UNIT, size[0], size[1]);
            assert_close(&found, &defined(&x, &y, size, scales), 1e-6);
        }
    }

    #[test]
    fn no_scale_beyond_the_fourth_counts() {
        let [x, y] = pair(67 * 70);
        let found = dissimilarity([&x, &y], UNIT, 67, 70);
        assert_close(&found, &defined(&x, &y, [67, 70], 4), 1e-6);
    }

    #[test]
    fn neither_brightness_nor_the_unit_of_values_matters() {
        let [x, y] = pair(13 * 9);
        let expected: Vec<f64> = dissimilarity([&x, &y], UNIT, 13, 9).into_iter().map(f64::from).collect();
        for (factor, offsets, range, tolerance) in [
            (1.0f32, [0.25f32, 0.25], UNIT, 1e-5),
            (1.0, [0.0, -0.5], UNIT, 1e-5),
            (1.0, [300.0, 0.0], UNIT, 1e-3),
            (2.0, [-1.0, -1.0], [-1.0, 1.0], 1e-5),
            (255.0, [0.0, 0.0], [0.0, 255.0], 1e-5),
        ] {
            let moved = |values: &[f32], offset: f32| -> Vec<f32> {
                values.iter().map(|value| factor * value + offset).collect()
            };
            let found = dissimilarity([&moved(&x, offsets[0]), &moved(&y, offsets[1])], range, 13, 9);
            assert_close(&found, &expected, tolerance);
        }
    }

    #[test]
    fn what_is_not_finite_is_no_score() {
        for [height, width] in [[1, 1], [5, 6], [13, 9]] {
            let pixels = height * width;
            let images = pair(pixels);
            for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for (k, image) in (0..pixels).flat_map(|k| [(k, 0), (k, 1)]) {
                    let mut images = images.clone();
                    images[image][k] = broken;
                    let found = dissimilarity([&images[0], &images[1]], UNIT, height, width);
                    assert!(found[k].is_nan(), "{broken} in image {image}, pixel {k}: {}", found[k]);
                    // Nor is it one of the pixels whose gradients contain it.
                    let beside = if k % width == 0 { k + 1 } else { k - 1 };
                    assert!(pixels == 1 || found[beside].is_nan(), "{broken} beside pixel {k}");
                }
                let all = vec![broken; pixels];
                assert!(dissimilarity([&all, &all], UNIT, height, width).iter().all(|d| d.is_nan()));
            }
        }
    }

    /// A model that takes every image for the same one.
    #[derive(Debug)]
    struct Constant(Vec<f32>, Shape);

    impl Reconstructor for Constant {
        fn image_shape(&self) -> Shape {
            self.1
        }

        fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
            Ok(self.0.repeat(images.len()))
        }
    }

    #[test]
    fn channels_are_scored_alone_and_averaged() {
        let shape = Shape::new(2, 9, 8);
        let [x, y] = pair(2 * shape.len());
        let own = PixelGms::new(Arc::new(Constant(y[..shape.len()].to_vec(), shape)), UNIT);
        let pass = SharedPass::new(ImageBatch::new(&x, shape).unwrap(), RequestedGradients::NOTHING);
        let channels = own.score_channels(&pass).unwrap().unwrap();
        let maps = own.score(pass.images()).unwrap();
        assert_eq!((channels.len(), maps.len()), (2 * shape.len(), 2 * shape.pixels()));
        for (plane, found) in channels.chunks(shape.pixels()).enumerate() {
            let x = &x[plane * shape.pixels()..][..shape.pixels()];
            let y = &y[plane % 2 * shape.pixels()..][..shape.pixels()];
            assert_eq!(found, dissimilarity([x, y], UNIT, 9, 8));
        }
        for (image, map) in maps.chunks(shape.pixels()).enumerate() {
            let of = |channel: usize| &channels[(2 * image + channel) * shape.pixels()..];
            let mean = of(0).iter().zip(of(1)).map(|(a, b)| f64::from(a + b) / 2.0);
            assert_close(map, &mean.take(shape.pixels()).collect::<Vec<_>>(), 1e-6);
        }
    }
}
