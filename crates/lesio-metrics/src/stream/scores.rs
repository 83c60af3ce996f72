//! Scores of one class outside of memory.

use std::borrow::Borrow;

use crate::error::MetricError;
use crate::keys;
use crate::merge::{Direction, for_each_stretch};
use crate::run::Run;
use crate::scratch::Scratch;

/// Scores of one class outside of memory, ascending as often as asked.
///
/// ```
/// use std::io::Cursor;
///
/// use lesio_metrics::{Scratch, StreamedScores};
///
/// let mut scratch = Scratch::new(Cursor::new(Vec::new()));
/// let mut scores = StreamedScores::new();
/// scores.update(&mut scratch, &[0.5, 0.25])?;
/// scores.update(&mut scratch, &[0.25])?;
/// let mut found = Vec::new();
/// scores.for_each(&mut scratch, |score, count| found.push((score, count)))?;
/// assert_eq!(found, [(0.25, 1), (0.25, 1), (0.5, 1)]);
/// # Ok::<(), lesio_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamedScores {
    runs: Vec<Run>,
}

impl StreamedScores {
    /// No scores yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds scores, such as those of one image: a slice, an array or a view of any number of axes, or an iterator. No score
    /// adds nothing.
    ///
    /// # Errors
    /// [`MetricError::NotANumber`] with the count and the first index, in the order in which they come, and
    /// [`MetricError::Scratch`]; nothing is added then.
    pub fn update<S: Borrow<f32>>(
        &mut self,
        scratch: &mut Scratch,
        scores: impl IntoIterator<Item = S>,
    ) -> Result<(), MetricError> {
        let mut keys = keys::of_scores(scores.into_iter().map(|score| *score.borrow()))?;
        keys::sort(&mut keys);
        self.runs.push(Run::write(scratch, keys.into_iter().map(|key| u64::from(key) << 32))?);
        Ok(())
    }

    /// Number of scores.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(Run::pixels).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands on the scores, ascending, each with how often it comes; equal ones may come one after the other. Both
    /// zeros come as 0.
    ///
    /// # Errors
    /// [`MetricError::Scratch`].
    pub fn for_each(&self, scratch: &mut Scratch, mut each: impl FnMut(f32, u64)) -> Result<(), MetricError> {
        let runs: Vec<&Run> = self.runs.iter().collect();
        for_each_stretch(scratch, &runs, &[], Direction::Ascending, |stretch| {
            stretch.positives.iter().for_each(|entry| each(keys::score(entry.key()), entry.count));
        })
    }
}
