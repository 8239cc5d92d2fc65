//! The command line: parses the arguments and runs the command. Exit codes: 0 done, 1 refused by
//! the server or unreachable, 2 bad usage, and of `check` 3 damaged. Errors are one line on standard
//! error.

mod access;
mod client;
#[cfg(feature = "cluster")]
mod cluster;
mod connection_limits;
mod credentials;
mod data;
mod data_dir;
mod demo;
#[cfg(feature = "cluster")]
mod etcd;
mod figures;
mod line;
mod listen;
mod log;
mod manual;
#[cfg(feature = "cluster")]
mod node;
mod number;
mod pipe;
mod rates;
mod reload;
mod secret;
mod serve;
mod settings;
mod signals;
mod systemd;
mod tls;
mod token;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use settings::{CommandLine, Mistakes};

/// Gives a distributed system one complete order: counts topics over TCP and UDP.
#[derive(Debug, Parser)]
#[command(
    name = "globalcounter",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        globalcounter serve                          serve on 127.0.0.1:9999, TCP and UDP\n  \
        globalcounter demo                           a server with a little load, to look at\n  \
        globalcounter count visits                   print the next number of \"visits\"\n  \
        globalcounter count --server udp://127.0.0.1:9999 visits\n  \
        globalcounter topics --prefix user:          list a data directory while no server uses it\n  \
        globalcounter cluster status                 show the nodes of a cluster\n\n\
        Exit codes: 0 done, 1 refused by the server or unreachable, 2 bad usage."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT
    Serve(Box<serve::Arguments>),
    /// Run a server in memory with a small load, to look at
    Demo(demo::Arguments),
    #[command(flatten)]
    Client(client::Command),
    #[command(flatten)]
    Watch(watch::Command),
    #[command(flatten)]
    Data(data::Command),
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    Cluster(cluster::Command),
    #[command(flatten)]
    Token(token::Command),
    #[command(flatten)]
    Manual(manual::Command),
}

/// Parses the arguments, runs the command and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let command_line = CommandLine::of_process(Arguments::command(), "serve");
    let parsed = command_line.parse().and_then(|parsed| {
        let arguments = Arguments::from_arg_matches(&parsed.matches)?;
        Ok((arguments, parsed.settings))
    });
    let (arguments, settings) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage::refuse(&error),
    };
    let result = match arguments.command {
        Command::Serve(arguments) => {
            serve::run(command_line, &arguments, settings).map(|()| ExitCode::SUCCESS)
        }
        Command::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Client(command) => client::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Watch(command) => watch::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Data(command) => data::run(&command),
        #[cfg(feature = "cluster")]
        Command::Cluster(command) => cluster::run(&command),
        Command::Token(command) => token::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Manual(command) => {
            manual::run(&command, Arguments::command()).map(|()| ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            match error.downcast_ref::<Mistakes>() {
                Some(mistakes) => {
                    for line in mistakes.lines() {
                        eprintln!("globalcounter: {line}");
                    }
                }
                // `:#` appends the causes to the same line.
                None => eprintln!("globalcounter: {error:#}"),
            }
            if usage::is_bad_usage(&error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
