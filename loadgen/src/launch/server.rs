//! This project's server: where it is installed, and how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::process::{Folder, Running, start_announcing};

/// The program's name.
const NAME: &str = "globalcounter";

/// What the names of the server's environment variables begin with.
const VARIABLES: &str = "GLOBALCOUNTER_";

/// Where the server keeps its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Memory,
    /// In a data directory, `--durability monotonic`.
    Monotonic,
    /// In a data directory, `--durability exact`.
    Exact,
}

impl Storage {
    /// Returns the flags of `globalcounter serve`, without the data directory.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &["--in-memory"],
            Self::Monotonic => &["--durability", "monotonic"],
            Self::Exact => &["--durability", "exact"],
        }
    }
}

/// Starts `globalcounter serve` on `processors` with these flags, with its files in `folder`, and waits
/// until it serves. Variables that would change its flags are not handed on.
///
/// # Errors
///
/// It does not start; the error has its own message.
pub(crate) fn start_own(
    program: &Path,
    flags: &[String],
    storage: Storage,
    folder: Arc<Folder>,
    processors: &[usize],
) -> Result<Running> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
    // By the environment, which a build without an admin port does not look at.
    command.env("GLOBALCOUNTER_ADMIN", "off");
    command.arg("serve").args(flags).args(storage.flags());
    if storage != Storage::Memory {
        command.arg("--data-dir").arg(folder.data());
    }
    start_announcing(command, folder, processors)
}

/// Returns this project's server: the given path, else the one beside this program, else the one in
/// PATH.
///
/// # Errors
///
/// There is none.
pub(crate) fn find_own(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        if !path.is_file() {
            bail!("there is no server at {}", path.display());
        }
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("finding this program")?;
    let beside = own.with_file_name(NAME);
    if beside.is_file() {
        return Ok(beside);
    }
    in_path(NAME).context(
        "no globalcounter beside this program or in PATH: build it with \
         `cargo build --release --workspace`, or name one with --server-bin",
    )
}

/// Returns the path of an installed program.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
