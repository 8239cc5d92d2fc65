//! The files beside the database in a data directory: the format file, and the mark of a clean
//! shutdown. Files are replaced atomically and durably: after a crash, a file has its old or its
//! new contents.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use tracing::warn;

use super::error::StoreError;
use super::guard::{Head, StoreId};
use super::layout::{CLEAN_FILE, DATABASE, FORMAT, FORMAT_FILE};

/// Reads the directory's random id from the format file. Returns `None` if there is no data
/// directory, or if its creation was interrupted.
pub(super) fn read_id(directory: &Path) -> Result<Option<StoreId>, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if directory.join(DATABASE).exists() {
                let damage =
                    format!("it is missing, so the version of the data in {DATABASE} is unknown");
                return Err(StoreError::damaged(&path, damage));
            }
            return Ok(None);
        }
        Err(error) => return Err(StoreError::io(&path, "read")(error)),
    };
    if text == format_text(None) {
        return Ok(None);
    }
    let id = text.strip_prefix(&format!("globalcounter data, format {FORMAT}, number "));
    let id = id.and_then(|id| u128::from_str_radix(id.trim_end(), 16).ok());
    match id.map(u128::to_be_bytes) {
        Some(id) if text == format_text(Some(&id)) => Ok(Some(id)),
        _ => Err(StoreError::Format {
            found: match text.strip_prefix("globalcounter data, ") {
                Some(rest) => format!("says {:?}", rest.trim_end()),
                None => "was not written by globalcounter".to_owned(),
            },
            path,
        }),
    }
}

/// Creates a directory and its missing parents, durably.
pub(super) fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    fs::create_dir_all(directory).map_err(StoreError::io(directory, "create"))?;
    for created in missing {
        match created.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent)?,
            _ => sync_directory(Path::new("."))?,
        }
    }
    Ok(())
}

/// Begins to create a data directory and returns its new random id. Removes the database of an
/// interrupted creation. Until [`finish_new`] writes the id to the format file, [`read_id`] treats
/// the directory as not created.
pub(super) fn begin_new(directory: &Path) -> Result<StoreId, StoreError> {
    write_file(&directory.join(FORMAT_FILE), &format_text(None))?;
    let database = directory.join(DATABASE);
    match fs::remove_dir_all(&database) {
        Ok(()) => warn!(
            directory = %directory.display(),
            "creating the data directory was interrupted; starting over"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io(&database, "remove")(error)),
    }
    let random = RandomState::new();
    let half = |n: u64| random.hash_one(n).to_be_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half(0));
    id[8..].copy_from_slice(&half(1));
    Ok(id)
}

/// Finishes the creation of a data directory: writes its id to the format file.
pub(super) fn finish_new(directory: &Path, id: &StoreId) -> Result<(), StoreError> {
    write_file(&directory.join(FORMAT_FILE), &format_text(Some(id)))
}

/// Writes the mark of a clean shutdown. It names the commit of `head`, which is the last one.
pub(super) fn mark_clean(directory: &Path, head: &Head) -> Result<(), StoreError> {
    write_file(&directory.join(CLEAN_FILE), &clean_text(head))
}

/// Returns whether the mark of a clean shutdown exists. If it names a commit other than that of
/// `head`, the directory is damaged.
pub(super) fn is_clean(directory: &Path, head: &Head) -> Result<bool, StoreError> {
    let path = directory.join(CLEAN_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text == clean_text(head) => Ok(true),
        Ok(_) => {
            let commit = head.commit;
            let damage = format!("it does not name commit {commit}, the last commit of {DATABASE}");
            Err(StoreError::damaged(&path, damage))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(&path, "read")(error)),
    }
}

/// Removes the mark of a clean shutdown, if there is one, durably.
pub(super) fn remove_clean_mark(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join(CLEAN_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(&path, "remove")(error))
        }
        _ => sync_directory(directory),
    }
}

/// Returns the contents of the format file. `None` stands for a directory whose creation has begun,
/// but is not finished.
pub(super) fn format_text(id: Option<&StoreId>) -> String {
    match id {
        Some(id) => {
            let number = u128::from_be_bytes(*id);
            format!("globalcounter data, format {FORMAT}, number {number:032x}\n")
        }
        None => format!("globalcounter data, format {FORMAT}, being made\n"),
    }
}

fn clean_text(head: &Head) -> String {
    format!("ended cleanly after commit {}\n", head.commit)
}

/// Replaces a file atomically and durably.
fn write_file(path: &Path, text: &str) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(StoreError::io(path, "write"))?;
    sync_directory(path.parent().unwrap_or(path))
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(StoreError::io(directory, "sync"))
}
