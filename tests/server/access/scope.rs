//! Rights hold for whatever a connection does and wherever it goes: searches, moves, TLS.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use globalcounter::access::{Digest, Guard, Policy};
use globalcounter::blocking::Client;
use globalcounter::client::{Options, TlsOptions};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::Config;

use super::{DENIED, INSIDE, OUTSIDE, guarded, ranges, token, try_hello};
use crate::support::{Embedded, Framed, TlsDirectory, assert_answered, command, connect};

#[test]
fn searches_return_only_topics_inside() {
    let tokens = vec![
        token("all", "token-for-all-topics", "count,read", &[]),
        token("some", "token-for-some-topics", "read", &["in/", "also/"]),
    ];
    let (server, _) = guarded(2, tokens, &[]);
    let mut all = connect(server.tcp);
    assert_answered(&mut all, b"AUTH token-for-all-topics\r\n", "+OK\r\n");
    for topic in ["in/1", "out", "also/1", "in"] {
        assert_answered(&mut all, &command(&["INCR", topic]), ":1\r\n");
    }
    let mut some = connect(server.tcp);
    assert_answered(&mut some, b"AUTH token-for-some-topics\r\n", "+OK\r\n");
    some.write_all(b"KEYS *\r\nSCAN 0 COUNT 1000\r\nQUIT\r\n")
        .unwrap();
    let mut replies = String::new();
    some.read_to_string(&mut replies).unwrap();
    let mut names: Vec<&str> = replies
        .lines()
        .filter(|line| line.starts_with(['i', 'o', 'a']))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["also/1", "also/1", "in/1", "in/1"], "{replies}");
    let mixed =
        "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
    let mut some = connect(server.tcp);
    assert_answered(&mut some, b"AUTH token-for-some-topics\r\n", "+OK\r\n");
    assert_answered(&mut some, b"MGET in/1 out\r\n", mixed);
}

#[test]
fn rights_move_with_the_connection() {
    let tokens = vec![token("one", "the-right-token", "count", &["in/"])];
    let (server, _) = guarded(4, tokens, &[]);
    let mut framed = Framed::connect(server.tcp);
    for shard in [0, 3, 1, 2] {
        assert_eq!(
            try_hello(&mut framed, Some(shard), "the-right-token"),
            Ok(())
        );
        assert!(matches!(framed.ask(Op::Count, INSIDE), Reply::Count(_)));
        assert_eq!(framed.ask(Op::Count, OUTSIDE), DENIED);
        // A HELLO without a token keeps the rights that the connection has.
        assert_eq!(
            framed.hello(Some((shard + 1) % 4)).shard.number(),
            (shard + 1) % 4
        );
        assert!(matches!(framed.ask(Op::Count, INSIDE), Reply::Count(_)));
        assert_eq!(framed.ask(Op::Count, OUTSIDE), DENIED);
    }
}

/// The same over TLS, for each worker that a new connection can be handed to before its handshake.
#[test]
fn tokens_and_address_ranges_hold_over_tls() {
    let files = TlsDirectory::new("access");
    let mut password = token("alice", "", "count", &["in/"]);
    password.digest = Digest::of_password(b"sesame", &[9; 16]).ok();
    let tokens = vec![token("one", "the-right-token", "count", &["in/"]), password];
    let policy = Policy::new(tokens, ranges(&["127.0.0.1=read:in/"]));
    let server = Embedded::with(Config {
        access: Some(Arc::new(Guard::new(policy))),
        ..files.config(4, files.files())
    });
    let (address, _) = *server.tls.as_ref().unwrap();
    let client = files.client();
    let mut sum = 0;
    let mut open = Vec::new();
    for secret in ["the-right-token", "alice:sesame"].repeat(4) {
        let mut framed = client.framed(address);
        // Its address allows this before it has shown a token.
        assert_eq!(framed.ask(Op::Get, OUTSIDE), DENIED);
        assert!(matches!(framed.ask(Op::Get, INSIDE), Reply::Get(_)));
        assert_eq!(framed.ask(Op::Count, INSIDE), DENIED);
        // Once: passwords of an address that keeps failing are not checked.
        if open.is_empty() {
            let wrong = try_hello(&mut framed, Some(1), "one:a-wrong-token");
            assert_eq!(wrong, Err(ErrorCode::Denied));
            assert_eq!(framed.ask(Op::Count, INSIDE), DENIED);
        }
        assert_eq!(try_hello(&mut framed, None, secret), Ok(()));
        // The rights move with the connection.
        for shard in 0..4 {
            assert_eq!(framed.hello(Some(shard)).shard.number(), shard);
            sum += 1;
            assert_eq!(framed.ask(Op::Count, INSIDE), Reply::Count(sum));
            assert_eq!(framed.ask(Op::Count, OUTSIDE), DENIED);
        }
        open.push(framed);
    }

    let pipeline = b"GET in/a\r\nINCR in/a\r\nAUTH one a-wrong-token\r\nINCR in/a\r\n\
        AUTH one the-right-token\r\nINCR in/a\r\nINCR out\r\nQUIT\r\n";
    let denied = "-NOPERM this user has no permissions to run the 'incr' command\r\n";
    let outside =
        "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let shown = sum.to_string();
    let expected = format!(
        "${}\r\n{shown}\r\n{denied}{wrong}{denied}+OK\r\n:{}\r\n{outside}+OK\r\n",
        shown.len(),
        sum + 1
    );
    let replies = client.exchange_to_end(address, pipeline).unwrap();
    assert_eq!(String::from_utf8(replies).unwrap(), expected);
    assert_eq!(client.exchange_to_end(address, b"\0in/a").unwrap()[0], 255);

    let ca = fs::read(files.path("ca.pem")).unwrap();
    let tls = TlsOptions::trusting(&ca).unwrap();
    let url = format!("tls://localhost:{}", address.port());
    for shard_aware in [false, true] {
        let options = Options::default().tls(tls.clone()).shard_aware(shard_aware);
        let stranger = Client::connect_with(&url, options.clone()).unwrap();
        assert!(stranger.count(INSIDE).is_err());
        let client = Client::connect_with(&url, options.token("the-right-token")).unwrap();
        assert!(client.count(INSIDE).unwrap() > sum);
        assert!(client.count(OUTSIDE).is_err());
    }
}
