//! Rereads the configuration of a running server on SIGHUP: applies what can change, and logs what
//! changed and what needs a restart.

use std::path::PathBuf;

use anyhow::Result;
use globalcounter::access::Policy;
use globalcounter::server::Config;
use tracing::{error, info, warn};

use super::log::{Level, LogLevel};
use super::settings::{Setting, Settings};

/// The keys that can change while the server runs.
const RELOADABLE: [&str; 10] = [
    "allow",
    "log_level",
    "max_connections",
    "max_datagrams_per_turn",
    "max_errors_per_source",
    "max_rate_per_connection",
    "max_rate_per_token",
    "max_topics",
    "max_topics_per_token",
    "tokens",
];

/// What the configuration says by now.
pub(super) struct Wanted {
    pub(super) config: Config,
    /// Who may do what; `None` if everybody may do everything.
    pub(super) policy: Option<Policy>,
    pub(super) level: Level,
    pub(super) settings: Settings,
}

/// The settings of a running server, and how they are read again.
pub(super) struct Reload<R> {
    running: Settings,
    log: LogLevel,
    /// The tokens file, which is read again even without a configuration file.
    tokens: Option<PathBuf>,
    read: R,
}

impl<R: Fn() -> Result<Wanted>> Reload<R> {
    /// Takes the settings that the server was started with.
    pub(super) fn new(running: Settings, log: LogLevel, tokens: Option<PathBuf>, read: R) -> Self {
        Self {
            running,
            log,
            tokens,
            read,
        }
    }

    /// Reads the settings again. If there is no mistake in them, calls `apply` and sets the log
    /// level; else logs the mistakes and changes nothing.
    pub(super) fn run(&mut self, apply: impl FnOnce(&Config, Option<Policy>)) {
        let Some(file) = self.running.file.as_ref().or(self.tokens.as_ref()) else {
            info!(
                "SIGHUP: of the settings there is nothing to reload, because the server has no \
                 --config and no --tokens"
            );
            return;
        };
        let file = file.display().to_string();
        let mut wanted = match (self.read)() {
            Ok(wanted) => wanted,
            Err(error) => {
                error!(
                    file,
                    error = format!("{error:#}"),
                    "cannot reload the configuration; nothing changes"
                );
                return;
            }
        };
        apply(&wanted.config, wanted.policy.take());
        // The lines below are logged at the more talkative of the two levels.
        if wanted.level > self.log.level() {
            self.log.set(wanted.level);
        }
        self.compare(&file, &wanted.settings);
        self.log.set(wanted.level);
    }

    /// Logs how `wanted` differs from the running settings, and takes over what was applied.
    fn compare(&mut self, file: &str, wanted: &Settings) {
        let (mut changed, mut need_restart) = (Vec::new(), Vec::new());
        for running in &mut self.running.all {
            let Some(wanted) = wanted.find(&running.key) else {
                continue;
            };
            if effective(running) == effective(wanted) {
                continue;
            }
            if RELOADABLE.contains(&&*running.key) {
                let value = |setting: &Setting| setting.value.clone().unwrap_or_default();
                changed.push(format!(
                    "{}: {} -> {}",
                    running.key,
                    value(running),
                    value(wanted)
                ));
                *running = wanted.clone();
            } else {
                need_restart.push(running.key.clone());
            }
        }
        let level_changed = changed
            .iter()
            .any(|change| change.starts_with("log_level:"));
        if changed.is_empty() {
            info!(
                file,
                "reloaded the configuration: no limit and no log level has changed"
            );
        } else {
            info!(
                file,
                changed = changed.join(", "),
                "reloaded the configuration"
            );
        }
        if level_changed && self.log.is_fixed() {
            warn!("log_level has no effect: RUST_LOG decides what is logged");
        }
        if !need_restart.is_empty() {
            warn!(
                file,
                keys = need_restart.join(", "),
                "these settings have changed and take effect when the server is restarted"
            );
        }
    }
}

/// Returns the value that the server uses; `None` if it does not use the setting.
fn effective(setting: &Setting) -> Option<&str> {
    setting
        .value
        .as_deref()
        .filter(|_| setting.overruled_by.is_none())
}
