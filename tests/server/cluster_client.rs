//! The library's clients of a cluster, against two nodes.

use std::thread;

use globalcounter::blocking::Client;
use globalcounter::client::Options;

use crate::redis_cluster::pair;

const TOPICS: u64 = 50;

/// Each topic has one order, whichever way its counts take.
#[test]
fn counts_over_both_nodes_and_over_each_have_one_order() {
    let nodes = pair(2);
    let [a, b] = [&nodes[0], &nodes[1]].map(|node| node.tcp);
    let both = format!("tcp://{a},{b}");
    let urls = [
        both.clone(),
        format!("tcp://{b},{a}"),
        format!("tcp://{a}"),
        format!("tcp://{b}"),
    ];
    let aware = Options::default().shard_aware(true);
    let clients = urls.iter().map(|url| Client::connect(url).unwrap());
    let clients: Vec<_> = clients
        .chain([Client::connect_with(&both, aware).unwrap()])
        .collect();
    let ways = clients.len() as u64;
    for n in 0..TOPICS {
        let topic = format!("topic {n}");
        for (client, sum) in clients.iter().zip(1..) {
            assert_eq!(client.count(&topic).unwrap(), sum, "{topic} by {client:?}");
        }
    }
    // The same at once: each number comes once.
    let mut sums: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(|| -> Vec<u64> {
                    let count = |n| client.count(&format!("topic {}", n % 2)).unwrap();
                    (0..100).map(count).collect()
                })
            })
            .collect();
        let sums = threads.into_iter();
        sums.flat_map(|thread| thread.join().unwrap()).collect()
    });
    sums.sort_unstable();
    let expected = (ways + 1..).flat_map(|sum| [sum; 2]);
    assert!(sums.into_iter().eq(expected.take(ways as usize * 100)));
    for client in &clients {
        client.ping().unwrap();
        assert_eq!(client.get("topic 9").unwrap(), ways);
    }
}
