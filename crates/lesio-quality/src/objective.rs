//! What the trainings of all networks share: the samples of a batch, changed as the epoch has it, and fingerprints.

use lesio_nn::{Batch, random};
use rayon::prelude::*;
use serde::Serialize;

use crate::augmentation::SampleAugmentation;
use crate::change::Change;
use crate::samples::{Sample, Samples};

/// Samples that an engine in training makes room for at first.
pub(crate) const CAPACITY: usize = 16;
/// Stream of the changes, apart from the others'.
const CHANGE_SEED: u64 = 0x5eed_c4a6;

/// The samples of a batch, each with its change in the batch's epoch, which depends on nothing else. Positions past the
/// last sample are left out.
pub(crate) fn changed<'a>(
    batch: &Batch<'_>,
    samples: &'a Samples,
    augmentation: &SampleAugmentation,
    grid: [usize; 2],
) -> Vec<(&'a Sample, Change)> {
    let changed = |&index: &usize| {
        let stream = (batch.epoch * samples.len() + index) as u64;
        let change = augmentation.draw(&mut random::generator(batch.seed ^ CHANGE_SEED, stream), grid);
        Some((samples.get(index)?, change))
    };
    batch.samples.par_iter().filter_map(changed).collect()
}

/// What tells trainings on samples apart.
pub(crate) fn fingerprint(config: &impl Serialize, samples: &Samples, validation: &Samples) -> String {
    let of = |samples: &Samples| (samples.len(), samples.checksum());
    lesio_nn::fingerprint(config, "samples", of(samples), of(validation))
}
