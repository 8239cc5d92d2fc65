//! What a watch reports, and when it ends.

use std::time::Duration;

use globalcounter::cluster::{Event, Request, Revision};
use globalcounter::etcd::{Ceiling, Ceilings, Change, Client, Description, Watch};
use tokio::time::timeout;

use crate::cluster::{Node, applied, description, grant, name, range};
use crate::etcd::{Etcd, settings};
use crate::relay::{Relay, Swallow};
use crate::support::PATIENCE;

async fn next(watch: &mut Watch) -> Event {
    timeout(PATIENCE, watch.next()).await.expect("an event")
}

/// The revision of the next change.
async fn next_revision(watch: &mut Watch) -> Revision {
    match next(watch).await {
        Event::Watched { revision, .. } => revision,
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn each_revision_is_one_event() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let mut watch = a.member.watch(a.session.0);
    let claimed = applied(&a.request(a.claim(&[1, 2, 3])).await);
    // Ceilings are not watched.
    let epochs = [(range(1), globalcounter::cluster::Epoch(claimed))];
    let change = Change {
        range: range(1),
        topic: "x",
        ceiling: Some(Ceiling {
            ceiling: 1,
            exact: false,
        }),
    };
    Ceilings::new(etcd.client())
        .commit(&epochs, &[change])
        .await
        .unwrap()
        .unwrap();
    let b = Node::begin(etcd.client(), "b").await;
    let state = a.state().await;
    a.end().await;

    let expected = Event::Watched {
        revision: claimed,
        sessions: Vec::new(),
        claims: state.claims.clone().into_iter().collect(),
    };
    assert_eq!(next(&mut watch).await, expected);
    let expected = Event::Watched {
        revision: b.session.0,
        sessions: vec![(name("b"), Some(state.sessions[&name("b")].clone()))],
        claims: Vec::new(),
    };
    assert_eq!(next(&mut watch).await, expected);
    let Event::Watched { sessions, .. } = next(&mut watch).await else {
        panic!("the watch ended");
    };
    assert_eq!(sessions, [(name("a"), None)]);
}

#[tokio::test]
async fn a_watch_goes_on_while_nothing_happens() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let mut watch = a.member.watch(a.session.0);
    // Longer than etcd may say nothing.
    let idle = timeout(Duration::from_secs(5), watch.next()).await;
    assert!(idle.is_err(), "{idle:?}");
    let claimed = a.claim_new(1).await;
    assert_eq!(next_revision(&mut watch).await, claimed.0);
}

#[tokio::test]
async fn a_watch_of_compacted_revisions_ends() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let mut compacted = Revision(0);
    for number in 0..5 {
        compacted = a.claim_new(number).await.0;
    }
    etcd.client().compact(compacted).await.unwrap();
    assert_eq!(
        next(&mut a.member.watch(a.session.0)).await,
        Event::WatchBroken
    );

    // A new one, from what is read now, goes on.
    let mut watch = a.member.watch(a.state().await.revision);
    let claimed = a.claim_new(5).await;
    assert_eq!(next_revision(&mut watch).await, claimed.0);
}

#[tokio::test]
async fn fragments_are_put_together() {
    let Some(etcd) = Etcd::start() else { return };
    // etcd splits answers of more than 2 MiB.
    let large = Description {
        address: "x".repeat(100_000).into(),
        ..description("a")
    };
    let member = globalcounter::etcd::Member::join(etcd.client(), large)
        .await
        .unwrap();
    let lease = grant(&member, Duration::from_secs(600)).await;
    let created = member
        .request(Request::CreateSession { lease })
        .await
        .unwrap();
    let globalcounter::cluster::Answer::Created(session, _) = created else {
        panic!("{created:?}");
    };
    let mut written = Vec::new();
    for _ in 0..40 {
        let marked = member
            .request(Request::MarkDraining { session })
            .await
            .unwrap();
        written.push(applied(&marked));
    }
    let mut watch = member.watch(session.0);
    for expected in written {
        assert_eq!(next_revision(&mut watch).await, expected);
    }
}

#[tokio::test]
async fn a_watch_ends_with_etcd() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let a = Node::begin(etcd.client(), "a").await;
    let claimed = a.claim_new(1).await;
    let mut watch = a.member.watch(a.session.0);
    assert_eq!(next_revision(&mut watch).await, claimed.0);
    etcd.kill();
    assert_eq!(next(&mut watch).await, Event::WatchBroken);
    etcd.start_again();
    let state = a.state().await;
    assert_eq!(state.claims[&range(1)].epoch, claimed);
    let mut watch = a.member.watch(state.revision);
    let claimed = a.claim_new(2).await;
    assert_eq!(next_revision(&mut watch).await, claimed.0);
}

#[tokio::test]
async fn a_silent_watch_ends() {
    let Some(etcd) = Etcd::start() else { return };
    let relay = Relay::to(etcd.address()).await;
    let a = Node::begin(Client::new(settings(&[relay.address])), "a").await;
    let mut watch = a.member.watch(a.session.0);
    let claimed = a.claim_new(1).await;
    assert_eq!(next_revision(&mut watch).await, claimed.0);
    relay.swallow(Swallow::Everything);
    assert_eq!(next(&mut watch).await, Event::WatchBroken);
}

#[tokio::test]
async fn a_change_that_is_not_understood_ends_the_watch() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    for (key, value) in [("/test/claims/0001", "x"), ("/test/leader", "a")] {
        let mut watch = a.member.watch(a.state().await.revision);
        etcd.put(key, value);
        assert_eq!(next(&mut watch).await, Event::WatchBroken, "{key}");
        etcd.delete(key);
    }
}
