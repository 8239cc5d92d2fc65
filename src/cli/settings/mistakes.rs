//! The mistakes in a configuration. All are collected before any is reported, so that a file can be
//! corrected in one go.

use std::fmt::{self, Display};

use super::source::Source;

/// Mistakes, each with its place.
#[derive(Debug, Default)]
pub(in crate::cli) struct Mistakes(Vec<String>);

impl Mistakes {
    /// Adds a mistake that has no place of its own.
    pub(in crate::cli) fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    /// Adds a mistake in a setting that comes from `source`.
    pub(in crate::cli) fn add_at(&mut self, source: &Source, text: impl Display) {
        self.0.push(match source {
            Source::File { path, line } => format!("{}:{line}: {text}", path.display()),
            Source::Default | Source::Environment(_) | Source::Flag(_) => text.to_string(),
        });
    }

    /// Returns whether there are none.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns each mistake with its place, on one line.
    pub(in crate::cli) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Mistakes {}
