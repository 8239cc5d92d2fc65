//! The command line: what can be said, and which call it comes to. Exit codes: 0 done, 1 refused or
//! unreachable, 2 bad usage. Errors are one line on standard error.

mod ask;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Complete order for a distributed system: counts topics over TCP and UDP.
#[derive(Debug, Parser)]
#[command(
    name = "globalcounter",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        globalcounter serve                          serve on 127.0.0.1:9999, TCP and UDP\n  \
        globalcounter count visits                   print the next number of \"visits\"\n  \
        globalcounter count --server udp://127.0.0.1:9999 visits\n\n\
        Exit codes: 0 done, 1 refused by the server or unreachable, 2 bad usage."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT
    Serve(serve::Arguments),
    #[command(flatten)]
    Ask(ask::Command),
}

/// Reads the arguments, does what they say, and says how it ended.
pub(crate) fn run() -> ExitCode {
    // Exits with 2, or with 0 after --help and --version.
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Ask(command) => ask::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes follow the colon: still one line.
            eprintln!("globalcounter: {error:#}");
            ExitCode::FAILURE
        }
    }
}
