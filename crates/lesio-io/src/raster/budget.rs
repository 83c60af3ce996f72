//! The memory that one file may take.

use crate::error::ReadErrorKind;
use crate::source::reserve;

/// What is left of the memory that reading may take, counted before it is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    limit: u64,
    taken: u64,
}

impl Budget {
    /// `limit` bytes, of which `taken` are in use already.
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

    /// As [`Budget::take`], for memory that a library allocates and frees while the rest stays.
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
