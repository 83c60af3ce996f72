//! Passes of a VAE on the CPU's own engine.

use candle_core::{Device, Result, Tensor};
use lesio_nn::{Differentiate, Inference, Network, ParameterSet, PlanError};

use crate::config::VaeConfig;
use crate::model::{Gradients, Wanted, clamp_log_variance, dimension_divergence};

/// Encoder and decoder with fixed parameters.
#[derive(Debug)]
pub(crate) struct FastVae {
    config: VaeConfig,
    encoder: Inference,
    decoder: Inference,
}

/// What a pass gives, in the layouts of [`Gradients`].
struct Passed {
    mean: Vec<f32>,
    loss: Vec<f32>,
    divergence: Vec<f32>,
    by_divergence: Option<Vec<f32>>,
    by_reconstruction: Option<Vec<f32>>,
}

impl FastVae {
    pub(crate) fn new(
        config: &VaeConfig,
        encoder: &Network,
        decoder: &Network,
        parameters: &ParameterSet,
    ) -> std::result::Result<Self, PlanError> {
        Ok(Self {
            config: config.clone(),
            encoder: Inference::new(encoder, parameters, Differentiate::Inputs)?,
            decoder: Inference::new(decoder, parameters, Differentiate::Inputs)?,
        })
    }

    /// [`VariationalModel::gradients`](crate::VariationalModel::gradients) without automatic differentiation.
    pub(crate) fn gradients(&self, images: &Tensor, wanted: Wanted) -> Result<Gradients> {
        let shape = self.config.image_shape();
        let (samples, channels, height, width) = images.dims4()?;
        if (channels, height, width) != (shape.channels, shape.height, shape.width) {
            candle_core::bail!("images have shape {:?}, expected [n, {shape}]", images.shape());
        }
        if samples == 0 {
            return Gradients::of_nothing(images, wanted);
        }
        let values: Vec<f32> = images.flatten_all()?.to_vec1()?;
        let passed = self.pass(&values, samples, wanted).map_err(candle_core::Error::wrap)?;
        let image = |values: Vec<f32>| Tensor::from_vec(values, images.shape(), &Device::Cpu);
        Ok(Gradients {
            mean: image(passed.mean)?,
            loss: image(passed.loss)?,
            divergence: Tensor::from_vec(passed.divergence, samples, &Device::Cpu)?,
            by_divergence: passed.by_divergence.map(image).transpose()?,
            by_reconstruction: passed.by_reconstruction.map(image).transpose()?,
        })
    }

    fn pass(&self, images: &[f32], samples: usize, wanted: Wanted) -> std::result::Result<Passed, PlanError> {
        let likelihood = self.config.likelihood;
        let dimensions = self.config.latent_shape().len();
        let size = self.config.image_shape().len();
        self.encoder.run(&[images], samples, |encoder, weights| {
            let mean = encoder.output(0).to_vec();
            let log_variance = encoder.output(1).to_vec();
            let divergence = (0..samples)
                .map(|sample| {
                    let own = sample * dimensions..(sample + 1) * dimensions;
                    own.map(|k| dimension_divergence(mean[k], clamp_log_variance(log_variance[k])))
                        .sum::<f64>() as f32
                })
                .collect();
            let by_divergence = if wanted.divergence {
                let slope = |&l: &f32| if clamp_log_variance(l) == l { 0.5 * (l.exp() - 1.0) } else { 0.0 };
                let by_log_variance: Vec<f32> = log_variance.iter().map(slope).collect();
                encoder.backward(weights, &[&mean, &by_log_variance], None)?;
                Some(encoder.input_gradient(0).to_vec())
            } else {
                None
            };
            let (expected, loss, by_latent, by_pixel) =
                self.decoder.run(&[&mean], samples, |decoder, weights| {
                    let outputs = decoder.output(0);
                    let mut by_output = vec![0.0; if wanted.reconstruction { outputs.len() } else { 0 }];
                    let mut by_pixel = vec![0.0; by_output.len().min(images.len())];
                    let (mut expected, mut loss) = (vec![0.0; images.len()], vec![0.0; images.len()]);
                    let stride = size * likelihood.outputs();
                    for (k, &x) in images.iter().enumerate() {
                        let at = k / size * stride + k % size;
                        let log_scale = if stride > size { outputs[at + size] } else { 0.0 };
                        let term = likelihood.term(x, outputs[at], log_scale);
                        expected[k] = likelihood.mean(outputs[at]);
                        loss[k] = term.loss;
                        if wanted.reconstruction {
                            by_pixel[k] = term.by_pixel;
                            by_output[at] = term.by_output;
                            if stride > size {
                                by_output[at + size] = term.by_log_scale;
                            }
                        }
                    }
                    let by_latent = if wanted.reconstruction {
                        decoder.backward(weights, &[&by_output], None)?;
                        decoder.input_gradient(0).to_vec()
                    } else {
                        Vec::new()
                    };
                    Ok::<_, PlanError>((expected, loss, by_latent, by_pixel))
                })?;
            let by_reconstruction = if wanted.reconstruction {
                let still = vec![0.0; log_variance.len()];
                encoder.backward(weights, &[&by_latent, &still], None)?;
                let through = encoder.input_gradient(0);
                Some(through.iter().zip(&by_pixel).map(|(through, direct)| through + direct).collect())
            } else {
                None
            };
            Ok(Passed { mean: expected, loss, divergence, by_divergence, by_reconstruction })
        })
    }
}
