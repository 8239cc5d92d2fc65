//! The command line: its flags, and the plan that they describe. Knows nothing of how a plan is
//! carried out.

mod load;
mod plan;
mod run;
mod tls;
mod tune;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub(crate) use run::Arguments as Run;
use tune::Arguments as Tune;

/// Measure a counter server: globalcounter, Redis, Valkey or memcached
///
/// Without --rate or --ramp, the load is a closed loop: each connection keeps --pipeline requests in
/// flight. The report goes to standard output: rate, latency, errors, and the CPU time and memory of
/// a server on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "See loadgen --help for details and examples.",
    after_long_help = "Examples:\n  \
        loadgen                                         globalcounter over framed TCP, 16 × 64 in flight\n  \
        loadgen --target udp --frames-per-datagram 32   the same over UDP\n  \
        loadgen --rate 200000 --html report.html        open loop, with an HTML page\n  \
        loadgen --ramp 10000..2000000 --slo 1           the highest rate with p99 up to 1 ms\n  \
        loadgen --verify --requests 1000000             check the order of every reply\n  \
        loadgen --verify --reconnect --duration 60      the same while the server restarts\n  \
        loadgen --server a:9999,b:9999 --verify         one order over the nodes of a cluster\n  \
        loadgen --target resp --server 127.0.0.1:6379   Redis or Valkey\n  \
        loadgen compare                                 all of them beside each other\n  \
        loadgen tune                                    which --shards suits this load\n\n\
        Exit codes: 0 measured; 1 the server failed, did not answer or broke its order; 2 bad usage."
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Null(crate::null::Arguments),
    Compare(crate::compare::Arguments),
    Tune(Tune),
    #[command(flatten)]
    Manual(crate::manual::Command),
}

/// Prints what is wrong with the arguments in one line, or the help or version that they ask for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // The first paragraph says what is wrong; usage and tips follow.
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Returns the short and the long help of a command.
    fn helps(command: &mut clap::Command) -> (String, String) {
        let short = command.render_help().to_string();
        (short, command.render_long_help().to_string())
    }

    #[test]
    fn short_help_is_a_summary_of_the_long_one() {
        let mut command = CommandLine::command();
        command.build();
        let (short, long) = helps(&mut command);
        assert!(short.lines().count() * 2 < long.lines().count(), "{short}");
        assert!(!short.contains("Exit codes"), "{short}");
        assert!(long.contains("Exit codes"), "{long}");
        for subcommand in ["null", "compare", "tune"] {
            let (short, long) = helps(command.find_subcommand_mut(subcommand).unwrap());
            assert!(short.lines().count() < long.lines().count(), "{short}");
        }
    }

    #[test]
    fn the_help_of_a_ramp_says_what_repeats_cost() {
        let (_, long) = helps(&mut CommandLine::command());
        let words: Vec<&str> = long.split_whitespace().collect();
        let text = words.join(" ");
        assert!(
            text.contains("sustained if one of three tries succeeds"),
            "{text}"
        );
        assert!(text.contains("up to three times --duration"), "{text}");
    }
}
