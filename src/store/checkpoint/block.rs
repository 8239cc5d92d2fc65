//! The header of a block. docs/durability.md has the format.

use crate::store::encoding::Seed;

/// The length of a block before its topics.
pub(super) const HEADER: usize = 16;

/// The most bytes of topics in a block. A reader can refuse more before it allocates room for them.
pub(super) const MAX_TOPICS: usize = 16 * 1024 * 1024;

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) checksum: u64,
    /// The number of topics.
    pub(super) topics: u32,
    /// The length of the topics in bytes.
    pub(super) len: u32,
}

/// Writes the header at the beginning of `block`, which has room for it there. `seed` is the seed
/// after the block before. Returns the checksum.
pub(super) fn seal(block: &mut [u8], topics: u32, seed: Seed) -> u64 {
    let len = (block.len() - HEADER) as u32;
    block[8..12].copy_from_slice(&topics.to_be_bytes());
    block[12..HEADER].copy_from_slice(&len.to_be_bytes());
    let checksum = seed.checksum(&block[8..]);
    block[..8].copy_from_slice(&checksum.to_be_bytes());
    checksum
}

/// Reads a header.
pub(super) fn header(bytes: &[u8; HEADER]) -> Header {
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    Header {
        checksum: u64::from(number(0)) << 32 | u64::from(number(4)),
        topics: number(8),
        len: number(12),
    }
}
