//! Pictures of the synthetic anomalies that a model learns from.

use lesio_image::Image;
use lesio_nn::Shape;
use lesio_report::{Montage, Picture, Rgb};
use lesio_vae::{Examples, SyntheticExample, synthetic_examples};
use ndarray::{Array2, Array3};

use crate::display::enlargement;
use crate::error::StudyError;
use crate::overlay::{drawn_image, image_window};
use crate::presentation::PresentationError;
use crate::training::{ModelTraining, TrainOptions};

/// Number of examples on a page.
const SHOWN: usize = 8;
/// The color of outlines, which stands out from white, black and gray.
const OUTLINE: Rgb = Rgb([255, 56, 56]);

/// Some of the synthetic anomalies of a training; none for models that are trained without them.
pub(crate) fn taught_examples(
    model: &ModelTraining,
    examples: &Examples,
    options: &TrainOptions,
) -> Result<Vec<SyntheticExample>, StudyError> {
    match model {
        ModelTraining::Restorer { model, training } | ModelTraining::Segmenter { model, training } => {
            Ok(synthetic_examples(model, training, examples, &options.contents, SHOWN)?)
        }
        ModelTraining::Vae { .. } | ModelTraining::Denoiser { .. } => Ok(Vec::new()),
    }
}

/// A montage with examples in columns: the image, the image with its anomaly, and the outline of the anomaly.
pub(crate) fn taught_montage(
    examples: &[SyntheticExample],
    shape: Shape,
) -> Result<Montage, PresentationError> {
    let [mut originals, mut changed, mut outlined] = [const { Vec::new() }; 3];
    for example in examples {
        let (h, w) = (shape.height, shape.width);
        let image = |values: &[f32]| {
            let value = |(channel, row, column)| values[(channel * h + row) * w + column];
            Image::new(Array3::from_shape_fn((shape.channels, h, w), value))
        };
        let (original, with) = (image(&example.original), image(&example.changed));
        let window = image_window(&original)?;
        let draw = |image: &Image<f32>| -> Result<Picture, PresentationError> {
            Ok(drawn_image(image, window)?.enlarged(enlargement(h))?)
        };
        let anomaly = Array2::from_shape_fn((h, w), |(row, column)| example.anomaly[row * w + column]);
        originals.push(draw(&original)?);
        changed.push(draw(&with)?);
        outlined.push(draw(&with)?.outlined(anomaly.view(), OUTLINE)?);
    }
    let montage = Montage::new((1..=examples.len()).map(|number| number.to_string()));
    let rows = [("image", originals), ("with an anomaly", changed), ("outlined", outlined)];
    Ok(rows.into_iter().try_fold(montage, |montage, (name, row)| montage.row(name, row))?)
}
