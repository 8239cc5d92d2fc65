//! The log of `globalcounter serve`: lines on standard error, for people or for programs.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(super) struct LogArguments {
    /// How log lines are written to standard error
    #[arg(
        long = "log",
        value_name = "text|json",
        env = "GLOBALCOUNTER_LOG",
        default_value = "text",
        hide_possible_values = true
    )]
    format: Format,
    /// The least important lines that are logged: error, warn, info, debug or trace. RUST_LOG, if set,
    /// is used instead; it can choose by module
    #[arg(
        long = "log-level",
        value_name = "LEVEL",
        env = "GLOBALCOUNTER_LOG_LEVEL",
        default_value = "info",
        hide_possible_values = true
    )]
    level: Level,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogArguments {
    /// Logs from now on as these arguments say.
    pub(super) fn start(&self) {
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| EnvFilter::new(self.level.directive()));
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr);
        match self.format {
            Format::Text => subscriber.with_ansi(io::stderr().is_terminal()).init(),
            Format::Json => subscriber.json().flatten_event(true).init(),
        }
    }
}
