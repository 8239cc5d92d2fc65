//! Requests that a server refused without applying them, and that are sent again (`--reconnect`).

use std::collections::VecDeque;

use super::in_flight::Pending;

/// How long to wait before a request is sent again, in nanoseconds: a server refuses at once, so without
/// a pause the load would be nothing else. Little, compared with a failover.
const PAUSE: u64 = 10_000_000;

/// The requests of one thread that wait to be sent again.
#[derive(Debug, Default)]
pub(super) struct Resends {
    enabled: bool,
    /// The time from which each may be sent, ascending, and the number of its connection in the thread.
    waiting: VecDeque<(u64, usize, Pending)>,
}

impl Resends {
    /// Returns an empty list. It takes requests if it is `enabled`.
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Adds a request that was refused at `now` on a connection.
    pub(super) fn add(&mut self, connection: usize, pending: Pending, now: u64) {
        self.waiting.push_back((now + PAUSE, connection, pending));
    }

    /// Adds a request that can be sent again at once.
    pub(super) fn add_first(&mut self, connection: usize, pending: Pending) {
        self.waiting.push_front((0, connection, pending));
    }

    /// Returns the connection and the topic of the next request that may be sent at `now`.
    pub(super) fn next(&self, now: u64) -> Option<(usize, u32)> {
        let (from, connection, pending) = self.waiting.front()?;
        (*from <= now).then_some((*connection, pending.topic))
    }

    /// Removes and returns the next request.
    pub(super) fn take(&mut self) -> Option<Pending> {
        self.waiting.pop_front().map(|(_, _, pending)| pending)
    }

    /// Returns how many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Drops all requests that wait. Returns how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.waiting.len() as u64;
        self.waiting.clear();
        dropped
    }
}
