//! The networks that are measured, as `peers/cases_torch.py` has them.

use lesio_nn::{
    Activation, Convolution, Layer, Network, NetworkBuilder, NetworkError, NodeId, Precision, Shape,
};

/// Values of the VAE's latent code.
pub const LATENT: usize = 128;
const WIDTHS: [usize; 4] = [32, 64, 128, 256];
const LEAKY: Layer = Layer::Activation(Activation::LeakyRelu { slope: 0.2 });
const RELU: Layer = Layer::Activation(Activation::RELU);

/// The shape of every image: one channel of 128x128 pixels.
pub const IMAGE: Shape = Shape::new(1, 128, 128);

/// The VAE's encoder and decoder in a precision.
///
/// # Errors
/// None in practice: the layers fit.
pub(crate) fn vae(precision: Precision) -> Result<(Network, Network), NetworkError> {
    Ok((vae_encoder()?.with_precision(precision), vae_decoder()?.with_precision(precision)))
}

/// The VAE's encoder: image to mean and log-variance.
///
/// # Errors
/// None in practice: the layers fit.
pub fn vae_encoder() -> Result<Network, NetworkError> {
    let mut net = NetworkBuilder::new();
    let mut x = net.input("image", IMAGE);
    for (index, &width) in WIDTHS.iter().enumerate() {
        let convolution = Convolution::new(width, 4).stride(2).padding(1);
        x = net.layer(format!("encoder.{index}"), Layer::Convolution(convolution), &[x])?;
        x = net.layer(format!("encoder.{index}.active"), LEAKY, &[x])?;
    }
    let mean = net.layer("mean", linear(LATENT), &[x])?;
    let log_variance = net.layer("log_variance", linear(LATENT), &[x])?;
    net.finish(&[mean, log_variance])
}

/// The VAE's decoder: latent value to reconstruction.
///
/// # Errors
/// None in practice: the layers fit.
pub fn vae_decoder() -> Result<Network, NetworkError> {
    let mut net = NetworkBuilder::new();
    let latent = net.input("latent", Shape::vector(LATENT));
    let start = Shape::new(WIDTHS[3], 8, 8);
    let mut x = net.layer("start", linear(start.len()), &[latent])?;
    x = net.layer("start.active", LEAKY, &[x])?;
    x = net.layer("start.square", Layer::Reshape(start), &[x])?;
    for (index, width) in [WIDTHS[2], WIDTHS[1], WIDTHS[0], 1].into_iter().enumerate() {
        let convolution = Convolution::new(width, 4).stride(2).padding(1);
        x = net.layer(format!("decoder.{index}"), Layer::TransposedConvolution(convolution), &[x])?;
        if index < 3 {
            x = net.layer(format!("decoder.{index}.active"), LEAKY, &[x])?;
        }
    }
    net.finish(&[x])
}

/// What follows each 3x3 convolution of the U-Net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// The ReLU alone.
    None,
    /// Group normalization with 8 groups, then the ReLU.
    Group,
}

/// The U-Net: 16-32-64-128 channels, pairs of 3x3 convolutions, maximum pooling on the way down,
/// nearest upsampling and concatenation on the way up.
///
/// # Errors
/// None in practice: the layers fit.
pub fn unet(normalization: Normalization) -> Result<Network, NetworkError> {
    const WIDTHS: [usize; 4] = [16, 32, 64, 128];
    let mut net = NetworkBuilder::new();
    let mut x = net.input("image", IMAGE);
    let mut levels = Vec::new();
    for (level, &width) in WIDTHS.iter().enumerate() {
        if level > 0 {
            x = net.layer(format!("down.{level}.pool"), Layer::MaxPool { window: [2, 2] }, &[x])?;
        }
        x = pair(&mut net, &format!("down.{level}"), width, normalization, x)?;
        levels.push(x);
    }
    for (level, &width) in WIDTHS.iter().enumerate().take(3).rev() {
        x = net.layer(format!("up.{level}.upsample"), Layer::UpsampleNearest { factor: 2 }, &[x])?;
        x = net.layer(format!("up.{level}.join"), Layer::Concatenate, &[x, levels[level]])?;
        x = pair(&mut net, &format!("up.{level}"), width, normalization, x)?;
    }
    let out = net.layer("out", Layer::Convolution(Convolution::new(1, 1)), &[x])?;
    net.finish(&[out])
}

fn pair(
    net: &mut NetworkBuilder,
    name: &str,
    width: usize,
    normalization: Normalization,
    mut x: NodeId,
) -> Result<NodeId, NetworkError> {
    for index in 0..2 {
        let convolution = Convolution::new(width, 3).padding(1);
        x = net.layer(format!("{name}.conv{index}"), Layer::Convolution(convolution), &[x])?;
        if normalization == Normalization::Group {
            let layer = Layer::GroupNormalization { groups: 8, epsilon: 1e-5 };
            x = net.layer(format!("{name}.norm{index}"), layer, &[x])?;
        }
        x = net.layer(format!("{name}.active{index}"), RELU, &[x])?;
    }
    Ok(x)
}

fn linear(features: usize) -> Layer {
    Layer::Linear { features, bias: lesio_nn::Bias::Learned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vae_gives_back_the_image_shape() -> Result<(), NetworkError> {
        assert_eq!(vae_encoder()?.output_shapes(), [Shape::vector(LATENT), Shape::vector(LATENT)]);
        assert_eq!(vae_decoder()?.output_shapes(), [IMAGE]);
        // Per image, 2 * 2 * (2.1 + 33.6 * 3) million in the convolutions, 6.3 in the linear layers.
        assert_eq!(vae_encoder()?.multiply_adds() + vae_decoder()?.multiply_adds(), 211_812_352);
        Ok(())
    }

    #[test]
    fn the_unet_gives_back_the_image_shape() -> Result<(), NetworkError> {
        for normalization in [Normalization::None, Normalization::Group] {
            assert_eq!(unet(normalization)?.output_shapes(), [IMAGE]);
        }
        Ok(())
    }
}
