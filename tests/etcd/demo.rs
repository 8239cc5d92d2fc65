//! `globalcounter cluster demo`: the processes that it starts, and that it leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::etcd::is_installed;
use crate::support::{Directory, Framed, PATIENCE, eventually};

/// A running demo. Dropping it ends it, and its processes.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

/// A line of the table of nodes.
struct Row {
    process: i32,
    address: SocketAddr,
}

impl Demo {
    /// Starts a demo whose temporary directory is in `home`.
    fn start(home: &Directory, path: Option<&str>) -> Self {
        std::fs::create_dir_all(&home.0).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
        for (name, _) in std::env::vars() {
            if name.starts_with("GLOBALCOUNTER_") {
                command.env_remove(name);
            }
        }
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let mut child = command
            .args(["cluster", "demo"])
            .env("TMPDIR", &home.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines }
    }

    /// Returns the lines up to the one that begins with `start`.
    fn lines_until(&self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.starts_with(start))
        {
            let line = self.lines.recv_timeout(PATIENCE);
            lines.push(line.unwrap_or_else(|_| panic!("never {start}: {lines:#?}")));
        }
        lines
    }

    fn end(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the demo ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// Reads the table of nodes.
fn rows(lines: &[String]) -> Vec<Row> {
    let head = lines.iter().position(|line| line.starts_with("node  "));
    let rows = lines[head.unwrap() + 1..].iter();
    let rows = rows.take_while(|line| !line.is_empty());
    rows.map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        Row {
            process: cells[1].parse().unwrap(),
            address: cells[2].parse().unwrap(),
        }
    })
    .collect()
}

#[test]
fn its_nodes_serve_and_it_leaves_nothing_behind() {
    if !is_installed() {
        return;
    }
    let home = Directory::new("cluster-demo");
    let mut demo = Demo::start(&home, None);
    let lines = demo.lines_until("Ctrl-C");
    let nodes = rows(&lines);
    assert_eq!(nodes.len(), 3, "{lines:#?}");
    for node in &nodes {
        Framed::connect(node.address).hello(None);
    }
    assert_eq!(std::fs::read_dir(&home.0).unwrap().count(), 1);

    let killed = &nodes[2];
    assert!(
        lines.contains(&format!(
            "kill one and watch              kill -9 {}",
            killed.process
        )),
        "{lines:#?}"
    );
    kill(Pid::from_raw(killed.process), Signal::SIGKILL).unwrap();
    let lines = demo.lines_until("  globalcounter serve ");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("node c has ended (signal: 9")),
        "{lines:#?}"
    );
    let again = lines.last().unwrap();
    assert!(
        again.contains(&format!("--node c --tcp {}", killed.address)),
        "{again}"
    );

    kill(Pid::from_raw(demo.child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(demo.end(), Some(0));
    for node in &nodes {
        let gone = kill(Pid::from_raw(node.process), None);
        assert_eq!(gone, Err(nix::errno::Errno::ESRCH));
    }
    assert_eq!(std::fs::read_dir(&home.0).unwrap().count(), 0);
}

#[test]
fn without_etcd_it_says_what_to_install() {
    let home = Directory::new("cluster-demo-without-etcd");
    let mut demo = Demo::start(&home, Some(home.as_str()));
    assert_eq!(demo.end(), Some(1));
    let errors = std::io::read_to_string(demo.child.stderr.take().unwrap()).unwrap();
    assert!(errors.contains("apt-get install etcd-server"), "{errors}");
    assert_eq!(std::fs::read_dir(&home.0).unwrap().count(), 0);
}
