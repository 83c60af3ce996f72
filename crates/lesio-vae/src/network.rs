//! Encoder and decoder, declared from a configuration.

use lesio_nn::{Bias, Convolution, Layer, Network, NetworkBuilder, NetworkError, NodeId};

use crate::config::{ConfigError, Latent, Normalization, VaeConfig};

/// Image to the posterior's mean and log-variance.
pub(crate) fn encoder(config: &VaeConfig) -> Result<Network, ConfigError> {
    config.validate()?;
    let mut net = NetworkBuilder::new();
    let mut value = net.input("image", config.image_shape());
    for (index, &width) in config.widths.iter().enumerate() {
        let layer = Layer::Convolution(halving(width, config.normalization));
        value = block(&mut net, &format!("encoder.{index}"), layer, value, config)?;
    }
    let head = match config.latent {
        Latent::Dense { dimensions } => Layer::Linear { features: dimensions, bias: Bias::Learned },
        Latent::Spatial { channels } => Layer::Convolution(Convolution::new(channels, 1)),
    };
    let mean = net.layer("encoder.mean", head.clone(), &[value])?;
    let log_variance = net.layer("encoder.log_variance", head, &[value])?;
    Ok(net.finish(&[mean, log_variance])?.with_precision(config.precision))
}

/// Latent sample to the parameters of the pixels' distribution.
pub(crate) fn decoder(config: &VaeConfig) -> Result<Network, ConfigError> {
    config.validate()?;
    let mut net = NetworkBuilder::new();
    let latent = net.input("latent", config.latent_shape());
    let coarse = config.coarsest();
    let start = match config.latent {
        Latent::Dense { .. } => {
            let linear = Layer::Linear { features: coarse.len(), bias: Bias::Learned };
            let flat = net.layer("decoder.start", linear, &[latent])?;
            net.layer("decoder.start.image", Layer::Reshape(coarse), &[flat])?
        }
        Latent::Spatial { .. } => {
            net.layer("decoder.start", Layer::Convolution(Convolution::new(coarse.channels, 1)), &[latent])?
        }
    };
    let mut value = net.layer("decoder.start.active", Layer::Activation(config.activation), &[start])?;
    for (index, &width) in config.widths.iter().rev().skip(1).enumerate() {
        let layer = Layer::TransposedConvolution(halving(width, config.normalization));
        value = block(&mut net, &format!("decoder.{index}"), layer, value, config)?;
    }
    let outputs = config.channels * config.likelihood.outputs();
    let last = Layer::TransposedConvolution(halving(outputs, Normalization::None));
    let out = net.layer("decoder.out", last, &[value])?;
    Ok(net.finish(&[out])?.with_precision(config.precision))
}

/// 4x4 with stride 2 uses every pixel equally often. An odd kernel would cause a checkerboard pattern in gradients and
/// in the output of transposed convolutions.
fn halving(channels: usize, normalization: Normalization) -> Convolution {
    let bias = if normalization == Normalization::None { Bias::Learned } else { Bias::None };
    Convolution::new(channels, 4).stride(2).padding(1).bias(bias)
}

/// A layer, its normalization and its activation.
fn block(
    net: &mut NetworkBuilder,
    name: &str,
    layer: Layer,
    input: NodeId,
    config: &VaeConfig,
) -> Result<NodeId, NetworkError> {
    let mut value = net.layer(name, layer, &[input])?;
    if let Some(layer) = normalization(config.normalization, net.shape(value).map_or(1, |s| s.channels)) {
        value = net.layer(format!("{name}.norm"), layer, &[value])?;
    }
    net.layer(format!("{name}.active"), Layer::Activation(config.activation), &[value])
}

/// The layer of a normalization of this many channels.
pub(crate) fn normalization(normalization: Normalization, channels: usize) -> Option<Layer> {
    match normalization {
        Normalization::None => None,
        Normalization::Group => {
            let groups = (1..=channels.div_ceil(8).max(1))
                .rev()
                .find(|groups| channels.is_multiple_of(*groups))
                .unwrap_or(1);
            Some(Layer::GroupNormalization { groups, epsilon: 1e-5 })
        }
        Normalization::Batch => Some(Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 }),
    }
}
