//! A parent process that does what systemd does: it owns the sockets, starts servers with them, and
//! hears their notifications.

use std::collections::VecDeque;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use super::{PATIENCE, eventually, port_0};

/// The first descriptor that is passed: sd_listen_fds(3).
const FIRST: i32 = 3;

/// The sockets of a service, and the socket for its notifications.
pub(crate) struct Supervisor {
    sockets: Vec<(&'static str, OwnedFd)>,
    notifications: UnixDatagram,
    path: PathBuf,
    /// Lines of notifications that nobody has asked for yet.
    heard: VecDeque<String>,
    /// Variables of the server's environment.
    environment: Vec<(&'static str, String)>,
}

/// A server that a [`Supervisor`] started. Dropping it kills the process.
pub(crate) struct Service(pub(crate) Child);

impl Supervisor {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The path of such a socket must be short.
        let name = format!("globalcounter-notify-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let notifications = UnixDatagram::bind(&path).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            sockets: Vec::new(),
            notifications,
            path,
            heard: VecDeque::new(),
            environment: Vec::new(),
        }
    }

    /// Adds `count` TCP listeners that share an address, as `ReusePort=yes` makes them.
    pub(crate) fn tcp(&mut self, count: usize) -> SocketAddr {
        let group = bind_group(Type::STREAM, count);
        for socket in &group {
            socket.listen(4096).unwrap();
        }
        let address = group[0].local_addr().unwrap().as_socket().unwrap();
        for socket in group {
            self.pass("globalcounter.socket", TcpListener::from(socket));
        }
        address
    }

    /// Adds `count` UDP sockets that share an address.
    pub(crate) fn udp(&mut self, count: usize) -> SocketAddr {
        let group = bind_group(Type::DGRAM, count);
        let address = group[0].local_addr().unwrap().as_socket().unwrap();
        for socket in group {
            self.pass("globalcounter.socket", UdpSocket::from(socket));
        }
        address
    }

    /// Adds any descriptor.
    pub(crate) fn pass(&mut self, name: &'static str, socket: impl Into<OwnedFd>) {
        self.sockets.push((name, socket.into()));
    }

    /// Sets a variable of the server's environment.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Starts `serve` with these arguments and all sockets. Its log is a pipe if `log` says so.
    pub(crate) fn start(&mut self, arguments: &[&str], log: Stdio) -> Service {
        let names: Vec<&str> = self.sockets.iter().map(|&(name, _)| name).collect();
        let mappings = self.sockets.iter().zip(FIRST..);
        let mappings = mappings.map(|((_, socket), child_fd)| FdMapping {
            parent_fd: socket.as_fd().try_clone_to_owned().unwrap(),
            child_fd,
        });
        // Only the shell knows its process id before it becomes the server.
        let become_the_server = "LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", become_the_server, "sh"])
            .args([env!("CARGO_BIN_EXE_globalcounter"), "serve"])
            .args(arguments)
            .env("GLOBALCOUNTER_ADMIN", "off")
            .env("RUST_LOG", "error")
            .env("NOTIFY_SOCKET", &self.path)
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("WATCHDOG_USEC")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .fd_mappings(mappings.collect())
            .unwrap();
        Service(command.spawn().unwrap())
    }

    /// Does the same as [`start`](Self::start), and waits until the server is ready.
    pub(crate) fn start_ready(&mut self, arguments: &[&str]) -> Service {
        let service = self.start(arguments, Stdio::inherit());
        self.await_notification("READY=1");
        service
    }

    /// Waits for a notification that starts with `start`, and returns it.
    pub(crate) fn await_notification(&mut self, start: &str) -> String {
        loop {
            while let Some(line) = self.heard.pop_front() {
                if line.starts_with(start) {
                    return line;
                }
            }
            let mut buffer = [0; 4096];
            let received = self.notifications.recv(&mut buffer);
            let len = received.unwrap_or_else(|error| panic!("no {start}: {error}"));
            let text = std::str::from_utf8(&buffer[..len]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Service {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits until the process ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the service ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Stops the server, which must shut down cleanly.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.wait().success());
    }

    /// Waits for a server that cannot start, and returns what it says on standard error.
    pub(crate) fn refusal(mut self) -> String {
        let mut log = String::new();
        let stderr = self.0.stderr.as_mut().expect("its log is a pipe");
        stderr.read_to_string(&mut log).unwrap();
        assert!(!self.wait().success(), "{log}");
        log
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bind_group(kind: Type, count: usize) -> Vec<Socket> {
    let mut address = port_0().unwrap();
    let bind = |_| {
        let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        socket
    };
    (0..count).map(bind).collect()
}
