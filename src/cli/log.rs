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

/// The least important lines that are logged. Later levels log more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Level {
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

/// Returns whether RUST_LOG decides what is logged.
pub(super) fn is_chosen_by_variable() -> bool {
    filter_of_variable().is_some()
}

fn filter_of_variable() -> Option<EnvFilter> {
    EnvFilter::try_from_default_env().ok()
}

impl LogArguments {
    /// Logs from now on as these arguments say. Returns the handle that changes the level.
    pub(super) fn start(&self) -> LogLevel {
        let by_variable = filter_of_variable();
        let fixed = by_variable.is_some();
        let filter = by_variable.unwrap_or_else(|| EnvFilter::new(self.level.directive()));
        let subscriber = tracing_subscriber::fmt().with_writer(io::stderr);
        // The two formats have handles of different types.
        let set: Box<dyn Fn(EnvFilter) -> bool> = match self.format {
            Format::Text => {
                let subscriber = subscriber.with_ansi(io::stderr().is_terminal());
                let subscriber = subscriber.with_env_filter(filter).with_filter_reloading();
                let handle = subscriber.reload_handle();
                subscriber.init();
                Box::new(move |filter| handle.reload(filter).is_ok())
            }
            Format::Json => {
                let subscriber = subscriber.json().flatten_event(true);
                let subscriber = subscriber.with_env_filter(filter).with_filter_reloading();
                let handle = subscriber.reload_handle();
                subscriber.init();
                Box::new(move |filter| handle.reload(filter).is_ok())
            }
        };
        LogLevel {
            level: self.level,
            fixed,
            set,
        }
    }

    /// Returns the level.
    pub(super) fn level(&self) -> Level {
        self.level
    }
}

/// Changes the level while the server runs.
pub(super) struct LogLevel {
    level: Level,
    /// Whether RUST_LOG is used instead.
    fixed: bool,
    set: Box<dyn Fn(EnvFilter) -> bool>,
}

impl LogLevel {
    /// Returns whether RUST_LOG decides what is logged.
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Returns the level by now.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Sets the level, unless RUST_LOG decides.
    pub(super) fn set(&mut self, level: Level) {
        if !self.fixed && (self.set)(EnvFilter::new(level.directive())) {
            self.level = level;
        }
    }
}
