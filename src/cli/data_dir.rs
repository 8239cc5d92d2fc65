//! Which data directory a command uses, and what happens when the database cannot read it.

use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use globalcounter::store::StoreError;

/// Where topics are kept unless told otherwise: where the service manager says, or in the user's
/// state directory.
///
/// # Errors
///
/// Where there is neither.
pub(super) fn default_dir() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd's StateDirectory=; several are separated by colons.
    if let Some(directories) = variable("STATE_DIRECTORY") {
        let mut directories = std::env::split_paths(&directories);
        let first = directories.find(|directory| !directory.as_os_str().is_empty());
        return first.context("STATE_DIRECTORY names no directory");
    }
    let state = match (variable("XDG_STATE_HOME"), variable("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(home)) => PathBuf::from(home).join(".local/state"),
        (None, None) => bail!(
            "there is no HOME to keep topics in: say where with --data-dir, or --in-memory to keep \
             nothing"
        ),
    };
    Ok(state.join("globalcounter"))
}

/// Does something that reads a data directory. The database panics over some damages, and once more
/// while it is taken down, which nothing survives: so that ends the process, with one clear line.
pub(super) fn reading<T>(directory: &Path, read: impl FnOnce() -> T) -> T {
    let usual = Arc::new(panic::take_hook());
    let path = directory.to_owned();
    panic::set_hook(Box::new(move |panicked| {
        let message = panicked.payload_as_str().unwrap_or("it does not say what");
        let what = format!("the database could make nothing of it: {message}");
        eprintln!("globalcounter: {}", StoreError::damaged(&path, what));
        process::exit(1);
    }));
    let done = read();
    panic::set_hook(Box::new(move |panicked| usual(panicked)));
    done
}
