//! What a worker forwards to other nodes, and takes from them. Requests that this node's shards serve are
//! not in these counts, and so cost nothing here.

use crate::measure::Counter;

/// The counts of one worker. Only that worker writes them; any thread may read them.
#[derive(Debug, Default)]
pub(crate) struct ForwardCounts {
    /// Requests that were sent, each time.
    pub(crate) sent: Counter,
    /// Requests that another node has answered.
    pub(crate) answered: Counter,
    /// Requests that were sent, and not applied by their receiver.
    pub(crate) not_applied: Counter,
    /// Requests that were answered UNAVAILABLE.
    pub(crate) unavailable: Counter,
    /// Requests that were answered UNKNOWN.
    pub(crate) unknown: Counter,
    /// Requests that were answered BUSY.
    pub(crate) busy: Counter,
    /// How many requests are held, queued or sent now.
    pub(crate) pending: Counter,
    /// How many of these are sent.
    pub(crate) in_flight: Counter,
    /// How many connections to other nodes are open now.
    pub(crate) connections: Counter,
    /// Connections to other nodes that were opened.
    pub(crate) connected: Counter,
    /// Attempts to connect that failed.
    pub(crate) failed: Counter,
    /// Requests that other nodes have forwarded to this one.
    pub(crate) received: Counter,
}

/// What all workers together have forwarded since the start, and what they are forwarding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ForwardsSnapshot {
    /// Requests that were sent to other nodes. One that is tried again counts again.
    pub sent: u64,
    /// Requests that other nodes have answered, with a sum or an error.
    pub answered: u64,
    /// Requests that were sent and not applied by their receiver, because it does not own the topic
    /// (NOT_OWNER), or could not serve it in time: they are tried again.
    pub not_applied: u64,
    /// Requests that were answered UNAVAILABLE, because no owner was found within the time for that.
    pub unavailable: u64,
    /// Requests that were answered UNKNOWN: they were sent, and the connection failed, or the other node
    /// itself does not know.
    pub unknown: u64,
    /// Requests that were answered BUSY, because a worker forwards as many as it may.
    pub busy: u64,
    /// Requests that wait to be sent now: for an owner, or for a connection.
    pub waiting: u64,
    /// Requests that wait in this node's shards now, for a range that is on its way to or from this node.
    pub held_by_shards: u64,
    /// Requests that are sent and not answered now.
    pub in_flight: u64,
    /// Connections to other nodes that are open now; each worker has its own.
    pub connections: u64,
    /// Connections to other nodes that were opened.
    pub connections_opened: u64,
    /// Attempts to connect to another node that failed.
    pub connections_failed: u64,
    /// Requests that other nodes have forwarded to this one.
    pub received: u64,
}

impl ForwardCounts {
    /// Adds these counts to `sum`.
    pub(in crate::server::status) fn add_to(&self, sum: &mut ForwardsSnapshot) {
        let in_flight = self.in_flight.get();
        sum.sent += self.sent.get();
        sum.answered += self.answered.get();
        sum.not_applied += self.not_applied.get();
        sum.unavailable += self.unavailable.get();
        sum.unknown += self.unknown.get();
        sum.busy += self.busy.get();
        // The worker may go on between the two.
        sum.waiting += self.pending.get().saturating_sub(in_flight);
        sum.in_flight += in_flight;
        sum.connections += self.connections.get();
        sum.connections_opened += self.connected.get();
        sum.connections_failed += self.failed.get();
        sum.received += self.received.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_are_not_sent_are_waiting() {
        let mut sum = ForwardsSnapshot::default();
        for _ in 0..2 {
            let counts = ForwardCounts::default();
            counts.pending.set(7);
            counts.in_flight.set(3);
            counts.sent.add(20);
            counts.add_to(&mut sum);
        }
        assert_eq!((sum.waiting, sum.in_flight, sum.sent), (8, 6, 40));
        let between = ForwardCounts::default();
        between.in_flight.set(1);
        between.add_to(&mut sum);
        assert_eq!(sum.waiting, 8);
    }
}
