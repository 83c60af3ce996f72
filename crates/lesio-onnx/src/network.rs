//! Conversion of ONNX models to networks.

use std::collections::BTreeMap;

use lesio_nn::{Activation, Layer, Shape};

use crate::args::{Computed, Value};
use crate::error::OnnxError;
use crate::extract::{Converted, Names, extract};
use crate::ir::{Id, Op};
use crate::lower::{Lowered, lower};
use crate::model::OnnxModel;

/// The output of a network whose model ends with a sigmoid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputForm {
    /// The output of the model.
    #[default]
    AsIs,
    /// The argument of the sigmoid, if the model ends with one.
    Logit,
}

/// Whether a sigmoid was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sigmoid {
    /// The model ends with a sigmoid, which the network leaves out.
    TakenOff,
    /// The network returns the output of the model.
    Absent,
}

impl OnnxModel {
    /// The network that computes the named tensors of the model from its inputs; all outputs if `outputs` is empty.
    ///
    /// `size` is the shape of inputs whose rows and columns the model leaves open, or that the model reads as vectors.
    /// The network takes any batch size, even if the model fixes it.
    ///
    /// # Errors
    /// For operators that are not supported, which the error names with opset and node; for names that do not exist;
    /// and for unknown shapes.
    ///
    /// ```no_run
    /// use lesio_nn::{Device, Differentiate, Engine, Inference};
    /// use lesio_onnx::OnnxModel;
    ///
    /// let converted = OnnxModel::read("encoder.onnx")?.network(&["mean"], None)?;
    /// let inference = Inference::new(&converted.network, &converted.parameters, Differentiate::Inputs, &Device::Cpu)?;
    /// let mut pass = inference.run(&[&[0.5; 64 * 64]], 1)?;
    /// pass.backward(&[&[1.0; 10]])?;
    /// println!("{:?}", pass.input_gradient(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn network(&self, outputs: &[&str], size: Option<Shape>) -> Result<Converted, OnnxError> {
        Ok(self.network_ending(outputs, size, OutputForm::AsIs)?.0)
    }

    /// Like [`OnnxModel::network`], with a choice of the first output: the output of the model or its logit.
    ///
    /// # Errors
    /// The errors of [`OnnxModel::network`].
    pub fn network_ending(
        &self,
        outputs: &[&str],
        size: Option<Shape>,
        ending: OutputForm,
    ) -> Result<(Converted, Sigmoid), OnnxError> {
        let all: Vec<&str> = self.outputs().iter().map(String::as_str).collect();
        let outputs = if outputs.is_empty() { &all[..] } else { outputs };
        let lowered = self.lowered(outputs, size)?;
        let inputs: Vec<(&str, &Computed)> = self
            .inputs()
            .map(|name| Ok((name, lowered.computed(name)?)))
            .collect::<Result<_, OnnxError>>()?;
        let mut ends: Vec<Computed> =
            outputs.iter().map(|name| lowered.computed(name).cloned()).collect::<Result<_, _>>()?;
        let mut sigmoid = Sigmoid::Absent;
        if let (OutputForm::Logit, Some(first)) = (ending, ends.first_mut()) {
            sigmoid = lowered.take_sigmoid_off(first);
        }
        Ok((extract(&lowered.graph, &inputs, &ends, &mut Names::default())?, sigmoid))
    }

    /// The intermediate graph that computes the wanted tensors.
    pub(crate) fn lowered(&self, wanted: &[&str], size: Option<Shape>) -> Result<Lowered, OnnxError> {
        let shapes: BTreeMap<String, Shape> = size
            .into_iter()
            .flat_map(|size| self.inputs().map(move |name| (name.to_owned(), size)))
            .collect();
        lower(self, wanted, &shapes)
    }
}

impl Lowered {
    /// A tensor that the network computes, by name.
    pub(crate) fn computed(&self, name: &str) -> Result<&Computed, OnnxError> {
        match self.values.get(name) {
            Some(Value::Computed(computed)) => Ok(computed),
            Some(Value::Constant(_)) => Err(OnnxError::Tensor {
                name: name.to_owned(),
                reason: "does not depend on the input".to_owned(),
            }),
            None => {
                let computed = self.values.iter().filter(|(_, value)| matches!(value, Value::Computed(_)));
                let known = computed.map(|(name, _)| name.clone()).collect();
                Err(OnnxError::Unknown { name: name.to_owned(), what: "the network computes", known })
            }
        }
    }

    /// The last node before a chain of reshapes.
    pub(crate) fn before_reshapes(&self, mut id: Id) -> Id {
        while let (Op::Layer(Layer::Reshape(_)), &[before]) =
            (&self.graph.nodes[id].op, &self.graph.nodes[id].inputs[..])
        {
            id = before;
        }
        id
    }

    /// Replaces the output of a sigmoid by the sigmoid's argument.
    pub(crate) fn take_sigmoid_off(&self, value: &mut Computed) -> Sigmoid {
        let node = &self.graph.nodes[self.before_reshapes(value.id)];
        match (&node.op, &node.inputs[..]) {
            (Op::Layer(Layer::Activation(Activation::Sigmoid)), &[argument]) => {
                value.id = argument;
                Sigmoid::TakenOff
            }
            _ => Sigmoid::Absent,
        }
    }
}
