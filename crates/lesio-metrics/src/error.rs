//! Why a metric has no value.

use lesio_settings::SettingError;

/// Why a metric could not be computed.
///
/// Every variant states what was expected and what was found; nothing is repaired or dropped silently.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two slices, or arrays of one axis, that belong together differ in length.
    #[error("{what} has {found} values, expected {expected}")]
    Length {
        /// The input at fault.
        what: &'static str,
        /// Length of the input it belongs to.
        expected: usize,
        /// Its own length.
        found: usize,
    },
    /// Two arrays that belong together differ in shape.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The input at fault.
        what: &'static str,
        /// Shape of the array it belongs to.
        expected: Vec<usize>,
        /// Its own shape.
        found: Vec<usize>,
    },
    /// An array has neither two nor three axes.
    #[error("an array of {found} axes, expected 2 (row, column) or 3 (i, j, k)")]
    Axes {
        /// Number of axes found.
        found: usize,
    },
    /// Not-a-number among the values: it has no rank. Infinities are accepted wherever only ranks count.
    #[error("{what} holds {count} values that are not a number, the first at index {first}")]
    NotANumber {
        /// The input at fault.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Index of the first, in the order of the slice or iterator, or in row-major order of the array, whatever its
        /// layout in memory.
        first: usize,
    },
    /// Infinite or not-a-number values where only finite ones have a meaning.
    #[error("{what} holds {count} values that are not finite, the first at index {first}")]
    NotFinite {
        /// The input at fault.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Index of the first.
        first: usize,
    },
    /// Both classes are needed and one is missing.
    #[error("{positives} positives and {negatives} negatives, expected at least one of each")]
    OneClass {
        /// Number of positives (truth `true`).
        positives: u64,
        /// Number of negatives.
        negatives: u64,
    },
    /// No values at all.
    #[error("no {what}")]
    Empty {
        /// The expected values.
        what: &'static str,
    },
    /// A parameter outside its range.
    #[error(transparent)]
    Parameter(#[from] SettingError),
    /// The quantity is undefined for this input, and the caller requested an error.
    #[error("{what} is undefined: {why}")]
    Undefined {
        /// Name of the quantity.
        what: &'static str,
        /// What makes it undefined.
        why: &'static str,
    },
    /// More values than a 32-bit count can hold.
    #[error("{found} {what}, at most {limit} can be counted", limit = u32::MAX)]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: u64,
    },
    /// Scores could not be kept in, or read again from, a [`Scratch`](crate::Scratch).
    #[error("scores kept outside of memory: cannot {operation}: {message}")]
    Scratch {
        /// The failed operation.
        operation: &'static str,
        /// Kind of the failure, as [`std::io::ErrorKind::StorageFull`].
        kind: std::io::ErrorKind,
        /// The message of the system.
        message: String,
    },
    /// Bootstrap replicates of different patients, seeds or numbers cannot be paired.
    #[error("replicates cannot be paired: {why}")]
    NotPaired {
        /// What differs.
        why: &'static str,
    },
}

/// Returns an error for inputs of different length.
pub(crate) fn same_length(what: &'static str, expected: usize, found: usize) -> Result<(), MetricError> {
    if expected == found { Ok(()) } else { Err(MetricError::Length { what, expected, found }) }
}

/// Returns an error for arrays of different shape.
pub(crate) fn same_shape(what: &'static str, expected: &[usize], found: &[usize]) -> Result<(), MetricError> {
    if expected == found {
        Ok(())
    } else {
        Err(MetricError::Shape { what, expected: expected.to_vec(), found: found.to_vec() })
    }
}

/// Returns an error for arrays that differ in shape; those of one axis by their length.
pub(crate) fn same_pixels(
    what: &'static str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), MetricError> {
    match (expected, found) {
        (&[expected], &[found]) => same_length(what, expected, found),
        _ => same_shape(what, expected, found),
    }
}

/// Returns an error for values that are not finite.
pub(crate) fn all_finite<'v>(
    what: &'static str,
    values: impl IntoIterator<Item = &'v f64>,
) -> Result<(), MetricError> {
    match count_bad(values, |value| !value.is_finite()) {
        None => Ok(()),
        Some((first, count)) => Err(MetricError::NotFinite { what, count, first }),
    }
}

/// Returns an error for values that are not a number.
pub(crate) fn no_nan<'v>(
    what: &'static str,
    values: impl IntoIterator<Item = &'v f64>,
) -> Result<(), MetricError> {
    match count_bad(values, |value| value.is_nan()) {
        None => Ok(()),
        Some((first, count)) => Err(MetricError::NotANumber { what, count, first }),
    }
}

/// Index of the first value that is bad, and how many are.
fn count_bad<'v>(
    values: impl IntoIterator<Item = &'v f64>,
    is_bad: impl Fn(&f64) -> bool,
) -> Option<(usize, usize)> {
    let mut bad = values.into_iter().enumerate().filter(|(_, value)| is_bad(value));
    bad.next().map(|(first, _)| (first, 1 + bad.count()))
}
