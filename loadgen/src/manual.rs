//! `loadgen man` and `completions`: manual pages and completion scripts, from the definition of the
//! command line.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use clap_complete::Shell;

use crate::print::print;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the manual pages to a directory, one for each command
    Man {
        /// Directory to write to; it is created if it does not exist
        directory: PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  \
        loadgen completions bash > /etc/bash_completion.d/loadgen\n  \
        loadgen completions fish > ~/.config/fish/completions/loadgen.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command; `definition` defines the whole command line.
///
/// # Errors
///
/// The files, or standard output, cannot be written.
pub(crate) fn run(command: &Command, mut definition: clap::Command) -> Result<()> {
    match command {
        Command::Man { directory } => fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(definition, directory))
            .with_context(|| format!("cannot write manual pages to {}", directory.display())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut definition, "loadgen", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}
