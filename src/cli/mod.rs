//! The command line: what can be said, and which call it comes to. Exit codes: 0 done, 1 refused or
//! unreachable, 2 bad usage. Errors are one line on standard error.

mod ask;
mod data;
mod serve;

use std::fmt;
use std::panic;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use globalcounter::server::BindError;
use globalcounter::store::StoreError;

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
        Err(error) => return refuse(&error),
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
            if is_bad_usage(&error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Does something that reads a data directory. The database panics over some damages, and once more
/// while it is taken down, which nothing survives: so that ends the process, with one clear line.
fn reading<T>(directory: &Path, read: impl FnOnce() -> T) -> T {
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

/// Says in one line what is wrong with the arguments; or the help or version that they ask for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // What is wrong is the first paragraph; usage and tips follow.
    let text = error.render().to_string();
    let lines = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    eprintln!("globalcounter: {line} (see globalcounter --help)");
    ExitCode::from(2)
}

/// Flags that make no sense together.
#[derive(Debug)]
struct BadUsage(&'static str);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (see globalcounter --help)", self.0)
    }
}

impl std::error::Error for BadUsage {}

/// Whether what was asked for can't be, whatever the server or the system say.
fn is_bad_usage(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<globalcounter::Error>() {
        return error.is_invalid();
    }
    if error.is::<BadUsage>() {
        return true;
    }
    matches!(
        error.downcast_ref(),
        Some(BindError::NoTransport | BindError::Setting { .. })
    )
}
