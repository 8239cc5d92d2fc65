//! Replaces a file atomically and durably: after a crash it has its old or its new contents.

use std::path::Path;

use crate::store::disk::Disk;
use crate::store::error::StoreError;

/// Replaces the file `name` in `directory`, or creates it.
pub(super) fn replace(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    text: &str,
) -> Result<(), StoreError> {
    let path = directory.join(name);
    let new = directory.join(format!("{name}.new"));
    let written = disk.create(&new).and_then(|file| {
        file.write_at(text.as_bytes(), 0)?;
        file.sync()?;
        disk.rename(&new, &path)?;
        disk.sync_directory(directory)
    });
    written.map_err(StoreError::io(&path, "write"))
}
