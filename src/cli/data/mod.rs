//! The commands for a data directory: list, export and import its topics, check it, back it up.

mod backup;
mod check;
mod import;
mod list;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::data_dir;
use super::pipe::exit_code;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the topics of a data directory, one a line (sum, topic), unordered
    ///
    /// No server may be using the directory.
    Topics {
        #[command(flatten)]
        directory: Directory,
        /// List only topics that begin with this text
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        /// Print one JSON object per line, in the format of export
        #[arg(long)]
        json: bool,
    },
    /// Write all topics of a data directory to standard output, one JSON object per line
    ///
    /// No server may be using the directory.
    Export {
        #[command(flatten)]
        directory: Directory,
    },
    /// Import the output of export from standard input into a data directory; never lower a sum
    ///
    /// No server may be using the directory.
    Import {
        #[command(flatten)]
        directory: Directory,
    },
    /// Read a whole data directory, verify all checksums, and say what is there and what is damaged
    ///
    /// Exit codes: 0 intact, 1 cannot be read (or a server uses it), 2 bad usage, 3 damaged.
    Check {
        /// The data directory; no server may be using it
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Copy a data directory to a new directory, also while a server uses it
    ///
    /// The copy has all numbers that were handed out before this command began. A server continues
    /// above them.
    Backup {
        #[command(flatten)]
        directory: Directory,
        /// The new directory
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// The data directory [default: globalcounter in the user's state directory]
    #[arg(long, value_name = "DIR", env = "GLOBALCOUNTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Directory {
    fn path(&self) -> Result<PathBuf> {
        match &self.data_dir {
            Some(directory) => Ok(directory.clone()),
            None => data_dir::default_dir(),
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// The data directory cannot be opened or read, an input line is not a topic, or standard input or
/// output fails.
pub(super) fn run(command: &Command) -> Result<ExitCode> {
    let result = match command {
        Command::Topics {
            directory,
            prefix,
            json,
        } => list::run(&directory.path()?, prefix, *json),
        Command::Export { directory } => list::run(&directory.path()?, "", true),
        Command::Import { directory } => import::run(&directory.path()?),
        Command::Check { directory } => return check::run(directory),
        Command::Backup { directory, to } => backup::run(&directory.path()?, to),
    };
    exit_code(result)
}
