//! Requests to etcd that have no answer yet.

use std::collections::BTreeMap;

use super::slot::RangeId;
use super::view::{Claim, Epoch, NodeName, SessionId};

/// Connects an answer with its request. A ticket is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// One range in a request for claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAttempt {
    /// The range.
    pub range: RangeId,
    /// The claim that is replaced. Its revision must not have changed; if there is none, the key must
    /// not exist.
    pub previous: Option<Claim>,
}

/// What a request was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Grant,
    CreateSession,
    Renew,
    ReadState,
    Claim(Vec<RangeId>),
    Reclaim(RangeId, Epoch),
    HandOver(RangeId, Epoch, NodeName, SessionId),
    MarkDraining,
    Revoke,
}

/// The requests without answer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    last: u64,
    requests: BTreeMap<Ticket, Purpose>,
}

impl Pending {
    pub(super) fn add(&mut self, purpose: Purpose) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.requests.insert(ticket, purpose);
        ticket
    }

    /// Returns what a request was for, or `None` if it was forgotten.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Purpose> {
        self.requests.remove(&ticket)
    }

    pub(super) fn any(&self, is: impl Fn(&Purpose) -> bool) -> bool {
        self.requests.values().any(is)
    }

    /// Forgets all requests: their answers concern a session that has ended.
    pub(super) fn forget_all(&mut self) {
        self.requests.clear();
    }
}
