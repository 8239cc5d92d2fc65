//! Standard output. It may be closed or full, which is an error and not a panic.

use std::io::Write;

use anyhow::{Context, Result};

/// Writes `text` to standard output.
///
/// # Errors
///
/// Standard output cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing to standard output")
}
