//! A variational autoencoder of two declared networks.

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, ImageBatch, Inference, Network, ParameterSet, Shape,
};
use lesio_settings::in_range;

use crate::config::ConfigError;
use crate::error::BuildError;
use crate::likelihood::Likelihood;
use crate::model::{
    ImageGradients, ModelError, Posterior, Reconstructor, RequestedGradients, VariationalModel,
    clamp_log_variance, dimension_divergence,
};
use crate::training::LARGEST_WEIGHT;

/// A variational autoencoder of any two [`Network`]s with fixed parameters, on any device.
///
/// The encoder takes an image and gives mean and log-variance of the posterior, two outputs of one shape; the decoder
/// takes a latent sample of that shape and gives the parameters of the [`Likelihood`]. Gradients are exact, through
/// both networks. [`Vae`](crate::Vae) has networks that follow from a configuration.
///
/// ```
/// use lesio_nn::{Bias, Device, ImageBatch, Initialization, Layer, NetworkBuilder, ParameterSet, Shape};
/// use lesio_vae::{Likelihood, NetworkVae, VariationalModel, RequestedGradients};
///
/// let linear = |features| Layer::Linear { features, bias: Bias::Learned };
/// let mut net = NetworkBuilder::new();
/// let image = net.input("image", Shape::new(1, 4, 4));
/// let mean = net.layer("mean", linear(2), &[image])?;
/// let log_variance = net.layer("log_variance", linear(2), &[image])?;
/// let encoder = net.finish(&[mean, log_variance])?;
/// let mut net = NetworkBuilder::new();
/// let latent = net.input("latent", Shape::vector(2));
/// let flat = net.layer("out", linear(16), &[latent])?;
/// let pixels = net.layer("pixels", Layer::Reshape(Shape::new(1, 4, 4)), &[flat])?;
/// let decoder = net.finish(&[pixels])?;
///
/// let mut parameters = ParameterSet::initialize(&encoder, Initialization::UniformFanIn, 1);
/// parameters.extend(ParameterSet::initialize(&decoder, Initialization::UniformFanIn, 1));
/// let vae = NetworkVae::new(&encoder, &decoder, Likelihood::Bernoulli, 1.0, &parameters, &Device::Cpu)?;
/// let found = vae.gradients(ImageBatch::new(&[0.5; 16], Shape::new(1, 4, 4))?, RequestedGradients::BOTH)?;
/// assert_eq!(found.by_divergence.map(|gradient| gradient.len()), Some(16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NetworkVae {
    image: Shape,
    latent: Shape,
    likelihood: Likelihood,
    beta: f64,
    encoder: Inference,
    decoder: Inference,
}

impl NetworkVae {
    /// Makes a VAE of an encoder and a decoder with their parameters, which may be part of a larger set; `beta` is the
    /// weight of the divergence in its bound, 0 to 1e9.
    ///
    /// # Errors
    /// For networks whose inputs and outputs do not fit each other or the likelihood, for parameters that do not fit
    /// the networks, and if the device fails.
    pub fn new(
        encoder: &Network,
        decoder: &Network,
        likelihood: Likelihood,
        beta: f64,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        in_range("beta", beta, 0.0..=LARGEST_WEIGHT).map_err(ConfigError::from)?;
        likelihood.validate().map_err(ConfigError::from)?;
        let [image] = encoder.input_shapes()[..] else {
            return Err(unlike("the encoder must read one image"));
        };
        let [mean, log_variance] = encoder.output_shapes()[..] else {
            return Err(unlike("the encoder must give mean and log-variance"));
        };
        let [latent] = decoder.input_shapes()[..] else {
            return Err(unlike("the decoder must read one latent sample"));
        };
        let [output] = decoder.output_shapes()[..] else {
            return Err(unlike("the decoder must give one output"));
        };
        if mean != log_variance || mean.len() != latent.len() {
            let text = format!(
                "the encoder gives a mean of shape {mean} and a log-variance of {log_variance}, the decoder reads {latent}"
            );
            return Err(unlike(text));
        }
        let expected = Shape::new(image.channels * likelihood.outputs(), image.height, image.width);
        if output != expected {
            let text =
                format!("the decoder gives {output}, the likelihood of images {image} needs {expected}");
            return Err(unlike(text));
        }
        parameters.check(&[encoder, decoder])?;
        let made = |network| Inference::new(network, parameters, Differentiate::Inputs, device);
        let (encoder, decoder) = (made(encoder)?, made(decoder)?);
        Ok(Self { image, latent, likelihood, beta, encoder, decoder })
    }

    /// Shape of a latent sample.
    #[must_use]
    pub fn latent_shape(&self) -> Shape {
        self.latent
    }

    /// The distribution of pixels.
    #[must_use]
    pub fn likelihood(&self) -> Likelihood {
        self.likelihood
    }

    /// A copy of the parameters of encoder and decoder.
    ///
    /// # Errors
    /// If the device fails.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        let mut parameters = self.encoder.parameters()?;
        parameters.extend(self.decoder.parameters()?);
        Ok(parameters)
    }

    fn pass(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError> {
        let (samples, dimensions) = (images.len(), self.latent.len());
        let mut encoder = self.encoder.run(&[images.values()], samples)?;
        let mean = encoder.output(0).to_vec();
        let log_variance = encoder.output(1).to_vec();
        let divergence = (0..samples)
            .map(|sample| {
                let own = sample * dimensions..(sample + 1) * dimensions;
                own.map(|k| dimension_divergence(mean[k], clamp_log_variance(log_variance[k]))).sum::<f64>()
                    as f32
            })
            .collect();
        let by_divergence = if requested.divergence {
            let slope = |&l: &f32| if clamp_log_variance(l) == l { 0.5 * (l.exp() - 1.0) } else { 0.0 };
            let by_log_variance: Vec<f32> = log_variance.iter().map(slope).collect();
            encoder.backward(&[&mean, &by_log_variance])?;
            Some(encoder.input_gradient(0).to_vec())
        } else {
            None
        };
        let terms = self.terms(images, requested, &mut self.decoder.run(&[&mean], samples)?)?;
        let by_reconstruction = if requested.reconstruction {
            let still = vec![0.0; log_variance.len()];
            encoder.backward(&[&terms.by_latent, &still])?;
            let mut gradient = terms.by_pixel;
            gradient.iter_mut().zip(encoder.input_gradient(0)).for_each(|(own, through)| *own += through);
            Some(gradient)
        } else {
            None
        };
        Ok(ImageGradients {
            mean: terms.mean,
            loss: terms.loss,
            divergence,
            by_divergence,
            by_reconstruction,
        })
    }

    /// Evaluates the likelihood of images given the decoder's outputs.
    fn terms(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
        decoder: &mut dyn Engine,
    ) -> Result<Terms, ModelError> {
        let (values, size) = (images.values(), self.image.len());
        let stride = size * self.likelihood.outputs();
        let outputs = decoder.output(0);
        let mut by_output = vec![0.0; if requested.reconstruction { outputs.len() } else { 0 }];
        let mut by_pixel = vec![0.0; if requested.reconstruction { values.len() } else { 0 }];
        let (mut mean, mut loss) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        for (k, &x) in values.iter().enumerate() {
            let at = k / size * stride + k % size;
            let log_scale = if stride > size { outputs[at + size] } else { 0.0 };
            let term = self.likelihood.term(x, outputs[at], log_scale);
            mean[k] = self.likelihood.mean(outputs[at]);
            loss[k] = term.loss;
            if requested.reconstruction {
                by_pixel[k] = term.by_pixel;
                by_output[at] = term.by_output;
                if stride > size {
                    by_output[at + size] = term.by_log_scale;
                }
            }
        }
        let by_latent = if requested.reconstruction {
            decoder.backward(&[&by_output])?;
            decoder.input_gradient(0).to_vec()
        } else {
            Vec::new()
        };
        Ok(Terms { mean, loss, by_latent, by_pixel })
    }
}

/// The reconstruction term of a batch.
struct Terms {
    mean: Vec<f32>,
    loss: Vec<f32>,
    by_latent: Vec<f32>,
    by_pixel: Vec<f32>,
}

fn unlike(text: impl Into<String>) -> BuildError {
    BuildError::Networks(text.into())
}

impl Reconstructor for NetworkVae {
    fn image_shape(&self) -> Shape {
        self.image
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        Ok(self.gradients(images, RequestedGradients::NOTHING)?.mean)
    }
}

impl VariationalModel for NetworkVae {
    fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError> {
        ModelError::check_shape(images, self.image)?;
        let dimensions = self.latent.len();
        if images.is_empty() {
            return Ok(Posterior { dimensions, mean: Vec::new(), log_variance: Vec::new() });
        }
        let encoder = self.encoder.run(&[images.values()], images.len())?;
        let mean = encoder.output(0).to_vec();
        let log_variance = encoder.output(1).iter().copied().map(clamp_log_variance).collect();
        Ok(Posterior { dimensions, mean, log_variance })
    }

    fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError> {
        let latents = ImageBatch::new(latent, self.latent)?;
        if latents.is_empty() {
            return Ok(Vec::new());
        }
        let (size, outputs) = (self.image.len(), self.likelihood.outputs());
        let decoder = self.decoder.run(&[latent], latents.len())?;
        let samples = decoder.output(0).chunks_exact(size * outputs);
        Ok(samples.flat_map(|own| own[..size].iter().map(|&y| self.likelihood.mean(y))).collect())
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError> {
        ModelError::check_shape(images, self.image)?;
        if images.is_empty() {
            Ok(ImageGradients::of_nothing(requested))
        } else {
            self.pass(images, requested)
        }
    }
}
