//! Synthetic images for programs that need some.

use std::ops::Range;

use lesio::phantom::{BrainConfig, BrainPhantom, Contrast, PhantomError};
use lesio::study::Subject;

/// Healthy heads of 40 x 40 x 4 voxels.
///
/// # Errors
/// None in practice.
pub fn heads(subjects: Range<u64>) -> Result<Vec<Subject>, PhantomError> {
    let heads = BrainPhantom::new(BrainConfig::new([40, 40], Contrast::Flair, 1).slices(4))?;
    subjects.map(|number| Ok(Subject::new(number.to_string(), heads.volume(number)?.image, None))).collect()
}
