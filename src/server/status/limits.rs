//! The limits that can be changed while the server runs.

use std::sync::Arc;

use super::server::Status;
use crate::server::exchange::Shared;

/// Changes the limits of a running [`Server`](crate::server::Server). A limit may be set below what is
/// in use: nothing is closed or deleted then, but nothing is added until there is room again.
#[derive(Debug, Clone)]
pub struct Limits {
    status: Arc<Status>,
    shared: Arc<Shared>,
}

impl Limits {
    pub(in crate::server) fn new(status: Arc<Status>, shared: Arc<Shared>) -> Self {
        Self { status, shared }
    }

    /// Sets the most open TCP connections. The process needs a file descriptor for each; see
    /// [`Config::descriptors`](crate::server::Config::descriptors).
    pub fn set_max_connections(&self, max: usize) {
        self.status.connections.set_max(max);
    }

    /// Sets the most topics, over all shards.
    pub fn set_max_topics(&self, max: usize) {
        self.shared.quota().set_max(max);
    }

    /// Sets the most requests a second of a connection; 0 is no limit.
    pub fn set_max_rate_per_connection(&self, max: u32) {
        self.status.request_limits.set_connection_rate(max);
    }

    /// Sets the most datagrams that a worker receives in one turn, at least 1; see
    /// [`Config::max_datagrams_per_turn`](crate::server::Config::max_datagrams_per_turn).
    pub fn set_max_datagrams_per_turn(&self, max: usize) {
        self.status.request_limits.set_datagrams_per_turn(max);
    }

    /// Sets the most errors a second that the source of datagrams gets; see
    /// [`Config::max_errors_per_source`](crate::server::Config::max_errors_per_source).
    pub fn set_max_errors_per_source(&self, max: u32) {
        self.status.request_limits.set_errors_per_source(max);
    }
}
