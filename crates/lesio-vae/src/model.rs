//! What a model must be able to do so that anomalies can be found with it.

use candle_core::{Result, Tensor};

/// Log-variances of a posterior are clamped to this range, so that no variance is 0 or infinite in f32.
pub const LOG_VARIANCE_RANGE: [f32; 2] = [-30.0, 20.0];

/// A diagonal normal posterior over the latent space, one row per image.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// Means, `[n, ...]`.
    pub mean: Tensor,
    /// Logarithms of the variances, of the same shape, within [`LOG_VARIANCE_RANGE`].
    pub log_variance: Tensor,
}

impl Posterior {
    /// Kullback-Leibler divergence from the standard normal prior, in nats, `[n]`:
    /// `1/2 sum(mean^2 + variance - log variance - 1)`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn divergence(&self) -> Result<Tensor> {
        let terms = ((self.mean.sqr()? + self.log_variance.exp()?)? - &self.log_variance)?;
        (terms - 1.0)?.flatten_from(1)?.sum(1)? * 0.5
    }
}

/// What a decoder says about an image.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// The expected image, `[n, c, h, w]`.
    pub mean: Tensor,
    /// Whatever else [`VariationalModel::log_likelihood`] needs: the decoder's raw outputs.
    pub outputs: Tensor,
}

/// A model that gives back what it takes an image to be when it is normal.
///
/// # Obligations
/// The result has the shape of the images, each row depends on its own image only, and the same
/// images give the same result.
pub trait Reconstructor: Send + Sync {
    /// The expected normal images of `images`, `[n, c, h, w]`. Need not be differentiable.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    fn reconstruct(&self, images: &Tensor) -> Result<Tensor>;
}

/// A variational autoencoder of images `[n, c, h, w]`.
///
/// A model of your own needs [`encode`](Self::encode), [`decode`](Self::decode) and
/// [`log_likelihood`](Self::log_likelihood), differentiable by candle; gradients with respect to the
/// image follow by automatic differentiation. A model that knows a faster way overrides
/// [`gradients`](Self::gradients).
///
/// # Obligations
/// Each row depends on its own image only, and the same images give the same result.
pub trait VariationalModel: Reconstructor {
    /// The posterior of each image.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    fn encode(&self, images: &Tensor) -> Result<Posterior>;

    /// The pixels' distribution for latent samples shaped as [`Posterior::mean`].
    ///
    /// # Errors
    /// Latent samples that do not fit the model, or a failure of the device.
    fn decode(&self, latent: &Tensor) -> Result<Reconstruction>;

    /// `log p(x | z)` of each pixel in nats, `[n, c, h, w]`.
    ///
    /// # Errors
    /// Shapes that do not agree, or a failure of the device.
    fn log_likelihood(&self, images: &Tensor, reconstruction: &Reconstruction) -> Result<Tensor>;

    /// The weight of the divergence in the bound with which the model was trained. Default 1.
    fn beta(&self) -> f64 {
        1.0
    }

    /// One pass at the posterior's mean: terms of the bound, and the gradients that are `wanted`.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    fn gradients(&self, images: &Tensor, wanted: Wanted) -> Result<Gradients> {
        gradients_by_autograd(self, images, wanted)
    }
}

/// Which gradients with respect to the image a pass should give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// That of the divergence.
    pub divergence: bool,
    /// That of the reconstruction term `-log p(x | z)`.
    pub reconstruction: bool,
}

impl Wanted {
    /// No gradients: the terms alone.
    pub const NOTHING: Self = Self { divergence: false, reconstruction: false };
    /// The divergence's.
    pub const DIVERGENCE: Self = Self { divergence: true, reconstruction: false };
    /// The reconstruction term's.
    pub const RECONSTRUCTION: Self = Self { divergence: false, reconstruction: true };
    /// Both, from which that of the bound follows.
    pub const BOTH: Self = Self { divergence: true, reconstruction: true };

    /// What either wants.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            divergence: self.divergence || other.divergence,
            reconstruction: self.reconstruction || other.reconstruction,
        }
    }

    /// Whether everything `other` wants is wanted here.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.union(other) == self
    }
}

/// Terms of the bound at the posterior's mean, and gradients with respect to the image. Detached.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The expected image, `[n, c, h, w]`.
    pub mean: Tensor,
    /// `-log p(x | z)` of each pixel, `[n, c, h, w]`.
    pub loss: Tensor,
    /// The divergence of each image, `[n]`.
    pub divergence: Tensor,
    /// Gradient of the divergence, `[n, c, h, w]`, where it was wanted.
    pub by_divergence: Option<Tensor>,
    /// Gradient of the sum of `loss`, `[n, c, h, w]`, through encoder and decoder, where it was wanted.
    pub by_reconstruction: Option<Tensor>,
}

/// [`VariationalModel::gradients`] by candle's automatic differentiation.
///
/// # Errors
/// Images that do not fit the model, or a failure of the device.
pub fn gradients_by_autograd<M: VariationalModel + ?Sized>(
    model: &M,
    images: &Tensor,
    wanted: Wanted,
) -> Result<Gradients> {
    let variable = candle_core::Var::from_tensor(images)?;
    let posterior = model.encode(&variable)?;
    let divergence = posterior.divergence()?;
    let by_divergence =
        if wanted.divergence { Some(gradient_of(&divergence.sum_all()?, &variable)?) } else { None };
    let reconstruction = model.decode(&posterior.mean)?;
    let loss = model.log_likelihood(&variable, &reconstruction)?.neg()?;
    let by_reconstruction =
        if wanted.reconstruction { Some(gradient_of(&loss.sum_all()?, &variable)?) } else { None };
    Ok(Gradients {
        mean: reconstruction.mean.detach(),
        loss: loss.detach(),
        divergence: divergence.detach(),
        by_divergence,
        by_reconstruction,
    })
}

fn gradient_of(value: &Tensor, variable: &candle_core::Var) -> Result<Tensor> {
    match value.backward()?.get(variable) {
        Some(gradient) => Ok(gradient.detach()),
        // Whatever does not depend on the image.
        None => variable.zeros_like(),
    }
}

/// The divergence of each latent dimension from the prior, in nats.
pub(crate) fn dimension_divergence(mean: f32, log_variance: f32) -> f64 {
    let (mean, log_variance) = (f64::from(mean), f64::from(log_variance));
    0.5 * (mean * mean + log_variance.exp() - log_variance - 1.0)
}

/// A log-variance within [`LOG_VARIANCE_RANGE`].
pub(crate) fn clamp_log_variance(value: f32) -> f32 {
    value.clamp(LOG_VARIANCE_RANGE[0], LOG_VARIANCE_RANGE[1])
}

