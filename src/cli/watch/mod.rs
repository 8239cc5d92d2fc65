//! The commands that show what a running server does: they ask its admin port over HTTP. They know
//! nothing of the server but what that port says.
//!
//! - [`admin_port`]: the HTTP client, with [`events`], the reader of server-sent events
//! - [`stats`]: once, as text or JSON
//! - [`top`]: as it happens, on the whole terminal

mod admin_port;
mod events;
mod stats;
mod top;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a server does, as it happens, in the terminal
    Top(top::Arguments),
    /// Print what a server does and has done, once
    Stats(stats::Arguments),
}

/// Runs the command.
///
/// # Errors
///
/// The admin port cannot be reached or has no figures yet; the terminal cannot be used.
pub(super) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Top(arguments) => top::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
    }
}
