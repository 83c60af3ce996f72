//! Import of ONNX models as models of a localizer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lesio_anomaly::{DeclaredConfig, Model, ModelConfig, Provenance};
use lesio_nn::{Device, StateDict, StateDictError};
use lesio_settings::setters;
use lesio_vae::{BuildError, Likelihood};

use crate::error::OnnxError;
use crate::model::OnnxModel;
use crate::network::{OutputForm, Sigmoid};
use crate::vae::{ConvertedVae, VaeTensors};

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
    /// A file of weights that replace the weights of the same names: `.safetensors`, or `.pth` with the feature
    /// `candle`. Default none.
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
    #[error("{path:?} holds weights that no model needs: {}", .names.join(", "))]
    Unused {
        /// The file.
        path: PathBuf,
        /// The names of the weights.
        names: Vec<String>,
    },
    /// The networks do not form the model.
    #[error(transparent)]
    Build(#[from] BuildError),
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
        if let Some(path) = &self.weights {
            let dict = StateDict::read(path)?;
            let mut unused: BTreeSet<String> = dict.names().map(|(name, _)| name.to_owned()).collect();
            for (path, model) in [Some((&self.model, &mut first)), self.decoder.as_ref().zip(second.as_mut())]
                .into_iter()
                .flatten()
            {
                let used = model.replace_weights(&dict).map_err(|source| at(path, source))?;
                unused = &unused - &used;
            }
            if !unused.is_empty() {
                return Err(ImportError::Unused { path: path.clone(), names: unused.into_iter().collect() });
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            provenance = provenance.note("weights", name);
        }
        let mut decisions = Vec::new();
        let (config, parameters) = match (self.kind, &second) {
            (ImportedKind::Vae { likelihood, beta }, second) => {
                let ending =
                    if likelihood == Likelihood::Bernoulli { OutputForm::Logit } else { OutputForm::AsIs };
                let tensors = self.tensors.clone().ending(ending);
                let converted = match second {
                    Some(decoder) => ConvertedVae::of_two(&first, decoder, &tensors),
                    None => ConvertedVae::of_one(&first, &tensors),
                };
                let converted = converted.map_err(|source| at(&self.model, source))?;
                let [mean, log_variance, reconstruction] = &converted.taken;
                decisions.push(format!(
                    "the mean is {mean:?}, the log-variance {log_variance:?}, the reconstruction {reconstruction:?}"
                ));
                if ending == OutputForm::Logit {
                    decisions.push(sigmoid_in_words(converted.sigmoid));
                }
                let ConvertedVae { encoder, decoder, parameters, .. } = converted;
                (DeclaredConfig::Vae { encoder, decoder, likelihood, beta }, parameters)
            }
            (_, Some(_)) => return Err(ImportError::Decoder),
            (kind, None) => {
                let ending =
                    if kind == ImportedKind::Segmenter { OutputForm::Logit } else { OutputForm::AsIs };
                let outputs: Vec<&str> = self.tensors.reconstruction.as_deref().into_iter().collect();
                let converted = first.network_ending(&outputs, self.tensors.size, ending);
                let (converted, sigmoid) = converted.map_err(|source| at(&self.model, source))?;
                let (network, parameters) = (converted.network, converted.parameters);
                if kind == ImportedKind::Segmenter {
                    decisions.push(sigmoid_in_words(sigmoid));
                    (DeclaredConfig::Segmenter { network }, parameters)
                } else {
                    (DeclaredConfig::Reconstructor { network }, parameters)
                }
            }
        };
        let model = Model::new(&ModelConfig::Declared { config }, &parameters, device)?;
        Ok(Imported { model, provenance, decisions })
    }
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
