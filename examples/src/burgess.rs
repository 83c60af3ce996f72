//! The variational autoencoder of Burgess et al. 2018, as the public collection disentangling-vae declares it.

use lesio::nn::{
    Activation, Bias, Convolution, Layer, NameMap, Network, NetworkBuilder, NetworkError, NodeId, Shape,
};

const LATENT: usize = 10;

/// Adds a layer and its ReLU.
fn active(net: &mut NetworkBuilder, name: &str, layer: Layer, from: NodeId) -> Result<NodeId, NetworkError> {
    let value = net.layer(name, layer, &[from])?;
    net.layer(format!("{name}.relu"), Layer::Activation(Activation::RELU), &[value])
}

/// Encoder and decoder for images of 64 x 64 pixels.
///
/// # Errors
/// No channels, or too many.
pub fn networks(channels: usize) -> Result<[Network; 2], NetworkError> {
    let halving = |channels| Convolution::new(channels, 4).stride(2).padding(1);
    let linear = |features| Layer::Linear { features, bias: Bias::Learned };
    let mut net = NetworkBuilder::new();
    let mut value = net.input("image", Shape::new(channels, 64, 64));
    for name in ["conv1", "conv2", "conv3", "conv_64"] {
        value = active(&mut net, &format!("encoder.{name}"), Layer::Convolution(halving(32)), value)?;
    }
    value = active(&mut net, "encoder.lin1", linear(256), value)?;
    value = active(&mut net, "encoder.lin2", linear(256), value)?;
    let mean = net.layer("mean", linear(LATENT), &[value])?;
    let log_variance = net.layer("log_variance", linear(LATENT), &[value])?;
    let encoder = net.finish(&[mean, log_variance])?;

    let mut net = NetworkBuilder::new();
    let mut value = net.input("latent", Shape::vector(LATENT));
    for (name, features) in [("lin1", 256), ("lin2", 256), ("lin3", 512)] {
        value = active(&mut net, &format!("decoder.{name}"), linear(features), value)?;
    }
    value = net.layer("decoder.image", Layer::Reshape(Shape::new(32, 4, 4)), &[value])?;
    for name in ["convT_64", "convT1", "convT2"] {
        value =
            active(&mut net, &format!("decoder.{name}"), Layer::TransposedConvolution(halving(32)), value)?;
    }
    let out = net.layer("decoder.convT3", Layer::TransposedConvolution(halving(channels)), &[value])?;
    Ok([encoder, net.finish(&[out])?])
}

/// The names of the parameters in the collection. The outputs of its last encoder layer alternate: mean 0, log-variance
/// 0, mean 1 and so on.
#[must_use]
pub fn names() -> NameMap {
    let head = "encoder.mu_logvar_gen";
    NameMap::new().rows("mean", head, 0, 2).rows("log_variance", head, 1, 2)
}
