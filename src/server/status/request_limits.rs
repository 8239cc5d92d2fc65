//! The limits on requests and datagrams, which can change while workers read them.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::server::config::Config;

/// The limits on requests and datagrams. Workers read them once for each read, or receive call.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    connection_rate: AtomicU32,
    datagrams_per_turn: AtomicUsize,
    errors_per_source: AtomicU32,
}

impl RequestLimits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connection_rate: config.max_rate_per_connection.into(),
            datagrams_per_turn: config.max_datagrams_per_turn.into(),
            errors_per_source: config.max_errors_per_source.into(),
        }
    }

    /// Returns how many requests a second a connection may make; 0 is no limit.
    pub(crate) fn connection_rate(&self) -> u32 {
        self.connection_rate.load(Ordering::Relaxed)
    }

    /// Returns how many datagrams a worker receives in one turn.
    pub(crate) fn datagrams_per_turn(&self) -> usize {
        self.datagrams_per_turn.load(Ordering::Relaxed)
    }

    /// Returns how many errors a second the source of datagrams gets from a worker.
    pub(crate) fn errors_per_source(&self) -> u32 {
        self.errors_per_source.load(Ordering::Relaxed)
    }

    pub(super) fn set_connection_rate(&self, max: u32) {
        self.connection_rate.store(max, Ordering::Relaxed);
    }

    pub(super) fn set_datagrams_per_turn(&self, max: usize) {
        // With 0, the worker would receive nothing.
        self.datagrams_per_turn.store(max.max(1), Ordering::Relaxed);
    }

    pub(super) fn set_errors_per_source(&self, max: u32) {
        self.errors_per_source.store(max, Ordering::Relaxed);
    }
}
