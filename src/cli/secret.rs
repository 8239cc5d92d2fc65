//! Secrets in files: tokens and passwords. They are not arguments, since all users can list those.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The longest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// Reads the first line of a file.
///
/// # Errors
///
/// The file cannot be read, or its first line is empty.
pub(super) fn read_secret(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => bail!("the first line of {} is empty", path.display()),
    }
}
