//! Memory for images and weights.

/// Values that one cache line of 64 bytes holds: buffers start on such a boundary.
const LINE: usize = 16;

/// A fixed number of values, zero at first, that begin at a cache line.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let memory = vec![0.0_f32; len + LINE];
        let start = memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { memory, start, len }
    }

    /// A copy of values.
    #[must_use]
    pub fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_at_a_cache_line() {
        for len in [0, 1, 15, 16, 1000] {
            let buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            assert_eq!(*buffer.clone(), *buffer);
        }
        assert_eq!(*Buffer::from_slice(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
