//! The default data directory.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Returns the default data directory: the one that the service manager assigns, or else
/// `globalcounter` in the user's state directory.
///
/// # Errors
///
/// There is neither.
pub(super) fn default_dir() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // Set by systemd for StateDirectory=; several directories are separated by colons.
    if let Some(directories) = variable("STATE_DIRECTORY") {
        let mut directories = std::env::split_paths(&directories);
        let first = directories.find(|directory| !directory.as_os_str().is_empty());
        return first.context("STATE_DIRECTORY names no directory");
    }
    let state = match (variable("XDG_STATE_HOME"), variable("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(home)) => PathBuf::from(home).join(".local/state"),
        (None, None) => bail!(
            "cannot choose a data directory because HOME is not set: name one with --data-dir, or \
             use --in-memory to store nothing"
        ),
    };
    Ok(state.join("globalcounter"))
}
