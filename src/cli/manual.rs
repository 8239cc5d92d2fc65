//! `globalcounter man` and `completions`: manual pages and completion scripts, from the definition of the
//! command line. Packages install them.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use clap_complete::Shell;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the manual pages to a directory, one for each command
    Man {
        /// Directory to write to; it is created if it does not exist
        directory: PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  \
        globalcounter completions bash > /etc/bash_completion.d/globalcounter\n  \
        globalcounter completions fish > ~/.config/fish/completions/globalcounter.fish")]
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
pub(super) fn run(command: &Command, mut definition: clap::Command) -> Result<()> {
    match command {
        Command::Man { directory } => fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(definition, directory))
            .with_context(|| format!("cannot write manual pages to {}", directory.display())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut definition, "globalcounter", &mut script);
            let written = io::stdout().write_all(&script);
            written.context("cannot write to standard output")
        }
    }
}
