//! Durable order, from outside: servers under load are ended at random moments, and every reply that
//! any client ever got is held against what comes after.
//!
//! - `kill`: the real binary, SIGKILL or SIGTERM, a data directory that goes from round to round
//! - `power`: a server in this process whose store forgets what was not synced
//! - `topics`: what clients know of each topic; the checker
//! - `load`: clients over TCP and UDP, in each dialect
//!
//! `GLOBALCOUNTER_CRASH_ROUNDS` says how many rounds (a few by default), `GLOBALCOUNTER_TEST_SEED`
//! which ones. That the checker finds what it is there for is tested with stores that lie.

#![allow(clippy::unwrap_used, missing_docs)]

mod kill;
mod load;
mod power;
mod topics;

/// How many rounds a test makes.
fn rounds(default: u64) -> u64 {
    match std::env::var("GLOBALCOUNTER_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => default,
    }
}

/// SplitMix64: the same seed, the same numbers.
struct Random(u64);

impl Random {
    /// Seeded by `GLOBALCOUNTER_TEST_SEED`, or by `default`; says which.
    fn seeded(default: u64) -> Self {
        let seed = match std::env::var("GLOBALCOUNTER_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => default,
        };
        println!("GLOBALCOUNTER_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
