//! The command line: what can be said, and the plan that it comes to.

mod run;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub(crate) use run::Arguments as Run;

/// Measure a counter server: globalcounter, Redis, Valkey or memcached.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        loadgen                                         globalcounter over framed TCP, 16 × 64 in flight\n  \
        loadgen --target udp --frames-per-datagram 32   the same over UDP\n  \
        loadgen --rate 200000 --html report.html        open loop, with a page to look at\n  \
        loadgen --ramp 10000..2000000 --slo 1           the highest rate with p99 up to 1 ms\n  \
        loadgen --verify --requests 1000000             check the order of every reply\n  \
        loadgen --target resp --server 127.0.0.1:6379   Redis or Valkey\n  \
        loadgen compare                                 all of them beside each other\n\n\
        Exit codes: 0 measured, 1 the server failed, is not there or broke its order, 2 bad usage."
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server that answers every dialect and counts nothing: the least that sockets cost
    Null(crate::null::Arguments),
    /// Measure this server beside the least that sockets cost, and beside Redis, Valkey, memcached
    Compare(crate::compare::Arguments),
}

/// Says in one line what is wrong with the arguments; or the help or version that they ask for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
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
    eprintln!("loadgen: {line} (see loadgen --help)");
    ExitCode::from(2)
}
