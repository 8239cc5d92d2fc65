//! Limits on requests a second, on the topics of a token, and on datagrams: each is run into, and counted.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use globalcounter::access::{Digest, Grant, Guard, Policy, Rule, Token, TokenLimits};
use globalcounter::protocol::framed::{self, Answer, Call, Hello, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::{Config, LimitsReached};
use globalcounter::topic::ShardId;
use nix::sys::signal::Signal;

use crate::support::metrics;
use crate::support::{
    Directory, Embedded, Framed, Process, assert_answered, command, config, connect, datagrams,
    eventually, exchange, frame,
};

const BUSY: Reply = Reply::Error(ErrorCode::Busy);
const TOO_MANY_TOPICS: Reply = Reply::Error(ErrorCode::TooManyTopics);
const TRYAGAIN: &str = "-TRYAGAIN busy, nothing was counted\r\n";

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A token that may do everything within limits.
fn token(limits: TokenLimits) -> Token {
    let rule = Rule {
        rights: "count,read,reset,advance,admin".parse().unwrap(),
        prefixes: Vec::new(),
    };
    Token {
        name: "limited".to_owned(),
        digest: Some(Digest::of_token(SECRET.as_bytes())),
        certificate: None,
        grant: Arc::new(Grant::new([rule])),
        limits,
    }
}

fn rate(rate: u32) -> TokenLimits {
    TokenLimits {
        rate: Some(rate),
        max_topics: None,
    }
}

fn max_topics(max: u64) -> TokenLimits {
    TokenLimits {
        rate: None,
        max_topics: Some(max),
    }
}

fn with_token(shards: usize, limits: TokenLimits) -> (Embedded, Arc<Guard>) {
    let guard = Arc::new(Guard::new(Policy::new(vec![token(limits)], Vec::new())));
    let server = Embedded::with(Config {
        access: Some(Arc::clone(&guard)),
        ..config(shards)
    });
    (server, guard)
}

/// Opens a framed connection with the token, at the worker of `shard`.
fn authenticated(address: SocketAddr, shard: u16) -> Framed {
    let mut framed = Framed::connect(address);
    let hello = Hello {
        shard: Some(ShardId::new(shard)),
        node: false,
        token: SECRET.as_bytes(),
    };
    let mut request = Vec::new();
    framed::encode_request(RequestId(1), &Call::Hello(hello), &mut request);
    framed.send(&request);
    let accepted = framed.receive(|answer| matches!(answer, Answer::Hello(_)));
    assert_eq!(accepted, Some((1, true)));
    framed
}

/// Sends a pipeline of counts of one topic, and returns how many were applied. The others got BUSY.
fn applied(framed: &mut Framed, requests: u32) -> u64 {
    let pipeline: Vec<u8> = (0..requests)
        .flat_map(|id| frame(id, Op::Count, "topic"))
        .collect();
    framed.send(&pipeline);
    let (mut applied, mut seen) = (0, 0);
    for _ in 0..requests {
        let (id, reply) = framed.reply().unwrap();
        seen += u64::from(id);
        match reply {
            Reply::Count(_) => applied += 1,
            reply => assert_eq!(reply, BUSY),
        }
    }
    assert_eq!(
        seen,
        (0..u64::from(requests)).sum::<u64>(),
        "each got one reply"
    );
    applied
}

/// Sends commands as the last ones, and returns the replies.
fn answered_to_end(mut redis: TcpStream, commands: &[u8]) -> String {
    redis.write_all(commands).unwrap();
    redis.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    redis.read_to_string(&mut replies).unwrap();
    replies
}

fn reached(server: &Embedded) -> LimitsReached {
    server.monitor.snapshot().limits_reached
}

/// A rate that gives back far fewer requests than the tests send, however long they take.
const BURST: u32 = 50;

#[test]
fn a_connection_over_its_rate_is_busy_and_others_are_not() {
    let server = Embedded::with(Config {
        max_rate_per_connection: BURST,
        ..config(2)
    });
    let mut flood = Framed::connect(server.tcp);
    let applied_now = applied(&mut flood, 10_000);
    assert!(applied_now >= u64::from(BURST), "{applied_now}");
    assert!(applied_now < 5_000, "{applied_now}");
    let over = reached(&server).requests_over_connection_rate;
    assert_eq!(over, 10_000 - applied_now);

    let mut other = Framed::connect(server.tcp);
    assert_eq!(other.ask(Op::Get, "topic"), Reply::Get(Some(applied_now)));
    eventually("the rate comes back", || {
        flood.ask(Op::Get, "topic") == Reply::Get(Some(applied_now))
    });
    // Moving to another worker brings no new burst.
    let mut moved = Framed::connect(server.tcp);
    applied(&mut moved, 10 * BURST);
    let before = reached(&server).requests_over_connection_rate;
    let mut requests = Vec::new();
    for shard in [0, 1, 0, 1] {
        let hello = Hello {
            shard: Some(ShardId::new(shard)),
            node: false,
            token: b"",
        };
        framed::encode_request(RequestId(0), &Call::Hello(hello), &mut requests);
    }
    moved.send(&requests);
    for _ in 0..4 {
        moved.receive(|_| ()).unwrap();
    }
    assert!(applied(&mut moved, 10 * BURST) < u64::from(5 * BURST));
    assert!(reached(&server).requests_over_connection_rate > before);
}

#[test]
fn commands_over_the_rate_get_tryagain_and_count_once_for_each_topic() {
    let server = Embedded::with(Config {
        max_rate_per_connection: 10,
        ..config(2)
    });
    let mut redis = connect(server.tcp);
    let keys: Vec<String> = (0..11).map(|n| format!("key{n}")).collect();
    let mut mget = vec!["MGET"];
    mget.extend(keys.iter().map(String::as_str));
    // More than ever fit into the bucket.
    assert_answered(&mut redis, &command(&mget), TRYAGAIN);
    mget.pop();
    let nil = "$-1\r\n".repeat(10);
    assert_answered(&mut redis, &command(&mget), &format!("*10\r\n{nil}"));
    // All commands in one read: some 100 ms would have to pass for each of them.
    let pipeline = [
        &b"NONSENSE\r\n"[..],
        &b"INCR a\r\n".repeat(998),
        b"PING\r\n",
    ]
    .concat();
    let replies = answered_to_end(redis, &pipeline);
    assert_eq!(replies.lines().count(), 1_000);
    let busy = replies.matches("TRYAGAIN").count();
    assert!((500..=1_000).contains(&busy), "{busy}");
    let over = reached(&server).requests_over_connection_rate;
    assert_eq!(over, 11 + busy as u64);
}

#[test]
fn connections_with_one_token_share_its_rate_over_all_workers() {
    let (server, guard) = with_token(2, rate(200));
    let mut connections: Vec<Framed> = (0..4).map(|n| authenticated(server.tcp, n % 2)).collect();
    let mut total = 0;
    for connection in &mut connections {
        total += applied(connection, 5_000);
    }
    assert!((200 - 4..5_000).contains(&total), "{total}");
    let over = reached(&server).requests_over_token_rate;
    assert_eq!(over, 20_000 - total);
    assert_eq!(reached(&server).requests_over_connection_rate, 0);

    // The limit can be taken away while the server runs.
    guard.set_policy(Policy::new(vec![token(rate(0))], Vec::new()));
    assert_eq!(applied(&mut connections[0], 5_000), 5_000);
}

#[test]
fn a_password_is_counted_once_and_its_user_is_limited() {
    let password = b"sesame";
    let user = Token {
        digest: Some(Digest::of_password(password, &[7; 16]).unwrap()),
        ..token(rate(3))
    };
    let guard = Arc::new(Guard::new(Policy::new(vec![user], Vec::new())));
    let server = Embedded::with(Config {
        access: Some(guard),
        max_rate_per_connection: 10,
        ..config(1)
    });
    let redis = connect(server.tcp);
    // AUTH waits for the check, and the commands behind it wait with it.
    let pipeline = [&b"AUTH limited sesame\r\n"[..], &b"INCR a\r\n".repeat(500)].concat();
    let replies = answered_to_end(redis, &pipeline);
    assert!(
        replies.starts_with("+OK\r\n:1\r\n:2\r\n:3\r\n"),
        "{replies}"
    );
    let busy = replies.matches("TRYAGAIN").count() as u64;
    assert!(busy > 400, "{replies}");
    let reached = reached(&server);
    let over = reached.requests_over_token_rate + reached.requests_over_connection_rate;
    assert_eq!(over, busy);
}

#[test]
fn a_token_creates_as_many_topics_as_it_may() {
    let (server, guard) = with_token(2, max_topics(100));
    let mut connections: Vec<Framed> = (0..2).map(|n| authenticated(server.tcp, n)).collect();
    let mut created = 0;
    for n in 0..300 {
        let topic = format!("topic{n}");
        match connections[n % 2].ask(Op::Count, &topic) {
            Reply::Count(1) => created += 1,
            reply => assert_eq!(reply, TOO_MANY_TOPICS),
        }
    }
    assert_eq!(created, 100);
    let snapshot = server.monitor.snapshot();
    assert_eq!(snapshot.topics, 100);
    assert_eq!(snapshot.limits_reached.topics_over_token_limit, 200);

    let connection = &mut connections[0];
    assert_eq!(connection.ask(Op::Count, "topic0"), Reply::Count(2));
    assert_eq!(connection.ask(Op::Get, "topic299"), Reply::Get(Some(0)));
    for op in [Op::Reset, Op::Advance(7)] {
        assert_eq!(connection.ask(op, "topic299"), TOO_MANY_TOPICS);
    }
    // A deleted topic was created as well.
    assert_eq!(
        connection.ask(Op::Delete, "topic0"),
        Reply::Delete { existed: true }
    );
    assert_eq!(connection.ask(Op::Count, "topic0"), TOO_MANY_TOPICS);
    let mut redis = connect(server.tcp);
    let auth = command(&["AUTH", "limited", SECRET]);
    assert_answered(&mut redis, &auth, "+OK\r\n");
    assert_answered(
        &mut redis,
        &command(&["INCR", "topic299"]),
        "-OOM the limit on topics is reached (--max-topics, or that of the token)\r\n",
    );

    // More room, for topics that are created from now on.
    guard.set_policy(Policy::new(vec![token(max_topics(101))], Vec::new()));
    assert_eq!(connection.ask(Op::Count, "topic298"), Reply::Count(1));
    assert_eq!(connection.ask(Op::Count, "topic299"), TOO_MANY_TOPICS);
}

/// A token is not charged for topics that the server has no room for.
#[test]
fn the_limit_of_the_server_costs_a_token_nothing() {
    let policy = Policy::new(vec![token(max_topics(3))], Vec::new());
    let server = Embedded::with(Config {
        access: Some(Arc::new(Guard::new(policy))),
        max_topics: 1,
        ..config(1)
    });
    let mut connection = authenticated(server.tcp, 0);
    assert_eq!(connection.ask(Op::Count, "a"), Reply::Count(1));
    for topic in ["b", "c", "d", "e"] {
        assert_eq!(connection.ask(Op::Count, topic), TOO_MANY_TOPICS);
    }
    assert_eq!(reached(&server).topics_over_token_limit, 0);
    assert_eq!(
        connection.ask(Op::Delete, "a"),
        Reply::Delete { existed: true }
    );
    assert_eq!(connection.ask(Op::Count, "b"), Reply::Count(1));
}

#[test]
fn datagrams_over_a_turn_are_served_in_the_next() {
    const DATAGRAMS: u64 = 64;
    let server = Embedded::with(Config {
        max_datagrams_per_turn: 1,
        ..config(1)
    });
    let socket = datagrams(server.udp);
    for _ in 0..DATAGRAMS {
        socket.send(b"\0topic").unwrap();
    }
    let mut sums: Vec<u64> = (0..DATAGRAMS).map(|_| sum(&socket)).collect();
    sums.sort_unstable();
    assert!(sums.into_iter().eq(1..=DATAGRAMS));
    assert!(reached(&server).full_datagram_turns > 0);
}

/// Receives a classic reply with a sum.
fn sum(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[0], 128);
    buffer[1..len]
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[test]
fn a_source_of_bad_datagrams_gets_some_errors_and_all_sums() {
    const FLOOD: usize = 500;
    let server = Embedded::with(Config {
        max_errors_per_source: 1,
        ..config(1)
    });
    let socket = datagrams(server.udp);
    // Frames without a method in datagrams of their own, and a valid request behind each.
    for _ in 0..FLOOD {
        socket.send(&[9, b'a']).unwrap();
        assert_eq!(exchange_sum(&socket), Op::Count);
    }
    let errors = FLOOD as u64 - reached(&server).unsent_datagram_errors;
    assert!((1..FLOOD as u64 / 2).contains(&errors), "{errors}");
    let counted = Framed::connect(server.tcp).ask(Op::Get, "topic");
    assert_eq!(counted, Reply::Get(Some(FLOOD as u64)));
}

/// Counts by a datagram and waits for its sum; errors may come before.
fn exchange_sum(socket: &UdpSocket) -> Op {
    let mut reply = exchange(socket, b"\0topic");
    while reply[0] != 128 {
        assert_eq!(reply[..2], [255, ErrorCode::BadOpcode.code()]);
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).unwrap();
        reply = buffer[..len].to_vec();
    }
    Op::Count
}

/// The whole way: flags and tokens file, the metric, and SIGHUP.
#[test]
fn limits_are_set_by_flags_and_the_tokens_file_and_reloaded() {
    let directory = Directory::new("rates");
    fs::create_dir(&directory.0).unwrap();
    let (tokens, settings) = (
        directory.0.join("tokens.toml"),
        directory.0.join("server.toml"),
    );
    let Digest::Token(digest) = Digest::of_token(SECRET.as_bytes()) else {
        panic!("a random token")
    };
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = |limits: &str| {
        format!(
            "limited = {{ rights = [\"count\", \"read\", \"admin\"], digest = \"sha-256:{digits}\"{limits} }}\n"
        )
    };
    fs::write(&tokens, line(", max-topics = 1")).unwrap();
    fs::write(&settings, "max_topics_per_token = 5\n").unwrap();
    let (tokens, settings) = (tokens.to_str().unwrap(), settings.to_str().unwrap());
    let server = Process::with_admin(&[
        "--tokens",
        tokens,
        "--config",
        settings,
        "--allow",
        "127.0.0.1/32=read",
    ]);
    let mut connection = authenticated(server.tcp, 0);
    let room = |connection: &mut Framed, prefix: &str| {
        let counts = (0..10).map(|n| connection.ask(Op::Count, &format!("{prefix}{n}")));
        counts.filter(|reply| *reply == Reply::Count(1)).count()
    };
    assert_eq!(room(&mut connection, "a"), 1);
    let name = "globalcounter_limits_reached_total{limit=\"max_topics_per_token\"}";
    assert_eq!(metrics(server.admin.unwrap())[name], 9.0);

    // Without a limit of its own, the token has the server's.
    fs::write(tokens, line("")).unwrap();
    server.signal(Signal::SIGHUP);
    let mut created = 0;
    eventually("the server's limit applies", || {
        created += room(&mut connection, &format!("b{created}-"));
        created == 4
    });
    fs::write(
        settings,
        "max_topics_per_token = 5\nmax_rate_per_token = 1\n",
    )
    .unwrap();
    server.signal(Signal::SIGHUP);
    eventually("a rate applies", || connection.ask(Op::Get, "a0") == BUSY);
}
