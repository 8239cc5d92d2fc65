//! The report for programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes `report` to `path`, indented, with a line end.
///
/// # Errors
///
/// The file can't be written.
pub(crate) fn write(report: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("writing JSON")?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
