//! Notices masks whose values may be meant otherwise than they are counted.

use std::collections::BTreeSet;
use std::path::Path;

use crate::mask_rule::MaskRule;

/// Labels are small: larger values are shades of gray.
const LARGEST_LABEL: f64 = 64.0;
/// So many different values are kept; more cannot all be small labels.
const KEPT: usize = 65;

/// The values of a mask that are not 0, as far as they must be known.
#[derive(Debug, Default)]
pub(crate) struct MaskDoubts {
    nonzero: usize,
    /// The bits of different values.
    values: BTreeSet<u64>,
    fractions: BTreeSet<u64>,
    last: u64,
    greatest: f64,
    /// How often the greatest value occurs.
    at_greatest: usize,
}

impl MaskDoubts {
    /// Adds a gray value, or one of a volume.
    pub(crate) fn add(&mut self, value: f64) {
        if value == 0.0 {
            return;
        }
        self.nonzero += 1;
        if value > self.greatest {
            (self.greatest, self.at_greatest) = (value, 0);
        }
        self.at_greatest += usize::from(value == self.greatest);
        if value.to_bits() == self.last {
            return;
        }
        self.last = value.to_bits();
        if self.values.len() < KEPT {
            self.values.insert(self.last);
        }
        if self.fractions.len() < 2 && value.fract() != 0.0 {
            self.fractions.insert(self.last);
        }
    }

    /// Adds a color, which is no shade of gray.
    pub(crate) fn add_color(&mut self) {
        self.nonzero += 1;
    }

    /// Tells what may not be meant. `is_empty` says that nothing is inside.
    pub(crate) fn tell(&self, rule: MaskRule, is_empty: bool, path: &Path) {
        let (nonzero, gray) = (self.nonzero, self.nonzero - self.at_greatest);
        if !rule.is_default() {
            if is_empty && nonzero > 0 {
                tracing::warn!(
                    mask = %path.display(),
                    nonzero,
                    "no value of this mask is above the threshold, though some are not 0: nothing is inside"
                );
            }
            return;
        }
        let is_shade = |bits: &u64| (LARGEST_LABEL + 1.0..self.greatest).contains(&f64::from_bits(*bits));
        if self.fractions.len() > 1 {
            tracing::warn!(
                mask = %path.display(),
                "values of this mask are fractions, as of a resampled mask or a map of probabilities: all that are \
                 not 0 count as inside, unless a threshold is given"
            );
        } else if self.values.iter().any(is_shade) {
            tracing::warn!(
                mask = %path.display(),
                gray,
                nonzero,
                "this mask has shades of gray, as at smooth edges: all that are not black count as inside, unless a \
                 threshold is given"
            );
        } else if self.values.len() > 1 && self.greatest > LARGEST_LABEL {
            tracing::warn!(
                mask = %path.display(),
                greatest = self.greatest,
                "this mask has small labels and one large one, which also counts as inside: a label for what is to \
                 be ignored is not supported"
            );
        }
    }
}
