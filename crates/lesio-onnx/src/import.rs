//! Import of ONNX models as models of a localizer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lesio_anomaly::{DeclaredConfig, Model, ModelConfig, Provenance};
use lesio_nn::{Device, Shape, StateDict, StateDictError};
use lesio_settings::setters;
use lesio_vae::{BuildError, Likelihood};

use crate::error::OnnxError;
use crate::extract::{Converted, Names, extract};
use crate::image::{axes_of, image_input};
use crate::model::OnnxModel;
use crate::network::{OutputForm, Sigmoid};
use crate::vae::{ConvertedVae, EncoderHalf, VaeTensors};

/// The output of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ImportedKind {
    /// The mean and the log-variance of a latent vector, and an image for this vector.
    Vae {
        /// The likelihood of pixels. For a Bernoulli likelihood, the model returns the probability if it ends with a
        /// sigmoid, otherwise the logit.
        likelihood: Likelihood,
        /// The weight of the divergence in the evidence lower bound with which the model was trained.
        beta: f64,
    },
    /// A normal version of the image, as autoencoders, denoisers and restorers compute it.
    Reconstructor,
    /// The probability that each pixel is abnormal if the model ends with a sigmoid, otherwise its logit.
    Segmenter,
}

/// The files to import, and the kind of the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImportConfig {
    /// The file of the model, or of the encoder if a VAE is in two files.
    pub model: PathBuf,
    /// The file of the decoder, if it is separate. Default none.
    pub decoder: Option<PathBuf>,
    /// A file of weights that replace the weights of the same names: `.safetensors` or `.pth`. Default none.
    pub weights: Option<PathBuf>,
    /// The output of the model.
    pub kind: ImportedKind,
    /// The names of the tensors; models other than VAEs use only `reconstruction` and `size`. Default: usual names.
    pub tensors: VaeTensors,
}

setters!(ImportConfig { decoder: Option<PathBuf>, weights: Option<PathBuf>, tensors: VaeTensors });

impl ImportConfig {
    /// A configuration with one model file.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>, kind: ImportedKind) -> Self {
        let model = model.into();
        Self { model, decoder: None, weights: None, kind, tensors: VaeTensors::default() }
    }
}

/// A model that was imported.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// Names, lengths and checksums of the files.
    pub provenance: Provenance,
    /// Decisions that the import made because the caller did not state them, one sentence each.
    pub decisions: Vec<String>,
}

/// The reason why a model could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A model file cannot be used.
    #[error("{path:?} cannot be imported")]
    Onnx {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: OnnxError,
    },
    /// A file of weights cannot be used.
    #[error(transparent)]
    Weights(#[from] StateDictError),
    /// A file contains weights that no model needs.
    #[error("{path:?} holds weights that no model needs: {}. {}", .names.join(", "), crate::model::FOLDED)]
    Unused {
        /// The file.
        path: PathBuf,
        /// The names of the weights.
        names: Vec<String>,
    },
    /// The networks of a file do not form the model.
    #[error("{path:?} cannot be imported")]
    Build {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: BuildError,
    },
    /// A decoder is given for a kind of model that has none.
    #[error("only a VAE has a decoder")]
    Decoder,
}

impl ImportConfig {
    /// Reads the files and builds the model.
    ///
    /// # Errors
    /// For files that cannot be read or contain operations without a layer in lesio, for weights that do not fit, and
    /// for outputs that do not fit the kind of model.
    pub fn import(&self, device: &Device) -> Result<Imported, ImportError> {
        let mut first = read(&self.model)?;
        let mut second = self.decoder.as_deref().map(read).transpose()?;
        let mut provenance = Provenance::new(0, "imported");
        let files =
            [("model", Some((&self.model, &first))), ("decoder", self.decoder.as_ref().zip(second.as_ref()))];
        for (what, (path, model)) in files.into_iter().filter_map(|(what, file)| Some((what, file?))) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            provenance = provenance.note(what, format!("{name}, {}", model.fingerprint()));
            if !model.producer().is_empty() {
                provenance = provenance.note(&format!("{what} written by"), model.producer());
            }
        }
        let mut decisions: Vec<String> = Vec::new();
        if let Some(path) = &self.weights {
            let dict = StateDict::read(path)?;
            let mut unused: BTreeSet<String> = dict.names().map(|(name, _)| name.to_owned()).collect();
            for (path, model) in [Some((&self.model, &mut first)), self.decoder.as_ref().zip(second.as_mut())]
                .into_iter()
                .flatten()
            {
                let (used, decision) = model.replaced_by(&dict).map_err(|source| at(path, source))?;
                unused = &unused - &used;
                decisions.extend(decision.filter(|decision| !decisions.contains(decision)));
            }
            if !unused.is_empty() {
                return Err(ImportError::Unused { path: path.clone(), names: unused.into_iter().collect() });
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            provenance = provenance.note("weights", name);
        }
        let (config, parameters) = match (self.kind, &second) {
            (ImportedKind::Vae { likelihood, beta }, second) => {
                let ending =
                    if likelihood == Likelihood::Bernoulli { OutputForm::Logit } else { OutputForm::AsIs };
                let tensors = self.tensors.clone().ending(ending);
                let in_model = |source| at(&self.model, source);
                let converted = match (second, &self.decoder) {
                    (Some(decoder), Some(path)) => {
                        let half = EncoderHalf::of(&first, &tensors).map_err(in_model)?;
                        half.with(decoder, &tensors).map_err(|source| at(path, source))?
                    }
                    _ => ConvertedVae::of_one(&first, &tensors).map_err(in_model)?,
                };
                let [mean, log_variance, reconstruction] = &converted.taken;
                decisions.push(format!(
                    "the mean is {mean:?}, the log-variance {log_variance:?}, the reconstruction {reconstruction:?}"
                ));
                decisions.extend(converted.decisions.iter().cloned());
                if ending == OutputForm::Logit {
                    decisions.push(sigmoid_in_words(converted.sigmoid));
                }
                let ConvertedVae { encoder, decoder, parameters, .. } = converted;
                (DeclaredConfig::Vae { encoder, decoder, likelihood, beta }, parameters)
            }
            (_, Some(_)) => return Err(ImportError::Decoder),
            (kind, None) => {
                let is_segmenter = kind == ImportedKind::Segmenter;
                let converted = one_network(&first, is_segmenter, &self.tensors, &mut decisions);
                let Converted { network, parameters } =
                    converted.map_err(|source| at(&self.model, source))?;
                let config = match is_segmenter {
                    true => DeclaredConfig::Segmenter { network },
                    false => DeclaredConfig::Reconstructor { network },
                };
                (config, parameters)
            }
        };
        let model = Model::new(&ModelConfig::Declared { config }, &parameters, device);
        let model = model.map_err(|source| ImportError::Build { path: self.model.clone(), source })?;
        Ok(Imported { model, provenance, decisions })
    }
}

/// The network from an image to its reconstruction, or to one logit for each pixel.
fn one_network(
    model: &OnnxModel,
    is_segmenter: bool,
    tensors: &VaeTensors,
    decisions: &mut Vec<String>,
) -> Result<Converted, OnnxError> {
    let input = image_input(model, tensors.size)?;
    let wanted: Vec<&str> = match &tensors.reconstruction {
        Some(name) => vec![name.as_str()],
        None => model.outputs().iter().map(String::as_str).collect(),
    };
    let lowered = model.lowered(&wanted, tensors.size)?;
    let image = lowered.computed(input)?;
    let shape = lowered.graph.shape(image.id);
    let (what, expected) = match is_segmenter {
        true => ("map of anomalies", Shape::new(1, shape.height, shape.width)),
        false => ("reconstruction", shape),
    };
    let name = match &tensors.reconstruction {
        Some(name) => name.clone(),
        None => {
            let name = lowered.image_output(what, model.outputs(), expected, Some(image.id))?;
            if wanted.len() > 1 {
                decisions.push(format!("the {what} is {name:?}"));
            }
            name
        }
    };
    let value = lowered.computed(&name)?;
    let Some(mut end) = value.as_image(expected) else {
        let axes: Vec<String> = value.dims.iter().map(usize::to_string).collect();
        let mut reason = format!("has the axes [n, {}], expected [n, ", axes.join(", "));
        reason += &axes_of(expected).iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        reason += &format!("] of images {shape}");
        if is_segmenter && value.dims == [2, shape.height, shape.width] {
            reason += ": of two classes, export the logit of class 1 minus the logit of class 0";
        }
        return Err(OnnxError::Tensor { name, reason });
    };
    if lowered.is_random(&end) {
        let reason =
            "draws random numbers: import it as a VAE, or export it with the mean in place of the sample";
        return Err(OnnxError::Model(reason.to_owned()));
    }
    if is_segmenter {
        decisions.push(sigmoid_in_words(lowered.take_sigmoid_off(&mut end)));
    }
    extract(&lowered.graph, &[(input, image)], &[end], &mut Names::default())
}

fn sigmoid_in_words(sigmoid: Sigmoid) -> String {
    match sigmoid {
        Sigmoid::TakenOff => "the model ends with a sigmoid: its argument is taken for the logit".to_owned(),
        Sigmoid::Absent => {
            "the model does not end with a sigmoid: its output is taken for the logit".to_owned()
        }
    }
}

fn at(path: &Path, source: OnnxError) -> ImportError {
    ImportError::Onnx { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<OnnxModel, ImportError> {
    OnnxModel::read(path).map_err(|source| at(path, source))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::hostile::{bytes_of, integers, node};
    use crate::proto::NodeProto;

    /// The decisions of an import, or the error with its cause.
    fn import(
        kind: ImportedKind,
        size: Option<Shape>,
        axes: &[i64],
        nodes: Vec<NodeProto>,
        outputs: &[&str],
    ) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.onnx");
        std::fs::write(&path, bytes_of(axes, nodes, vec![integers("one", &[1])], outputs)).unwrap();
        let config = ImportConfig::new(path, kind).tensors(VaeTensors::default().size(size));
        let imported = config.import(&Device::Cpu).map_err(|error| {
            let text = format!("{error}: {}", error.source().unwrap());
            assert!(text.contains("own.onnx"), "{text}");
            text
        })?;
        let shape = imported.model.image_shape();
        assert_eq!(shape, size.unwrap_or(shape));
        Ok(imported.decisions)
    }

    #[test]
    fn the_output_with_the_shape_of_the_image_is_taken() {
        let nodes = || {
            vec![
                node("Relu", &["x"], "y"),
                node("GlobalAveragePool", &["y"], "code"),
                node("Softmax", &["y"], "unused"),
                node("Identity", &["x"], "same"),
            ]
        };
        let (kind, axes) = (ImportedKind::Reconstructor, [1, 2, 8, 6]);
        let found = import(kind, None, &axes, nodes(), &["code", "y", "same"]).unwrap();
        assert_eq!(found, ["the reconstruction is \"y\""]);
        let error = import(kind, None, &axes, nodes(), &["code", "y", "unused"]).unwrap_err();
        assert!(error.contains("clearly its reconstruction: name one of code, y, unused"), "{error}");
        // Of two forms of an image, none is preferred.
        let flat = || vec![node("Relu", &["x"], "error"), node("Flatten", &["error"], "recon")];
        let error = import(kind, None, &axes, flat(), &["error", "recon"]).unwrap_err();
        assert!(error.contains("clearly its reconstruction: name one of error, recon"), "{error}");
        // An image as a vector, and one without its axis of channels.
        let vector = vec![node("Relu", &["x"], "a"), node("Flatten", &["a"], "y")];
        assert!(import(kind, None, &axes, vector, &["y"]).is_ok());
        let squeezed = vec![
            node("Relu", &["x"], "a"),
            node("Sigmoid", &["a"], "b"),
            node("Squeeze", &["b", "one"], "y"),
        ];
        let found = import(ImportedKind::Segmenter, None, &[1, 1, 8, 6], squeezed, &["y"]).unwrap();
        assert!(found[0].contains("ends with a sigmoid"), "{found:?}");
        // Two logits for each pixel.
        let error = import(ImportedKind::Segmenter, None, &axes, nodes(), &["y"]).unwrap_err();
        assert!(
            error.contains("[n, 2, 8, 6], expected [n, 1, 8, 6]") && error.contains("class 1"),
            "{error}"
        );
        let sampled = vec![node("RandomNormalLike", &["x"], "a"), node("Add", &["x", "a"], "y")];
        let error = import(kind, None, &axes, sampled, &["y"]).unwrap_err();
        assert!(error.contains("import it as a VAE"), "{error}");
    }

    #[test]
    fn an_autoencoder_is_no_vae() {
        let kind = ImportedKind::Vae { likelihood: Likelihood::Bernoulli, beta: 1.0 };
        let error = import(kind, None, &[1, 1, 8, 6], vec![node("Relu", &["x"], "y")], &["y"]).unwrap_err();
        assert!(error.contains("needs the kind reconstructor"), "{error}");
    }

    #[test]
    fn inputs_that_are_no_images_are_named() {
        let relu = || vec![node("Relu", &["x"], "y")];
        let kind = ImportedKind::Reconstructor;
        for (axes, size, named) in [
            (
                &[1, 48][..],
                Some(Shape::new(1, 8, 6)),
                "axes [1, 48], expected [n, channels, rows, columns]: state",
            ),
            (
                &[-1, 8, 6],
                Some(Shape::new(1, 8, 6)),
                "axes [?, 8, 6], expected [n, channels, rows, columns]: state",
            ),
            (&[1, 8, 6, 3], None, "axes [1, 8, 6, 3], expected [n, channels, rows, columns]: export"),
            (&[1, 1, 1, 8, 6], None, "axes [1, 1, 1, 8, 6], expected"),
        ] {
            let error = import(kind, None, axes, relu(), &["y"]).unwrap_err();
            assert!(error.contains(named), "{error}");
            if size.is_some() {
                assert!(import(kind, size, axes, relu(), &["y"]).is_ok(), "{axes:?}");
            }
        }
    }

    /// Also an error of the networks of a model that was converted.
    #[test]
    fn errors_name_the_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vae.onnx");
        let kind = ImportedKind::Vae { likelihood: Likelihood::Gaussian { scale: 0.0 }, beta: 1.0 };
        let error = ImportConfig::new(path, kind).import(&Device::Cpu).unwrap_err();
        assert!(
            matches!(error, ImportError::Build { .. }) && error.to_string().contains("vae.onnx"),
            "{error}"
        );
    }
}
