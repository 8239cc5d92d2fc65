//! The real binary, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::Signal;

use super::{Framed, eventually};

/// A serving process. Dropping it kills the process, unless it has ended.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// The address of TLS; `None` if it is off.
    pub(crate) tls: Option<SocketAddr>,
    /// The address of its admin port; `None` if that is off.
    pub(crate) admin: Option<SocketAddr>,
    /// How many files and sockets the process has open while it has no connection.
    pub(crate) idle_descriptors: usize,
}

impl Process {
    pub(crate) fn start(shards: usize) -> Self {
        Self::with(&["--shards", &shards.to_string()])
    }

    /// Starts `serve` with these arguments; with `--in-memory` unless they name a data directory or a
    /// cluster.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::spawn(&mut serve(arguments))
    }

    /// Does the same as [`with`](Self::with) for a server with an admin port.
    pub(crate) fn with_admin(arguments: &[&str]) -> Self {
        Self::spawn(serve(arguments).args(["--admin", "127.0.0.1:0"]))
    }

    /// Does the same as [`with`](Self::with) for a server that logs nothing but errors.
    pub(crate) fn quiet(arguments: &[&str]) -> Self {
        Self::spawn(serve(arguments).env("RUST_LOG", "error"))
    }

    /// Does the same as [`with`](Self::with) for a server whose files get the permissions that it asks
    /// for: its umask is 0.
    pub(crate) fn with_umask_0(arguments: &[&str]) -> Self {
        let server = serve(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]);
        shell.arg(server.get_program()).args(server.get_args());
        Self::spawn(shell.env("GLOBALCOUNTER_ADMIN", "off"))
    }

    /// Does the same as [`with`](Self::with) and returns the lines that the server logs, as they come.
    /// The channel ends with the server.
    pub(crate) fn with_log(arguments: &[&str]) -> (Self, Receiver<String>) {
        let mut command = serve(arguments);
        command.env_remove("RUST_LOG").stderr(Stdio::piped());
        let mut process = Self::spawn(&mut command);
        let log = BufReader::new(process.child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in log.split(b'\n').map(Result::unwrap) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        (process, lines)
    }

    fn spawn(command: &mut Command) -> Self {
        let has_tls = command.get_args().any(|argument| argument == "--tls");
        let has_admin = command.get_args().any(|argument| argument == "--admin");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ready = |transport| {
            let line = lines.next().expect("the server starts").unwrap();
            listening_address(&line, transport)
        };
        let mut process = Self {
            tcp: ready("tcp"),
            udp: ready("udp"),
            tls: has_tls.then(|| ready("tls")),
            admin: None,
            child,
            idle_descriptors: 0,
        };
        if has_admin {
            let line = lines.next().expect("the server starts").unwrap();
            let (_, address) = line.split_once("://").unwrap();
            process.admin = Some(address.parse().unwrap());
        }
        // The sockets are bound, but workers may still be starting: wait until each has answered
        // once.
        let mut connection = Framed::connect(process.tcp);
        let shards = connection.hello(None).shards;
        for shard in 0..shards {
            connection.hello(Some(shard));
        }
        process.idle_descriptors = process.descriptors() - 1;
        process
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits until the process ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Returns how many files and sockets the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Returns the process's resident memory in bytes.
    pub(crate) fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Returns the processor time used so far, in clock ticks of 10 ms.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap();
        let fields = stat.rsplit(") ").next().unwrap();
        let field = |n: usize| fields.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
        field(11) + field(12)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(arguments: &[&str]) -> Command {
    let has_place = arguments.contains(&"--data-dir") || arguments.contains(&"--cluster");
    let in_memory = (!has_place).then_some("--in-memory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    command
        .env("GLOBALCOUNTER_ADMIN", "off")
        .args(["serve", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
        .args(in_memory)
        .args(arguments);
    command
}

/// Returns the address in the line that a server prints when it listens on a transport.
pub(crate) fn listening_address(line: &str, transport: &str) -> SocketAddr {
    let rest = line.strip_prefix(&format!("serving {transport}://"));
    let address = rest.unwrap_or_else(|| panic!("not a line of {transport}: {line}"));
    address.split(' ').next().unwrap().parse().unwrap()
}
