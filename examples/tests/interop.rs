//! Weights that others trained with PyTorch give here what they give there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use lesio::nn::{Device, ImageBatch, NameMap, Shape, StateDict, StateDictError};
use lesio::vae::{Likelihood, NetworkVae, Reconstructor, RequestedGradients, VariationalModel};
use lesio_examples::burgess::{names, networks};
use support::manifest_folder;

/// What PyTorch computes, by name.
fn expected(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Sums of some thousand products in another order.
    assert!(off <= 2e-5 * scale, "{what}: off by {off} of {scale}");
}

#[test]
fn weights_of_pytorch_compute_what_pytorch_computes() {
    let folder = manifest_folder().join("../../shared/interop");
    if !folder.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let mut compared = 0;
    for (name, channels) in [("VAE_chairs", 1), ("betaH_celeba", 3)] {
        let [encoder, decoder] = networks(channels).unwrap();
        let expected = expected(&folder.join(format!("{name}.expected.safetensors")));
        let read = |ending| StateDict::read(folder.join(format!("{name}.{ending}"))).unwrap();
        let theirs = read("safetensors");
        assert_eq!(read("pth"), theirs, "{name}");
        let parameters = theirs.parameters(&[&encoder, &decoder], &names()).unwrap();
        for device in ["cpu", "candle-cpu"] {
            let what = |part: &str| format!("{name} on {device}, {part}");
            let device: Device = device.parse().unwrap();
            let vae = NetworkVae::new(&encoder, &decoder, Likelihood::Bernoulli, 1.0, &parameters, &device)
                .unwrap();
            let x = ImageBatch::new(&expected["x"], Shape::new(channels, 64, 64)).unwrap();
            let posterior = vae.encode(x).unwrap();
            assert_close(&what("mean"), &posterior.mean, &expected["mean"]);
            assert_close(&what("log-variance"), &posterior.log_variance, &expected["log_variance"]);
            let found = vae.gradients(x, RequestedGradients::BOTH).unwrap();
            assert_close(&what("reconstruction"), &found.mean, &expected["reconstruction"]);
            assert_eq!(vae.reconstruct(x).unwrap(), found.mean);
            assert_close(&what("KL"), &found.divergence, &expected["kl"]);
            assert_close(&what("KL by x"), found.by_divergence.as_ref().unwrap(), &expected["kl_by_x"]);
            // There the loss is that of the reconstruction, cut off at 1e-7; here it is that of the logit, which does not
            // end where a sigmoid in f32 does. They are the same where no pixel is so sure.
            let by_x = found.by_reconstruction.as_ref().unwrap();
            for (row, y) in found.mean.chunks(x.shape().len()).enumerate() {
                if y.iter().all(|y| (1e-5..=1.0 - 1e-5).contains(y)) {
                    let own = row * y.len()..(row + 1) * y.len();
                    let expected = |name: &str| &expected[name][own.clone()];
                    assert_close(&what("loss"), &found.loss[own.clone()], expected("bernoulli_loss"));
                    assert_close(&what("loss by x"), &by_x[own.clone()], expected("bernoulli_loss_by_x"));
                    compared += 1;
                }
            }
        }
        // Every name that does not fit is told.
        match theirs.parameters(&[&encoder, &decoder], &NameMap::new()) {
            Err(StateDictError::Names { missing, unexpected }) => {
                assert_eq!(missing, ["mean.weight", "mean.bias", "log_variance.weight", "log_variance.bias"]);
                assert_eq!(unexpected, ["encoder.mu_logvar_gen.bias", "encoder.mu_logvar_gen.weight"]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(compared >= 6, "only {compared} images on two devices have a loss that is not cut off");
}
