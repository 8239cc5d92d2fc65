//! Nodes that share the ranges of a cluster. A stand-in for their shards does what it is told at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use globalcounter::cluster::{Epoch, Event, Moment, Node, NodeName, Owner, RANGES, RangeId};
use globalcounter::etcd::{Driver, Error, Events, Shards, StartError, boot_time};

use crate::cluster::{description, range};
use crate::etcd::{Etcd, settings};
use crate::support::{PATIENCE, eventually};

const LEASE: Duration = Duration::from_secs(4);

/// Who serves which range, in the whole cluster.
#[derive(Default)]
pub(crate) struct Cluster {
    owners: BTreeMap<RangeId, (String, Epoch)>,
    /// The last epoch of each range that was loaded.
    epochs: BTreeMap<RangeId, Epoch>,
    deadlines: BTreeMap<String, Moment>,
    /// Where each node would send a request for range 0.
    ways: BTreeMap<String, Owner>,
    pub(crate) frozen: usize,
    problems: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<Cluster>>;

struct StandIn {
    node: String,
    cluster: Shared,
    events: Events,
}

impl Shards for StandIn {
    fn end_deadline(&mut self) {}

    fn left(&mut self) {}

    fn set_deadline(&mut self, deadline: Moment) {
        self.cluster
            .lock()
            .unwrap()
            .deadlines
            .insert(self.node.clone(), deadline);
    }

    fn load(&mut self, range: RangeId, epoch: Epoch) {
        let mut cluster = self.cluster.lock().unwrap();
        if let Some(owner) = cluster.owners.insert(range, (self.node.clone(), epoch)) {
            let problem = format!("{} loads {range}, which {owner:?} serves", self.node);
            cluster.problems.push(problem);
        }
        if cluster
            .epochs
            .insert(range, epoch)
            .is_some_and(|last| last >= epoch)
        {
            let problem = format!("{} loads {range} at an old epoch", self.node);
            cluster.problems.push(problem);
        }
        self.events.send(Event::Loaded(range, epoch));
    }

    fn freeze(&mut self, range: RangeId, epoch: Epoch) {
        let mut cluster = self.cluster.lock().unwrap();
        cluster.frozen += 1;
        // From here on it answers no request.
        if cluster.owners.remove(&range) != Some((self.node.clone(), epoch)) {
            let problem = format!("{} freezes {range}, which it does not serve", self.node);
            cluster.problems.push(problem);
        }
        self.events.send(Event::Frozen(range, epoch));
    }

    fn drop_range(&mut self, range: RangeId) {
        self.cluster
            .lock()
            .unwrap()
            .forget(&self.node, |dropped| dropped == range);
        self.events.send(Event::Dropped(range));
    }

    fn drop_all(&mut self) {
        self.cluster.lock().unwrap().forget(&self.node, |_| true);
        self.events.send(Event::AllDropped);
    }

    fn owners_changed(&mut self, node: &Node) {
        let owner = node.owner(range(0));
        self.cluster
            .lock()
            .unwrap()
            .ways
            .insert(self.node.clone(), owner);
    }
}

impl Cluster {
    fn forget(&mut self, node: &str, is_dropped: impl Fn(RangeId) -> bool) {
        self.owners
            .retain(|&range, (owner, _)| owner != node || !is_dropped(range));
    }

    pub(crate) fn served_by(&self, node: &str) -> usize {
        self.owners
            .values()
            .filter(|(owner, _)| owner == node)
            .count()
    }
}

pub(crate) fn start(etcd: &Etcd, cluster: &Shared, node: &str) -> Driver {
    let cluster = cluster.clone();
    let name = node.to_owned();
    let shards = move |events, ranges| {
        assert_eq!(ranges, RANGES);
        StandIn {
            node: name,
            cluster,
            events,
        }
    };
    Driver::start(etcd.settings(), description(node), LEASE, shards).unwrap()
}

/// Waits until these nodes share all ranges, each with some.
pub(crate) fn wait_until_shared(cluster: &Shared, nodes: &[&str]) {
    let what = format!("{nodes:?} share the ranges");
    eventually(&what, || {
        let cluster = cluster.lock().unwrap();
        let served = nodes.iter().map(|node| cluster.served_by(node));
        let each = served
            .clone()
            .all(|served| served > usize::from(RANGES) / nodes.len() / 2);
        each && served.sum::<usize>() == usize::from(RANGES)
    });
    assert_eq!(cluster.lock().unwrap().problems, [""; 0]);
}

#[test]
fn another_node_takes_over_when_one_dies() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Shared::default();
    let a = start(&etcd, &cluster, "a");
    let _b = start(&etcd, &cluster, "b");
    wait_until_shared(&cluster, &["a", "b"]);
    drop(a);
    cluster.lock().unwrap().forget("a", |_| true);
    let died = Instant::now();
    wait_until_shared(&cluster, &["b"]);
    let took = died.elapsed();
    println!("all ranges are served again after {} ms", took.as_millis());
    assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_node_that_leaves_hands_over_its_ranges() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Shared::default();
    let a = start(&etcd, &cluster, "a");
    let _b = start(&etcd, &cluster, "b");
    wait_until_shared(&cluster, &["a", "b"]);
    let (moved, frozen) = {
        let cluster = cluster.lock().unwrap();
        (cluster.served_by("a"), cluster.frozen)
    };
    assert!(a.leave(PATIENCE));
    wait_until_shared(&cluster, &["b"]);
    assert_eq!(cluster.lock().unwrap().frozen, frozen + moved);
    // Its session has ended too: the name is free at once.
    let _a = start(&etcd, &cluster, "a");
    wait_until_shared(&cluster, &["a", "b"]);
}

#[test]
fn the_last_node_leaves_too() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Shared::default();
    let a = start(&etcd, &cluster, "a");
    wait_until_shared(&cluster, &["a"]);
    assert!(a.leave(PATIENCE));
    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.owners.len(), 0);
    assert_eq!(cluster.frozen, usize::from(RANGES));
}

#[test]
fn a_node_cannot_leave_without_etcd_but_it_stops() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let cluster = Shared::default();
    let a = start(&etcd, &cluster, "a");
    wait_until_shared(&cluster, &["a"]);
    etcd.kill();
    assert!(!a.leave(Duration::from_millis(500)));
    // The driver has ended, and with it the stand-in for its shards.
    assert_eq!(Arc::strong_count(&cluster), 1);
}

#[test]
fn each_node_knows_the_others_address() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Shared::default();
    let _a = start(&etcd, &cluster, "a");
    let _b = start(&etcd, &cluster, "b");
    wait_until_shared(&cluster, &["a", "b"]);
    eventually("both know the owner", || {
        let cluster = cluster.lock().unwrap();
        let owner = &cluster.owners[&range(0)].0;
        let elsewhere = Owner::Other(NodeName::new(owner), format!("{owner}:9999").into());
        ["a", "b"].iter().all(|node| {
            let expected = if node == owner {
                &Owner::ThisNode
            } else {
                &elsewhere
            };
            cluster.ways.get(*node) == Some(expected)
        })
    });
}

#[test]
fn a_node_goes_on_after_a_restart_of_etcd() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let cluster = Shared::default();
    let a = start(&etcd, &cluster, "a");
    wait_until_shared(&cluster, &["a"]);
    etcd.kill();
    etcd.start_again();
    let restarted = boot_time();
    // A renewal counts again.
    eventually("the deadline moves", || {
        cluster.lock().unwrap().deadlines["a"] > restarted + LEASE
    });
    let _b = start(&etcd, &cluster, "b");
    wait_until_shared(&cluster, &["a", "b"]);
    assert!(a.leave(PATIENCE));
    wait_until_shared(&cluster, &["b"]);
}

#[test]
fn a_node_does_not_start_without_etcd_or_in_another_format() {
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let shards = |events, _| StandIn {
        node: "a".to_owned(),
        cluster: Shared::default(),
        events,
    };
    let started = Driver::start(settings(&[nobody]), description("a"), LEASE, shards);
    assert!(
        matches!(started, Err(StartError::Etcd(Error::Connect { .. }))),
        "{started:?}"
    );

    let Some(etcd) = Etcd::start() else { return };
    etcd.put("/test/format", "2");
    etcd.put("/test/ranges", "1024");
    let started = Driver::start(etcd.settings(), description("a"), LEASE, shards);
    let Err(error) = started else {
        panic!("it started");
    };
    assert!(error.to_string().contains(r#""/test/format""#), "{error}");
}
