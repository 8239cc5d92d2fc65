//! Limits on connections: each is reached once. A connection that reaches one is counted, gets the named
//! error if a request of it is incomplete, and costs its neighbours nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::protocol::framed::{self, Call, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::{BindError, Config, ConnectionLimits, Monitor, Server};
use globalcounter::shard::Durability;
use globalcounter::store::MemoryStore;
use socket2::{Domain, Socket, Type};

use crate::support::{
    Embedded, Framed, PATIENCE, ScriptedStore, TlsDirectory, command, config, connect, eventually,
    frame, write_until_blocked,
};

/// A time limit that is reached soon.
const SOON: Option<Duration> = Some(Duration::from_millis(200));

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
}

fn with(shards: usize, connection_limits: ConnectionLimits) -> Config {
    Config {
        connection_limits,
        ..config(shards)
    }
}

/// Returns how many connections were closed at a limit.
fn closed(monitor: &Monitor, limit: &str) -> u64 {
    let counts = monitor.snapshot().connections_closed_at_limit;
    counts.iter().find(|(name, _)| *name == limit).unwrap().1
}

/// Returns what the server sends until it closes the connection.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// Connects from an address of our choice.
fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn connections_of_one_address_are_limited() {
    let server = Embedded::with(with(
        2,
        ConnectionLimits {
            per_address: Some(2),
            ..limits()
        },
    ));
    let mut inside = [(); 2].map(|()| Framed::connect(server.tcp));
    for connection in &mut inside {
        connection.ask(Op::Count, "a");
    }
    let mut outside = connect(server.tcp);
    assert!(matches!(outside.read(&mut [0]), Ok(0) | Err(_)));
    let mut other = Framed::over(connect_from([127, 0, 0, 2], server.tcp));
    assert_eq!(other.ask(Op::Count, "a"), Reply::Count(3));
    let snapshot = server.monitor.snapshot();
    assert_eq!(snapshot.connections_refused_by_address, 1);
    assert_eq!((snapshot.connections_refused, snapshot.connections), (0, 3));
    drop(inside);
    Framed::admitted(server.tcp);
}

/// A further handshake begins when one of those in progress ends.
#[test]
fn handshakes_in_progress_are_limited() {
    let files = TlsDirectory::new("handshakes");
    let server = Embedded::with(Config {
        connection_limits: ConnectionLimits {
            handshakes: 1,
            ..limits()
        },
        ..files.config(1, files.files())
    });
    let (address, client) = (server.tls.as_ref().unwrap().0, files.client());
    let accepted = || server.monitor.snapshot().connections_accepted;
    let silent = connect(address);
    eventually("the handshake begins", || accepted() == 1);
    let (sender, done) = channel();
    let waiting = thread::spawn(move || {
        let sum = client.framed(address).ask(Op::Count, "a");
        sender.send(()).unwrap();
        sum
    });
    // The worker serves others, and does not accept.
    let mut plain = Framed::connect(server.tcp);
    for _ in 0..1_000 {
        plain.ask(Op::Get, "a");
    }
    assert_eq!((accepted(), done.try_recv()), (2, Err(TryRecvError::Empty)));
    let tls = server.monitor.snapshot().tls.unwrap();
    assert_eq!(tls.handshake_slots_taken, 1);
    drop(silent);
    assert_eq!(waiting.join().unwrap(), Reply::Count(1));
}

#[test]
fn a_handshake_has_a_time_limit() {
    let files = TlsDirectory::new("handshake-timeout");
    let server = Embedded::with(Config {
        connection_limits: ConnectionLimits {
            handshake_timeout: SOON.unwrap(),
            ..limits()
        },
        ..files.config(1, files.files())
    });
    let address = server.tls.as_ref().unwrap().0;
    for begun in [&[][..], &[22, 3, 1, 0, 200, 1, 0]] {
        let mut stream = connect(address);
        stream.write_all(begun).unwrap();
        rest(&mut stream);
    }
    let failed = server.monitor.snapshot().tls.unwrap().handshakes_failed;
    assert!(failed.contains(&("timeout", 2)), "{failed:?}");
}

#[test]
fn the_first_byte_has_a_time_limit_if_one_is_set() {
    let files = TlsDirectory::new("first-byte");
    let server = Embedded::with(Config {
        connection_limits: ConnectionLimits {
            first_byte_timeout: SOON,
            ..limits()
        },
        ..files.config(2, files.files())
    });
    let mut spoke = Framed::connect(server.tcp);
    assert_eq!(spoke.ask(Op::Count, "a"), Reply::Count(1));
    let mut silent = connect(server.tcp);
    assert_eq!(rest(&mut silent), b"");
    let mut encrypted = files.client().connect(server.tls.as_ref().unwrap().0);
    while encrypted.conn.is_handshaking() {
        encrypted.conn.complete_io(&mut encrypted.sock).unwrap();
    }
    assert_eq!(encrypted.read(&mut [0]).unwrap(), 0);
    assert_eq!(closed(&server.monitor, "first_byte"), 2);
    // Silence after it is not limited.
    assert_eq!(spoke.ask(Op::Count, "a"), Reply::Count(2));
}

#[test]
fn the_rest_of_a_request_has_a_time_limit() {
    let server = Embedded::with(with(
        2,
        ConnectionLimits {
            request_timeout: SOON,
            ..limits()
        },
    ));
    let mut silent = Framed::connect(server.tcp);
    silent.ask(Op::Count, "silent");
    let never_spoke = connect(server.tcp);

    let mut framed = Framed::connect(server.tcp);
    framed.send(&[frame(1, Op::Count, "a"), frame(2, Op::Count, "a")].concat()[..15]);
    assert_eq!(framed.reply(), Some((1, Reply::Count(1))));
    let broken = Reply::Error(ErrorCode::BadFrame);
    assert_eq!(framed.reply(), Some((2, broken)));
    assert_eq!(framed.reply(), None);

    let mut resp = connect(server.tcp);
    let half = b"*2\r\n$4\r\nINCR\r\n$1\r\n";
    resp.write_all(&[&command(&["INCR", "a"]), &half[..]].concat())
        .unwrap();
    let reply = String::from_utf8(rest(&mut resp)).unwrap();
    assert_eq!(
        reply,
        ":2\r\n-ERR Protocol error: the rest of the command did not come in time\r\n"
    );
    assert_eq!(closed(&server.monitor, "request"), 2);
    // Both connections were silent for longer, and neither has begun a request.
    assert_eq!(silent.ask(Op::Count, "silent"), Reply::Count(2));
    let mut late = Framed::over(never_spoke);
    assert_eq!(late.ask(Op::Count, "a"), Reply::Count(3));
}

/// Each byte comes in time, but the request as a whole does not.
#[test]
fn a_request_that_comes_byte_by_byte_has_the_same_time() {
    let server = Embedded::with(with(
        1,
        ConnectionLimits {
            request_timeout: SOON,
            ..limits()
        },
    ));
    for request in [
        frame(7, Op::Count, &"a".repeat(1_000)),
        command(&["INCR", &"a".repeat(1_000)]),
    ] {
        let mut stream = connect(server.tcp);
        // The time between two bytes.
        let pause = Some(Duration::from_millis(10));
        stream.set_read_timeout(pause).unwrap();
        let mut reply = [0; 256];
        let answered = request.iter().find_map(|byte| {
            stream.write_all(&[*byte]).unwrap();
            match stream.read(&mut reply) {
                Ok(len) => Some(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => panic!("{error}"),
            }
        });
        assert!(answered.is_some_and(|len| len > 0), "an error, no sum");
    }
    assert_eq!(closed(&server.monitor, "request"), 2);
}

/// A record of TLS that is incomplete is the beginning of a request.
#[test]
fn an_incomplete_record_has_the_same_time() {
    let files = TlsDirectory::new("record");
    let server = Embedded::with(Config {
        connection_limits: ConnectionLimits {
            request_timeout: SOON,
            ..limits()
        },
        ..files.config(1, files.files())
    });
    let mut framed = files.client().framed(server.tls.as_ref().unwrap().0);
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(1));
    framed.stream.sock.write_all(&[23, 3, 3, 1, 0, 9]).unwrap();
    assert_eq!(framed.reply(), None);
    assert_eq!(closed(&server.monitor, "request"), 1);
}

#[test]
fn silence_between_requests_has_a_time_limit_if_one_is_set() {
    let server = Embedded::with(with(
        2,
        ConnectionLimits {
            idle_timeout: SOON,
            ..limits()
        },
    ));
    let mut framed = Framed::connect(server.tcp);
    framed.ask(Op::Count, "a");
    let mut resp = connect(server.tcp);
    resp.write_all(&command(&["INCR", "a"])).unwrap();
    assert_eq!(framed.reply(), None);
    assert_eq!(rest(&mut resp), b":2\r\n", "no error: there is no request");
    assert_eq!(closed(&server.monitor, "idle"), 2);
}

#[test]
fn a_peer_that_does_not_read_has_a_time_limit() {
    for shards in [1, 2] {
        let server = Embedded::with(with(
            shards,
            ConnectionLimits {
                unread_timeout: SOON,
                ..limits()
            },
        ));
        let mut stream = connect(server.tcp);
        let requests = frame(1, Op::Count, "a").repeat(1_000);
        let error = loop {
            if let Err(error) = stream.write_all(&requests) {
                break error;
            }
        };
        let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(reset.contains(&error.kind()), "{error}");
        assert_eq!(closed(&server.monitor, "unread"), 1);
        eventually("the connection has ended", || {
            server.monitor.snapshot().connections == 0
        });
    }
}

/// Requests that wait for the store are in flight. Further ones are not read, and are served later.
#[test]
fn requests_in_flight_are_limited() {
    const LIMIT: u32 = 10;
    let (sender, commits) = channel();
    let store = ScriptedStore::new(MemoryStore::new(), move |store, changes, completion| {
        sender.send((store.clone(), changes, completion)).unwrap();
    });
    let config = Config {
        durability: Durability::Exact,
        ..with(
            1,
            ConnectionLimits {
                in_flight: LIMIT as usize,
                ..limits()
            },
        )
    };
    let server = Embedded::with_store(config, Box::new(store));
    let mut client = Framed::connect(server.tcp);
    let frames = |ids: std::ops::Range<u32>| -> Vec<u8> {
        ids.flat_map(|id| frame(id, Op::Count, "a")).collect()
    };
    client.send(&frames(0..LIMIT));
    let submitted = || server.monitor.snapshot().submitted;
    eventually("the limit is reached", || submitted() == u64::from(LIMIT));
    client.send(&frames(LIMIT..2 * LIMIT));
    let mut other = Framed::connect(server.tcp);
    for _ in 0..100 {
        other.ask(Op::Get, "other");
    }
    assert_eq!(submitted(), u64::from(LIMIT) + 100, "the rest is not read");
    assert!(server.monitor.snapshot().stalls > 0);
    let commit = thread::spawn(move || {
        for (store, changes, completion) in commits {
            store.apply(&changes);
            completion.report(Ok(()));
        }
    });
    for id in 0..2 * LIMIT {
        assert_eq!(client.reply(), Some((id, Reply::Count(u64::from(id) + 1))));
    }
    drop((client, other, server));
    commit.join().unwrap();
}

#[test]
fn bytes_that_are_not_sent_are_limited() {
    const LIMIT: u64 = 64 * 1024;
    let server = Embedded::with(with(
        1,
        ConnectionLimits {
            unsent: LIMIT as usize,
            ..limits()
        },
    ));
    let stream = connect(server.tcp);
    write_until_blocked(&stream, &frame(1, Op::Count, "a"));
    let snapshot = server.monitor.snapshot();
    let unsent = snapshot.submitted * 15 - snapshot.bytes.tcp_sent;
    // One read more: 64 KiB of requests of 8 bytes, with replies of 15.
    assert!(
        (LIMIT..LIMIT + 64 * 1024 * 15 / 8).contains(&unsent),
        "{unsent}"
    );
}

/// Peers that each send the beginning of a long frame hold as much together as one worker may hold. Then
/// those that hold most are closed, and the others are served.
#[test]
fn bytes_that_a_worker_holds_are_limited() {
    const LIMIT: usize = 4 * 1024 * 1024;
    const EACH: usize = 60_000;
    let server = Embedded::with(with(
        1,
        ConnectionLimits {
            held: LIMIT,
            ..limits()
        },
    ));
    let mut other = Framed::connect(server.tcp);
    other.send(&frame(1, Op::Count, "other")[..9]);
    let mut request = Vec::new();
    let ping = Call::Ping(&[0; 65_000]);
    framed::encode_request(RequestId(1), &ping, &mut request);
    let slow: Vec<TcpStream> = (0..2 * LIMIT / EACH)
        .map(|_| {
            let mut stream = connect(server.tcp);
            // The server may have closed it by then.
            let _ = stream.write_all(&request[..EACH]);
            stream
        })
        .collect();
    let all = slow.len() as u64;
    eventually("connections are closed", || {
        let left = server.monitor.snapshot().connections;
        let closed = closed(&server.monitor, "held");
        left + closed == all + 1 && left as usize <= LIMIT / EACH + 1
    });
    let held = server.monitor.snapshot().workers[0].held_bytes as usize;
    assert!((LIMIT / 2..=LIMIT).contains(&held), "{held}");
    other.send(&frame(1, Op::Count, "other")[9..]);
    assert_eq!(other.reply(), Some((1, Reply::Count(1))));
    let start = Instant::now();
    assert_eq!(other.ask(Op::Count, "other"), Reply::Count(2));
    println!("a count beside them took {:?}", start.elapsed());
}

#[test]
fn limits_have_ranges() {
    for (limits, setting) in [
        (
            ConnectionLimits {
                handshakes: 0,
                ..limits()
            },
            "--max-handshakes",
        ),
        (
            ConnectionLimits {
                handshakes: usize::MAX,
                ..limits()
            },
            "--max-handshakes",
        ),
        (
            ConnectionLimits {
                handshake_timeout: Duration::ZERO,
                ..limits()
            },
            "--handshake-timeout",
        ),
        (
            ConnectionLimits {
                in_flight: 0,
                ..limits()
            },
            "--max-in-flight",
        ),
        (
            ConnectionLimits {
                unsent: 0,
                ..limits()
            },
            "--max-unsent",
        ),
        (
            ConnectionLimits {
                held: 1_000,
                ..limits()
            },
            "--max-held",
        ),
    ] {
        let error = Server::bind(with(1, limits)).unwrap_err();
        assert!(
            matches!(error, BindError::Setting { setting: named, .. } if named == setting),
            "{error}"
        );
    }
}
