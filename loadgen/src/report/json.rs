//! The report for programs.

use anyhow::{Context, Result};
use serde::Serialize;

/// Returns `report` as indented JSON, with a line end.
///
/// # Errors
///
/// Never: every report can be written as JSON.
pub(crate) fn json(report: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report).context("writing JSON")?;
    text.push('\n');
    Ok(text)
}
