//! What a VAE is made of.

use lesio_nn::{Activation, Precision, Shape};
use serde::{Deserialize, Serialize};

use crate::likelihood::Likelihood;

/// Configuration of a [`Vae`](crate::Vae).
///
/// ```
/// use lesio_vae::{Latent, Likelihood, VaeConfig};
///
/// let config = VaeConfig::new(1, 128, 128)
///     .latent(Latent::Dense { dimensions: 64 })
///     .likelihood(Likelihood::Laplace { scale: 0.1 });
/// assert_eq!(config.widths, [32, 64, 128, 256]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VaeConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Rows of an image; divisible by 2 for each width.
    pub height: usize,
    /// Columns of an image; divisible by 2 for each width.
    pub width: usize,
    /// Channels after each halving of the image. Default 32, 64, 128, 256.
    pub widths: Vec<usize>,
    /// The latent space. Default dense with 128 dimensions.
    pub latent: Latent,
    /// The distribution of pixels. Default Gaussian with standard deviation .1.
    pub likelihood: Likelihood,
    /// Normalization after each convolution. Default none: in a VAE of four halvings it trains well
    /// without, and the KL gradient is not scaled by the statistics of the image.
    pub normalization: Normalization,
    /// The function after each convolution. Default leaky ReLU of slope .2.
    pub activation: Activation,
    /// In what numbers the CPU's engine multiplies, in training and in scoring. Default single: bfloat16 is faster where
    /// the processor has it, and rounds what predictors compare.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The latent space of a VAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Latent {
    /// A vector: the image is known as a whole, and little of an anomaly can pass.
    Dense {
        /// Its number of dimensions.
        dimensions: usize,
    },
    /// An image of latent channels at the coarsest resolution: details come back better, anomalies too.
    Spatial {
        /// Its number of channels.
        channels: usize,
    },
}

/// Normalization after a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Normalization {
    /// None.
    #[default]
    None,
    /// Each sample by itself, in groups of up to 8 channels each.
    Group,
    /// Over the batch in training; by running statistics else.
    Batch,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting is out of range.
    #[error("{0}")]
    Range(String),
    /// The image cannot be halved so often.
    #[error("an image of {height} rows and {width} columns cannot be halved {halvings} times without rest")]
    Size {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Number of halvings.
        halvings: usize,
    },
    /// The network cannot be declared.
    #[error(transparent)]
    Network(#[from] lesio_nn::NetworkError),
}

/// Largest number of channels, rows or columns: products of a few of them stay within 64 bits, whatever
/// a file says.
const LARGEST_SIZE: usize = 1 << 16;

/// Refuses sizes that no image or network has.
pub(crate) fn check_sizes(sizes: &[usize], widths: &[usize]) -> Result<(), ConfigError> {
    match sizes.iter().chain(widths).find(|&&size| size > LARGEST_SIZE) {
        Some(size) => {
            Err(ConfigError::Range(format!("a size or width is {size}, expected at most {LARGEST_SIZE}")))
        }
        None => Ok(()),
    }
}

impl VaeConfig {
    /// A VAE of images of this size, with defaults else.
    #[must_use]
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
            widths: vec![32, 64, 128, 256],
            latent: Latent::Dense { dimensions: 128 },
            likelihood: Likelihood::default(),
            normalization: Normalization::None,
            activation: Activation::LeakyRelu { slope: 0.2 },
            precision: Precision::Single,
        }
    }

    /// With other channels after each halving.
    #[must_use]
    pub fn widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = widths.into();
        self
    }

    /// With another latent space.
    #[must_use]
    pub fn latent(mut self, latent: Latent) -> Self {
        self.latent = latent;
        self
    }

    /// With another distribution of pixels.
    #[must_use]
    pub fn likelihood(mut self, likelihood: Likelihood) -> Self {
        self.likelihood = likelihood;
        self
    }

    /// With another normalization.
    #[must_use]
    pub fn normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// With another activation.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// With another precision.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        Shape::new(self.channels, self.height, self.width)
    }

    /// Shape of a latent sample.
    #[must_use]
    pub fn latent_shape(&self) -> Shape {
        match self.latent {
            Latent::Dense { dimensions } => Shape::vector(dimensions),
            Latent::Spatial { channels } => {
                let coarse = self.coarsest();
                Shape::new(channels, coarse.height, coarse.width)
            }
        }
    }

    /// Shape after the last halving.
    pub(crate) fn coarsest(&self) -> Shape {
        let divisor = 1usize.checked_shl(self.widths.len() as u32).unwrap_or(0).max(1);
        let channels = self.widths.last().copied().unwrap_or(self.channels);
        Shape::new(channels, self.height / divisor, self.width / divisor)
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |text: String| Err(ConfigError::Range(text));
        let latent = match self.latent {
            Latent::Dense { dimensions } => dimensions,
            Latent::Spatial { channels } => channels,
        };
        check_sizes(&[self.channels, self.height, self.width, latent], &self.widths)?;
        if self.channels == 0 {
            return range("channels is 0, expected at least 1".into());
        }
        if self.widths.is_empty() || self.widths.contains(&0) {
            return range(format!("widths are {:?}, expected at least one, all positive", self.widths));
        }
        let halvings = self.widths.len();
        let coarse = self.coarsest();
        let whole =
            |coarse: usize, size: usize| coarse > 0 && coarse.checked_shl(halvings as u32) == Some(size);
        if !(whole(coarse.height, self.height) && whole(coarse.width, self.width)) {
            return Err(ConfigError::Size { height: self.height, width: self.width, halvings });
        }
        if self.latent_shape().is_empty() {
            return range("the latent space has no dimension".into());
        }
        match self.likelihood.fault() {
            Some(fault) => range(fault),
            None => Ok(()),
        }
    }
}
