//! Each request goes to the owner of its topic, as far as the client can reach it.

use std::thread;

use globalcounter::blocking::Client;
use globalcounter::client::Options;
use globalcounter::protocol::ErrorCode;
use globalcounter::server::{Config, Server};

use crate::scripted::{Act, LOWER, Node, UPPER, map, topic, topics};
use crate::wait::eventually;
use crate::{A, B, Pair};

#[test]
fn each_request_goes_to_the_owner_of_its_topic() {
    let pair = Pair::start();
    let client = pair.connected();
    for (slots, first_sum) in [(LOWER, A), (UPPER, B)] {
        for topic in topics(slots).take(50) {
            let sum = client.count(&topic).unwrap();
            assert!((first_sum..first_sum + 1_000).contains(&sum), "{topic}");
            assert_eq!(client.get(&topic).unwrap(), sum);
        }
    }
    assert_eq!(pair.a.take_received().len(), 100);
    assert_eq!(pair.b.take_received().len(), 100);
    client.ping().unwrap();
    assert_eq!((pair.a.connections(), pair.b.connections()), (1, 1));
}

/// Until then, another node forwards its requests.
#[test]
fn the_first_call_for_an_owner_does_not_wait_for_a_connection() {
    let pair = Pair::start();
    let client = pair.client();
    assert_eq!(client.count(&topic(UPPER)).unwrap(), A + 1);
    let again = pair.connected();
    assert!(again.count(&topic(UPPER)).unwrap() > B);
}

#[test]
fn a_client_aware_of_shards_has_a_connection_to_each_shard_of_each_node() {
    let pair = Pair::start();
    let client = pair.connected_with(Options::default().shard_aware(true));
    for topic in topics(UPPER).take(20) {
        assert!(client.count(&topic).unwrap() > B);
    }
    for topic in topics(LOWER).take(20) {
        assert!(client.count(&topic).unwrap() < B);
    }
    // One more asks for the number of shards.
    assert_eq!((pair.a.connections(), pair.b.connections()), (3, 3));
}

/// Counts of one topic are merged on the connection to its owner, as with one server.
#[test]
fn many_threads_share_the_connections() {
    let pair = Pair::start();
    let client = pair.connected();
    let mut sums: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..50)
                        .map(|_| client.count(&topic(UPPER)).unwrap())
                        .collect()
                })
            })
            .collect();
        let sums = threads.into_iter();
        sums.flat_map(|thread| -> Vec<u64> { thread.join().unwrap() })
            .collect()
    });
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), 400);
    assert!(pair.a.take_received().is_empty());
    assert_eq!(pair.b.connections(), 1);
}

#[test]
fn a_request_is_sent_to_the_new_owner_after_not_owner() {
    let pair = Pair::start();
    let client = pair.connected();
    let moved = topic(UPPER);
    pair.set_owners(&[LOWER, UPPER], &[]);
    pair.b.act(|_| Act::Refuse(ErrorCode::NotOwner));
    assert!(client.count(&moved).unwrap() < B);
    assert_eq!(pair.b.take_received(), [&*moved]);
    assert_eq!(pair.a.take_received(), [&*moved]);
    eventually("the client has the new map", || {
        client.count(&moved).unwrap();
        pair.b.take_received().is_empty()
    });
}

/// The map tells addresses that clients cannot use.
#[test]
fn a_node_that_cannot_be_reached_has_its_requests_forwarded() {
    let pair = Pair::start();
    let closed = {
        let mut node = Node::start(0);
        node.kill();
        node.address.to_string()
    };
    for address in [closed.as_str(), "", "no-host.invalid:9999", "no port"] {
        pair.a
            .set_map(map(8, &[("a.invalid:1", &[LOWER]), (address, &[UPPER])]));
        let url = format!("tcp://{},127.0.0.1:1", pair.a.address);
        let client = Client::connect(&url).unwrap();
        for slots in [LOWER, UPPER] {
            for topic in topics(slots).take(5) {
                client.count(&topic).unwrap();
            }
        }
        assert_eq!(pair.a.take_received().len(), 10, "{address}");
    }
}

#[test]
fn the_first_host_that_answers_will_do() {
    let mut pair = Pair::start();
    pair.a.kill();
    let client = pair.client();
    assert_eq!(client.count(&topic(LOWER)).unwrap(), B + 1);
    pair.b.kill();
    let error = Client::connect(&pair.url()).unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert!(!error.may_have_been_applied());
}

/// Each of them would count by itself, and numbers would repeat.
#[test]
fn servers_that_belong_to_no_cluster_are_refused() {
    let servers = [(); 2].map(|()| {
        let tcp = Some(([127, 0, 0, 1], 0).into());
        let config = Config {
            tcp,
            udp: None,
            ..Config::default()
        };
        Server::bind(config).unwrap()
    });
    let [one, other] = [&servers[0], &servers[1]].map(|server| server.tcp_addr().unwrap());
    let stops = [&servers[0], &servers[1]].map(Server::stop_handle);
    let serving = servers.map(|server| thread::spawn(|| server.run()));
    let error = Client::connect(&format!("tcp://{one},{other}")).unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert!(
        error.to_string().contains("belongs to no cluster"),
        "{error}"
    );
    // Such a server among the nodes of a cluster is not used either.
    let pair = Pair::start();
    let url = format!("tcp://{one},{}", pair.a.address);
    let client = Client::connect(&url).unwrap();
    assert_eq!(client.count(&topic(LOWER)).unwrap(), A + 1);
    for stop in stops {
        stop.stop();
    }
    for serving in serving {
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_map_is_asked_for_again_from_time_to_time() {
    let pair = Pair::start();
    let client = pair.connected();
    // Nothing fails: another node would forward the requests.
    pair.set_owners(&[LOWER, UPPER], &[]);
    eventually("the client knows the new owner", || {
        client.count(&topic(UPPER)).unwrap() < B
    });
}
