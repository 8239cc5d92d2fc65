//! SCAN over the wire: a walk finds every topic that exists throughout, whatever is added and
//! deleted meanwhile.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use globalcounter::protocol::Op;
use globalcounter::protocol::resp::{Value, decode_reply};

use crate::support::{Embedded, Framed, Random, command, connect};

/// A connection that sends SCAN.
struct Scanner {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Parses the head of a list: the number of items, and the bytes after the head. `None` if it is
/// incomplete.
fn list(input: &[u8]) -> Option<(usize, &[u8])> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    let head = std::str::from_utf8(&input[..end]).unwrap();
    let items = head.strip_prefix('*').expect("a list").parse().unwrap();
    Some((items, &input[end + 2..]))
}

/// Takes a string off the start of `input`. `None` if it is incomplete.
fn bulk(input: &mut &[u8]) -> Option<String> {
    let (value, len) = decode_reply(input).unwrap()?;
    let Value::Bulk(text) = value else {
        panic!("a string expected, not {value:?}");
    };
    let text = String::from_utf8(text.to_vec()).unwrap();
    *input = &input[len..];
    Some(text)
}

/// Parses a reply to SCAN: the cursor and the topics. `None` if it is incomplete.
fn reply(input: &[u8]) -> Option<(u64, Vec<String>)> {
    let (2, mut rest) = list(input)? else {
        panic!("a cursor and a list expected");
    };
    let cursor = bulk(&mut rest)?.parse().unwrap();
    let (count, mut rest) = list(rest)?;
    let topics = (0..count).map(|_| bulk(&mut rest)).collect::<Option<_>>()?;
    assert!(rest.is_empty());
    Some((cursor, topics))
}

impl Scanner {
    fn connect(address: SocketAddr) -> Self {
        Self {
            stream: connect(address),
            input: Vec::new(),
        }
    }

    /// Sends one SCAN and returns the next cursor and the topics.
    fn scan(&mut self, cursor: u64, options: &[&str]) -> (u64, Vec<String>) {
        let cursor = cursor.to_string();
        let words = ["SCAN", &cursor].into_iter().chain(options.iter().copied());
        let request = command(&words.collect::<Vec<_>>());
        self.stream.write_all(&request).unwrap();
        self.input.clear();
        let mut buffer = [0; 16 * 1024];
        loop {
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the server closed");
            self.input.extend_from_slice(&buffer[..len]);
            if let Some(reply) = reply(&self.input) {
                return reply;
            }
        }
    }

    /// Walks from the start to the end and returns how often each topic was found.
    fn walk(&mut self, options: &[&str]) -> HashMap<String, u32> {
        let mut found = HashMap::new();
        let mut cursor = 0;
        loop {
            let (next, topics) = self.scan(cursor, options);
            for topic in topics {
                *found.entry(topic).or_default() += 1;
            }
            cursor = next;
            if cursor == 0 {
                return found;
            }
            assert!(
                cursor < 1 << 53,
                "some clients store cursors as doubles: {cursor}"
            );
        }
    }
}

#[test]
fn a_walk_finds_every_topic_once_and_no_others() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let mut scanner = Scanner::connect(server.tcp);
        assert_eq!(scanner.scan(0, &[]), (0, vec![]));
        let topics: Vec<String> = (0..3_000).map(|i| format!("topic {i}")).collect();
        let mut framed = Framed::connect(server.tcp);
        framed.ask_each(Op::Count, &topics);
        let all: HashMap<String, u32> = topics.iter().map(|topic| (topic.clone(), 1)).collect();
        for count in ["1", "7", "10", "1000", "18446744073709551615"] {
            assert_eq!(scanner.walk(&["COUNT", count]), all, "COUNT {count}");
        }
        let found = scanner.walk(&["MATCH", "topic 2?9", "COUNT", "500", "TYPE", "string"]);
        assert_eq!(found.len(), 10);
        assert!(scanner.walk(&["TYPE", "list", "COUNT", "1000"]).is_empty());
        // A few topics fit into one reply, however many shards there are.
        framed.ask_each(Op::Delete, &topics[5..]);
        let (cursor, found) = scanner.scan(0, &[]);
        assert_eq!((cursor, found.len()), (0, 5));
        // Cursors that the server never gave out do no harm.
        for cursor in [1 << 52, (1 << 53) - 1, 1 << 53, u64::MAX] {
            let (next, found) = scanner.scan(cursor, &[]);
            assert!(found.len() <= 5 && next < 1 << 53);
        }
    }
}

#[test]
fn stable_topics_are_found_once_while_a_hundred_thousand_come_and_go() {
    const STABLE: usize = 5_000;
    const PASSING: usize = 100_000;
    let mut random = Random::seeded(6);
    let server = Embedded::start(8);
    let stable: Vec<String> = (0..STABLE).map(|i| format!("stable {i}")).collect();
    let mut framed = Framed::connect(server.tcp);
    framed.ask_each(Op::Count, &stable);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let passing: Vec<String> = (0..PASSING).map(|i| format!("passing {i}")).collect();
            // Half of them are added before any is deleted, so that some tables grow.
            framed.ask_each(Op::Count, &passing[..PASSING / 2]);
            for (come, go) in passing[PASSING / 2..].chunks(500).zip(passing.chunks(500)) {
                framed.ask_each(Op::Count, come);
                framed.ask_each(Op::Delete, go);
            }
            framed.ask_each(Op::Delete, &passing[PASSING / 2..]);
            done.store(true, Ordering::Relaxed);
        });
        let mut scanner = Scanner::connect(server.tcp);
        let mut walks = 0;
        while walks < 2 || !done.load(Ordering::Relaxed) {
            let count = (1 + random.below(2_000)).to_string();
            let found = scanner.walk(&["COUNT", &count]);
            for topic in &stable {
                assert_eq!(found.get(topic), Some(&1), "{topic}, COUNT {count}");
            }
            walks += 1;
        }
        println!("{walks} walks");
        churn.join().unwrap();
        let found = scanner.walk(&["COUNT", "1000"]);
        assert_eq!(found.len(), STABLE, "no deleted topic is left");
    });
}

/// In a pipeline, SCAN sees the effects of earlier commands, and none of later ones.
#[test]
fn a_scan_keeps_its_place_in_the_pipeline() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    let mut expected = String::new();
    let mut request = String::new();
    for i in 0..50 {
        let (topic, len) = (format!("t{i}"), format!("t{i}").len());
        request.push_str(&format!(
            "INCR {topic}\r\nSCAN 0 COUNT 100\r\nDEL {topic}\r\n"
        ));
        let found = format!("*2\r\n$1\r\n0\r\n*1\r\n${len}\r\n{topic}\r\n");
        expected.push_str(&format!(":1\r\n{found}:1\r\n"));
    }
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}
