//! The layers that a value can come from.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. Each source has precedence over those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    /// The variable.
    Environment(String),
    /// The flag.
    Flag(String),
}

impl Source {
    /// Returns the precedence, which is higher for later layers.
    pub(in crate::cli) fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}
