//! SIGHUP: the server rereads its configuration file.

use std::net::TcpStream;
use std::sync::mpsc::Receiver;

use globalcounter::protocol::{ErrorCode, Op, Reply};
use nix::sys::signal::Signal;

use crate::support::{
    Directory, Framed, PATIENCE, Process, assert_answered, command, connect, exchange_to_end,
};

const FULL: Reply = Reply::Error(ErrorCode::TooManyTopics);

/// A server with a configuration file.
struct Reloaded {
    process: Process,
    log: Receiver<String>,
    directory: Directory,
}

impl Reloaded {
    fn start(name: &str, text: &str) -> Self {
        let directory = Directory::new(name);
        std::fs::create_dir_all(&directory.0).unwrap();
        let path = directory.0.join("test.toml");
        std::fs::write(&path, text).unwrap();
        let (process, log) = Process::with_log(&["--config", path.to_str().unwrap()]);
        Self {
            process,
            log,
            directory,
        }
    }

    /// Writes the file, sends SIGHUP, and returns the next line of the log that contains `until`.
    fn reload(&self, text: &str, until: &str) -> String {
        std::fs::write(self.directory.0.join("test.toml"), text).unwrap();
        self.process.signal(Signal::SIGHUP);
        line_with(&self.log, until)
    }
}

/// Returns the next line of a log that contains `text`.
fn line_with(log: &Receiver<String>, text: &str) -> String {
    loop {
        let line = log.recv_timeout(PATIENCE).expect(text);
        if line.contains(text) {
            return line;
        }
    }
}

#[test]
fn limits_change_while_the_server_runs() {
    let server = Reloaded::start("limits", "max_topics = 1\nmax_connections = 2\n");
    let tcp = server.process.tcp;
    let mut client = Framed::admitted(tcp);
    assert_eq!(client.ask(Op::Count, "a"), Reply::Count(1));
    assert_eq!(client.ask(Op::Count, "b"), FULL);
    let mut other = Framed::admitted(tcp);
    assert_eq!(exchange_to_end(tcp, b""), b""); // the third is closed at once

    let line = server.reload("max_topics = 2\nmax_connections = 3\n", "reloaded");
    assert!(
        line.contains("max_topics: 1 -> 2, max_connections: 2 -> 3"),
        "{line}"
    );
    assert_eq!(client.ask(Op::Count, "b"), Reply::Count(1));
    assert_eq!(client.ask(Op::Count, "c"), FULL);
    let mut redis = connect(tcp);
    let limits = "*4\r\n$10\r\nmaxclients\r\n$1\r\n3\r\n$10\r\nmax-topics\r\n$1\r\n2\r\n";
    let ask = command(&["CONFIG", "GET", "maxclients", "max-topics"]);
    assert_answered(&mut redis, &ask, limits);

    // Below what is in use: nothing is closed or deleted.
    let line = server.reload("max_topics = 1\nmax_connections = 1\n", "reloaded");
    assert!(
        line.contains("max_topics: 2 -> 1, max_connections: 3 -> 1"),
        "{line}"
    );
    assert_eq!(client.ask(Op::Count, "b"), Reply::Count(2));
    assert_eq!(client.ask(Op::Count, "c"), FULL);
    assert_eq!(client.ask(Op::Delete, "a"), Reply::Delete { existed: true });
    assert_eq!(client.ask(Op::Count, "c"), FULL);
    assert_eq!(other.ask(Op::Count, "b"), Reply::Count(3));
    assert_eq!(exchange_to_end(tcp, b""), b"");

    // A key that is no longer in the file has its default.
    let line = server.reload("max_topics = 1\n", "reloaded");
    assert!(line.contains("max_connections: 1 -> 65536"), "{line}");
    assert_answered(
        &mut TcpStream::connect(tcp).unwrap(),
        &command(&["PING"]),
        "+PONG\r\n",
    );
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let server = Reloaded::start("restart", "checkpoint_log = 1000000\n");
    let changed = "checkpoint_log = 2000000\nmax_topics = 7\npin = true\nlog = \"json\"\n";
    for _ in 0..2 {
        let line = server.reload(changed, "when the server is restarted");
        assert!(
            line.contains("WARN") && line.contains("pin, checkpoint_log, log\""),
            "{line}"
        );
        assert!(!line.contains("max_topics"), "{line}");
    }
    // Flags keep their precedence: the file says nothing new.
    let text = "checkpoint_log = 1000000\nmax_topics = 7\ntcp = \"127.0.0.1:1\"\n";
    let line = server.reload(text, "reloaded");
    assert!(
        line.contains("no limit and no log level has changed"),
        "{line}"
    );
    let line = server.reload("max_topics = 8\n", "reloaded");
    assert!(line.contains("max_topics: 7 -> 8"), "{line}");
}

#[test]
fn a_file_with_mistakes_changes_nothing() {
    let server = Reloaded::start("bad-reload", "max_topics = 1\n");
    let bad = "max_topics = 100\nmax_connection = 5\nshards = 0\n";
    let line = server.reload(bad, "cannot reload");
    assert!(
        line.contains("ERROR") && line.contains("nothing changes"),
        "{line}"
    );
    for mistake in [":2: unknown key `max_connection`", ":3: shards: expected"] {
        assert!(line.contains(mistake), "{line}");
    }
    let mut client = Framed::connect(server.process.tcp);
    assert_eq!(client.ask(Op::Count, "a"), Reply::Count(1));
    assert_eq!(client.ask(Op::Count, "b"), FULL);
    std::fs::remove_file(server.directory.0.join("test.toml")).unwrap();
    server.process.signal(Signal::SIGHUP);
    let line = line_with(&server.log, "cannot reload");
    assert!(
        line.contains("cannot read the configuration file"),
        "{line}"
    );
    assert_eq!(client.ask(Op::Count, "a"), Reply::Count(2));
    let line = server.reload("max_topics = 2\n", "reloaded");
    assert!(line.contains("max_topics: 1 -> 2"), "{line}");
}

#[test]
fn the_log_level_changes() {
    let server = Reloaded::start("level", "log_level = \"error\"\n");
    // Logged only because the level is lower now.
    let line = server.reload("log_level = \"info\"\n", "reloaded");
    assert!(line.contains("log_level: error -> info"), "{line}");
    let line = server.reload("log_level = \"error\"\n", "reloaded");
    assert!(line.contains("log_level: info -> error"), "{line}");
    let mut server = server;
    server.process.signal(Signal::SIGTERM);
    assert!(server.process.wait().success());
    let rest: Vec<String> = server.log.iter().collect();
    assert_eq!(rest, [""; 0], "\"shut down\" is not logged");
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let (mut process, log) = Process::with_log(&[]);
    process.signal(Signal::SIGHUP);
    line_with(&log, "nothing to reload");
    assert_eq!(
        Framed::connect(process.tcp).ask(Op::Count, "a"),
        Reply::Count(1)
    );
    process.signal(Signal::SIGTERM);
    assert!(process.wait().success());
}
