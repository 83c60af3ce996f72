//! One layer of a plan: its forward and its backward pass over the plan's buffers.

use lesio_kernels::{
    self as kernels, Buffer, Combine, Epilogue, Grouping, Images, ImagesMut, KernelError, Moments,
    Normalization, Rectifier, Statistics, Workers,
};

use super::graph::Task;
use super::layout::{LayerWeights, Matrix, Wide};
use super::slots::{Slot, is_inside};
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
    pub(super) normalization: Normalization,
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

type Done = Result<(), KernelError>;

/// The images of a slot.
fn images<'b>(buffers: &'b [Buffer], slot: &'b Slot) -> Images<'b> {
    Images::new(&buffers[slot.buffer], &slot.layout)
}

/// Takes the buffer of a slot out while `work` writes to it and reads the others.
fn write(buffers: &mut [Buffer], slot: &Slot, work: impl FnOnce(&[Buffer], ImagesMut<'_>) -> Done) -> Done {
    let mut buffer = std::mem::take(&mut buffers[slot.buffer]);
    let done = work(buffers, ImagesMut::new(&mut buffer, &slot.layout));
    buffers[slot.buffer] = buffer;
    done
}

impl Target {
    fn rectifier<'b>(&'b self, buffers: &'b [Buffer]) -> Option<Rectifier<'b>> {
        self.rectifier
            .as_ref()
            .map(|(slot, slope)| Rectifier { images: images(buffers, slot), slope: *slope })
    }

    fn epilogue<'b>(&'b self, buffers: &'b [Buffer]) -> Epilogue<'b> {
        Epilogue { combine: self.combine, rectifier: self.rectifier(buffers), ..Epilogue::default() }
    }
}

impl Step {
    /// Computes the output from the inputs.
    pub(super) fn forward(&mut self, pass: &Pass<'_>, buffers: &mut [Buffer], scratch: &mut Scratch) -> Done {
        let (workers, samples) = (pass.workers, pass.samples);
        let PlanWeights { values, packed, .. } = pass.weights;
        match (&self.task, &self.weights) {
            (
                Task::Convolution(_),
                Some(LayerWeights::Convolution { geometry, weight, bias, forward, .. }),
            ) => write(buffers, &self.output, |buffers, output| {
                let bias = bias.map(|first| &values[first..]);
                let epilogue = Epilogue { bias, slope: self.slope, ..Epilogue::default() };
                let input = images(buffers, &self.inputs[0]);
                let (weights, packed) = (&values[*weight..], &packed[*forward..]);
                geometry.forward_packed(workers, samples, input, weights, packed, output, epilogue)
            }),
            (
                Task::TransposedConvolution(_),
                Some(LayerWeights::Convolution { geometry, bias, adjoint, .. }),
            ) => write(buffers, &self.output, |buffers, output| {
                let bias = bias.map(|first| &values[first..]);
                let epilogue = Epilogue { bias, slope: self.slope, ..Epilogue::default() };
                let input = images(buffers, &self.inputs[0]);
                geometry.adjoint(workers, samples, input, &packed[*adjoint..], output, epilogue)
            }),
            (Task::Linear(_), Some(LayerWeights::Linear { matrix, weight, bias })) => {
                let [flat_in, flat_out] = &mut scratch.flat;
                let weight = &values[*weight..];
                let bias = bias.map(|first| &values[first..]);
                let slope = self.slope;
                write(buffers, &self.output, |buffers, output| {
                    let input = flatten(pass, images(buffers, &self.inputs[0]), flat_in)?;
                    let compute = |to: &mut [f32]| match matrix.wide {
                        Wide::Input => {
                            matrix.linear.contract(workers, samples, input, weight, to, bias, slope)
                        }
                        Wide::Output => {
                            matrix.linear.expand(workers, samples, input, weight, to, bias, slope)
                        }
                    };
                    if output.layout.is_dense() {
                        return compute(output.values);
                    }
                    compute(flat_out)?;
                    let dense = dense(output.layout)?;
                    kernels::transfer(
                        workers,
                        samples,
                        Images::new(flat_out, &dense),
                        output,
                        Combine::Replace,
                        None,
                    )
                })
            }
            (_, Some(LayerWeights::Normalization { channels, scale, shift, statistics })) => {
                let Some(state) = &mut self.normalization else { return Ok(()) };
                let input = images(buffers, &self.inputs[0]);
                state.statistics = match (state.normalization.grouping, pass.mode) {
                    (Grouping::Batch, Mode::Evaluate) => Statistics::Given,
                    _ => Statistics::Measured,
                };
                match (state.statistics, statistics) {
                    (Statistics::Given, Some(first)) => {
                        let running = &pass.weights.statistics[*first..];
                        for (index, mean) in state.moments.mean[..samples * channels].iter_mut().enumerate() {
                            *mean = f64::from(running[index % channels]);
                            state.moments.variance[index] = f64::from(running[channels + index % channels]);
                        }
                    }
                    _ => state.normalization.measure(workers, samples, input, &mut state.moments)?,
                }
                let (scale, shift) = (&values[*scale..], &values[*shift..]);
                let slope = self.slope;
                write(buffers, &self.output, |buffers, output| {
                    let input = images(buffers, &self.inputs[0]);
                    state.normalization.apply(
                        workers,
                        samples,
                        input,
                        &mut state.moments,
                        scale,
                        shift,
                        output,
                        slope,
                    )
                })
            }
            (Task::Concatenate, _) => {
                let mut first = 0;
                for input in &self.inputs {
                    let channels = input.layout.channels();
                    if !is_inside(input, &self.output) {
                        let part = Slot {
                            layout: self.output.layout.channel_range(first, channels)?,
                            ..self.output
                        };
                        write(buffers, &part, |buffers, output| {
                            kernels::transfer(
                                workers,
                                samples,
                                images(buffers, input),
                                output,
                                Combine::Replace,
                                None,
                            )
                        })?;
                    }
                    first += channels;
                }
                Ok(())
            }
            (Task::Add, _) => write(buffers, &self.output, |buffers, output| {
                for (index, input) in self.inputs.iter().enumerate() {
                    let combine = if index == 0 { Combine::Replace } else { Combine::Add };
                    let output = ImagesMut::new(&mut *output.values, output.layout);
                    kernels::transfer(workers, samples, images(buffers, input), output, combine, None)?;
                }
                Ok(())
            }),
            (Task::Reorder, _) => {
                let [planes, _] = &mut scratch.flat;
                kernels::to_planes(workers, samples, images(buffers, &self.inputs[0]), planes)?;
                write(buffers, &self.output, |_, output| {
                    kernels::from_planes(workers, samples, planes, output, Combine::Replace)
                })
            }
            _ => write(buffers, &self.output, |buffers, output| {
                let Some(input) = self.inputs.first() else { return Ok(()) };
                let input = images(buffers, input);
                match self.task {
                    Task::Activation(function) => {
                        kernels::activate(workers, samples, function, input, output)
                    }
                    Task::Pool(pooling, window) => {
                        kernels::pool(workers, samples, pooling, window, input, output)
                    }
                    Task::Upsample(upsampling, factor) => {
                        kernels::upsample(workers, samples, upsampling, factor, input, output)
                    }
                    _ => Ok(()),
                }
            }),
        }
    }

    /// Computes the gradients of parameters and inputs from the gradient of the output.
    pub(super) fn backward(
        &mut self,
        pass: &Pass<'_>,
        buffers: &mut [Buffer],
        scratch: &mut Scratch,
        parameters: Option<&mut ParameterGradients<'_>>,
    ) -> Done {
        let Some(gradient) = self.gradient else { return Ok(()) };
        let (workers, samples) = (pass.workers, pass.samples);
        if self.rectify_first {
            write(buffers, &gradient, |buffers, to| {
                let rectifier = Rectifier { images: images(buffers, &self.output), slope: self.slope };
                kernels::rectify_gradient(workers, samples, to, rectifier)
            })?;
        }
        let parameters = parameters.filter(|_| self.parameters);
        match &self.weights {
            Some(LayerWeights::Convolution { .. }) => {
                if let Some(parameters) = parameters {
                    self.convolution_parameters(pass, buffers, scratch, &gradient, parameters)?;
                }
                self.convolution_input(pass, buffers, &gradient)
            }
            Some(LayerWeights::Linear { .. }) => {
                self.linear_backward(pass, buffers, scratch, &gradient, parameters)
            }
            Some(LayerWeights::Normalization { .. }) => {
                self.normalization_backward(pass, buffers, scratch, &gradient, parameters)
            }
            None => self.plain_backward(pass, buffers, scratch, &gradient),
        }
    }

    fn convolution_parameters(
        &self,
        pass: &Pass<'_>,
        buffers: &[Buffer],
        scratch: &mut Scratch,
        gradient: &Slot,
        parameters: &mut ParameterGradients<'_>,
    ) -> Done {
        let Some(LayerWeights::Convolution { geometry, weight, bias, .. }) = &self.weights else {
            return Ok(());
        };
        let (workers, samples) = (pass.workers, pass.samples);
        let (value, gradient) = (images(buffers, &self.inputs[0]), images(buffers, gradient));
        let (large, small) = match self.task {
            Task::TransposedConvolution(_) => (gradient, value),
            _ => (value, gradient),
        };
        let Scratch { parts, gradient: own, sums, .. } = scratch;
        parameters.write(workers, *weight, geometry.weights_len(), own, |to| {
            geometry.weight_gradient(workers, samples, large, small, to, parts)
        })?;
        if let Some(bias) = bias {
            parameters.write(workers, *bias, gradient.layout.channels(), own, |to| {
                kernels::channel_totals(workers, samples, gradient, to, sums)
            })?;
        }
        Ok(())
    }

    fn convolution_input(&self, pass: &Pass<'_>, buffers: &mut [Buffer], gradient: &Slot) -> Done {
        let Some(LayerWeights::Convolution { geometry, weight, forward, adjoint, .. }) = &self.weights else {
            return Ok(());
        };
        let Some(Some(target)) = self.targets.first() else { return Ok(()) };
        let (workers, samples) = (pass.workers, pass.samples);
        let PlanWeights { values, packed, .. } = pass.weights;
        write(buffers, &target.slot, |buffers, to| {
            let (from, epilogue) = (images(buffers, gradient), target.epilogue(buffers));
            match self.task {
                Task::TransposedConvolution(_) => {
                    let (weights, packed) = (&values[*weight..], &packed[*forward..]);
                    geometry.forward_packed(workers, samples, from, weights, packed, to, epilogue)
                }
                _ => geometry.adjoint(workers, samples, from, &packed[*adjoint..], to, epilogue),
            }
        })
    }

    fn linear_backward(
        &self,
        pass: &Pass<'_>,
        buffers: &mut [Buffer],
        scratch: &mut Scratch,
        gradient: &Slot,
        parameters: Option<&mut ParameterGradients<'_>>,
    ) -> Done {
        let Some(LayerWeights::Linear { matrix: Matrix { linear, wide }, weight, bias }) = &self.weights
        else {
            return Ok(());
        };
        let (workers, samples) = (pass.workers, pass.samples);
        let Scratch { flat: [flat_in, flat_out], gradient: own, .. } = scratch;
        if let Some(parameters) = parameters {
            let from = flatten(pass, images(buffers, gradient), flat_out)?;
            let input = flatten(pass, images(buffers, &self.inputs[0]), flat_in)?;
            let (short, long) = match wide {
                Wide::Input => (from, input),
                Wide::Output => (input, from),
            };
            parameters.write(workers, *weight, linear.weights_len(), own, |to| {
                linear.outer(workers, samples, short, long, to)
            })?;
            if let Some(bias) = bias {
                parameters.write(workers, *bias, gradient.layout.values(), own, |to| {
                    kernels::column_sums(workers, samples, from, to)
                })?;
            }
        }
        let Some(Some(target)) = self.targets.first() else { return Ok(()) };
        let weight = &pass.weights.values[*weight..];
        write(buffers, &target.slot, |buffers, to| {
            let from = flatten(pass, images(buffers, gradient), flat_out)?;
            let compute = |to: &mut [f32]| match wide {
                Wide::Input => linear.expand(workers, samples, from, weight, to, None, 1.0),
                Wide::Output => linear.contract(workers, samples, from, weight, to, None, 1.0),
            };
            let rectifier = target.rectifier(buffers);
            if to.layout.is_dense() && target.combine == Combine::Replace {
                compute(to.values)?;
                return match rectifier {
                    Some(rectifier) => kernels::rectify_gradient(workers, samples, to, rectifier),
                    None => Ok(()),
                };
            }
            compute(flat_in)?;
            let dense = dense(to.layout)?;
            kernels::transfer(workers, samples, Images::new(flat_in, &dense), to, target.combine, rectifier)
        })
    }

    fn normalization_backward(
        &mut self,
        pass: &Pass<'_>,
        buffers: &mut [Buffer],
        scratch: &mut Scratch,
        gradient: &Slot,
        parameters: Option<&mut ParameterGradients<'_>>,
    ) -> Done {
        let Some(LayerWeights::Normalization { channels, scale, shift, .. }) = self.weights else {
            return Ok(());
        };
        let Some(state) = &mut self.normalization else { return Ok(()) };
        let (workers, samples) = (pass.workers, pass.samples);
        let factors = &pass.weights.values[scale..];
        let (input, target) = (&self.inputs[0], self.targets.first().and_then(Option::as_ref));
        let (scale_gradient, shift_gradient) = scratch.channels.split_at_mut(channels);
        let shift_gradient = &mut shift_gradient[..channels];
        let wanted = parameters.is_some();
        let mut compute = |buffers: &[Buffer], to: Option<(ImagesMut<'_>, &Target)>| {
            state.normalization.gradient(
                workers,
                samples,
                images(buffers, input),
                &mut state.moments,
                state.statistics,
                factors,
                images(buffers, gradient),
                wanted.then_some((&mut *scale_gradient, &mut *shift_gradient)),
                to.map(|(to, target)| (to, target.combine, target.rectifier(buffers))),
            )
        };
        match target {
            Some(target) => write(buffers, &target.slot, |buffers, to| compute(buffers, Some((to, target))))?,
            None => compute(buffers, None)?,
        }
        if let Some(parameters) = parameters {
            for (first, values) in [(scale, scale_gradient), (shift, shift_gradient)] {
                parameters.write(workers, first, channels, &mut scratch.gradient, |to| {
                    to.copy_from_slice(values);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Layers without parameters.
    fn plain_backward(
        &self,
        pass: &Pass<'_>,
        buffers: &mut [Buffer],
        scratch: &mut Scratch,
        gradient: &Slot,
    ) -> Done {
        let (workers, samples) = (pass.workers, pass.samples);
        let mut first = 0;
        for (index, (input, target)) in self.inputs.iter().zip(&self.targets).enumerate() {
            let channels = input.layout.channels();
            let part = first;
            first += channels;
            let Some(target) = target else { continue };
            if self.task == Task::Reorder {
                let [planes, _] = &mut scratch.flat;
                kernels::to_planes(workers, samples, images(buffers, gradient), planes)?;
                write(buffers, &target.slot, |_, to| {
                    kernels::from_planes(workers, samples, planes, to, target.combine)
                })?;
                continue;
            }
            write(buffers, &target.slot, |buffers, to| {
                let from = images(buffers, gradient);
                let (combine, rectifier) = (target.combine, target.rectifier(buffers));
                match self.task {
                    Task::Concatenate => {
                        let layout = gradient.layout.channel_range(part, channels)?;
                        kernels::transfer(
                            workers,
                            samples,
                            Images::new(from.values, &layout),
                            to,
                            combine,
                            rectifier,
                        )
                    }
                    Task::Add => kernels::transfer(workers, samples, from, to, combine, rectifier),
                    Task::Activation(function) => {
                        let (x, y) = (images(buffers, &self.inputs[index]), images(buffers, &self.output));
                        kernels::activation_gradient(workers, samples, function, x, y, from, to, combine)
                    }
                    Task::Pool(pooling, window) => {
                        let (x, y) = (images(buffers, &self.inputs[index]), images(buffers, &self.output));
                        kernels::pool_gradient(
                            workers, samples, pooling, window, x, y, from, to, combine, rectifier,
                        )
                    }
                    Task::Upsample(upsampling, factor) => kernels::upsample_gradient(
                        workers, samples, upsampling, factor, from, to, combine, rectifier,
                    ),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Whether the backward pass can multiply the derivative of a rectifier onto what it writes.
    pub(super) fn can_rectify(task: &Task) -> bool {
        !matches!(task, Task::Activation(_) | Task::Reorder)
    }
}

impl ParameterGradients<'_> {
    /// Puts a gradient of `len` values at `first`, or adds it there.
    fn write(
        &mut self,
        workers: &Workers<'_>,
        first: usize,
        len: usize,
        scratch: &mut Buffer,
        compute: impl FnOnce(&mut [f32]) -> Done,
    ) -> Done {
        let to = &mut self.values[first..first + len];
        match self.combine {
            Combine::Replace => compute(to),
            Combine::Add => {
                // Only networks that are trained in parts need this memory: it is not there before.
                if scratch.len() < len {
                    *scratch = Buffer::zeros(len);
                }
                compute(&mut scratch[..len])?;
                kernels::accumulate(workers, to, &scratch[..len])
            }
        }
    }
}

/// The layout of the same values side by side.
fn dense(layout: &kernels::ImageLayout) -> Result<kernels::ImageLayout, KernelError> {
    kernels::ImageLayout::new(layout.channels(), layout.height(), layout.width(), kernels::Border::NONE)
}

/// The values of images side by side: where they are, if they are so, or copied.
fn flatten<'b>(
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
