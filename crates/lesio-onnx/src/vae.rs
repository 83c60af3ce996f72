//! Encoder and decoder of a variational autoencoder, from one ONNX model or from two.

use lesio_nn::{Network, ParameterSet, Shape};

use crate::args::Computed;
use crate::error::OnnxError;
use crate::extract::{Converted, Names, extract};
use crate::image::{image_input, unclear};
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
    /// If the model contains the sampling, which shows it, also the logarithm of the standard deviation or precision.
    /// A constant factor of the noise, and limits, are left out.
    pub log_variance: Option<String>,
    /// The latent vector that the decoder reads, if one model contains encoder and decoder. Default: the first tensor
    /// that depends on random numbers and through which the whole reconstruction is computed; the mean if there are
    /// no random numbers.
    pub latent: Option<String>,
    /// The reconstruction. Default: the only output, or the only one, other than the input, that has the shape of the
    /// image, as it is, as a vector or without an axis of length 1.
    pub reconstruction: Option<String>,
    /// Channels, rows and columns of an image, if the model leaves them open or reads images as vectors.
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
    /// What the model's sampling shows about the log-variance, if it is not the tensor itself or if the sampling does
    /// not show it, one sentence each.
    pub decisions: Vec<String>,
}

/// The first half of a VAE in two models.
pub(crate) struct EncoderHalf {
    converted: Converted,
    names: Names,
    image: Shape,
    latent: Option<Shape>,
    /// The names of mean and log-variance.
    taken: [String; 2],
    decisions: Vec<String>,
}

impl ConvertedVae {
    /// Builds a VAE from two models, an encoder and a decoder.
    ///
    /// # Errors
    /// For models that cannot be converted, as in [`OnnxModel::network`], and for outputs whose meaning is not clear.
    pub fn of_two(encoder: &OnnxModel, decoder: &OnnxModel, tensors: &VaeTensors) -> Result<Self, OnnxError> {
        EncoderHalf::of(encoder, tensors)?.with(decoder, tensors)
    }

    /// Builds a VAE from one model with encoder and decoder: cuts it at the latent vector and leaves out the noise.
    ///
    /// # Errors
    /// The errors of [`ConvertedVae::of_two`]; also if no latent vector is found, or if the reconstruction depends on
    /// the image other than through the latent vector.
    pub fn of_one(model: &OnnxModel, tensors: &VaeTensors) -> Result<Self, OnnxError> {
        let input = image_input(model, tensors.size)?;
        let named = [&tensors.mean, &tensors.log_variance, &tensors.reconstruction, &tensors.latent];
        // If all are named, other outputs, such as a loss, may have operators that no layer computes.
        let is_searched = named[..3].iter().any(|name| name.is_none());
        let outputs = model.outputs().iter().filter(|_| is_searched);
        let mut wanted: Vec<&str> = outputs.map(String::as_str).collect();
        wanted.extend(named.into_iter().flatten().map(String::as_str));
        let mut lowered = model.lowered(&wanted, tensors.size)?;
        let image = lowered.computed(input)?.clone();
        let shape = lowered.graph.shape(image.id);
        let outputs = model.outputs();
        let reconstruction = match &tensors.reconstruction {
            Some(name) => name.clone(),
            None => lowered.image_output("reconstruction", outputs, shape, Some(image.id))?,
        };
        // Some models return their input as an output.
        let is_input = |name: &str| lowered.computed(name).is_ok_and(|value| value.id == image.id);
        let others: Vec<&str> = outputs
            .iter()
            .map(String::as_str)
            .filter(|name| *name != reconstruction && !is_input(name))
            .collect();
        let [mean, log_variance] = posterior(outputs, &others, tensors, Some(&lowered))?;
        let end = lowered.computed(&reconstruction)?;
        let mut end = end.as_image(shape).unwrap_or_else(|| end.clone());
        let mean_value = lowered.computed(&mean)?.clone();
        let latent = match &tensors.latent {
            Some(name) => lowered.computed(name)?.clone(),
            None => lowered.latent(&end, &mean_value)?,
        };
        let (log_variance_value, decision) = lowered.log_variance(&log_variance)?;
        let sigmoid = lowered.ended(&mut end, tensors.ending);
        let mut names = Names::default();
        let ends = [mean_value, log_variance_value];
        let encoder = extract(&lowered.graph, &[(input, &image)], &ends, &mut names)?;
        let decoder = extract(&lowered.graph, &[("latent", &latent)], &[end], &mut names)?;
        let taken = [mean, log_variance, reconstruction];
        Ok(Self::joined(encoder, decoder, sigmoid, taken, decision.into_iter().collect()))
    }

    fn joined(
        encoder: Converted,
        decoder: Converted,
        sigmoid: Sigmoid,
        taken: [String; 3],
        decisions: Vec<String>,
    ) -> Self {
        let mut parameters = encoder.parameters;
        parameters.extend(decoder.parameters);
        Self { encoder: encoder.network, decoder: decoder.network, parameters, sigmoid, taken, decisions }
    }
}

impl EncoderHalf {
    /// Converts the encoder.
    pub(crate) fn of(encoder: &OnnxModel, tensors: &VaeTensors) -> Result<Self, OnnxError> {
        let input = image_input(encoder, tensors.size)?;
        let all: Vec<&str> = encoder.outputs().iter().map(String::as_str).collect();
        let taken = posterior(encoder.outputs(), &all, tensors, None)?;
        let [mean, log_variance] = &taken;
        let only = [mean.as_str(), log_variance.as_str()];
        // Some encoders return a sample, too: the sampling shows what the log-variance is.
        let wanted = [&only[..], &all[..]].concat();
        let lowered = encoder.lowered(&wanted, tensors.size);
        let mut lowered = lowered.or_else(|_| encoder.lowered(&only, tensors.size))?;
        let mean = lowered.computed(mean)?.clone();
        let (log_variance, decision) = lowered.log_variance(log_variance)?;
        let (image, latent) = (lowered.computed(input)?, shape_of(&mean.dims));
        let mut names = Names::default();
        let converted = extract(&lowered.graph, &[(input, image)], &[mean, log_variance], &mut names)?;
        let image = lowered.graph.shape(image.id);
        Ok(Self { converted, names, image, latent, taken, decisions: decision.into_iter().collect() })
    }

    /// Converts the decoder, too.
    pub(crate) fn with(
        mut self,
        decoder: &OnnxModel,
        tensors: &VaeTensors,
    ) -> Result<ConvertedVae, OnnxError> {
        let wanted: Vec<&str> = match &tensors.reconstruction {
            Some(name) => vec![name.as_str()],
            None => decoder.outputs().iter().map(String::as_str).collect(),
        };
        let lowered = decoder.lowered(&wanted, self.latent)?;
        let reconstruction = match &tensors.reconstruction {
            Some(name) => name.clone(),
            None => lowered.image_output("reconstruction", decoder.outputs(), self.image, None)?,
        };
        let inputs: Vec<(&str, &Computed)> = decoder
            .inputs()
            .map(|name| Ok((name, lowered.computed(name)?)))
            .collect::<Result<_, OnnxError>>()?;
        let end = lowered.computed(&reconstruction)?;
        let mut end = end.as_image(self.image).unwrap_or_else(|| end.clone());
        let sigmoid = lowered.ended(&mut end, tensors.ending);
        let decoder = extract(&lowered.graph, &inputs, &[end], &mut self.names)?;
        let [mean, log_variance] = self.taken;
        let taken = [mean, log_variance, reconstruction];
        Ok(ConvertedVae::joined(self.converted, decoder, sigmoid, taken, self.decisions))
    }
}

/// A name in lower case without separators.
fn squashed(name: &str) -> String {
    name.to_lowercase().replace(['_', '-', '.', '/', ' '], "")
}

/// Whether a name says that a tensor is the logarithm of a variance.
fn is_log_variance(name: &str) -> bool {
    let name = squashed(name);
    ["logvar", "logcov", "logsigma2", "logsigmasq"].iter().any(|part| name.contains(part)) || name == "lv"
}

/// Whether a name says that a tensor is a standard deviation or its logarithm.
pub(crate) fn is_deviation(name: &str) -> bool {
    let own = name.to_lowercase();
    !is_log_variance(name) && ["sigma", "std", "scale", "deviation"].iter().any(|part| own.contains(part))
}

/// The names of the mean and the log-variance among the outputs of an encoder.
fn posterior(
    all: &[String],
    outputs: &[&str],
    tensors: &VaeTensors,
    lowered: Option<&Lowered>,
) -> Result<[String; 2], OnnxError> {
    let is_mean = |name: &str| {
        let own = squashed(name);
        !is_log_variance(name) && (own.contains("mean") || own.starts_with("mu") || own.ends_with("mu"))
    };
    let only = |what: &'static str, named: &Option<String>, is: &dyn Fn(&str) -> bool| {
        if let Some(name) = named {
            return Ok(name.clone());
        }
        let found: Vec<&str> = outputs.iter().copied().filter(|name| is(name)).collect();
        match found[..] {
            [name] => Ok(name.to_owned()),
            // It may have neither.
            _ => Err(OnnxError::Model(format!(
                "{}; an autoencoder without a mean needs the kind reconstructor",
                unclear(what, all)
            ))),
        }
    };
    let mean = only("mean", &tensors.mean, &is_mean);
    let log_variance = only("log_variance", &tensors.log_variance, &is_log_variance);
    match (mean, log_variance, lowered) {
        (Ok(mean), Ok(log_variance), _) => Ok([mean, log_variance]),
        // The names do not decide: of two outputs, the log-variance is the one from which the sampling computes the
        // standard deviation.
        (mean, log_variance, Some(lowered)) => match outputs {
            [a, b] if tensors.mean.is_none() && tensors.log_variance.is_none() => {
                match [a, b].map(|name| lowered.has_deviation_of(name)) {
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

impl Lowered {
    fn ended(&self, value: &mut Computed, ending: OutputForm) -> Sigmoid {
        match ending {
            OutputForm::AsIs => Sigmoid::Absent,
            OutputForm::Logit => self.take_sigmoid_off(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{bytes_of, floats, node};

    /// A model without a sampling does not show whether a logarithm is that of the deviation; its name may.
    #[test]
    fn names_of_deviations_are_pointed_out() {
        for (name, is_noted) in
            [("log_sigma", true), ("enc/Log_Std", true), ("logsigma2", false), ("v", false)]
        {
            let nodes = vec![node("Conv", &["x", "w"], "mu"), node("Conv", &["x", "w"], name)];
            let weights = vec![floats("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0])];
            let encoder =
                OnnxModel::from_bytes(&bytes_of(&[1, 2, 4, 4], nodes, weights.clone(), &["mu", name]));
            let nodes = vec![node("Conv", &["x", "w"], "y")];
            let decoder = OnnxModel::from_bytes(&bytes_of(&[1, 2, 4, 4], nodes, weights, &["y"])).unwrap();
            let tensors = VaeTensors::default().log_variance(Some(name.to_owned()));
            let vae = ConvertedVae::of_two(&encoder.unwrap(), &decoder, &tensors).unwrap();
            assert_eq!(vae.decisions.len(), usize::from(is_noted), "{name}: {:?}", vae.decisions);
            assert!(
                vae.decisions.iter().all(|own| own.contains("export twice of it")),
                "{:?}",
                vae.decisions
            );
        }
    }

    #[test]
    fn other_outputs_than_the_named_ones_may_have_any_operators() {
        let nodes = vec![
            node("Conv", &["x", "w"], "m"),
            node("Conv", &["x", "w"], "s"),
            node("RandomNormalLike", &["m"], "noise"),
            node("Mul", &["s", "half"], "l"),
            node("Exp", &["l"], "d"),
            node("Mul", &["d", "noise"], "off"),
            node("Add", &["m", "off"], "z"),
            node("Conv", &["z", "w"], "y"),
            node("Einsum", &["s"], "loss"),
        ];
        let weights = vec![floats("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]), floats("half", &[], &[0.5])];
        let model = bytes_of(&[1, 2, 4, 4], nodes, weights, &["y", "m", "s", "loss"]);
        let model = OnnxModel::from_bytes(&model).unwrap();
        let named = |name: &str| Some(name.to_owned());
        let two = VaeTensors::default().mean(named("m")).log_variance(named("s"));
        let error = ConvertedVae::of_one(&model, &two).unwrap_err();
        assert!(error.to_string().contains("Einsum"), "{error}");
        let vae = ConvertedVae::of_one(&model, &two.reconstruction(named("y"))).unwrap();
        assert_eq!((vae.taken, vae.decisions), (["m", "s", "y"].map(str::to_owned), vec![]));
    }
}
