//! The admin port needs a token, and those who ask it show one.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{aladdin, new_token, tokens_file};
use crate::command::{command as program, one_line};
use crate::support::{Directory, PATIENCE, Process, eventually};

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
    let files = ["/", "/page.js", "/cluster.js", "/page.css"];
    for open in ["/healthz", "/readyz"].into_iter().chain(files) {
        assert_eq!(status(admin, open, ""), 200, "{open}");
    }
}

#[test]
fn a_program_can_use_a_password_and_loopback_needs_none_without_tokens() {
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
fn stats_shows_its_token_and_says_which_is_needed() {
    let directory = Directory::new("stats-tokens");
    let (reader, reader_line) = new_token(&["--name", "reader", "--rights", "read"]);
    let (counter, counter_line) = new_token(&["--name", "counter", "--rights", "count"]);
    let path = tokens_file(&directory, &format!("{reader_line}{counter_line}"));
    let server = Process::with_admin(&["--tokens", &path]);
    let admin = server.admin.unwrap().to_string();
    let stats = |token: Option<&str>| {
        let mut stats = program();
        stats.args(["stats", "--json", "--admin", &admin]);
        stats.envs(token.map(|token| ("GLOBALCOUNTER_TOKEN", token)));
        stats.output().unwrap()
    };
    for (token, expected) in [
        (
            None,
            "needs a token: give one with the right read by --token-file",
        ),
        (Some("a-wrong-token"), "does not know this token"),
        (Some(&counter), "it needs the right read for all topics"),
        (Some("two\nlines"), "a character that no token has"),
    ] {
        let output = stats(token);
        assert_eq!(output.status.code(), Some(1));
        let line = one_line(&output.stderr);
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("no admin port"), "{line}");
        assert!(token.is_none_or(|token| !line.contains(token)), "{line}");
    }
    assert!(stats(Some(&reader)).status.success());
    let file = directory.0.join("token");
    fs::write(&file, &reader).unwrap();
    let mut by_file = program();
    by_file
        .args(["stats", "--admin", &admin, "--token-file"])
        .arg(&file);
    eventually("the first second has passed", || {
        let output = by_file.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).contains("latency")
    });
}
