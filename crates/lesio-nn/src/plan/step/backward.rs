//! The backward pass of a layer.

use lesio_kernels::{self as kernels, Buffer, Combine, Images, ImagesMut, Rectifier, Workers};

use super::{Done, ParameterGradients, Pass, Scratch, Step, Target, dense, flatten, images, write};
use crate::plan::graph::Task;
use crate::plan::layout::{LayerWeights, Matrix, Wide};
use crate::plan::slots::Slot;
use crate::plan::weights::PlanWeights;

impl Step {
    /// Computes the gradients of parameters and inputs from the gradient of the output.
    pub(in crate::plan) fn backward(
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
                    Task::PoolWindows(windows) => {
                        let x = images(buffers, &self.inputs[index]);
                        kernels::pool_windows_gradient(
                            workers, samples, windows, x, from, to, combine, rectifier,
                        )
                    }
                    Task::Multiply => {
                        let other = images(buffers, &self.inputs[1 - index]);
                        kernels::product_gradient(workers, samples, other, from, to, combine, rectifier)
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
