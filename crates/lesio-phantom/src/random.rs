//! The generator of what is drawn in a sequence: the acquisition noise, pixel after pixel.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of a seed.
pub(crate) fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}
