//! The files that reports are written to.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file for a report. It is opened before the run, so that a file that cannot be written does not
/// cost the results. Its old contents stay until the report is written.
#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// Opens the file for writing, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(path);
        Ok(Self {
            file: opened.with_context(|| writing(path))?,
            path: path.to_owned(),
        })
    }

    /// Replaces the contents of the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn write(mut self, text: &str) -> Result<()> {
        let mut write = || -> io::Result<()> {
            // A pipe or a terminal has no length to set.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            self.file.write_all(text.as_bytes())
        };
        write().with_context(|| writing(&self.path))
    }
}

fn writing(path: &Path) -> String {
    format!("writing {}", path.display())
}
