//! The creation of a cluster, and what is refused.

use globalcounter::cluster::{RANGES, Request};
use globalcounter::etcd::{Error, Member};

use crate::cluster::{Node, description, member};
use crate::etcd::Etcd;

/// Joins a cluster that is not to be joined. Returns the key that the error names.
async fn refused(etcd: &Etcd) -> String {
    match Member::join(etcd.client(), description("a")).await {
        Err(Error::NotUnderstood { key, .. } | Error::Format { key, .. }) => key,
        result => panic!("{result:?}"),
    }
}

#[tokio::test]
async fn the_first_node_creates_the_cluster() {
    let Some(etcd) = Etcd::start() else { return };
    for node in ["a", "b"] {
        assert_eq!(member(etcd.client(), node).await.ranges(), RANGES);
    }
}

#[tokio::test]
async fn clusters_with_other_prefixes_do_not_matter() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.put("/testing/format", "7");
    etcd.put("/test", "x");
    assert_eq!(member(etcd.client(), "a").await.ranges(), RANGES);
}

#[tokio::test]
async fn the_number_of_ranges_is_that_of_the_cluster() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.put("/test/format", "1");
    etcd.put("/test/ranges", "64");
    assert_eq!(member(etcd.client(), "a").await.ranges(), 64);
    etcd.put("/test/ranges", "60");
    assert_eq!(refused(&etcd).await, "/test/ranges");
}

#[tokio::test]
async fn another_format_is_refused() {
    let Some(etcd) = Etcd::start() else { return };
    member(etcd.client(), "a").await;
    etcd.put("/test/format", "2");
    assert_eq!(refused(&etcd).await, "/test/format");
}

#[tokio::test]
async fn a_prefix_with_something_else_is_refused() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.put("/test/leader", "x");
    assert_eq!(refused(&etcd).await, "/test/leader");
}

#[tokio::test]
async fn what_is_not_understood_is_named() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let entries = [
        ("/test/claims/0001", "a"),
        ("/test/claims/9999", r#"{"node":"a","session":1}"#),
        ("/test/sessions/b", "{}"),
        ("/test/leader", "a"),
    ];
    for (key, value) in entries {
        etcd.put(key, value);
        assert_eq!(refused(&etcd).await, key);
        let error = a.member.request(Request::ReadState).await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
        etcd.delete(key);
    }
    a.state().await;
}
