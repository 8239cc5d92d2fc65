//! Counts what became of the requests to each server.

use serde::Serialize;

use super::reconnects::Reconnects;
use crate::target::Fate;

/// What became of the requests to one server. All but `replies` also count the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct ServerCounts {
    /// Replies during the measurement.
    pub(crate) replies: u64,
    /// Requests that it refused because nobody could serve their topic. They were not applied.
    pub(crate) unavailable: u64,
    /// Requests that it refused because a queue was full or their topic had another owner. They were not
    /// applied.
    pub(crate) busy: u64,
    /// Requests whose outcome it did not know. They may have been applied.
    pub(crate) unknown: u64,
    /// Requests without a reply. They may have been applied.
    pub(crate) lost: u64,
    pub(crate) reconnects: Reconnects,
}

impl ServerCounts {
    /// Counts a refusal.
    pub(super) fn refusal(&mut self, fate: Fate) {
        match fate {
            Fate::Unavailable => self.unavailable += 1,
            Fate::Busy => self.busy += 1,
            Fate::Unknown => self.unknown += 1,
            Fate::Refused => {}
        }
    }

    /// Adds those of another thread.
    pub(super) fn add(&mut self, other: &Self) {
        self.replies += other.replies;
        self.unavailable += other.unavailable;
        self.busy += other.busy;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.reconnects.add(other.reconnects);
    }
}
