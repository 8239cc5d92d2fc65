//! The state of a cluster: who is live, and who owns what.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Operator;
use crate::cluster::{
    Claim, LeaseId, NodeName, RangeId, Revision, Session, SessionId, assignments,
};
use crate::etcd::error::Error;
use crate::etcd::keys::Entry;
use crate::etcd::pages::Pages;
use crate::etcd::values::session_details;

/// Sessions and claims of a cluster at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The revision.
    pub revision: Revision,
    /// The nodes with a live session, by name.
    pub nodes: Vec<NodeState>,
    /// The claims of all ranges that were ever claimed. The session behind a claim may have ended.
    pub claims: BTreeMap<RangeId, Claim>,
    /// The node that each range is assigned to; `None` if no session is live.
    pub assigned: Vec<Option<NodeName>>,
}

/// A node with a live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: NodeName,
    /// Its session.
    pub session: Session,
    /// Its version.
    pub version: String,
    /// When its process was started, in seconds since 1970.
    pub started: u64,
    /// The lease that the session ends with.
    pub lease: LeaseId,
}

impl Operator {
    /// Reads the state of the cluster.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, or a key is not understood.
    pub async fn overview(&self) -> Result<Overview, Error> {
        let mut pages = Pages::of(self.keys.sessions_and_claims());
        let (mut nodes, mut claims) = (Vec::new(), BTreeMap::new());
        while let Some(page) = pages.next(&self.client).await? {
            for pair in &page {
                match self.keys.entry(pair, self.ranges)? {
                    Entry::Session((name, _)) => {
                        let details = session_details(pair)?;
                        nodes.push(NodeState {
                            name,
                            session: details.session,
                            version: details.version,
                            started: details.started,
                            lease: LeaseId(pair.lease),
                        });
                    }
                    Entry::Claim(range, claim) => {
                        claims.insert(range, claim);
                    }
                    Entry::Fixed => {}
                }
            }
        }
        let sessions: BTreeMap<NodeName, Session> = nodes
            .iter()
            .map(|node| (node.name.clone(), node.session.clone()))
            .collect();
        Ok(Overview {
            revision: pages.revision(),
            nodes,
            claims,
            assigned: assignments(&sessions, self.ranges),
        })
    }

    /// Returns how long the session of a node lives unless it is renewed. `None` if it has ended.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, as it may while it elects a leader.
    pub async fn time_left(&self, node: &NodeState) -> Result<Option<Duration>, Error> {
        self.client.time_to_live(node.lease).await
    }
}

impl Overview {
    /// Returns a node with a live session.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&NodeState> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// Returns the owner of a range: the node whose live session has the claim.
    #[must_use]
    pub fn owner(&self, range: RangeId) -> Option<&NodeState> {
        let claim = self.claims.get(&range)?;
        self.node(&claim.node)
            .filter(|node| node.session.id == claim.session)
    }

    /// Returns how many ranges a session owns, whether it is live or not.
    #[must_use]
    pub fn owned_by(&self, session: SessionId) -> usize {
        let claims = self.claims.values();
        claims.filter(|claim| claim.session == session).count()
    }

    /// Returns how many ranges are assigned to a node.
    #[must_use]
    pub fn assigned_to(&self, name: &NodeName) -> usize {
        let assigned = self.assigned.iter().flatten();
        assigned.filter(|assigned| *assigned == name).count()
    }

    /// Returns all ranges of the cluster.
    pub fn ranges(&self) -> impl Iterator<Item = RangeId> {
        RangeId::all(self.assigned.len() as u16)
    }

    /// Returns the ranges without a live owner.
    pub fn without_owner(&self) -> impl Iterator<Item = RangeId> {
        self.ranges().filter(|&range| self.owner(range).is_none())
    }

    /// Returns the ranges whose owner is not the node that they are assigned to.
    pub fn misplaced(&self) -> impl Iterator<Item = RangeId> {
        self.ranges().filter(|&range| {
            self.owner(range)
                .is_some_and(|owner| self.assigned[range.index()].as_ref() != Some(&owner.name))
        })
    }
}
