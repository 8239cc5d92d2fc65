//! Runs `globalcounter cluster` against an etcd.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::etcd::Etcd;
use crate::support::PATIENCE;

/// What a run of the command printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Ran {
    /// Returns what it printed. It must have succeeded.
    #[track_caller]
    pub(crate) fn printed(self) -> String {
        assert_eq!(self.code, 0, "{}", self.errors);
        self.out
    }

    /// Returns its error: one line. It must have been refused.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{}", self.errors);
        let line = self.errors.trim_end();
        assert!(
            line.starts_with("globalcounter: ") && !line.contains('\n'),
            "{line}"
        );
        line.to_owned()
    }
}

/// Returns the command `cluster`, without settings in its environment.
fn command(etcd: &Etcd, prefix: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    for (name, _) in std::env::vars() {
        if name.starts_with("GLOBALCOUNTER_") {
            command.env_remove(name);
        }
    }
    let url = format!("etcd://{}{prefix}", etcd.address());
    command
        .arg("cluster")
        .args(arguments)
        .env("GLOBALCOUNTER_CLUSTER", url);
    command
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        errors: text(output.stderr),
    }
}

/// Runs `globalcounter cluster` with the prefix of the tests' clusters.
pub(crate) fn cluster(etcd: &Etcd, arguments: &[&str]) -> Ran {
    cluster_at(etcd, "/test", arguments)
}

/// Does the same with another prefix.
pub(crate) fn cluster_at(etcd: &Etcd, prefix: &str, arguments: &[&str]) -> Ran {
    ran(command(etcd, prefix, arguments).output().unwrap())
}

/// Does the same with some standard input.
pub(crate) fn cluster_with_input(
    etcd: &Etcd,
    prefix: &str,
    arguments: &[&str],
    input: &str,
) -> Ran {
    let mut child = command(etcd, prefix, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may be refused before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    ran(child.wait_with_output().unwrap())
}

/// A running `cluster status --watch --json`. Dropping it kills it.
pub(crate) struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    pub(crate) fn start(etcd: &Etcd) -> Self {
        let mut child = command(etcd, "/test", &["status", "--watch", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let errors: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        for stream in [out, errors] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let _ = sender.send(line.unwrap());
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for a further line with some text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let mut read = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("never {text}: {read:?}"));
            if line.contains(text) {
                return;
            }
            read.push(line);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
