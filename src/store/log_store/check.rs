//! Reads a whole data directory, and reports what is in it and what is damaged.

use std::path::Path;
use std::sync::Arc;

use super::contents::{Contents, Taking};
use crate::store::checkpoint::{part_path, read_part};
use crate::store::directory::{DirectoryLock, Manifest, existing_id};
use crate::store::disk::SystemDisk;
use crate::store::encoding::Seed;
use crate::store::error::StoreError;
use crate::store::layout::{CHECKPOINTS, FORMAT_FILE, LOG, MANIFEST_FILE};
use crate::store::stored::{LastEnd, Stored};
use crate::topic::Topic;

/// A part of a data directory, and its state.
#[derive(Debug)]
pub struct Finding {
    /// The file or folder, relative to the data directory.
    pub name: String,
    /// What it contains, or why it cannot be used.
    pub found: Result<String, StoreError>,
}

/// Reads everything in a data directory that no other process uses, and verifies all checksums. Passes
/// the topics of what is intact to `found`, as [`Store::load`](crate::store::Store::load) does.
///
/// # Errors
///
/// There is no data directory, it cannot be locked, or its format is not one that this version
/// reads.
pub fn check(
    directory: &Path,
    found: &mut dyn FnMut(Topic<'_>, Stored),
) -> Result<Vec<Finding>, StoreError> {
    let disk = SystemDisk;
    let id = existing_id(&disk, directory)?;
    let seed = Seed::of(id);
    let _lock = DirectoryLock::take(directory, "checking it")?;
    let finding = |name: &str, found| Finding {
        name: name.to_owned(),
        found,
    };
    let mut findings = vec![finding(FORMAT_FILE, Ok(format!("directory {id:032x}")))];
    let manifest = match Manifest::read(&disk, directory, seed) {
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
    let contents = Contents::read_log(Arc::new(disk), directory, seed, manifest.clone());
    let skipping_run = contents.as_ref().ok().and_then(Contents::skipping_run);
    let mut taking = Taking::new(0..=u16::MAX, skipping_run, found);
    // The log comes first, because its changes are newer.
    let log = contents.and_then(|contents| {
        contents.take_log(&mut taking)?;
        Ok(log_text(&contents))
    });
    for (i, part) in manifest.parts.iter().enumerate() {
        let path = part_path(&directory.join(CHECKPOINTS), manifest.checkpoint, i);
        let read = read_part(&disk, &path, part, seed, |row| {
            taking.take(row, manifest.run);
        });
        let text = read.map(|()| format!("{} topics, {} bytes", part.topics, part.bytes));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        findings.push(finding(&format!("{CHECKPOINTS}/{name}"), text));
    }
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
