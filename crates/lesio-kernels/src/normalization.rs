//! Group and batch normalization.
//!
//! Both subtract a mean and divide by a standard deviation; they differ in what these are taken over.
//! Statistics are kept for each sample and channel, repeated where they are shared.

use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier, for_rows};
use crate::layout::ImageLayout;
use crate::period::Period;
use crate::raw::{Workers, vectorized};
use crate::sums::{channel_sums, scratch_len};

/// The groups over which mean and variance are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// Over the pixels and channels of each of so many groups of channels of each sample.
    Groups(usize),
    /// Over the pixels of each channel of all samples.
    Batch,
}

/// Mean and variance (of the values, not of their mean: divided by the count) for each sample and
/// channel, `[samples][channels]`, with the memory that working on them takes.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f64>,
    /// Variances.
    pub variance: Vec<f64>,
    sums: Vec<f64>,
    /// Means over each group that the gradient needs.
    shared: [Vec<f64>; 2],
    /// Four numbers for each sample and channel, channels repeated: see [`Period`].
    coefficients: Vec<f32>,
}

impl Moments {
    /// Room for `samples` images.
    #[must_use]
    pub fn new(samples: usize, layout: &ImageLayout) -> Self {
        let len = samples * layout.channels();
        Self {
            mean: vec![0.0; len],
            variance: vec![0.0; len],
            sums: vec![0.0; scratch_len(layout, samples, 2)],
            shared: [vec![0.0; len], vec![0.0; len]],
            coefficients: vec![0.0; 4 * samples * Period::of(layout.channels()).len()],
        }
    }
}

/// A normalization: grouping, and what is added to the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalizationSettings {
    /// The groups of the statistics.
    pub grouping: Grouping,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Where the statistics of a normalization came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// From the input itself, so that they move with it.
    Measured,
    /// From elsewhere: running statistics.
    Given,
}

impl NormalizationSettings {
    /// Measures mean and variance.
    ///
    /// One sweep sums the differences from each channel's first pixel and their squares. So a constant channel has
    /// variance 0, and values far from zero lose no digits, unless the first pixel is far from the others: the relative
    /// rounding error of the variance grows with the square of its distance from the mean in standard deviations.
    ///
    /// NaN and infinite values make the statistics of their group NaN.
    ///
    /// # Errors
    /// For slices that are too short and groups that do not divide the channels.
    pub fn measure(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &mut Moments,
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        self.check(samples, layout, moments)?;
        layout.check("the input", input.values, samples)?;
        let Moments { mean, variance, sums, coefficients, .. } = moments;
        let period = Period::of(channels);
        let origin = |sample: usize, c: usize| input.values[layout.index(sample, 0, 0) + c];
        let origins = &mut coefficients[..samples * period.len()];
        for (sample, origins) in origins.chunks_exact_mut(period.len()).enumerate() {
            period.fill(origins, |c| origin(sample, c));
        }
        let origins = &*origins;
        let isa = workers.isa();
        let sums = channel_sums(workers, samples, layout, 2, sums, |sample, row, sums| {
            let origins = &origins[sample * period.len()..][..period.len()];
            add_differences(isa, period, layout.pixel_stride(), input.row(sample, row), origins, sums);
        })?;
        let pixels = (layout.height() * layout.width()) as f64;
        // Sum of the values, then of the squared differences from the mean of the group.
        let of =
            |kind: usize, index: usize| sums[(index / channels * 2 + kind) * channels + index % channels];
        let first = |index: usize| f64::from(origin(index / channels, index % channels));
        for (index, mean) in mean[..samples * channels].iter_mut().enumerate() {
            *mean = of(0, index) + pixels * first(index);
        }
        self.share(samples, layout, mean);
        for (index, variance) in variance[..samples * channels].iter_mut().enumerate() {
            let away = first(index) - mean[index];
            *variance = of(1, index) + 2.0 * away * of(0, index) + pixels * away * away;
        }
        self.share(samples, layout, variance);
        // Rounding may leave a constant group a little below zero.
        for variance in &mut variance[..samples * channels] {
            // Not `max`, which would make NaN 0.
            if *variance < 0.0 {
                *variance = 0.0;
            }
        }
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
    /// For images of different sizes and slices that are too short.
    #[allow(clippy::too_many_arguments)] // Two images, two parameters, statistics and what follows.
    pub fn apply(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &mut Moments,
        scale: &[f32],
        shift: &[f32],
        output: ImagesMut<'_>,
        slope: f32,
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        self.check(samples, layout, moments)?;
        output.layout.check_same_size("the size of the input", layout)?;
        layout.check("the input", input.values, samples)?;
        check_len("the scale", scale.len(), channels)?;
        check_len("the shift", shift.len(), channels)?;
        let pixels = [layout.pixel_stride(), output.layout.pixel_stride(), output.layout.pixel_stride()];
        let period = Period::common(channels, pixels);
        let Moments { mean, variance, coefficients, .. } = moments;
        let len = period.len();
        for (sample, coefficients) in coefficients.chunks_exact_mut(3 * len).enumerate().take(samples) {
            let (means, rest) = coefficients.split_at_mut(len);
            let (factors, shifts) = rest.split_at_mut(len);
            let inverse = |c: usize| 1.0 / (variance[sample * channels + c] + f64::from(self.epsilon)).sqrt();
            period.fill(means, |c| mean[sample * channels + c] as f32);
            period.fill(factors, |c| (f64::from(scale[c]) * inverse(c)) as f32);
            period.fill(shifts, |c| shift[c]);
        }
        let coefficients = &*coefficients;
        let isa = workers.isa();
        for_rows(workers, samples, output, |sample, row, to| {
            let coefficients = &coefficients[sample * 3 * len..][..3 * len];
            normalize_row(isa, period, pixels, input.row(sample, row), to, coefficients, slope);
        })
    }

    /// Gradients with respect to scale, shift and input, from the gradient with respect to the output
    /// (before the rectifier: multiplied by its derivative already).
    ///
    /// # Errors
    /// For images of different sizes and slices that are too short.
    #[allow(clippy::too_many_arguments)] // Three images, parameters and their gradients, statistics.
    pub fn gradient(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        moments: &mut Moments,
        statistics: Statistics,
        scale: &[f32],
        from: Images<'_>,
        parameters: Option<(&mut [f32], &mut [f32])>,
        to: Option<(ImagesMut<'_>, Combine, Option<Rectifier<'_>>)>,
    ) -> Result<(), KernelError> {
        let layout = input.layout;
        let channels = layout.channels();
        self.check(samples, layout, moments)?;
        layout.check("the input", input.values, samples)?;
        layout.check_same_size("the size of the gradient", from.layout)?;
        from.layout.check("the gradient", from.values, samples)?;
        check_len("the scale", scale.len(), channels)?;
        let Moments { mean, variance, sums, shared, coefficients } = moments;
        let isa = workers.isa();
        let pixels = [layout.pixel_stride(), from.layout.pixel_stride(), channels];
        let period = Period::common(channels, pixels);
        let whole = Period::of(channels).len();
        let means = &mut coefficients[..samples * whole];
        for (sample, means) in means.chunks_exact_mut(whole).enumerate() {
            period.fill(means, |c| mean[sample * channels + c] as f32);
        }
        let means = &*means;
        // For each sample: sums of the gradient, then of the gradient times the centered input.
        channel_sums(workers, samples, layout, 2, sums, |sample, row, sums| {
            let means = &means[sample * whole..][..period.len()];
            let (plain, products) = sums.split_at_mut(whole);
            add_products(
                isa,
                period,
                pixels,
                input.row(sample, row),
                from.row(sample, row),
                means,
                plain,
                products,
            );
        })?;
        let inverse = |index: usize| 1.0 / (variance[index] + f64::from(self.epsilon)).sqrt();
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
        let mask_layout = rectifier.map_or(to.layout, |rectifier| rectifier.images.layout);
        if let Some(rectifier) = rectifier {
            to.layout.check_same_size("the size of the rectified image", mask_layout)?;
            mask_layout.check("the rectified image", rectifier.images.values, samples)?;
        }
        // dx = first * gradient + second * (input - mean) + third, for each sample and channel:
        //   first = scale / deviation, second = -mean(scale * gradient * centered) / deviation^3,
        //   third = -mean(scale * gradient) / deviation, the means over the group.
        let [thirds, seconds] = shared;
        for (kind, means) in [&mut *thirds, &mut *seconds].into_iter().enumerate() {
            for (index, mean) in means[..samples * channels].iter_mut().enumerate() {
                let (sample, c) = (index / channels, index % channels);
                *mean = f64::from(scale[c]) * sums[(sample * 2 + kind) * channels + c];
            }
            self.share(samples, layout, means);
        }
        let pixels = [pixels[0], pixels[1], to.layout.pixel_stride()];
        let period =
            Period::common(channels, [pixels[0].max(pixels[1]), pixels[2], mask_layout.pixel_stride()]);
        let len = period.len();
        for (sample, coefficients) in coefficients.chunks_exact_mut(4 * len).enumerate().take(samples) {
            let (means, rest) = coefficients.split_at_mut(len);
            let (first, rest) = rest.split_at_mut(len);
            let (second, third) = rest.split_at_mut(len);
            let at = |c: usize| sample * channels + c;
            let moving = if statistics == Statistics::Measured { 1.0 } else { 0.0 };
            period.fill(means, |c| mean[at(c)] as f32);
            period.fill(first, |c| (f64::from(scale[c]) * inverse(at(c))) as f32);
            period.fill(second, |c| (-moving * seconds[at(c)] * inverse(at(c)).powi(3)) as f32);
            period.fill(third, |c| (-moving * thirds[at(c)] * inverse(at(c))) as f32);
        }
        let coefficients = &*coefficients;
        for_rows(workers, samples, to, |sample, row, to| {
            let coefficients = &coefficients[sample * 4 * len..][..4 * len];
            let (input, from) = (input.row(sample, row), from.row(sample, row));
            let mask = rectifier.map(|r| (r.images.row(sample, row), mask_layout.pixel_stride(), r.slope));
            gradient_row(isa, period, pixels, input, from, to, coefficients, combine, mask);
        })
    }

    fn check(&self, samples: usize, layout: &ImageLayout, moments: &Moments) -> Result<(), KernelError> {
        let channels = layout.channels();
        if let Grouping::Groups(groups) = self.grouping
            && (groups == 0 || !channels.is_multiple_of(groups))
        {
            return Err(KernelError::Mismatch {
                what: "the number of groups",
                found: groups,
                expected: channels,
            });
        }
        check_len("the statistics", moments.mean.len().min(moments.variance.len()), samples * channels)?;
        check_len("the sums", moments.sums.len(), scratch_len(layout, samples, 2))?;
        let len = 4 * samples * Period::of(channels).len();
        check_len("the coefficients", moments.coefficients.len(), len)
    }
}

vectorized! {
    fn add_differences(period: Period, pixel: usize, row: &[f32], origins: &[f32], sums: &mut [f32]) {
        let (plain, squares) = sums.split_at_mut(period.len());
        for values in period.runs(row, pixel) {
            let len = values.len();
            let (plain, squares, origins) = (&mut plain[..len], &mut squares[..len], &origins[..len]);
            for i in 0..len {
                let difference = values[i] - origins[i];
                plain[i] += difference;
                squares[i] += difference * difference;
            }
        }
    }
}

vectorized! {
    fn add_products(period: Period, pixels: [usize; 3], input: &[f32], from: &[f32], means: &[f32], plain: &mut [f32], products: &mut [f32]) {
        for (x, g) in period.runs(input, pixels[0]).zip(period.runs(from, pixels[1])) {
            let len = x.len();
            let (g, means) = (&g[..len], &means[..len]);
            let (plain, products) = (&mut plain[..len], &mut products[..len]);
            for i in 0..len {
                plain[i] += g[i];
                products[i] += g[i] * (x[i] - means[i]);
            }
        }
    }
}

vectorized! {
    fn normalize_row(period: Period, pixels: [usize; 3], input: &[f32], to: &mut [f32], coefficients: &[f32], slope: f32) {
        let (means, rest) = coefficients.split_at(period.len());
        let (factors, shifts) = rest.split_at(period.len());
        for (x, y) in period.runs(input, pixels[0]).zip(period.runs_mut(to, pixels[1])) {
            let len = x.len();
            let (y, means, factors, shifts) = (&mut y[..len], &means[..len], &factors[..len], &shifts[..len]);
            for i in 0..len {
                let value = (x[i] - means[i]) * factors[i] + shifts[i];
                y[i] = if value > 0.0 { value } else { value * slope };
            }
        }
    }
}

vectorized! {
    fn gradient_row(period: Period, pixels: [usize; 3], input: &[f32], from: &[f32], to: &mut [f32], coefficients: &[f32], combine: Combine, mask: Option<(&[f32], usize, f32)>) {
        let (means, rest) = coefficients.split_at(period.len());
        let (first, rest) = rest.split_at(period.len());
        let (second, third) = rest.split_at(period.len());
        let runs = period.runs(input, pixels[0]).zip(period.runs(from, pixels[1]));
        for ((x, g), y) in runs.zip(period.runs_mut(to, pixels[2])) {
            let len = x.len();
            let (g, y, means) = (&g[..len], &mut y[..len], &means[..len]);
            let (first, second, third) = (&first[..len], &second[..len], &third[..len]);
            match combine {
                Combine::Replace => {
                    for i in 0..len {
                        y[i] = first[i] * g[i] + second[i] * (x[i] - means[i]) + third[i];
                    }
                }
                Combine::Add => {
                    for i in 0..len {
                        y[i] += first[i] * g[i] + second[i] * (x[i] - means[i]) + third[i];
                    }
                }
            }
        }
        if let Some((values, pixel, slope)) = mask {
            for (y, values) in period.runs_mut(to, pixels[2]).zip(period.runs(values, pixel)) {
                for (y, &value) in y.iter_mut().zip(values) {
                    *y = if value > 0.0 { *y } else { *y * slope };
                }
            }
        }
    }
}
