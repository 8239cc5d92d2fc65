//! The layout of a data directory: the names of its entries, and the version. docs/durability.md
//! describes the contents.

/// The version of the layout of a data directory.
pub(super) const FORMAT: u32 = 2;

/// The file with the version and the id of the directory.
pub(super) const FORMAT_FILE: &str = "format";

/// The file that says which checkpoint is valid, and from where to apply the log.
pub(super) const MANIFEST_FILE: &str = "manifest";

/// The file that a process locks while it uses the directory; it names the process. The lock ends
/// with the process, however that ends, so there is nothing to clean up.
pub(super) const LOCK_FILE: &str = "lock";

/// The directory of the log's segments.
pub(super) const LOG: &str = "log";

/// The directory of the checkpoints' files.
pub(super) const CHECKPOINTS: &str = "checkpoint";
