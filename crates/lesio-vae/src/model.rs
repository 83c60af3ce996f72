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
/// [`Reconstructor::reconstruct`] gives the mean of what [`decode`](Self::decode) says of the posterior's
/// mean, so that predictors may take either.
///
/// ```
/// use candle_core::{DType, Device, Result, Tensor};
/// use lesio_vae::{Posterior, Reconstruction, Reconstructor, VariationalModel, Wanted};
///
/// /// Knows that pixels are about 1: the latent sample is the image, the expected image is its half.
/// struct Half;
///
/// impl Reconstructor for Half {
///     fn reconstruct(&self, images: &Tensor) -> Result<Tensor> {
///         Ok(self.decode(&self.encode(images)?.mean)?.mean)
///     }
/// }
///
/// impl VariationalModel for Half {
///     fn encode(&self, images: &Tensor) -> Result<Posterior> {
///         Ok(Posterior { mean: images.clone(), log_variance: images.zeros_like()? })
///     }
///
///     fn decode(&self, latent: &Tensor) -> Result<Reconstruction> {
///         let mean = (latent * 0.5)?;
///         Ok(Reconstruction { outputs: mean.clone(), mean })
///     }
///
///     fn log_likelihood(&self, images: &Tensor, reconstruction: &Reconstruction) -> Result<Tensor> {
///         (images - &reconstruction.mean)?.sqr()? * -0.5
///     }
/// }
///
/// let images = Tensor::full(0.8f32, (1, 1, 2, 2), &Device::Cpu)?;
/// let found = Half.gradients(&images, Wanted::BOTH)?;
/// // KL = sum x^2 / 2, and -log p = sum (x - x / 2)^2 / 2.
/// let pixel = |tensor: Tensor| tensor.flatten_all()?.get(0)?.to_scalar::<f32>();
/// assert!((pixel(found.by_divergence.unwrap())? - 0.8).abs() < 1e-6);
/// assert!((pixel(found.by_reconstruction.unwrap())? - 0.2).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

impl Gradients {
    /// Those of a batch without images, which candle's operations do not all take.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn of_nothing(images: &Tensor, wanted: Wanted) -> Result<Self> {
        let nothing = images.zeros_like()?;
        Ok(Self {
            mean: nothing.clone(),
            loss: nothing.clone(),
            divergence: Tensor::zeros(0, images.dtype(), images.device())?,
            by_divergence: wanted.divergence.then(|| nothing.clone()),
            by_reconstruction: wanted.reconstruction.then_some(nothing),
        })
    }
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
    if images.dim(0)? == 0 {
        return Gradients::of_nothing(images, wanted);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use lesio_nn::random;

    /// KL(q | p) is the mean of log q(z) - log p(z) over draws of q.
    #[test]
    fn divergence_is_its_monte_carlo_estimate() {
        let means = [0.0f32, 1.3, -0.4, 2.0, 0.1, 0.0];
        let log_variances = [0.0f32, -1.2, 0.9, -3.0, 0.0, 1.5];
        let tensor = |values: &[f32]| Tensor::from_slice(values, (2, 3, 1, 1), &Device::Cpu).unwrap();
        let posterior = Posterior { mean: tensor(&means), log_variance: tensor(&log_variances) };
        let found: Vec<f32> = posterior.divergence().unwrap().to_vec1().unwrap();
        let mut generator = random::generator(1, 1);
        let draws = 200_000;
        let mut noise = vec![0.0; draws * 3];
        for (row, found) in found.iter().enumerate() {
            random::fill_normal(&mut generator, &mut noise);
            let mut sum = 0.0;
            let mut squares = 0.0;
            for draw in noise.chunks_exact(3) {
                let mut ratio = 0.0;
                for (dimension, &e) in draw.iter().enumerate() {
                    let (m, l) = (
                        f64::from(means[3 * row + dimension]),
                        f64::from(log_variances[3 * row + dimension]),
                    );
                    let z = m + (0.5 * l).exp() * f64::from(e);
                    ratio += 0.5 * (z * z - f64::from(e).powi(2) - l);
                }
                sum += ratio;
                squares += ratio * ratio;
            }
            let mean = sum / draws as f64;
            let error = ((squares / draws as f64 - mean * mean) / draws as f64).sqrt();
            assert!((mean - f64::from(*found)).abs() < 4.0 * error, "{found}, estimated {mean} +- {error}");
            let by_dimension: f64 =
                (3 * row..3 * row + 3).map(|k| dimension_divergence(means[k], log_variances[k])).sum();
            assert!((by_dimension - f64::from(*found)).abs() < 1e-5);
        }
    }

    #[test]
    fn the_prior_itself_has_no_divergence() {
        let zeros = Tensor::zeros((2, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let posterior = Posterior { mean: zeros.clone(), log_variance: zeros };
        assert_eq!(posterior.divergence().unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0]);
    }
}
