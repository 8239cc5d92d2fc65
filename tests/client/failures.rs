//! Nodes that are gone, that cannot serve at the moment, or that serve without an answer. A request is sent
//! again only if it was certainly not applied.

use std::time::{Duration, Instant};

use globalcounter::client::Options;
use globalcounter::protocol::ErrorCode;

use crate::scripted::{Act, LOWER, UPPER, topic, topics};
use crate::wait::eventually;
use crate::{A, B, Pair};

#[test]
fn a_node_that_is_gone_before_a_request_is_sent_is_replaced() {
    let mut pair = Pair::start();
    let client = pair.connected();
    pair.b.kill();
    for topic in topics(UPPER).take(10) {
        let sum = client.count(&topic).unwrap();
        assert!((A..B).contains(&sum), "{topic}");
    }
    assert_eq!(pair.a.take_received().len(), 10);
    // The first node is not the only one that can stand in.
    let mut pair = Pair::start();
    let client = pair.connected();
    pair.a.kill();
    assert!(client.count(&topic(LOWER)).unwrap() > B);
}

#[test]
fn a_request_that_a_node_may_have_applied_is_not_sent_again() {
    let pair = Pair::start();
    let client = pair.connected();
    pair.b.act(|_| Act::Close);
    let sent = topic(UPPER);
    let error = client.count(&sent).unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert!(error.may_have_been_applied());
    assert_eq!(pair.b.take_received(), [&*sent]);
    assert!(pair.a.take_received().is_empty());
    // The next call goes to a node that is not gone, unless this one has been reached again by then.
    let asked = pair.a.asked();
    eventually("the client asks for the map and counts again", || {
        client.count(&sent).is_ok() && pair.a.asked() > asked
    });
}

#[test]
fn an_unknown_outcome_is_told_at_once() {
    let pair = Pair::start();
    let client = pair.connected();
    pair.b.act(|_| Act::Refuse(ErrorCode::Unknown));
    pair.set_owners(&[LOWER, UPPER], &[]);
    let error = client.count(&topic(UPPER)).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unknown));
    assert!(error.may_have_been_applied(), "{error}");
    assert_eq!(pair.b.take_received().len(), 1);
    assert!(pair.a.take_received().is_empty());
    eventually("the client has asked for the map", || {
        client.count(&topic(UPPER)).is_ok()
    });
}

#[test]
fn a_call_waits_until_its_topic_can_be_served() {
    let pair = Pair::start();
    let client = pair.connected();
    for code in [ErrorCode::Unavailable, ErrorCode::NotOwner, ErrorCode::Busy] {
        for node in [&pair.a, &pair.b] {
            let mut refusals = 2;
            node.act(move |_| match refusals {
                0 => Act::Serve,
                _ => {
                    refusals -= 1;
                    Act::Refuse(code)
                }
            });
        }
        client.count(&topic(UPPER)).unwrap();
        let attempts = pair.a.take_received().len() + pair.b.take_received().len();
        assert!((3..=5).contains(&attempts), "{code}: {attempts}");
    }
}

#[test]
fn a_call_that_cannot_be_served_in_time_fails_as_not_applied() {
    let pair = Pair::start();
    let limit = Duration::from_secs(1);
    let client = pair.connected_with(Options::default().timeout(limit));
    for code in [ErrorCode::Unavailable, ErrorCode::NotOwner, ErrorCode::Busy] {
        for node in [&pair.a, &pair.b] {
            node.act(move |_| Act::Refuse(code));
        }
        let start = Instant::now();
        let error = client.count(&topic(UPPER)).unwrap_err();
        assert!(start.elapsed() < limit * 5, "{:?}", start.elapsed());
        assert_eq!(error.code(), Some(code));
        assert!(!error.may_have_been_applied(), "{error}");
        // With pauses: a cluster without owner is not flooded.
        let attempts = pair.a.take_received().len() + pair.b.take_received().len();
        assert!((2..=10).contains(&attempts), "{code}: {attempts}");
    }
}

#[test]
fn other_errors_are_final() {
    let pair = Pair::start();
    let client = pair.connected();
    let asked = pair.a.asked() + pair.b.asked();
    for code in [
        ErrorCode::Overflow,
        ErrorCode::Denied,
        ErrorCode::TooManyTopics,
    ] {
        pair.b.act(move |_| Act::Refuse(code));
        let error = client.count(&topic(UPPER)).unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(!error.may_have_been_applied(), "{error}");
        assert_eq!(pair.b.take_received().len(), 1);
    }
    assert!(pair.a.take_received().is_empty());
    assert_eq!(pair.a.asked() + pair.b.asked(), asked);
}

#[test]
fn a_node_that_is_silent_is_replaced_for_later_calls() {
    let pair = Pair::start();
    let client = pair.connected_with(Options::default().timeout(Duration::from_millis(500)));
    pair.b.act(|_| Act::Nothing);
    let error = client.count(&topic(UPPER)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(error.may_have_been_applied());
    assert!(pair.a.take_received().is_empty());
    // Another node is used until the silent one answers again.
    pair.set_owners(&[LOWER, UPPER], &[]);
    eventually("another node counts", || {
        client.count(&topic(UPPER)).is_ok_and(|sum| sum < B)
    });
}

#[test]
fn when_all_nodes_are_gone_a_call_fails_as_not_applied() {
    let mut pair = Pair::start();
    let client = pair.connected();
    pair.a.kill();
    pair.b.kill();
    for _ in 0..3 {
        let error = client.count(&topic(UPPER)).unwrap_err();
        assert!(error.is_disconnected(), "{error}");
        assert!(!error.may_have_been_applied());
    }
    let error = client.ping().unwrap_err();
    assert!(error.is_disconnected(), "{error}");
}
