//! The obligations of a [`Predictor`] as a test that every implementation can run.

use candle_core::{Device, Result, Tensor};

use crate::predictor::Predictor;

/// Checks the obligations of [`Predictor`] on images `[n, c, h, w]`, n at least 3, and that the mean
/// score rises inside a square of `planted` added to the first image.
///
/// `planted` is the value added; `None` leaves this last check out, for predictors to which the
/// addition is no anomaly. Returns what was broken, in words; nothing is a pass.
///
/// # Errors
/// What the predictor reports.
pub fn check_predictor(
    predictor: &dyn Predictor,
    images: &Tensor,
    planted: Option<f32>,
) -> std::result::Result<Vec<String>, crate::PredictError> {
    let mut broken = Vec::new();
    let (n, c, h, w) = images.dims4()?;
    let scores = predictor.score(images)?;
    if scores.dims() != [n, h, w] {
        broken.push(format!("shape is {:?}, expected [{n}, {h}, {w}]", scores.dims()));
        return Ok(broken);
    }
    let all = flat(&scores)?;
    if let Some(at) = all.iter().position(|value| !value.is_finite()) {
        broken.push(format!("score {at} is {}", all[at]));
    }
    if flat(&predictor.score(images)?)? != all {
        broken.push("a second call gives another result".to_owned());
    }
    let pixels = h * w;
    for row in 0..n {
        let alone = flat(&predictor.score(&images.narrow(0, row, 1)?.contiguous()?)?)?;
        if alone != all[row * pixels..(row + 1) * pixels] {
            broken.push(format!("row {row} scored alone differs from the same row in a batch of {n}"));
        }
    }
    let turned: Vec<Tensor> = (0..n).rev().map(|row| images.narrow(0, row, 1)).collect::<Result<_>>()?;
    let turned = flat(&predictor.score(&Tensor::cat(&turned, 0)?)?)?;
    for row in 0..n {
        if turned[(n - 1 - row) * pixels..(n - row) * pixels] != all[row * pixels..(row + 1) * pixels] {
            broken.push(format!("row {row} depends on its place in the batch"));
        }
    }
    let empty = Tensor::zeros((0, c, h, w), images.dtype(), images.device())?;
    match predictor.score(&empty) {
        Ok(none) if none.dims() == [0, h, w] => {}
        Ok(other) => broken.push(format!("an empty batch gives shape {:?}", other.dims())),
        Err(error) => broken.push(format!("an empty batch fails: {error}")),
    }
    if let Some(value) = planted {
        let mut changed = images.narrow(0, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
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
        let changed = flat(&predictor.score(&Tensor::from_vec(changed, (1, c, h, w), &Device::Cpu)?)?)?;
        let mean = |scores: &[f32]| {
            let own: Vec<f64> = (0..pixels).filter(|&p| inside(p)).map(|p| f64::from(scores[p])).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let (before, after) = (mean(&all[..pixels]), mean(&changed));
        if after <= before {
            broken
                .push(format!("a planted anomaly lowers the mean score inside it from {before} to {after}"));
        }
    }
    Ok(broken)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
