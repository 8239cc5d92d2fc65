//! `globalcounter cluster drain` and `rebalance`, with nodes whose ranges really move.

use globalcounter::cluster::Request;

use crate::cluster::{Node, applied, name};
use crate::drivers::{Shared, start, wait_until_shared};
use crate::etcd::Etcd;
use crate::run::{Ran, cluster};

#[test]
fn a_drained_node_owns_nothing_until_the_cluster_is_rebalanced() {
    let Some(etcd) = Etcd::start() else { return };
    let shared = Shared::default();
    let _a = start(&etcd, &shared, "a");
    let _b = start(&etcd, &shared, "b");
    wait_until_shared(&shared, &["a", "b"]);
    let (owned, frozen) = {
        let cluster = shared.lock().unwrap();
        (cluster.served_by("a"), cluster.frozen)
    };
    let status = cluster(&etcd, &["status"]).printed();
    assert!(
        status.starts_with("whole: each of 1,024 ranges"),
        "{status}"
    );

    let printed = cluster(&etcd, &["drain", "a"]).printed();
    assert_eq!(printed, "node a owns no range\n");
    wait_until_shared(&shared, &["b"]);
    // They were handed over.
    assert_eq!(shared.lock().unwrap().frozen, frozen + owned);
    let status = cluster(&etcd, &["status"]).printed();
    assert!(status.starts_with("whole: "), "{status}");
    assert!(status.contains("\na (draining)  "), "{status}");

    // Nobody is left to drain to.
    let error = cluster(&etcd, &["drain", "b"]).refused();
    assert!(error.contains("no other node would take over"), "{error}");
    // Once more is no mistake.
    cluster(&etcd, &["drain", "a"]).printed();

    let printed = cluster(&etcd, &["rebalance"]).printed();
    assert_eq!(
        printed,
        "node a takes ranges again\n\
         all ranges are owned by the nodes that they are assigned to\n"
    );
    wait_until_shared(&shared, &["a", "b"]);
    assert_eq!(shared.lock().unwrap().served_by("a"), owned);
    // Now nothing has a mark.
    let printed = cluster(&etcd, &["rebalance"]).printed();
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

#[tokio::test]
async fn a_mark_leaves_the_session_as_it_is() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let _b = Node::begin(etcd.client(), "b").await;
    a.claim_new(1).await;
    // Nobody runs these nodes, so nothing moves.
    let error = cluster(&etcd, &["drain", "a", "--timeout", "0"]).refused();
    assert!(
        error.contains("after 0 s, node a still owns 1 range. They go on moving"),
        "{error}"
    );
    let session = a.state().await.sessions[&name("a")].clone();
    assert!(session.draining);
    assert_eq!((session.id, &*session.address), (a.session, "a:9999"));

    let ran = cluster(&etcd, &["rebalance", "--timeout", "0"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (1, "node a takes ranges again\n")
    );
    assert!(ran.errors.contains("without owner"), "{ran:?}");
    assert!(!a.state().await.sessions[&name("a")].draining);
    // It is attached to its lease still.
    applied(
        &a.request(Request::MarkDraining { session: a.session })
            .await,
    );
    a.end().await;
    assert!(!_b.state().await.sessions.contains_key(&name("a")));
}

#[tokio::test]
async fn nodes_that_cannot_be_drained_are_named() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let error = cluster(&etcd, &["drain", "c"]).refused();
    assert!(
        error.contains("there is no live node c: a is the only one"),
        "{error}"
    );
    let error = cluster(&etcd, &["drain", "a"]).refused();
    assert!(error.contains("no other node would take over"), "{error}");
    a.end().await;
    let error = cluster(&etcd, &["rebalance"]).refused();
    assert!(error.contains("no node is live"), "{error}");
    let Ran { code, .. } = cluster(&etcd, &["drain"]);
    assert_eq!(code, 2);
}
