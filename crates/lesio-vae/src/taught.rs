//! The parts shared by networks trained with synthetic anomalies.

use lesio_nn::{ImageBatch, Network, Shape};
use lesio_settings::setters;
use serde::{Deserialize, Serialize};

use crate::augmentation::{Flip, Mirror};
use crate::config::ConfigError;
use crate::denoiser::DenoiserConfig;
use crate::model::ModelError;
use crate::synthetic::SyntheticAnomalies;

/// Configuration of a [`Restorer`](crate::Restorer) or of an [`AnomalySegmenter`](crate::AnomalySegmenter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct TaughtConfig {
    /// The U-Net.
    pub network: DenoiserConfig,
    /// The synthetic anomalies of its training: it detects similar ones.
    pub anomalies: SyntheticAnomalies,
    /// Whether outputs are averaged over the image and its mirror images, each of which costs a pass: one left to right,
    /// three for both directions. Default never; useful if training images are mirrored, too.
    #[serde(default)]
    pub test_time_mirror: Mirror,
}

setters!(TaughtConfig { test_time_mirror: Mirror });

impl TaughtConfig {
    /// This network, to be trained with these anomalies.
    #[must_use]
    pub fn new(network: DenoiserConfig, anomalies: SyntheticAnomalies) -> Self {
        Self { network, anomalies, test_time_mirror: Mirror::Never }
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        self.network.image_shape()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] as [`DenoiserConfig::validate`] and [`SyntheticAnomalies::validate`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.network.validate()?;
        Ok(self.anomalies.validate().map_err(|error| error.within("anomalies"))?)
    }

    /// The network of a restorer: image to image.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn restorer(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.network()
    }

    /// The network of a segmenter: image to the logit of being abnormal, followed by the restored image.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn segmenter(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.u_net(1 + self.network.channels)
    }

    /// The output of `pass` for images, averaged with those for the mirror images if requested. The output has planes of
    /// the size of an image.
    pub(crate) fn averaged(
        &self,
        images: ImageBatch<'_>,
        pass: impl Fn(ImageBatch<'_>) -> Result<Vec<f32>, ModelError>,
    ) -> Result<Vec<f32>, ModelError> {
        let mut outputs = pass(images)?;
        let flips = self.test_time_mirror.flips();
        if images.is_empty() || flips.is_empty() {
            return Ok(outputs);
        }
        let shape = self.image_shape();
        let flipped = |values: &mut [f32], flip: Flip| {
            values.chunks_exact_mut(shape.pixels()).for_each(|plane| flip.apply(plane, shape.width));
        };
        for &flip in flips {
            let mut values = images.values().to_vec();
            flipped(&mut values, flip);
            let mut others = pass(ImageBatch::new(&values, shape)?)?;
            flipped(&mut others, flip);
            outputs.iter_mut().zip(&others).for_each(|(own, other)| *own += other);
        }
        let share = 1.0 / (1 + flips.len()) as f32;
        outputs.iter_mut().for_each(|value| *value *= share);
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_mirror_images_are_averaged() {
        // Two channels of 4 x 2; the pass adds a ramp that no mirror image shares.
        let mut network = DenoiserConfig::new(2, 4, 2);
        network.widths = vec![4];
        let of = |mirror| {
            let anomalies = SyntheticAnomalies::natural();
            let config = TaughtConfig::new(network.clone(), anomalies).test_time_mirror(mirror);
            let values: Vec<f32> = (0..16).map(|value| (value * value) as f32).collect();
            let images = ImageBatch::new(&values, config.image_shape()).unwrap();
            let add = |images: ImageBatch<'_>| {
                let values = images.values().iter().enumerate();
                Ok(values.map(|(place, value)| value + (place % 8) as f32).collect())
            };
            let outputs = config.averaged(images, add).unwrap();
            outputs.iter().zip(&values).map(|(output, value)| output - value).collect::<Vec<f32>>()
        };
        assert_eq!(of(Mirror::Never)[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // The mean over each row, and over the whole plane, in which every pixel has every place of its orbit.
        assert_eq!(of(Mirror::LeftRight)[..8], [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5]);
        assert_eq!(of(Mirror::Both), [3.5; 16]);
    }
}
