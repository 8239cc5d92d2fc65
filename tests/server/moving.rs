//! Connections that go to another worker: new ones to the one with the fewest, old ones to where
//! their topics live.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use globalcounter::Client;
use globalcounter::client::Options;
use globalcounter::protocol::{Op, Reply};
use globalcounter::topic::{ShardId, Shards, Topic};

use crate::support::{
    Embedded, Framed, assert_answered, command, connect, eventually, frame, info_field, is_one_to_n,
};

const SHARDS: usize = 4;

/// More counts of one topic than it takes to move.
const MANY: u32 = 2_000;

fn owner(topic: &str) -> ShardId {
    let topic = Topic::new(topic.as_bytes(), 100).unwrap();
    Shards::new(SHARDS).unwrap().owner(topic)
}

/// A topic that another shard owns than that one.
fn topic_elsewhere(than: ShardId) -> String {
    let mut names = (0..).map(|n| format!("topic {n}"));
    names.find(|name| owner(name) != than).unwrap()
}

#[test]
fn new_connections_are_spread_evenly() {
    let server = Embedded::start(SHARDS);
    let mut connections: Vec<Framed> = Vec::new();
    for each in 1..=5 {
        let mut by_worker = [0; SHARDS];
        // One after another: those that come at once may find the same worker to have the fewest.
        connections.resize_with(each * SHARDS, || {
            let mut connection = Framed::connect(server.tcp);
            connection.hello(None);
            connection
        });
        for connection in &mut connections {
            by_worker[connection.hello(None).shard.index()] += 1;
        }
        assert_eq!(by_worker, [each; SHARDS]);
    }
}

#[test]
fn a_connection_moves_to_where_its_topic_lives_and_on_when_that_changes() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    for _ in 0..3 {
        let here = connection.hello(None).shard;
        let topic = topic_elsewhere(here);
        connection.ask(Op::Reset, &topic);
        for sum in 1..=u64::from(MANY) {
            assert_eq!(connection.ask(Op::Count, &topic), Reply::Count(sum));
        }
        assert_eq!(connection.hello(None).shard, owner(&topic));
    }
}

#[test]
fn a_connection_that_named_its_shard_stays() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    // Also where it named the worker that it was at already.
    let first = connection.hello(None).shard;
    for shard in [first.number(), 2] {
        connection.hello(Some(shard));
        let topic = topic_elsewhere(ShardId::new(shard));
        for _ in 0..MANY {
            connection.ask(Op::Count, &topic);
        }
        assert_eq!(connection.hello(None).shard, ShardId::new(shard));
    }
}

#[test]
fn a_connection_of_many_topics_stays() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    let here = connection.hello(None).shard;
    for n in 0..4 * MANY {
        connection.ask(Op::Count, &format!("topic {n}"));
    }
    assert_eq!(connection.hello(None).shard, here);
}

/// Pipelines of one topic, cut anywhere, on connections that all move to the same worker meanwhile:
/// each gets rising sums in the order of its requests, and together they get all.
#[test]
fn moving_keeps_the_order() {
    const CONNECTIONS: u32 = 6;
    let server = Embedded::start(SHARDS);
    let topic = "the topic";
    let count = |number: u32| {
        let mut connection = Framed::connect(server.tcp);
        let mut requests = Vec::new();
        let mut sums = Vec::new();
        let mut asked = 0..MANY;
        while sums.len() < MANY as usize {
            for id in asked.by_ref().take(100) {
                requests.extend(frame(id, Op::Count, topic));
            }
            let now = requests.len().min(900 + number as usize);
            connection.send(&requests[..now]);
            requests.drain(..now);
            // Whole frames of 16 bytes, of which the end of one may be still to come.
            let whole = asked.start as usize - requests.len().div_ceil(16);
            while sums.len() < whole {
                let (id, reply) = connection.reply().unwrap();
                assert_eq!(id as usize, sums.len());
                let Reply::Count(sum) = reply else {
                    panic!("{reply:?}")
                };
                sums.push(sum);
            }
        }
        assert!(sums.is_sorted());
        assert_eq!(connection.hello(None).shard, owner(topic));
        sums
    };
    let all: Vec<u64> = thread::scope(|scope| {
        let counting: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || count(number)))
            .collect();
        let sums = counting.into_iter().flat_map(|sums| sums.join().unwrap());
        sums.collect()
    });
    assert!(is_one_to_n(all, (CONNECTIONS * MANY).into()));
}

/// A client that asked which shard owns what has a connection to each shard's worker, where it stays.
#[tokio::test]
async fn a_shard_aware_client_has_a_connection_at_each_worker() {
    let server = Embedded::start(SHARDS);
    let url = format!("tcp://{}", server.tcp);
    let options = Options::default().shard_aware(true);
    let client = Client::connect_with(&url, options).await.unwrap();
    let mut watcher = connect(server.tcp);
    let mut expected = clients_by_worker(&mut watcher);
    expected.sort_unstable();
    assert_eq!(expected, [1, 1, 1, 2], "one each, and the watcher");
    for n in 0..4 * MANY {
        client.count(&format!("topic {}", n % 5)).await.unwrap();
    }
    let mut after = clients_by_worker(&mut watcher);
    after.sort_unstable();
    assert_eq!(after, expected);
    drop(watcher);
    server.stop().await;
}

/// How many connections each worker has, as INFO tells.
fn clients_by_worker(watcher: &mut TcpStream) -> Vec<usize> {
    watcher.write_all(b"INFO clients\r\n").unwrap();
    let mut info = vec![0; 4_096];
    let len = watcher.read(&mut info).unwrap();
    let info = String::from_utf8(info[..len].to_vec()).unwrap();
    let counts = info_field(&info, "clients_by_worker").split(',');
    counts.map(|count| count.parse().unwrap()).collect()
}

/// With its name, its version of the protocol, and a command that is not whole.
#[test]
fn a_redis_client_moves_with_all_that_is_its_own() {
    let server = Embedded::start(SHARDS);
    let mut watcher = connect(server.tcp);
    let before = clients_by_worker(&mut watcher);
    let mut stream = connect(server.tcp);
    stream.write_all(b"HELLO 3 SETNAME mover\r\n").unwrap();
    let mut hello = [0; 4_096];
    assert!(stream.read(&mut hello).unwrap() > 0);
    let mut here = clients_by_worker(&mut watcher);
    for (here, before) in here.iter_mut().zip(&before) {
        *here -= before;
    }
    let here = ShardId::new(here.iter().position(|&count| count == 1).unwrap() as u16);

    let topic = topic_elsewhere(here);
    let incr = command(&["INCR", &topic]);
    let mut sent = 0;
    for sum in 1..=MANY {
        // The first half of the next command comes with each.
        let mut part = incr[sent..].to_vec();
        part.extend_from_slice(&incr[..incr.len() / 2]);
        sent = incr.len() / 2;
        assert_answered(&mut stream, &part, &format!(":{sum}\r\n"));
    }
    assert_answered(&mut stream, &incr[sent..], &format!(":{}\r\n", MANY + 1));
    let mut expected = before;
    expected[owner(&topic).index()] += 1;
    eventually("it has moved", || {
        clients_by_worker(&mut watcher) == expected
    });
    assert_answered(&mut stream, b"CLIENT GETNAME\r\n", "$5\r\nmover\r\n");
    // A null of RESP3.
    assert_answered(&mut stream, b"GET nothing\r\n", "_\r\n");
}
