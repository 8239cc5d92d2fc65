//! Tokens and passwords that clients show, the right ones and the wrong ones.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use globalcounter::access::{Digest, Policy};
use globalcounter::protocol::framed::Answer;
use globalcounter::protocol::{ErrorCode, Op, Reply};

use super::{DENIED, guarded, hello, token, try_hello};
use crate::support::{Embedded, Framed, assert_answered, connect, eventually, frame};

#[test]
fn a_wrong_token_is_denied_and_changes_nothing() {
    let tokens = vec![token("one", "the-right-token", "count", &[])];
    let (server, _) = guarded(2, tokens, &[]);
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(framed.ask(Op::Count, "a"), DENIED);
    assert_eq!(
        try_hello(&mut framed, None, "a-wrong-token"),
        Err(ErrorCode::Denied)
    );
    assert_eq!(framed.ask(Op::Count, "a"), DENIED);
    assert_eq!(try_hello(&mut framed, None, "the-right-token"), Ok(()));
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(1));
    assert_eq!(
        try_hello(&mut framed, Some(1), "one:a-wrong-token"),
        Err(ErrorCode::Denied)
    );
    assert_eq!(
        framed.ask(Op::Count, "a"),
        Reply::Count(2),
        "the old rights stay"
    );
    assert_eq!(framed.ask(Op::Reset, "a"), DENIED);

    let mut redis = connect(server.tcp);
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_answered(
        &mut redis,
        b"INCR a\r\n",
        "-NOAUTH Authentication required.\r\n",
    );
    assert_answered(&mut redis, b"AUTH one a-wrong-token\r\n", wrong);
    assert_answered(&mut redis, b"HELLO 3 AUTH one a-wrong-token\r\n", wrong);
    assert_answered(
        &mut redis,
        b"INCR a\r\n",
        "-NOAUTH Authentication required.\r\n",
    );
    // The commands of one read, too, have the rights of those before them.
    let pipeline = b"AUTH one the-right-token\r\nINCR a\r\nGET a\r\nRESET\r\nINCR a\r\n";
    let replies = "+OK\r\n:3\r\n-NOPERM this user has no permissions to run the 'get' command\r\n\
        +RESET\r\n-NOAUTH Authentication required.\r\n";
    assert_answered(&mut redis, pipeline, replies);
    assert_answered(
        &mut redis,
        b"HELLO 3 AUTH one the-right-token\r\n",
        "%7\r\n$6\r\nserver\r\n",
    );
}

#[test]
fn without_access_control_any_token_is_ignored() {
    let server = Embedded::start(1);
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(try_hello(&mut framed, None, "whatever"), Ok(()));
    assert_eq!(framed.ask(Op::Reset, "a"), Reply::Reset);
}

#[test]
fn requests_behind_a_password_wait_for_it() {
    let mut alice = token("alice", "", "count", &[]);
    alice.digest = Digest::of_password(b"sesame", &[9; 16]).ok();
    let (server, _) = guarded(2, vec![alice], &[]);
    let mut redis = connect(server.tcp);
    let pipeline = b"AUTH alice sesame\r\nINCR a\r\nAUTH alice wrong\r\nINCR a\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_answered(&mut redis, pipeline, &format!("+OK\r\n:1\r\n{wrong}:2\r\n"));
    let request = b"HELLO 2 AUTH alice sesame\r\n";
    assert_answered(&mut connect(server.tcp), request, "*14\r\n$6\r\nserver\r\n");

    for shard in [None, Some(0), Some(1)] {
        let mut framed = Framed::connect(server.tcp);
        let requests = [hello(1, shard, "alice:sesame"), frame(2, Op::Count, "a")];
        framed.send(&requests.concat());
        let answer = framed.receive(|answer| matches!(answer, Answer::Hello(_)));
        assert_eq!(answer, Some((1, true)));
        let reply = framed.reply().unwrap();
        assert!(matches!(reply, (2, Reply::Count(3..))), "{reply:?}");
    }
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(
        try_hello(&mut framed, None, "alice:wrong"),
        Err(ErrorCode::Denied)
    );
}

/// The digest takes as long as the server accepts, so that a reply to another connection of the same
/// worker comes first.
#[test]
fn others_are_served_while_a_password_is_checked() {
    let mut alice = token("alice", "", "count", &[]);
    let slow =
        "$argon2id$v=19$m=65536,t=10,p=1$c29tZXNhbHQ$PmUVgQ9HjFMKbyGPpwTYQ4yNBgUtRMpVgHoDLmNPd0M";
    alice.digest = slow.parse().ok();
    let (server, _) = guarded(1, vec![alice], &["127.0.0.0/8=read"]);
    let mut waiting = connect(server.tcp);
    waiting
        .write_all(b"AUTH alice sesame\r\nGET a\r\n")
        .unwrap();
    assert_answered(&mut connect(server.tcp), b"GET a\r\n", "$-1\r\n");
    assert_eq!(
        Framed::connect(server.tcp).ask(Op::Get, "a"),
        Reply::Get(Some(0))
    );
    waiting.set_nonblocking(true).unwrap();
    let early = waiting.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock));
    waiting.set_nonblocking(false).unwrap();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_answered(&mut waiting, b"", &format!("{wrong}$-1\r\n"));
}

/// CLIENT LIST, CLIENT INFO and CLIENT KILL know clients by the names of their tokens.
#[test]
fn clients_are_listed_with_the_names_of_their_tokens() {
    let tokens = || {
        vec![
            token("orders", "the-right-token", "count", &[]),
            token("boss", "the-token-of-the-boss", "admin", &[]),
        ]
    };
    let (server, guard) = guarded(2, tokens(), &[]);
    let mut boss = connect(server.tcp);
    assert_answered(&mut boss, b"AUTH the-token-of-the-boss\r\n", "+OK\r\n");
    let mut orders = connect(server.tcp);
    let users = |boss: &mut TcpStream| {
        let reply = bulk(boss, b"CLIENT LIST\r\n");
        let words = reply.split_whitespace();
        let users = words.filter_map(|word| word.strip_prefix("user="));
        users.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_answered(&mut orders, b"PING\r\n", "+PONG\r\n");
    assert_eq!(users(&mut boss), ["boss", "default"]);
    assert_answered(&mut orders, b"AUTH orders the-right-token\r\n", "+OK\r\n");
    assert_eq!(users(&mut boss), ["boss", "orders"]);
    assert!(bulk(&mut orders, b"CLIENT INFO\r\n").contains(" user=orders "));
    assert_answered(&mut orders, b"RESET\r\n", "+RESET\r\n");
    assert_eq!(users(&mut boss), ["boss", "default"]);
    assert_answered(&mut orders, b"AUTH orders the-right-token\r\n", "+OK\r\n");

    assert_answered(
        &mut boss,
        b"CLIENT KILL USER nobody\r\n",
        "-ERR No such user 'nobody'\r\n",
    );
    assert_answered(&mut boss, b"CLIENT KILL USER default\r\n", ":0\r\n");
    assert_answered(&mut boss, b"CLIENT KILL USER orders\r\n", ":1\r\n");
    assert_eq!(orders.read(&mut [0]).unwrap(), 0);

    // A removed token is no user any more, from the next command on.
    let mut orders = connect(server.tcp);
    assert_answered(&mut orders, b"AUTH orders the-right-token\r\n", "+OK\r\n");
    guard.set_policy(Policy::new(tokens().split_off(1), Vec::new()));
    assert_answered(&mut orders, b"PING\r\n", "+PONG\r\n");
    eventually("the killed client is not listed any more", || {
        users(&mut boss) == ["boss", "default"]
    });
}

/// Sends a command and returns its reply, which is one text.
fn bulk(stream: &mut TcpStream, command: &[u8]) -> String {
    stream.write_all(command).unwrap();
    let mut lines = BufReader::new(&*stream);
    let mut length = String::new();
    lines.read_line(&mut length).unwrap();
    let length = length.trim_end().strip_prefix('$').expect(&length);
    let mut text = vec![0; length.parse::<usize>().unwrap() + 2];
    lines.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}
