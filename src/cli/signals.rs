//! The signals that end a command which runs until it is told to stop.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Catches SIGTERM and SIGINT from now on. The future ends with the first of them and returns its name.
/// It must be called inside a tokio runtime.
///
/// # Errors
///
/// The system does not allow it.
pub(super) fn stop() -> Result<impl Future<Output = &'static str> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
