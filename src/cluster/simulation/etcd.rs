//! A plain model of etcd: sessions, claims and ceilings with revisions, transactions, leases and a log
//! of changes for watches. A leader that was deposed may still renew leases that its successor lets
//! expire, as the real one does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::*;
use super::{Micros, TopicId, micros};

/// The longest time between the end of a lease and the removal of its key.
const REMOVAL_DELAY: Micros = 400_000;

/// All changes of one revision.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) revision: Revision,
    pub(super) sessions: Vec<SessionChange>,
    pub(super) claims: Vec<(RangeId, Claim)>,
}

#[derive(Debug)]
struct SessionKey {
    session: Session,
    lease: LeaseId,
}

#[derive(Debug)]
pub(super) struct Etcd {
    revision: u64,
    sessions: BTreeMap<NodeName, SessionKey>,
    claims: BTreeMap<RangeId, Claim>,
    ceilings: BTreeMap<(RangeId, TopicId), u64>,
    /// When each lease ends.
    leases: BTreeMap<LeaseId, (Micros, Duration)>,
    last_lease: i64,
    /// All changes since the beginning.
    pub(super) log: Vec<Change>,
    /// The leader's term; the leader is the member `term % 3`.
    pub(super) term: u64,
    /// Until when the leader of the previous term does not know that it was deposed.
    pub(super) stale_until: Micros,
}

impl Etcd {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            sessions: BTreeMap::new(),
            claims: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            log: Vec::new(),
            term: 1,
            stale_until: 0,
        }
    }

    /// A new leader is elected: it lets every lease live for its whole time from now on.
    pub(super) fn elect(&mut self, now: Micros, stale_for: Micros) {
        self.term += 1;
        self.stale_until = now + stale_for;
        for (ends_at, ttl) in self.leases.values_mut() {
            *ends_at = now + micros(*ttl);
        }
    }

    /// Returns whether this member is a leader that was deposed and does not know it yet.
    pub(super) fn is_stale(&self, now: Micros, member: u64) -> bool {
        now < self.stale_until && member == (self.term - 1) % 3
    }

    /// Removes the keys of leases that have ended. `late` is how much later than that it happens.
    pub(super) fn expire(&mut self, now: Micros, late: Micros) {
        let late = late.min(REMOVAL_DELAY);
        let ended: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, (ends_at, _))| ends_at + late <= now)
            .map(|(&lease, _)| lease)
            .collect();
        for lease in ended {
            self.revoke(lease);
        }
    }

    fn revoke(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let gone: Vec<NodeName> = self
            .sessions
            .iter()
            .filter(|(_, key)| key.lease == lease)
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.sessions.remove(&name);
            self.write(vec![(name, None)], Vec::new());
        }
    }

    /// Writes a new revision and returns it. Claims in `claims` get it as their epoch.
    fn write(
        &mut self,
        sessions: Vec<SessionChange>,
        claims: Vec<(RangeId, NodeName, SessionId)>,
    ) -> Revision {
        self.revision += 1;
        let revision = Revision(self.revision);
        let claims: Vec<(RangeId, Claim)> = claims
            .into_iter()
            .map(|(range, node, session)| {
                let epoch = Epoch(revision);
                (
                    range,
                    Claim {
                        node,
                        session,
                        epoch,
                    },
                )
            })
            .collect();
        self.claims.extend(claims.iter().cloned());
        self.log.push(Change {
            revision,
            sessions,
            claims,
        });
        revision
    }

    /// Renews a lease, in the memory of the leader or of one that was deposed. Returns false if the lease
    /// is not known.
    pub(super) fn renew(&mut self, now: Micros, lease: LeaseId, by_stale_leader: bool) -> bool {
        let Some((ends_at, ttl)) = self.leases.get_mut(&lease) else {
            return false;
        };
        if by_stale_leader {
            return true;
        }
        if *ends_at <= now {
            self.revoke(lease);
            return false;
        }
        *ends_at = now + micros(*ttl);
        true
    }

    /// Returns whether this session is live.
    pub(super) fn is_live(&self, node: &NodeName, session: SessionId) -> bool {
        self.sessions
            .get(node)
            .is_some_and(|key| key.session.id == session)
    }

    /// Returns whether a node owns a range at this epoch now.
    pub(super) fn owns(&self, node: &NodeName, range: RangeId, epoch: Epoch) -> bool {
        self.claims.get(&range).is_some_and(|claim| {
            claim.epoch == epoch && claim.node == *node && self.is_live(node, claim.session)
        })
    }

    /// Returns how many claims were written.
    pub(super) fn claims_written(&self) -> usize {
        self.log.iter().map(|change| change.claims.len()).sum()
    }

    /// Serves a request of `node`. Renewals have a function of their own.
    pub(super) fn serve(&mut self, now: Micros, node: &NodeName, request: &Request) -> Answer {
        match request {
            Request::Grant { ttl } => {
                self.last_lease += 1;
                let lease = LeaseId(self.last_lease);
                self.leases.insert(lease, (now + micros(*ttl), *ttl));
                Answer::Granted(lease)
            }
            Request::CreateSession { lease } => self.create_session(node, *lease),
            Request::Renew { .. } => Answer::Unknown,
            Request::Revoke { lease } => {
                self.revoke(*lease);
                Answer::Refused
            }
            Request::ReadState => Answer::State(self.snapshot()),
            Request::Claim {
                session,
                attempts,
                replaced,
            } => self.claim(node, *session, attempts, replaced),
            Request::Reclaim {
                session,
                range,
                epoch,
            } => {
                if !self.owns(node, *range, *epoch) || !self.is_live(node, *session) {
                    return Answer::Refused;
                }
                Answer::Applied(self.write(Vec::new(), vec![(*range, node.clone(), *session)]))
            }
            Request::HandOver {
                session,
                range,
                epoch,
                to,
                to_session,
            } => {
                let owns = self.owns(node, *range, *epoch) && self.is_live(node, *session);
                if !owns || !self.is_live(to, *to_session) {
                    return Answer::Refused;
                }
                Answer::Applied(self.write(Vec::new(), vec![(*range, to.clone(), *to_session)]))
            }
            Request::MarkDraining { session } => {
                if !self.is_live(node, *session) {
                    return Answer::Refused;
                }
                let Some(key) = self.sessions.get_mut(node) else {
                    return Answer::Refused;
                };
                key.session.draining = true;
                let session = key.session.clone();
                Answer::Applied(self.write(vec![(node.clone(), Some(session))], Vec::new()))
            }
        }
    }

    fn create_session(&mut self, node: &NodeName, lease: LeaseId) -> Answer {
        if self.sessions.contains_key(node) {
            return Answer::Exists;
        }
        if !self.leases.contains_key(&lease) {
            return Answer::Unknown;
        }
        let id = SessionId(Revision(self.revision + 1));
        let session = Session {
            id,
            address: node.as_str().into(),
            draining: false,
        };
        let key = SessionKey {
            session: session.clone(),
            lease,
        };
        self.sessions.insert(node.clone(), key);
        self.write(vec![(node.clone(), Some(session))], Vec::new());
        let member = self.term % 3;
        let term = self.term;
        Answer::Created(id, Leadership { member, term })
    }

    fn snapshot(&self) -> Snapshot {
        let sessions = self
            .sessions
            .iter()
            .map(|(name, key)| (name.clone(), key.session.clone()));
        Snapshot {
            revision: Revision(self.revision),
            sessions: sessions.collect(),
            claims: self.claims.clone(),
        }
    }

    fn claim(
        &mut self,
        node: &NodeName,
        session: SessionId,
        attempts: &[ClaimAttempt],
        replaced: &[(NodeName, Option<SessionId>)],
    ) -> Answer {
        let as_expected = attempts.iter().all(|attempt| {
            let expected = attempt.previous.as_ref().map(|claim| claim.epoch);
            self.claims.get(&attempt.range).map(|claim| claim.epoch) == expected
        });
        let free = replaced
            .iter()
            .all(|(name, other)| self.sessions.get(name).map(|key| key.session.id) == *other);
        if !(as_expected && free && self.is_live(node, session)) {
            return Answer::Refused;
        }
        let claims = attempts
            .iter()
            .map(|attempt| (attempt.range, node.clone(), session))
            .collect();
        Answer::Applied(self.write(Vec::new(), claims))
    }

    /// Writes ceilings if the claim of their range has this epoch; without one, in any case.
    pub(super) fn commit(
        &mut self,
        range: RangeId,
        epoch: Option<Epoch>,
        ceilings: &[(TopicId, u64)],
    ) -> bool {
        if epoch.is_some_and(|epoch| self.epoch(range) != Some(epoch)) {
            return false;
        }
        self.revision += 1;
        for &(topic, ceiling) in ceilings {
            self.ceilings.insert((range, topic), ceiling);
        }
        true
    }

    /// Returns the ceilings of a range if its claim has this epoch.
    pub(super) fn load(&self, range: RangeId, epoch: Epoch) -> Option<Vec<(TopicId, u64)>> {
        (self.epoch(range) == Some(epoch)).then(|| {
            self.ceilings
                .range((range, 0)..=(range, TopicId::MAX))
                .map(|(&(_, topic), &ceiling)| (topic, ceiling))
                .collect()
        })
    }

    fn epoch(&self, range: RangeId) -> Option<Epoch> {
        self.claims.get(&range).map(|claim| claim.epoch)
    }
}
