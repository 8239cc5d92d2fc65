//! What a node is told.

use super::requests::Ticket;
use super::slot::RangeId;
use super::view::{
    Claim, Epoch, Leadership, LeaseId, Revision, SessionChange, SessionId, Snapshot,
};

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed: the moment of [`Node::next_timer`](super::Node::next_timer) has come.
    Timer,
    /// etcd has answered a request, or did not in time.
    Answer(Ticket, Answer),
    /// The watch reported all changes of one revision.
    Watched {
        /// The revision.
        revision: Revision,
        /// Session keys that were written or deleted.
        sessions: Vec<SessionChange>,
        /// Claims that were written.
        claims: Vec<(RangeId, Claim)>,
    },
    /// The watch ended, or what it should report was compacted.
    WatchBroken,
    /// All shards serve the range.
    Loaded(RangeId, Epoch),
    /// No shard serves the range any more, and etcd has the exact sums of all its topics.
    Frozen(RangeId, Epoch),
    /// A transaction of the shards for the range did not succeed: its comparison failed, or its
    /// outcome is unknown. The memory of the range may still exist.
    RangeFailed(RangeId, Epoch),
    /// The memory of the range is gone.
    Dropped(RangeId),
    /// The memory of all ranges is gone, in all shards.
    AllDropped,
    /// The node shall hand over its ranges and leave the cluster.
    Leave,
}

/// etcd's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The lease was granted.
    Granted(LeaseId),
    /// The session's key was created.
    Created(SessionId, Leadership),
    /// The session's key exists already.
    Exists,
    /// The lease was renewed; then this member answered a linearizable read.
    Renewed(Leadership),
    /// etcd does not know the lease.
    Expired,
    /// All sessions and claims.
    State(Snapshot),
    /// The comparisons succeeded, and the changes were made at this revision.
    Applied(Revision),
    /// A comparison failed; nothing was changed.
    Refused,
    /// There was no answer in time, or an error after which the request may yet take effect.
    Unknown,
}
