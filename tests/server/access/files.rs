//! Tokens files: what they may contain, their reload, and secrets that are not shown.

use std::fs;
use std::io::{Read, Write};

use globalcounter::protocol::{ErrorCode, Op, Reply};
use nix::sys::signal::Signal;

use super::{DENIED, new_token, tokens_file, try_hello};
use crate::command::{command as program, one_line};
use crate::support::{Directory, Framed, PATIENCE, Process, assert_answered, command, connect};

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
    let certificate = [
        "--name",
        "a",
        "--rights",
        "count",
        "--certificate",
        "a \"b\"",
    ];
    let (line, rest) = new_token(&certificate);
    let expected = "a = { rights = [\"count\"], certificate = \"a \\\"b\\\"\" }";
    assert_eq!((line.as_str(), rest.as_str()), (expected, ""));
    let (token, line) = new_token(&["--name", "o.b\"", "--rights", "count"]);
    assert_eq!(token.len(), 64);
    assert!(
        line.starts_with("\"o.b\\\"\" = { rights = [\"count\"], digest = \"sha-256:"),
        "{line}"
    );
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
