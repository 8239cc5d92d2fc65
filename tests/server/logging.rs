//! What peers can make a server write: a few lines, and none of their own text.

use std::io::{Read, Write};
use std::time::Instant;

use globalcounter::protocol::{Op, Reply};
use nix::sys::signal::Signal;

use crate::command::command as globalcounter;
use crate::support::{
    Directory, Framed, Process, command, connect, datagrams, exchange, exchange_to_end,
};

/// A topic that would turn a terminal red, and add a line to a log.
const HOSTILE: &str = "\u{1b}[31mred\n2026-01-01T00:00:00Z ERROR forged\r\u{9b}31m\u{7f}\u{0}";

#[test]
fn a_flood_of_refused_connections_is_a_few_lines() {
    let start = Instant::now();
    let (mut server, log) = Process::with_log(&["--max-connections", "1", "--shards", "4"]);
    let mut first = Framed::admitted(server.tcp);
    assert_eq!(first.ask(Op::Count, "a"), Reply::Count(1));
    for _ in 0..300 {
        assert_eq!(exchange_to_end(server.tcp, b""), b"");
    }
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let seconds = start.elapsed().as_secs();
    let lines: Vec<String> = log
        .iter()
        .filter(|line| line.contains("--max-conn"))
        .collect();
    // One each 10 seconds, however slow this machine is. The clock has a resolution of a second.
    let most = 1 + seconds.div_ceil(9) as usize;
    assert!((1..=most).contains(&lines.len()), "{seconds} s: {lines:?}");
    assert!(lines[0].contains("refused=1"), "{lines:?}");
}

/// Sends topics, names and commands with escape codes and line breaks in each dialect.
fn attack(server: &Process) {
    let mut framed = Framed::connect(server.tcp);
    assert_eq!(framed.ask(Op::Count, HOSTILE), Reply::Count(1));
    let classic = [b"\x00", HOSTILE.as_bytes()].concat();
    assert_eq!(exchange(&datagrams(server.udp), &classic), b"\x80\x02");
    let mut redis = connect(server.tcp);
    for words in [
        &["CLIENT", "SETNAME", HOSTILE][..],
        &["HELLO", "3", "SETNAME", HOSTILE],
        &["HELLO", "3", "AUTH", HOSTILE, HOSTILE],
        &["CLIENT", "SETINFO", "lib-name", HOSTILE],
        &["CLIENT", "KILL", "TYPE", HOSTILE],
        &["OBJECT", HOSTILE],
        &[HOSTILE, HOSTILE],
    ] {
        redis.write_all(&command(words)).unwrap();
        let mut reply = [0; 1];
        redis.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"-", "{words:?}");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n") {
            redis.read_exact(&mut reply).unwrap();
            rest.push(reply[0]);
        }
        assert!(!rest[..rest.len() - 2].contains(&b'\n'), "{words:?}");
    }
    // Bytes that are no request of any dialect.
    let broken = [b"*1\r\n$-7\r\n", HOSTILE.as_bytes()].concat();
    exchange_to_end(server.tcp, &broken);
    exchange_to_end(server.tcp, &[&[0x7f][..], HOSTILE.as_bytes()].concat());
}

fn assert_harmless(text: &str) {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(harmful), "{text:?}");
}

#[test]
fn text_of_peers_is_not_in_the_log() {
    for format in ["text", "json"] {
        let (mut server, log) = Process::with_log(&["--log-level", "trace", "--log", format]);
        attack(&server);
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        let lines: Vec<String> = log.iter().collect();
        assert!(
            lines.iter().any(|line| line.contains("shut down")),
            "{lines:?}"
        );
        for line in lines {
            assert_harmless(&line);
            assert!(!line.contains("forged") && !line.contains("red"), "{line}");
        }
    }
}

#[test]
fn commands_print_text_of_peers_escaped() {
    let directory = Directory::new("escaped");
    let mut server = Process::with(&["--data-dir", directory.as_str()]);
    attack(&server);
    let refused = globalcounter()
        .args([
            "count",
            "--server",
            "tcp://127.0.0.1:1",
            "--attempts",
            "1",
            "\u{1b}[31m\n",
        ])
        .output()
        .unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_harmless(&error);
    assert_eq!(error.lines().count(), 1, "{error}");
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    for list in [&["topics"][..], &["topics", "--json"], &["export"]] {
        let output = globalcounter()
            .args(list)
            .args(["--data-dir", directory.as_str()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_harmless(&text);
        if list[0] == "export" {
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["topic"], HOSTILE);
        }
    }
}
