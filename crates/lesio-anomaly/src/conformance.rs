//! The obligations of a [`Predictor`] and of a [`VariationalModel`] as tests that every implementation can run.
//!
//! A row must depend on its own image only. How exactly this can be tested depends on the engine. lesio's engine gives
//! a row the same bits in every batch and for every number of threads; [`check_predictor_bits`] and
//! [`check_model_bits`] test that. candle's matrix products sum in another order for another batch size, which changes
//! a row by rounding, about 1e-5 of its scale; [`check_predictor`] and [`check_model`] allow for that, up to
//! [`TOLERANCE`].
//!
//! ```
//! use lesio_anomaly::{PixelIntensity, conformance};
//! use lesio_nn::{ImageBatch, Shape};
//!
//! let values: Vec<f32> = (0..3 * 8 * 12).map(|k| (k * 37 % 101) as f32 / 101.0).collect();
//! let images = ImageBatch::new(&values, Shape::new(1, 8, 12))?;
//! let broken = conformance::check_predictor(&PixelIntensity, images, Some(0.5))?;
//! assert!(broken.is_empty(), "{broken:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use lesio_nn::{ImageBatch, random};
use lesio_vae::{ImageGradients, RequestedGradients, VariationalModel};

use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::shared::SharedPass;

/// Largest difference between a row and the same row in another batch, relative to the largest magnitude in the row. It
/// is a hundred times the effect of summation order in `f32`, and a tenth of the smallest defect that matters.
pub const TOLERANCE: f32 = 1e-3;

/// How closely rows must agree between batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// Bit for bit.
    Bits,
    /// Up to [`TOLERANCE`].
    Rounding,
}

impl Agreement {
    /// Whether `found` agrees with the row `expected` of a batch of magnitude `scale`. The scale matters because a row
    /// of tiny values is rounded like the other rows of its batch.
    fn holds(self, found: &[f32], expected: &[f32], scale: f32) -> bool {
        if found.len() != expected.len() {
            return false;
        }
        let allowed = TOLERANCE * magnitude(expected).max(TOLERANCE * scale);
        let close = |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= allowed;
        match self {
            Self::Bits => found == expected,
            Self::Rounding => found.iter().zip(expected).all(close),
        }
    }

    /// Like [`Agreement::holds`], for rows of `size` values one after the other.
    fn holds_by_row(self, found: &[f32], expected: &[f32], size: usize) -> bool {
        let (scale, size) = (magnitude(expected), size.max(1));
        let mut rows = found.chunks(size).zip(expected.chunks(size));
        found.len() == expected.len() && rows.all(|(found, expected)| self.holds(found, expected, scale))
    }
}

/// The largest magnitude among values.
fn magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Checks the obligations of [`Predictor`] on images `[n, c, h, w]`, n at least 3, and that the mean
/// score rises inside a square of `planted` added to the first image.
///
/// `planted` is the value added; `None` skips this last check, for predictors that do not respond to added values.
/// Returns a description of each violation; an empty list means success.
///
/// The checks are: shape; finite values; the same bits in a second call; the same values up to [`TOLERANCE`] on a
/// single thread, for single rows, in a reversed and a doubled batch, and in a shared pass; an empty map for an empty
/// batch.
///
/// # Errors
/// Errors of the predictor, and [`PredictError::Config`] for fewer than 3 images.
pub fn check_predictor(
    predictor: &dyn Predictor,
    images: ImageBatch<'_>,
    planted: Option<f32>,
) -> Result<Vec<String>, PredictError> {
    predictor_faults(predictor, images, planted, Agreement::Rounding)
}

/// Like [`check_predictor`], of a predictor whose model lesio's own engine computes: every row is the same bit for bit.
///
/// # Errors
/// Those of [`check_predictor`].
pub fn check_predictor_bits(
    predictor: &dyn Predictor,
    images: ImageBatch<'_>,
    planted: Option<f32>,
) -> Result<Vec<String>, PredictError> {
    predictor_faults(predictor, images, planted, Agreement::Bits)
}

fn predictor_faults(
    predictor: &dyn Predictor,
    images: ImageBatch<'_>,
    planted: Option<f32>,
    agreement: Agreement,
) -> Result<Vec<String>, PredictError> {
    let mut broken = Vec::new();
    let (n, shape) = (images.len(), images.shape());
    let (size, pixels, width) = (shape.len(), shape.pixels(), shape.width);
    if n < 3 {
        return Err(PredictError::Config(format!("{n} images are too few, expected at least 3")));
    }
    let all = predictor.score(images)?;
    if all.len() != n * pixels {
        broken.push(format!(
            "there are {} scores, expected {} for {n} images of {shape}",
            all.len(),
            n * pixels
        ));
        return Ok(broken);
    }
    if let Some(at) = all.iter().position(|value| !value.is_finite()) {
        broken.push(format!("score {at} is {}", all[at]));
        return Ok(broken);
    }
    let scale = magnitude(&all);
    let same = |broken: &mut Vec<String>, found: Vec<f32>, what: &str| {
        if !agreement.holds_by_row(&found, &all, pixels) {
            broken.push(format!("{what} gives another result"));
        }
    };
    if predictor.score(images)? != all {
        broken.push("a second call gives another result".to_owned());
    }
    same(&mut broken, on_one_thread(|| predictor.score(images))?, "a single thread");
    for expected in [predictor.requested_gradients(), RequestedGradients::BOTH] {
        let pass = SharedPass::new(images, expected);
        same(&mut broken, predictor.score_shared(&pass)?, "a shared pass");
        match predictor.score_channels(&pass)? {
            Some(channels) if channels.len() != n * size => {
                broken.push(format!("there are {} scores by channel, expected {}", channels.len(), n * size));
            }
            Some(channels) if shape.channels == 1 => same(&mut broken, channels, "the only channel"),
            Some(channels) if channels.iter().any(|value| !value.is_finite()) => {
                broken.push("a score by channel is not finite".to_owned());
            }
            _ => {}
        }
    }
    let row_of = |row: usize| &all[row * pixels..(row + 1) * pixels];
    for row in 0..n {
        let alone = predictor.score(ImageBatch::new(images.image(row), shape)?)?;
        if !agreement.holds(&alone, row_of(row), scale) {
            broken.push(format!("row {row} scored alone differs from the same row in a batch of {n}"));
        }
    }
    let turned = (0..n).rev().flat_map(|row| images.image(row));
    let twice: Vec<f32> = turned.chain(images.values()).copied().collect();
    let twice = predictor.score(ImageBatch::new(&twice, shape)?)?;
    for row in 0..n {
        for place in [n - 1 - row, n + row] {
            let found = twice.get(place * pixels..(place + 1) * pixels).unwrap_or_default();
            if !agreement.holds(found, row_of(row), scale) {
                broken.push(format!("row {row} differs at place {place} of a batch of {}", 2 * n));
            }
        }
    }
    match predictor.score(ImageBatch::new(&[], shape)?) {
        Ok(none) if none.is_empty() => {}
        Ok(other) => broken.push(format!("an empty batch gives {} scores", other.len())),
        Err(error) => broken.push(format!("an empty batch fails: {error}")),
    }
    if let Some(value) = planted {
        let mut changed = images.image(0).to_vec();
        let (top, left) = (shape.height / 3, width / 3);
        let side = (shape.height.min(width) / 6).max(1);
        let inside = |pixel: usize| {
            let (row, column) = (pixel / width, pixel % width);
            (top..top + side).contains(&row) && (left..left + side).contains(&column)
        };
        for (k, own) in changed.iter_mut().enumerate() {
            if inside(k % pixels) {
                *own += value;
            }
        }
        let changed = predictor.score(ImageBatch::new(&changed, shape)?)?;
        let mean = |scores: &[f32]| {
            let own: Vec<f64> = (0..pixels).filter(|&p| inside(p)).map(|p| f64::from(scores[p])).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let (before, after) = (mean(row_of(0)), mean(&changed));
        // A mean of NaN does not rise either.
        let rises = after > before;
        if !rises {
            broken.push(format!("a planted anomaly turns the mean score inside it from {before} to {after}"));
        }
    }
    Ok(broken)
}

/// Checks the obligations of [`VariationalModel`] on images `[n, c, h, w]`, n at least 1.
///
/// The checks are: lengths and finite values of the result of [`VariationalModel::gradients`]; presence of all
/// requested parts; a divergence of at least 0; agreement of divergence, mean and reconstruction with
/// [`VariationalModel::encode`], [`VariationalModel::decode`] and
/// [`Reconstructor::reconstruct`](lesio_vae::Reconstructor::reconstruct) within a thousandth; agreement of the
/// gradients with central differences of the terms within half a hundredth, along the gradient and in random
/// directions; and that rows do not depend on each other: each is the same alone up to [`TOLERANCE`].
///
/// # Errors
/// Errors of the model, and [`PredictError::Config`] without an image.
pub fn check_model(
    model: &dyn VariationalModel,
    images: ImageBatch<'_>,
) -> Result<Vec<String>, PredictError> {
    model_faults(model, images, Agreement::Rounding)
}

/// Like [`check_model`], of a model that lesio's own engine computes: every row alone is the same bit for bit.
///
/// # Errors
/// Those of [`check_model`].
pub fn check_model_bits(
    model: &dyn VariationalModel,
    images: ImageBatch<'_>,
) -> Result<Vec<String>, PredictError> {
    model_faults(model, images, Agreement::Bits)
}

fn model_faults(
    model: &dyn VariationalModel,
    images: ImageBatch<'_>,
    agreement: Agreement,
) -> Result<Vec<String>, PredictError> {
    let mut broken = Vec::new();
    let (n, shape) = (images.len(), images.shape());
    if n == 0 {
        return Err(PredictError::Config("a model cannot be checked without an image".to_owned()));
    }
    if shape != model.image_shape() {
        broken.push(format!("the model takes {}, the images have shape {shape}", model.image_shape()));
        return Ok(broken);
    }
    let found = model.gradients(images, RequestedGradients::BOTH)?;
    if let Err(error) = found.check(images, RequestedGradients::BOTH) {
        broken.push(error.to_string());
        return Ok(broken);
    }
    for (what, of, _) in PARTS {
        if let Some(value) = of(&found).iter().find(|value| !value.is_finite()) {
            broken.push(format!("{what} holds {value}"));
        }
    }
    if !broken.is_empty() {
        return Ok(broken);
    }
    if found.divergence.iter().any(|&nats| nats < -1e-3) {
        broken.push("a divergence is negative".to_owned());
    }
    let posterior = model.encode(images)?;
    let compared = [
        ("the mean", model.decode(&posterior.mean)?, &found.mean),
        ("the reconstruction", model.reconstruct(images)?, &found.mean),
        ("the divergence", posterior.divergence(), &found.divergence),
    ];
    for (what, other, own) in compared {
        let allowed = 1e-3 * magnitude(own).max(1e-6);
        // Not the other way round: NaN is neither within nor beyond it.
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= allowed;
        if other.len() != own.len() {
            broken.push(format!("{what} holds {} values, expected {}", other.len(), own.len()));
        } else if !other.iter().zip(own).all(is_close) {
            broken.push(format!("{what} differs from what encode and decode say"));
        }
    }
    broken.extend(gradient_faults(model, images, &found)?);
    for row in 0..n {
        let alone = model.gradients(ImageBatch::new(images.image(row), shape)?, RequestedGradients::BOTH)?;
        for (what, of, by_pixel) in PARTS {
            let size = if by_pixel { shape.len() } else { 1 };
            let (all, alone) = (of(&found), of(&alone));
            let expected = &all[row * size..(row + 1) * size];
            if !agreement.holds(alone, expected, magnitude(all)) {
                broken.push(format!("{what} of row {row} alone differs from that in a batch of {n}"));
            }
        }
    }
    Ok(broken)
}

/// Mean step of a pixel in a central difference: small enough to cross few kinks of rectifiers, large enough to exceed
/// rounding errors.
const STEP: f32 = 5e-4;

/// Largest difference between a gradient and central differences, relative to its length; it allows for rounding and
/// curvature.
const SLOPE_TOLERANCE: f64 = 5e-3;

/// Compares gradients with central differences of their terms: along the gradient, which reveals wrong factors, and in
/// random directions, which reveal errors in all other components.
fn gradient_faults(
    model: &dyn VariationalModel,
    images: ImageBatch<'_>,
    found: &ImageGradients,
) -> Result<Vec<String>, PredictError> {
    let (shape, size) = (images.shape(), images.shape().len());
    let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
    let length = |values: &[f32]| values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let mut broken = Vec::new();
    for (what, gradient, is_divergence) in [
        ("the divergence's gradient", &found.by_divergence, true),
        ("the reconstruction's gradient", &found.by_reconstruction, false),
    ] {
        let Some(gradient) = gradient else { continue };
        let mut drawn = vec![0.0; 2 * images.values().len()];
        random::fill_normal(&mut random::generator(3, u64::from(is_divergence)), &mut drawn);
        let (first, second) = drawn.split_at(images.values().len());
        let mut worst = 0.0f64;
        for direction in [gradient.as_slice(), first, second] {
            // Every image moves by the same length.
            let mut steps = direction.to_vec();
            for row in steps.chunks_exact_mut(size) {
                let factor = f64::from(STEP) * (size as f64).sqrt() / length(row).max(1e-30);
                row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
            let terms = |sign: f32| {
                let pairs = images.values().iter().zip(&steps);
                let moved: Vec<f32> = pairs.map(|(value, step)| value + sign * step).collect();
                let found = model.gradients(ImageBatch::new(&moved, shape)?, RequestedGradients::NOTHING)?;
                let terms: Vec<f64> = match is_divergence {
                    true => found.divergence.iter().map(|&value| f64::from(value)).collect(),
                    false => found.loss.chunks_exact(size).map(sum).collect(),
                };
                Ok::<_, PredictError>((moved, terms))
            };
            let ((upper, above), (lower, below)) = (terms(1.0)?, terms(-1.0)?);
            for (row, (above, below)) in above.iter().zip(&below).enumerate() {
                let own = row * size..(row + 1) * size;
                let gradient = &gradient[own.clone()];
                // Divided by the actual steps after rounding.
                let made = upper[own.clone()].iter().zip(&lower[own]);
                let steps: Vec<f32> = made.map(|(upper, lower)| upper - lower).collect();
                let expected: f64 =
                    gradient.iter().zip(&steps).map(|(&g, &s)| f64::from(g) * f64::from(s)).sum();
                let whole = length(gradient) * length(&steps) / (size as f64).sqrt();
                // Along the gradient the slope equals its length; in a random direction it is smaller by about the root
                // of its size.
                let scale = expected.abs().max(whole);
                let rounding = 1e-6 * (above.abs() + below.abs());
                let off = ((above - below - expected).abs() - rounding) / scale.max(1e-30);
                // `f64::max` would forget a NaN.
                worst = if off.is_nan() || off > worst { off } else { worst };
            }
        }
        if worst.is_nan() || worst > SLOPE_TOLERANCE {
            broken.push(format!("{what} differs from central differences by {worst:.3} of its length"));
        }
    }
    Ok(broken)
}

/// The parts of a pass, by name, and whether each is per pixel.
#[allow(clippy::type_complexity, reason = "a table, read in two places")]
const PARTS: [(&str, fn(&ImageGradients) -> &[f32], bool); 5] = [
    ("the mean", |found| &found.mean, true),
    ("the loss", |found| &found.loss, true),
    ("the divergence", |found| &found.divergence, false),
    ("the divergence's gradient", |found| found.by_divergence.as_deref().unwrap_or_default(), true),
    ("the reconstruction's gradient", |found| found.by_reconstruction.as_deref().unwrap_or_default(), true),
];

/// Runs on a pool of one thread.
fn on_one_thread<T: Send>(run: impl FnOnce() -> Result<T, PredictError> + Send) -> Result<T, PredictError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|error| PredictError::Config(format!("no pool of one thread: {error}")))?.install(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::mean_over_channels;
    use lesio_nn::Shape;

    /// Breaks one obligation.
    struct Wrong(&'static str);

    impl Predictor for Wrong {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
            let mut scores = mean_over_channels(images.values(), images);
            let pixels = images.shape().pixels();
            match self.0 {
                "shape" => scores = images.values().to_vec(),
                "finite" => scores.iter_mut().for_each(|score| *score /= 0.0),
                "batch scale" => {
                    let highest = magnitude(&scores);
                    scores.iter_mut().for_each(|score| *score /= highest);
                }
                "place" => {
                    let rows = scores.chunks_exact_mut(pixels).enumerate();
                    rows.for_each(|(place, row)| row.iter_mut().for_each(|score| *score += place as f32));
                }
                "threads" => {
                    scores.iter_mut().for_each(|score| *score += rayon::current_num_threads() as f32);
                }
                "order" => scores.iter_mut().for_each(|score| *score = -*score),
                "bright" => {
                    // The darkest row alone, with something bright in it.
                    let sum: f32 = images.values().iter().sum();
                    let is_dark = sum < 0.2 * images.values().len() as f32;
                    if is_dark && images.values().iter().any(|value| *value > 0.5) {
                        scores.fill(f32::NAN);
                    }
                }
                "empty" if images.is_empty() => scores.push(0.0),
                _ => {}
            }
            Ok(scores)
        }

        fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
            let mut own = self.score(pass.images())?;
            if self.0 == "shared" {
                own.iter_mut().for_each(|score| *score *= 2.0);
            }
            Ok(own)
        }

        fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
            let values = pass.images().values();
            Ok(Some(if self.0 == "channels" { values[..values.len() / 2].to_vec() } else { values.to_vec() }))
        }
    }

    #[test]
    fn each_fault_is_found() {
        // Rows of different heights: a scale taken over the batch changes all but one of them.
        let values: Vec<f32> =
            (0..4 * 2 * 6 * 9).map(|k| (((k * 37) % 101) * (1 + k / 108)) as f32 / 404.0).collect();
        let shape = Shape::new(2, 6, 9);
        let images = ImageBatch::new(&values, shape).unwrap();
        let faults = [
            ("nothing", None),
            ("shape", Some("there are 432 scores")),
            ("finite", Some("is inf")),
            ("batch scale", Some("scored alone")),
            ("place", Some("at place")),
            ("order", Some("planted")),
            ("bright", Some("planted")),
            ("empty", Some("empty batch")),
            ("shared", Some("a shared pass")),
            ("channels", Some("scores by channel")),
        ];
        for (fault, expected) in faults {
            for check in [check_predictor, check_predictor_bits] {
                let broken = check(&Wrong(fault), images, Some(0.5)).unwrap();
                match expected {
                    None => assert!(broken.is_empty(), "{broken:?}"),
                    Some(words) => {
                        assert!(broken.iter().any(|text| text.contains(words)), "{fault}: {broken:?}");
                    }
                }
            }
        }
        if rayon::current_num_threads() > 1 {
            let broken = check_predictor(&Wrong("threads"), images, None).unwrap();
            assert!(broken.iter().any(|text| text.contains("a single thread")), "{broken:?}");
        }
        let few = ImageBatch::new(&values[..2 * shape.len()], shape).unwrap();
        assert!(matches!(check_predictor(&Wrong("nothing"), few, None), Err(PredictError::Config(_))));
    }
}
