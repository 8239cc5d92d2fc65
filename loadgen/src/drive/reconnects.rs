//! Counts what became of connections that ended.

use serde::Serialize;

/// Connections that ended in a run with `--reconnect`, also during the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Reconnects {
    /// Connections that ended, also before they were ready.
    pub(crate) lost: u64,
    /// Connections that were opened in their place.
    pub(crate) reopened: u64,
    /// Attempts to connect that were refused. Over UDP, datagrams that nobody received.
    pub(crate) refused: u64,
    /// Requests that had no reply when their connection ended.
    pub(crate) unanswered: u64,
}

impl Reconnects {
    /// Adds those of another thread.
    pub(super) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.reopened += other.reopened;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
    }
}
