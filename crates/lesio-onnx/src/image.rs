//! Images among the inputs and outputs of a model.

use lesio_nn::Shape;

use crate::args::Computed;
use crate::error::OnnxError;
use crate::ir::Id;
use crate::lower::Lowered;
use crate::model::OnnxModel;
use crate::tensor::count;

/// The number of channels up to which a last axis is taken for that of the channels.
const MOST_CHANNELS: usize = 4;

/// The name of the only input, which must be an image, of a stated size if it has other axes than one.
///
/// # Errors
/// For several inputs, and for axes that are not those of an image.
pub(crate) fn image_input(model: &OnnxModel, size: Option<Shape>) -> Result<&str, OnnxError> {
    let [input] = &model.inputs[..] else {
        let names = model.inputs().collect::<Vec<_>>().join(", ");
        return Err(OnnxError::Model(format!("has other inputs than one image: {names}")));
    };
    let (Some(axes), None) = (&input.dims, size) else { return Ok(&input.name) };
    let advice = match axes[..] {
        [_, Some(first), Some(second), Some(last)]
            if last <= MOST_CHANNELS && first.min(second) > MOST_CHANNELS =>
        {
            ": export it with the channels before the rows"
        }
        [_, _, _, _] => return Ok(&input.name),
        [_, _] | [_, _, _] => ": state the size of an image, such as 1,28,28 (--size)",
        _ => "",
    };
    let length = |length: &Option<usize>| length.map_or_else(|| "?".to_owned(), |length| length.to_string());
    let axes: Vec<String> = axes.iter().map(length).collect();
    Err(OnnxError::Tensor {
        name: input.name.clone(),
        reason: format!(
            "is an input with the axes [{}], expected [n, channels, rows, columns]{advice}",
            axes.join(", ")
        ),
    })
}

/// The axes of an image, without the batch.
pub(crate) fn axes_of(image: Shape) -> Vec<usize> {
    vec![image.channels, image.height, image.width]
}

impl Computed {
    /// The value as an image, if it contains one as a vector or without axes of length 1.
    pub(crate) fn as_image(&self, image: Shape) -> Option<Self> {
        let long = |axes: &[usize]| axes.iter().copied().filter(|&length| length > 1).collect::<Vec<_>>();
        let axes = axes_of(image);
        let is_image = self.dims.len() == 1 || long(&self.dims) == long(&axes);
        (is_image && count(&self.dims) == Some(image.len())).then_some(Self { id: self.id, dims: axes })
    }
}

impl Lowered {
    /// The output that is an image of this shape: the only output, or the only one that contains such an image. Some
    /// models return their `input`, too. Of two forms of an image, none is preferred: a map of errors may have the
    /// shape of the image while the reconstruction is a vector.
    ///
    /// # Errors
    /// If there are none or several.
    pub(crate) fn image_output(
        &self,
        what: &str,
        outputs: &[String],
        image: Shape,
        input: Option<Id>,
    ) -> Result<String, OnnxError> {
        if let [only] = outputs {
            return Ok(only.clone());
        }
        let is_alike = |value: &Computed| Some(value.id) != input && value.as_image(image).is_some();
        let alike = outputs.iter().filter(|name| self.computed(name).is_ok_and(is_alike));
        match alike.collect::<Vec<_>>()[..] {
            [only] => Ok(only.clone()),
            _ => Err(OnnxError::Model(unclear(what, outputs))),
        }
    }
}

/// What is wrong with a model without an output, or with several, that could be what is searched for.
pub(crate) fn unclear(what: &str, outputs: &[String]) -> String {
    format!("has no output that is clearly its {what}: name one of {}", outputs.join(", "))
}
