//! The random number generator.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The random number generator of all draws: small, fast, and the same on every machine and in every
/// version, so that a seed keeps its meaning.
pub(super) type Rng = Xoshiro256PlusPlus;

/// Returns the generator of stream number `stream` of a seed.
pub(super) fn of_stream(seed: u64, stream: usize) -> Rng {
    // Without this step, a seed's second stream would be the next seed's first.
    let scattered: u64 = Rng::seed_from_u64(seed).random();
    Rng::seed_from_u64(scattered.wrapping_add(stream as u64))
}
