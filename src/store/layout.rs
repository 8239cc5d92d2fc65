//! The entries of a data directory, and the version of all of them together.

/// The version of what is in a data directory.
pub(super) const FORMAT: u32 = 1;

/// Says which version the directory has, and its number.
pub(super) const FORMAT_FILE: &str = "format";

/// The mark of a clean end.
pub(super) const CLEAN_FILE: &str = "clean";

/// The file that is locked as long as a server has the directory; it says which one. The lock ends
/// with the process, in whatever way, so there is nothing to clean up.
pub(super) const LOCK_FILE: &str = "lock";

/// The database's directory.
pub(super) const DATABASE: &str = "fjall";
