//! Replicates of pixel metrics over resampled patients.

use crate::bootstrap::{Bootstrap, Replicates};
use crate::confusion::{Confusion, WhenEmpty};

/// Replicates of the ranking metrics over the same resampled patients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PixelReplicates {
    /// Of [`RankedPixels::auroc`](crate::RankedPixels::auroc).
    pub auroc: Replicates,
    /// Of [`RankedPixels::average_precision`](crate::RankedPixels::average_precision).
    pub average_precision: Replicates,
    /// Of [`RankedPixels::ceil_dice`](crate::RankedPixels::ceil_dice): each replicate takes its own best threshold.
    pub ceil_dice: Replicates,
}

/// Replicates of the pooled Dice of patients' counts.
pub(crate) fn dice_replicates(bootstrap: &Bootstrap, counts: &[Confusion]) -> Replicates {
    let [dice] = bootstrap.over_patients(|times| {
        let mut sum = Confusion::default();
        for (counts, &times) in counts.iter().zip(times) {
            sum += counts.times(times);
        }
        [sum.dice(WhenEmpty::Undefined)]
    });
    dice
}
