//! Servers that are nodes of a cluster: what each tells about itself, the other and the cluster.

use std::net::SocketAddr;
use std::time::Duration;

use globalcounter::cluster::NodeName;
use globalcounter::etcd::Settings;
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::{ClusterConfig, ClusterSnapshot, Config, RangesSnapshot, State};
use tokio::runtime::Runtime;

use crate::etcd::{Etcd, settings};
use crate::relay::{Relay, Swallow};
use crate::support::{Embedded, Framed, config, eventually, info, info_field};

const RANGES: u64 = globalcounter::cluster::RANGES as u64;

/// Starts a server that is a node of a cluster.
/// The shortest one: tests wait until it is over.
const LEASE: Duration = Duration::from_secs(2);

fn node(name: &str, etcd: Settings) -> Embedded {
    let cluster = ClusterConfig {
        node: Some(NodeName::new(name)),
        lease: LEASE,
        ..ClusterConfig::new(etcd)
    };
    Embedded::with(Config {
        cluster: Some(cluster),
        ..config(2)
    })
}

fn snapshot(node: &Embedded) -> ClusterSnapshot {
    node.monitor.cluster().unwrap()
}

/// Waits until all ranges are served by these nodes, and each of them knows it.
fn wait_until_shared(nodes: &[&Embedded]) {
    eventually("all ranges are served", || {
        let ranges: Vec<RangesSnapshot> = nodes.iter().map(|node| snapshot(node).ranges).collect();
        let served: u64 = ranges.iter().map(|ranges| ranges.serving).sum();
        let is_known = |ranges: &RangesSnapshot| {
            ranges.serving > 0 && ranges.serving + ranges.others == RANGES
        };
        served == RANGES && ranges.iter().all(is_known)
    });
}

fn topics() -> impl Iterator<Item = String> {
    (0..64).map(|number| format!("orders/{number}"))
}

/// Counts each topic once, and checks its sum.
fn count(tcp: SocketAddr, sum: u64) {
    let mut framed = Framed::connect(tcp);
    for topic in topics() {
        assert_eq!(framed.ask(Op::Count, &topic), Reply::Count(sum), "{topic}");
    }
}

#[test]
fn nodes_tell_of_ranges_forwards_and_moves() {
    let Some(etcd) = Etcd::start() else { return };
    let a = node("a", etcd.settings());
    wait_until_shared(&[&a]);
    assert_eq!(a.monitor.state(), State::Ready);
    let b = node("b", etcd.settings());
    wait_until_shared(&[&a, &b]);

    count(a.tcp, 1);
    count(b.tcp, 2);
    let (of_a, of_b) = (snapshot(&a), snapshot(&b));
    for (name, own, other) in [("a", &of_a, &of_b), ("b", &of_b, &of_a)] {
        assert_eq!(own.node, name);
        assert!(own.in_session && own.lease_seconds_left > 0.0, "{own:?}");
        let nodes: Vec<_> = own
            .nodes
            .iter()
            .map(|node| (&node.name, node.ranges))
            .collect();
        let expected = [
            (&own.node, own.ranges.serving),
            (&other.node, other.ranges.serving),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(own.nodes[1].address, other.address);
        let forwards = own.forwards;
        assert!((1..64).contains(&forwards.sent), "{forwards:?}");
        assert_eq!(
            (forwards.answered, forwards.not_applied),
            (forwards.sent, 0)
        );
        assert_eq!(forwards.received, other.forwards.sent);
        assert!((1..=2).contains(&forwards.connections), "{forwards:?}");
        let now = (
            forwards.waiting,
            forwards.in_flight,
            forwards.held_by_shards,
        );
        assert_eq!(now, (0, 0, 0));
        assert_eq!(
            (forwards.unavailable, forwards.unknown, forwards.busy),
            (0, 0, 0)
        );
        assert_eq!((own.moves.lost, own.moves.commits_failed), (0, 0));
        assert!(own.moves.longest_load_seconds > 0.0 && own.moves.highest_epoch > 0);
    }
    // Each topic was forwarded by one of them.
    assert_eq!(of_a.forwards.sent + of_b.forwards.sent, 64);
    assert_eq!(
        (of_a.moves.loaded, of_b.moves.loaded),
        (RANGES, of_b.ranges.serving)
    );
    assert_eq!(
        (of_a.moves.handed_over, of_b.moves.handed_over),
        (of_b.moves.loaded, 0)
    );
    assert!(of_b.moves.highest_epoch > of_a.moves.highest_epoch);

    let all = b.monitor.snapshot();
    assert_eq!(
        all.cluster.map(|cluster| cluster.node),
        Some("b".to_owned())
    );
    assert_eq!(
        (&*all.durability, all.loaded.is_none()),
        ("monotonic", true)
    );
    assert!(all.commits.unwrap().commits > 0);
    let map = b.monitor.cluster_map().unwrap();
    let owned = |node| {
        map.owners
            .iter()
            .filter(|owner| **owner == Some(node))
            .count() as u64
    };
    assert_eq!(
        (owned(0), owned(1)),
        (of_b.ranges.serving, of_a.ranges.serving)
    );

    let text = info(a.tcp, "cluster");
    let serving = of_a.ranges.serving.to_string();
    let sent = of_a.forwards.sent.to_string();
    for (field, value) in [
        ("cluster_enabled", "1"),
        ("cluster_node", "a"),
        ("cluster_in_session", "1"),
        ("cluster_nodes_known", "2"),
        ("cluster_ranges_serving", &*serving),
        ("cluster_ranges_without_owner", "0"),
        ("cluster_forwards_sent", &*sent),
        ("cluster_forwards_answered", &*sent),
        ("cluster_ranges_lost", "0"),
    ] {
        assert_eq!(info_field(&text, field), value, "{field}");
    }
    let other = format!(
        "name=b,address={},ranges={}",
        of_b.address, of_b.ranges.serving
    );
    assert_eq!(info_field(&text, "cluster_node1"), other);
    let persistence = info(a.tcp, "persistence");
    assert_eq!(info_field(&persistence, "durability"), "monotonic");
    assert_eq!(info_field(&persistence, "aof_enabled"), "1");
}

#[test]
fn a_node_that_stops_is_leaving_and_hands_over_everything() {
    let Some(etcd) = Etcd::start() else { return };
    let a = node("a", etcd.settings());
    let b = node("b", etcd.settings());
    wait_until_shared(&[&a, &b]);
    // Another process with its name gets no session.
    let twin = node("b", etcd.settings());
    assert_eq!(twin.monitor.state(), State::NoSession);
    assert_eq!(snapshot(&twin).ranges.serving, 0);
    drop(twin);
    let served = snapshot(&b).ranges.serving;

    b.begin_stop();
    assert_eq!(b.monitor.state(), State::Leaving);
    wait_until_shared(&[&a]);
    // The other node may serve a range before this one has heard that it was given away.
    eventually("b has given its ranges away", || {
        snapshot(&b).moves.handed_over >= served
    });
    let moves = snapshot(&b).moves;
    assert_eq!((moves.handed_over, moves.lost), (served, 0));
    let nodes = snapshot(&a).nodes;
    assert_eq!((nodes.len(), nodes[0].ranges), (1, RANGES));
}

/// To the other node, one that does not reach etcd has crashed.
#[test]
fn a_node_without_etcd_tells_of_it_and_the_other_takes_its_ranges() {
    let Some(etcd) = Etcd::start() else { return };
    let runtime = Runtime::new().unwrap();
    let relay = runtime.block_on(Relay::to(etcd.address()));
    let a = node("a", etcd.settings());
    wait_until_shared(&[&a]);
    let b = node("b", settings(&[relay.address]));
    wait_until_shared(&[&a, &b]);
    count(a.tcp, 1);
    let before = (snapshot(&a), snapshot(&b));

    relay.swallow(Swallow::Everything);
    eventually("the lease of b is over", || {
        b.monitor.state() == State::LeaseOver
    });
    let over = snapshot(&b);
    assert!(
        over.in_session && over.lease_seconds_left == 0.0,
        "{over:?}"
    );
    // It still has what it had, for the case that its lease has not ended.
    assert_eq!(over.ranges, before.1.ranges);
    wait_until_shared(&[&a]);
    let alone = snapshot(&a);
    assert_eq!((alone.nodes.len(), alone.ranges.others), (1, 0));
    assert_eq!(alone.moves.lost, 0);
    let taken = alone.moves.loaded - before.0.moves.loaded;
    assert_eq!(taken, before.1.ranges.serving);
    assert!(alone.map > before.0.map);

    // It refuses requests for its own topics, and forwards those for the topics of a.
    let mut framed = Framed::connect(b.tcp);
    let replies = topics().map(|topic| framed.ask(Op::Count, &topic));
    let (refused, counted): (Vec<_>, Vec<_>) =
        replies.partition(|reply| *reply == Reply::Error(ErrorCode::Unavailable));
    assert!(
        counted.iter().all(|reply| *reply == Reply::Count(2)),
        "{counted:?}"
    );
    assert_eq!(refused.len() as u64, before.0.forwards.sent);

    relay.swallow(Swallow::Nothing);
    wait_until_shared(&[&a, &b]);
    assert_eq!(b.monitor.state(), State::Ready);
    let back = snapshot(&b);
    assert_eq!(
        (back.moves.lost, back.moves.handed_over),
        (before.1.ranges.serving, 0)
    );
    assert!(back.moves.highest_epoch > before.1.moves.highest_epoch);
    assert_eq!(snapshot(&a).moves.lost, 0);
}
