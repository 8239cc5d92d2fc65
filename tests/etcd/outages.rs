//! Lost answers, dead and silent members.

use std::net::{SocketAddr, TcpListener};

use globalcounter::cluster::{Answer, Epoch, Request};
use globalcounter::etcd::{Ceiling, Ceilings, Change, Client, Error, Member, REQUEST_TIMEOUT};
use tokio::time::Instant;

use crate::cluster::{Node, description, range};
use crate::etcd::{Etcd, settings};
use crate::relay::{Relay, Swallow};

/// An address at which nobody listens.
fn dead() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_is_unknown_and_may_take_effect() {
    let Some(etcd) = Etcd::start() else { return };
    let relay = Relay::to(etcd.address()).await;
    let a = Node::begin(Client::new(settings(&[relay.address])), "a").await;
    relay.swallow(Swallow::Answers);
    let error = a.member.request(a.claim(&[1])).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");

    // The next request connects anew, and finds what the lost one did.
    relay.swallow(Swallow::Nothing);
    let claims = a.state().await.claims;
    assert_eq!(claims[&range(1)].session, a.session);
}

#[tokio::test]
async fn each_request_ends_in_time_with_an_unknown_outcome() {
    let Some(etcd) = Etcd::start() else { return };
    let relay = Relay::to(etcd.address()).await;
    let client = Client::new(settings(&[relay.address]));
    let a = Node::begin(client.clone(), "a").await;
    let (session, lease, range, epoch) = (a.session, a.lease, range(1), a.claim_new(1).await);
    let requests = [
        Request::Grant {
            ttl: REQUEST_TIMEOUT,
        },
        Request::CreateSession { lease },
        Request::Renew { lease },
        Request::Reclaim {
            session,
            range,
            epoch,
        },
        Request::MarkDraining { session },
        Request::ReadState,
    ];
    for request in requests {
        // The connection is made before, so that the request is lost and not the connection.
        relay.swallow(Swallow::Nothing);
        a.state().await;
        relay.swallow(Swallow::Everything);
        let began = Instant::now();
        let error = a.member.request(request.clone()).await.unwrap_err();
        assert!(error.is_unknown(), "{request:?}: {error}");
        assert!(began.elapsed() < 2 * REQUEST_TIMEOUT, "{request:?}");
    }
    relay.swallow(Swallow::Nothing);
    a.state().await;
    relay.swallow(Swallow::Everything);
    let change = Change {
        range,
        topic: "x",
        ceiling: Some(Ceiling {
            ceiling: 1,
            exact: false,
        }),
    };
    let error = Ceilings::new(client)
        .commit(&[(range, epoch)], &[change])
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test]
async fn a_renewal_after_which_the_read_is_lost_does_not_count() {
    let Some(etcd) = Etcd::start() else { return };
    let relay = Relay::to(etcd.address()).await;
    let a = Node::begin(Client::new(settings(&[relay.address])), "a").await;
    relay.swallow(Swallow::Answers);
    let error = a
        .member
        .request(Request::Renew { lease: a.lease })
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error}");
    relay.swallow(Swallow::Nothing);
    let renewed = a.request(Request::Renew { lease: a.lease }).await;
    assert!(matches!(renewed, Answer::Renewed(_)), "{renewed:?}");
}

#[tokio::test]
async fn a_dead_member_is_passed_over() {
    let Some(etcd) = Etcd::start() else { return };
    let client = Client::new(settings(&[dead(), dead(), etcd.address()]));
    let a = Node::begin(client, "a").await;
    a.claim_new(1).await;
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_left_after_one_request() {
    let Some(etcd) = Etcd::start() else { return };
    let relay = Relay::to(etcd.address()).await;
    let client = Client::new(settings(&[relay.address, etcd.address()]));
    let a = Node::begin(client, "a").await;
    relay.swallow(Swallow::Everything);
    let error = a.member.request(Request::ReadState).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
    let epoch = a.claim_new(1).await;
    assert!(epoch > Epoch::default());
}

#[tokio::test]
async fn a_request_that_was_not_sent_is_known_to_have_no_effect() {
    let joined = Member::join(Client::new(settings(&[dead()])), description("a")).await;
    let error = joined.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(!error.is_unknown());
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
