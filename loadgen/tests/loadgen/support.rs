//! Shared by all tests: the command, servers that count, and servers that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use globalcounter::access::Guard;
use globalcounter::server::{Config, ServeError, Server, Stop};
use globalcounter::topic::Shards;
use socket2::{Domain, Socket, Type};

/// The longest time that a run may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code and output of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Asserts that it succeeded, and returns its table.
    #[track_caller]
    pub(crate) fn measured(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        &self.out
    }

    /// Asserts that it failed with `code` and one line that contains `because`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, because: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("loadgen: "), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.contains(because), "{because:?} in {self:?}");
    }
}

/// Runs `loadgen` with these arguments, separated by spaces.
pub(crate) fn loadgen(arguments: &str) -> Ended {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments.split_whitespace())
        .timeout(PATIENCE)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    // Tests run a binary that is not optimised, so its warning is expected.
    let err = text(output.stderr);
    let lines = err.lines().filter(|line| !line.contains("not optimised"));
    Ended {
        code: output.status.code().expect("ended in time, by itself"),
        out: text(output.stdout),
        err: lines.map(|line| format!("{line}\n")).collect(),
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// Runs `loadgen` against a server.
pub(crate) fn load(server: SocketAddr, arguments: &str) -> Ended {
    loadgen(&format!("--server {server} {arguments}"))
}

/// Returns the value of a row of a table.
#[track_caller]
pub(crate) fn row<'a>(table: &'a str, name: &str) -> &'a str {
    let line = table.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no row {name:?} in {table}"))
        .trim()
}

/// A server that counts, in this process; stopped when dropped.
pub(crate) struct Embedded {
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Embedded {
    pub(crate) fn start(shards: usize) -> Self {
        Self::with(shards, None)
    }

    /// Starts a server that everybody may use, or those whom `access` allows.
    pub(crate) fn with(shards: usize, access: Option<Guard>) -> Self {
        Self::at_host([127, 0, 0, 1], shards, access)
    }

    /// Starts a server that can be reached by every address of this machine.
    pub(crate) fn at_every_address(shards: usize) -> Self {
        Self::at_host([0; 4], shards, None)
    }

    fn at_host(host: [u8; 4], shards: usize, access: Option<Guard>) -> Self {
        let port_0 = Some((host, 0).into());
        let server = Server::bind(Config {
            tcp: port_0,
            udp: port_0,
            shards: Shards::new(shards).unwrap(),
            access: access.map(Arc::new),
            ..Config::default()
        })
        .unwrap();
        Self {
            tcp: server.tcp_addr().unwrap(),
            udp: server.udp_addr().unwrap(),
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    /// Returns its address for a target.
    pub(crate) fn at(&self, target: &str) -> SocketAddr {
        if target.contains("udp") {
            self.udp
        } else {
            self.tcp
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.stop();
        let result = self.thread.take().unwrap().join().unwrap();
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

/// `loadgen null` in a process of its own; killed when dropped.
pub(crate) struct Null {
    pub(crate) child: Child,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
}

impl Null {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["null", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |transport: &str| {
            let line = lines.next().unwrap().unwrap();
            let (_, rest) = line.split_once(&format!("{transport}://")).unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        Self {
            tcp: address("tcp"),
            udp: address("udp"),
            child,
        }
    }

    pub(crate) fn at(&self, target: &str) -> SocketAddr {
        if target.contains("udp") {
            self.udp
        } else {
            self.tcp
        }
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An address at which nobody listens, and nobody else can while this is kept.
pub(crate) struct Absent {
    pub(crate) address: SocketAddr,
    _socket: Socket,
}

impl Absent {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        Self {
            address: socket.local_addr().unwrap().as_socket().unwrap(),
            _socket: socket,
        }
    }
}

/// Starts a TCP server that calls `serve` for each connection, on a thread of its own, which ends
/// with the peer.
pub(crate) fn tcp_server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        while let Ok((peer, _)) = listener.accept() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(peer));
        }
    });
    address
}

/// Starts a TCP server that calls `answer` after each read, with all bytes that are not answered yet.
/// It returns how many of them it took, and the reply; `None` closes the connection.
pub(crate) fn answering_server(
    answer: impl Fn(&[u8]) -> Option<(usize, Vec<u8>)> + Send + Sync + 'static,
) -> SocketAddr {
    tcp_server(move |mut peer| {
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = peer.read(&mut buffer) {
            input.extend_from_slice(&buffer[..n]);
            let Some((taken, reply)) = answer(&input) else {
                return;
            };
            input.drain(..taken);
            if peer.write_all(&reply).is_err() {
                return;
            }
        }
    })
}

/// Starts a UDP server that calls `answer` with the number and bytes of each datagram. It returns the
/// replies, if any.
pub(crate) fn udp_server(
    mut answer: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        for number in 0.. {
            let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
                return;
            };
            for reply in answer(number, &buffer[..len]) {
                let _ = socket.send_to(&reply, peer);
            }
        }
    });
    address
}
