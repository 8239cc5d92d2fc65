//! SET with conditions, SETNX, GETSET, GETDEL and the commands that ask about a topic: each reply in both
//! versions of the protocol, and each command one step, whoever else uses the topic.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;

use globalcounter::server::Config;

use crate::support::{Embedded, assert_answered, command, config, connect};

/// A connection that sends lines and reads replies of one line, or a bulk string of one line.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = connect(address);
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends a command. Returns its reply: a bulk string's text, or the line.
    fn ask(&mut self, command: &str) -> String {
        self.stream
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        let line = self.line();
        match line.strip_prefix('$') {
            Some("-1") | None => line,
            Some(_) => self.line(),
        }
    }
}

#[test]
fn every_reply_in_both_versions() {
    const BELOW: &str = "-ERR counters only go up: the sum is above that\r\n";
    for (shards, version) in [(1, 2), (8, 2), (8, 3)] {
        let server = Embedded::start(shards);
        let mut stream = connect(server.tcp);
        let null = if version == 3 { "_\r\n" } else { "$-1\r\n" };
        if version == 3 {
            stream
                .write_all(b"CLIENT REPLY SKIP\r\nHELLO 3\r\n")
                .unwrap();
        }
        for (line, reply) in [
            ("SET a 5 XX", null),
            ("EXISTS a", ":0\r\n"),
            ("SET a 5 NX", "+OK\r\n"),
            ("SET a 6 NX", null),
            ("SET a 6 NX GET", "$1\r\n5\r\n"),
            ("SET a 6 XX GET", "$1\r\n5\r\n"),
            ("SET a 7 XX", "+OK\r\n"),
            ("SET a 6 XX", BELOW),
            ("SET a 6 GET", BELOW),
            ("SET a 8 GET KEEPTTL", "$1\r\n7\r\n"),
            ("GETSET a 7", BELOW),
            ("GETSET a 10", "$1\r\n8\r\n"),
            ("STRLEN a", ":2\r\n"),
            ("GETSET a 0", "$2\r\n10\r\n"),
            ("INCR a", ":1\r\n"),
            ("SETNX a 9", ":0\r\n"),
            ("SETNX b 9", ":1\r\n"),
            ("GET b", "$1\r\n9\r\n"),
            ("SET c 0 NX GET", null),
            ("GET c", "$1\r\n0\r\n"),
            ("GETSET d 3", null),
            ("GETDEL d", "$1\r\n3\r\n"),
            ("GETDEL d", null),
            ("INCR d", ":1\r\n"),
            ("TTL a", ":-1\r\n"),
            ("PTTL x", ":-2\r\n"),
            ("EXPIRETIME a", ":-1\r\n"),
            ("PEXPIRETIME x", ":-2\r\n"),
            ("PERSIST a", ":0\r\n"),
            ("STRLEN x", ":0\r\n"),
            ("TOUCH a b x a", ":3\r\n"),
            ("OBJECT ENCODING a", "$3\r\nint\r\n"),
            ("OBJECT ENCODING x", null),
            ("OBJECT REFCOUNT a", ":1\r\n"),
            ("OBJECT IDLETIME x", null),
            ("MEMORY USAGE a", ":56\r\n"),
            ("MEMORY USAGE a SAMPLES 5", ":56\r\n"),
            ("MEMORY USAGE x", null),
            ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
            ("WAIT 1 100", ":0\r\n"),
            ("LATENCY LATEST", "*0\r\n"),
            ("LATENCY HISTORY event", "*0\r\n"),
            ("LATENCY RESET", ":0\r\n"),
            ("SLOWLOG GET 10", "*0\r\n"),
            ("SLOWLOG LEN", ":0\r\n"),
            ("SLOWLOG RESET", "+OK\r\n"),
            ("COMMAND GETKEYS MGET a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            ("SET a 5 EX 10", "-ERR topics do not expire\r\n"),
            ("EXPIRE a 10", "-ERR topics do not expire\r\n"),
            ("SET a 5 NX XX", "-ERR syntax error\r\n"),
            (
                "FLUSHALL",
                "-ERR not supported: topics are deleted one by one, with DEL\r\n",
            ),
            (
                "CLUSTER INFO",
                "-ERR This instance has cluster support disabled\r\n",
            ),
        ] {
            assert_answered(&mut stream, format!("{line}\r\n").as_bytes(), reply);
        }
        // A map and a text look different in the two versions.
        let (map, text) = match version {
            3 => ("%0\r\n", "="),
            _ => ("*0\r\n", "$"),
        };
        assert_answered(&mut stream, b"LATENCY HISTOGRAM\r\n", map);
        assert_answered(&mut stream, b"LATENCY DOCTOR\r\n", text);
    }
}

/// The server's clock, as two strings.
#[test]
fn time_is_the_clock() {
    let server = Embedded::start(1);
    let mut client = Client::connect(server.tcp);
    assert_eq!(client.ask("TIME"), "*2");
    assert!(client.line().starts_with('$'));
    let seconds: u64 = client.line().parse().unwrap();
    assert!(client.line().starts_with('$'));
    let microseconds: u64 = client.line().parse().unwrap();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(seconds) < 60 && microseconds < 1_000_000);
}

/// What health checks of load balancers look for.
#[test]
fn info_says_that_this_is_the_master() {
    let server = Embedded::start(1);
    let mut client = Client::connect(server.tcp);
    assert_eq!(client.ask("INFO replication"), "# Replication");
    assert_eq!(client.line(), "role:master");
    assert_eq!(client.line(), "connected_slaves:0");
}

/// Runs `ask` on a connection for each of `clients`, all at the same time, and returns the replies.
fn at_once(
    address: SocketAddr,
    clients: usize,
    ask: impl Fn(&mut Client) -> String + Sync,
) -> Vec<String> {
    let barrier = Barrier::new(clients);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    client.ask("PING");
                    barrier.wait();
                    ask(&mut client)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// One of the clients that create a topic, or take it away, is the one that did.
#[test]
fn exactly_one_client_creates_and_exactly_one_takes() {
    const CLIENTS: usize = 12;
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        for round in 0..12 {
            let count = |replies: &[String], reply: &str| {
                replies.iter().filter(|&other| other == reply).count()
            };
            let topic = format!("once {round}");
            let setnx = at_once(server.tcp, CLIENTS, |client| {
                client.ask(&format!("SETNX \"{topic}\" 7"))
            });
            assert_eq!(count(&setnx, ":1"), 1, "{setnx:?}");
            assert_eq!(count(&setnx, ":0"), CLIENTS - 1, "{setnx:?}");
            let getdel = at_once(server.tcp, CLIENTS, |client| {
                client.ask(&format!("GETDEL \"{topic}\""))
            });
            assert_eq!(count(&getdel, "7"), 1, "{getdel:?}");
            assert_eq!(count(&getdel, "$-1"), CLIENTS - 1, "{getdel:?}");
            let set = at_once(server.tcp, CLIENTS, |client| {
                client.ask(&format!("SET \"{topic}\" 1 NX GET"))
            });
            assert_eq!(count(&set, "$-1"), 1, "{set:?}");
            assert_eq!(count(&set, "1"), CLIENTS - 1, "{set:?}");
        }
    }
}

/// Counters that are read and reset in one step, as for rates: no count is lost or seen twice.
#[test]
fn counts_are_collected_exactly_once() {
    const COUNTS: u64 = 2_000;
    const CLIENTS: u64 = 4;
    for (collect, shards) in [("GETSET a 0", 1), ("SET a 0 GET", 8), ("GETDEL a", 8)] {
        let server = Embedded::start(shards);
        let collected: u64 = thread::scope(|scope| {
            let counting: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Client::connect(server.tcp);
                        for _ in 0..COUNTS {
                            assert!(client.ask("INCR a").starts_with(':'));
                        }
                    })
                })
                .collect();
            let mut client = Client::connect(server.tcp);
            let mut sum = 0;
            loop {
                let done = counting.iter().all(thread::ScopedJoinHandle::is_finished);
                sum += client.ask(collect).parse().unwrap_or(0); // null if nobody counted since
                if done {
                    return sum;
                }
            }
        });
        assert_eq!(collected, CLIENTS * COUNTS, "{collect}");
    }
}

#[test]
fn a_new_topic_over_the_limit_is_refused_and_an_old_one_is_not() {
    let server = Embedded::with(Config {
        max_topics: 1,
        ..config(2)
    });
    let mut stream = connect(server.tcp);
    let full = "-OOM the limit on topics is reached (--max-topics, or that of the token)\r\n";
    assert_answered(&mut stream, &command(&["SETNX", "a", "1"]), ":1\r\n");
    for words in [
        &["SETNX", "b", "1"][..],
        &["SET", "b", "0", "NX"],
        &["GETSET", "b", "1"],
    ] {
        assert_answered(&mut stream, &command(words), full);
    }
    assert_answered(&mut stream, &command(&["SET", "b", "1", "XX"]), "$-1\r\n");
    assert_answered(&mut stream, &command(&["SETNX", "a", "2"]), ":0\r\n");
    assert_answered(&mut stream, &command(&["GETDEL", "a"]), "$1\r\n1\r\n");
    assert_answered(&mut stream, &command(&["SETNX", "b", "1"]), ":1\r\n");
}

/// Somebody presses Enter in netcat before the first command.
#[test]
fn a_connection_may_begin_with_an_empty_line() {
    let server = Embedded::start(2);
    let mut stream = connect(server.tcp);
    stream.write_all(b"\r\n").unwrap();
    assert_answered(&mut stream, b"PING\r\n\n\nINCR a\r\n", "+PONG\r\n:1\r\n");
}
