//! What a node wants done.

use std::time::Duration;

use super::requests::{ClaimAttempt, Ticket};
use super::slot::RangeId;
use super::time::Moment;
use super::view::{Epoch, LeaseId, NodeName, Revision, SessionId};

/// What a node wants done. The actions of one event are to be begun in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a request to etcd. [`Event::Answer`](super::Event::Answer) must follow within a time-out
    /// of the sender.
    Send(Ticket, Request),
    /// Watch sessions and claims for all changes after this revision, in place of any earlier watch.
    Watch {
        /// The last revision that is known.
        after: Revision,
    },
    /// From now on, replies may leave until this moment (rule 4). All workers have to see it.
    SetDeadline(Moment),
    /// Load the topics of a range, comparing its epoch in the same transaction (rule 6), and serve
    /// them. [`Event::Loaded`](super::Event::Loaded) or
    /// [`Event::RangeFailed`](super::Event::RangeFailed) follows.
    Load(RangeId, Epoch),
    /// Answer no further requests for a range and hold new ones; then write the exact sums of its
    /// topics. [`Event::Frozen`](super::Event::Frozen) or
    /// [`Event::RangeFailed`](super::Event::RangeFailed) follows.
    Freeze(RangeId, Epoch),
    /// Discard the memory of a range; requests that wait in it for the store are answered UNKNOWN.
    /// [`Event::Dropped`](super::Event::Dropped) follows.
    Drop(RangeId),
    /// Discard the memory of all ranges in all shards, in the same way.
    /// [`Event::AllDropped`](super::Event::AllDropped) follows.
    DropAll,
    /// The owner of some range has changed: look again at requests that are held.
    OwnersChanged,
    /// The node has left the cluster as it was told to.
    Left,
}

/// A request to etcd. Each is one transaction unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Grant a lease. Answer: `Granted`.
    Grant {
        /// Its time to live.
        ttl: Duration,
    },
    /// Create this node's session key with the lease if the key does not exist. Answer: `Created` or
    /// `Exists`.
    CreateSession {
        /// The lease.
        lease: LeaseId,
    },
    /// Renew the lease; after the answer, make a linearizable read on the same member (rule 3). Answer:
    /// `Renewed` or `Expired`.
    Renew {
        /// The lease.
        lease: LeaseId,
    },
    /// Revoke the lease, so that its session ends. No answer is needed.
    Revoke {
        /// The lease.
        lease: LeaseId,
    },
    /// Read all sessions and claims at one revision. Answer: `State`.
    ReadState,
    /// If all `attempts` are as expected, no session of `replaced` is live, and the own session is
    /// live: claim the ranges. Answer: `Applied` or `Refused`.
    Claim {
        /// The own session.
        session: SessionId,
        /// The ranges.
        attempts: Vec<ClaimAttempt>,
        /// The sessions of the claims that are replaced: of each of these nodes, the session key must
        /// not exist, or must have been created at the other revision that is given.
        replaced: Vec<(NodeName, Option<SessionId>)>,
    },
    /// If the claim has this epoch and the own session is live: write the same claim again, for a new
    /// epoch. Answer: `Applied` or `Refused`.
    Reclaim {
        /// The own session.
        session: SessionId,
        /// The range.
        range: RangeId,
        /// The epoch to end.
        epoch: Epoch,
    },
    /// If the claim has this epoch and both sessions are live: write the other node's claim. Answer:
    /// `Applied` or `Refused`.
    HandOver {
        /// The own session.
        session: SessionId,
        /// The range.
        range: RangeId,
        /// The epoch to end.
        epoch: Epoch,
        /// The new owner.
        to: NodeName,
        /// The session of the new owner.
        to_session: SessionId,
    },
    /// If the own session is live: write its key with the mark `draining`. Answer: `Applied` or
    /// `Refused`.
    MarkDraining {
        /// The own session.
        session: SessionId,
    },
}
