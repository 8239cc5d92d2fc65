//! Standard output, which may be closed or full: then a run fails instead of panicking.

use std::io::Write;

use anyhow::{Context, Result};

/// Writes `text` to standard output.
///
/// # Errors
///
/// It can't be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing to standard output")
}
