//! The forward pass of a layer.

use lesio_kernels::{self as kernels, Buffer, Combine, Epilogue, Grouping, Images, ImagesMut, Statistics};

use super::{Done, Pass, Scratch, Step, dense, flatten, images, write};
use crate::mode::Mode;
use crate::plan::graph::Task;
use crate::plan::layout::{LayerWeights, Wide};
use crate::plan::slots::{Slot, is_inside};
use crate::plan::weights::PlanWeights;

impl Step {
    /// Computes the output from the inputs.
    pub(in crate::plan) fn forward(
        &mut self,
        pass: &Pass<'_>,
        buffers: &mut [Buffer],
        scratch: &mut Scratch,
    ) -> Done {
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
            (Task::Multiply, _) => write(buffers, &self.output, |buffers, output| {
                let [a, b] = &self.inputs[..] else { return Ok(()) };
                kernels::multiply(workers, samples, [images(buffers, a), images(buffers, b)], output)
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
                    Task::PoolWindows(windows) => {
                        kernels::pool_windows(workers, samples, windows, input, output)
                    }
                    Task::Upsample(upsampling, factor) => {
                        kernels::upsample(workers, samples, upsampling, factor, input, output)
                    }
                    _ => Ok(()),
                }
            }),
        }
    }
}
