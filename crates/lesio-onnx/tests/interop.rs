//! Two VAEs of a public collection, as ONNX, against what PyTorch computes with them, gradients included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::collections::BTreeMap;
use std::path::Path;

use lesio_anomaly::{Model, PredictorName};
use lesio_nn::{Device, ImageBatch, Shape};
use lesio_onnx::{ImportConfig, ImportedKind};
use lesio_vae::{Likelihood, RequestedGradients};

/// What PyTorch computes, by name.
fn expected(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: off by {:.1e} of the largest", off / scale);
    assert!(off <= tolerance * scale, "{what}: off by {off} of {scale}");
}

#[test]
fn vaes_of_others_compute_what_pytorch_computes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/interop");
    if !folder.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let mut devices = vec![Device::Cpu];
    let mut weights = vec![None, Some("safetensors")];
    if cfg!(feature = "candle") {
        devices.push("candle-cpu".parse().unwrap());
        weights.push(Some("pth"));
    }
    let mut compared = 0;
    for (name, channels) in [("VAE_chairs", 1), ("betaH_celeba", 3)] {
        let expected = expected(&folder.join(format!("{name}.expected.safetensors")));
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        for device in &devices {
            for ending in &weights {
                let what = |part: &str| format!("{name}, weights {ending:?}, on {device:?}, {part}");
                let kind = ImportedKind::Vae { likelihood: Likelihood::Bernoulli, beta: 1.0 };
                let config = ImportConfig::new(file("encoder.onnx"), kind)
                    .decoder(Some(file("decoder.onnx")))
                    .weights(ending.map(file));
                let model: Model = config.import(device).unwrap().model;
                for predictor in PredictorName::ALL {
                    let served = predictor != PredictorName::AnomalyLogit;
                    assert_eq!(predictor.is_served_by(&model), served, "{predictor}");
                }
                let vae = model.variational().unwrap();
                let x = ImageBatch::new(&expected["x"], Shape::new(channels, 64, 64)).unwrap();
                let posterior = vae.encode(x).unwrap();
                assert_close(&what("mean"), &posterior.mean, &expected["mean"], 1e-5);
                assert_close(&what("log-variance"), &posterior.log_variance, &expected["log_variance"], 1e-5);
                let found = vae.gradients(x, RequestedGradients::BOTH).unwrap();
                assert_close(&what("reconstruction"), &found.mean, &expected["reconstruction"], 1e-5);
                assert_close(&what("KL"), &found.divergence, &expected["kl"], 1e-5);
                let by_x = found.by_divergence.as_ref().unwrap();
                assert_close(&what("KL by x"), by_x, &expected["kl_by_x"], 1e-4);
                // There the loss is that of the reconstruction, cut off at 1e-7; here it is that of the logit, which does not
                // end where a sigmoid in f32 does. They are the same where no pixel is so sure.
                let by_x = found.by_reconstruction.as_ref().unwrap();
                for (row, y) in found.mean.chunks(x.shape().len()).enumerate() {
                    if y.iter().all(|y| (1e-5..=1.0 - 1e-5).contains(y)) {
                        let own = row * y.len()..(row + 1) * y.len();
                        let expected = &expected["bernoulli_loss_by_x"][own.clone()];
                        assert_close(&what("loss by x"), &by_x[own], expected, 1e-4);
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 0, "no image has a loss that is not cut off");
}
