//! Limits on the size of commands and on sums.

/// The highest sum that a Redis client can read as an integer: `i64::MAX`.
pub const MAX_SUM: u64 = i64::MAX as u64;

/// The most arguments of a command, including its name: an MGET of 65,535 topics. Redis allows a
/// million; this limit is lower because it also bounds the memory for the replies of one command.
pub const MAX_ARGUMENTS: usize = 65_536;

/// The longest argument, in bytes. It is far above the longest topic, so that a key that is too
/// long gets an error reply instead of ending the connection.
pub const MAX_ARGUMENT: usize = 512 * 1024;

/// The longest command, in bytes on the wire: 40,000 keys of 16 bytes.
pub const MAX_COMMAND: usize = 1024 * 1024;

/// The longest inline command, in bytes: the limit of Redis.
pub const MAX_INLINE: usize = 64 * 1024;

/// The number of slots of a cluster. Source: the Redis Cluster specification.
pub(super) const SLOTS: u16 = 16_384;

/// The longest patterns of one command together, in bytes: matching a pattern against a name takes
/// up to the product of their lengths in steps.
pub(super) const MAX_PATTERN: usize = 1_024;
