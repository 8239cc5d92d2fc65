//! KEYS and RANDOMKEY over the wire: what they find, and that nobody waits for them.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use globalcounter::protocol::Op;
use globalcounter::protocol::resp::{Value, decode_reply};

use crate::support::{Embedded, Framed, assert_answered, command, connect};

/// Reads one reply that is a list of strings. Returns them, and what was read after it.
fn read_list(stream: &mut TcpStream) -> (Vec<String>, Vec<u8>) {
    let mut input = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut at = None; // the end of the first line
    let (mut next, mut names) = (0, Vec::new());
    loop {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the server closed");
        input.extend_from_slice(&buffer[..len]);
        if at.is_none()
            && let Some(end) = input.windows(2).position(|pair| pair == b"\r\n")
        {
            let head = std::str::from_utf8(&input[..end]).unwrap();
            let count: usize = head.strip_prefix('*').expect(head).parse().unwrap();
            (at, next) = (Some(count), end + 2);
        }
        let Some(count) = at else { continue };
        while names.len() < count {
            let Some((value, len)) = decode_reply(&input[next..]).unwrap() else {
                break;
            };
            let Value::Bulk(name) = value else {
                panic!("{value:?} is no string")
            };
            names.push(String::from_utf8(name.to_vec()).unwrap());
            next += len;
        }
        if names.len() == count {
            return (names, input.split_off(next));
        }
    }
}

fn keys(stream: &mut TcpStream, pattern: &str) -> Vec<String> {
    stream.write_all(&command(&["KEYS", pattern])).unwrap();
    let (mut names, rest) = read_list(stream);
    assert!(rest.is_empty());
    names.sort_unstable();
    names
}

#[test]
fn keys_finds_all_that_match() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let mut stream = connect(server.tcp);
        assert_eq!(keys(&mut stream, "*"), [""; 0]);
        let mut topics: Vec<String> = (0..20_000).map(|i| format!("topic {i:05}")).collect();
        let mut framed = Framed::connect(server.tcp);
        framed.ask_each(Op::Count, &topics);
        assert_eq!(keys(&mut stream, "*"), topics);
        assert_eq!(keys(&mut stream, "topic 0[12]??7").len(), 200);
        assert_eq!(keys(&mut stream, "topic 00042"), ["topic 00042"]);
        assert_eq!(keys(&mut stream, "nothing*"), [""; 0]);
        assert_eq!(keys(&mut stream, &"*a".repeat(512)), [""; 0]);
        framed.ask_each(Op::Delete, &topics[1..]);
        topics.truncate(1);
        assert_eq!(keys(&mut stream, "*"), topics);
    }
}

/// On one connection, KEYS sees what was asked before it, and nothing that was asked after it.
#[test]
fn keys_and_randomkey_have_their_place_in_the_pipeline() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    let (mut request, mut expected) = (String::new(), String::new());
    for i in 10..60 {
        request.push_str(&format!(
            "INCR t{i}\r\nKEYS *\r\nRANDOMKEY\r\nDEL t{i}\r\nRANDOMKEY\r\nKEYS *\r\n"
        ));
        let name = format!("$3\r\nt{i}\r\n");
        expected.push_str(&format!(":1\r\n*1\r\n{name}{name}:1\r\n$-1\r\n*0\r\n"));
    }
    assert_answered(&mut stream, request.as_bytes(), &expected);
    stream
        .write_all(b"CLIENT REPLY SKIP\r\nHELLO 3\r\n")
        .unwrap();
    assert_answered(&mut stream, b"RANDOMKEY\r\nKEYS *\r\n", "_\r\n*0\r\n");
}

/// Counts `other` on its connection until the reply to KEYS begins on `stream`, which has begun to
/// walk. Returns the number of counts.
fn counts_during_keys(stream: &TcpStream, other: &mut TcpStream, sum: &mut u64) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let before = *sum;
    loop {
        match stream.peek(&mut [0]) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        *sum += 1;
        assert_answered(other, &command(&["INCR", "other"]), &format!(":{sum}\r\n"));
    }
    stream.set_nonblocking(false).unwrap();
    *sum - before
}

/// The one worker serves other connections between the stretches of the walk.
#[test]
fn nobody_waits_for_keys_over_many_topics() {
    const TOPICS: usize = 200_000;
    const TRIES: usize = 20;
    let server = Embedded::start(1);
    let topics: Vec<String> = (0..TOPICS).map(|i| format!("topic {i:06}")).collect();
    Framed::connect(server.tcp).ask_each(Op::Count, &topics);
    let (mut stream, mut other) = (connect(server.tcp), connect(server.tcp));
    let mut sum = 1;
    assert_answered(&mut other, &command(&["INCR", "other"]), ":1\r\n");
    // This thread may be held up during a whole KEYS, so it may try again.
    for tried in 1..=TRIES {
        // Once PING is answered, the walk has begun.
        let request = b"PING\r\nKEYS *\r\nPING\r\n";
        assert_answered(&mut stream, request, "+PONG\r\n");
        let counts = counts_during_keys(&stream, &mut other, &mut sum);
        let (names, mut behind) = read_list(&mut stream);
        assert_eq!(names.len(), TOPICS + 1);
        let names: HashSet<&String> = names.iter().collect();
        assert!(topics.iter().all(|topic| names.contains(topic)));
        // The command behind it is answered behind it.
        let read = behind.len();
        behind.resize(b"+PONG\r\n".len(), 0);
        stream.read_exact(&mut behind[read..]).unwrap();
        assert_eq!(behind, b"+PONG\r\n");
        println!("{counts} counts before the reply to KEYS");
        if counts > 10 {
            return;
        }
        assert!(tried < TRIES, "others waited for KEYS, {TRIES} times");
    }
}

/// A server that stops, and a client that leaves, end a KEYS that has not found all yet.
#[test]
fn keys_ends_with_its_server_and_its_client() {
    let server = Embedded::start(2);
    let topics: Vec<String> = (0..100_000).map(|i| format!("topic {i:06}")).collect();
    Framed::connect(server.tcp).ask_each(Op::Count, &topics);
    let begin = b"PING\r\nKEYS *\r\n";
    let mut gone = connect(server.tcp);
    assert_answered(&mut gone, begin, "+PONG\r\n");
    drop(gone);
    let mut stays = connect(server.tcp);
    assert_answered(&mut stays, begin, "+PONG\r\n");
    drop(server); // and it ends well
    let mut reply = Vec::new();
    stays.read_to_end(&mut reply).unwrap();
    let stopped = reply == b"-TRYAGAIN the server is shutting down\r\n";
    assert!(stopped || reply.starts_with(b"*100000\r\n"));
}

/// A reply that would be too long is refused, and its memory is free again.
#[test]
fn keys_over_too_many_names_is_refused() {
    let server = Embedded::start(2);
    let topics: Vec<String> = (0..35_000).map(|i| format!("{i:01000}")).collect();
    Framed::connect(server.tcp).ask_each(Op::Count, &topics);
    let mut stream = connect(server.tcp);
    let refused = "-ERR the reply would exceed 32 MiB: use SCAN\r\n+PONG\r\n";
    for _ in 0..3 {
        assert_answered(&mut stream, b"KEYS *\r\nPING\r\n", refused);
    }
    assert_eq!(keys(&mut stream, "*9").len(), 3_500);
    // As many bytes of names as the limit allows, to a client that takes its time.
    stream.write_all(b"KEYS *[1-9]\r\n").unwrap();
    let (names, _) = read_list(&mut stream);
    assert_eq!(names.len(), 31_500);
}

/// Two topics may lie so close together that the second is hardly ever found: about one server in
/// two hundred has such topics. Another server has another key, so they lie elsewhere there.
#[test]
fn randomkey_finds_every_topic_sooner_or_later() {
    for shards in [1, 8] {
        let found_all = (0..4).any(|_| randomkey_misses(shards).is_empty());
        assert!(found_all, "{shards} shards: some topics are never found");
    }
}

/// Returns the topics of a new server that RANDOMKEY never finds in 20,000 attempts.
fn randomkey_misses(shards: usize) -> HashSet<String> {
    let server = Embedded::start(shards);
    let mut stream = connect(server.tcp);
    let topics: Vec<String> = (10..20).map(|i| format!("t{i}")).collect();
    Framed::connect(server.tcp).ask_each(Op::Count, &topics);
    let mut missing: HashSet<String> = topics.into_iter().collect();
    for _ in 0..20_000 {
        stream.write_all(b"RANDOMKEY\r\n").unwrap();
        let mut reply = [0; 9];
        stream.read_exact(&mut reply).unwrap();
        missing.remove(std::str::from_utf8(&reply[4..7]).unwrap());
        if missing.is_empty() {
            break;
        }
    }
    missing
}
