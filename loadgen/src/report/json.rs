//! The report for programs.

use anyhow::{Context, Result};
use serde::Serialize;

/// `report` as text, indented, with a line end.
///
/// # Errors
///
/// None that can happen: all that is reported has a form in JSON.
pub(crate) fn json(report: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report).context("writing JSON")?;
    text.push('\n');
    Ok(text)
}
