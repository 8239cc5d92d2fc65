//! A process of a node.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::Network;
use crate::support::{eventually, listening_address};

/// How long a node may take until it serves: a process of its name that was killed has a session until its
/// lease ends, and etcd may have to elect a leader first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take until it has left: it gives up after 30 s.
const LEAVE_LIMIT: Duration = Duration::from_secs(45);

/// How a node is started.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) number: usize,
    /// The URL of the cluster.
    pub(crate) cluster: String,
    /// In seconds.
    pub(crate) lease: u64,
    /// How far its `CLOCK_BOOTTIME` is ahead, in seconds; 0: as the machine's.
    pub(crate) clock_ahead: u64,
    pub(crate) log: PathBuf,
}

/// A node. Dropping it kills it.
pub(crate) struct Node {
    settings: Settings,
    /// Where it listens; any port until it has started once.
    address: SocketAddr,
    /// `None` if it does not run.
    child: Option<Child>,
    stopped: bool,
    /// Whether it was told to leave.
    leaving: bool,
}

impl Node {
    /// Creates a node that does not run yet.
    pub(crate) fn new(settings: Settings, network: &Network) -> Self {
        Self {
            address: network.node(settings.number),
            settings,
            child: None,
            stopped: false,
            leaving: false,
        }
    }

    pub(crate) fn name(&self) -> String {
        name(self.settings.number)
    }

    /// Returns where it listens, for TCP and for UDP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends its etcd elsewhere from the next start on.
    pub(crate) fn set_cluster(&mut self, cluster: String) {
        self.settings.cluster = cluster;
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self, network: &Network) {
        assert!(self.child.is_none(), "it runs already");
        let program = env!("CARGO_BIN_EXE_globalcounter");
        let Settings {
            number,
            cluster,
            lease,
            clock_ahead,
            log,
        } = &self.settings;
        let mut command = match clock_ahead {
            0 => network.at_node(*number, program),
            ahead => {
                let mut command = network.at_node(*number, "unshare");
                command.args(["--time", "--boottime", &ahead.to_string(), program]);
                command
            }
        };
        for (variable, _) in std::env::vars() {
            if variable.starts_with("GLOBALCOUNTER_") {
                command.env_remove(variable);
            }
        }
        let listen = self.address.to_string();
        let log = OpenOptions::new().create(true).append(true).open(log);
        command
            .args([
                "serve", "--tcp", &listen, "--udp", &listen, "--admin", "off",
            ])
            // Only the test is in the network.
            .args(["--insecure", "--shards", "2", "--cluster", cluster])
            .args(["--node", &self.name(), "--lease", &lease.to_string()])
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(log.unwrap());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = lines.recv_timeout(START_LIMIT);
        let line = line.unwrap_or_else(|error| panic!("{} does not start: {error}", self.name()));
        self.address = listening_address(&line, "tcp");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process() as i32), signal).unwrap();
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        (self.stopped, self.leaving) = (false, false);
    }

    /// Tells it to leave, and waits until it has ended without an error.
    pub(crate) fn terminate(&mut self) {
        self.begin_to_terminate();
        self.wait_until_ended();
    }

    /// Tells it to leave.
    pub(crate) fn begin_to_terminate(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
            self.leaving = true;
        }
    }

    /// Waits until it has ended without an error, if it was told to leave.
    pub(crate) fn wait_until_ended(&mut self) {
        if !std::mem::take(&mut self.leaving) {
            return;
        }
        let Some(mut child) = self.child.take() else {
            return;
        };
        let (start, name) = (Instant::now(), self.name());
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{name}: {status}");
                return;
            }
            if start.elapsed() > LEAVE_LIMIT {
                let _ = child.kill();
                panic!("{name} never leaves");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it: it does nothing until it is continued. Does nothing if it does not run.
    pub(crate) fn stop(&mut self) {
        if !self.is_running() || self.stopped || self.leaving {
            return;
        }
        self.signal(Signal::SIGSTOP);
        let path = format!("/proc/{}/stat", self.process());
        eventually("the process is stopped", || {
            let stat = std::fs::read_to_string(&path).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        });
        self.stopped = true;
    }

    /// Continues it if it was stopped.
    pub(crate) fn resume(&mut self) {
        if self.child.is_some() && std::mem::take(&mut self.stopped) {
            self.signal(Signal::SIGCONT);
        }
    }

    /// Panics if it has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(child) = &mut self.child
            && !self.leaving
            && let Some(status) = child.try_wait().unwrap()
        {
            panic!("{} has ended: {status}", self.name());
        }
    }

    /// Returns its resident memory in bytes, and how many files and sockets it has open.
    pub(crate) fn usage(&self) -> (u64, usize) {
        let process = self.process();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"));
        (
            kib.parse::<u64>().unwrap() * 1024,
            descriptors.unwrap().count(),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The name of a node.
pub(crate) fn name(number: usize) -> String {
    format!("node-{number}")
}
