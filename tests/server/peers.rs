//! Thousands of peers; peers that are idle, slow, never read or disappear. None of them slows the
//! others or leaves anything behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use globalcounter::protocol::{Op, Reply};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{
    Framed, Process, connect, eventually, frame, is_one_to_n, write_until_blocked,
};

/// Returns how many connections this process can open, up to 10,000; raises its limit if needed.
fn possible_connections() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    let spare = 500; // other tests, standard streams
    let possible = (hard as usize).saturating_sub(spare).min(10_000);
    if possible < 10_000 {
        println!("only {possible} connections: the limit on open files is {hard}");
    }
    possible
}

#[test]
fn ten_thousand_idle_connections_cost_little_memory() {
    let count = possible_connections();
    let server = Process::start(2);
    let before = server.resident();
    let mut connections: Vec<TcpStream> = (0..count).map(|_| connect(server.tcp)).collect();

    let request = frame(1, Op::Count, "idle");
    let mut reply = [0; 15];
    let mut sums = Vec::new();
    for _ in 0..2 {
        for connection in &mut connections {
            connection.write_all(&request).unwrap();
        }
        for connection in &mut connections {
            connection.read_exact(&mut reply).unwrap();
            sums.push(u64::from_be_bytes(reply[7..].try_into().unwrap()));
        }
    }
    assert!(is_one_to_n(sums, 2 * count as u64));
    let each = server.resident().saturating_sub(before) / count;
    println!("{each} bytes of resident memory per connection");
    assert!(each < 4_096, "{each} bytes per connection");

    let descriptors = server.descriptors();
    drop(connections);
    eventually("all connections are closed", || {
        server.descriptors() <= descriptors - count
    });
}

#[test]
fn a_peer_that_never_reads_is_bounded_and_slows_nobody() {
    for shards in [1, 2] {
        let server = Process::start(shards);
        let mut other = Framed::connect(server.tcp);
        other.ask(Op::Count, "other");
        let before = server.resident();

        let stalled: Vec<_> = (0..3)
            .map(|n| {
                let stream = connect(server.tcp);
                std::thread::spawn(move || {
                    let topic = format!("peer {n}");
                    let sent = write_until_blocked(&stream, &frame(1, Op::Count, &topic));
                    (stream, sent as u64)
                })
            })
            .collect();
        // Another client counts while their connections fill up, and after that.
        let mut slowest = Duration::ZERO;
        let mut count = |other: &mut Framed| {
            let start = Instant::now();
            assert!(matches!(other.ask(Op::Count, "other"), Reply::Count(_)));
            slowest = slowest.max(start.elapsed());
        };
        while !stalled.iter().all(std::thread::JoinHandle::is_finished) {
            count(&mut other);
        }
        let stalled: Vec<(TcpStream, u64)> = stalled
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        for _ in 0..1_000 {
            count(&mut other);
        }
        println!("slowest count beside peers that never read: {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let grown = server.resident().saturating_sub(before);
        println!("{grown} bytes of memory for three peers that never read");
        assert!(grown < 3 * 12 * 1024 * 1024, "{grown} bytes");

        // Once such a peer reads, it gets the reply to each whole request, in order.
        let (mut stream, sent) = stalled.into_iter().next().unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = [0; 15];
        let mut sum = 0;
        while stream.read_exact(&mut reply).is_ok() && reply[0] == 0x90 {
            sum += 1;
            assert_eq!(u64::from_be_bytes(reply[7..].try_into().unwrap()), sum);
        }
        assert_eq!(sum, sent, "replies to whole requests");
        assert!(sum > 100_000, "{sum} replies");
    }
}

#[test]
fn peers_that_disappear_leave_nothing_behind() {
    let server = Process::start(2);
    let request = frame(1, Op::Count, "gone");
    for n in 0..300 {
        let mut stream = connect(server.tcp);
        match n % 4 {
            0 => {}
            1 => stream.write_all(&request[..5]).unwrap(),
            2 => stream.write_all(&request.repeat(500)).unwrap(),
            _ => {
                // Closes with a TCP reset.
                stream.write_all(&request.repeat(500)).unwrap();
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
    eventually("all connections are closed", || {
        server.descriptors() == server.idle_descriptors
    });
    let mut connection = Framed::connect(server.tcp);
    assert!(matches!(connection.ask(Op::Count, "gone"), Reply::Count(_)));
}

/// Regression: replies that could not be written stayed in the worker's buffer and were sent to the
/// connection that it served next.
#[test]
fn undelivered_replies_never_go_to_another_peer() {
    let server = Process::start(1);
    let mut other = Framed::connect(server.tcp);
    let request = frame(1, Op::Count, "gone");
    for n in 1..=300 {
        let mut stream = connect(server.tcp);
        let bytes = if n % 2 == 0 {
            request.repeat(500)
        } else {
            request[..5].to_vec()
        };
        stream.write_all(&bytes).unwrap();
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        assert_eq!(other.ask(Op::Count, "other"), Reply::Count(n));
    }
}

#[test]
fn connections_over_the_limit_are_closed() {
    let server = Process::with(&["--shards", "2", "--max-connections", "5"]);
    let mut inside: Vec<Framed> = (0..5).map(|_| Framed::connect(server.tcp)).collect();
    for connection in &mut inside {
        assert!(matches!(connection.ask(Op::Count, "a"), Reply::Count(_)));
    }
    let mut outside = connect(server.tcp);
    let mut buffer = [0; 10];
    assert!(
        matches!(outside.read(&mut buffer), Ok(0) | Err(_)),
        "a connection over the limit is closed"
    );
    inside.pop();
    eventually("there is room again", || {
        let mut stream = connect(server.tcp);
        let asked = stream.write_all(&frame(1, Op::Count, "a"));
        asked.is_ok() && matches!(stream.read(&mut buffer), Ok(len) if len > 0)
    });
}

/// A client that has sent half a request delays nobody, and is served once the rest arrives.
#[test]
fn half_a_request_delays_nobody() {
    let server = Process::start(1);
    let mut slow = Framed::connect(server.tcp);
    let request = frame(1, Op::Count, "slow");
    slow.send(&request[..9]);
    let mut quick = Framed::connect(server.tcp);
    for n in 1..=1_000 {
        assert_eq!(quick.ask(Op::Count, "quick"), Reply::Count(n));
    }
    slow.send(&request[9..]);
    assert_eq!(slow.reply(), Some((1, Reply::Count(1))));
}
