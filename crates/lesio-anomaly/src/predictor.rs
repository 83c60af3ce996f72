//! The interface of everything that scores pixels.

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::RequestedGradients;

use crate::error::PredictError;
use crate::shared::SharedPass;

/// Scores every pixel of an image: the higher, the more abnormal.
///
/// # Obligations
/// For images `[n, c, h, w]`:
/// - the result holds `[n, h, w]`, finite for finite images;
/// - a higher value means more abnormal; the scale is that of the predictor, and raw: it must not
///   rescale per image or per batch, and thresholds come later;
/// - a row depends on its own image only, bit for bit: not on its neighbors in the batch, on the
///   size of the batch or on the number of threads;
/// - the same images give the same result; whatever is random follows from a configured seed.
///
/// [`conformance::check_predictor`](crate::conformance::check_predictor) tests these.
pub trait Predictor: Send + Sync {
    /// The predictor's name, as in reports.
    fn name(&self) -> String;

    /// Scores images `[n, c, h, w]` as `[n, h, w]`.
    ///
    /// # Errors
    /// For images that do not fit the model, and if the device fails.
    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError>;

    /// Scores the images of a pass that is shared with other predictors; the result is that of [`Predictor::score`].
    /// The default shares nothing.
    ///
    /// # Errors
    /// Those of [`Predictor::score`].
    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        self.score(pass.images())
    }

    /// Scores each channel separately, `[n, c, h, w]`; `None`, the default, if the predictor cannot score single
    /// channels.
    ///
    /// # Errors
    /// Those of [`Predictor::score`].
    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        let _ = pass;
        Ok(None)
    }

    /// Which gradients of the model's terms it reads from a shared pass. Default none.
    fn requested_gradients(&self) -> RequestedGradients {
        RequestedGradients::NOTHING
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<P: Predictor + ?Sized> Predictor for $holder {
            fn name(&self) -> String {
                (**self).name()
            }

            fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
                (**self).score(images)
            }

            fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
                (**self).score_shared(pass)
            }

            fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
                (**self).score_channels(pass)
            }

            fn requested_gradients(&self) -> RequestedGradients {
                (**self).requested_gradients()
            }
        }
    )*};
}

forward!(&P, Box<P>, Arc<P>);
