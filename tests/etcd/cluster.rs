//! Members of a cluster, and what they usually do first.

use std::time::Duration;

use globalcounter::cluster::{
    Answer, ClaimAttempt, Epoch, LeaseId, NodeName, RANGES, RangeId, Request, Revision, SessionId,
    Snapshot,
};
use globalcounter::etcd::{Client, Description, Member};

/// The shortest lease that etcd grants with its usual time for elections.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) fn name(name: &str) -> NodeName {
    NodeName::new(name)
}

pub(crate) fn range(number: u16) -> RangeId {
    RangeId::new(number, RANGES).unwrap()
}

pub(crate) fn description(node: &str) -> Description {
    Description {
        name: name(node),
        address: format!("{node}:9999").into(),
        started: 1_800_000_000,
    }
}

pub(crate) async fn member(client: Client, node: &str) -> Member {
    Member::join(client, description(node)).await.unwrap()
}

/// A member with a session of ten minutes.
pub(crate) struct Node {
    pub(crate) member: Member,
    pub(crate) lease: LeaseId,
    pub(crate) session: SessionId,
}

impl Node {
    pub(crate) async fn begin(client: Client, node: &str) -> Self {
        let member = member(client, node).await;
        let lease = grant(&member, Duration::from_secs(600)).await;
        let created = member
            .request(Request::CreateSession { lease })
            .await
            .unwrap();
        let Answer::Created(session, _) = created else {
            panic!("{created:?}");
        };
        Self {
            member,
            lease,
            session,
        }
    }

    pub(crate) async fn request(&self, request: Request) -> Answer {
        self.member.request(request).await.unwrap()
    }

    /// Claims a range that nobody has claimed before.
    pub(crate) async fn claim_new(&self, number: u16) -> Epoch {
        let answer = self.request(self.claim(&[number])).await;
        Epoch(applied(&answer))
    }

    pub(crate) fn claim(&self, numbers: &[u16]) -> Request {
        let attempts = numbers.iter().map(|&number| ClaimAttempt {
            range: range(number),
            previous: None,
        });
        Request::Claim {
            session: self.session,
            attempts: attempts.collect(),
            replaced: Vec::new(),
        }
    }

    pub(crate) async fn end(&self) {
        self.request(Request::Revoke { lease: self.lease }).await;
    }

    pub(crate) async fn state(&self) -> Snapshot {
        state(&self.member).await
    }
}

pub(crate) async fn grant(member: &Member, ttl: Duration) -> LeaseId {
    match member.request(Request::Grant { ttl }).await.unwrap() {
        Answer::Granted(lease) => lease,
        answer => panic!("{answer:?}"),
    }
}

pub(crate) async fn state(member: &Member) -> Snapshot {
    match member.request(Request::ReadState).await.unwrap() {
        Answer::State(snapshot) => snapshot,
        answer => panic!("{answer:?}"),
    }
}

pub(crate) fn applied(answer: &Answer) -> Revision {
    match answer {
        Answer::Applied(revision) => *revision,
        answer => panic!("{answer:?}"),
    }
}
