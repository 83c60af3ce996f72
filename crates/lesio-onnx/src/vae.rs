//! Encoder and decoder of a variational autoencoder, from one ONNX model or from two.

use lesio_nn::{Network, ParameterSet, Shape};

use crate::args::Computed;
use crate::error::OnnxError;
use crate::extract::{Converted, Names, extract};
use crate::ir::{Id, Op};
use crate::lower::{Lowered, shape_of};
use crate::model::OnnxModel;
use crate::network::{OutputForm, Sigmoid};

/// The tensors of a model that belong to a VAE, by name. Tensors without a name are searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaeTensors {
    /// The posterior's mean. Default: the output with such a name (`mean`, `mu`).
    pub mean: Option<String>,
    /// The logarithm of the posterior's variance. Default: the output with such a name (`log_variance`, `logvar`).
    pub log_variance: Option<String>,
    /// The latent vector that the decoder reads, if one model contains encoder and decoder. Default: the first tensor
    /// that depends on random numbers and through which the whole reconstruction is computed; the mean if there are
    /// no random numbers.
    pub latent: Option<String>,
    /// The reconstruction. Default: the only output, other than the input, that has the shape of the image.
    pub reconstruction: Option<String>,
    /// Channels, rows and columns of an image, if the model leaves them open.
    pub size: Option<Shape>,
    /// The output of the decoder: the logit for a Bernoulli likelihood.
    pub ending: OutputForm,
}

lesio_settings::setters!(VaeTensors {
    mean: Option<String>,
    log_variance: Option<String>,
    latent: Option<String>,
    reconstruction: Option<String>,
    size: Option<Shape>,
    ending: OutputForm,
});

/// A variational autoencoder of two networks with a common set of parameters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConvertedVae {
    /// The network from the image to mean and log-variance.
    pub encoder: Network,
    /// The network from the latent vector to the image or to its logits.
    pub decoder: Network,
    /// The parameters of both networks.
    pub parameters: ParameterSet,
    /// Whether the decoder leaves out a sigmoid at the end of the model.
    pub sigmoid: Sigmoid,
    /// The names of the tensors used as mean, log-variance and reconstruction.
    pub taken: [String; 3],
}

impl ConvertedVae {
    /// Builds a VAE from two models, an encoder and a decoder.
    ///
    /// # Errors
    /// For models that cannot be converted, as in [`OnnxModel::network`], and for outputs whose meaning is not clear.
    pub fn of_two(encoder: &OnnxModel, decoder: &OnnxModel, tensors: &VaeTensors) -> Result<Self, OnnxError> {
        let all: Vec<&str> = encoder.outputs().iter().map(String::as_str).collect();
        let [mean, log_variance] = posterior(encoder.outputs(), &all, tensors, None)?;
        let lowered = encoder.lowered(&[&mean, &log_variance], tensors.size)?;
        let mut names = Names::default();
        let inputs = lowered.inputs(encoder)?;
        let ends = [lowered.computed(&mean)?.clone(), lowered.computed(&log_variance)?.clone()];
        let encoder = extract(&lowered.graph, &inputs, &ends, &mut names)?;

        let reconstruction = match (&tensors.reconstruction, decoder.outputs()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.clone(),
            (None, several) => return Err(ambiguous("reconstruction", several)),
        };
        let latent = shape_of(&ends[0].dims);
        let lowered = decoder.lowered(&[&reconstruction], latent)?;
        let inputs = lowered.inputs(decoder)?;
        let mut end = lowered.computed(&reconstruction)?.clone();
        let sigmoid = lowered.ended(&mut end, tensors.ending);
        let decoder = extract(&lowered.graph, &inputs, &[end], &mut names)?;
        Ok(Self::joined(encoder, decoder, sigmoid, [mean, log_variance, reconstruction]))
    }

    /// Builds a VAE from one model with encoder and decoder: cuts it at the latent vector and leaves out the noise.
    ///
    /// # Errors
    /// The errors of [`ConvertedVae::of_two`]; also if no latent vector is found, or if the reconstruction depends on
    /// the image other than through the latent vector.
    pub fn of_one(model: &OnnxModel, tensors: &VaeTensors) -> Result<Self, OnnxError> {
        let named = [&tensors.mean, &tensors.log_variance, &tensors.latent, &tensors.reconstruction];
        let mut wanted: Vec<&str> = model.outputs().iter().map(String::as_str).collect();
        wanted.extend(named.into_iter().flatten().map(String::as_str));
        let lowered = model.lowered(&wanted, tensors.size)?;
        let inputs = lowered.inputs(model)?;
        let &[(_, image)] = &inputs[..] else {
            let names = model.inputs().map(str::to_owned).collect::<Vec<_>>().join(", ");
            return Err(OnnxError::Model(format!("has other inputs than one image: {names}")));
        };
        let outputs = model.outputs();
        // Some models return their input as an output.
        let is_image = |name: &&str| {
            lowered.computed(name).is_ok_and(|value| value.dims == image.dims && value.id != image.id)
        };
        let is_input = |name: &str| lowered.computed(name).is_ok_and(|value| value.id == image.id);
        let reconstruction = match &tensors.reconstruction {
            Some(name) => name.clone(),
            None => {
                let images: Vec<&str> = outputs.iter().map(String::as_str).filter(is_image).collect();
                match images[..] {
                    [only] => only.to_owned(),
                    _ => return Err(ambiguous("reconstruction", outputs)),
                }
            }
        };
        let others: Vec<&str> = outputs
            .iter()
            .map(String::as_str)
            .filter(|name| *name != reconstruction && !is_input(name))
            .collect();
        let [mean, log_variance] = posterior(outputs, &others, tensors, Some(&lowered))?;
        let mut end = lowered.computed(&reconstruction)?.clone();
        let (mean_value, log_variance_value) = (lowered.computed(&mean)?, lowered.computed(&log_variance)?);
        let latent = match &tensors.latent {
            Some(name) => lowered.computed(name)?.clone(),
            None => lowered.latent(&end, mean_value)?,
        };
        let sigmoid = lowered.ended(&mut end, tensors.ending);
        let mut names = Names::default();
        let ends = [mean_value.clone(), log_variance_value.clone()];
        let encoder = extract(&lowered.graph, &inputs, &ends, &mut names)?;
        let decoder = extract(&lowered.graph, &[("latent", &latent)], &[end], &mut names)?;
        Ok(Self::joined(encoder, decoder, sigmoid, [mean, log_variance, reconstruction]))
    }

    fn joined(encoder: Converted, decoder: Converted, sigmoid: Sigmoid, taken: [String; 3]) -> Self {
        let mut parameters = encoder.parameters;
        parameters.extend(decoder.parameters);
        Self { encoder: encoder.network, decoder: decoder.network, parameters, sigmoid, taken }
    }
}

/// The names of the mean and the log-variance among the outputs of an encoder.
fn posterior(
    all: &[String],
    outputs: &[&str],
    tensors: &VaeTensors,
    lowered: Option<&Lowered>,
) -> Result<[String; 2], OnnxError> {
    let squashed = |name: &str| name.to_lowercase().replace(['_', '-', '.', '/', ' '], "");
    let is_log_variance = |name: &str| {
        let name = squashed(name);
        ["logvar", "logcov", "logsigma2", "logsigmasq"].iter().any(|part| name.contains(part)) || name == "lv"
    };
    let is_mean = |name: &str| {
        let name = squashed(name);
        !is_log_variance(&name) && (name.contains("mean") || name.starts_with("mu") || name.ends_with("mu"))
    };
    let only = |what: &'static str, named: &Option<String>, is: &dyn Fn(&str) -> bool| {
        if let Some(name) = named {
            return Ok(name.clone());
        }
        let found: Vec<&str> = outputs.iter().copied().filter(|name| is(name)).collect();
        match found[..] {
            [name] => Ok(name.to_owned()),
            _ => Err(ambiguous(what, all)),
        }
    };
    let mean = only("mean", &tensors.mean, &is_mean);
    let log_variance = only("log_variance", &tensors.log_variance, &is_log_variance);
    match (mean, log_variance, lowered) {
        (Ok(mean), Ok(log_variance), _) => Ok([mean, log_variance]),
        // The names do not decide: of two outputs, the log-variance is the one whose exponential the sampling uses.
        (mean, log_variance, Some(lowered)) => match outputs {
            [a, b] if tensors.mean.is_none() && tensors.log_variance.is_none() => {
                match [a, b].map(|name| lowered.is_exponent(name)) {
                    [true, false] => Ok([(*b).to_owned(), (*a).to_owned()]),
                    [false, true] => Ok([(*a).to_owned(), (*b).to_owned()]),
                    _ => Ok([mean?, log_variance?]),
                }
            }
            _ => Ok([mean?, log_variance?]),
        },
        (mean, log_variance, None) => Ok([mean?, log_variance?]),
    }
}

fn ambiguous(what: &str, outputs: &[String]) -> OnnxError {
    OnnxError::Model(format!("has no output that is clearly its {what}: name one of {}", outputs.join(", ")))
}

impl Lowered {
    fn inputs<'m>(&self, model: &'m OnnxModel) -> Result<Vec<(&'m str, &Computed)>, OnnxError> {
        model.inputs().map(|name| Ok((name, self.computed(name)?))).collect()
    }

    fn ended(&self, value: &mut Computed, ending: OutputForm) -> Sigmoid {
        match ending {
            OutputForm::AsIs => Sigmoid::Absent,
            OutputForm::Logit => self.take_sigmoid_off(value),
        }
    }

    /// Whether the graph computes the exponential of a tensor or of a multiple of it.
    fn is_exponent(&self, name: &str) -> bool {
        let Ok(value) = self.computed(name) else { return false };
        let own = self.before_reshapes(value.id);
        let argument = |mut id: Id| {
            loop {
                let node = &self.graph.nodes[id];
                match (&node.op, &node.inputs[..]) {
                    (Op::Affine(_), &[before]) => id = before,
                    _ => {
                        let before = self.before_reshapes(id);
                        if before == id {
                            return id;
                        }
                        id = before;
                    }
                }
            }
        };
        let exponentials = self.graph.nodes.iter().filter(|node| matches!(node.op, Op::Exp));
        exponentials.flat_map(|node| &node.inputs).any(|&input| argument(input) == argument(own))
    }

    /// The latent vector of a reconstruction. If the reconstruction depends on random numbers, this is the first
    /// value that depends on them and through which the whole reconstruction is computed; otherwise it is the mean.
    fn latent(&self, reconstruction: &Computed, mean: &Computed) -> Result<Computed, OnnxError> {
        let all = self.graph.order(&[reconstruction.id]);
        let mut depends = vec![false; self.graph.nodes.len()];
        for &id in &all {
            let node = &self.graph.nodes[id];
            depends[id] = matches!(node.op, Op::Random) || node.inputs.iter().any(|&input| depends[input]);
        }
        let is_sampled = depends[reconstruction.id];
        let candidates: Vec<Id> = match is_sampled {
            true => all.iter().copied().filter(|&id| depends[id]).take(64).collect(),
            false => vec![mean.id],
        };
        let length = shape_of(&mean.dims).map(|shape| shape.len());
        for id in candidates {
            let shape = self.graph.shape(id);
            if Some(shape.len()) == length && id != reconstruction.id && self.is_cut(reconstruction.id, id) {
                let dims = match shape.pixels() {
                    1 => vec![shape.channels],
                    _ => vec![shape.channels, shape.height, shape.width],
                };
                return Ok(Computed { id, dims });
            }
        }
        Err(OnnxError::Model(
            "has no tensor that is clearly its latent vector: name the one that the decoder reads".to_owned(),
        ))
    }

    /// Whether everything that a value depends on passes through one node.
    fn is_cut(&self, of: Id, at: Id) -> bool {
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut stack = vec![of];
        while let Some(id) = stack.pop() {
            if id == at || std::mem::replace(&mut seen[id], true) {
                continue;
            }
            let node = &self.graph.nodes[id];
            if matches!(node.op, Op::Input | Op::Random) {
                return false;
            }
            stack.extend(&node.inputs);
        }
        true
    }
}
