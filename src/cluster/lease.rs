//! A node's session: the lease, its renewals, and the deadline (rules 2 and 3 of docs/cluster.md).

use std::time::Duration;

use super::fault::{Fault, planted};
use super::time::Moment;
use super::view::{Leadership, LeaseId, SessionId};

/// The deadline is this part of the lease earlier than its end, so that clocks whose rates differ by
/// 2 % agree that the lease has not ended.
const MARGIN_DIVISOR: u32 = 32;

/// A lease is renewed this many times within its time to live.
const RENEWALS_PER_LEASE: u32 = 3;

/// Where a node is in the life of its session.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is no session. The next lease is granted at `retry_at`.
    Idle { retry_at: Moment },
    /// A lease was requested at `sent_at`.
    Granting { sent_at: Moment },
    /// The session's key is being created.
    Creating { lease: LeaseId, deadline: Moment },
    /// The session was created, and has not ended as far as this node knows.
    Live(Live),
    /// The session has ended, or is to end. The shards discard all memory.
    Ending { lease: Option<LeaseId> },
    /// The node has left the cluster.
    Left,
}

/// A session that was created.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) lease: LeaseId,
    pub(super) session: SessionId,
    deadline: Moment,
    /// Who led etcd after the last answer.
    leadership: Leadership,
    renew_at: Moment,
    /// When the renewal without an answer was sent.
    renewing_since: Option<Moment>,
}

impl Live {
    pub(super) fn new(
        now: Moment,
        ttl: Duration,
        lease: LeaseId,
        session: SessionId,
        deadline: Moment,
        leadership: Leadership,
    ) -> Self {
        Self {
            lease,
            session,
            deadline,
            leadership,
            renew_at: now + ttl / RENEWALS_PER_LEASE,
            renewing_since: None,
        }
    }

    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Returns when to renew; `None` while a renewal has no answer.
    pub(super) fn renew_at(&self) -> Option<Moment> {
        self.renewing_since.is_none().then_some(self.renew_at)
    }

    /// Notes that a renewal is sent.
    pub(super) fn renewal_sent(&mut self, now: Moment, ttl: Duration) {
        self.renewing_since = Some(now);
        self.renew_at = now + ttl / RENEWALS_PER_LEASE;
    }

    /// Takes the answer to a renewal. Returns whether the deadline moved.
    pub(super) fn renewed(&mut self, now: Moment, ttl: Duration, leadership: Leadership) -> bool {
        let Some(sent_at) = self.renewing_since.take() else {
            return false;
        };
        let same_leader = leadership == self.leadership;
        self.leadership = leadership;
        if !same_leader && !planted(Fault::RenewalByAnyLeader) {
            self.renew_at = now;
            return false;
        }
        let counted_from = match planted(Fault::DeadlineFromArrival) {
            true => now,
            false => sent_at,
        };
        self.deadline = self.deadline.max(deadline(counted_from, ttl));
        true
    }

    /// Notes that a renewal has no answer in time. The next one is due as planned, or now.
    pub(super) fn renewal_failed(&mut self) {
        self.renewing_since = None;
    }
}

/// Returns the deadline of a lease that was granted or renewed by a request sent at `sent_at`.
pub(super) fn deadline(sent_at: Moment, ttl: Duration) -> Moment {
    sent_at + (ttl - ttl / MARGIN_DIVISOR)
}
