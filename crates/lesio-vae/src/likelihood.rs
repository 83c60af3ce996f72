//! The likelihood of a pixel given the decoder's output.

use lesio_settings::{SettingError, in_range};
use serde::{Deserialize, Serialize};

/// The distribution of a pixel `x` given the decoder's output.
///
/// Values of `-log p` are in nats and include the distribution's constant, so likelihoods of
/// different scale are comparable (and may be negative, since they are densities).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Likelihood {
    /// Normal around the decoder's output with this standard deviation:
    /// `-log p = (x - y)^2 / (2 s^2) + log s + log(2 pi) / 2`.
    Gaussian {
        /// The standard deviation, 1e-6 to 1e6.
        scale: f64,
    },
    /// Normal with a standard deviation that the decoder gives for each pixel as a second set of
    /// channels, `s = exp(l)`, `l` clamped to [`LOG_SCALE_RANGE`].
    GaussianLearned,
    /// Laplace around the decoder's output: `-log p = |x - y| / b + log(2 b)`.
    Laplace {
        /// The scale `b`, 1e-6 to 1e6.
        scale: f64,
    },
    /// Bernoulli with the decoder's output as logit, for `x` in [0, 1]:
    /// `-log p = log(1 + exp(l)) - x l`.
    Bernoulli,
}

/// Range to which a learned log-scale is clamped: standard deviations from .0025 to 20, so that one
/// pixel's certainty cannot outweigh an image.
pub const LOG_SCALE_RANGE: [f32; 2] = [-6.0, 3.0];

const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_8;

impl Default for Likelihood {
    /// Gaussian with a standard deviation of .1: about the error that a small VAE leaves on images
    /// scaled to [0, 1]. A deviation of 1 would let the KL term win, and the posterior collapse.
    fn default() -> Self {
        Self::Gaussian { scale: 0.1 }
    }
}

/// The likelihood of one pixel and its derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PixelTerm {
    /// `-log p`.
    pub(crate) loss: f32,
    /// Its derivative by the decoder's first output (mean or logit).
    pub(crate) by_output: f32,
    /// Its derivative by the decoder's log-scale, 0 if there is none.
    pub(crate) by_log_scale: f32,
    /// Its derivative by the pixel.
    pub(crate) by_pixel: f32,
}

impl Likelihood {
    /// Checks the scale.
    ///
    /// # Errors
    /// [`SettingError`] for one outside 1e-6 to 1e6.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Gaussian { scale } | Self::Laplace { scale } => in_range("scale", scale, 1e-6..=1e6),
            Self::GaussianLearned | Self::Bernoulli => Ok(()),
        }
    }

    /// Decoder channels for each image channel.
    #[must_use]
    pub fn outputs(&self) -> usize {
        if matches!(self, Self::GaussianLearned) { 2 } else { 1 }
    }

    /// `-log p` of one pixel and its derivatives.
    pub(crate) fn term(&self, x: f32, output: f32, log_scale: f32) -> PixelTerm {
        match *self {
            Self::Gaussian { scale } => {
                let precision = (1.0 / (scale * scale)) as f32;
                let constant = (scale.ln() + HALF_LOG_TWO_PI) as f32;
                let d = x - output;
                PixelTerm {
                    loss: 0.5 * precision * d * d + constant,
                    by_output: -precision * d,
                    by_log_scale: 0.0,
                    by_pixel: precision * d,
                }
            }
            Self::GaussianLearned => {
                let clamped = log_scale.clamp(LOG_SCALE_RANGE[0], LOG_SCALE_RANGE[1]);
                let inside = clamped == log_scale;
                let precision = (-2.0 * clamped).exp();
                let d = x - output;
                let square = precision * d * d;
                PixelTerm {
                    loss: 0.5 * square + clamped + HALF_LOG_TWO_PI as f32,
                    by_output: -precision * d,
                    by_log_scale: if inside { 1.0 - square } else { 0.0 },
                    by_pixel: precision * d,
                }
            }
            Self::Laplace { scale } => {
                let d = x - output;
                let inverse = (1.0 / scale) as f32;
                // The subgradient at 0 is 0.
                let sign = if d > 0.0 {
                    inverse
                } else if d < 0.0 {
                    -inverse
                } else {
                    0.0 * d
                };
                PixelTerm {
                    loss: d.abs() * inverse + (2.0 * scale).ln() as f32,
                    by_output: -sign,
                    by_log_scale: 0.0,
                    by_pixel: sign,
                }
            }
            Self::Bernoulli => {
                let softplus = output.max(0.0) + (-output.abs()).exp().ln_1p();
                PixelTerm {
                    loss: softplus - x * output,
                    by_output: sigmoid(output) - x,
                    by_log_scale: 0.0,
                    by_pixel: -output,
                }
            }
        }
    }

    /// The expected pixel for a decoder output.
    pub(crate) fn mean(&self, output: f32) -> f32 {
        if matches!(self, Self::Bernoulli) { sigmoid(output) } else { output }
    }
}

fn sigmoid(x: f32) -> f32 {
    0.5 * ((0.5 * x).tanh() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Likelihood; 4] = [
        Likelihood::Gaussian { scale: 0.3 },
        Likelihood::GaussianLearned,
        Likelihood::Laplace { scale: 0.2 },
        Likelihood::Bernoulli,
    ];

    #[test]
    fn densities_integrate_to_one() {
        for likelihood in [ALL[0], ALL[1], ALL[2]] {
            let step = 1e-3;
            let mass: f64 = (-8000..8000)
                .map(|k| f64::from(-likelihood.term(k as f32 * step as f32, 0.2, -0.5).loss).exp() * step)
                .sum();
            assert!((mass - 1.0).abs() < 1e-3, "{likelihood:?}: {mass}");
        }
        let bernoulli = |x| f64::from(-Likelihood::Bernoulli.term(x, 0.7, 0.0).loss).exp();
        assert!((bernoulli(0.0) + bernoulli(1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn extreme_logits_are_finite() {
        for output in [-1e4, 1e4] {
            let term = Likelihood::Bernoulli.term(0.5, output, 0.0);
            assert!(term.loss.is_finite() && term.by_output.is_finite());
        }
    }
}
