//! Each request of a node, applied and refused.

use globalcounter::cluster::{
    Answer, Claim, ClaimAttempt, Epoch, Event, Request, Revision, SessionId,
};

use crate::cluster::{LEASE, Node, applied, grant, member, name, range, state};
use crate::etcd::Etcd;

#[tokio::test]
async fn a_session_is_created_once_and_renewed() {
    let Some(etcd) = Etcd::start() else { return };
    let a = member(etcd.client(), "a").await;
    let lease = grant(&a, LEASE).await;
    let created = a.request(Request::CreateSession { lease }).await.unwrap();
    let Answer::Created(session, leadership) = created else {
        panic!("{created:?}");
    };
    let renewed = a.request(Request::Renew { lease }).await.unwrap();
    assert_eq!(renewed, Answer::Renewed(leadership));

    let same_name = member(etcd.client(), "a").await;
    let other_lease = grant(&same_name, LEASE).await;
    let request = Request::CreateSession { lease: other_lease };
    assert_eq!(same_name.request(request).await.unwrap(), Answer::Exists);

    let state = state(&a).await;
    let found = &state.sessions[&name("a")];
    assert_eq!(found.id, session);
    assert_eq!(&*found.address, "a:9999");
    assert!(!found.draining);
}

#[tokio::test]
async fn a_session_without_its_lease_is_not_created() {
    let Some(etcd) = Etcd::start() else { return };
    let a = member(etcd.client(), "a").await;
    let lease = grant(&a, LEASE).await;
    a.request(Request::Revoke { lease }).await.unwrap();
    let error = a
        .request(Request::CreateSession { lease })
        .await
        .unwrap_err();
    assert!(!error.is_unknown(), "{error}");
    assert!(state(&a).await.sessions.is_empty());
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends() {
    let Some(etcd) = Etcd::start() else { return };
    let a = member(etcd.client(), "a").await;
    let lease = grant(&a, LEASE).await;
    let created = a.request(Request::CreateSession { lease }).await.unwrap();
    let Answer::Created(session, _) = created else {
        panic!("{created:?}");
    };
    let mut watch = a.watch(session.0);
    let Event::Watched { sessions, .. } = watch.next().await else {
        panic!("the watch ended");
    };
    assert_eq!(sessions, [(name("a"), None)]);
    assert_eq!(
        a.request(Request::Renew { lease }).await.unwrap(),
        Answer::Expired
    );
}

#[tokio::test]
async fn a_range_is_claimed_by_one() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let b = Node::begin(etcd.client(), "b").await;
    let epoch = Epoch(applied(&a.request(a.claim(&[1, 2])).await));
    // One of two is taken: neither is claimed.
    assert_eq!(b.request(b.claim(&[2, 3])).await, Answer::Refused);

    let claim = Claim {
        node: name("a"),
        session: a.session,
        epoch,
    };
    let take_over = |replaced| Request::Claim {
        session: b.session,
        attempts: vec![ClaimAttempt {
            range: range(1),
            previous: Some(claim.clone()),
        }],
        replaced: vec![(name("a"), replaced)],
    };
    assert_eq!(
        b.request(take_over(None)).await,
        Answer::Refused,
        "a is live"
    );
    let other = Some(SessionId(Revision(a.session.0.0 + 1)));
    assert_eq!(
        b.request(take_over(other)).await,
        Answer::Refused,
        "a has another session"
    );
    a.end().await;
    let taken = Epoch(applied(&b.request(take_over(None)).await));
    assert!(taken > epoch);
    assert_eq!(
        b.request(take_over(None)).await,
        Answer::Refused,
        "the claim has changed"
    );

    let state = b.state().await;
    assert_eq!(state.claims.len(), 2);
    assert_eq!(state.claims[&range(1)].session, b.session);
    assert_eq!(state.claims[&range(1)].epoch, taken);
    assert_eq!(state.claims[&range(2)], claim);
}

#[tokio::test]
async fn the_claim_of_a_node_that_returned_is_replaced() {
    let Some(etcd) = Etcd::start() else { return };
    let before = Node::begin(etcd.client(), "a").await;
    let epoch = before.claim_new(1).await;
    before.end().await;
    let after = Node::begin(etcd.client(), "a").await;
    let previous = Claim {
        node: name("a"),
        session: before.session,
        epoch,
    };
    let request = Request::Claim {
        session: after.session,
        attempts: vec![ClaimAttempt {
            range: range(1),
            previous: Some(previous),
        }],
        replaced: vec![(name("a"), Some(after.session))],
    };
    applied(&after.request(request).await);
}

#[tokio::test]
async fn nothing_is_written_without_a_session() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let b = Node::begin(etcd.client(), "b").await;
    let (session, range, epoch) = (a.session, range(1), a.claim_new(1).await);
    a.end().await;
    let hand_over = Request::HandOver {
        session,
        range,
        epoch,
        to: name("b"),
        to_session: b.session,
    };
    let reclaim = Request::Reclaim {
        session,
        range,
        epoch,
    };
    for request in [
        a.claim(&[2]),
        hand_over,
        reclaim,
        Request::MarkDraining { session },
    ] {
        assert_eq!(
            a.request(request.clone()).await,
            Answer::Refused,
            "{request:?}"
        );
    }
    assert_eq!(b.state().await.claims[&range].epoch, epoch);
}

#[tokio::test]
async fn a_claim_is_written_anew_once_for_each_epoch() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let epoch = a.claim_new(1).await;
    let reclaim = Request::Reclaim {
        session: a.session,
        range: range(1),
        epoch,
    };
    let renewed = applied(&a.request(reclaim.clone()).await);
    assert!(renewed > epoch.0);
    assert_eq!(a.request(reclaim).await, Answer::Refused);
    assert_eq!(a.state().await.claims[&range(1)].epoch, Epoch(renewed));
}

#[tokio::test]
async fn a_range_is_handed_over_to_a_live_session() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let b = Node::begin(etcd.client(), "b").await;
    let gone = Node::begin(etcd.client(), "c").await;
    gone.end().await;
    let epoch = a.claim_new(1).await;
    let hand_over = |to: &str, to_session, epoch| Request::HandOver {
        session: a.session,
        range: range(1),
        epoch,
        to: name(to),
        to_session,
    };
    let refused = [
        hand_over("c", gone.session, epoch),
        hand_over("b", gone.session, epoch),
        hand_over("b", b.session, Epoch(Revision(epoch.0.0 - 1))),
    ];
    for request in refused {
        assert_eq!(
            a.request(request.clone()).await,
            Answer::Refused,
            "{request:?}"
        );
    }
    let handed = applied(&a.request(hand_over("b", b.session, epoch)).await);
    let expected = Claim {
        node: name("b"),
        session: b.session,
        epoch: Epoch(handed),
    };
    assert_eq!(b.state().await.claims[&range(1)], expected);
}

#[tokio::test]
async fn a_session_that_drains_keeps_its_identity_and_its_lease() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let b = Node::begin(etcd.client(), "b").await;
    applied(
        &a.request(Request::MarkDraining { session: a.session })
            .await,
    );
    let session = &b.state().await.sessions[&name("a")];
    assert!(session.draining);
    assert_eq!(session.id, a.session);
    a.end().await;
    assert!(!b.state().await.sessions.contains_key(&name("a")));
}

#[tokio::test]
async fn more_claims_than_a_page_are_read_at_one_revision() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let numbers: Vec<u16> = (0..1_024).collect();
    for some in numbers.chunks(32) {
        applied(&a.request(a.claim(some)).await);
    }
    let state = a.state().await;
    assert_eq!(state.claims.len(), 1_024);
    assert_eq!(state.sessions.len(), 1);
    let last = state.claims.values().map(|claim| claim.epoch.0).max();
    assert_eq!(last, Some(state.revision));
}
