//! The obligations of a [`Predictor`] and of a [`VariationalModel`] as tests that every implementation can run.
//!
//! A row must depend on its own image only. How exactly that can be seen depends on what computes: lesio's own engine
//! gives a row the same bits in every batch and on every number of threads, which [`check_predictor_bits`] and
//! [`check_model_bits`] test. candle's matrix products sum in another order in a batch of another size, which changes a
//! row by rounding, some 1e-5 of its scale; [`check_predictor`] and [`check_model`] allow for that, up to [`TOLERANCE`].
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use lesio_anomaly::{Intensity, conformance};
//!
//! let images = Tensor::rand(0f32, 1.0, (3, 1, 8, 12), &Device::Cpu)?;
//! let broken = conformance::check_predictor(&Intensity, &images, Some(0.5))?;
//! assert!(broken.is_empty(), "{broken:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use candle_core::{Result, Tensor};
use lesio_vae::{Gradients, VariationalModel, Wanted};

use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::shared::SharedPass;

/// How far a row may be from the same row in another batch, relative to the largest magnitude in the row: a hundred times
/// what the order of sums makes of it in `f32`, and a tenth of the least fault that matters.
pub const TOLERANCE: f32 = 1e-3;

/// How exactly a row must be the same however it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// Bit for bit.
    Bits,
    /// Up to [`TOLERANCE`].
    Rounding,
}

impl Agreement {
    /// Whether `found` is the row `expected`, of which there are more in a batch whose magnitude is `scale`: a row of
    /// next to nothing is rounded as those beside it are.
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

    /// As [`Agreement::holds`], for rows of `size` values one after the other.
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
/// `planted` is the value added; `None` leaves this last check out, for predictors to which the
/// addition is no anomaly. Returns what was broken, in words; nothing is a pass.
///
/// Checked are: shape; finiteness; that a second call gives the same bits; that a single thread, a single row, a turned
/// and a doubled batch and a shared pass give the same up to [`TOLERANCE`]; that an empty batch gives an empty map.
///
/// # Errors
/// What the predictor reports, and [`PredictError::Config`] for fewer than 3 images.
pub fn check_predictor(
    predictor: &dyn Predictor,
    images: &Tensor,
    planted: Option<f32>,
) -> std::result::Result<Vec<String>, PredictError> {
    predictor_faults(predictor, images, planted, Agreement::Rounding)
}

/// As [`check_predictor`], of a predictor whose model lesio's own engine computes: every row is the same bit for bit.
///
/// # Errors
/// As there.
pub fn check_predictor_bits(
    predictor: &dyn Predictor,
    images: &Tensor,
    planted: Option<f32>,
) -> std::result::Result<Vec<String>, PredictError> {
    predictor_faults(predictor, images, planted, Agreement::Bits)
}

fn predictor_faults(
    predictor: &dyn Predictor,
    images: &Tensor,
    planted: Option<f32>,
    agreement: Agreement,
) -> std::result::Result<Vec<String>, PredictError> {
    let mut broken = Vec::new();
    let (n, c, h, w) = images.dims4()?;
    if n < 3 {
        return Err(PredictError::Config(format!("{n} images cannot be told apart, expected at least 3")));
    }
    let scores = predictor.score(images)?;
    if scores.dims() != [n, h, w] {
        broken.push(format!("shape is {:?}, expected [{n}, {h}, {w}]", scores.dims()));
        return Ok(broken);
    }
    let all = flat(&scores)?;
    if let Some(at) = all.iter().position(|value| !value.is_finite()) {
        broken.push(format!("score {at} is {}", all[at]));
        return Ok(broken);
    }
    let (pixels, scale) = (h * w, magnitude(&all));
    let same = |broken: &mut Vec<String>, found: Vec<f32>, what: &str| {
        if !agreement.holds_by_row(&found, &all, pixels) {
            broken.push(format!("{what} gives another result"));
        }
    };
    if flat(&predictor.score(images)?)? != all {
        broken.push("a second call gives another result".to_owned());
    }
    same(&mut broken, flat(&on_one_thread(|| predictor.score(images))?)?, "a single thread");
    for expected in [predictor.wants(), Wanted::BOTH] {
        let pass = SharedPass::new(images, expected);
        same(&mut broken, flat(&predictor.score_shared(&pass)?)?, "a shared pass");
    }
    let row_of = |row: usize| &all[row * pixels..(row + 1) * pixels];
    for row in 0..n {
        let alone = flat(&predictor.score(&images.narrow(0, row, 1)?.contiguous()?)?)?;
        if !agreement.holds(&alone, row_of(row), scale) {
            broken.push(format!("row {row} scored alone differs from the same row in a batch of {n}"));
        }
    }
    let turned: Vec<Tensor> = (0..n).rev().map(|row| images.narrow(0, row, 1)).collect::<Result<_>>()?;
    let twice = Tensor::cat(&[Tensor::cat(&turned, 0)?, images.clone()], 0)?;
    let twice = flat(&predictor.score(&twice)?)?;
    for row in 0..n {
        for place in [n - 1 - row, n + row] {
            let found = twice.get(place * pixels..(place + 1) * pixels).unwrap_or_default();
            if !agreement.holds(found, row_of(row), scale) {
                broken.push(format!("row {row} differs at place {place} of a batch of {}", 2 * n));
            }
        }
    }
    let empty = Tensor::zeros((0, c, h, w), images.dtype(), images.device())?;
    match predictor.score(&empty) {
        Ok(none) if none.dims() == [0, h, w] => {}
        Ok(other) => broken.push(format!("an empty batch gives shape {:?}", other.dims())),
        Err(error) => broken.push(format!("an empty batch fails: {error}")),
    }
    if let Some(value) = planted {
        let first = images.narrow(0, 0, 1)?;
        let mut changed = flat(&first)?;
        let (top, left, side) = (h / 3, w / 3, (h.min(w) / 6).max(1));
        let inside = |pixel: usize| {
            let (row, column) = (pixel / w, pixel % w);
            (top..top + side).contains(&row) && (left..left + side).contains(&column)
        };
        for (k, own) in changed.iter_mut().enumerate() {
            if inside(k % pixels) {
                *own += value;
            }
        }
        let changed = Tensor::from_vec(changed, first.shape(), images.device())?.to_dtype(images.dtype())?;
        let changed = flat(&predictor.score(&changed)?)?;
        let mean = |scores: &[f32]| {
            let own: Vec<f64> = (0..pixels).filter(|&p| inside(p)).map(|p| f64::from(scores[p])).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let (before, after) = (mean(row_of(0)), mean(&changed));
        if after <= before {
            broken
                .push(format!("a planted anomaly lowers the mean score inside it from {before} to {after}"));
        }
    }
    Ok(broken)
}

/// Checks the obligations of [`VariationalModel`] on images `[n, c, h, w]`, n at least 1.
///
/// Checked are: shapes and finiteness of what [`VariationalModel::gradients`] gives; that all it was
/// asked for is there; that the divergence is at least 0; that terms and reconstruction agree with
/// [`VariationalModel::encode`], [`VariationalModel::decode`] and
/// [`Reconstructor::reconstruct`](lesio_vae::Reconstructor::reconstruct) within a thousandth, and the
/// gradients with those by candle's automatic differentiation; and that rows do not depend on each other, which is that
/// each is the same alone up to [`TOLERANCE`].
///
/// # Errors
/// What the model reports, and [`PredictError::Config`] without an image.
pub fn check_model(
    model: &dyn VariationalModel,
    images: &Tensor,
) -> std::result::Result<Vec<String>, PredictError> {
    model_faults(model, images, Agreement::Rounding)
}

/// As [`check_model`], of a model that lesio's own engine computes: every row alone is the same bit for bit.
///
/// # Errors
/// As there.
pub fn check_model_bits(
    model: &dyn VariationalModel,
    images: &Tensor,
) -> std::result::Result<Vec<String>, PredictError> {
    model_faults(model, images, Agreement::Bits)
}

fn model_faults(
    model: &dyn VariationalModel,
    images: &Tensor,
    agreement: Agreement,
) -> std::result::Result<Vec<String>, PredictError> {
    let mut broken = Vec::new();
    let (n, ..) = images.dims4()?;
    if n == 0 {
        return Err(PredictError::Config("a model cannot be checked without an image".to_owned()));
    }
    let found = model.gradients(images, Wanted::BOTH)?;
    let reference = lesio_vae::gradients_by_autograd(model, images, Wanted::BOTH)?;
    if found.divergence.dims() != [n] {
        broken.push(format!("the divergence has shape {:?}, expected [{n}]", found.divergence.dims()));
        return Ok(broken);
    }
    if flat(&found.divergence)?.iter().any(|&nats| nats < -1e-3) {
        broken.push("a divergence is negative".to_owned());
    }
    let reconstruction = model.reconstruct(images)?;
    let compared = [
        ("the mean", Some(&found.mean), Some(&reference.mean)),
        ("the reconstruction", Some(&reconstruction), Some(&found.mean)),
        ("the loss", Some(&found.loss), Some(&reference.loss)),
        ("the divergence", Some(&found.divergence), Some(&reference.divergence)),
        ("the divergence's gradient", found.by_divergence.as_ref(), reference.by_divergence.as_ref()),
        (
            "the reconstruction's gradient",
            found.by_reconstruction.as_ref(),
            reference.by_reconstruction.as_ref(),
        ),
    ];
    for (what, found, reference) in compared {
        let (Some(found), Some(reference)) = (found, reference) else {
            broken.push(format!("{what} was wanted and is missing"));
            continue;
        };
        if found.dims() != reference.dims() {
            broken.push(format!("{what} has shape {:?}, expected {:?}", found.dims(), reference.dims()));
            continue;
        }
        let (found, reference) = (flat(found)?, flat(reference)?);
        let scale = magnitude(&reference);
        if let Some(value) = found.iter().find(|value| !value.is_finite()) {
            broken.push(format!("{what} holds {value}"));
        } else if found.iter().zip(&reference).any(|(a, b)| (a - b).abs() > 1e-3 * scale.max(1e-6)) {
            broken.push(format!("{what} differs from what encode, decode and log_likelihood say"));
        }
    }
    for row in 0..n {
        let alone = model.gradients(&images.narrow(0, row, 1)?.contiguous()?, Wanted::BOTH)?;
        for (what, of) in PARTS {
            let (Some(all), Some(alone)) = (of(&found), of(&alone)) else { continue };
            let expected = flat(&all.narrow(0, row, 1)?)?;
            if !agreement.holds(&flat(alone)?, &expected, magnitude(&flat(all)?)) {
                broken.push(format!("{what} of row {row} alone differs from that in a batch of {n}"));
            }
        }
    }
    Ok(broken)
}

/// The tensors of a pass by name.
#[allow(clippy::type_complexity, reason = "a table, read in one place")]
const PARTS: [(&str, fn(&Gradients) -> Option<&Tensor>); 5] = [
    ("the mean", |found| Some(&found.mean)),
    ("the loss", |found| Some(&found.loss)),
    ("the divergence", |found| Some(&found.divergence)),
    ("the divergence's gradient", |found| found.by_divergence.as_ref()),
    ("the reconstruction's gradient", |found| found.by_reconstruction.as_ref()),
];

/// Runs on a pool of one thread.
fn on_one_thread<T: Send>(
    run: impl FnOnce() -> std::result::Result<T, PredictError> + Send,
) -> std::result::Result<T, PredictError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|error| PredictError::Config(format!("no pool of one thread: {error}")))?.install(run)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Breaks one obligation.
    struct Wrong(&'static str);

    impl Predictor for Wrong {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn score(&self, images: &Tensor) -> std::result::Result<Tensor, PredictError> {
            let (n, _, h, w) = images.dims4()?;
            let mean = images.mean(1)?;
            Ok(match self.0 {
                "shape" => images.clone(),
                "finite" => (mean / 0.0)?,
                "batch scale" if n > 0 => mean.broadcast_div(&mean.flatten_all()?.max(0)?)?,
                "place" if n > 0 => {
                    let places: Vec<f32> = (0..n).map(|k| k as f32).collect();
                    mean.broadcast_add(&Tensor::from_vec(places, (n, 1, 1), images.device())?)?
                }
                "threads" => (mean + rayon::current_num_threads() as f64)?,
                "order" => mean.neg()?,
                "empty" if n == 0 => Tensor::zeros((1, h, w), images.dtype(), images.device())?,
                _ => mean,
            })
        }

        fn score_shared(&self, pass: &SharedPass<'_>) -> std::result::Result<Tensor, PredictError> {
            let own = self.score(pass.images())?;
            Ok(if self.0 == "shared" { (own * 2.0)? } else { own })
        }
    }

    #[test]
    fn each_fault_is_found() {
        // Rows of different heights: a scale taken over the batch changes all but one of them.
        let values: Vec<f32> =
            (0..4 * 2 * 6 * 9).map(|k| (((k * 37) % 101) * (1 + k / 108)) as f32 / 404.0).collect();
        let images = Tensor::from_vec(values, (4, 2, 6, 9), &Device::Cpu).unwrap();
        let faults = [
            ("nothing", None),
            ("shape", Some("shape is")),
            ("finite", Some("is inf")),
            ("batch scale", Some("scored alone")),
            ("place", Some("at place")),
            ("order", Some("planted")),
            ("empty", Some("empty batch")),
            ("shared", Some("a shared pass")),
        ];
        for (fault, expected) in faults {
            for check in [check_predictor, check_predictor_bits] {
                let broken = check(&Wrong(fault), &images, Some(0.5)).unwrap();
                match expected {
                    None => assert!(broken.is_empty(), "{broken:?}"),
                    Some(words) => {
                        assert!(broken.iter().any(|text| text.contains(words)), "{fault}: {broken:?}");
                    }
                }
            }
        }
        if rayon::current_num_threads() > 1 {
            let broken = check_predictor(&Wrong("threads"), &images, None).unwrap();
            assert!(broken.iter().any(|text| text.contains("a single thread")), "{broken:?}");
        }
        let few = images.narrow(0, 0, 2).unwrap();
        assert!(matches!(check_predictor(&Wrong("nothing"), &few, None), Err(PredictError::Config(_))));
    }
}
