//! How much one command may ask for.

/// The highest sum that a Redis client can read as an integer: `i64::MAX`.
pub const MAX_SUM: u64 = i64::MAX as u64;

/// The most arguments of a command, its name included: an MGET of 65,535 topics. Redis allows a
/// million; what one command can ask for bounds what its replies may take.
pub const MAX_ARGUMENTS: usize = 65_536;

/// The longest argument, in bytes: far over the longest topic, so that a key that is too long is
/// told so and does not end the connection.
pub const MAX_ARGUMENT: usize = 512 * 1024;

/// The longest command, in bytes on the wire: 40,000 keys of 16 bytes.
pub const MAX_COMMAND: usize = 1024 * 1024;

/// The longest inline command, in bytes: the same as Redis allows.
pub const MAX_INLINE: usize = 64 * 1024;

/// The most bytes of a command's patterns: comparing one with a name takes up to the product of their
/// lengths in steps.
pub(super) const MAX_PATTERN: usize = 1_024;
