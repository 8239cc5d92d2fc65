//! The errors of a store.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::layout::FORMAT;

/// Why a store cannot be opened, or cannot continue. The messages say which file, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the data directory.
    #[error(
        "the data directory {} is in use by {owner}: stop that process, or choose another --data-dir",
        path.display()
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process, as far as it is known.
        owner: String,
    },
    /// There is no data directory.
    #[error("there is no data directory at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is not a data directory, or one of another version.
    #[error(
        "{} {found}; this version reads format {format}: run the version that wrote it, or choose \
         another --data-dir",
        path.display(),
        format = FORMAT
    )]
    Format {
        /// The file or directory that shows it.
        path: PathBuf,
        /// What was found, as a phrase that follows the path.
        found: String,
    },
    /// It is a data directory of the first format, which was a database.
    #[error(
        "{} was written by an older version, in format 1; this version reads format {format}: move the \
         topics with `globalcounter export --data-dir DIR` of the version that wrote it and \
         `globalcounter import --data-dir NEW` of this one",
        path.display(),
        format = FORMAT
    )]
    OldFormat {
        /// The file that shows it.
        path: PathBuf,
    },
    /// The data is not what was written. Serving it could hand out numbers twice.
    #[error(
        "{} is damaged: {what}; nothing is served from it. Restore the directory from a backup \
         (`globalcounter export --data-dir BACKUP` shows the sums of a backup), or move it away: then \
         every topic starts over",
        path.display()
    )]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, as a sentence.
        what: String,
    },
    /// The operating system refused an operation.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb that takes the path as its object.
        doing: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another server owns the topics now.
    #[error("another server owns these topics now")]
    Fenced,
    /// The store reported no result for a commit: it panicked, or dropped the `Completion`.
    #[error("the store reported no result for a commit; this is a bug in the store")]
    NoResult,
    /// The store failed earlier, and nothing is tried again. A restart is needed.
    #[error("the store failed earlier: remove the cause, then restart the server")]
    Failed,
}

impl StoreError {
    /// Returns a function that wraps the error of an I/O operation on `path`. `doing` is the verb
    /// of the operation.
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }

    /// Returns the texts of the error and its causes, in one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let first: Option<&dyn std::error::Error> = Some(self);
        let causes = std::iter::successors(first, |error| error.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        texts.join(": ")
    }

    /// Creates the error for data at `path` that is not what was written. `what` says what is
    /// wrong, as a sentence.
    pub fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}
