//! Export of localizers to ONNX, with a description of everything that ONNX cannot represent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lesio_anomaly::{DeclaredConfig, Localizer, ModelConfig};
use lesio_files::Existing;
use lesio_image::{Intensity, LinearScale};
use lesio_nn::{Network, Node, NodeId, ParameterSet, Shape};
use lesio_settings::setters;
use lesio_vae::{LOG_VARIANCE_RANGE, Likelihood, Mirror, networks};
use serde_json::Value as Json;

use super::description::{POSITION, description, position_file};
use super::error::ExportError;
use super::graph::{GraphWriter, Value};

/// The place where intensities are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Before the graph: the input of the graph is the scaled input of the network.
    #[default]
    Outside,
    /// In the graph of the reconstruction: its input and output are intensities.
    Inside,
}

/// Options for writing a localizer as ONNX.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ExportConfig {
    /// The place where intensities are scaled. Default outside.
    pub scaling: Scaling,
}

setters!(ExportConfig { scaling: Scaling });

/// A localizer, or several networks, in ONNX format.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exported {
    /// File names and contents: `reconstruction.onnx`, or `segmentation.onnx` for a segmenter without a restored
    /// image; for a VAE also `encoder.onnx` and `decoder.onnx`; for a localizer that normalizes scores by position also
    /// `position.safetensors`. Of [`Exported::of_networks`] `NAME.onnx` for each network.
    pub files: Vec<(String, Vec<u8>)>,
    /// Description of the localizer: preprocessing, filters, thresholds, provenance, and steps outside the graphs; or
    /// the description that [`Exported::of_networks`] was given.
    pub description: Json,
}

/// The networks of a model.
enum Networks {
    Vae {
        encoder: Network,
        decoder: Network,
        likelihood: Likelihood,
    },
    /// The output is averaged over mirror images.
    Reconstructor(Network, Mirror),
    /// The channels of the output are the logit and, if present, the restored image.
    Segmenter(Network, Mirror),
}

/// Encodes a network with one input as an ONNX file of opset [`OPSET`](crate::OPSET). `outputs` names its outputs, in order.
///
/// A layer with the name of the input or of an output gets another name. An output with the name of the input or of an
/// earlier output gets a number at its end.
///
/// # Errors
/// For layers without a counterpart in ONNX, and for missing parameters.
pub fn network_to_onnx(
    network: &Network,
    parameters: &ParameterSet,
    input: &str,
    outputs: &[&str],
) -> Result<Vec<u8>, ExportError> {
    let name = |k: usize| outputs.get(k).copied().unwrap_or("output");
    let mut graph = GraphWriter::new((0..network.outputs().len()).map(name));
    let shape = network.input_shapes().first().copied().unwrap_or(Shape::vector(1));
    let x = graph.input(input, shape);
    let values = graph.network(network, parameters, &[x])?;
    for (k, value) in values.iter().enumerate() {
        graph.output(name(k), value);
    }
    Ok(graph.to_bytes("network"))
}

impl Exported {
    /// Several networks with their parameters, each as the file `NAME.onnx`, with a description that each file holds in its
    /// metadata. Inputs have the names of the network's inputs, and outputs those of the layers that compute them, without
    /// the network's own name and a dot before them.
    ///
    /// # Errors
    /// Layers that have no counterpart, and parameters that are missing.
    pub fn of_networks<'n>(
        networks: impl IntoIterator<Item = (&'n str, &'n Network)>,
        parameters: &ParameterSet,
        description: Json,
    ) -> Result<Self, ExportError> {
        let text = serde_json::to_string(&description)?;
        let mut files = Vec::new();
        for (name, network) in networks {
            let own = |id: &NodeId| {
                let full = network.node(*id).map_or("value", Node::name);
                full.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full)
            };
            let mut graph = GraphWriter::new(network.outputs().iter().map(&own));
            let inputs = network.inputs().iter().zip(network.input_shapes());
            let inputs: Vec<Value> = inputs.map(|(id, shape)| graph.input(own(id), shape)).collect();
            let values = graph.network(network, parameters, &inputs)?;
            for (id, value) in network.outputs().iter().zip(&values) {
                graph.output(own(id), value);
            }
            graph.metadata("lesio", text.clone());
            files.push((format!("{name}.onnx"), graph.to_bytes(name)));
        }
        Ok(Self { files, description })
    }
}

impl ExportConfig {
    /// Converts a localizer to ONNX.
    ///
    /// # Errors
    /// For a user-defined model, whose networks lesio does not know, and for [`Scaling::Inside`] if the scaling
    /// differs between images.
    pub fn export(&self, localizer: &Localizer) -> Result<Exported, ExportError> {
        let networks = networks_of(localizer)?;
        let parameters = localizer.model().parameters()?;
        let scale = match self.scaling {
            Scaling::Outside => None,
            Scaling::Inside => Some(linear_scale(localizer)?),
        };
        let description = description(localizer, scale)?;
        let text = serde_json::to_string(&description)?;
        let mut files = Vec::new();
        if let Some(bytes) = position_file(localizer)? {
            files.push((POSITION.to_owned(), bytes));
        }
        let mut file = |name: &'static str, mut graph: GraphWriter| {
            graph.metadata("lesio", text.clone());
            files.push((name.to_owned(), graph.to_bytes(name.trim_end_matches(".onnx"))));
        };
        let shape = localizer.model().image_shape();
        if let Networks::Vae { encoder, decoder, likelihood } = &networks {
            let mut graph = GraphWriter::new(["mean", "log_variance"]);
            let x = graph.input("image", shape);
            let [mean, log_variance] = posterior(&mut graph, encoder, &parameters, &x)?;
            graph.output("mean", &mean);
            graph.output("log_variance", &log_variance);
            file("encoder.onnx", graph);
            let mut graph = GraphWriter::new(["reconstruction"]);
            let latent = decoder.input_shapes().first().copied().unwrap_or(Shape::vector(1));
            let z = graph.input("latent", latent);
            let image = decoded(&mut graph, decoder, &parameters, &z, *likelihood, shape)?;
            graph.output("reconstruction", &image);
            file("decoder.onnx", graph);
        }
        let mut graph = GraphWriter::new(["anomaly_logit", "reconstruction"]);
        let image = graph.input("image", shape);
        let x = match scale {
            Some(scale) => scaled(&mut graph, &image, &scale, localizer.preprocessing().config().clip),
            None => image,
        };
        let out = match &networks {
            Networks::Vae { encoder, decoder, likelihood } => {
                let [mean, _] = posterior(&mut graph, encoder, &parameters, &x)?;
                decoded(&mut graph, decoder, &parameters, &mean, *likelihood, shape)?
            }
            Networks::Reconstructor(network, mirror) => {
                averaged(&mut graph, network, &parameters, &x, *mirror)?
            }
            Networks::Segmenter(network, mirror) => {
                let out = averaged(&mut graph, network, &parameters, &x, *mirror)?;
                let (logit, restored) = divided(&mut graph, &out, shape);
                graph.output("anomaly_logit", &logit);
                match restored {
                    Some(restored) => restored,
                    None => {
                        file("segmentation.onnx", graph);
                        return Ok(Exported { files, description });
                    }
                }
            }
        };
        let out = match scale {
            // Back to intensities.
            Some(scale) => {
                let range = scale.high() - scale.low();
                graph.line("intensities", &out, range as f32, scale.low() as f32)
            }
            None => out,
        };
        graph.output("reconstruction", &out);
        file("reconstruction.onnx", graph);
        Ok(Exported { files, description })
    }
}

impl Exported {
    /// Writes the files and the description (`model.json`, which also lists the files) into a folder and returns their
    /// paths. Each file is written completely or not at all. With [`Existing::Replace`], the files that the description in
    /// the folder lists are removed first: another model may have other networks.
    ///
    /// # Errors
    /// For a file that cannot be written or removed, or that exists and must not be replaced.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<Vec<PathBuf>, ExportError> {
        let mut description = self.description.clone();
        description["files"] = self.files.iter().map(|(name, _)| name.as_str()).collect();
        let text = serde_json::to_string_pretty(&description)?;
        if existing == Existing::Replace {
            remove_listed(folder)?;
        }
        let files = self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let mut written = Vec::new();
        for (name, bytes) in files.chain([(DESCRIPTION, text.as_bytes())]) {
            let path = folder.join(name);
            lesio_files::write(&path, existing, |out| out.write_all(bytes))?;
            written.push(path);
        }
        Ok(written)
    }
}

/// The file of the description.
const DESCRIPTION: &str = "model.json";

/// Removes the networks that the description of an earlier export lists.
fn remove_listed(folder: &Path) -> Result<(), ExportError> {
    let read = std::fs::read(folder.join(DESCRIPTION)).ok();
    let earlier: Option<Json> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let listed = earlier.as_ref().and_then(|own| own["files"].as_array()).into_iter().flatten();
    // Names of files in this folder, whatever the description says.
    let is_own = |name: &&str| {
        let is_written = name.ends_with(".onnx") || *name == POSITION;
        is_written && Path::new(name).file_name() == Some(name.as_ref())
    };
    for name in listed.filter_map(Json::as_str).filter(is_own) {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(ExportError::Remove { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn networks_of(localizer: &Localizer) -> Result<Networks, ExportError> {
    Ok(match localizer.model().config() {
        ModelConfig::Vae { config, .. } => {
            let (encoder, decoder) = networks(&config)?;
            Networks::Vae { encoder, decoder, likelihood: config.likelihood }
        }
        ModelConfig::Denoiser { config } => Networks::Reconstructor(config.network()?, Mirror::Never),
        ModelConfig::Restorer { config } => {
            Networks::Reconstructor(config.restorer()?, config.test_time_mirror)
        }
        ModelConfig::Segmenter { config } => {
            Networks::Segmenter(config.segmenter()?, config.test_time_mirror)
        }
        ModelConfig::Declared { config: DeclaredConfig::Vae { encoder, decoder, likelihood, .. } } => {
            Networks::Vae { encoder, decoder, likelihood }
        }
        ModelConfig::Declared { config: DeclaredConfig::Reconstructor { network } } => {
            Networks::Reconstructor(network, Mirror::Never)
        }
        ModelConfig::Declared { config: DeclaredConfig::Segmenter { network } } => {
            Networks::Segmenter(network, Mirror::Never)
        }
        _ => return Err(ExportError::Model { kind: localizer.model().kind() }),
    })
}

/// The scale that all images share.
fn linear_scale(localizer: &Localizer) -> Result<LinearScale, ExportError> {
    match &localizer.preprocessing().config().intensity {
        Intensity::Range(scale) => Ok(*scale),
        other => {
            let found = serde_json::to_value(other)?;
            let name = found.as_str().map(str::to_owned);
            let found = name.or_else(|| Some(found.as_object()?.keys().next()?.clone())).unwrap_or_default();
            Err(ExportError::Scaling { found })
        }
    }
}

/// Scales intensities to the range of the network.
fn scaled(graph: &mut GraphWriter, image: &Value, scale: &LinearScale, clip: Option<[f32; 2]>) -> Value {
    let range = scale.high() - scale.low();
    let x = graph.line("scaled", image, (1.0 / range) as f32, (-scale.low() / range) as f32);
    let Some([low, high]) = clip else { return x };
    let low = graph.floats("clip.low", &[], &[low]);
    let high = graph.floats("clip.high", &[], &[high]);
    graph.op("Clip", "clipped", &[&x.name, &low, &high], vec![], x.dims)
}

/// The mean and the log-variance; the log-variance is clipped to its range.
fn posterior(
    graph: &mut GraphWriter,
    encoder: &Network,
    parameters: &ParameterSet,
    x: &Value,
) -> Result<[Value; 2], ExportError> {
    let mut outputs = graph.network(encoder, parameters, std::slice::from_ref(x))?.into_iter();
    let missing = || ExportError::Missing { name: "an output of the encoder".to_owned() };
    let (mean, log_variance) = (outputs.next().ok_or_else(missing)?, outputs.next().ok_or_else(missing)?);
    let [low, high] = LOG_VARIANCE_RANGE;
    let low = graph.floats("log_variance.low", &[], &[low]);
    let high = graph.floats("log_variance.high", &[], &[high]);
    let dims = log_variance.dims.clone();
    let kept = graph.op("Clip", "log_variance.kept", &[&log_variance.name, &low, &high], vec![], dims);
    Ok([mean, kept])
}

/// The expected image for a latent vector.
fn decoded(
    graph: &mut GraphWriter,
    decoder: &Network,
    parameters: &ParameterSet,
    latent: &Value,
    likelihood: Likelihood,
    shape: Shape,
) -> Result<Value, ExportError> {
    let out = first(graph.network(decoder, parameters, std::slice::from_ref(latent))?)?;
    Ok(match likelihood {
        Likelihood::Bernoulli => graph.op("Sigmoid", "probability", &[&out.name], vec![], out.dims),
        Likelihood::GaussianLearned => channels(graph, "expected", &out, 0, shape.channels),
        _ => out,
    })
}

/// The output of a network, averaged over the image and its mirror images as [`Mirror`] does it for the models of
/// lesio-vae.
fn averaged(
    graph: &mut GraphWriter,
    network: &Network,
    parameters: &ParameterSet,
    x: &Value,
    mirror: Mirror,
) -> Result<Value, ExportError> {
    const ROWS: i64 = 2;
    const COLUMNS: i64 = 3;
    let reflections: &[&[i64]] = match mirror {
        Mirror::Never => &[],
        Mirror::LeftRight => &[&[COLUMNS]],
        Mirror::Both => &[&[COLUMNS], &[ROWS], &[ROWS, COLUMNS]],
        other => {
            let (name, layer) = ("mirror images".to_owned(), format!("{other:?}"));
            return Err(ExportError::Layer { name, layer });
        }
    };
    let own = first(graph.network(network, parameters, std::slice::from_ref(x))?)?;
    if reflections.is_empty() {
        return Ok(own);
    }
    let mut views = vec![own];
    for &axes in reflections {
        let turned = graph.mirrored("mirrored", x, axes);
        let out = first(graph.network(network, parameters, &[turned])?)?;
        views.push(graph.mirrored("mirrored_back", &out, axes));
    }
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let sum = graph.op("Sum", "views", &names, vec![], views[0].dims.clone());
    let share = graph.floats("views.share", &[], &[1.0 / views.len() as f32]);
    Ok(graph.op("Mul", "views.mean", &[&sum.name, &share], vec![], sum.dims.clone()))
}

/// The logit of a segmenter, and the restored image if the output has more channels.
fn divided(graph: &mut GraphWriter, out: &Value, shape: Shape) -> (Value, Option<Value>) {
    if out.dims.first() == Some(&1) {
        return (out.clone(), None);
    }
    let logit = channels(graph, "logit", out, 0, 1);
    (logit, Some(channels(graph, "restored", out, 1, 1 + shape.channels)))
}

fn channels(graph: &mut GraphWriter, name: &str, of: &Value, first: usize, end: usize) -> Value {
    let bounds = [("starts", first as i64), ("ends", end as i64), ("axes", 1)];
    let bounds = bounds.map(|(what, value)| graph.integers(&format!("{name}.{what}"), &[value]));
    let mut dims = of.dims.clone();
    if let Some(channels) = dims.first_mut() {
        *channels = end - first;
    }
    graph.op("Slice", name, &[&of.name, &bounds[0], &bounds[1], &bounds[2]], vec![], dims)
}

fn first(values: Vec<Value>) -> Result<Value, ExportError> {
    let missing = || ExportError::Missing { name: "an output of the network".to_owned() };
    values.into_iter().next().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lesio_anomaly::{Model, Provenance};
    use lesio_image::{Preprocessing, Scan};
    use lesio_nn::{Convolution, Device, Initialization, Layer, NetworkBuilder};
    use lesio_vae::{
        DenoiserConfig, Latent, SyntheticAnomalies, TaughtConfig, VaeConfig, initial_parameters,
    };

    use super::*;

    /// The kinds that serde knows: "unknown variant `none`, expected one of `vae`, `denoiser`, ...".
    fn kinds<T: std::fmt::Debug>(read: serde_json::Result<T>) -> BTreeSet<String> {
        read.unwrap_err().to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    /// A model whose parameters are those of a network.
    fn of_network(config: ModelConfig, network: &Network) -> (ModelConfig, ParameterSet) {
        (config, ParameterSet::initialize(network, Initialization::HeNormal, 1))
    }

    /// Models are of another crate, where they are `#[non_exhaustive]`: the compiler does not name one that is missing
    /// in [`networks_of`].
    #[test]
    fn models_of_every_kind_are_exported() {
        let vae = VaeConfig::new(1, 16, 16).widths([4]).latent(Latent::Dense { dimensions: 2 });
        let of_vae = initial_parameters(&vae, 1).unwrap();
        let (encoder, decoder) = networks(&vae).unwrap();
        let declared_vae = DeclaredConfig::Vae { encoder, decoder, likelihood: vae.likelihood, beta: 1.0 };
        let denoiser = DenoiserConfig::new(1, 16, 16).widths([4, 6]);
        let network = denoiser.network().unwrap();
        let taught = TaughtConfig::new(denoiser.clone(), SyntheticAnomalies::medical());
        let (restorer, segmenter) = (taught.restorer().unwrap(), taught.segmenter().unwrap());
        let mut marks = NetworkBuilder::new();
        let image = marks.input("image", Shape::new(1, 16, 16));
        let logit = marks.layer("logit", Layer::Convolution(Convolution::new(1, 3).padding(1)), &[image]);
        let marks = marks.finish(&[logit.unwrap()]).unwrap();
        let declared = |config: DeclaredConfig| ModelConfig::Declared { config };
        let models = [
            (ModelConfig::Vae { config: vae, beta: 1.0 }, of_vae.clone()),
            of_network(ModelConfig::Denoiser { config: denoiser }, &network),
            of_network(ModelConfig::Restorer { config: taught.clone() }, &restorer),
            of_network(ModelConfig::Segmenter { config: taught }, &segmenter),
            (declared(declared_vae), of_vae),
            of_network(declared(DeclaredConfig::Reconstructor { network: network.clone() }), &network),
            of_network(declared(DeclaredConfig::Segmenter { network: marks.clone() }), &marks),
        ];
        let (mut exported, mut of_declared) = (BTreeSet::new(), BTreeSet::new());
        for (config, parameters) in models {
            let model = Model::new(&config, &parameters, &Device::Cpu).unwrap();
            let preprocessing = Preprocessing::new([16, 16]).fit([] as [Scan; 0]).unwrap();
            let localizer = Localizer::new(model, preprocessing, Provenance::new(1, "none")).unwrap();
            let written = ExportConfig::default().export(&localizer).unwrap();
            // A segmenter that restores nothing has no reconstruction that a server compares with the image.
            let is_compared = !written.description.to_string().contains("score: anomaly_logit is the map");
            assert_eq!(written.files[0].0 != "segmentation.onnx", is_compared);
            let is_told =
                written.description.to_string().contains("anomaly_logit is the map of anomaly-logit");
            assert_eq!(is_told, matches!(config, ModelConfig::Segmenter { .. }));
            let document = serde_json::to_value(&config).unwrap();
            exported.extend(document.as_object().unwrap().keys().cloned());
            let declared = document["declared"]["config"].as_object();
            of_declared.extend(declared.into_iter().flat_map(|own| own.keys().cloned()));
        }
        let mut expected = kinds(serde_json::from_str::<ModelConfig>("\"none\""));
        assert!(expected.remove("own"), "the networks of a user-defined model are unknown");
        assert_eq!(exported, expected);
        assert_eq!(of_declared, kinds(serde_json::from_str::<DeclaredConfig>("\"none\"")));
    }
}
