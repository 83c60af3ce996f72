//! Averages values over channels.

use lesio_nn::ImageBatch;

/// Maps `[n, h, w]` of values `[n, c, h, w]`: the mean over channels.
pub(crate) fn mean_over_channels(values: &[f32], images: ImageBatch<'_>) -> Vec<f32> {
    let (size, pixels) = (images.shape().len(), images.shape().pixels());
    let channels = images.shape().channels;
    let scale = 1.0 / channels as f32;
    let mut maps = Vec::with_capacity(images.len() * pixels);
    for own in values.chunks_exact(size) {
        for pixel in 0..pixels {
            let at = |channel: usize| own[channel * pixels + pixel];
            maps.push((0..channels).map(at).sum::<f32>() * scale);
        }
    }
    maps
}
