//! Connections that move to another worker: new ones to the worker with the fewest connections,
//! others to the worker that owns their topic.

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

/// More counts of one topic than a connection needs before it moves.
const MANY: u32 = 2_000;

fn owner(topic: &str) -> ShardId {
    let topic = Topic::new(topic.as_bytes(), 100).unwrap();
    Shards::new(SHARDS).unwrap().owner(topic)
}

/// Returns a topic that a different shard owns.
fn topic_not_of(shard: ShardId) -> String {
    let mut names = (0..).map(|n| format!("topic {n}"));
    names.find(|name| owner(name) != shard).unwrap()
}

#[test]
fn new_connections_are_spread_evenly() {
    let server = Embedded::start(SHARDS);
    let mut connections: Vec<Framed> = Vec::new();
    for each in 1..=5 {
        let mut by_worker = [0; SHARDS];
        // One after another: several at once may choose the same worker as the one with the fewest.
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
fn a_connection_moves_to_the_owner_of_its_topic_each_time_the_topic_changes() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    for _ in 0..3 {
        let here = connection.hello(None).shard;
        let topic = topic_not_of(here);
        connection.ask(Op::Reset, &topic);
        for sum in 1..=u64::from(MANY) {
            assert_eq!(connection.ask(Op::Count, &topic), Reply::Count(sum));
        }
        assert_eq!(connection.hello(None).shard, owner(&topic));
    }
}

#[test]
fn a_connection_that_named_a_shard_stays_there() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    // Also if it named the worker where it already was.
    let first = connection.hello(None).shard;
    for shard in [first.number(), 2] {
        connection.hello(Some(shard));
        let topic = topic_not_of(ShardId::new(shard));
        for _ in 0..MANY {
            connection.ask(Op::Count, &topic);
        }
        assert_eq!(connection.hello(None).shard, ShardId::new(shard));
    }
}

#[test]
fn a_connection_with_many_topics_stays_where_it_is() {
    let server = Embedded::start(SHARDS);
    let mut connection = Framed::connect(server.tcp);
    let here = connection.hello(None).shard;
    for n in 0..4 * MANY {
        connection.ask(Op::Count, &format!("topic {n}"));
    }
    assert_eq!(connection.hello(None).shard, here);
}

/// Several connections send pipelines of one topic, cut at arbitrary bytes, and all move to the
/// same worker meanwhile. Each gets rising sums in the order of its requests, and together they get
/// all.
#[test]
fn moving_keeps_the_order_of_replies() {
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
            // Frames have 16 bytes. The end of the last one may not be sent yet.
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

/// A shard-aware client opens a connection to each shard's worker, and these connections stay
/// there.
#[tokio::test]
async fn a_shard_aware_client_has_a_connection_at_each_worker() {
    let server = Embedded::start(SHARDS);
    let url = format!("tcp://{}", server.tcp);
    let options = Options::default().shard_aware(true);
    let client = Client::connect_with(&url, options).await.unwrap();
    let mut watcher = connect(server.tcp);
    let mut expected = clients_by_worker(&mut watcher);
    expected.sort_unstable();
    assert_eq!(
        expected,
        [1, 1, 1, 2],
        "one connection at each worker, and the watcher"
    );
    for n in 0..4 * MANY {
        client.count(&format!("topic {}", n % 5)).await.unwrap();
    }
    let mut after = clients_by_worker(&mut watcher);
    after.sort_unstable();
    assert_eq!(after, expected);
    drop(watcher);
    server.stop().await;
}

/// Returns how many connections each worker has, according to INFO.
fn clients_by_worker(watcher: &mut TcpStream) -> Vec<usize> {
    watcher.write_all(b"INFO clients\r\n").unwrap();
    let mut info = vec![0; 4_096];
    let len = watcher.read(&mut info).unwrap();
    let info = String::from_utf8(info[..len].to_vec()).unwrap();
    let counts = info_field(&info, "clients_by_worker").split(',');
    counts.map(|count| count.parse().unwrap()).collect()
}

/// The connection keeps its name, its protocol version and an incomplete command.
#[test]
fn a_redis_connection_keeps_its_state_when_it_moves() {
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

    let topic = topic_not_of(here);
    let incr = command(&["INCR", &topic]);
    let mut sent = 0;
    for sum in 1..=MANY {
        // Each write ends with the first half of the next command.
        let mut part = incr[sent..].to_vec();
        part.extend_from_slice(&incr[..incr.len() / 2]);
        sent = incr.len() / 2;
        assert_answered(&mut stream, &part, &format!(":{sum}\r\n"));
    }
    assert_answered(&mut stream, &incr[sent..], &format!(":{}\r\n", MANY + 1));
    let mut expected = before;
    expected[owner(&topic).index()] += 1;
    eventually("the connection has moved", || {
        clients_by_worker(&mut watcher) == expected
    });
    assert_answered(&mut stream, b"CLIENT GETNAME\r\n", "$5\r\nmover\r\n");
    // The null of RESP3.
    assert_answered(&mut stream, b"GET nothing\r\n", "_\r\n");
}
