//! The checksum of everything that a data directory contains.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The random id of a data directory.
pub(in crate::store) type StoreId = u128;

/// The seed of a directory's checksums. Bytes of another directory never have the right checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Seed(u64);

impl Seed {
    /// Returns the seed of the directory with this id.
    pub(in crate::store) fn of(id: StoreId) -> Self {
        Self(xxh3_64(&id.to_be_bytes()))
    }

    /// Returns the checksum of `bytes`.
    pub(in crate::store) fn checksum(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.0)
    }

    /// Returns the seed for bytes that follow those with this checksum.
    pub(in crate::store) fn after(self, checksum: u64) -> Self {
        Self(self.0 ^ checksum)
    }
}
