//! The table of docs/security.md: a test tries each cell.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;

use globalcounter::access::{Policy, Token};
use globalcounter::protocol::framed::{self, Answer, Call, RequestId};
use globalcounter::protocol::resp::COMMANDS;
use globalcounter::protocol::{ErrorCode, Op};

use super::{DENIED, INSIDE, OUTSIDE, guarded, hello, ranges, token, try_hello};
use crate::support::{Framed, add, command, connect, datagrams, exchange, exchange_to_end, frame};

const DOCUMENT: &str = include_str!("../../../docs/security.md");

/// A row of the table.
struct Row {
    framed: Vec<&'static str>,
    classic: Vec<&'static str>,
    resp: Vec<&'static str>,
    rights: Vec<&'static str>,
    prefixes: &'static str,
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

/// What a peer may do in one round of the matrix.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    right: &'static str,
    limited: bool,
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
    assert_eq!(rows.len(), 10);
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
