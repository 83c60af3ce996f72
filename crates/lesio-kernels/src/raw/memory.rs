//! Memory that begins at a cache line and, where it is large, lies in large pages.
//!
//! A pass goes over hundreds of megabytes with strides of kilobytes. In pages of 4 KiB each step of such
//! a stride needs another entry of the processor's address tables, and fetching those takes some
//! percent of a pass. Linux gives pages of 2 MiB to whoever asks.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a large page on the processors that have vector kernels.
const LARGE: usize = 1 << 21;

/// A fixed number of values, zero at first.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: `Memory` owns its values as a boxed slice does, and `f32` may go to, and be shared by, threads.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let Some(layout) = layout(len) else { return Self::default() };
        // SAFETY: the layout is not empty.
        let start = unsafe { if layout.align() == LARGE { alloc(layout) } else { alloc_zeroed(layout) } };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        if layout.align() == LARGE {
            ask_for_large_pages(start, layout.size());
            // SAFETY: the allocation has this size. Written only now, after large pages were asked for.
            unsafe { start.write_bytes(0, layout.size()) };
        }
        Self { start: start.cast(), len }
    }
}

/// How `len` values are allocated; `None` for none, and for more than the address space, which no
/// allocator has.
fn layout(len: usize) -> Option<Layout> {
    let size = len.checked_mul(size_of::<f32>())?;
    let align = if size >= LARGE { LARGE } else { LINE };
    Layout::from_size_align(size, align).ok().filter(|layout| layout.size() > 0)
}

/// Asks for large pages for the part of an allocation that fills whole ones, so that it takes no more
/// memory than before. An advice: where the system does not follow it, nothing is lost.
fn ask_for_large_pages(start: NonNull<u8>, size: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the range lies inside an allocation that this module has just made and nobody else knows;
    // the advice changes no values.
    unsafe {
        libc::madvise(start.as_ptr().cast(), size / LARGE * LARGE, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (start, size);
}

impl Default for Memory {
    /// No values.
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0 }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len) {
            // SAFETY: `zeros` allocated with the layout of this length; a length of 0 has none.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl std::ops::Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialized values from `start`, or none from a dangling, aligned pointer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_memory_is_zero_and_aligned() {
        for len in [0, 1, 16, 1000, LARGE / 4 - 1, LARGE / 4, LARGE / 2 + 77] {
            let mut memory = Memory::zeros(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&value| value == 0.0));
            if len > 0 {
                assert_eq!(memory.as_ptr() as usize % LINE, 0);
                memory[len - 1] = 1.0;
            }
        }
        assert!(Memory::default().is_empty());
    }
}
