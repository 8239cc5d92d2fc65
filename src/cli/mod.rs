//! The command line: what can be said, and which call it comes to. Exit codes: 0 done, 1 refused or
//! unreachable, 2 bad usage. Errors are one line on standard error.

mod ask;
mod data;
mod data_dir;
mod serve;
mod usage;

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
        globalcounter count --server udp://127.0.0.1:9999 visits\n  \
        globalcounter topics --prefix user:          list a data directory that no server has\n\n\
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
    #[command(flatten)]
    Data(data::Command),
}

/// Reads the arguments, does what they say, and says how it ended.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::refuse(&error),
    };
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Ask(command) => ask::run(&command),
        Command::Data(command) => data::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes follow the colon: still one line.
            eprintln!("globalcounter: {error:#}");
            if usage::is_bad_usage(&error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
