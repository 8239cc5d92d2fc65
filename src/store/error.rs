//! Why a store fails.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::layout::FORMAT;

/// Why a store can't be opened, or can't go on. Each says which file, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another server has it.
    #[error(
        "the data directory {} is in use by {owner}: stop that one, or choose another --data-dir",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who, as far as it said.
        owner: String,
    },
    /// It is no data directory, or one of another version.
    #[error(
        "{} is {found}, this version reads format {format}: choose another --data-dir, or the \
         version that wrote it",
        path.display(),
        format = FORMAT
    )]
    Format {
        /// The file or directory that says so.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// What is there is not what was written. Serving it could hand out numbers twice.
    #[error(
        "{} is damaged: {what}. Nothing is served from it. Restore the directory from a backup \
         and `globalcounter export` it to see how far it goes; or move it away, and every topic \
         starts over",
        path.display()
    )]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system refused something.
    #[error("{}: can't {doing}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it was for.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else owns the topics now.
    #[error("another server owns these topics now")]
    Fenced,
    /// Changes were never answered: the store panicked, or forgot them.
    #[error("the store gave no answer; this is a bug in it")]
    Unanswered,
    /// The database failed while nobody was waiting for it.
    #[error(
        "{}: the database could not write what it had collected: see whether there is room",
        path.display()
    )]
    Background {
        /// Its directory.
        path: PathBuf,
    },
    /// It failed before, and nothing is tried again. It goes on after a restart.
    #[error("the store failed before; restart the server once the cause is gone")]
    Failed,
}

impl StoreError {
    /// What an I/O error means that came while doing something to `path`.
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }

    /// What is at `path` is not what was written: `what` is wrong.
    pub fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}
