//! Who may do what: the table of docs/security.md, tokens and passwords, address ranges, and the start of
//! a server that everybody could reach.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use globalcounter::access::{AddressRange, Digest, Grant, Guard, Policy, Rule, Token, TokenLimits};
use globalcounter::blocking::Client;
use globalcounter::client::{Options, TlsOptions};
use globalcounter::protocol::framed::{self, Answer, Call, Hello, RequestId};
use globalcounter::protocol::resp::COMMANDS;
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::Config;
use globalcounter::topic::ShardId;
use nix::sys::signal::Signal;
use redis::Commands;

use crate::command::{command as program, one_line};
use crate::support::{
    Directory, Embedded, Framed, PATIENCE, Process, TlsDirectory, add, assert_answered, command,
    config, connect, datagrams, exchange, exchange_to_end, frame,
};

const DOCUMENT: &str = include_str!("../../docs/security.md");

const DENIED: Reply = Reply::Error(ErrorCode::Denied);

const INSIDE: &str = "in/a";
const OUTSIDE: &str = "out";

/// A token for tests. Its secret is long enough for sha-256.
fn token(name: &str, secret: &str, rights: &str, prefixes: &[&str]) -> Token {
    let rule = Rule {
        rights: rights.parse().unwrap(),
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
    };
    Token {
        name: name.to_owned(),
        digest: Digest::of_token(secret.as_bytes()),
        grant: Arc::new(Grant::new([rule])),
        limits: TokenLimits::default(),
    }
}

fn ranges(texts: &[&str]) -> Vec<AddressRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Starts a server, and returns it with its guard.
fn guarded(shards: usize, tokens: Vec<Token>, allow: &[&str]) -> (Embedded, Arc<Guard>) {
    let guard = Arc::new(Guard::new(Policy::new(tokens, ranges(allow))));
    let server = Embedded::with(Config {
        access: Some(Arc::clone(&guard)),
        ..config(shards)
    });
    (server, guard)
}

fn hello(id: u32, shard: Option<u16>, token: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello {
        shard: shard.map(ShardId::new),
        token: token.as_bytes(),
    };
    framed::encode_request(RequestId(id), &Call::Hello(hello), &mut out);
    out
}

/// Sends HELLO with a token; returns the error if there is one.
fn try_hello(
    framed: &mut Framed<impl Read + Write>,
    shard: Option<u16>,
    token: &str,
) -> Result<(), ErrorCode> {
    framed.send(&hello(5, shard, token));
    let (id, result) = framed
        .receive(|answer| match answer {
            Answer::Hello(_) => Ok(()),
            Answer::Reply(Reply::Error(code)) => Err(code),
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(id, 5);
    result
}

/// A row of the table.
struct Row {
    framed: Vec<&'static str>,
    classic: Vec<&'static str>,
    resp: Vec<&'static str>,
    rights: Vec<&'static str>,
    prefixes: &'static str,
}

/// What a peer may do in one round of the matrix.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    right: &'static str,
    limited: bool,
}

impl Row {
    fn expects(&self, allowed: Option<Allowed>, inside: bool) -> bool {
        if self.rights == ["none"] {
            return true;
        }
        let Some(Allowed { right, limited }) = allowed else {
            return false;
        };
        self.rights.contains(&right)
            && match (self.prefixes, right) {
                (_, "admin") | ("filter" | "–", _) => true,
                ("topic", _) => !limited || inside,
                ("all", _) => !limited,
                other => panic!("{other:?}"),
            }
    }
}

fn words(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn table() -> Vec<Row> {
    let (_, table) = DOCUMENT.split_once("| framed | classic |").unwrap();
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows: Vec<Row> = lines
        .map(|line| {
            let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
            let [_, framed, classic, resp, rights, prefixes, _] = cells[..] else {
                panic!("{line}");
            };
            Row {
                framed: words(framed),
                classic: words(classic),
                resp: words(resp),
                rights: match rights {
                    "none" => vec!["none"],
                    rights => words(rights),
                },
                prefixes,
            }
        })
        .collect();
    assert_eq!(rows.len(), 9);
    rows
}

/// Returns the policies of the matrix: each right, with and without a prefix.
fn rounds() -> Vec<Allowed> {
    ["count", "read", "reset", "advance", "admin"]
        .into_iter()
        .flat_map(|right| [false, true].map(|limited| Allowed { right, limited }))
        .collect()
}

fn framed_request(method: &str, topic: &str) -> Vec<u8> {
    let op = match method {
        "COUNT" => Op::Count,
        "ADD" => add(2),
        "GET" => Op::Get,
        "RESET" => Op::Reset,
        "DELETE" => Op::Delete,
        "ADVANCE" => Op::Advance(3),
        "HELLO" => return hello(7, None, ""),
        "PING" => {
            let mut out = Vec::new();
            framed::encode_request(RequestId(7), &Call::Ping(b""), &mut out);
            return out;
        }
        other => panic!("{other}"),
    };
    frame(7, op, topic)
}

fn is_allowed_frame(reply: &[u8]) -> bool {
    let frame = framed::decode_reply(reply).unwrap().expect("a whole frame");
    !matches!(frame.answer, Answer::Reply(DENIED))
}

fn is_allowed_message(reply: &[u8]) -> bool {
    !(reply[0] == 255 && reply[1] == ErrorCode::Denied.code())
}

fn classic_request(method: &str, topic: &str) -> Vec<u8> {
    let op = match method {
        "COUNT" => 0,
        "RESET" => 1,
        other => panic!("{other}"),
    };
    [&[op], topic.as_bytes()].concat()
}

/// Sends a command on a connection of its own, after AUTH if there is a token, and returns the first line
/// of the reply.
fn resp_line(tcp: SocketAddr, token: Option<&str>, words: &[&str]) -> String {
    let mut stream = connect(tcp);
    if let Some(token) = token {
        stream.write_all(&command(&["AUTH", token])).unwrap();
    }
    stream.write_all(&command(words)).unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    if token.is_some() {
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "+OK\r\n");
        line.clear();
    }
    lines.read_line(&mut line).unwrap();
    line
}

fn secret_of(allowed: Allowed) -> String {
    format!("secret-of-{}-{}", allowed.right, allowed.limited)
}

#[test]
fn the_table_is_what_the_server_does() {
    let prefixes = |limited| if limited { vec!["in/"] } else { Vec::new() };
    let tokens: Vec<Token> = rounds()
        .into_iter()
        .map(|allowed| {
            let name = format!("{}-{}", allowed.right, allowed.limited);
            token(
                &name,
                &secret_of(allowed),
                allowed.right,
                &prefixes(allowed.limited),
            )
        })
        .collect();
    let (server, guard) = guarded(2, tokens.clone(), &[]);
    let rows = table();
    let everybody: Vec<Option<Allowed>> = rounds().into_iter().map(Some).chain([None]).collect();
    let mut tried = 0;
    for allowed in everybody {
        let token = allowed.map(secret_of);
        let mut connection = Framed::connect(server.tcp);
        if let Some(token) = &token {
            try_hello(&mut connection, None, token).unwrap();
        }
        for row in &rows {
            for (topic, inside) in [(INSIDE, true), (OUTSIDE, false)] {
                let expected = row.expects(allowed, inside);
                for method in &row.framed {
                    connection.send(&framed_request(method, topic));
                    let reply =
                        connection.receive(|answer| !matches!(answer, Answer::Reply(DENIED)));
                    assert_eq!(
                        reply,
                        Some((7, expected)),
                        "framed {method} {topic} {allowed:?}"
                    );
                    tried += 1;
                }
                for text in &row.resp {
                    let words: Vec<&str> = text
                        .split(' ')
                        .map(|word| if word == "k" { topic } else { word })
                        .collect();
                    let line = resp_line(server.tcp, token.as_deref(), &words);
                    let refused = line.starts_with("-NOPERM ") || line.starts_with("-NOAUTH ");
                    assert_eq!(!refused, expected, "{text} {topic} {allowed:?}: {line}");
                    assert_eq!(
                        line.starts_with("-NOAUTH"),
                        refused && token.is_none(),
                        "{line}"
                    );
                    tried += 1;
                }
            }
        }
    }
    // The rights of an address, for what carries no token.
    let socket = datagrams(server.udp);
    for allowed in rounds().into_iter().map(Some).chain([None]) {
        let range = allowed.map(|Allowed { right, limited }| {
            let udp = if right == "reset" { ",udp-reset" } else { "" };
            let prefix = if limited { ":in/" } else { "" };
            format!("127.0.0.0/8={right}{udp}{prefix}")
        });
        let range: Vec<&str> = range.as_deref().into_iter().collect();
        guard.set_policy(Policy::new(tokens.clone(), ranges(&range)));
        for row in &rows {
            for (topic, inside) in [(INSIDE, true), (OUTSIDE, false)] {
                let expected = row.expects(allowed, inside);
                for method in &row.framed {
                    let reply = exchange(&socket, &framed_request(method, topic));
                    assert_eq!(
                        is_allowed_frame(&reply),
                        expected,
                        "UDP {method} {topic} {allowed:?}"
                    );
                    tried += 1;
                }
                for method in &row.classic {
                    let request = classic_request(method, topic);
                    let reply = exchange(&socket, &request);
                    assert_eq!(
                        is_allowed_message(&reply),
                        expected,
                        "{method} {topic} {allowed:?}"
                    );
                    let reply = exchange_to_end(server.tcp, &request);
                    assert_eq!(
                        is_allowed_message(&reply),
                        expected,
                        "{method} {topic} {allowed:?}"
                    );
                    tried += 2;
                }
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}

#[test]
fn every_command_is_in_the_table() {
    let rows = table();
    let listed: Vec<String> = rows
        .iter()
        .flat_map(|row| &row.resp)
        .map(|text| text.to_lowercase())
        .collect();
    let missing: Vec<&str> = COMMANDS
        .iter()
        .map(|spec| spec.name)
        .filter(|name| {
            let name = name.replace('|', " ");
            let has = |text: &String| *text == name || text.starts_with(&format!("{name} "));
            name != "auth" && !listed.iter().any(has)
        })
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_promise_names_a_test() {
    let (_, promises) = DOCUMENT.split_once("| promise | test |").unwrap();
    let lines = promises
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let sources = [
        include_str!("access.rs"),
        include_str!("files.rs"),
        include_str!("rates.rs"),
        include_str!("secrets.rs"),
        include_str!("token_floods.rs"),
        include_str!("../../src/access/guard.rs"),
    ];
    let mut named = 0;
    for test in lines.flat_map(words).filter(|word| word.contains("::")) {
        let name = test.rsplit("::").next().unwrap();
        let defined = format!("fn {name}()");
        assert!(
            sources.iter().any(|source| source.contains(&defined)),
            "{test}"
        );
        named += 1;
    }
    assert!(named >= 10, "{named}");
}

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
    password.digest = Digest::of_password(b"sesame", &[9; 16]).unwrap();
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

#[test]
fn requests_behind_a_password_wait_for_it() {
    let mut alice = token("alice", "", "count", &[]);
    alice.digest = Digest::of_password(b"sesame", &[9; 16]).unwrap();
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
    alice.digest = slow.parse().unwrap();
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

#[test]
fn resets_in_datagrams_need_their_own_word() {
    let (server, guard) = guarded(1, Vec::new(), &["127.0.0.1=count,reset,advance"]);
    let socket = datagrams(server.udp);
    assert_eq!(exchange(&socket, b"\x00a"), [128, 1]);
    assert_eq!(exchange(&socket, b"\x01a"), b"\xff\x09denied");
    for op in [Op::Reset, Op::Delete] {
        assert!(!is_allowed_frame(&exchange(&socket, &frame(1, op, "a"))));
        assert!(
            Framed::connect(server.tcp).ask(op, "b") != DENIED,
            "TCP cannot be forged"
        );
    }
    assert_eq!(exchange(&socket, b"\x00a"), [128, 2]);
    assert!(!is_allowed_frame(&exchange(
        &socket,
        &hello(1, None, "token")
    )));
    guard.set_policy(Policy::new(
        Vec::new(),
        ranges(&["127.0.0.1=count,udp-reset"]),
    ));
    assert_eq!(exchange(&socket, b"\x01a"), [129]);
}

/// Writes a tokens file, and returns its path.
fn tokens_file(directory: &Directory, text: &str) -> String {
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("tokens.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Makes a token with the command; returns the token and its line.
fn new_token(arguments: &[&str]) -> (String, String) {
    let output = program()
        .args(["token", "new"])
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (token, line) = text.split_once('\n').unwrap();
    (token.to_owned(), line.to_owned())
}

/// Returns the line of Aladdin, who may administer with the password "open sesame".
fn aladdin(directory: &Directory) -> String {
    fs::create_dir_all(&directory.0).unwrap();
    let password = directory.0.join("password");
    fs::write(&password, "open sesame\n").unwrap();
    let (line, rest) = new_token(&[
        "--name",
        "Aladdin",
        "--rights",
        "admin",
        "--password-file",
        password.to_str().unwrap(),
    ]);
    assert_eq!(rest, "");
    line
}

#[test]
fn a_removed_token_loses_its_rights_at_once() {
    let directory = Directory::new("removed-token");
    let (one, one_line) = new_token(&["--name", "one", "--rights", "count"]);
    let (two, two_line) =
        new_token(&["--name", "two", "--rights", "count,read", "--prefix", "in/"]);
    let path = tokens_file(&directory, &format!("{one_line}{two_line}"));
    let allow = ["--allow", "127.0.0.0/8=read:hello"];
    let (server, log) = Process::with_log(&[&["--tokens", &path], &allow[..]].concat());
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(try_hello(&mut framed, None, &one), Ok(()));
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(1));
    let mut redis = connect(server.tcp);
    assert_answered(&mut redis, &command(&["AUTH", "two", &two]), "+OK\r\n");
    assert_answered(&mut redis, b"INCR in/a\r\n", ":1\r\n");

    let reload = |text: &str, until: &str| {
        fs::write(&path, text).unwrap();
        server.signal(Signal::SIGHUP);
        loop {
            let line = log.recv_timeout(PATIENCE).expect(until);
            if line.contains(until) {
                return line;
            }
        }
    };
    let line = reload("one = 3", "cannot reload");
    assert!(
        line.contains("tokens.toml:1: one: expected a table"),
        "{line}"
    );
    assert_eq!(
        framed.ask(Op::Count, "a"),
        Reply::Count(2),
        "nothing changes"
    );
    reload(
        &two_line.replace("\"count\"", "\"advance\""),
        "reloaded the tokens",
    );
    assert_eq!(framed.ask(Op::Count, "a"), DENIED);
    assert_eq!(try_hello(&mut framed, None, &one), Err(ErrorCode::Denied));
    let denied = "-NOPERM this user has no permissions to run the 'incr' command\r\n";
    assert_answered(&mut redis, b"INCR in/a\r\n", denied);
    assert_answered(&mut redis, b"GET in/a\r\n", "$1\r\n1\r\n");
    drop(server);
    let text: Vec<String> = log.iter().collect();
    assert!(!text.concat().contains(&one) && !text.concat().contains(&two));
}

#[test]
fn a_server_for_everybody_has_to_be_asked_for() {
    // Client certificates say who may connect, not who may do what.
    const TLS: [&str; 4] = [
        "--tls=0.0.0.0:9443",
        "--tls-cert=a",
        "--tls-key=a",
        "--tls-ca=a",
    ];
    for (exposed, arguments) in [
        ("tcp://0.0.0.0:0", &["--tcp=0.0.0.0:0"][..]),
        ("tcp://[::]:9999", &["--tcp=[::]:9999"]),
        ("udp://192.0.2.1:9999", &["--udp=192.0.2.1:9999"]),
        ("tls://0.0.0.0:9443", &TLS),
        ("http://0.0.0.0:9998", &["--admin=0.0.0.0:9998"]),
    ] {
        let program = |more: &[&str]| {
            let mut command = program();
            command
                .args(["serve", "--in-memory", "--check"])
                .args(arguments)
                .args(more);
            command.output().unwrap()
        };
        let refused = program(&[]);
        assert_eq!(refused.status.code(), Some(2));
        let line = one_line(&refused.stderr);
        for word in [
            exposed,
            "--tokens FILE",
            "--allow CIDR=RIGHTS",
            "--insecure",
        ] {
            assert!(line.contains(word), "{line}");
        }
        for way_out in [&["--insecure"][..], &["--allow", "10.0.0.0/8=count"]] {
            let started = program(way_out);
            let error = String::from_utf8_lossy(&started.stderr).into_owned();
            assert!(started.status.success(), "{error}");
        }
    }
    for loopback in ["[::1]:0", "127.1.2.3:0", "[::ffff:127.0.0.1]:0", "off"] {
        let mut command = program();
        command.args(["serve", "--in-memory", "--check", "--udp", loopback]);
        assert!(command.output().unwrap().status.success(), "{loopback}");
    }
}

#[test]
fn ranges_come_from_flags_a_list_in_the_file_and_the_environment() {
    let directory = Directory::new("ranges");
    let path = tokens_file(
        &directory,
        "allow = [\"10.0.0.0/8=count\", \"10.1.0.0/16=read:a/\"]\n",
    );
    let printed = |arguments: &[&str], variable: Option<&str>| {
        let mut command = program();
        command
            .args(["serve", "--in-memory", "--check"])
            .args(arguments);
        command.envs(variable.map(|value| ("GLOBALCOUNTER_ALLOW", value)));
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("allow"))
            .unwrap()
            .to_owned();
        line.split("  #").next().unwrap().trim().to_owned()
    };
    let both = "allow = \"10.0.0.0/8=count 10.1.0.0/16=read:a/\"";
    assert_eq!(printed(&["--config", &path], None), both);
    let flags = [
        "--allow",
        "10.0.0.0/8=count",
        "--allow",
        "10.1.0.0/16=read:a/",
    ];
    assert_eq!(printed(&flags, None), both);
    assert_eq!(
        printed(&[], Some("10.0.0.0/8=count 10.1.0.0/16=read:a/")),
        both
    );
    let other = ["--config", &path, "--allow", "::1=admin"];
    assert_eq!(printed(&other, None), "allow = \"::1=admin\"");

    fs::write(
        &path,
        "max_topics = 1\nallow = [\"10.0.0.0/8=count\", \"10.0.0.1/8=count\"]\n",
    )
    .unwrap();
    let line = printed(&["--config", &path], None);
    let expected = ":2: allow: the address has bits outside of the range; did you mean 10.0.0.0/8?";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn the_clients_show_their_token() {
    let directory = Directory::new("client-tokens");
    let (token, line) = new_token(&["--name", "one", "--rights", "count", "--prefix", "in/"]);
    let path = tokens_file(&directory, &line);
    let server = Process::with(&["--tokens", &path, "--shards", "2"]);
    let url = format!("tcp://{}", server.tcp);
    for shard_aware in [false, true] {
        let options = || Options::default().shard_aware(shard_aware);
        let client = Client::connect_with(&url, options().token(&token)).unwrap();
        assert!(client.count("in/a").unwrap() > 0);
        let denied = client.get("in/a").unwrap_err();
        assert_eq!(denied.code(), Some(ErrorCode::Denied));
        let wrong = Client::connect_with(&url, options().token("wrong-token")).unwrap_err();
        assert_eq!(wrong.code(), Some(ErrorCode::Denied));
        assert!(!format!("{:?}", options().token(&token)).contains(&token));
    }
    let udp = format!("udp://{}", server.udp);
    let error = Client::connect_with(&udp, Options::default().token(&token)).unwrap_err();
    assert!(
        error.to_string().contains("a token needs tcp://"),
        "{error}"
    );

    let file = directory.0.join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    let count = ["count", "--server", &url, "in/b"];
    program()
        .args(count)
        .args(["--token-file", file])
        .assert()
        .success()
        .stdout("1\n");
    let by_variable = program()
        .args(count)
        .env("GLOBALCOUNTER_TOKEN", &token)
        .assert();
    by_variable.success().stdout("2\n");
    let output = program().args(count).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output.stderr).contains("DENIED"));
}

#[test]
fn a_token_that_the_server_would_refuse_is_not_made() {
    let directory = Directory::new("bad-tokens");
    fs::create_dir_all(&directory.0).unwrap();
    let empty = directory.0.join("empty");
    fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, expected) in [
        (
            &["--name", "a:b", "--rights", "count"][..],
            "a:b: expected a name",
        ),
        (
            &["--name", "a", "--rights", "count", "--prefix", ""],
            "an empty prefix",
        ),
        (
            &["--name", "a", "--rights", "udp-reset"],
            "a right of addresses",
        ),
        (
            &["--name", "a", "--rights", "read", "--password-file", empty],
            "is empty",
        ),
    ] {
        let output = program()
            .args(["token", "new"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert!(one_line(&output.stderr).contains(expected), "{arguments:?}");
    }
    let (token, line) = new_token(&["--name", "o.b\"", "--rights", "count"]);
    assert_eq!(token.len(), 64);
    assert!(
        line.starts_with("\"o.b\\\"\" = { rights = [\"count\"], digest = \"sha-256:"),
        "{line}"
    );
}

#[test]
fn the_redis_crate_logs_in() {
    let tokens = vec![token(
        "orders",
        "the-right-token",
        "count,read",
        &["orders/"],
    )];
    let (server, _) = guarded(2, tokens, &[]);
    let open = |login: &str, protocol: &str| {
        let url = format!("redis://{login}{}/{protocol}", server.tcp);
        redis::Client::open(url).unwrap().get_connection()
    };
    for protocol in ["", "?protocol=resp3"] {
        let mut connection = open("orders:the-right-token@", protocol).unwrap();
        assert!(connection.incr::<_, _, u64>("orders/1", 1).unwrap() > 0);
        let denied = connection.incr::<_, _, u64>("other", 1).unwrap_err();
        assert_eq!(denied.code(), Some("NOPERM"));
        let wrong = open("orders:a-wrong-token@", protocol)
            .err()
            .expect("it is refused");
        // The crate's own kind, or the server's word: it depends on the protocol.
        let kind = wrong.kind() == redis::ErrorKind::AuthenticationFailed;
        assert!(kind || wrong.code() == Some("WRONGPASS"), "{wrong}");
        let anonymous = open("", protocol).and_then(|mut open| open.get::<_, u64>("orders/1"));
        assert_eq!(anonymous.unwrap_err().code(), Some("NOAUTH"));
    }
}

/// Sends a request to the admin port and returns the status.
fn status(admin: SocketAddr, path: &str, authorization: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: test\r\n{authorization}\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_admin_port_needs_the_right_to_read() {
    let directory = Directory::new("admin-tokens");
    let (reader, reader_line) = new_token(&["--name", "reader", "--rights", "read"]);
    let (counter, counter_line) = new_token(&["--name", "counter", "--rights", "count"]);
    let (limited, limited_line) =
        new_token(&["--name", "in", "--rights", "read", "--prefix", "in/"]);
    let aladdin_line = aladdin(&directory);
    let text = format!("{reader_line}{counter_line}{limited_line}{aladdin_line}\n");
    let path = tokens_file(&directory, &text);
    // The framed HELLO of the test's start needs no right.
    let server = Process::with_admin(&["--tokens", &path]);
    let admin = server.admin.unwrap();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for path in [
        "/metrics",
        "/",
        "/version",
        "/api/stats",
        "/api/topics",
        "/nothing",
    ] {
        assert_eq!(status(admin, path, ""), 401, "{path}");
        assert_eq!(status(admin, path, &bearer(&counter)), 403, "{path}");
        assert_eq!(status(admin, path, &bearer(&limited)), 403, "{path}");
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(status(admin, path, &bearer(&reader)), expected, "{path}");
    }
    assert_eq!(status(admin, "/metrics", &bearer("wrong")), 401);
    assert_eq!(status(admin, "/healthz", ""), 200);
    assert_eq!(status(admin, "/readyz", ""), 200);
}

#[test]
fn a_browser_can_use_a_password_and_loopback_needs_none_without_tokens() {
    let directory = Directory::new("admin-password");
    let path = tokens_file(&directory, &aladdin(&directory));
    let server = Process::with_admin(&["--tokens", &path]);
    // The example of RFC 7617.
    let basic = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert_eq!(status(server.admin.unwrap(), "/api/stats", basic), 200);

    let server = Process::with_admin(&["--allow", "127.0.0.0/8=count"]);
    assert_eq!(status(server.admin.unwrap(), "/api/stats", ""), 200);
}

#[test]
fn secrets_are_not_shown() {
    let directory = Directory::new("secrets");
    let (token, line) = new_token(&["--name", "one", "--rights", "read"]);
    let digest = line.split('"').rev().nth(1).unwrap().to_owned();
    assert!(digest.starts_with("sha-256:"), "{line}");
    let path = tokens_file(&directory, &line);
    let arguments = ["serve", "--in-memory", "--check", "--tokens", &path];
    let output = program().args(arguments).output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains(&digest));
    fs::write(&path, line.replace("sha-256:", "sha256:")).unwrap();
    let output = program().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = one_line(&output.stderr);
    assert!(
        error.contains("tokens.toml:1: one: digest: expected sha-256:"),
        "{error}"
    );
    assert!(!error.contains(&digest["sha-256:".len()..]), "{error}");

    fs::write(&path, &line).unwrap();
    let (server, log) = Process::with_log(&["--tokens", &path, "--log-level", "trace"]);
    let mut redis = connect(server.tcp);
    assert_answered(&mut redis, &command(&["AUTH", &token]), "+OK\r\n");
    redis
        .write_all(b"AUTH name my-wrong-password\r\nAUTH my-wrong-password\r\nQUIT\r\n")
        .unwrap();
    let mut replies = String::new();
    redis.read_to_string(&mut replies).unwrap();
    assert!(!replies.contains("my-wrong"), "{replies}");
    drop(server);
    let log: Vec<String> = log.iter().collect();
    let log = log.join("\n");
    assert!(log.contains("refused wrong tokens or passwords"), "{log}");
    assert!(!log.contains("my-wrong") && !log.contains(&token), "{log}");
}
