//! The losses of the measured networks and their gradients, as `peers/cases_torch.py` has them.

/// The sum of squared differences of two images, times `scale`; `gradient` becomes its gradient with
/// respect to `output`.
///
/// Slices of different lengths are compared up to the shortest. The sum is in f64 over eight
/// interleaved parts, so that it vectorizes and its order is fixed.
pub fn squared_error(output: &[f32], target: &[f32], scale: f32, gradient: &mut [f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0_f64; LANES];
    let (outputs, last_output) = output.as_chunks::<LANES>();
    let (targets, last_target) = target.as_chunks::<LANES>();
    let (gradients, last_gradient) = gradient.as_chunks_mut::<LANES>();
    let twice = 2.0 * scale;
    for ((output, target), gradient) in outputs.iter().zip(targets).zip(gradients) {
        for lane in 0..LANES {
            let difference = output[lane] - target[lane];
            gradient[lane] = twice * difference;
            sums[lane] += f64::from(difference * difference);
        }
    }
    for ((output, target), gradient) in last_output.iter().zip(last_target).zip(last_gradient) {
        let difference = output - target;
        *gradient = twice * difference;
        sums[0] += f64::from(difference * difference);
    }
    sums.iter().sum::<f64>() * f64::from(scale)
}

/// Gradients of the negative ELBO with respect to what the two networks of a VAE give.
#[derive(Clone, Debug, Default)]
pub struct ElboGradients {
    /// With respect to the reconstruction.
    pub reconstruction: Vec<f32>,
    /// With respect to the mean.
    pub mean: Vec<f32>,
    /// With respect to the log-variance.
    pub log_variance: Vec<f32>,
}

impl ElboGradients {
    /// Zeros for a batch.
    #[must_use]
    pub fn zeros(pixels: usize, latent: usize) -> Self {
        let (mean, log_variance) = (vec![0.0; latent], vec![0.0; latent]);
        Self { reconstruction: vec![0.0; pixels], mean, log_variance }
    }

    /// Adds what reaches mean and log-variance through the latent value `mean + exp(log_variance / 2) * noise`.
    pub fn add_latent(&mut self, latent_gradient: &[f32], log_variance: &[f32], noise: &[f32]) {
        let own = self.mean.iter_mut().zip(&mut self.log_variance);
        let given = latent_gradient.iter().zip(log_variance).zip(noise);
        for ((mean, log_variance_gradient), ((gradient, log_variance), noise)) in own.zip(given) {
            *mean += gradient;
            *log_variance_gradient += gradient * noise * 0.5 * (0.5 * log_variance).exp();
        }
    }
}

/// The latent value `mean + exp(log_variance / 2) * noise`.
pub fn sample(mean: &[f32], log_variance: &[f32], noise: &[f32], latent: &mut [f32]) {
    for (((latent, mean), log_variance), noise) in latent.iter_mut().zip(mean).zip(log_variance).zip(noise) {
        *latent = mean + (0.5 * log_variance).exp() * noise;
    }
}

/// Squared error plus Kullback-Leibler divergence, times `scale`; `gradients` become those of the
/// reconstruction and, through the divergence alone, of mean and log-variance.
pub fn negative_elbo(
    image: &[f32],
    reconstruction: &[f32],
    mean: &[f32],
    log_variance: &[f32],
    scale: f32,
    gradients: &mut ElboGradients,
) -> f64 {
    let error = squared_error(reconstruction, image, scale, &mut gradients.reconstruction);
    let mut divergence = 0.0_f64;
    let own = gradients.mean.iter_mut().zip(&mut gradients.log_variance);
    for ((mean_gradient, log_variance_gradient), (mean, log_variance)) in
        own.zip(mean.iter().zip(log_variance))
    {
        let variance = log_variance.exp();
        divergence += f64::from(0.5 * (mean * mean + variance - log_variance - 1.0));
        *mean_gradient = scale * mean;
        *log_variance_gradient = scale * 0.5 * (variance - 1.0);
    }
    error + divergence * f64::from(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole objective for one latent value and eleven pixels that follow it linearly.
    fn loss(mean: f32, log_variance: f32, gradients: &mut ElboGradients) -> f64 {
        let noise = [0.7];
        let mut latent = [0.0];
        sample(&[mean], &[log_variance], &noise, &mut latent);
        let image: Vec<f32> = (0..11).map(|i| i as f32 * 0.3 - 1.0).collect();
        let output: Vec<f32> = (0..11).map(|i| latent[0] * (i as f32 - 4.0)).collect();
        let value = negative_elbo(&image, &output, &[mean], &[log_variance], 0.5, gradients);
        let slope: f32 = gradients.reconstruction.iter().enumerate().map(|(i, g)| g * (i as f32 - 4.0)).sum();
        gradients.add_latent(&[slope], &[log_variance], &noise);
        value
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let mut gradients = ElboGradients::zeros(11, 1);
        let mut other = gradients.clone();
        let step = 1e-2;
        for (mean, log_variance) in [(0.3, -0.4), (-1.2, 0.8), (0.0, 0.0)] {
            loss(mean, log_variance, &mut gradients);
            let by_mean = (loss(mean + step, log_variance, &mut other)
                - loss(mean - step, log_variance, &mut other))
                / (2.0 * f64::from(step));
            let by_variance = (loss(mean, log_variance + step, &mut other)
                - loss(mean, log_variance - step, &mut other))
                / (2.0 * f64::from(step));
            assert!((by_mean - f64::from(gradients.mean[0])).abs() < 1e-2, "{by_mean} {gradients:?}");
            let error = by_variance - f64::from(gradients.log_variance[0]);
            assert!(error.abs() < 1e-2, "{by_variance} {gradients:?}");
        }
    }
}
