use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::start;
use crate::server::exchange::{self, Shared, WorkerId};
use crate::server::{Config, ServeError, Server, Steering};
use crate::shard::Ceilings;
use crate::topic::{Shards, Topic};

fn tcp_server(shards: Shards) -> Server {
    let config = Config {
        tcp: Some(([127, 0, 0, 1], 0).into()),
        udp: None,
        shards,
        ..Config::default()
    };
    Server::bind(config).unwrap()
}

/// Starts the server with shards that the test shares, in memory, with room for `max_topics` topics.
fn start_sharing(
    mut server: Server,
    max_topics: usize,
) -> (Arc<Shared>, mpsc::UnboundedReceiver<Result<(), ServeError>>) {
    let shards = server.prepared.status.config.shards;
    let shared = Arc::new(Shared::new(shards, max_topics, Ceilings::NONE));
    server.prepared.shared = Arc::clone(&shared);
    (shared, start(server.prepared))
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).unwrap();
    client
}

/// Regression: each worker's waker kept its runtime alive, which kept the shards alive.
#[test]
fn a_server_that_stopped_is_freed() {
    let config = Config {
        tcp: Some(([127, 0, 0, 1], 0).into()),
        udp: Some(([127, 0, 0, 1], 0).into()),
        ..Config::default()
    };
    let server = Server::bind(config).unwrap();
    let stop = server.stop_handle();
    let (shared, mut ended) = start_sharing(server, 10);
    stop.stop();
    while let Some(worker) = ended.blocking_recv() {
        worker.unwrap();
    }
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// Regression: a worker with a batch that it could not even hand over spun until it gave up, and
/// the batch was lost.
#[test]
fn a_congested_worker_stops_soon_and_answers() {
    let config = Config {
        tcp: None,
        udp: Some(([127, 0, 0, 1], 0).into()),
        shards: Shards::new(2).unwrap(),
        steering: Steering::Off, // all of a peer's datagrams go to one worker
        ..Config::default()
    };
    let server = Server::bind(config).unwrap();
    let stop = server.stop_handle();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(server.udp_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (shared, mut ended) = start_sharing(server, 10);

    let owner = shared.shards().owner(Topic::new(b"a", 1).unwrap());
    let mut ran = Vec::new();
    let started = shared.reach(owner).try_run(
        |shard, mut batch| {
            batch.run(shard, None, &mut Vec::new());
            ran.push(batch);
        },
        |_| {
            let mut pong = [0; 7];
            for _ in 0..exchange::HAND_OVER_CREDIT {
                peer.send(b"\x00a").unwrap();
                // Served in order: when this is answered, that is in the channel.
                peer.send(b"\x17\x00\x00\x00\x00\x00\x01").unwrap();
                assert_eq!(peer.recv(&mut pong).unwrap(), 7);
            }
            // No credit is left: it is read, stays in the overflow, and nothing more is read.
            let last_two = b"\x10\x00\x01\x00\x00\x00\x09a\x17\x00\x00\x00\x00\x00\x02";
            peer.send(last_two).unwrap();
            assert_eq!(peer.recv(&mut pong).unwrap(), 7);
            stop.stop();
            Instant::now()
        },
    );
    let (started, _) = started.expect("nobody has the shard yet");
    assert_eq!(ran.len(), exchange::HAND_OVER_CREDIT);
    let mut router = exchange::Router::new(ran[0].from, Arc::clone(&shared));
    for batch in ran {
        shared.sub_datagrams_in_flight(batch.len());
        router.return_to_sender(batch);
    }
    let mut reply = [0; 15];
    assert_eq!(peer.recv(&mut reply).unwrap(), 15);
    assert_eq!((reply[6], reply[14]), (9, 17), "the last one of all counts");
    while let Some(worker) = ended.blocking_recv() {
        worker.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(3));
}

/// Regression: the runtime caught panics of tasks, and the server went on with what was left.
#[test]
fn a_task_that_panics_ends_the_server() {
    let server = tcp_server(Shards::new(2).unwrap());
    let (shared, mut ended) = start_sharing(server, 10);
    // A batch for a shard that does not exist: the worker that gets it back panics, because its
    // credit has no entry for it.
    let mut batch = exchange::Batch::new(WorkerId(1));
    (batch.shard, batch.awaited) = (crate::topic::ShardId::new(200), true);
    let mut other = exchange::Router::new(WorkerId(0), Arc::clone(&shared));
    other.return_to_sender(Box::new(batch));
    shared.mailbox(WorkerId(1)).wake();
    let mut results = Vec::new();
    while let Some(worker) = ended.blocking_recv() {
        results.push(worker);
    }
    let panicked =
        |result: &Result<(), ServeError>| matches!(result, Err(ServeError::Panicked { worker: 1 }));
    assert!(results.iter().any(panicked), "{results:?}");
}

/// A worker that hangs is noticed, and so is one that continues.
#[test]
fn the_pulse_stops_with_a_worker_that_hangs() {
    let mut server = tcp_server(Shards::new(2).unwrap());
    let mut pulse = server.pulse(Some(Duration::from_millis(1)));
    let stop = server.stop_handle();
    let (shared, mut ended) = start_sharing(server, 10);
    while !pulse.advanced() {
        std::thread::yield_now();
    }
    let messages = shared.mailbox(WorkerId(1)).messages.lock();
    shared.mailbox(WorkerId(1)).wake(); // it waits for the lock
    let started = Instant::now();
    let mut before = pulse.beats();
    loop {
        let now = pulse.beats();
        if now[0] < before[0] + 20 {
            std::thread::yield_now();
        } else if now[1] == before[1] {
            break;
        } else {
            before = now;
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    pulse.advanced();
    assert!(!pulse.advanced());
    drop(messages);
    while !pulse.advanced() {
        assert!(started.elapsed() < Duration::from_secs(40));
    }
    stop.stop();
    while let Some(worker) = ended.blocking_recv() {
        worker.unwrap();
    }
}

/// Regression: a SCAN that uses up the last of its worker's credit is no read.
#[test]
fn a_scan_may_congest_its_worker() {
    let server = tcp_server(Shards::ONE);
    let (stop, address) = (server.stop_handle(), server.tcp_addr().unwrap());
    let (shared, mut ended) = start_sharing(server, 100);
    let mut clients: Vec<TcpStream> = (0..=exchange::HAND_OVER_CREDIT)
        .map(|_| client(address))
        .collect();
    let (last, others) = clients.split_last_mut().unwrap();
    let owner = shared.shards().owner(Topic::new(b"a", 9).unwrap());
    let mut other = exchange::Router::new(WorkerId(0), Arc::clone(&shared));
    other.while_taken(owner, || {
        let mut pong = [0; 7];
        for client in &mut *others {
            client.write_all(b"PING\r\nINCR a\r\n").unwrap();
            client.read_exact(&mut pong).unwrap();
        }
        last.write_all(b"PING\r\nSCAN 0\r\n").unwrap();
        last.read_exact(&mut pong).unwrap();
    });
    let expected = b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n";
    let mut got = vec![0; expected.len()];
    last.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
    stop.stop();
    while let Some(worker) = ended.blocking_recv() {
        worker.unwrap();
    }
}

/// Redis clients get their replies in the order of their commands, also if another worker runs the
/// shard.
#[test]
fn replies_of_the_redis_protocol_wait_for_a_taken_shard_in_order() {
    let server = tcp_server(Shards::new(8).unwrap());
    let (stop, address) = (server.stop_handle(), server.tcp_addr().unwrap());
    let (shared, mut ended) = start_sharing(server, 100);

    let owner = |name: &[u8]| shared.shards().owner(Topic::new(name, 9).unwrap());
    let (taken, free) = (b"a", b"b");
    assert_ne!(owner(taken), owner(free));
    let mut other = exchange::Router::new(WorkerId(0), Arc::clone(&shared));
    let mut check = |commands: &str, replies: &str| {
        let mut client = client(address);
        other.while_taken(owner(taken), || {
            client.write_all(b"INCR b\r\n").unwrap();
            client.write_all(commands.as_bytes()).unwrap();
            client.write_all(b"INCRBY b 5\r\nPING\r\n").unwrap();
            let mut first = [0; 4];
            client.read_exact(&mut first).unwrap(); // what came before is answered
        });
        let mut got = vec![0; replies.len() + ":6\r\n+PONG\r\n".len()];
        client.read_exact(&mut got).unwrap();
        let got = String::from_utf8(got).unwrap();
        assert!(
            got.starts_with(replies) && got.ends_with("+PONG\r\n"),
            "{got}"
        );
        client.write_all(b"DEL a b\r\n").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    };
    check("", "");
    check("INCR a\r\n", ":1\r\n");
    check("MGET b a b\r\n", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n");
    check("INCR a\r\nDBSIZE\r\n", ":1\r\n:2\r\n");
    check("INCR a\r\nDEL b a x\r\nEXISTS a\r\n", ":1\r\n:2\r\n:0\r\n");
    check("SCAN 0\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n");
    check(
        "INCR a\r\nGET a\r\nECHO \"x y\"\r\n",
        ":1\r\n$1\r\n1\r\n$3\r\nx y\r\n",
    );
    stop.stop();
    while let Some(worker) = ended.blocking_recv() {
        worker.unwrap();
    }
}
