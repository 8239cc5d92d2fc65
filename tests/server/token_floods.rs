//! Floods of wrong tokens, and of new topics by one token: a client that behaves is answered meanwhile,
//! memory stays within a bound, and afterwards the server is as idle as before.
//!
//! The long versions print latency and memory. On a quiet machine with a release build:
//! `cargo test --release --test server -- --ignored --nocapture token_floods`

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::access::Digest;
use globalcounter::protocol::framed::{self, Answer, Call, Hello, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply};

use crate::support::{
    Framed, PATIENCE, Process, SetOnDrop, TlsDirectory, command, connect, eventually, frame,
};

const GOOD: &str = "the-token-of-a-client-that-behaves";
const FLOOD: &str = "the-token-of-a-client-that-floods!";

/// A flood sends this many requests before it reads their replies.
const PIPELINE: usize = 100;

/// What a server may take for buffers, threads and the allocator's rest, beside its topics.
const OVERHEAD: usize = 50_000_000;

/// What a topic with a short name takes, with the room that a growing table has in advance.
const TOPIC: usize = 2 * 58;

/// The p99 of the client that behaves, on a quiet machine.
const P99: Duration = Duration::from_millis(5);

/// Starts a server with two tokens; that of the flood may create `max_topics` topics.
fn start(name: &str, max_topics: u64) -> (TlsDirectory, Process) {
    let directory = TlsDirectory::new(name);
    let entry = |name: &str, secret: &str, limits: &str| {
        let Digest::Token(digest) = Digest::of_token(secret.as_bytes()) else {
            panic!("a random token")
        };
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} = {{ rights = [\"count\"], digest = \"sha-256:{digits}\"{limits} }}\n")
    };
    let limits = format!(", max-topics = {max_topics}");
    let tokens = entry("good", GOOD, "") + &entry("flood", FLOOD, &limits);
    directory.write("tokens.toml", &tokens);
    let server = Process::quiet(&["--shards", "2", "--tokens", &directory.text("tokens.toml")]);
    (directory, server)
}

fn hello(token: &str) -> Vec<u8> {
    let mut request = Vec::new();
    let hello = Hello {
        shard: None,
        node: false,
        token: token.as_bytes(),
    };
    framed::encode_request(RequestId(1), &Call::Hello(hello), &mut request);
    request
}

fn authenticated(address: SocketAddr, token: &str) -> Framed {
    let mut framed = Framed::connect(address);
    framed.send(&hello(token));
    let accepted = framed.receive(|answer| matches!(answer, Answer::Hello(_)));
    assert_eq!(accepted, Some((1, true)));
    framed
}

/// Counts one request after another until `done`, and at least a hundred. Returns how long each took.
fn behave(address: SocketAddr, done: &AtomicBool) -> Vec<Duration> {
    let mut client = authenticated(address, GOOD);
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) || times.len() < 100 {
        let start = Instant::now();
        let sum = times.len() as u64 + 1;
        assert_eq!(client.ask(Op::Count, "good"), Reply::Count(sum));
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times
}

/// Runs `flood` on some threads beside the client that behaves, and checks what is left of it. `topics`
/// is how many topics the flood may have created. Returns the p99 of the client that behaves.
fn beside_a_client_that_behaves(
    server: &Process,
    topics: usize,
    flood: impl Fn(usize) + Sync,
) -> Duration {
    let before = server.resident();
    let done = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        let client = scope.spawn(|| behave(server.tcp, &done));
        {
            let _done = SetOnDrop(&done);
            thread::scope(|floods| {
                for n in 0..4 {
                    let flood = &flood;
                    floods.spawn(move || flood(n));
                }
            });
        }
        client.join().unwrap()
    });
    eventually("all connections are closed", || {
        server.descriptors() <= server.idle_descriptors
    });
    let after = server.resident();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "client: {} requests, p50 {:?}, p99 {:?}, max {:?}; memory {} -> {} kB",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        before / 1_000,
        after / 1_000,
    );
    let bound = before + OVERHEAD + topics * TOPIC;
    assert!(after <= bound, "{after} bytes of memory, bound {bound}");
    at(0.99)
}

/// Sends wrong tokens on one connection: by HELLO, or by AUTH.
fn send_wrong_tokens(address: SocketAddr, by_hello: bool, pipelines: usize) {
    if by_hello {
        let mut framed = Framed::connect(address);
        for _ in 0..pipelines {
            framed.send(&hello("a-wrong-token").repeat(PIPELINE));
            for _ in 0..PIPELINE {
                let (_, reply) = framed.reply().unwrap();
                let busy = Reply::Error(ErrorCode::Busy);
                let denied = Reply::Error(ErrorCode::Denied);
                assert!(reply == busy || reply == denied, "{reply:?}");
            }
        }
        return;
    }
    let mut redis = connect(address);
    redis.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 65_536];
    for _ in 0..pipelines {
        let auth = command(&["AUTH", "good", "a-wrong-token"]);
        redis.write_all(&auth.repeat(PIPELINE)).unwrap();
        let mut lines = 0;
        while lines < PIPELINE {
            let len = redis.read(&mut buffer).unwrap();
            assert_ne!(len, 0, "the server has closed the connection");
            lines += buffer[..len].iter().filter(|&&byte| byte == b'\n').count();
        }
    }
}

fn flood_of_wrong_tokens(name: &str, attempts: usize) -> Duration {
    let (_directory, server) = start(name, 0);
    let pipelines = attempts / 4 / PIPELINE;
    beside_a_client_that_behaves(&server, 0, |n| {
        send_wrong_tokens(server.tcp, n % 2 == 0, pipelines);
    })
}

fn flood_of_topics(name: &str, requests: usize, max_topics: usize) -> Duration {
    let (_directory, server) = start(name, max_topics as u64);
    let created = std::sync::atomic::AtomicUsize::new(0);
    let p99 = beside_a_client_that_behaves(&server, max_topics, |n| {
        let mut client = authenticated(server.tcp, FLOOD);
        for pipeline in 0..requests / 4 / PIPELINE {
            let first = pipeline * PIPELINE;
            let topics = (first..first + PIPELINE).map(|topic| format!("{n}-{topic}"));
            let requests = topics.flat_map(|topic| frame(1, Op::Count, &topic));
            client.send(&requests.collect::<Vec<u8>>());
            for _ in 0..PIPELINE {
                match client.reply().unwrap().1 {
                    Reply::Count(1) => _ = created.fetch_add(1, Ordering::Relaxed),
                    reply => assert_eq!(reply, Reply::Error(ErrorCode::TooManyTopics)),
                }
            }
        }
    });
    assert_eq!(created.into_inner(), max_topics);
    p99
}

#[test]
fn wrong_tokens_hold_up_nobody() {
    flood_of_wrong_tokens("wrong-tokens", 20_000);
}

#[test]
fn new_topics_of_one_token_hold_up_nobody() {
    flood_of_topics("new-topics", 100_000, 10_000);
}

#[test]
#[ignore = "takes longer, and measures: run with --release --ignored on a quiet machine"]
fn a_million_wrong_tokens_hold_up_nobody() {
    let p99 = flood_of_wrong_tokens("million-wrong-tokens", 1_000_000);
    assert!(p99 < P99, "{p99:?}");
}

#[test]
#[ignore = "takes longer, and measures: run with --release --ignored on a quiet machine"]
fn ten_million_topics_of_one_token_hold_up_nobody() {
    let p99 = flood_of_topics("million-topics", 10_000_000, 1_000_000);
    assert!(p99 < P99, "{p99:?}");
}
