//! Group and batch normalization.
//!
//! Both subtract a mean and divide by a standard deviation; they differ in what these are taken over.
//! Statistics are kept for each sample and channel, repeated where they are shared.

use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier, Runs, for_rows};
use crate::layout::ImageLayout;
use crate::raw::{Workers, vectorized};
use crate::sums::{channel_sums, scratch_len};

/// What mean and variance are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// Over the pixels and channels of each of so many groups of channels of each sample.
    Groups(usize),
    /// Over the pixels of each channel of all samples.
    Batch,
}

/// Mean and variance (of the values, not of their mean: divided by the count) for each sample and
/// channel, `[samples][channels]`.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f64>,
    /// Variances.
    pub variance: Vec<f64>,
}

impl Moments {
    /// Room for samples of so many channels.
    #[must_use]
    pub fn new(samples: usize, channels: usize) -> Self {
        Self { mean: vec![0.0; samples * channels], variance: vec![0.0; samples * channels] }
    }
}

/// A normalization: grouping, and what is added to the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// What the statistics are taken over.
    pub grouping: Grouping,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Normalization {
    /// Number of `f64` values that the methods need as scratch.
    #[must_use]
    pub fn scratch_len(&self, layout: &ImageLayout, samples: usize) -> usize {
        // Sums, and beside them three coefficients of each sample and channel.
        scratch_len(layout, samples, 2) + 3 * samples * layout.channels()
    }

    /// Measures mean and variance, in two passes.
    ///
    /// # Errors
    /// Refuses slices that are too short and groups that do not divide the channels.
    pub fn measure(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &mut Moments,
        scratch: &mut [f64],
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        self.check(samples, layout, moments, scratch)?;
        layout.check("the input", input.values, samples)?;
        let runs = Runs::common([layout; 3]);
        let isa = workers.isa();
        let sums = channel_sums(workers, samples, layout, 1, scratch, |sample, row, sums| {
            add_row(isa, runs, channels, input.row(sample, row), sums);
        })?;
        moments.mean[..samples * channels].copy_from_slice(sums);
        self.share(samples, layout, &mut moments.mean);
        let mean = &moments.mean;
        let sums = channel_sums(workers, samples, layout, 1, scratch, |sample, row, sums| {
            add_squares(isa, runs, input.row(sample, row), &mean[sample * channels..][..channels], sums);
        })?;
        moments.variance[..samples * channels].copy_from_slice(sums);
        self.share(samples, layout, &mut moments.variance);
        Ok(())
    }

    /// Turns sums of each sample and channel into means over the group.
    fn share(&self, samples: usize, layout: &ImageLayout, sums: &mut [f64]) {
        let channels = layout.channels();
        let pixels = layout.height() * layout.width();
        match self.grouping {
            Grouping::Groups(groups) => {
                let size = channels / groups;
                for group in sums[..samples * channels].chunks_exact_mut(size) {
                    let mean = group.iter().sum::<f64>() / (size * pixels) as f64;
                    group.fill(mean);
                }
            }
            Grouping::Batch => {
                for channel in 0..channels {
                    let of_channel = (0..samples).map(|sample| sample * channels + channel);
                    let sum: f64 = of_channel.clone().map(|index| sums[index]).sum();
                    of_channel.for_each(|index| sums[index] = sum / (samples * pixels) as f64);
                }
            }
        }
    }

    /// `(input - mean) / sqrt(variance + epsilon) * scale + shift`, then a leaky rectifier (slope 1: none).
    ///
    /// # Errors
    /// Refuses images of different sizes and slices that are too short.
    #[allow(clippy::too_many_arguments)] // Two images, two parameters, statistics and scratch.
    pub fn apply(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &Moments,
        scale: &[f32],
        shift: &[f32],
        output: ImagesMut<'_>,
        slope: f32,
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        output.layout.check_same_size("the size of the input", layout)?;
        layout.check("the input", input.values, samples)?;
        check_len("the scale", scale.len(), channels)?;
        check_len("the shift", shift.len(), channels)?;
        check_len("the statistics", moments.mean.len().min(moments.variance.len()), samples * channels)?;
        let runs = Runs::common([layout, output.layout, output.layout]);
        let isa = workers.isa();
        for_rows(workers, samples, output, |sample, row, to| {
            let of_sample = sample * channels..(sample + 1) * channels;
            let (mean, variance) = (&moments.mean[of_sample.clone()], &moments.variance[of_sample]);
            let factor =
                |c: usize| (f64::from(scale[c]) / (variance[c] + f64::from(self.epsilon)).sqrt()) as f32;
            normalize_row(isa, runs, input.row(sample, row), to, mean, &factor, &shift[..channels], slope);
        })
    }

    /// Gradients with respect to scale, shift and input, from the gradient with respect to the output
    /// (before the rectifier: multiplied by its derivative already).
    ///
    /// `statistics` says whether the statistics were measured on this input (and so depend on it) or given.
    ///
    /// # Errors
    /// Refuses images of different sizes and slices that are too short.
    #[allow(clippy::too_many_arguments)] // Three images, parameters and their gradients, statistics and scratch.
    pub fn gradient(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &Moments,
        statistics: Statistics,
        scale: &[f32],
        from: Images<'_>,
        parameters: Option<(&mut [f32], &mut [f32])>,
        to: Option<(ImagesMut<'_>, Combine, Option<Rectifier<'_>>)>,
        scratch: &mut [f64],
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        self.check(samples, layout, moments, scratch)?;
        layout.check("the input", input.values, samples)?;
        layout.check_same_size("the size of the gradient", from.layout)?;
        from.layout.check("the gradient", from.values, samples)?;
        check_len("the scale", scale.len(), channels)?;
        let runs = Runs::common([layout, from.layout, layout]);
        let isa = workers.isa();
        let all = samples * channels;
        let (sums, rest) = scratch.split_at_mut(scratch_len(layout, samples, 2));
        // For each sample: sums of the gradient, then of the gradient times the centred input.
        let sums = channel_sums(workers, samples, layout, 2, sums, |sample, row, sums| {
            let mean = &moments.mean[sample * channels..][..channels];
            add_products(isa, runs, input.row(sample, row), from.row(sample, row), mean, sums);
        })?;
        let inverse = |index: usize| 1.0 / (moments.variance[index] + f64::from(self.epsilon)).sqrt();
        if let Some((scale_gradient, shift_gradient)) = parameters {
            check_len("the gradient of the scale", scale_gradient.len(), channels)?;
            check_len("the gradient of the shift", shift_gradient.len(), channels)?;
            for c in 0..channels {
                let of = |kind: usize, sample: usize| sums[(sample * 2 + kind) * channels + c];
                shift_gradient[c] = (0..samples).map(|s| of(0, s)).sum::<f64>() as f32;
                scale_gradient[c] =
                    (0..samples).map(|s| of(1, s) * inverse(s * channels + c)).sum::<f64>() as f32;
            }
        }
        let Some((to, combine, rectifier)) = to else { return Ok(()) };
        to.layout.check_same_size("the size of the input", layout)?;
        // dx = first * gradient + second * (input - mean) + third, for each sample and channel.
        let (first, rest) = rest.split_at_mut(all);
        let (second, third) = rest.split_at_mut(all);
        for (index, first) in first.iter_mut().enumerate() {
            let (sample, c) = (index / channels, index % channels);
            let scale = f64::from(scale[c]);
            *first = scale * inverse(index);
            second[index] = scale * sums[(sample * 2 + 1) * channels + c];
            third[index] = scale * sums[sample * 2 * channels + c];
        }
        match statistics {
            Statistics::Measured => {
                self.share(samples, layout, second);
                self.share(samples, layout, &mut third[..all]);
                for index in 0..all {
                    let inverse = inverse(index);
                    second[index] *= -inverse * inverse * inverse;
                    third[index] *= -inverse;
                }
            }
            Statistics::Given => {
                second.fill(0.0);
                third.fill(0.0);
            }
        }
        let (first, second, third) = (&*first, &*second, &*third);
        let runs = Runs::common([layout, from.layout, to.layout]);
        let to_layout = *to.layout;
        for_rows(workers, samples, ImagesMut::new(&mut *to.values, to.layout), |sample, row, to| {
            let range = sample * channels..(sample + 1) * channels;
            let coefficients = [&first[range.clone()], &second[range.clone()], &third[range.clone()]];
            let mean = &moments.mean[range];
            gradient_row(
                isa,
                runs,
                input.row(sample, row),
                from.row(sample, row),
                to,
                mean,
                coefficients,
                combine,
            );
        })?;
        match rectifier {
            Some(rectifier) => crate::images::rectify_gradient(
                workers,
                samples,
                ImagesMut::new(to.values, &to_layout),
                rectifier,
            ),
            None => Ok(()),
        }
    }

    fn check(
        &self,
        samples: usize,
        layout: &ImageLayout,
        moments: &Moments,
        scratch: &[f64],
    ) -> Result<(), KernelError> {
        let channels = layout.channels();
        if let Grouping::Groups(groups) = self.grouping
            && (groups == 0 || channels % groups != 0)
        {
            return Err(KernelError::Mismatch {
                what: "the number of groups",
                found: groups,
                expected: channels,
            });
        }
        check_len("the statistics", moments.mean.len().min(moments.variance.len()), samples * channels)?;
        check_len("the scratch", scratch.len(), self.scratch_len(layout, samples))
    }
}

/// Where the statistics of a normalization came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// From the input itself, so that they move with it.
    Measured,
    /// From elsewhere: running statistics.
    Given,
}

/// Sum of each channel over the pixels of all samples, as for the gradient of a bias.
///
/// # Errors
/// Refuses slices that are too short.
pub fn channel_totals(
    workers: &Workers<'_>,
    samples: usize,
    images: Images<'_>,
    totals: &mut [f32],
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let layout = images.layout;
    let channels = layout.channels();
    layout.check("an image", images.values, samples)?;
    check_len("the totals", totals.len(), channels)?;
    let runs = Runs::common([layout; 3]);
    let isa = workers.isa();
    let sums = channel_sums(workers, samples, layout, 1, scratch, |sample, row, sums| {
        add_row(isa, runs, channels, images.row(sample, row), sums);
    })?;
    for (c, total) in totals[..channels].iter_mut().enumerate() {
        *total = (0..samples).map(|sample| sums[sample * channels + c]).sum::<f64>() as f32;
    }
    Ok(())
}

/// Number of `f64` values that [`channel_totals`] needs as scratch.
#[must_use]
pub fn totals_scratch_len(layout: &ImageLayout, samples: usize) -> usize {
    scratch_len(layout, samples, 1)
}

/// Calls `work` with the pixels of a row of up to three layouts.
#[inline(always)]
fn pixels(runs: Runs, channels: usize, mut work: impl FnMut([usize; 3])) {
    for starts in runs.starts() {
        for pixel in 0..runs.len / channels {
            work(starts.map(|start| start + pixel * channels));
        }
    }
}

vectorized! {
    fn add_row(runs: Runs, channels: usize, row: &[f32], sums: &mut [f32]) {
        pixels(runs, channels, |[at, _, _]| {
            let values = &row[at..at + channels];
            sums[..channels].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        });
    }
}

vectorized! {
    fn add_squares(runs: Runs, row: &[f32], mean: &[f64], sums: &mut [f32]) {
        let channels = sums.len();
        pixels(runs, channels, |[at, _, _]| {
            for c in 0..channels {
                let centred = row[at + c] - mean[c] as f32;
                sums[c] += centred * centred;
            }
        });
    }
}

vectorized! {
    fn add_products(runs: Runs, input: &[f32], from: &[f32], mean: &[f64], sums: &mut [f32]) {
        let channels = mean.len();
        let (plain, products) = sums.split_at_mut(channels);
        pixels(runs, channels, |[x, g, _]| {
            for c in 0..channels {
                plain[c] += from[g + c];
                products[c] += from[g + c] * (input[x + c] - mean[c] as f32);
            }
        });
    }
}

vectorized! {
    fn normalize_row(runs: Runs, input: &[f32], to: &mut [f32], mean: &[f64], factor: &dyn Fn(usize) -> f32, shift: &[f32], slope: f32) {
        let channels = shift.len();
        for c in 0..channels {
            let (mean, factor, shift) = (mean[c] as f32, factor(c), shift[c]);
            pixels(runs, channels, |[x, y, _]| {
                let value = (input[x + c] - mean) * factor + shift;
                to[y + c] = if value > 0.0 { value } else { value * slope };
            });
        }
    }
}

vectorized! {
    fn gradient_row(runs: Runs, input: &[f32], from: &[f32], to: &mut [f32], mean: &[f64], coefficients: [&[f64]; 3], combine: Combine) {
        let channels = mean.len();
        for c in 0..channels {
            let (mean, [first, second, third]) = (mean[c] as f32, coefficients.map(|values| values[c] as f32));
            pixels(runs, channels, |[x, g, y]| {
                let value = first * from[g + c] + second * (input[x + c] - mean) + third;
                to[y + c] = match combine {
                    Combine::Replace => value,
                    Combine::Add => to[y + c] + value,
                };
            });
        }
    }
}
