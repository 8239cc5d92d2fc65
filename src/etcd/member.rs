//! The requests of a node: one transaction each, as [`Request`] describes it.

use super::client::{Client, leadership, revision};
use super::error::Error;
use super::format::create_or_check;
use super::keys::{Entry, Keys};
use super::pages::Pages;
use super::proto::{Compare, RequestOp, TxnRequest};
use super::transaction::{created_at, put, put_keeping_lease, put_with_lease, written_at};
use super::values::{Description, claim_value, session_value};
use super::watch::Watch;
use crate::cluster::{
    Answer, ClaimAttempt, Epoch, LeaseId, NodeName, RangeId, Request, Revision, SessionId, Snapshot,
};

/// A node of a cluster, as etcd knows it.
#[derive(Debug, Clone)]
pub struct Member {
    client: Client,
    keys: Keys,
    description: Description,
    ranges: u16,
}

impl Member {
    /// Creates the cluster if it does not exist, and makes sure that this version understands its
    /// format and all sessions and claims.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused; the cluster is of another format; or a key is not understood.
    pub async fn join(client: Client, description: Description) -> Result<Self, Error> {
        let keys = Keys::new(client.location());
        let ranges = create_or_check(&client, &keys).await?;
        let member = Self {
            client,
            keys,
            description,
            ranges,
        };
        member.read_state().await?;
        Ok(member)
    }

    /// Returns the number of ranges of the cluster.
    #[must_use]
    pub fn ranges(&self) -> u16 {
        self.ranges
    }

    /// Returns what the node's session says of it.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Makes a request and returns etcd's answer. After an error, the answer would be
    /// [`Answer::Unknown`]: no other says that it is not known whether the request takes effect, nor
    /// makes a node try again.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, or a key is not understood.
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        match request {
            Request::Grant { ttl } => Ok(Answer::Granted(self.client.grant(ttl).await?)),
            Request::CreateSession { lease } => self.create_session(lease).await,
            Request::Renew { lease } => self.renew(lease).await,
            Request::Revoke { lease } => {
                self.client.revoke(lease).await?;
                // Nobody waits for it.
                Ok(Answer::Expired)
            }
            Request::ReadState => Ok(Answer::State(self.read_state().await?)),
            Request::Claim {
                session,
                attempts,
                replaced,
            } => self.claim(session, &attempts, &replaced).await,
            Request::Reclaim {
                session,
                range,
                epoch,
            } => self.reclaim(session, range, epoch).await,
            Request::HandOver {
                session,
                range,
                epoch,
                to,
                to_session,
            } => {
                self.hand_over(session, (range, epoch), (&to, to_session))
                    .await
            }
            Request::MarkDraining { session } => self.mark_draining(session).await,
        }
    }

    /// Watches sessions and claims for all changes after this revision, in a task of the current runtime.
    #[must_use]
    pub fn watch(&self, after: Revision) -> Watch {
        Watch::begin(self.client.clone(), self.keys.clone(), self.ranges, after)
    }

    async fn create_session(&self, lease: LeaseId) -> Result<Answer, Error> {
        let key = self.keys.session(&self.description.name);
        let value = session_value(&self.description, false);
        let request = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: vec![put_with_lease(key, value, lease.0)],
            failure: Vec::new(),
        };
        let answer = self.client.transaction(request).await?;
        let header = answer.header.ok_or(Error::Answer)?;
        Ok(match answer.succeeded {
            true => Answer::Created(SessionId(revision(&header)), leadership(&header)),
            false => Answer::Exists,
        })
    }

    async fn renew(&self, lease: LeaseId) -> Result<Answer, Error> {
        let read_by = self.client.renew(lease, &self.keys.format()).await?;
        Ok(read_by.map_or(Answer::Expired, Answer::Renewed))
    }

    async fn claim(
        &self,
        session: SessionId,
        attempts: &[ClaimAttempt],
        replaced: &[(NodeName, Option<SessionId>)],
    ) -> Result<Answer, Error> {
        let mut compare = vec![self.is_live(session)];
        for attempt in attempts {
            let previous = attempt.previous.as_ref().map_or(0, |claim| claim.epoch.0.0);
            compare.push(written_at(self.keys.claim(attempt.range), previous));
        }
        for (node, other) in replaced {
            let other = other.map_or(0, |session| session.0.0);
            compare.push(created_at(self.keys.session(node), other));
        }
        let name = &self.description.name;
        let claims = attempts
            .iter()
            .map(|attempt| self.put_claim(attempt.range, name, session));
        self.apply(compare, claims.collect()).await
    }

    async fn reclaim(
        &self,
        session: SessionId,
        range: RangeId,
        epoch: Epoch,
    ) -> Result<Answer, Error> {
        let compare = vec![
            self.is_live(session),
            written_at(self.keys.claim(range), epoch.0.0),
        ];
        let claim = self.put_claim(range, &self.description.name, session);
        self.apply(compare, vec![claim]).await
    }

    async fn hand_over(
        &self,
        session: SessionId,
        (range, epoch): (RangeId, Epoch),
        (to, to_session): (&NodeName, SessionId),
    ) -> Result<Answer, Error> {
        let compare = vec![
            self.is_live(session),
            written_at(self.keys.claim(range), epoch.0.0),
            created_at(self.keys.session(to), to_session.0.0),
        ];
        self.apply(compare, vec![self.put_claim(range, to, to_session)])
            .await
    }

    async fn mark_draining(&self, session: SessionId) -> Result<Answer, Error> {
        let key = self.keys.session(&self.description.name);
        let value = session_value(&self.description, true);
        self.apply(
            vec![self.is_live(session)],
            vec![put_keeping_lease(key, value)],
        )
        .await
    }

    /// Reads all sessions and claims, page by page, at the revision of the first page.
    async fn read_state(&self) -> Result<Snapshot, Error> {
        let mut pages = Pages::of(self.keys.sessions_and_claims());
        let mut snapshot = Snapshot::default();
        while let Some(page) = pages.next(&self.client).await? {
            for pair in &page {
                match self.keys.entry(pair, self.ranges)? {
                    Entry::Session((node, session)) => {
                        snapshot
                            .sessions
                            .extend(session.map(|session| (node, session)));
                    }
                    Entry::Claim(range, claim) => {
                        snapshot.claims.insert(range, claim);
                    }
                    Entry::Fixed => {}
                }
            }
        }
        snapshot.revision = pages.revision();
        Ok(snapshot)
    }

    /// Compares the own session.
    fn is_live(&self, session: SessionId) -> Compare {
        created_at(self.keys.session(&self.description.name), session.0.0)
    }

    fn put_claim(&self, range: RangeId, node: &NodeName, session: SessionId) -> RequestOp {
        put(self.keys.claim(range), claim_value(node, session))
    }

    /// Makes the changes if all comparisons succeed.
    async fn apply(&self, compare: Vec<Compare>, success: Vec<RequestOp>) -> Result<Answer, Error> {
        let request = TxnRequest {
            compare,
            success,
            failure: Vec::new(),
        };
        let answer = self.client.transaction(request).await?;
        let header = answer.header.ok_or(Error::Answer)?;
        Ok(match answer.succeeded {
            true => Answer::Applied(revision(&header)),
            false => Answer::Refused,
        })
    }
}
