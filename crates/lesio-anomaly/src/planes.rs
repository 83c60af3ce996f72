//! Batches of images between candle's tensors and plain slices.

use candle_core::{DType, Device, Result, Tensor};

/// A batch `[n, c, h, w]` as one slice.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    pub(crate) samples: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl Planes {
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let (samples, channels, height, width) = tensor.dims4()?;
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self { samples, channels, height, width, values })
    }

    /// Values of one sample.
    pub(crate) fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Pixels of one channel.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Maps `[n, h, w]`: for each pixel the mean over channels of `f(value index)`.
    pub(crate) fn maps(&self, device: &Device, f: impl Fn(usize) -> f32) -> Result<Tensor> {
        let (size, pixels) = (self.size(), self.pixels());
        let scale = 1.0 / self.channels as f32;
        let mut maps = Vec::with_capacity(self.samples * pixels);
        for sample in 0..self.samples {
            for pixel in 0..pixels {
                let at = |channel: usize| f(sample * size + channel * pixels + pixel);
                maps.push((0..self.channels).map(at).sum::<f32>() * scale);
            }
        }
        Tensor::from_vec(maps, (self.samples, self.height, self.width), device)
    }
}
