//! What lies in a data directory beside the database: which format it has, and whether the last server
//! ended cleanly. Files are written durably: they are there whole, or as they were.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use tracing::warn;

use super::error::StoreError;
use super::guard::{Head, StoreId};
use super::layout::{CLEAN_FILE, DATABASE, FORMAT, FORMAT_FILE};

/// The number of the directory, from its format file; `None` where there is nothing yet, or what is
/// there was never finished.
pub(super) fn identify(directory: &Path) -> Result<Option<StoreId>, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if directory.join(DATABASE).exists() {
                let what = "it is missing, and so nobody knows what is beside it";
                return Err(StoreError::damaged(&path, what));
            }
            return Ok(None);
        }
        Err(error) => return Err(StoreError::io(&path, "read it")(error)),
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
                Some(rest) => format!("of {:?}", rest.trim_end()),
                None => "nothing that globalcounter wrote".to_owned(),
            },
            path,
        }),
    }
}

/// Makes a directory and those that it lies in, durably, where they are not there.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    fs::create_dir_all(directory).map_err(StoreError::io(directory, "make it"))?;
    for made in missing {
        match made.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent)?,
            _ => sync_directory(Path::new("."))?,
        }
    }
    Ok(())
}

/// Makes an empty data directory, of which nothing counts until its format file has a number.
pub(super) fn start_over(directory: &Path) -> Result<StoreId, StoreError> {
    write_file(&directory.join(FORMAT_FILE), &format_text(None))?;
    let database = directory.join(DATABASE);
    match fs::remove_dir_all(&database) {
        Ok(()) => warn!(
            directory = %directory.display(),
            "making the data directory was interrupted; beginning again"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io(&database, "remove it")(error)),
    }
    let random = RandomState::new();
    let half = |n: u64| random.hash_one(n).to_be_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half(0));
    id[8..].copy_from_slice(&half(1));
    Ok(id)
}

/// The directory that [`start_over`] made is finished: from now on it is one.
pub(super) fn finish_new(directory: &Path, id: &StoreId) -> Result<(), StoreError> {
    write_file(&directory.join(FORMAT_FILE), &format_text(Some(id)))
}

/// Marks a clean end after the commit of `head`.
pub(super) fn mark_clean(directory: &Path, head: &Head) -> Result<(), StoreError> {
    write_file(&directory.join(CLEAN_FILE), &clean_text(head))
}

/// Whether there is the mark of a clean end after the commit of `head`. One that names another is a
/// damage.
pub(super) fn is_clean(directory: &Path, head: &Head) -> Result<bool, StoreError> {
    let path = directory.join(CLEAN_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text == clean_text(head) => Ok(true),
        Ok(_) => {
            let commit = head.commit;
            let what = format!("it does not name commit {commit}, the last of {DATABASE}");
            Err(StoreError::damaged(&path, what))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(&path, "read it")(error)),
    }
}

/// A mark of a clean end is void from now on.
pub(super) fn unmark_clean(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join(CLEAN_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(&path, "remove it")(error))
        }
        _ => sync_directory(directory),
    }
}

/// What the format file says; without a number, the directory is not finished.
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

/// Writes a file durably: it is there whole, or as it was.
fn write_file(path: &Path, text: &str) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(StoreError::io(path, "write it"))?;
    sync_directory(path.parent().unwrap_or(path))
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(StoreError::io(directory, "sync it"))
}
