//! The memory limit for one file.

use crate::error::ReadErrorKind;
use crate::source::reserve;

/// The remaining memory for reading; memory is counted before it is allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryBudget {
    limit: u64,
    taken: u64,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, of which `taken` are already in use.
    pub(super) fn new(limit: u64, taken: u64) -> Self {
        Self { limit, taken }
    }

    pub(super) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.taken)
    }

    /// Counts bytes that stay in use.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), ReadErrorKind> {
        let need = self.taken.saturating_add(bytes);
        if need > self.limit {
            return Err(ReadErrorKind::LimitExceeded { need, limit: self.limit });
        }
        self.taken = need;
        Ok(())
    }

    /// Like [`MemoryBudget::take`], for memory that a library allocates and frees while the rest stays.
    pub(super) fn expect(&self, bytes: u64) -> Result<(), ReadErrorKind> {
        Self::take(&mut { *self }, bytes)
    }

    /// `count` zeros.
    pub(super) fn zeros<T: Copy + Default>(&mut self, count: u64) -> Result<Vec<T>, ReadErrorKind> {
        self.take(count.saturating_mul(size_of::<T>() as u64))?;
        let mut values = Vec::new();
        reserve(&mut values, count)?;
        values.resize(usize::try_from(count).unwrap_or(0), T::default());
        Ok(values)
    }
}
