//! Values by channel: their means, and comparisons of two images plane by plane.

use lesio_nn::ImageBatch;
use rayon::prelude::*;

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

/// What `compare` writes for each plane of `pixels` values of two images, in parallel.
pub(crate) fn compare_planes(
    [x, y]: [&[f32]; 2],
    pixels: usize,
    compare: impl Fn(&mut [f32], [&[f32]; 2]) + Sync,
) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    if pixels > 0 {
        let pairs = x.par_chunks_exact(pixels).zip(y.par_chunks_exact(pixels));
        out.par_chunks_exact_mut(pixels).zip(pairs).for_each(|(out, (x, y))| compare(out, [x, y]));
    }
    out
}
