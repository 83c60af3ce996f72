//! One pass of a model over a batch, used by several predictors.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lesio_nn::ImageBatch;
use lesio_vae::{
    ImageGradients, ModelError, Reconstructor, RequestedGradients, SegmentationModel, Segmented,
    VariationalModel,
};

/// A batch of images and the results of models for it so far.
///
/// Predictors of the same model share the reconstruction, the likelihood and the gradients, which are computed on the
/// first request. Models are identified by their `Arc`.
///
/// ```
/// use std::sync::Arc;
///
/// use lesio_anomaly::{Distance, GradientConfig, GradientPredictor, PixelError, Predictor, SharedPass, Target};
/// use lesio_nn::{Device, ImageBatch};
/// use lesio_vae::{Reconstructor, Vae, VaeConfig};
///
/// let vae = Arc::new(Vae::new(VaeConfig::new(1, 16, 16).widths([4]), 1.0, 7, &Device::Cpu)?);
/// let error = PixelError::new(vae.clone(), Distance::Absolute);
/// let gradient = GradientPredictor::new(vae.clone(), Target::Divergence, GradientConfig::default())?;
///
/// let images = [1.0; 2 * 16 * 16];
/// let images = ImageBatch::new(&images, vae.image_shape())?;
/// let pass = SharedPass::new(images, error.requested_gradients().union(gradient.requested_gradients()));
/// let maps = [gradient.score_shared(&pass)?, error.score_shared(&pass)?];
/// assert_eq!(maps[0].len(), 2 * 16 * 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedPass<'a> {
    images: ImageBatch<'a>,
    expected: RequestedGradients,
    results: Mutex<PassResults>,
}

/// Results by model. The models are kept alive, so that no new model can get the address of an old one.
#[derive(Default)]
struct PassResults {
    gradients: Vec<(Arc<dyn VariationalModel>, RequestedGradients, Arc<ImageGradients>)>,
    reconstructions: Vec<(Arc<dyn Reconstructor>, Arc<Vec<f32>>)>,
    segmentations: Vec<(Arc<dyn SegmentationModel>, Arc<Segmented>)>,
}

/// A reconstruction `[n, c, h, w]` of a [`SharedPass`], as a slice.
#[derive(Clone, Debug)]
pub struct SharedReconstruction(Source);

#[derive(Clone, Debug)]
enum Source {
    Pass(Arc<ImageGradients>),
    Own(Arc<Vec<f32>>),
    Segmented(Arc<Segmented>),
}

impl Deref for SharedReconstruction {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Source::Pass(gradients) => &gradients.mean,
            Source::Own(values) => values,
            Source::Segmented(segmented) => &segmented.reconstruction,
        }
    }
}

impl fmt::Debug for SharedPass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPass")
            .field("images", &self.images.len())
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl<'a> SharedPass<'a> {
    /// A pass over `images`, `[n, c, h, w]`; `expected` is the union of what its readers will request.
    #[must_use]
    pub fn new(images: ImageBatch<'a>, expected: RequestedGradients) -> Self {
        Self { images, expected, results: Mutex::default() }
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> ImageBatch<'a> {
        self.images
    }

    /// Terms and gradients of a model. Without images no model is called.
    ///
    /// # Errors
    /// Errors of the model, and for results of wrong length.
    pub fn gradients(
        &self,
        model: &Arc<dyn VariationalModel>,
        requested: RequestedGradients,
    ) -> Result<Arc<ImageGradients>, ModelError> {
        if self.images.is_empty() {
            return Ok(Arc::new(ImageGradients::of_nothing(requested)));
        }
        let key = address(model);
        let found = |results: &PassResults| {
            let found =
                results.gradients.iter().find(|(own, has, _)| address(own) == key && has.covers(requested));
            found.map(|(_, _, gradients)| gradients.clone())
        };
        if let Some(gradients) = found(&self.results()) {
            return Ok(gradients);
        }
        let requested = requested.union(self.expected);
        let gradients = Arc::new(gradients_of(&**model, self.images, requested)?);
        self.results().gradients.push((model.clone(), requested, gradients.clone()));
        Ok(gradients)
    }

    /// The reconstruction by a model, `[n, c, h, w]`. Without images no model is called.
    ///
    /// # Errors
    /// Errors of the model, and for a result of wrong length.
    pub fn reconstruction(&self, model: &Arc<dyn Reconstructor>) -> Result<SharedReconstruction, ModelError> {
        if self.images.is_empty() {
            return Ok(SharedReconstruction(Source::Own(Arc::default())));
        }
        let key = address(model);
        let found = |results: &PassResults| {
            let mut passes = results.gradients.iter();
            if let Some((_, _, gradients)) = passes.find(|(own, ..)| address(own) == key) {
                return Some(SharedReconstruction(Source::Pass(gradients.clone())));
            }
            let mut marked = results.segmentations.iter();
            if let Some((_, segmented)) = marked.find(|(own, _)| address(own) == key) {
                return Some(SharedReconstruction(Source::Segmented(segmented.clone())));
            }
            let mut others = results.reconstructions.iter();
            let (_, values) = others.find(|(own, _)| address(own) == key)?;
            Some(SharedReconstruction(Source::Own(values.clone())))
        };
        if let Some(reconstruction) = found(&self.results()) {
            return Ok(reconstruction);
        }
        let values = Arc::new(model.reconstruct(self.images)?);
        let (found, expected) = (values.len(), self.images.values().len());
        if found != expected {
            return Err(ModelError::Length { what: "the reconstruction", found, expected });
        }
        self.results().reconstructions.push((model.clone(), values.clone()));
        Ok(SharedReconstruction(Source::Own(values)))
    }

    /// The logits and the reconstruction by a segmentation model. Without images no model is called.
    ///
    /// # Errors
    /// Errors of the model, and for results of wrong length.
    pub fn segmentation(&self, model: &Arc<dyn SegmentationModel>) -> Result<Arc<Segmented>, ModelError> {
        if self.images.is_empty() {
            return Ok(Arc::new(Segmented { logits: Vec::new(), reconstruction: Vec::new() }));
        }
        let key = address(model);
        let found = |results: &PassResults| {
            let found = results.segmentations.iter().find(|(own, _)| address(own) == key);
            found.map(|(_, segmented)| segmented.clone())
        };
        if let Some(segmented) = found(&self.results()) {
            return Ok(segmented);
        }
        let segmented = model.segment(self.images)?;
        let (values, channels) = (self.images.values().len(), self.images.shape().channels);
        for (what, found, expected) in [
            ("the marks", segmented.logits.len(), values / channels.max(1)),
            ("the reconstruction", segmented.reconstruction.len(), values),
        ] {
            if found != expected {
                return Err(ModelError::Length { what, found, expected });
            }
        }
        let segmented = Arc::new(segmented);
        self.results().segmentations.push((model.clone(), segmented.clone()));
        Ok(segmented)
    }

    /// The lock is not held while a model computes: a waiting thread may run another reader of this pass, which would
    /// wait for its own thread.
    fn results(&self) -> MutexGuard<'_, PassResults> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results of a model, with the length of every requested part checked: the model may be user-defined.
pub(crate) fn gradients_of(
    model: &dyn VariationalModel,
    images: ImageBatch<'_>,
    requested: RequestedGradients,
) -> Result<ImageGradients, ModelError> {
    let found = model.gradients(images, requested)?;
    found.check(images, requested)?;
    Ok(found)
}

/// The address of a model: the same for it as a reconstructor and as a variational model.
fn address<T: ?Sized>(model: &Arc<T>) -> *const () {
    Arc::as_ptr(model).cast()
}
