//! Small models, operator by operator, against what ONNX Runtime computes (`golden/make.py`), on both engines, and their input
//! gradients against central differences.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lesio_nn::{Device, Differentiate, Engine, ImageBatch, Inference, Shape};
use lesio_onnx::{Converted, ConvertedVae, OnnxError, OnnxModel, OutputForm, Sigmoid, VaeTensors};
use lesio_vae::{Likelihood, NetworkVae, VariationalModel};

/// Models that lesio does not take, and what the error names.
const REFUSED: &[(&str, &str)] =
    &[("max_pool_uneven", "MaxPool (opset 17)"), ("pad_uneven", "Conv (opset 13)")];

/// Models of encoder and decoder in one, which another test takes.
const VAES: &[&str] = &["vae", "vae_log_sigma", "vae_sigma", "vae_still", "vae_unnamed", "vae_vectors"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Tensors by name.
fn expected() -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

fn model(name: &str) -> OnnxModel {
    OnnxModel::read(folder().join(format!("{name}.onnx"))).unwrap()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if cfg!(feature = "candle") {
        devices.push("candle-cpu".parse().unwrap());
    }
    devices
}

/// Largest difference, relative to the largest expected value.
fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

#[test]
fn models_compute_what_onnx_runtime_computes() {
    let expected = expected();
    let mut failed = Vec::new();
    for name in names() {
        if VAES.contains(&name.as_str()) || REFUSED.iter().any(|(refused, _)| *refused == name) {
            continue;
        }
        let model = model(&name);
        let Converted { network, parameters, .. } = match model.network(&[], None) {
            Ok(converted) => converted,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        let x = &expected[&format!("{name}/input/x")];
        let samples = x.len() / network.input_shapes()[0].len();
        for device in devices() {
            let inference = Inference::new(&network, &parameters, Differentiate::Inputs, &device).unwrap();
            let mut pass = inference.run(&[x], samples).unwrap();
            let mut ones = Vec::new();
            for (k, output) in model.outputs().iter().enumerate() {
                let off = off(pass.output(k), &expected[&format!("{name}/output/{output}")]);
                if off > 1e-5 {
                    failed.push(format!("{name} on {device:?}: {output} is off by {off}"));
                }
                // Weights that differ from value to value.
                ones.push(
                    (0..pass.output(k).len())
                        .map(|i| ((i * 37 % 11) as f32 - 5.0) / 5.0)
                        .collect::<Vec<f32>>(),
                );
            }
            let weights: Vec<&[f32]> = ones.iter().map(Vec::as_slice).collect();
            pass.backward(&weights).unwrap();
            let gradient = pass.input_gradient(0).to_vec();
            drop(pass);
            if let Some(error) = wrong_gradient(&inference, x, samples, &weights, &gradient) {
                failed.push(format!("{name} on {device:?}: {error}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Central differences along some random directions. Rectifiers bend: where the two halves differ much, nothing is said.
fn wrong_gradient(
    inference: &Inference,
    x: &[f32],
    samples: usize,
    weights: &[&[f32]],
    gradient: &[f32],
) -> Option<String> {
    let loss = |x: &[f32]| -> f64 {
        let pass = inference.run(&[x], samples).unwrap();
        let outputs = weights.iter().enumerate().map(|(k, weights)| (pass.output(k), weights));
        outputs
            .flat_map(|(values, weights)| values.iter().zip(*weights))
            .map(|(&v, &w)| f64::from(v) * f64::from(w))
            .sum()
    };
    let here = loss(x);
    let size = gradient.iter().map(|g| f64::from(*g).abs()).sum::<f64>().max(1e-3);
    for direction in 0..3usize {
        let step = 1e-3;
        let along = |k: usize| if (k * 31 + direction * 7) % 5 < 2 { 1.0 } else { -1.0 };
        let moved = |sign: f32| -> Vec<f32> {
            x.iter().enumerate().map(|(k, x)| x + sign * step * along(k)).collect()
        };
        let (up, down) = (loss(&moved(1.0)), loss(&moved(-1.0)));
        let bend = (up - 2.0 * here + down).abs() / f64::from(step);
        let found = (up - down) / (2.0 * f64::from(step));
        let by_gradient: f64 = gradient.iter().enumerate().map(|(k, g)| f64::from(g * along(k))).sum();
        if (found - by_gradient).abs() > 2e-3 * size + bend {
            return Some(format!("the gradient gives {by_gradient} along {direction}, differences {found}"));
        }
    }
    None
}

#[test]
fn what_is_not_supported_is_named() {
    for (name, part) in REFUSED {
        let error = model(name).network(&[], None).unwrap_err();
        assert!(matches!(error, OnnxError::Unsupported { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("at node \"/"), "{name}: {text}");
    }
}

#[test]
fn a_vae_in_one_model_is_cut_at_its_latent_vector() {
    let expected = expected();
    // The outputs, the side of an image, and by what the log-variance is a multiple of the last output.
    for (name, outputs, side, multiple) in [
        ("vae", ["reconstruction", "mean", "log_variance"], 16, 1.0f32),
        ("vae_unnamed", ["out", "a", "b"], 16, 1.0),
        ("vae_still", ["reconstruction", "mu", "logvar"], 16, 1.0),
        ("vae_log_sigma", ["out", "a", "b"], 8, 2.0),
        ("vae_vectors", ["recon", "mu", "logvar"], 8, 1.0),
    ] {
        let model = model(name);
        let vae = ConvertedVae::of_one(&model, &VaeTensors::default().ending(OutputForm::Logit)).unwrap();
        assert_eq!(vae.sigmoid, Sigmoid::TakenOff);
        assert_eq!(vae.taken, [outputs[1], outputs[2], outputs[0]]);
        let decision = "by the sampling of the model, the log-variance is 2 times \"b\"";
        assert_eq!(vae.decisions, if multiple == 1.0 { vec![] } else { vec![decision] });
        let x = &expected[&format!("{name}/input/x")];
        let images = ImageBatch::new(x, Shape::new(1, side, side)).unwrap();
        for device in devices() {
            let made = NetworkVae::new(
                &vae.encoder,
                &vae.decoder,
                Likelihood::Bernoulli,
                1.0,
                &vae.parameters,
                &device,
            );
            let made = made.unwrap();
            let posterior = made.encode(images).unwrap();
            let output = |k: usize| &expected[&format!("{name}/output/{}", outputs[k])];
            assert!(off(&posterior.mean, output(1)) < 1e-5, "{name}");
            let log_variance: Vec<f32> = output(2).iter().map(|value| multiple * value).collect();
            assert!(off(&posterior.log_variance, &log_variance) < 1e-5, "{name}");
            assert!(off(&made.decode(&posterior.mean).unwrap(), output(0)) < 1e-5, "{name}");
        }
        // The whole reconstruction draws random numbers, which no layer does.
        let whole = model.network(&[outputs[0]], None);
        assert_eq!(whole.is_err(), name != "vae_still", "{name}");
    }
    let error =
        ConvertedVae::of_one(&model("u_net_corners"), &VaeTensors::default()).unwrap_err().to_string();
    assert!(error.contains("mean") && error.contains("reconstruction"), "{error}");
    let named = VaeTensors::default().latent(Some("nothing".to_owned()));
    let error = ConvertedVae::of_one(&model("vae"), &named).unwrap_err();
    assert!(matches!(error, OnnxError::Unknown { .. }), "{error}");
    let error = ConvertedVae::of_one(&model("vae_sigma"), &VaeTensors::default()).unwrap_err().to_string();
    assert!(error.contains("\"logvar\": is not the logarithm of the variance"), "{error}");
    // Past a tensor that is no cut, the decoder would see the image.
    let named = VaeTensors::default().latent(Some("log_variance".to_owned()));
    let error = ConvertedVae::of_one(&model("vae"), &named).unwrap_err().to_string();
    assert!(error.contains("none of the network's inputs"), "{error}");
}
