//! The format file: the version of the layout, and the directory's random id.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use super::replace::replace;
use crate::store::disk::Disk;
use crate::store::encoding::StoreId;
use crate::store::error::StoreError;
use crate::store::layout::{FORMAT, FORMAT_FILE, LOG, MANIFEST_FILE};

/// The first words of the file, in every version.
const TITLE: &str = "globalcounter data, ";

/// What the format file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Found {
    /// There is no data directory.
    Nothing,
    /// Its creation was interrupted: no server ever served from it.
    Unfinished,
    /// A directory of this version, with its id.
    Directory(StoreId),
}

/// Reads the format file of a directory.
pub(in crate::store) fn read_format(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<Found, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return nothing(disk, directory, &path);
        }
        Err(error) => return Err(StoreError::io(&path, "read")(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    if text == unfinished_text() {
        return Ok(Found::Unfinished);
    }
    let id = text.strip_prefix(&format!("{TITLE}format {FORMAT}, number "));
    match id.and_then(|id| StoreId::from_str_radix(id.trim_end(), 16).ok()) {
        Some(id) if text == finished_text(id) => Ok(Found::Directory(id)),
        _ => Err(foreign(&path, &text)),
    }
}

/// Returns the id of a data directory.
///
/// # Errors
///
/// There is no data directory that was finished, or the errors of [`read_format`].
pub(in crate::store) fn existing_id(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<StoreId, StoreError> {
    match read_format(disk, directory)? {
        Found::Directory(id) => Ok(id),
        Found::Nothing | Found::Unfinished => Err(StoreError::Missing {
            path: directory.to_owned(),
        }),
    }
}

/// Returns [`Found::Nothing`], unless the directory has data whose format file is missing.
fn nothing(disk: &dyn Disk, directory: &Path, path: &Path) -> Result<Found, StoreError> {
    let entries = match disk.entries(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(StoreError::io(directory, "read")(error)),
    };
    let data = entries
        .iter()
        .find(|name| *name == LOG || *name == MANIFEST_FILE);
    match data {
        Some(name) => {
            let what = format!("it is missing, so the version of the data in {name} is unknown");
            Err(StoreError::damaged(path, what))
        }
        None => Ok(Found::Nothing),
    }
}

fn foreign(path: &Path, text: &str) -> StoreError {
    let Some(rest) = text.strip_prefix(TITLE) else {
        return StoreError::Format {
            path: path.to_owned(),
            found: "was not written by globalcounter".to_owned(),
        };
    };
    if rest.starts_with("format 1,") {
        return StoreError::OldFormat {
            path: path.to_owned(),
        };
    }
    StoreError::Format {
        path: path.to_owned(),
        found: format!("says {:?}", rest.trim_end()),
    }
}

/// Begins to create a data directory. Returns its new random id. Until [`finish_new`] writes the id
/// to the format file, [`read_format`] reports the directory as unfinished.
pub(in crate::store) fn begin_new(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<StoreId, StoreError> {
    replace(disk, directory, FORMAT_FILE, &unfinished_text())?;
    let random = RandomState::new();
    let half = |n: u64| StoreId::from(random.hash_one(n));
    Ok(half(0) << 64 | half(1))
}

/// Finishes the creation of a data directory: writes its id to the format file.
pub(in crate::store) fn finish_new(
    disk: &dyn Disk,
    directory: &Path,
    id: StoreId,
) -> Result<(), StoreError> {
    replace(disk, directory, FORMAT_FILE, &finished_text(id))
}

fn finished_text(id: StoreId) -> String {
    format!("{TITLE}format {FORMAT}, number {id:032x}\n")
}

fn unfinished_text() -> String {
    format!("{TITLE}format {FORMAT}, being made\n")
}
