//! TLS: both versions, records cut anywhere, slow peers, moves, client certificates, ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use globalcounter::protocol::framed;
use globalcounter::protocol::{Op, Reply};
use globalcounter::server::{Config, ConnectionLimits, Monitor, TlsFiles, TlsSnapshot};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind, SupportedProtocolVersion};

use crate::support::{
    Authority, Embedded, Framed, TlsClient, TlsDirectory, TlsStream, Validity, classic_sum,
    command, connect, eventually, frame,
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Starts a server with some shards; returns a client of each version, too.
fn start(name: &str, shards: usize) -> (TlsDirectory, Embedded, SocketAddr, [TlsClient; 2]) {
    let files = TlsDirectory::new(name);
    let server = files.start(shards);
    let address = server.tls.as_ref().unwrap().0;
    let clients = VERSIONS.map(|version| TlsClient::new(&files.authority, &[version], None));
    (files, server, address, clients)
}

fn counts(monitor: &Monitor) -> TlsSnapshot {
    monitor.snapshot().tls.unwrap()
}

/// Returns how many handshakes failed for a reason.
fn failed(monitor: &Monitor, reason: &str) -> u64 {
    let failed = counts(monitor).handshakes_failed;
    failed.iter().find(|(name, _)| *name == reason).unwrap().1
}

/// Returns the alert of an error that a client has got.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[test]
fn every_dialect_counts_over_both_versions() {
    let (_files, server, address, clients) = start("dialects", 2);
    let mut sum = 0;
    for client in clients {
        let mut framed = client.framed(address);
        for _ in 0..3 {
            sum += 1;
            assert_eq!(framed.ask(Op::Count, "topic"), Reply::Count(sum));
        }
        sum += 1;
        let request = [command(&["INCR", "topic"]), command(&["QUIT"])].concat();
        let reply = client.exchange_to_end(address, &request).unwrap();
        assert_eq!(reply, format!(":{sum}\r\n+OK\r\n").into_bytes());
        sum += 1;
        let reply = client.exchange_to_end(address, b"\0topic").unwrap();
        assert_eq!((reply[0], classic_sum(&reply)), (128, sum));
    }
    // The same topics as those of the other port.
    assert_eq!(
        Framed::connect(server.tcp).ask(Op::Get, "topic"),
        Reply::Get(Some(sum))
    );
}

#[test]
fn a_pipeline_is_answered_to_a_peer_that_reads_it_late_and_in_small_pieces() {
    const REQUESTS: u32 = 100_000;
    let (_files, _server, address, clients) = start("pipeline", 2);
    for client in clients {
        let mut stream = client.connect(address);
        let requests = (0..REQUESTS).flat_map(|id| frame(id, Op::Count, "a"));
        stream.write_all(&requests.collect::<Vec<u8>>()).unwrap();
        let mut framed = Framed::over(SmallReads(stream));
        let first = framed.reply().unwrap().1;
        let Reply::Count(first) = first else {
            panic!("{first:?}")
        };
        for id in 1..REQUESTS {
            let expected = Reply::Count(first + u64::from(id));
            assert_eq!(framed.reply(), Some((id, expected)));
        }
    }
}

/// A stream that reads at most 1,000 bytes at a time.
struct SmallReads(TlsStream);

impl Read for SmallReads {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(1_000);
        self.0.read(&mut buffer[..len])
    }
}

impl Write for SmallReads {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The server stops reading, and when the peer reads at last, it gets every reply in order.
#[test]
fn a_peer_that_reads_nothing_is_read_no_more() {
    let (_files, server, address, [_, client]) = start("stalled", 1);
    let mut stream = client.connect(address);
    stream
        .sock
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let request = frame(7, Op::Count, "a");
    let chunk = request.repeat(1_000);
    let mut records: Vec<u8> = Vec::new();
    let (mut sent, mut blocked) = (0, false);
    while !blocked {
        assert!(sent < 100_000_000, "the server takes everything");
        stream.conn.writer().write_all(&chunk).unwrap();
        sent += chunk.len();
        records.clear();
        stream.conn.write_tls(&mut records).unwrap();
        let mut rest = &records[..];
        while !blocked && !rest.is_empty() {
            match stream.sock.write(rest) {
                Ok(len) => rest = &rest[len..],
                // On a busy machine, the server may also be slow.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocked = server.monitor.snapshot().stalls > 0;
                }
                Err(error) => panic!("{error}"),
            }
        }
        records.drain(..records.len() - rest.len());
    }
    // Another connection is served meanwhile.
    assert_eq!(client.framed(address).ask(Op::Count, "b"), Reply::Count(1));
    stream.sock.set_write_timeout(None).unwrap();
    let mut socket = stream.sock.try_clone().unwrap();
    let writer = std::thread::spawn(move || socket.write_all(&records).unwrap());
    let mut framed = Framed::over(stream);
    for sum in 1..=(sent / request.len()) as u64 {
        assert_eq!(framed.reply(), Some((7, Reply::Count(sum))));
    }
    writer.join().unwrap();
}

#[test]
fn records_may_arrive_byte_by_byte() {
    let (_files, _server, address, clients) = start("bytes", 2);
    for client in clients {
        let mut socket = connect(address);
        let mut session = client.session();
        let mut replies = Vec::new();
        session
            .writer()
            .write_all(&[frame(1, Op::Reset, "a"), frame(2, Op::Count, "a")].concat())
            .unwrap();
        let expected = {
            let mut all = Vec::new();
            framed::encode_reply(framed::RequestId(1), Reply::Reset, &mut all);
            framed::encode_reply(framed::RequestId(2), Reply::Count(1), &mut all);
            all
        };
        while replies.len() < expected.len() {
            let mut records = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut records).unwrap();
            }
            for byte in records {
                socket.write_all(&[byte]).unwrap();
            }
            assert!(session.read_tls(&mut socket).unwrap() > 0);
            session.process_new_packets().unwrap();
            match session.reader().read_to_end(&mut replies) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                Ok(_) => panic!("the server closed the connection"),
            }
        }
        assert_eq!(replies, expected);
    }
}

#[test]
fn long_replies_are_whole() {
    let (_files, _server, address, clients) = start("long", 2);
    let names: Vec<String> = (0..20_000)
        .map(|n| format!("a topic with number {n:06}"))
        .collect();
    for client in clients {
        let mut framed = client.framed(address);
        framed.ask_each(Op::Count, &names);
        let request = [command(&["KEYS", "*"]), command(&["QUIT"])].concat();
        let reply = String::from_utf8(client.exchange_to_end(address, &request).unwrap()).unwrap();
        let (head, rest) = reply.split_once("\r\n").unwrap();
        assert_eq!(head, format!("*{}", names.len()));
        let mut got: Vec<&str> = rest
            .split("\r\n")
            .filter(|line| line.starts_with('a'))
            .collect();
        got.sort_unstable();
        assert!(got.iter().eq(&names), "{} names", got.len());
        assert!(rest.ends_with("+OK\r\n"));
    }
}

/// A connection goes round all workers, with requests behind each HELLO and its last record incomplete.
#[test]
fn a_connection_moves_between_workers_with_its_session() {
    const SHARDS: u16 = 4;
    let (_files, server, address, clients) = start("moves", SHARDS.into());
    for client in clients {
        let mut framed = client.framed(address);
        framed.ask(Op::Reset, "a");
        for round in 0..50 {
            let hello = framed.hello(Some(round % SHARDS));
            assert_eq!(hello.shard.number(), round % SHARDS);
            assert_eq!(
                framed.ask(Op::Count, "a"),
                Reply::Count(u64::from(round) + 1)
            );
        }
        // By itself, because all requests are for one shard; the pipeline goes on meanwhile.
        let mut framed = client.framed(address);
        let requests = (0..5_000).flat_map(|id| frame(id, Op::Count, "b"));
        let requests: Vec<u8> = requests.collect();
        for part in requests.chunks(997) {
            framed.send(part);
        }
        for id in 0..5_000 {
            assert_eq!(framed.reply().unwrap().0, id);
        }
    }
    // A handshake for each connection, none for a move.
    let now = counts(&server.monitor);
    assert_eq!((now.handshakes_full, now.handshakes_resumed), (2, 2));
    eventually("the connections have ended", || {
        counts(&server.monitor).connections == 0
    });
}

#[test]
fn both_sides_may_end_a_connection() {
    let (_files, server, address, clients) = start("ends", 2);
    for client in clients {
        // The peer says that it ends: it gets its replies, then the server's close_notify.
        let mut stream = client.connect(address);
        stream.write_all(&frame(1, Op::Get, "a")).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut replies = Vec::new();
        stream
            .read_to_end(&mut replies)
            .expect("an end with close_notify");
        assert!(!replies.is_empty());

        // The peer shuts down its socket without saying so.
        let mut stream = client.connect(address);
        stream.write_all(&frame(1, Op::Get, "a")).unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let mut again = Vec::new();
        stream
            .read_to_end(&mut again)
            .expect("an end with close_notify");
        assert_eq!(again, replies);

        // An end in the middle of a record, and one of the socket alone.
        let mut stream = client.connect(address);
        stream.sock.write_all(&[0x17, 3, 3, 0, 100, 1, 2]).unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
        drop(client.connect(address));

        // A record that was not encrypted by the peer.
        let mut stream = client.connect(address);
        stream.sock.write_all(&[0x17, 3, 3, 0, 20]).unwrap();
        stream.sock.write_all(&[0; 20]).unwrap();
        let error = stream.read(&mut [0; 10]).unwrap_err();
        assert_eq!(alert(&error), Some(AlertDescription::BadRecordMac));
    }
    eventually("the connections have ended", || {
        counts(&server.monitor).connections == 0
    });
}

#[test]
fn a_stop_serves_what_was_read_and_says_goodbye() {
    let (_files, server, address, clients) = start("stop", 2);
    let mut connections = clients.map(|client| client.framed(address));
    for connection in &mut connections {
        connection.ask(Op::Count, "a");
    }
    // In the middle of a handshake; it ends when its time is over.
    let silent = connect(address);
    let monitor = server.monitor.clone();
    eventually("it is accepted", || monitor.snapshot().connections == 3);
    for connection in &mut connections {
        connection.send(&frame(9, Op::Count, "a").repeat(100));
        assert!(connection.reply().is_some());
    }
    server.begin_stop();
    for mut connection in connections {
        for _ in 1..100 {
            assert!(connection.reply().is_some());
        }
        assert_eq!(connection.reply(), None, "the server has said goodbye");
    }
    server.stop_and_join().unwrap();
    assert_eq!(failed(&monitor, "stopped"), 1);
    drop(silent);
}

/// A handshake that waited for the end of its time kept a lock that stopping needs. Then a second stop
/// waited for it, and the worker for the second stop.
#[test]
fn a_second_stop_waits_for_no_handshake() {
    let (_files, server, address, _) = start("stop-twice", 1);
    let silent = connect(address);
    let monitor = server.monitor.clone();
    eventually("it is accepted", || monitor.snapshot().connections == 1);
    // The handshake notices the first of these at some time, and goes on for half a second.
    let mut longest = Duration::ZERO;
    while failed(&monitor, "stopped") == 0 {
        let began = Instant::now();
        server.begin_stop();
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_millis(400), "{longest:?}");
    server.stop_and_join().unwrap();
    drop(silent);
}

#[test]
fn sessions_are_resumed_at_any_worker() {
    let (_files, server, address, clients) = start("resume", 4);
    for client in clients {
        for n in 0..8 {
            let mut framed = client.framed(address);
            // The tickets of TLS 1.3 follow the handshake; they arrive before the first reply.
            framed.ask(Op::Count, "a");
            let expected = if n == 0 {
                HandshakeKind::Full
            } else {
                HandshakeKind::Resumed
            };
            assert_eq!(framed.stream.conn.handshake_kind(), Some(expected));
        }
    }
    let counts = counts(&server.monitor);
    assert_eq!((counts.handshakes_full, counts.handshakes_resumed), (2, 14));
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_served() {
    let files = TlsDirectory::new("clients");
    let (own, foreign) = (Authority::new("own"), Authority::new("foreign"));
    files.write("clients.pem", &own.certificate);
    let server = Embedded::with(files.config(
        2,
        TlsFiles {
            clients: Some(files.path("clients.pem")),
            ..files.files()
        },
    ));
    let address = server.tls.as_ref().unwrap().0;
    let valid = own.client("valid", Validity::Now);
    let expired = own.client("expired", Validity::Expired);
    let unknown = foreign.client("unknown", Validity::Now);
    let server_only = own.server("a server", Validity::Now);
    for version in VERSIONS {
        let client = |identity| TlsClient::new(&files.authority, &[version], identity);
        let mut framed = client(Some(&valid)).framed(address);
        assert!(matches!(framed.ask(Op::Count, "a"), Reply::Count(1..)));
        for (identity, expected) in [
            (None, AlertDescription::CertificateRequired),
            (Some(&expired), AlertDescription::CertificateExpired),
            (Some(&unknown), AlertDescription::UnknownCA),
            (Some(&server_only), AlertDescription::UnsupportedCertificate),
        ] {
            let request = frame(1, Op::Count, "a");
            let error = client(identity)
                .exchange_to_end(address, &request)
                .unwrap_err();
            assert_eq!(alert(&error), Some(expected), "{version:?} {error}");
        }
    }
    eventually("all are counted", || {
        failed(&server.monitor, "certificate") == 8
    });
    // None of them has counted.
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(3));
}

#[test]
fn a_client_of_the_wrong_kind_gets_a_clear_end() {
    let (files, server, address, [client, _]) = start("kinds", 2);
    for request in [
        &frame(1, Op::Count, "a")[..],
        b"\x01topic",
        b"PING\r\n",
        &[0xff; 100],
    ] {
        let mut plain = connect(address);
        plain.write_all(request).unwrap();
        let mut reply = Vec::new();
        plain.read_to_end(&mut reply).unwrap();
        assert_eq!(reply.first(), Some(&0x15), "an alert: {reply:?}");
    }
    assert_eq!(failed(&server.monitor, "not_tls"), 4);
    let error = client.try_connect(server.tcp).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    // A client that does not trust the server says so.
    let stranger = TlsClient::new(&Authority::new("another"), &[&TLS13], None);
    stranger.try_connect(address).unwrap_err();
    eventually("the server has read the alert", || {
        failed(&server.monitor, "alert") == 1
    });
    drop(connect(address));
    eventually("the server has noticed", || {
        failed(&server.monitor, "closed") == 1
    });
    drop(files);
}

/// Peers that never finish their handshakes take all slots, until their time is over. Then the next one
/// is served.
#[test]
fn handshakes_have_limits() {
    const SLOTS: u64 = 20;
    let files = TlsDirectory::new("limits");
    let server = Embedded::with(Config {
        connection_limits: ConnectionLimits {
            handshakes: SLOTS as usize,
            handshake_timeout: Duration::from_millis(1_500),
            ..ConnectionLimits::default()
        },
        ..files.config(2, files.files())
    });
    let (address, client) = (server.tls.as_ref().unwrap().0, files.client());
    // Each worker holds a slot for the next connection.
    let silent: Vec<TcpStream> = (0..SLOTS).map(|_| connect(address)).collect();
    eventually("the slots are taken", || {
        server.monitor.snapshot().connections >= SLOTS - 2
    });
    assert!(server.monitor.snapshot().connections <= SLOTS);
    assert_eq!(failed(&server.monitor, "timeout"), 0);
    // The other port has no such limit.
    let mut plain = Framed::connect(server.tcp);
    assert_eq!(plain.ask(Op::Count, "a"), Reply::Count(1));
    assert_eq!(client.framed(address).ask(Op::Count, "a"), Reply::Count(2));
    eventually("all handshakes have timed out", || {
        failed(&server.monitor, "timeout") == SLOTS
    });
    for mut silent in silent {
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    }
}
