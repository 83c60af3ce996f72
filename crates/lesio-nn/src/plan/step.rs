//! One layer of a plan, and what its passes need.

mod backward;
mod forward;

use lesio_kernels::{
    self as kernels, Buffer, Combine, Epilogue, Images, ImagesMut, KernelError, Moments,
    NormalizationSettings, Rectifier, Statistics, Workers,
};

use super::graph::Task;
use super::layout::LayerWeights;
use super::slots::Slot;
use super::weights::PlanWeights;
use crate::mode::Mode;

/// A layer with its places in memory.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) task: Task,
    pub(super) weights: Option<LayerWeights>,
    pub(super) inputs: Vec<Slot>,
    pub(super) output: Slot,
    /// Slope of the rectifier fused onto it.
    pub(super) slope: f32,
    /// The gradient with respect to the output.
    pub(super) gradient: Option<Slot>,
    /// Whether the backward pass of this layer begins with the derivative of the rectifier, because
    /// nobody who wrote the gradient could do it.
    pub(super) rectify_first: bool,
    /// Where the gradient with respect to each input goes, if it is wanted.
    pub(super) targets: Vec<Option<Target>>,
    /// Whether gradients of the parameters are wanted.
    pub(super) parameters: bool,
    /// Statistics of a normalization.
    pub(super) normalization: Option<Normalized>,
}

/// Where a gradient goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) slot: Slot,
    pub(super) combine: Combine,
    /// The value and the slope of the rectifier whose derivative this contribution, being the last,
    /// multiplies onto the sum.
    pub(super) rectifier: Option<(Slot, f32)>,
}

/// A normalization and what it measured last.
#[derive(Debug)]
pub(super) struct Normalized {
    pub(super) normalization: NormalizationSettings,
    pub(super) moments: Moments,
    pub(super) statistics: Statistics,
    /// Share of the batch's statistics in the running ones.
    pub(super) momentum: f32,
}

/// Memory that steps use for the time of their own.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Values of a linear layer without borders: its input or output, and its gradients.
    pub(super) flat: [Buffer; 2],
    /// Partial weight gradients.
    pub(super) parts: Buffer,
    /// A layer's gradient before it is added to the others.
    pub(super) gradient: Buffer,
    pub(super) sums: Vec<f64>,
    /// Gradients of the scale and the shift of a normalization.
    pub(super) channels: Vec<f32>,
}

/// What a pass gives to every step.
pub(super) struct Pass<'p> {
    pub(super) workers: &'p Workers<'p>,
    pub(super) samples: usize,
    pub(super) weights: &'p PlanWeights,
    pub(super) mode: Mode,
}

/// The gradients of the parameters, and whether they are to be replaced or added to.
pub(super) struct ParameterGradients<'g> {
    pub(super) values: &'g mut Buffer,
    pub(super) combine: Combine,
}

pub(super) type Done = Result<(), KernelError>;

/// The images of a slot.
pub(super) fn images<'b>(buffers: &'b [Buffer], slot: &'b Slot) -> Images<'b> {
    Images::new(&buffers[slot.buffer], &slot.layout)
}

/// Takes the buffer of a slot out while `work` writes to it and reads the others.
pub(super) fn write(
    buffers: &mut [Buffer],
    slot: &Slot,
    work: impl FnOnce(&[Buffer], ImagesMut<'_>) -> Done,
) -> Done {
    let mut buffer = std::mem::take(&mut buffers[slot.buffer]);
    let done = work(buffers, ImagesMut::new(&mut buffer, &slot.layout));
    buffers[slot.buffer] = buffer;
    done
}

impl Target {
    pub(super) fn rectifier<'b>(&'b self, buffers: &'b [Buffer]) -> Option<Rectifier<'b>> {
        self.rectifier
            .as_ref()
            .map(|(slot, slope)| Rectifier { images: images(buffers, slot), slope: *slope })
    }

    pub(super) fn epilogue<'b>(&'b self, buffers: &'b [Buffer]) -> Epilogue<'b> {
        Epilogue { combine: self.combine, rectifier: self.rectifier(buffers), ..Epilogue::default() }
    }
}

impl Step {
    /// Whether the backward pass can multiply the derivative of a rectifier onto what it writes.
    pub(super) fn can_rectify(task: &Task) -> bool {
        !matches!(task, Task::Activation(_) | Task::Reorder)
    }
}

/// The layout of the same values side by side.
pub(super) fn dense(layout: &kernels::ImageLayout) -> Result<kernels::ImageLayout, KernelError> {
    kernels::ImageLayout::new(layout.channels(), layout.height(), layout.width(), kernels::Border::NONE)
}

/// The values of images side by side: where they are, if they are so, or copied.
pub(super) fn flatten<'b>(
    pass: &Pass<'_>,
    images: Images<'b>,
    scratch: &'b mut Buffer,
) -> Result<&'b [f32], KernelError> {
    if images.layout.is_dense() {
        return Ok(images.values);
    }
    let dense = dense(images.layout)?;
    let to = ImagesMut::new(scratch, &dense);
    kernels::transfer(pass.workers, pass.samples, images, to, Combine::Replace, None)?;
    Ok(scratch)
}
