//! The networks' parameters and inputs, the same for both sides.

use std::path::Path;

use lesio_nn::{Initialization, Network, ParameterSet, Role, random};
use lesio_onnx::network_to_onnx;

use crate::Result;
use crate::networks::{IMAGE, LATENT, Normalization, unet, vae_decoder, vae_encoder};
use crate::tensors::Tensors;

/// Images in the file of inputs.
const IMAGES: usize = 32;
const SEED: u64 = 20;

/// Which parameters a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Those from which a training would start.
    Initial,
    /// Those with which every unit stays clear of its rectifier's kink, to compare gradients: where
    /// an activation is 0 up to rounding, which slope it gets is chance, and with millions of
    /// activations even f32 and f64 of one library differ by a percent in places.
    Clear,
}

impl Weights {
    pub(super) fn file(self, network: &str) -> String {
        match self {
            Self::Initial => network.to_owned(),
            Self::Clear => format!("{network}-clear"),
        }
    }
}

/// Writes the networks' parameters, and images and noise, to a folder.
///
/// # Errors
/// Files that cannot be written.
pub fn export(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    for (name, networks) in [
        ("vae", vec![vae_encoder()?, vae_decoder()?]),
        ("unet", vec![unet(Normalization::None)?]),
        ("unet-gn", vec![unet(Normalization::Group)?]),
    ] {
        for weights in [Weights::Initial, Weights::Clear] {
            let mut tensors = Tensors::default();
            for network in &networks {
                tensors.insert_parameters("", &parameters(network, weights));
            }
            tensors.write(&data.join(format!("{}.safetensors", weights.file(name))))?;
        }
    }
    let network = unet(Normalization::Group)?;
    let bytes =
        network_to_onnx(&network, &parameters(&network, Weights::Initial), "image", &["reconstruction"])?;
    std::fs::write(data.join("unet-gn.onnx"), bytes)?;

    let mut image = vec![0.0; IMAGES * IMAGE.len()];
    random::fill_normal(&mut random::named_generator(SEED, "image"), &mut image);
    image.iter_mut().for_each(|value| *value = (0.5 + 0.2 * *value).clamp(0.0, 1.0));
    let mut noise = vec![0.0; IMAGES * LATENT];
    random::fill_normal(&mut random::named_generator(SEED, "noise"), &mut noise);
    let mut tensors = Tensors::default();
    tensors.insert("image", &[IMAGES, IMAGE.channels, IMAGE.height, IMAGE.width], &image);
    tensors.insert("noise", &[IMAGES, LATENT], &noise);
    tensors.write(&data.join("inputs.safetensors"))
}

/// Initial parameters; to stay clear of kinks, with weights and scales so small that the shifts of 1
/// and -1, in turn over the channels, decide each unit's sign.
fn parameters(network: &Network, weights: Weights) -> ParameterSet {
    let mut parameters = ParameterSet::initialize(network, Initialization::UniformFanIn, SEED);
    if weights == Weights::Initial {
        return parameters;
    }
    for spec in network.parameters() {
        let Some(parameter) = parameters.get_mut(&spec.name) else { continue };
        for (channel, value) in parameter.values_mut().iter_mut().enumerate() {
            match spec.role {
                Role::Weight { .. } => *value *= 0.25,
                Role::Scale => *value *= 0.15,
                Role::Bias { .. } | Role::Shift => *value = if channel % 2 == 0 { 1.0 } else { -1.0 },
                _ => {}
            }
        }
    }
    parameters
}

/// The first values of a tensor.
pub(super) fn first(tensors: &Tensors, name: &str, len: usize) -> Result<Vec<f32>> {
    let (_, values) = tensors.f32(name)?;
    let found = values.len();
    Ok(values.get(..len).ok_or_else(|| format!("{name} holds {found} values, {len} are needed"))?.to_vec())
}
