//! The layout of a data directory: the names of its entries, and the version.

/// The version of the layout of a data directory.
pub(super) const FORMAT: u32 = 1;

/// The file with the version and the number of the directory.
pub(super) const FORMAT_FILE: &str = "format";

/// The mark of a clean shutdown.
pub(super) const CLEAN_FILE: &str = "clean";

/// The file that a server locks while it uses the directory; it names the server. The lock ends
/// with the process, however that ends, so there is nothing to clean up.
pub(super) const LOCK_FILE: &str = "lock";

/// The directory of the database.
pub(super) const DATABASE: &str = "fjall";
