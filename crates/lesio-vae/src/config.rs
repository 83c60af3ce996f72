//! The configuration of a VAE.

use lesio_nn::{Activation, Precision, SettingError, Shape};
use lesio_settings::{field_defaults, in_range, require, setters};
use serde::{Deserialize, Serialize};

use crate::likelihood::Likelihood;

/// Configuration of a [`Vae`](crate::Vae).
///
/// In addition to the ranges of its fields, its networks must not exceed [`lesio_nn::LARGEST_PARAMETERS`] and
/// [`lesio_nn::LARGEST_VALUES`].
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
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Channels of an image, 1 to 1024.
    pub channels: usize,
    /// Rows of an image, up to 4096; divisible by 2 for each width.
    pub height: usize,
    /// Columns of an image, up to 4096; divisible by 2 for each width.
    pub width: usize,
    /// Channels after each halving of the image, 1 to 65536 each, at most 13 of them. Default 32, 64, 128, 256.
    #[serde(default = "VaeDefaults::widths")]
    pub widths: Vec<usize>,
    /// The latent space. Default dense with 128 dimensions.
    #[serde(default = "VaeDefaults::latent")]
    pub latent: Latent,
    /// The distribution of pixels. Default Gaussian with standard deviation .1.
    #[serde(default = "VaeDefaults::likelihood")]
    pub likelihood: Likelihood,
    /// Normalization after each convolution. Default none: a VAE of four halvings trains well without it, and the KL
    /// gradient is then not scaled by the statistics of the image.
    #[serde(default = "VaeDefaults::normalization")]
    pub normalization: Normalization,
    /// The function after each convolution. Default leaky ReLU of slope .2.
    #[serde(default = "VaeDefaults::activation")]
    pub activation: Activation,
    /// The number format of the CPU engine in training and scoring. Default single: bfloat16 is faster on processors
    /// that support it, but it rounds the values that predictors compare.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The latent space of a VAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Latent {
    /// A vector: it describes the image as a whole, and reconstructions contain little of an anomaly.
    Dense {
        /// Its number of dimensions, 1 to 65536.
        dimensions: usize,
    },
    /// An image of latent channels at the coarsest resolution: it reconstructs details better, but also anomalies.
    Spatial {
        /// Its number of channels, 1 to 65536.
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
    /// Each sample separately, in groups of up to 8 channels.
    Group,
    /// Over the batch in training; by running statistics otherwise.
    Batch,
}

/// Why a configuration is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The image cannot be halved that many times.
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

/// Most channels of an image.
const LARGEST_CHANNELS: usize = 1024;

/// Most rows and columns of an image: those of a grid in lesio-image.
const LARGEST_SIDE: usize = 4096;

/// Most channels of a layer, and latent dimensions.
const LARGEST_WIDTH: usize = 1 << 16;

/// Most resolutions: an image of [`LARGEST_SIDE`] cannot be halved more than 12 times.
const LARGEST_DEPTH: usize = 13;

/// Returns an error for sizes out of range, and for images that cannot be halved that many times.
pub(crate) fn check_sizes(image: Shape, widths: &[usize], halvings: usize) -> Result<(), ConfigError> {
    let Shape { channels, height, width } = image;
    in_range("channels", channels, 1..=LARGEST_CHANNELS)?;
    in_range("height", height, 1..=LARGEST_SIDE)?;
    in_range("width", width, 1..=LARGEST_SIDE)?;
    in_range("number of widths", widths.len(), 1..=LARGEST_DEPTH)?;
    let sound = widths.iter().all(|width| (1..=LARGEST_WIDTH).contains(width));
    require(sound, "widths", widths, format!("1 to {LARGEST_WIDTH} channels each"))?;
    let whole = |size: usize| size.is_multiple_of(1 << halvings);
    if whole(height) && whole(width) { Ok(()) } else { Err(ConfigError::Size { height, width, halvings }) }
}

impl VaeConfig {
    /// A VAE of images of this size, with default settings.
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

    /// Sets the channels after each halving.
    #[must_use]
    pub fn widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = widths.into();
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

    /// Checks every setting. The size of the networks is checked when they are declared, by
    /// [`networks`](crate::networks).
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for a number out of the range stated with its field, [`ConfigError::Size`] for an image
    /// that cannot be halved once for each width.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_sizes(self.image_shape(), &self.widths, self.widths.len())?;
        match self.latent {
            Latent::Dense { dimensions } => {
                in_range("latent.dense.dimensions", dimensions, 1..=LARGEST_WIDTH)?
            }
            Latent::Spatial { channels } => in_range("latent.spatial.channels", channels, 1..=LARGEST_WIDTH)?,
        }
        self.likelihood.validate().map_err(|error| error.within("likelihood"))?;
        check_activation(self.activation)?;
        Ok(())
    }
}

setters!(VaeConfig {
    latent: Latent,
    likelihood: Likelihood,
    normalization: Normalization,
    activation: Activation,
    precision: Precision,
});

field_defaults!(VaeDefaults: VaeConfig::new(1, 16, 16) => {
    widths: Vec<usize>,
    latent: Latent,
    likelihood: Likelihood,
    normalization: Normalization,
    activation: Activation,
});

/// Returns an error for a slope out of range.
pub(crate) fn check_activation(activation: Activation) -> Result<(), SettingError> {
    match activation {
        Activation::LeakyRelu { slope } => {
            require((0.0..1.0).contains(&slope), "activation.leaky-relu.slope", slope, "0 to below 1")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Likelihood, initial_parameters, networks};
    use lesio_nn::NetworkError;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let base = || VaeConfig::new(1, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
        let gaussian = |scale| base().likelihood(Likelihood::Gaussian { scale });
        let slope = |slope| base().activation(Activation::LeakyRelu { slope });
        let cases = [
            ("channels", VaeConfig { channels: 0, ..base() }),
            ("channels", VaeConfig { channels: usize::MAX, ..base() }),
            ("height", VaeConfig { height: 0, ..base() }),
            ("height", VaeConfig { height: 1 << 40, ..base() }),
            ("width", VaeConfig { width: usize::MAX, ..base() }),
            ("number of widths", base().widths([])),
            ("number of widths", base().widths([1; 64])),
            ("widths", base().widths([4, 0])),
            ("widths", base().widths([4, usize::MAX])),
            ("latent.dense.dimensions", base().latent(Latent::Dense { dimensions: 0 })),
            ("latent.dense.dimensions", base().latent(Latent::Dense { dimensions: usize::MAX })),
            ("latent.spatial.channels", base().latent(Latent::Spatial { channels: 0 })),
            ("latent.spatial.channels", base().latent(Latent::Spatial { channels: 1 << 17 })),
            ("likelihood.scale", gaussian(0.0)),
            ("likelihood.scale", gaussian(-1.0)),
            ("likelihood.scale", gaussian(f64::NAN)),
            ("likelihood.scale", gaussian(1e18)),
            ("likelihood.scale", base().likelihood(Likelihood::Laplace { scale: f64::INFINITY })),
            ("activation.leaky-relu.slope", slope(f32::NAN)),
            ("activation.leaky-relu.slope", slope(1.0)),
            ("activation.leaky-relu.slope", slope(-0.1)),
        ];
        for (setting, config) in cases {
            let error = networks(&config).map(|_| ()).unwrap_err();
            assert!(
                matches!(&error, ConfigError::Setting(error) if error.setting == setting),
                "{setting}: {error}"
            );
        }
        assert!(matches!(networks(&base().widths([4; 7])), Err(ConfigError::Size { halvings: 7, .. })));
    }

    #[test]
    fn documents_need_the_size_of_an_image_and_hold_nothing_unknown() {
        let read = |text: &str| serde_json::from_str::<VaeConfig>(text);
        let found = read(r#"{"channels":1,"height":32,"width":16}"#).unwrap();
        assert_eq!(found, VaeConfig::new(1, 32, 16));
        let found = read(r#"{"channels":1,"height":32,"width":16,"likelihood":"bernoulli"}"#).unwrap();
        assert_eq!(found, VaeConfig::new(1, 32, 16).likelihood(Likelihood::Bernoulli));
        assert!(read(r#"{"channels":1,"height":32}"#).is_err());
        for (name, field) in [
            ("normalisation", r#""normalisation":"group""#),
            ("variance", r#""likelihood":{"gaussian":{"scale":0.1,"variance":0.1}}"#),
            ("depth", r#""latent":{"dense":{"dimensions":4,"depth":2}}"#),
        ] {
            let error = read(&format!(r#"{{"channels":1,"height":32,"width":16,{field}}}"#)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("unknown field `{name}`")), "{name}: {error}");
        }
    }

    /// Each number alone is sound, and together no memory holds them: refused before anything is allocated.
    #[test]
    fn networks_that_no_memory_holds_are_refused() {
        for config in [
            VaeConfig::new(1, 64, 64).widths([65_536, 65_536]),
            VaeConfig::new(1, 128, 128).latent(Latent::Dense { dimensions: 65_536 }),
            VaeConfig::new(1, 4096, 4096).widths([256]).latent(Latent::Spatial { channels: 1 }),
            VaeConfig::new(1024, 4096, 4096).widths([1; 12]).latent(Latent::Spatial { channels: 1 }),
        ] {
            let error = initial_parameters(&config, 1).unwrap_err();
            assert!(matches!(error, ConfigError::Network(NetworkError::Large { .. })), "{error}");
        }
    }
}
