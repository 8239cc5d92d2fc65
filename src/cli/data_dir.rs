//! The default data directory, and what happens when the database cannot read one.

use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use globalcounter::store::StoreError;

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

/// Runs `read`, which reads a data directory, and exits with one clear line if it panics. The
/// database panics on some kinds of damage, and panics again while it is dropped, which would abort
/// the process: so the panic cannot be caught.
pub(super) fn exit_if_damaged<T>(directory: &Path, read: impl FnOnce() -> T) -> T {
    let previous = Arc::new(panic::take_hook());
    let path = directory.to_owned();
    panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let what = format!("the database panicked while reading it: {message}");
        eprintln!("globalcounter: {}", StoreError::damaged(&path, what));
        process::exit(1);
    }));
    let done = read();
    panic::set_hook(Box::new(move |info| previous(info)));
    done
}
