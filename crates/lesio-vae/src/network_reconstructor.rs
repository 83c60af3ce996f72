//! Models of one declared network.

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, ImageBatch, Inference, Network, ParameterSet, Shape,
};

use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor, SegmentationModel, Segmented};

/// Any [`Network`] from an image to an image of the same shape, with fixed parameters, as a model that reconstructs.
#[derive(Debug)]
pub struct NetworkReconstructor {
    image: Shape,
    network: Inference,
}

impl NetworkReconstructor {
    /// A model of a network with its parameters.
    ///
    /// # Errors
    /// A network that does not read one image and give one of the same shape, parameters that do not fit it, or a failure of
    /// the device.
    pub fn new(network: &Network, parameters: &ParameterSet, device: &Device) -> Result<Self, BuildError> {
        let (image, output) = ends(network)?;
        if output != image {
            let text =
                format!("the network gives {output} of images {image}, expected images of the same shape");
            return Err(BuildError::Networks(text));
        }
        Ok(Self { image, network: inference(network, parameters, device)? })
    }

    /// A copy of the parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        self.network.parameters()
    }
}

impl Reconstructor for NetworkReconstructor {
    fn image_shape(&self) -> Shape {
        self.image
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        run(&self.network, images, self.image)
    }
}

/// Any [`Network`] from an image to one logit of being abnormal a pixel, with fixed parameters. It restores nothing: what it
/// calls the normal image is the image itself.
#[derive(Debug)]
pub struct NetworkSegmenter {
    image: Shape,
    network: Inference,
}

impl NetworkSegmenter {
    /// A model of a network with its parameters.
    ///
    /// # Errors
    /// A network that does not read one image and give one channel of its size, parameters that do not fit it, or a failure
    /// of the device.
    pub fn new(network: &Network, parameters: &ParameterSet, device: &Device) -> Result<Self, BuildError> {
        let (image, output) = ends(network)?;
        let expected = Shape::new(1, image.height, image.width);
        if output != expected {
            let text = format!("the network gives {output} of images {image}, expected logits {expected}");
            return Err(BuildError::Networks(text));
        }
        Ok(Self { image, network: inference(network, parameters, device)? })
    }

    /// A copy of the parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        self.network.parameters()
    }
}

impl Reconstructor for NetworkSegmenter {
    fn image_shape(&self) -> Shape {
        self.image
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        ModelError::check_shape(images, self.image)?;
        Ok(images.values().to_vec())
    }
}

impl SegmentationModel for NetworkSegmenter {
    fn segment(&self, images: ImageBatch<'_>) -> Result<Segmented, ModelError> {
        let logits = run(&self.network, images, self.image)?;
        Ok(Segmented { logits, reconstruction: images.values().to_vec() })
    }
}

fn ends(network: &Network) -> Result<(Shape, Shape), BuildError> {
    match (&network.input_shapes()[..], &network.output_shapes()[..]) {
        (&[image], &[output]) => Ok((image, output)),
        (inputs, outputs) => Err(BuildError::Networks(format!(
            "the network has {} inputs and {} outputs, expected one of each",
            inputs.len(),
            outputs.len()
        ))),
    }
}

fn inference(network: &Network, parameters: &ParameterSet, device: &Device) -> Result<Inference, BuildError> {
    parameters.check(&[network])?;
    Ok(Inference::new(network, parameters, Differentiate::Nothing, device)?)
}

fn run(network: &Inference, images: ImageBatch<'_>, expected: Shape) -> Result<Vec<f32>, ModelError> {
    ModelError::check_shape(images, expected)?;
    if images.is_empty() {
        return Ok(Vec::new());
    }
    Ok(network.run(&[images.values()], images.len())?.output(0).to_vec())
}
