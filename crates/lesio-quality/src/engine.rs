//! A network of a method: with fixed parameters or in training, on any device.

use lesio_nn::{EngineError, Inference, Mode, Pass, TrainingEngine};

/// Samples that an engine in training makes room for at first.
pub(crate) const CAPACITY: usize = 16;

/// A network of a method.
pub(crate) enum Link<'a> {
    /// One with fixed parameters, which gives gradients by the inputs alone.
    Fixed(&'a Inference),
    /// One in training, in this mode.
    Trained(&'a mut dyn TrainingEngine, Mode),
}

/// The links of engines in training.
pub(crate) fn links(engines: &mut [Box<dyn TrainingEngine>], mode: Mode) -> Vec<Link<'_>> {
    engines.iter_mut().map(|engine| Link::Trained(engine.as_mut(), mode)).collect()
}

impl Link<'_> {
    /// Computes the outputs of `samples` samples and hands them to `then`, which may pass gradients back.
    pub(crate) fn run<T>(
        &mut self,
        inputs: &[&[f32]],
        samples: usize,
        then: impl FnOnce(&mut dyn Passed) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self {
            Self::Fixed(network) => network.run(inputs, samples, |pass| then(pass)),
            Self::Trained(engine, mode) => {
                engine.forward(inputs, samples, *mode)?;
                then(engine)
            }
        }
    }
}

/// A forward pass that was made.
pub(crate) trait Passed {
    /// An output.
    fn output(&self, index: usize) -> &[f32];
    /// Computes the gradients by the inputs (and by the parameters, where they are trained).
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError>;
    /// The gradient by an input from the last backward pass.
    fn input_gradient(&self, index: usize) -> &[f32];
}

impl Passed for Pass<'_> {
    fn output(&self, index: usize) -> &[f32] {
        self.output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        self.backward(output_gradients)
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        self.input_gradient(index)
    }
}

impl Passed for &mut dyn TrainingEngine {
    fn output(&self, index: usize) -> &[f32] {
        (**self).output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<(), EngineError> {
        (**self).backward(output_gradients)
    }

    fn input_gradient(&self, index: usize) -> &[f32] {
        (**self).input_gradient(index)
    }
}
