//! One pass of a model over a batch, used by several predictors.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor};
use lesio_vae::{Gradients, Reconstructor, VariationalModel, Wanted};

/// A batch of images and what models have said of it so far.
///
/// Predictors of the same model find the reconstruction, the likelihood and the gradients here once
/// one of them has asked.
#[derive(Debug)]
pub struct SharedPass<'a> {
    images: &'a Tensor,
    expected: Wanted,
    known: Mutex<Known>,
}

/// Results by the address of their model, which outlives the pass in the predictors that ask.
#[derive(Debug, Default)]
struct Known {
    gradients: Vec<(usize, Wanted, Gradients)>,
    reconstructions: Vec<(usize, Tensor)>,
}

impl<'a> SharedPass<'a> {
    /// A pass over `images`, `[n, c, h, w]`; `expected` is what all its readers together will want.
    #[must_use]
    pub fn new(images: &'a Tensor, expected: Wanted) -> Self {
        Self { images, expected, known: Mutex::default() }
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> &'a Tensor {
        self.images
    }

    /// Terms and gradients of a model.
    ///
    /// # Errors
    /// What the model reports.
    pub fn gradients(&self, model: &Arc<dyn VariationalModel>, wanted: Wanted) -> Result<Gradients> {
        let key = Arc::as_ptr(model).cast::<()>() as usize;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.gradients.iter().find(|(own, has, _)| *own == key && has.covers(wanted));
        if let Some((_, _, gradients)) = found {
            return Ok(gradients.clone());
        }
        let wanted = wanted.union(self.expected);
        let gradients = model.gradients(self.images, wanted)?;
        known.gradients.push((key, wanted, gradients.clone()));
        Ok(gradients)
    }

    /// The reconstruction by a model.
    ///
    /// # Errors
    /// What the model reports.
    pub fn reconstruction(&self, model: &Arc<dyn Reconstructor>) -> Result<Tensor> {
        let key = Arc::as_ptr(model).cast::<()>() as usize;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, gradients)) = known.gradients.iter().find(|(own, _, _)| *own == key) {
            return Ok(gradients.mean.clone());
        }
        if let Some((_, reconstruction)) = known.reconstructions.iter().find(|(own, _)| *own == key) {
            return Ok(reconstruction.clone());
        }
        let reconstruction = model.reconstruct(self.images)?;
        known.reconstructions.push((key, reconstruction.clone()));
        Ok(reconstruction)
    }
}
