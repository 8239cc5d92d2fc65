//! Files that only the user of the server should read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tracing::warn;

/// The permissions of others than the owner and the group.
const OTHERS: u32 = 0o007;

/// Logs a warning if every user of this machine can read or change a file or a directory. `contents` says
/// what it is, such as "the TLS key".
pub fn warn_of_readers(path: &Path, contents: &str) {
    let mode = path.metadata().map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & OTHERS != 0) {
        let file = path.display();
        warn!(
            %file, contents,
            "every user of this machine has access to a file; restrict it (`chmod o=`)"
        );
    }
}
