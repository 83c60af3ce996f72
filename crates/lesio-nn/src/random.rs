//! Seeded random numbers that do not depend on the order of draws, threads or batches.
//!
//! candle's CPU generator cannot be seeded, so all random numbers come from this module: ChaCha8 with a separate stream
//! for each purpose.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The generator of `stream` under `seed`: streams of one seed are independent of each other.
///
/// With a separate stream for each sample, step or parameter, its numbers do not depend on earlier draws of others.
#[must_use]
pub fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// The generator of a name under `seed`.
#[must_use]
pub fn named_generator(seed: u64, name: &str) -> ChaCha8Rng {
    generator(seed, fnv1a(name.as_bytes()))
}

/// Fills `values` with independent standard normal draws.
pub fn fill_normal(generator: &mut ChaCha8Rng, values: &mut [f32]) {
    for value in values {
        *value = StandardNormal.sample(generator);
    }
}

/// A random order of `0..len` (Fisher and Yates).
#[must_use]
pub fn permutation(generator: &mut ChaCha8Rng, len: usize) -> Vec<usize> {
    use rand::RngExt;
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, generator.random_range(0..=last));
    }
    order
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo): stable across versions, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_matches_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn permutations_hold_every_index_once() {
        let mut order = permutation(&mut generator(3, 1), 100);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..100));
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let mut values = vec![0.0; 20_000];
        fill_normal(&mut generator(1, 2), &mut values);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }
}
