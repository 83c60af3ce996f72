//! Memory for images and weights.

use crate::raw::Memory;

/// A fixed number of values, zero at first, that begin at a cache line.
///
/// Large buffers lie in large pages where the system has them to give (Linux: transparent huge pages that
/// are at least allowed on request).
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Memory,
}

impl Buffer {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { memory: Memory::zeros(len) }
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
        &self.memory
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory
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
            assert!(len == 0 || (buffer.as_ptr() as usize).is_multiple_of(64));
            assert_eq!(*buffer.clone(), *buffer);
        }
        assert_eq!(*Buffer::from_slice(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
