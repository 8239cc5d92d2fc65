//! What a node knows of the cluster: the sessions and claims in etcd, as of a snapshot and the changes
//! that were watched since. A view may be behind etcd.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::slot::RangeId;

/// A revision of etcd: each write gets a larger one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The revision at which a claim was last written. It fences all writes for the claim's range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub Revision);

/// The identity of a session: the revision that created its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub Revision);

/// The identity of a lease in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// The name of a node, unique among the sessions of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Wraps a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who answered a linearizable read: the member, and the Raft term in which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The member of etcd that answered.
    pub member: u64,
    /// Its Raft term at the time of the answer.
    pub term: u64,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identity.
    pub id: SessionId,
    /// Where clients and other nodes reach the node: `host:port`.
    pub address: Arc<str>,
    /// Whether the node hands over its ranges and takes no further ones.
    pub draining: bool,
}

/// Who owns a range, or owned it until its session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The owner.
    pub node: NodeName,
    /// The owner's session.
    pub session: SessionId,
    /// The revision at which the claim was written.
    pub epoch: Epoch,
}

/// All sessions and claims at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The live sessions.
    pub sessions: BTreeMap<NodeName, Session>,
    /// The claims of all ranges that were ever claimed.
    pub claims: BTreeMap<RangeId, Claim>,
}

/// A change of a session's key: written, or deleted.
pub type SessionChange = (NodeName, Option<Session>);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct View {
    /// The revision up to which sessions are known.
    revision: Revision,
    sessions: BTreeMap<NodeName, Session>,
    /// For each range. A claim may be of a later revision than the sessions: the result of this
    /// node's own transaction comes earlier than the watch's event.
    claims: Vec<Option<Claim>>,
}

impl View {
    /// A view in which no range was ever claimed and no session is live.
    pub(super) fn new(ranges: u16) -> Self {
        Self {
            revision: Revision::default(),
            sessions: BTreeMap::new(),
            claims: vec![None; usize::from(ranges)],
        }
    }

    /// Returns the revision up to which sessions are known.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Takes over a snapshot. Returns whether the sessions changed.
    pub(super) fn load(&mut self, snapshot: Snapshot) -> bool {
        for (range, claim) in snapshot.claims {
            self.put_claim(range, claim);
        }
        if snapshot.revision < self.revision {
            return false;
        }
        self.revision = snapshot.revision;
        let changed = self.sessions != snapshot.sessions;
        self.sessions = snapshot.sessions;
        changed
    }

    /// Takes over what a watch reported at `revision`. Returns whether the sessions changed.
    pub(super) fn change_session(
        &mut self,
        revision: Revision,
        (node, session): SessionChange,
    ) -> bool {
        if revision < self.revision {
            return false;
        }
        self.revision = revision;
        match session {
            Some(session) => self.sessions.insert(node, session.clone()) != Some(session),
            None => self.sessions.remove(&node).is_some(),
        }
    }

    /// Takes over a claim, unless a later one is known: a claim is only ever replaced, never deleted.
    pub(super) fn put_claim(&mut self, range: RangeId, claim: Claim) {
        if let Some(known) = self.claims.get_mut(range.index())
            && known.as_ref().is_none_or(|known| known.epoch < claim.epoch)
        {
            *known = Some(claim);
        }
    }

    pub(super) fn claim(&self, range: RangeId) -> Option<&Claim> {
        self.claims.get(range.index())?.as_ref()
    }

    pub(super) fn sessions(&self) -> &BTreeMap<NodeName, Session> {
        &self.sessions
    }

    /// Returns the live session of a node.
    pub(super) fn session(&self, node: &NodeName) -> Option<&Session> {
        self.sessions.get(node)
    }

    /// Returns whether the session behind a claim is live, as far as this view knows.
    pub(super) fn is_live(&self, claim: &Claim) -> bool {
        self.session(&claim.node)
            .is_some_and(|session| session.id == claim.session)
    }
}
