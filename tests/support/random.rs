//! Seeded random numbers.

/// SplitMix64: the same seed gives the same numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Takes this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Takes the seed from `GLOBALCOUNTER_TEST_SEED`, or `default` without it, and prints it, so
    /// that a failure can be run again.
    pub(crate) fn seeded(default: u64) -> Self {
        let seed = match std::env::var("GLOBALCOUNTER_TEST_SEED") {
            Ok(seed) => seed.parse().expect("a number"),
            Err(_) => default,
        };
        println!("GLOBALCOUNTER_TEST_SEED={seed}");
        Self::new(seed)
    }

    /// Returns another generator, seeded with the next number of this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
