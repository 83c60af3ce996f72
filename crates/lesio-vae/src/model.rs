//! The traits of models for anomaly localization.

use std::fmt;

use lesio_nn::{BatchError, EngineError, ImageBatch, Shape};

/// Log-variances of a posterior are clamped to this range, so that no variance is 0 or infinite in f32.
pub const LOG_VARIANCE_RANGE: [f32; 2] = [-30.0, 20.0];

/// Why a model could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Images of another shape than the model's.
    #[error("images have shape {found}, the model takes {expected}")]
    Shape {
        /// Shape of the images given.
        found: Shape,
        /// Shape that the model takes.
        expected: Shape,
    },
    /// The number of values is not a multiple of an image's size.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A slice of another length than its images or latent samples have.
    #[error("{what} holds {found} values, expected {expected}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Values it holds.
        found: usize,
        /// Values it must hold.
        expected: usize,
    },
    /// The model omitted a requested part.
    #[error("the model did not return {what}, which was requested")]
    Missing {
        /// What it is.
        what: &'static str,
    },
    /// The networks could not be computed.
    #[error("the networks could not be computed")]
    Engine(#[from] EngineError),
    /// candle failed.
    #[cfg(feature = "candle")]
    #[error("candle could not compute the model")]
    Candle(#[from] candle_core::Error),
    /// A user-defined model failed.
    #[error("the model could not be computed")]
    Own(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ModelError {
    /// Wraps the error of a user-defined model.
    #[must_use]
    pub fn own(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Own(error.into())
    }

    /// Returns an error for images of another shape than `expected`.
    ///
    /// # Errors
    /// [`ModelError::Shape`].
    pub fn check_shape(images: ImageBatch<'_>, expected: Shape) -> Result<(), Self> {
        if images.shape() == expected {
            return Ok(());
        }
        Err(Self::Shape { found: images.shape(), expected })
    }

    /// Returns an error for a slice of another length than `expected`.
    pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Length { what, found, expected }) }
    }
}

/// The output of a [`SegmentationModel`] for a batch of images `[n, c, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmented {
    /// Logits of being abnormal, `[n, h, w]`.
    pub logits: Vec<f32>,
    /// The restored images, without anomalies, `[n, c, h, w]`.
    pub reconstruction: Vec<f32>,
}

/// A model that segments anomalies.
pub trait SegmentationModel: Reconstructor {
    /// Segments anomalies in images `[n, c, h, w]`, and restores the images.
    ///
    /// # Errors
    /// For images of another shape, and if the device fails.
    fn segment(&self, images: ImageBatch<'_>) -> Result<Segmented, ModelError>;
}

/// A diagonal normal posterior over the latent space, image by image.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// Latent dimensions of an image.
    pub dimensions: usize,
    /// Means, `[n, dimensions]`.
    pub mean: Vec<f32>,
    /// Logarithms of the variances, `[n, dimensions]`, within [`LOG_VARIANCE_RANGE`].
    pub log_variance: Vec<f32>,
}

impl Posterior {
    /// Kullback-Leibler divergence from the standard normal prior, in nats, `[n]`:
    /// `1/2 sum(mean^2 + variance - log variance - 1)`.
    #[must_use]
    pub fn divergence(&self) -> Vec<f32> {
        let size = self.dimensions.max(1);
        let pairs = self.mean.chunks(size).zip(self.log_variance.chunks(size));
        let sum = |(means, variances): (&[f32], &[f32])| {
            means.iter().zip(variances).map(|(&m, &v)| dimension_divergence(m, v)).sum::<f64>() as f32
        };
        pairs.map(sum).collect()
    }
}

/// A model that reconstructs the normal version of an image.
///
/// # Obligations
/// The result has the shape of the images, each row depends on its own image only, and the same
/// images give the same result.
pub trait Reconstructor: Send + Sync {
    /// Shape of the model's input images.
    fn image_shape(&self) -> Shape;

    /// The expected normal images of `images`, `[n, c, h, w]`.
    ///
    /// # Errors
    /// For images that do not fit the model, and if the device fails.
    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError>;
}

/// A variational autoencoder of images `[n, c, h, w]`.
///
/// Your own model implements this trait with plain slices, as below. A model written with candle implements
/// `CandleModel` (feature `candle`) and gets its gradients by automatic differentiation.
/// Two declared networks form a [`NetworkVae`](crate::NetworkVae).
///
/// # Obligations
/// Each row depends on its own image only, and the same images give the same result.
/// [`Reconstructor::reconstruct`] gives the result of [`decode`](Self::decode) for the posterior's mean, so that
/// predictors may use either.
///
/// ```
/// use lesio_nn::{ImageBatch, Shape};
/// use lesio_vae::{ImageGradients, ModelError, Posterior, Reconstructor, VariationalModel, RequestedGradients};
///
/// /// A model of pixels near 1: the latent sample is the image, the expected image is its half.
/// struct Half;
///
/// impl Reconstructor for Half {
///     fn image_shape(&self) -> Shape {
///         Shape::new(1, 2, 2)
///     }
///
///     fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
///         self.decode(images.values())
///     }
/// }
///
/// impl VariationalModel for Half {
///     fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError> {
///         let mean = images.values().to_vec();
///         Ok(Posterior { dimensions: 4, log_variance: vec![0.0; mean.len()], mean })
///     }
///
///     fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError> {
///         Ok(latent.iter().map(|z| 0.5 * z).collect())
///     }
///
///     fn gradients(&self, images: ImageBatch<'_>, requested: RequestedGradients) -> Result<ImageGradients, ModelError> {
///         let x = images.values();
///         Ok(ImageGradients {
///             mean: self.decode(x)?,
///             // -log p = (x - x / 2)^2 / 2, KL = sum x^2 / 2.
///             loss: x.iter().map(|x| 0.125 * x * x).collect(),
///             divergence: self.encode(images)?.divergence(),
///             by_divergence: requested.divergence.then(|| x.to_vec()),
///             by_reconstruction: requested.reconstruction.then(|| x.iter().map(|x| 0.25 * x).collect()),
///         })
///     }
/// }
///
/// let found = Half.gradients(ImageBatch::new(&[0.8; 4], Half.image_shape())?, RequestedGradients::BOTH)?;
/// assert_eq!(found.by_reconstruction.unwrap()[0], 0.2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait VariationalModel: Reconstructor {
    /// The posterior of each image.
    ///
    /// # Errors
    /// For images that do not fit the model, and if the device fails.
    fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError>;

    /// The expected images `[n, c, h, w]` of latent samples, which have the shape of [`Posterior::mean`].
    ///
    /// # Errors
    /// For latent samples that do not fit the model, and if the device fails.
    fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError>;

    /// The weight of the divergence in the bound with which the model was trained. Default 1.
    fn beta(&self) -> f64 {
        1.0
    }

    /// One pass at the posterior's mean: terms of the bound, and the gradients that are `requested`.
    ///
    /// # Errors
    /// For images that do not fit the model, and if the device fails.
    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError>;
}

/// The gradients with respect to the image that a pass should compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestedGradients {
    /// That of the divergence.
    pub divergence: bool,
    /// That of the reconstruction term `-log p(x | z)`.
    pub reconstruction: bool,
}

impl RequestedGradients {
    /// No gradients: the terms alone.
    pub const NOTHING: Self = Self { divergence: false, reconstruction: false };
    /// The divergence's.
    pub const DIVERGENCE: Self = Self { divergence: true, reconstruction: false };
    /// The reconstruction term's.
    pub const RECONSTRUCTION: Self = Self { divergence: false, reconstruction: true };
    /// Both, from which that of the bound follows.
    pub const BOTH: Self = Self { divergence: true, reconstruction: true };

    /// The union of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            divergence: self.divergence || other.divergence,
            reconstruction: self.reconstruction || other.reconstruction,
        }
    }

    /// Whether this includes everything that `other` requests.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.union(other) == self
    }
}

/// Terms of the bound at the posterior's mean, and gradients with respect to the image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageGradients {
    /// The expected image, `[n, c, h, w]`.
    pub mean: Vec<f32>,
    /// `-log p(x | z)` of each pixel, in nats, `[n, c, h, w]`.
    pub loss: Vec<f32>,
    /// The divergence of each image, in nats, `[n]`.
    pub divergence: Vec<f32>,
    /// Gradient of the divergence, `[n, c, h, w]`, where it was requested.
    pub by_divergence: Option<Vec<f32>>,
    /// Gradient of the sum of `loss`, `[n, c, h, w]`, through encoder and decoder, where it was requested.
    pub by_reconstruction: Option<Vec<f32>>,
}

impl ImageGradients {
    /// The result for a batch without images.
    #[must_use]
    pub fn of_nothing(requested: RequestedGradients) -> Self {
        Self {
            by_divergence: requested.divergence.then(Vec::new),
            by_reconstruction: requested.reconstruction.then(Vec::new),
            ..Self::default()
        }
    }

    /// Returns an error for results of wrong length and for missing gradients: a model may be user-defined.
    ///
    /// # Errors
    /// [`ModelError::Length`] and [`ModelError::Missing`].
    pub fn check(&self, images: ImageBatch<'_>, requested: RequestedGradients) -> Result<(), ModelError> {
        let size = images.values().len();
        ModelError::check_length("the mean", self.mean.len(), size)?;
        ModelError::check_length("the loss", self.loss.len(), size)?;
        ModelError::check_length("the divergence", self.divergence.len(), images.len())?;
        for (what, is_wanted, gradient) in [
            ("the divergence's gradient", requested.divergence, &self.by_divergence),
            ("the reconstruction's gradient", requested.reconstruction, &self.by_reconstruction),
        ] {
            match gradient {
                Some(gradient) => ModelError::check_length(what, gradient.len(), size)?,
                None if is_wanted => return Err(ModelError::Missing { what }),
                None => {}
            }
        }
        Ok(())
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

/// Shows a model by its trait alone, so that what holds one can derive `Debug`.
macro_rules! debug_as_trait {
    ($($model:ident),+) => {
        $(
            impl fmt::Debug for dyn $model {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(stringify!($model))
                }
            }
        )+
    };
}

debug_as_trait!(Reconstructor, SegmentationModel, VariationalModel);

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    /// KL(q | p) is the mean of log q(z) - log p(z) over draws of q.
    #[test]
    fn divergence_is_its_monte_carlo_estimate() {
        let means = [0.0f32, 1.3, -0.4, 2.0, 0.1, 0.0];
        let log_variances = [0.0f32, -1.2, 0.9, -3.0, 0.0, 1.5];
        let posterior =
            Posterior { dimensions: 3, mean: means.to_vec(), log_variance: log_variances.to_vec() };
        let found = posterior.divergence();
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
        let posterior = Posterior { dimensions: 5, mean: vec![0.0; 10], log_variance: vec![0.0; 10] };
        assert_eq!(posterior.divergence(), [0.0, 0.0]);
    }
}
