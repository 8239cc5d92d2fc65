//! Who may do what. The table of rights, the promises of docs/security.md, and what is refused.
//!
//! - `table`: the table of docs/security.md, cell by cell
//! - `promises`: each promise of docs/security.md names a test
//! - `credentials`: tokens and passwords that clients show
//! - `scope`: rights hold for searches, for connections that move, and over TLS
//! - `ranges`: rights of addresses, and the start of a server that everybody could reach
//! - `nodes`: connections of other nodes of a cluster
//! - `files`: tokens files, their reload, and secrets that are not shown
//! - `certificates`: client certificates that stand for tokens
//! - `clients`: the library's clients, the command and the redis crate
//! - `refusals`: each fault of tokens and certificates, in each dialect
//! - `admin`: the admin port, and those who ask it

mod admin;
mod certificates;
mod clients;
mod credentials;
mod files;
mod nodes;
mod promises;
mod ranges;
mod refusals;
mod scope;
mod table;

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use globalcounter::access::{AddressRange, Digest, Grant, Guard, Policy, Rule, Token, TokenLimits};
use globalcounter::protocol::framed::{self, Answer, Call, Hello, RequestId};
use globalcounter::protocol::{ErrorCode, Reply};
use globalcounter::server::Config;
use globalcounter::topic::ShardId;

use crate::command::command as program;
use crate::support::{Directory, Embedded, Framed, config};

const DENIED: Reply = Reply::Error(ErrorCode::Denied);

const INSIDE: &str = "in/a";
const OUTSIDE: &str = "out";

/// A token for tests. Its secret is long enough for sha-256.
pub(crate) fn token(name: &str, secret: &str, rights: &str, prefixes: &[&str]) -> Token {
    let rule = Rule {
        rights: rights.parse().unwrap(),
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
    };
    Token {
        name: name.to_owned(),
        digest: Some(Digest::of_token(secret.as_bytes())),
        certificate: None,
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
        node: false,
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

/// Writes a tokens file, and returns its path.
fn tokens_file(directory: &Directory, text: &str) -> String {
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("tokens.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Makes a token with the command; returns the token and its line.
pub(crate) fn new_token(arguments: &[&str]) -> (String, String) {
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
