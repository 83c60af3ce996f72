//! What is written as ONNX and read again computes the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use lesio_anomaly::{
    Calibration, DeclaredConfig, EnsembleConfig, EnsembleMember, EnsembleRule, Localizer, LocalizerEnsemble,
    Model, ModelConfig, NormalScoresBuilder, PositionBuilder, PostProcessing, PredictorName, Provenance,
};
use lesio_files::Existing;
use lesio_image::{
    Frame, Geometry, GridFit, Image, Intensity, LinearScale, Preprocessing, Resize, RobustScaling, Scan,
    Volume,
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
use serde_json::Value;

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
        assert_eq!(steps(&metadata)[0], "intensity: (value - 10) / 190");
    }
}

/// The steps that the graphs leave out.
fn steps(stated: &Value) -> Vec<&str> {
    stated["not_in_the_graphs"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect()
}

/// The step with a name.
fn step<'s>(stated: &'s Value, name: &str) -> &'s str {
    let found = steps(stated).into_iter().find(|step| step.starts_with(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("no {name} in {:?}", steps(stated)))
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Runs an exported graph that has one image as input.
fn run(exported: &Exported, name: &str, image: &[f32]) -> Vec<f32> {
    let (_, bytes) = exported.files.iter().find(|(own, _)| *own == name).unwrap();
    let read = OnnxModel::from_bytes(bytes).unwrap().network(&[], None).unwrap();
    let inference =
        Inference::new(&read.network, &read.parameters, Differentiate::Nothing, &Device::Cpu).unwrap();
    inference.run(&[image], 1).unwrap().output(0).to_vec()
}

/// The surprise of a score as docs/serving.md states it, by the numbers in the description alone.
fn surprise(score: f64, normals: &Value, levels: &[f64]) -> f64 {
    let (q, n) = (numbers(&normals["quantiles"]), normals["pixels"].as_f64().unwrap());
    let least = 1.0 / (1.0 + n);
    let last = levels.iter().rposition(|level| level * n >= 1.0).unwrap_or(0);
    if score <= q[last] {
        let i = q.iter().filter(|&&quantile| quantile <= score).count();
        let share = if i == 0 {
            1.0
        } else if i == q.len() {
            levels[i - 1]
        } else {
            let f = if q[i] > q[i - 1] { (score - q[i - 1]) / (q[i] - q[i - 1]) } else { 0.0 };
            levels[i - 1] * (levels[i] / levels[i - 1]).powf(f)
        };
        return -share.max(least).log10();
    }
    let k = -levels[last].max(least).log10();
    let middle = levels.iter().position(|&level| level == 0.5).unwrap();
    let rise = k + 0.5f64.log10();
    let slope = if q[last] > q[middle] && rise > 0.0 { rise / (q[last] - q[middle]) } else { 1.0 };
    k + (score - q[last]) * slope
}

/// A graph has one model: what else an ensemble needs is stated.
#[test]
fn an_ensemble_is_described() {
    let (own, other) = (vae(Likelihood::Bernoulli), vae(Likelihood::Gaussian { scale: 0.1 }));
    let map = |localizer: &Localizer| {
        localizer.score(&scan(), &[PredictorName::PixelL1]).unwrap().scores[0].postprocessed.data().clone()
    };
    let maps = [map(&own), map(&other)];
    // Scores below, among and above those of the normal subjects.
    let normals = |map: &Array3<f32>| {
        let mut normals = NormalScoresBuilder::new();
        let mean = map.sum() / map.len() as f32;
        normals.add(map.iter().map(|score| 0.5 * (score + mean)));
        normals.finish().unwrap()
    };
    let member = |k: usize| EnsembleMember::new("m", k, PredictorName::PixelL1, normals(&maps[k]));
    let ensemble =
        LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), vec![member(0), member(1)]);
    let alone = ExportConfig::default().export(&own).unwrap().description;
    let whole = own.with_ensemble(ensemble, vec![other]).unwrap();
    let stated = ExportConfig::default().export(&whole).unwrap().description;
    let last = steps(&stated).pop().unwrap();
    for part in
        ["ensemble:", "to surprise", "not filtered again", "Localizer 0", "(1 to 1, see", "export their own"]
    {
        assert!(last.contains(part), "{part}: {last}");
    }
    let own = &stated["ensemble"];
    assert_eq!(
        (&own["members"][1]["localizer"], own["localizers"].as_array().unwrap().len()),
        (&1.into(), 2)
    );
    assert_eq!(own["localizers"][1]["provenance"], serde_json::json!(whole.others()[0].provenance()));
    assert!(alone["ensemble"].is_null() && !steps(&alone).pop().unwrap().starts_with("ensemble"));

    let levels = numbers(&own["levels"]);
    let found = &whole.score(&scan(), &[PredictorName::Ensemble]).unwrap().scores[0];
    assert_eq!(found.raw, found.postprocessed);
    let highest = numbers(&own["members"][0]["normals"]["quantiles"]).pop().unwrap();
    let (mut low, mut high) = (0, 0);
    for (place, &found) in found.raw.data().indexed_iter() {
        let of = |k: usize| surprise(f64::from(maps[k][place]), &own["members"][k]["normals"], &levels);
        let expected = (of(0) + of(1)) / 2.0;
        assert!((f64::from(found) - expected).abs() < 1e-4 * (1.0 + expected), "{found} {expected}");
        low += usize::from(of(0) == 0.0);
        high += usize::from(f64::from(maps[0][place]) > highest);
    }
    assert!(low > 0 && high > 0, "{low} {high}");
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
    // The thresholds are those of scaled values: by the steps, the maps are those of the localizer.
    let stated = &exported.description;
    let [low, high] = numbers(&stated["input"]["score_scale"])[..] else { panic!("{stated}") };
    assert!(step(stated, "scale").contains("(x - 10) / 190 and (y - 10) / 190"), "{:?}", steps(stated));
    assert_eq!(step(stated, "clip"), "clip: to 10 and 200");
    assert!(step(stated, "grid").contains("centered and 10 beside it"), "{:?}", steps(stated));
    let clipped: Vec<f32> = intensities.iter().map(|v| v.clamp(10.0, 200.0)).collect();
    let y = run(&exported, "reconstruction.onnx", &clipped);
    let image = Image::new(Array3::from_shape_vec((1, 16, 16), intensities.clone()).unwrap());
    let scored = own.score(&image.into(), &[PredictorName::PixelL1, PredictorName::PixelL2]).unwrap();
    let scale = |value: f32| (f64::from(value) - low) / (high - low);
    for (k, (&x, &y)) in clipped.iter().zip(&y).enumerate() {
        let d = (scale(x) - scale(y)).abs();
        for (score, expected) in scored.scores.iter().zip([d, d * d]) {
            let found = f64::from(score.raw.data()[[k % 16, k / 16, 0]]);
            assert!((found - expected).abs() < 1e-5, "{}: {found} {expected}", score.predictor);
        }
    }
    let outside = ExportConfig::default().export(&own).unwrap().description;
    assert!(
        outside["input"]["score_scale"].is_null()
            && outside["input"]["range"] == serde_json::json!([0.0, 1.0])
    );
    // By percentiles of each image, a graph cannot.
    let preprocessing = Preprocessing::new([16, 16]).intensity(Intensity::Robust(RobustScaling::median()));
    let preprocessing = preprocessing.frame(Frame::Fit(GridFit::new([16, 16]).resize(Resize::Stretch)));
    let preprocessing = preprocessing.fit([] as [Scan; 0]).unwrap();
    let other = Localizer::new(own.model().clone(), preprocessing, Provenance::new(7, "none")).unwrap();
    let error = ExportConfig::default().scaling(Scaling::Inside).export(&other).unwrap_err().to_string();
    assert!(error.contains("robust"), "{error}");
    let described = ExportConfig::default().export(&other).unwrap().description;
    // Pictures and volumes differ in what is scaled together.
    let together = "; a picture by all channels together, a volume by each channel alone and all its slices";
    let first = format!("intensity: percentile 1 of all pixels to 0, percentile 50 to 0.3125{together}");
    assert_eq!(steps(&described)[0], first);
    let grid = step(&described, "grid");
    assert!(
        grid.starts_with("grid: the image stretched to 16 x 16, each axis by its own factor; "),
        "{grid}"
    );
    assert!(
        grid.contains("the mean over the area of each new pixel, a larger one linear between the centers")
    );
    let heads = Preprocessing::heads([16, 16]).intensity(Intensity::Robust(RobustScaling::new()));
    let heads = heads.fit([] as [Scan; 0]).unwrap();
    let head = Localizer::new(own.model().clone(), heads, Provenance::new(7, "none")).unwrap();
    let described = ExportConfig::default().export(&head).unwrap().description;
    let first =
        format!("intensity: percentile 1 of the pixels of the foreground to 0, percentile 99 to 1{together}");
    assert_eq!(step(&described, "intensity"), first);
    let plane = "plane: of a volume each axial slice alone, whose rows run from front to back and columns from left \
                 to right of the patient; a picture as it is seen";
    assert_eq!(step(&described, "plane"), plane);
}

/// By the steps, the graph and the file of normal scores by position give the maps of a localizer whose thresholds are in
/// deviations; slices are as they are stated to be.
#[test]
fn normal_scores_by_position_are_written() {
    let volume = |seed: usize| {
        let data = Array3::from_shape_fn((16, 16, 7), |(i, j, k)| {
            ((i * 31 + j * 17 + k * 7 + seed * 5) % 190) as f32
        });
        Scan::from(Volume::new(data, Geometry::default()))
    };
    let own = vae(Likelihood::Bernoulli).with_postprocessing(PostProcessing::none());
    let names = [PredictorName::PixelL1, PredictorName::GradKl];
    let mut builder = PositionBuilder::new(&names, [16, 16], 3).unwrap();
    (0..4).for_each(|seed| own.add_normal(&mut builder, &volume(seed), |_| true).unwrap());
    let own = own.with_position_normals(builder.finish()).unwrap();
    let mut calibration = Calibration::new();
    for name in [PredictorName::PixelL1, PredictorName::PixelL2] {
        let mut normals = NormalScoresBuilder::new();
        normals.add([1.0, 2.0]);
        calibration.insert(name, normals.finish().unwrap());
    }
    let own = own.with_calibration(calibration);
    let exported = ExportConfig::default().export(&own).unwrap();
    let stated = &exported.description;
    let unit = |name: &str| stated["calibration"][name]["thresholds_in"].clone();
    assert_eq!((unit("pixel-l1"), unit("pixel-l2")), ("deviations".into(), "scores".into()));
    let position = step(stated, "position");
    for part in ["(map - mean) / deviation at each pixel of the grid", "floor(p x bands), at most bands - 1"]
    {
        assert!(position.contains(part), "{position}");
    }
    let folder = tempfile::tempdir().unwrap();
    exported.write(folder.path(), Existing::Refuse).unwrap();
    let bytes = std::fs::read(folder.path().join("position.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    // Gradients do not follow from the graphs.
    assert_eq!(file.names().len(), 2);
    let tensor = |what: &str| -> Vec<f32> {
        let tensor = file.tensor(&format!("pixel-l1.{what}")).unwrap();
        assert_eq!(tensor.shape(), [3, 16, 16]);
        tensor.data().chunks_exact(4).map(|own| f32::from_le_bytes(own.try_into().unwrap())).collect()
    };
    let (mean, deviation) = (tensor("mean"), tensor("deviation"));
    let scan = volume(9);
    let scored = own.score(&scan, &[PredictorName::PixelL1]).unwrap();
    for slice in 0..7 {
        // Rows from front to back: the second axis of RAS, reversed. Columns from left to right: the first.
        let value = |k: usize| scan.data()[[0, k % 16, 15 - k / 16, slice]];
        let x: Vec<f32> = (0..256).map(|k| ((value(k) - 10.0) / 190.0).clamp(0.0, 1.0)).collect();
        let y = run(&exported, "reconstruction.onnx", &x);
        let band = (slice as f64 / 6.0 * 3.0).floor().min(2.0) as usize;
        for k in 0..256 {
            let expected = ((x[k] - y[k]).abs() - mean[band * 256 + k]) / deviation[band * 256 + k];
            let found = scored.scores[0].postprocessed.data()[[k % 16, 15 - k / 16, slice]];
            assert!((found - expected).abs() < 1e-3, "slice {slice}, pixel {k}: {found} {expected}");
        }
    }
    // Of a model without them, it does not remain.
    let other = ExportConfig::default().export(&vae(Likelihood::Bernoulli)).unwrap();
    other.write(folder.path(), Existing::Replace).unwrap();
    assert!(!folder.path().join("position.safetensors").exists());
}

/// A server that follows the steps in their order gets the localizer's maps.
#[test]
fn steps_are_in_their_order() {
    let heads = Preprocessing::heads([16, 16]).intensity(Intensity::Robust(RobustScaling::new()));
    let heads = heads.fit([] as [Scan; 0]).unwrap();
    let head = |config: ModelConfig, parameters: &ParameterSet| {
        let model = Model::new(&config, parameters, &Device::Cpu).unwrap();
        Localizer::new(model, heads.clone(), Provenance::new(7, "none")).unwrap()
    };
    let config = DenoiserConfig::new(1, 16, 16).widths([4, 6]);
    let parameters = ParameterSet::initialize(&config.network().unwrap(), Initialization::HeNormal, 3);
    let own = head(ModelConfig::Denoiser { config }, &parameters);
    let own = own.with_postprocessing(PostProcessing::default().erosion(2.0));
    let mut builder = PositionBuilder::new(&[PredictorName::PixelL1], [16, 16], 2).unwrap();
    let ball = Array3::from_shape_fn((24, 24, 6), |(i, j, k)| {
        let square = (i as f32 - 12.0).powi(2) + (j as f32 - 12.0).powi(2) + 9.0 * (k as f32 - 3.0).powi(2);
        if square < 80.0 { 100.0 + (i * j % 7) as f32 } else { 3.0 }
    });
    own.add_normal(&mut builder, &Volume::new(ball, Geometry::default()).into(), |_| true).unwrap();
    let own = own.with_position_normals(builder.finish()).unwrap();
    let mut normals = NormalScoresBuilder::new();
    normals.add([1.0, 2.0]);
    let member = EnsembleMember::new("m", 0, PredictorName::PixelL1, normals.finish().unwrap());
    let ensemble = LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), vec![member]);
    let own = own.with_ensemble(ensemble, vec![]).unwrap();
    let stated = ExportConfig::default().export(&own).unwrap().description;
    let order: Vec<&str> = steps(&stated).iter().map(|step| step.split([':', ' ']).next().unwrap()).collect();
    let expected = [
        "foreground",
        "intensity",
        "clip",
        "background",
        "plane",
        "grid",
        "score",
        "position",
        "back",
        "median",
        "erosion",
        "outside",
        "ensemble",
    ];
    assert_eq!(order, expected);
    let median = steps(&stated)[9];
    assert!(median.contains("in millimeters of a volume and pixels of the grid of a picture"), "{median}");
    assert!(median.contains("length x image pixels per grid pixel of a picture"), "{median}");
    assert!(step(&stated, "back").contains("its lowest value inside the foreground"));
}

/// Every threshold belongs to a formula of docs/serving.md, or its predictor is listed as one that the graphs cannot serve.
#[test]
fn predictors_have_a_formula_or_are_listed() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/serving.md")).unwrap();
    let formula = |name: &str| {
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        row.unwrap_or_else(|| panic!("{name} is not in the table"))
            .split('|')
            .nth(2)
            .unwrap()
            .trim()
            .to_owned()
    };
    let by_text = |name: &str| !formula(name).starts_with("not from the graphs");
    for (likelihood, is_nll) in
        [(Likelihood::Laplace { scale: 0.25 }, true), (Likelihood::GaussianLearned, false)]
    {
        let own = vae(likelihood);
        let mut normals = NormalScoresBuilder::new();
        normals.add([1.0, 2.0]);
        let normals = normals.finish().unwrap();
        let mut calibration = Calibration::new();
        PredictorName::ALL.into_iter().for_each(|name| calibration.insert(name, normals.clone()));
        let own = own.with_calibration(calibration);
        let exported = ExportConfig::default().export(&own).unwrap();
        let stated = &exported.description;
        let listed: Vec<&str> = stated["not_from_the_graphs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own.as_str().unwrap())
            .collect();
        for name in stated["calibration"].as_object().unwrap().keys() {
            let expected = by_text(name) && (name != "pixel-nll" || is_nll);
            assert_eq!(!listed.contains(&name.as_str()), expected, "{name}");
        }
        assert!(!by_text("ensemble") || formula("ensemble").contains("maps of its members"));
        assert_eq!(stated["calibration"]["pixel-l1"]["pixel_thresholds"]["0.001"], normals.threshold(0.001));
        assert_eq!((&stated["beta"], &stated["precision"]), (&1.0.into(), &"single".into()));
        if !is_nll {
            assert_eq!(stated["likelihood"], "gaussian-learned");
            continue;
        }
        // By the formula of the likelihood that is stated.
        let scale = stated["likelihood"]["laplace"]["scale"].as_f64().unwrap();
        let x = values(256);
        let y = run(&exported, "reconstruction.onnx", &x);
        let image = Image::new(Array3::from_shape_fn((1, 16, 16), |(_, r, c)| x[r * 16 + c] * 190.0 + 10.0));
        let found = own.score(&image.into(), &[PredictorName::PixelNll]).unwrap();
        for k in 0..256 {
            let expected = f64::from((x[k] - y[k]).abs()) / scale + (2.0 * scale).ln();
            let found = f64::from(found.scores[0].raw.data()[[k % 16, k / 16, 0]]);
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
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
