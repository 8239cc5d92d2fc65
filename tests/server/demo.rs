//! `globalcounter demo`: a server with a load in one process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use globalcounter::protocol::{Op, Reply};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Directory, Framed, eventually, metrics};

/// A running demo. Dropping it kills it.
struct Demo {
    child: Child,
    tcp: SocketAddr,
    admin: SocketAddr,
    text: String,
}

impl Demo {
    /// Starts a demo with a home directory in which it may leave nothing.
    fn start(home: &Directory) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
        for (name, _) in std::env::vars() {
            if name.starts_with("GLOBALCOUNTER_") {
                command.env_remove(name);
            }
        }
        command
            .arg("demo")
            .env("HOME", home.as_str())
            .env_remove("XDG_STATE_HOME")
            .env_remove("STATE_DIRECTORY")
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !text.contains("Ctrl-C") {
            assert!(lines.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        let (tcp, admin) = (after(&text, "tcp://"), after(&text, "http://"));
        Self {
            child,
            tcp,
            admin,
            text,
        }
    }

    /// Waits until the demo has ended by a signal. Returns whether it succeeded.
    fn end_by(&mut self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        let mut status = None;
        eventually("the demo ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().success()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what follows the first `before`, up to a space, a slash or the end of the line.
fn after<T: FromStr>(text: &str, before: &str) -> T {
    let (_, rest) = text.split_once(before).expect(before);
    let end = rest.find(|c: char| c == '/' || c.is_whitespace()).unwrap();
    let Ok(value) = rest[..end].parse() else {
        panic!("{before} is followed by {rest}");
    };
    value
}

#[test]
fn counts_move_and_a_signal_ends_it() {
    let home = Directory::new("demo");
    std::fs::create_dir_all(home.as_str()).unwrap();
    let mut demo = Demo::start(&home);
    // Another one takes other ports.
    let mut other = Demo::start(&home);
    assert_ne!(demo.tcp, other.tcp);
    assert_ne!(demo.admin, other.admin);
    assert!(other.text.contains(&format!("top --admin {}", other.admin)));
    let count = format!("count --server tcp://{} orders", other.tcp);
    assert!(other.text.contains(&count), "{}", other.text);

    let mut framed = Framed::connect(demo.tcp);
    let Reply::Count(mut before) = framed.ask(Op::Count, "orders") else {
        panic!("no sum");
    };
    for _ in 0..3 {
        eventually("the load counts", || {
            let Reply::Count(sum) = framed.ask(Op::Count, "orders") else {
                panic!("no sum");
            };
            let moved = sum > before + 1;
            before = sum;
            moved
        });
    }
    eventually("both transports have requests", || {
        let metrics = metrics(demo.admin);
        ["tcp", "udp"].iter().all(|transport| {
            metrics[&format!("globalcounter_received_bytes_total{{transport=\"{transport}\"}}")]
                > 0.0
        })
    });
    drop(framed);
    assert!(demo.end_by(Signal::SIGTERM));
    assert!(other.end_by(Signal::SIGINT));
    let left = std::fs::read_dir(home.as_str()).unwrap();
    assert_eq!(left.count(), 0, "the demo stores nothing");
}
