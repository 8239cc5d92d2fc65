//! How patient a client is.

use std::time::Duration;

/// A client's settings; `Options::default()` is what [`Client::connect`](super::Client::connect)
/// uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// TCP: how long a call may take, connecting included. 5 s by default.
    pub timeout: Duration,
    /// UDP: how long to wait for the reply to one datagram. 0.1 s by default, as in the original
    /// Python client.
    pub attempt_timeout: Duration,
    /// UDP: how many datagrams to send before giving up. 5 by default, as in the original Python
    /// client; 1: nothing is ever sent again.
    pub attempts: u32,
    /// TCP: whether to have a connection to each of the server's shards, and send each request to
    /// the one that owns its topic, so that none has to cross processors inside the server. Off by
    /// default: a server of 64 shards would get 64 connections of each client, and a plain one that
    /// counts mostly one topic is moved to where that lives anyway. How many shards there are is
    /// asked when the client connects, which may take another `timeout`; if the server comes back with
    /// others, all goes on, with a hop where the connections no longer suit. The host's name is looked
    /// up for each connection: it must not stand for several servers.
    pub shard_aware: bool,
    /// TCP: whether counts of one topic that wait to be sent at the same time go as one ADD, of which
    /// each caller gets a sum of its own, in the order of the calls. On by default: nothing waits for
    /// others to join it. Should the reply be lost, all of these calls fail together, as they would
    /// one by one. Where an ADD would go beyond the last number, its counts are sent again one by one,
    /// behind calls that were made meanwhile.
    pub coalesce: bool,
}

impl Options {
    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`attempt_timeout`](Self::attempt_timeout).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets [`attempts`](Self::attempts); at least 1 is made.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets [`shard_aware`](Self::shard_aware).
    #[must_use]
    pub fn shard_aware(mut self, shard_aware: bool) -> Self {
        self.shard_aware = shard_aware;
        self
    }

    /// Sets [`coalesce`](Self::coalesce).
    #[must_use]
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(100),
            attempts: 5,
            shard_aware: false,
            coalesce: true,
        }
    }
}
