//! A model that changes what another one takes and gives.

use std::sync::Arc;

use lesio_nn::{ImageBatch, Shape};
use lesio_vae::{ImageGradients, ModelError, Posterior, Reconstructor, RequestedGradients, VariationalModel};

use super::Images;

/// A change of what a model takes or gives.
type Change<T> = Box<dyn Fn(T) -> T + Send + Sync>;

/// A model of which some inputs or results are changed.
pub struct Altered {
    pub model: Arc<dyn VariationalModel>,
    pub images: Change<Vec<f32>>,
    pub reconstruction: Change<Vec<f32>>,
    pub decoded: Change<Vec<f32>>,
    pub gradients: Change<ImageGradients>,
}

impl Altered {
    /// Nothing is changed yet.
    pub fn of(model: Arc<dyn VariationalModel>) -> Self {
        Self {
            model,
            images: Box::new(|images| images),
            reconstruction: Box::new(|values| values),
            decoded: Box::new(|values| values),
            gradients: Box::new(|found| found),
        }
    }

    fn images(&self, images: ImageBatch<'_>) -> Images {
        Images((self.images)(images.values().to_vec()), images.shape())
    }
}

impl Reconstructor for Altered {
    fn image_shape(&self) -> Shape {
        self.model.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        self.model.reconstruct(self.images(images).batch()).map(&self.reconstruction)
    }
}

impl VariationalModel for Altered {
    fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError> {
        self.model.encode(self.images(images).batch())
    }

    fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.model.decode(latent).map(&self.decoded)
    }

    fn beta(&self) -> f64 {
        self.model.beta()
    }

    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError> {
        self.model.gradients(self.images(images).batch(), requested).map(&self.gradients)
    }
}
