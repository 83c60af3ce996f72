//! One pass of a model over a batch, used by several predictors.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};
use lesio_vae::{Gradients, Reconstructor, VariationalModel, Wanted};

/// A batch of images and what models have said of it so far.
///
/// Predictors of the same model find the reconstruction, the likelihood and the gradients here once
/// one of them has asked. Models are told apart by their `Arc`.
///
/// ```
/// use std::sync::Arc;
///
/// use candle_core::{DType, Device, Tensor};
/// use lesio_anomaly::{Distance, GradientConfig, GradientPredictor, PixelError, Predictor, SharedPass, Target};
/// use lesio_vae::{Vae, VaeConfig};
///
/// let vae = Arc::new(Vae::new(VaeConfig::new(1, 16, 16).widths([4]), 1.0, 7, &Device::Cpu)?);
/// let error = PixelError::new(vae.clone(), Distance::Absolute);
/// let gradient = GradientPredictor::new(vae, Target::Divergence, GradientConfig::default())?;
///
/// let images = Tensor::ones((2, 1, 16, 16), DType::F32, &Device::Cpu)?;
/// let pass = SharedPass::new(&images, error.wants().union(gradient.wants()));
/// let maps = [gradient.score_shared(&pass)?, error.score_shared(&pass)?];
/// assert_eq!(maps[0].dims(), [2, 16, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedPass<'a> {
    images: &'a Tensor,
    expected: Wanted,
    known: Mutex<Known>,
}

/// Results by model. The models are held, so that none can take the address of one that is gone.
#[derive(Default)]
struct Known {
    gradients: Vec<(Arc<dyn VariationalModel>, Wanted, Gradients)>,
    reconstructions: Vec<(Arc<dyn Reconstructor>, Tensor)>,
}

impl fmt::Debug for SharedPass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPass")
            .field("images", &self.images.shape())
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
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

    /// Terms and gradients of a model. Without images no model is asked.
    ///
    /// # Errors
    /// What the model reports, and a result of another shape than the images.
    pub fn gradients(&self, model: &Arc<dyn VariationalModel>, wanted: Wanted) -> Result<Gradients> {
        if self.images.dim(0)? == 0 {
            return Gradients::of_nothing(self.images, wanted);
        }
        let key = address(model);
        let found = |known: &Known| {
            let found =
                known.gradients.iter().find(|(own, has, _)| address(own) == key && has.covers(wanted));
            found.map(|(_, _, gradients)| gradients.clone())
        };
        if let Some(gradients) = found(&self.known()) {
            return Ok(gradients);
        }
        let wanted = wanted.union(self.expected);
        let gradients = gradients_of(&**model, self.images, wanted)?;
        self.known().gradients.push((model.clone(), wanted, gradients.clone()));
        Ok(gradients)
    }

    /// The reconstruction by a model, `[n, c, h, w]`. Without images no model is asked.
    ///
    /// # Errors
    /// What the model reports, and a result of another shape than the images.
    pub fn reconstruction(&self, model: &Arc<dyn Reconstructor>) -> Result<Tensor> {
        if self.images.dim(0)? == 0 {
            return self.images.zeros_like();
        }
        let key = address(model);
        let found = |known: &Known| {
            let means = known.gradients.iter().map(|(own, _, gradients)| (address(own), &gradients.mean));
            let others = known.reconstructions.iter().map(|(own, own_mean)| (address(own), own_mean));
            means.chain(others).find(|(own, _)| *own == key).map(|(_, mean)| mean.clone())
        };
        if let Some(reconstruction) = found(&self.known()) {
            return Ok(reconstruction);
        }
        let reconstruction = model.reconstruct(self.images)?;
        check_shape("a reconstruction", &reconstruction, self.images)?;
        self.known().reconstructions.push((model.clone(), reconstruction.clone()));
        Ok(reconstruction)
    }

    /// Not held while a model computes: a thread that waits for it may take up another reader of this pass,
    /// which would wait for its own thread.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a model says of images, with every part that is wanted in the shape that it must have: a model may be the
/// caller's own.
pub(crate) fn gradients_of(
    model: &dyn VariationalModel,
    images: &Tensor,
    wanted: Wanted,
) -> Result<Gradients> {
    let found = model.gradients(images, wanted)?;
    check_shape("the mean", &found.mean, images)?;
    check_shape("the loss", &found.loss, images)?;
    for (what, is_wanted, gradient) in [
        ("the divergence's gradient", wanted.divergence, &found.by_divergence),
        ("the reconstruction's gradient", wanted.reconstruction, &found.by_reconstruction),
    ] {
        match gradient {
            Some(gradient) => check_shape(what, gradient, images)?,
            None if is_wanted => candle_core::bail!("the model gave not {what}, which was wanted"),
            None => {}
        }
    }
    Ok(found)
}

/// Refuses what a model gave in another shape than the images have.
fn check_shape(what: &str, found: &Tensor, images: &Tensor) -> Result<()> {
    if found.dims() == images.dims() {
        return Ok(());
    }
    let (expected, got) = (images.shape().clone(), found.shape().clone());
    Err(candle_core::Error::UnexpectedShape { msg: format!("{what} of the model"), expected, got })
}

/// Where a model lies: the same for it as a reconstructor and as a variational model.
fn address<T: ?Sized>(model: &Arc<T>) -> *const () {
    Arc::as_ptr(model).cast()
}
