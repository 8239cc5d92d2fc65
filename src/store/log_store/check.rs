//! Reads a whole data directory, and reports what is in it and what is damaged.

use std::path::Path;

use super::contents::Contents;
use crate::store::checkpoint::{part_path, read_part};
use crate::store::directory::{DirectoryLock, Found, Manifest, read_format};
use crate::store::disk::SystemDisk;
use crate::store::encoding::Seed;
use crate::store::error::StoreError;
use crate::store::layout::{CHECKPOINTS, FORMAT_FILE, LOG, MANIFEST_FILE};
use crate::store::stored::LastEnd;

/// A part of a data directory, and its state.
#[derive(Debug)]
pub struct Finding {
    /// The file or folder, relative to the data directory.
    pub name: String,
    /// What it contains, or why it cannot be used.
    pub found: Result<String, StoreError>,
}

/// Reads everything in a data directory that no other process uses, and verifies all checksums.
///
/// # Errors
///
/// There is no data directory, it cannot be locked, or its format is not one that this version
/// reads.
pub fn check(directory: &Path) -> Result<Vec<Finding>, StoreError> {
    let disk = SystemDisk;
    let id = match read_format(&disk, directory)? {
        Found::Directory(id) => id,
        Found::Nothing | Found::Unfinished => {
            return Err(StoreError::Missing {
                path: directory.to_owned(),
            });
        }
    };
    let _lock = DirectoryLock::take(directory, "checking it")?;
    let finding = |name: &str, found| Finding {
        name: name.to_owned(),
        found,
    };
    let mut findings = vec![finding(FORMAT_FILE, Ok(format!("directory {id:032x}")))];
    let manifest = match Manifest::read(&disk, directory, Seed::of(id)) {
        Ok(manifest) => manifest,
        Err(error) => {
            findings.push(finding(MANIFEST_FILE, Err(error)));
            return Ok(findings);
        }
    };
    let text = match manifest.checkpoint {
        0 => "no checkpoint".to_owned(),
        number => format!("checkpoint {number}, written in run {}", manifest.run),
    };
    findings.push(finding(MANIFEST_FILE, Ok(text)));
    for (i, part) in manifest.parts.iter().enumerate() {
        let path = part_path(&directory.join(CHECKPOINTS), manifest.checkpoint, i);
        let read = read_part(&disk, &path, part, Seed::of(id), |_| ());
        let found = read.map(|()| format!("{} topics, {} bytes", part.topics, part.bytes));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        findings.push(finding(&format!("{CHECKPOINTS}/{name}"), found));
    }
    let contents = Contents::read_from(std::sync::Arc::new(disk), directory, id);
    let log = contents.and_then(|contents| {
        // Decodes each change, too.
        contents.log().for_each_newest_first(|_, _| ())?;
        Ok(log_text(&contents))
    });
    findings.push(finding(LOG, log));
    Ok(findings)
}

fn log_text(contents: &Contents) -> String {
    let log = contents.log();
    let (first, end) = (contents.manifest().log.number, log.end().number);
    let ended = match contents.last_end() {
        LastEnd::New => "no server has used the directory",
        LastEnd::Clean => "the last server ended cleanly",
        LastEnd::Crash => "the last server did not end cleanly",
    };
    let records = match log.records() {
        0 => "no records since the checkpoint".to_owned(),
        count => format!(
            "{count} records ({first} to {}), {} bytes",
            end - 1,
            log.bytes()
        ),
    };
    format!("{records}; {} runs, {ended}", contents.runs())
}
