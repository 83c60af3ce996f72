//! Models written with candle-core and candle-nn.
//!
//! A [`CandleModel`] maps images to latent samples and back; [`FromCandle`] makes a [`VariationalModel`] of it, with
//! gradients by automatic differentiation. A model that only reconstructs implements [`Reconstructor`] directly, with
//! [`tensor`] and
//! [`values`] for the conversions.
//!
//! ```
//! use candle_core::{DType, Device, Result, Tensor};
//! use lesio_nn::{ImageBatch, Shape};
//! use lesio_vae::candle::{CandleModel, CandlePosterior, CandleReconstruction, FromCandle};
//! use lesio_vae::{VariationalModel, RequestedGradients};
//!
//! /// A model of pixels near 1: the latent sample is the image, the expected image is its half.
//! struct Half;
//!
//! impl CandleModel for Half {
//!     fn encode(&self, images: &Tensor) -> Result<CandlePosterior> {
//!         Ok(CandlePosterior { mean: images.clone(), log_variance: images.zeros_like()? })
//!     }
//!
//!     fn decode(&self, latent: &Tensor) -> Result<CandleReconstruction> {
//!         let mean = (latent.reshape(((), 1, 2, 2))? * 0.5)?;
//!         Ok(CandleReconstruction { outputs: mean.clone(), mean })
//!     }
//!
//!     fn log_likelihood(&self, images: &Tensor, reconstruction: &CandleReconstruction) -> Result<Tensor> {
//!         (images - &reconstruction.mean)?.sqr()? * -0.5
//!     }
//! }
//!
//! let model = FromCandle::new(Half, Shape::new(1, 2, 2), Device::Cpu);
//! let found = model.gradients(ImageBatch::new(&[0.8; 4], Shape::new(1, 2, 2))?, RequestedGradients::BOTH)?;
//! // KL = sum x^2 / 2, and -log p = sum (x - x / 2)^2 / 2.
//! assert!((found.by_divergence.unwrap()[0] - 0.8).abs() < 1e-6);
//! assert!((found.by_reconstruction.unwrap()[0] - 0.2).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::ops::Deref;

use candle_core::{DType, Device, Result, Tensor, Var};
use lesio_nn::{ImageBatch, Parameter, ParameterSet, Shape};

use crate::model::{
    ImageGradients, ModelError, Posterior, Reconstructor, RequestedGradients, VariationalModel,
};

/// A diagonal normal posterior over the latent space, one row per image.
#[derive(Clone, Debug)]
pub struct CandlePosterior {
    /// Means, `[n, ...]`.
    pub mean: Tensor,
    /// Logarithms of the variances, of the same shape, within [`LOG_VARIANCE_RANGE`](crate::LOG_VARIANCE_RANGE).
    pub log_variance: Tensor,
}

impl CandlePosterior {
    /// Like [`Posterior::divergence`], `[n]`, differentiable.
    ///
    /// # Errors
    /// If the device fails.
    pub fn divergence(&self) -> Result<Tensor> {
        let terms = ((self.mean.sqr()? + self.log_variance.exp()?)? - &self.log_variance)?;
        (terms - 1.0)?.flatten_from(1)?.sum(1)? * 0.5
    }
}

/// The output of a decoder for an image.
#[derive(Clone, Debug)]
pub struct CandleReconstruction {
    /// The expected image, `[n, c, h, w]`.
    pub mean: Tensor,
    /// The decoder's raw outputs, for [`CandleModel::log_likelihood`].
    pub outputs: Tensor,
}

/// A variational autoencoder of images `[n, c, h, w]` in operations of candle, differentiable with respect to the
/// images.
///
/// # Obligations
/// Each row depends on its own image only, and the same images give the same result.
pub trait CandleModel: Send + Sync {
    /// The posterior of each image.
    ///
    /// # Errors
    /// For images that do not fit the model, and if the device fails.
    fn encode(&self, images: &Tensor) -> Result<CandlePosterior>;

    /// The pixels' distribution for latent samples with the shape of [`CandlePosterior::mean`], or flattened to
    /// `[n, dimensions]` in calls by [`VariationalModel::decode`].
    ///
    /// # Errors
    /// For latent samples that do not fit the model, and if the device fails.
    fn decode(&self, latent: &Tensor) -> Result<CandleReconstruction>;

    /// `log p(x | z)` of each pixel in nats, `[n, c, h, w]`.
    ///
    /// # Errors
    /// For shapes that do not agree, and if the device fails.
    fn log_likelihood(&self, images: &Tensor, reconstruction: &CandleReconstruction) -> Result<Tensor>;

    /// The weight of the divergence in the bound with which the model was trained. Default 1.
    fn beta(&self) -> f64 {
        1.0
    }
}

/// An adapter that makes a model written with candle usable by every predictor.
#[derive(Clone, Debug)]
pub struct FromCandle<M> {
    model: M,
    shape: Shape,
    device: Device,
}

impl<M: CandleModel> FromCandle<M> {
    /// Makes a model of images of a shape, whose tensors are on a device.
    #[must_use]
    pub fn new(model: M, shape: Shape, device: Device) -> Self {
        Self { model, shape, device }
    }

    /// The model.
    #[must_use]
    pub fn inner(&self) -> &M {
        &self.model
    }

    fn tensor(&self, images: ImageBatch<'_>) -> std::result::Result<Tensor, ModelError> {
        ModelError::check_shape(images, self.shape)?;
        Ok(tensor(images, &self.device)?)
    }
}

/// A batch as a tensor `[n, c, h, w]` on a device.
///
/// # Errors
/// If the device fails.
pub fn tensor(images: ImageBatch<'_>, device: &Device) -> Result<Tensor> {
    let Shape { channels, height, width } = images.shape();
    Tensor::from_slice(images.values(), (images.len(), channels, height, width), device)
}

/// Converts parameters to tensors on a device, by name, for candle-nn's `VarBuilder::from_tensors`.
///
/// # Errors
/// If the device fails.
pub fn tensors(parameters: &ParameterSet, device: &Device) -> Result<HashMap<String, Tensor>> {
    let made = parameters.iter().map(|(name, parameter)| {
        Ok((name.to_owned(), Tensor::from_slice(parameter.values(), parameter.shape(), device)?))
    });
    made.collect()
}

/// Converts tensors or variables, such as those of candle-nn's `VarMap`, to parameters that can be saved with a
/// localizer.
///
/// # Errors
/// If the device fails.
pub fn parameters(
    tensors: impl IntoIterator<Item = (String, impl Deref<Target = Tensor>)>,
) -> Result<ParameterSet> {
    let mut set = ParameterSet::new();
    for (name, tensor) in tensors {
        let shape = tensor.dims().to_vec();
        if let Some(parameter) = Parameter::new(shape, values(&tensor)?) {
            set.insert(name, parameter);
        }
    }
    Ok(set)
}

/// The values of a tensor in f32, row-major.
///
/// # Errors
/// If the device fails.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

impl<M: CandleModel> Reconstructor for FromCandle<M> {
    fn image_shape(&self) -> Shape {
        self.shape
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> std::result::Result<Vec<f32>, ModelError> {
        let images = self.tensor(images)?;
        if images.dim(0)? == 0 {
            return Ok(Vec::new());
        }
        Ok(values(&self.model.decode(&self.model.encode(&images)?.mean)?.mean)?)
    }
}

impl<M: CandleModel> VariationalModel for FromCandle<M> {
    fn encode(&self, images: ImageBatch<'_>) -> std::result::Result<Posterior, ModelError> {
        let images = self.tensor(images)?;
        // The number of dimensions follows from a single image.
        let count = images.dim(0)?;
        let asked = if count == 0 {
            Tensor::zeros(
                (1, self.shape.channels, self.shape.height, self.shape.width),
                DType::F32,
                &self.device,
            )?
        } else {
            images
        };
        let posterior = self.model.encode(&asked)?;
        let (mut mean, mut log_variance) = (values(&posterior.mean)?, values(&posterior.log_variance)?);
        let dimensions = mean.len() / count.max(1);
        mean.truncate(count * dimensions);
        log_variance.truncate(count * dimensions);
        Ok(Posterior { dimensions, mean, log_variance })
    }

    fn decode(&self, latent: &[f32]) -> std::result::Result<Vec<f32>, ModelError> {
        let none = ImageBatch::new(&[], self.shape)?;
        let dimensions = self.encode(none)?.dimensions;
        let samples = ImageBatch::new(latent, Shape::vector(dimensions))?.len();
        if samples == 0 {
            return Ok(Vec::new());
        }
        let latent = Tensor::from_slice(latent, (samples, dimensions), &self.device)?;
        Ok(values(&self.model.decode(&latent)?.mean)?)
    }

    fn beta(&self) -> f64 {
        self.model.beta()
    }

    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> std::result::Result<ImageGradients, ModelError> {
        let images = self.tensor(images)?;
        if images.dim(0)? == 0 {
            return Ok(ImageGradients::of_nothing(requested));
        }
        let variable = Var::from_tensor(&images)?;
        let posterior = self.model.encode(&variable)?;
        let divergence = posterior.divergence()?;
        let by_divergence = requested.divergence.then(|| gradient_of(&divergence, &variable)).transpose()?;
        let reconstruction = self.model.decode(&posterior.mean)?;
        let loss = self.model.log_likelihood(&variable, &reconstruction)?.neg()?;
        let by_reconstruction =
            requested.reconstruction.then(|| gradient_of(&loss, &variable)).transpose()?;
        Ok(ImageGradients {
            mean: values(&reconstruction.mean)?,
            loss: values(&loss)?,
            divergence: values(&divergence)?,
            by_divergence,
            by_reconstruction,
        })
    }
}

/// The gradient of the sum of `value` by the images.
fn gradient_of(value: &Tensor, images: &Var) -> Result<Vec<f32>> {
    match value.sum_all()?.backward()?.get(images) {
        Some(gradient) => values(gradient),
        // A value that does not depend on the image.
        None => Ok(vec![0.0; images.elem_count()]),
    }
}
