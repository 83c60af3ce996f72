//! What is written as ONNX and read again computes the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use lesio_anomaly::{
    DeclaredConfig, EnsembleConfig, EnsembleMember, EnsembleRule, Localizer, LocalizerEnsemble, Model,
    ModelConfig, NormalScoresBuilder, PredictorName, Provenance,
};
use lesio_files::Existing;
use lesio_image::{
    Frame, GridFit, Image, Intensity, LinearScale, Preprocessing, Resize, RobustScaling, Scan,
};
use lesio_nn::{
    Activation, Bias, Convolution, Device, Differentiate, Engine, ImageBatch, Inference, Initialization,
    Layer, NetworkBuilder, ParameterSet, Shape,
};
use lesio_onnx::{ExportConfig, Exported, ImportConfig, ImportedKind, OnnxModel, Scaling, network_to_onnx};
use lesio_vae::{
    DenoiserConfig, Latent, Likelihood, Mirror, Normalization, SyntheticAnomalies, TaughtConfig, VaeConfig,
    networks,
};
use ndarray::Array3;

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * 37 + k / 7) % 101) as f32 / 101.0).collect()
}

/// What another model wrote does not stay beside the description of this one.
#[test]
fn networks_of_a_replaced_export_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = NetworkBuilder::new();
    let x = builder.input("x", Shape::new(1, 4, 4));
    let y = builder.layer("y", Layer::Activation(Activation::Silu), &[x]).unwrap();
    let network = builder.finish(&[y]).unwrap();
    let export = |names: &[&'static str], existing| {
        let networks = names.iter().map(|name| (*name, &network));
        let made = Exported::of_networks(networks, &ParameterSet::new(), serde_json::json!({}));
        made.unwrap().write(folder.path(), existing).unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    std::fs::write(folder.path().join("other.onnx"), b"of somebody else").unwrap();
    let first = export(&["a", "b"], Existing::Refuse);
    assert_eq!(first, ["a.onnx", "b.onnx", "model.json", "other.onnx"]);
    assert_eq!(export(&["c"], Existing::Replace), ["c.onnx", "model.json", "other.onnx"]);
}

#[test]
fn every_layer_is_written_and_read_again() {
    let mut net = NetworkBuilder::new();
    let image = net.input("image", Shape::new(2, 8, 12));
    let mut step = |name: &str, layer: Layer, from: &[_]| net.layer(name, layer, from).unwrap();
    let a = step("a", Layer::Convolution(Convolution::new(4, 3).padding(1)), &[image]);
    let b = step("b", Layer::GroupNormalization { groups: 2, epsilon: 1e-5 }, &[a]);
    let mut last = step("c", Layer::Activation(Activation::Silu), &[b]);
    for (k, activation) in [
        Activation::RELU,
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::GeluTanh,
    ]
    .into_iter()
    .enumerate()
    {
        let before =
            step(&format!("n{k}"), Layer::BatchNormalization { epsilon: 1e-3, momentum: 0.1 }, &[last]);
        last = step(&format!("f{k}"), Layer::Activation(activation), &[before]);
    }
    let pooled = step("pool", Layer::MaxPool { window: [2, 2] }, &[last]);
    let mean = step("mean", Layer::AveragePool { window: [2, 2] }, &[last]);
    let joined = step("joined", Layer::Concatenate, &[pooled, mean]);
    let gate = step("gate", Layer::Convolution(Convolution::new(1, 1)), &[joined]);
    let gated = step("gated", Layer::Multiply, &[gate, joined]);
    let windows = Layer::MaxPoolStrided { window: [3, 2], stride: [1, 1], padding: [1, 0] };
    let wide = step("wide", windows, &[gated]);
    let windows = Layer::MaxPoolStrided { window: [1, 2], stride: [1, 1], padding: [0, 1] };
    let wide = step("wider", windows, &[wide]);
    let mut sums = Vec::new();
    for (k, layer) in [
        Layer::UpsampleNearest { factor: 2 },
        Layer::UpsampleBilinear { factor: 2 },
        Layer::UpsampleBilinearCorners { factor: 2 },
    ]
    .into_iter()
    .enumerate()
    {
        sums.push(step(&format!("u{k}"), layer, &[wide]));
    }
    let sum = step("sum", Layer::Add, &sums);
    let flat = step("flat", Layer::Linear { features: 12, bias: Bias::Learned }, &[sum]);
    let shaped = step("shaped", Layer::Reshape(Shape::new(3, 2, 2)), &[flat]);
    let up = Convolution::new(2, 4).stride(2).padding(1).bias(Bias::None);
    let out = step("out", Layer::TransposedConvolution(up), &[shaped]);
    let network = net.finish(&[out, flat]).unwrap();
    let parameters = ParameterSet::initialize(&network, Initialization::UniformFanIn, 5);
    let bytes = network_to_onnx(&network, &parameters, "image", &["out", "flat"]).unwrap();
    let read = OnnxModel::from_bytes(&bytes).unwrap().network(&["out", "flat"], None).unwrap();
    let x = values(3 * 2 * 8 * 12);
    let run = |network, parameters| {
        let inference = Inference::new(network, parameters, Differentiate::Nothing, &Device::Cpu).unwrap();
        let pass = inference.run(&[&x], 3).unwrap();
        [pass.output(0).to_vec(), pass.output(1).to_vec()]
    };
    let (own, back) = (run(&network, &parameters), run(&read.network, &read.parameters));
    for (own, back) in own.iter().zip(&back) {
        let scale = own.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let off = own.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5 * scale, "off by {off} of {scale}");
    }
    assert!(read.network.nodes().len() <= network.nodes().len(), "patterns are found again");
}

/// A server asks for inputs and outputs by name, even if layers have the same names.
#[test]
fn layers_do_not_take_the_names_of_outputs() {
    let mut net = NetworkBuilder::new();
    let image = net.input("x", Shape::new(1, 16, 16));
    let convolution = Layer::Convolution(Convolution::new(1, 3).padding(1));
    let first = net.layer("reconstruction", convolution.clone(), &[image]).unwrap();
    let second = net.layer("image", convolution.clone(), &[first]).unwrap();
    let third = net.layer("mean", Layer::Activation(Activation::Sigmoid), &[second]).unwrap();
    let last = net.layer("anomaly_logit", convolution, &[third]).unwrap();
    let network = net.finish(&[last]).unwrap();
    let parameters = ParameterSet::initialize(&network, Initialization::UniformFanIn, 5);
    let names = |bytes: &[u8]| {
        let model = OnnxModel::from_bytes(bytes).unwrap();
        let inputs: Vec<String> = model.inputs().map(str::to_owned).collect();
        (inputs.join(" "), model.outputs().join(" "))
    };
    let own = |input: &str, output: &str| (input.to_owned(), output.to_owned());
    for output in ["reconstruction", "image", "mean", "anomaly_logit", "mean.Sigmoid"] {
        let bytes = network_to_onnx(&network, &parameters, "x", &[output]).unwrap();
        assert_eq!(names(&bytes), own("x", output));
        let bytes = network_to_onnx(&network, &parameters, "mean", &[output]).unwrap();
        // Two tensors cannot have one name: the output gets a number, and the layer has the first one.
        let numbered = if output == "mean" { "mean_3" } else { output };
        assert_eq!(names(&bytes), own("mean", numbered));
    }
    let exported = Exported::of_networks([("net", &network)], &parameters, serde_json::json!({})).unwrap();
    assert_eq!(names(&exported.files[0].1), own("x", "anomaly_logit"));

    let config = DeclaredConfig::Reconstructor { network };
    let own_model = localizer(ModelConfig::Declared { config }, &parameters);
    let exported = ExportConfig::default().export(&own_model).unwrap();
    let [(name, bytes)] = &exported.files[..] else { panic!("{} files", exported.files.len()) };
    assert_eq!((name.as_str(), names(bytes)), ("reconstruction.onnx", own("image", "reconstruction")));
    let converted = OnnxModel::from_bytes(bytes).unwrap().network(&[], None).unwrap();
    let inference =
        Inference::new(&converted.network, &converted.parameters, Differentiate::Nothing, &Device::Cpu)
            .unwrap();
    let x = values(256);
    let found = inference.run(&[&x], 1).unwrap().output(0).to_vec();
    let batch = ImageBatch::new(&x, Shape::new(1, 16, 16)).unwrap();
    let expected = own_model.model().reconstructor().reconstruct(batch).unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

fn localizer(config: ModelConfig, parameters: &ParameterSet) -> Localizer {
    let model = Model::new(&config, parameters, &Device::Cpu).unwrap();
    let scale = LinearScale::new(10.0, 200.0).unwrap();
    let preprocessing =
        Preprocessing::new([16, 16]).intensity(Intensity::Range(scale)).clip(Some([0.0, 1.0]));
    let preprocessing = preprocessing.fit([] as [Scan; 0]).unwrap();
    Localizer::new(model, preprocessing, Provenance::new(7, "none")).unwrap()
}

fn vae(likelihood: Likelihood) -> Localizer {
    let config = VaeConfig::new(1, 16, 16)
        .widths([4, 8])
        .latent(Latent::Dense { dimensions: 3 })
        .normalization(Normalization::Group)
        .likelihood(likelihood);
    let (encoder, decoder) = networks(&config).unwrap();
    let mut parameters = ParameterSet::initialize(&encoder, Initialization::HeNormal, 1);
    parameters.extend(ParameterSet::initialize(&decoder, Initialization::HeNormal, 1));
    localizer(ModelConfig::Vae { config, beta: 1.0 }, &parameters)
}

fn scan() -> Scan {
    Image::new(Array3::from_shape_fn((1, 20, 16), |(_, y, x)| ((y * x) % 97) as f32 * 2.0)).into()
}

/// Largest difference of the maps of two localizers, relative to the largest score.
fn off(own: &Localizer, back: &Localizer, name: PredictorName) -> f32 {
    let map = |localizer: &Localizer| localizer.score(&scan(), &[name]).unwrap().scores[0].raw.data().clone();
    let (own, back) = (map(own), map(back));
    let scale = own.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    own.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

#[test]
fn a_vae_goes_out_and_comes_back_with_the_same_maps() {
    for likelihood in [Likelihood::Bernoulli, Likelihood::Gaussian { scale: 0.1 }] {
        let own = vae(likelihood);
        let folder = tempfile::tempdir().unwrap();
        let exported = ExportConfig::default().export(&own).unwrap();
        let paths = exported.write(folder.path(), Existing::Refuse).unwrap();
        assert_eq!(paths.len(), 4);
        assert!(exported.write(folder.path(), Existing::Refuse).is_err());
        let kind = ImportedKind::Vae { likelihood, beta: 1.0 };
        let config = ImportConfig::new(folder.path().join("encoder.onnx"), kind);
        let imported = config.decoder(Some(folder.path().join("decoder.onnx"))).import(&Device::Cpu).unwrap();
        let preprocessing = own.preprocessing().clone();
        let back = Localizer::new(imported.model, preprocessing, imported.provenance).unwrap();
        for name in
            [PredictorName::PixelL1, PredictorName::PixelNll, PredictorName::GradKl, PredictorName::GradRec]
        {
            let off = off(&own, &back, name);
            assert!(off < 1e-5, "{likelihood:?} {name}: {off}");
        }
        // Kept in a file, nothing has to be registered.
        let path = folder.path().join("model.safetensors");
        back.save(&path).unwrap();
        let again = Localizer::load(&path, &Device::Cpu).unwrap();
        assert_eq!(off(&back, &again, PredictorName::GradRec), 0.0);
        // What a server needs is in the file, too.
        let text =
            OnnxModel::read(folder.path().join("reconstruction.onnx")).unwrap().metadata()["lesio"].clone();
        let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(metadata, exported.description);
        assert!(
            metadata["not_in_the_graphs"][0].as_str().unwrap().starts_with("intensity: (value - 10) / 190")
        );
    }
}

/// A graph has one model: what else an ensemble needs is stated.
#[test]
fn an_ensemble_is_described() {
    let own = vae(Likelihood::Bernoulli);
    let mut normals = NormalScoresBuilder::new();
    normals.add((0..100).map(|k| k as f32));
    let normals = normals.finish().unwrap();
    let member = |localizer| EnsembleMember::new("m", localizer, PredictorName::PixelL1, normals.clone());
    let ensemble =
        LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), vec![member(0), member(1)]);
    let alone = ExportConfig::default().export(&own).unwrap().description;
    let whole = own.clone().with_ensemble(ensemble, vec![own]).unwrap();
    let stated = ExportConfig::default().export(&whole).unwrap().description;
    let last = |of: &serde_json::Value| of["not_in_the_graphs"].as_array().unwrap().last().unwrap().clone();
    assert!(last(&stated).as_str().unwrap().starts_with("ensemble: the other models (1)"), "{stated}");
    assert_eq!(stated["ensemble"]["members"][1]["localizer"], 1);
    assert!(alone["ensemble"].is_null() && !last(&alone).as_str().unwrap().starts_with("ensemble"));
}

#[test]
fn a_graph_may_take_and_give_intensities() {
    let own = vae(Likelihood::Bernoulli);
    let exported = ExportConfig::default().scaling(Scaling::Inside).export(&own).unwrap();
    let (_, bytes) = exported.files.iter().find(|(name, _)| *name == "reconstruction.onnx").unwrap();
    let converted = OnnxModel::from_bytes(bytes).unwrap().network(&[], None).unwrap();
    let inference =
        Inference::new(&converted.network, &converted.parameters, Differentiate::Nothing, &Device::Cpu)
            .unwrap();
    let intensities: Vec<f32> = values(256).iter().map(|v| v * 300.0 - 20.0).collect();
    let found = inference.run(&[&intensities], 1).unwrap().output(0).to_vec();
    let scaled: Vec<f32> = intensities.iter().map(|v| ((v - 10.0) / 190.0).clamp(0.0, 1.0)).collect();
    let batch = ImageBatch::new(&scaled, Shape::new(1, 16, 16)).unwrap();
    let expected = own.model().reconstructor().reconstruct(batch).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - (expected * 190.0 + 10.0)).abs() < 2e-3, "{found} {expected}");
    }
    // By percentiles of each image, a graph cannot.
    let preprocessing = Preprocessing::new([16, 16]).intensity(Intensity::Robust(RobustScaling::median()));
    let preprocessing = preprocessing.frame(Frame::Fit(GridFit::new([16, 16]).resize(Resize::Stretch)));
    let preprocessing = preprocessing.fit([] as [Scan; 0]).unwrap();
    let other = Localizer::new(own.model().clone(), preprocessing, Provenance::new(7, "none")).unwrap();
    let error = ExportConfig::default().scaling(Scaling::Inside).export(&other).unwrap_err().to_string();
    assert!(error.contains("robust"), "{error}");
    let described = ExportConfig::default().export(&other).unwrap().description;
    let first = "intensity: percentile 1 of each image to 0, percentile 50 to 0.3125";
    assert_eq!(described["not_in_the_graphs"][0], first);
    let grid = described["not_in_the_graphs"][1].as_str().unwrap();
    assert!(grid.starts_with("grid: the image stretched to 16 x 16"), "{grid}");
}

/// A model that averages over mirror images does so in its graph, which holds the weights once.
#[test]
fn mirror_images_are_averaged_in_the_graph() {
    let network = DenoiserConfig::new(1, 16, 16).widths([16, 32]);
    let mut plain = 0;
    for mirror in [Mirror::Never, Mirror::LeftRight, Mirror::Both] {
        let config = TaughtConfig::new(network.clone(), SyntheticAnomalies::medical());
        let config = config.test_time_mirror(mirror);
        let parameters = ParameterSet::initialize(&config.segmenter().unwrap(), Initialization::HeNormal, 3);
        let weights: usize = parameters.iter().map(|(_, parameter)| 4 * parameter.values().len()).sum();
        let own = localizer(ModelConfig::Segmenter { config }, &parameters);
        let exported = ExportConfig::default().export(&own).unwrap();
        let [(name, bytes)] = &exported.files[..] else { panic!("{} files", exported.files.len()) };
        assert_eq!(name, "reconstruction.onnx");
        plain = if mirror == Mirror::Never { bytes.len() } else { plain };
        assert!(bytes.len() < plain + weights, "{mirror:?}: {} of {plain}", bytes.len());
        let outputs = ["anomaly_logit", "reconstruction"];
        let read = OnnxModel::from_bytes(bytes).unwrap().network(&outputs, None).unwrap();
        let inference =
            Inference::new(&read.network, &read.parameters, Differentiate::Nothing, &Device::Cpu).unwrap();
        let x = values(2 * 256);
        let pass = inference.run(&[&x], 2).unwrap();
        let batch = ImageBatch::new(&x, Shape::new(1, 16, 16)).unwrap();
        let expected = own.model().segmentation().unwrap().segment(batch).unwrap();
        for (k, expected) in [expected.logits, expected.reconstruction].iter().enumerate() {
            let scale = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let off = pass.output(k).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-5 * scale, "{mirror:?}, {}: off by {off} of {scale}", outputs[k]);
        }
    }
}

#[test]
fn a_denoiser_goes_out_and_comes_back() {
    let config = DenoiserConfig::new(1, 16, 16).widths([4, 6]);
    let parameters = ParameterSet::initialize(&config.network().unwrap(), Initialization::HeNormal, 3);
    let own = localizer(ModelConfig::Denoiser { config }, &parameters);
    let folder = tempfile::tempdir().unwrap();
    ExportConfig::default().export(&own).unwrap().write(folder.path(), Existing::Refuse).unwrap();
    let config = ImportConfig::new(folder.path().join("reconstruction.onnx"), ImportedKind::Reconstructor);
    let imported = config.import(&Device::Cpu).unwrap();
    assert!(imported.model.variational().is_none());
    let back = Localizer::new(imported.model, own.preprocessing().clone(), imported.provenance).unwrap();
    assert!(off(&own, &back, PredictorName::PixelL1) < 1e-5);
}
