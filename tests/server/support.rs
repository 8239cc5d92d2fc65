//! What the tests stand on: servers, raw connections, seeded random numbers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use globalcounter::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::server::{Config, ServeError, Server, Stop};
use globalcounter::store::Store;
use globalcounter::topic::{ShardId, Shards, Topic};

/// Long enough for anything to happen that will; a test that waits this long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn port_0() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 0).into())
}

/// A server's settings for tests: TCP and UDP on free ports.
pub(crate) fn config(shards: usize) -> Config {
    Config {
        tcp: port_0(),
        udp: port_0(),
        shards: Shards::new(shards).unwrap(),
        ..Config::default()
    }
}

/// A server in this process; stopped, and checked to have stopped well, when dropped.
pub(crate) struct Embedded {
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Embedded {
    pub(crate) fn start(shards: usize) -> Self {
        Self::with(config(shards))
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::running(Server::bind(config).unwrap())
    }

    /// One that keeps topics in `store`.
    pub(crate) fn on(config: Config, store: Box<dyn Store>) -> Self {
        Self::running(Server::bind_to(config, store).unwrap())
    }

    fn running(server: Server) -> Self {
        Self {
            tcp: server.tcp_addr().unwrap(),
            udp: server.udp_addr().unwrap(),
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }
}

impl Embedded {
    /// Stops one whose store has failed.
    pub(crate) fn fails_to_end_cleanly(mut self) {
        self.stop.stop();
        let result = self.thread.take().unwrap().join().unwrap();
        assert!(matches!(result, Err(ServeError::Store(_))), "{result:?}");
    }

    /// Stops it from an asynchronous test, whose thread must not wait for that.
    pub(crate) async fn stop(self) {
        tokio::task::spawn_blocking(|| drop(self)).await.unwrap();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.stop();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let result = thread.join().unwrap();
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

/// The real binary, serving; killed when dropped, unless it has ended.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// How many files and sockets it has open without any connection.
    pub(crate) idle_descriptors: usize,
}

impl Process {
    pub(crate) fn start(shards: usize) -> Self {
        Self::with(&["--shards", &shards.to_string()])
    }

    /// In memory, unless the arguments name a data directory.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let in_memory = (!arguments.contains(&"--data-dir")).then_some("--in-memory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_globalcounter"))
            .args(["serve", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
            .args(in_memory)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ready = |transport: &str| -> SocketAddr {
            let line = lines.next().unwrap().unwrap();
            let rest = line
                .strip_prefix(&format!("serving {transport}://"))
                .unwrap();
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let mut process = Self {
            tcp: ready("tcp"),
            udp: ready("udp"),
            child,
            idle_descriptors: 0,
        };
        // Its sockets are bound, its workers may be about to start: each serves us once.
        let mut connection = Framed::connect(process.tcp);
        let shards = connection.hello(None).shards;
        for shard in 0..shards {
            connection.hello(Some(shard));
        }
        process.idle_descriptors = process.descriptors() - 1;
        process
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: usize = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib * 1024
    }

    /// Processor time it has used, in clock ticks of 10 ms.
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

/// Waits until something holds, looking again and again; panics when it never does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// SplitMix64: the same seed, the same numbers.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `GLOBALCOUNTER_TEST_SEED`, or by `default`; says which, so that a failure can be
    /// run again.
    pub(crate) fn seeded(default: u64) -> Self {
        let seed = match std::env::var("GLOBALCOUNTER_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => default,
        };
        println!("GLOBALCOUNTER_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A connection that speaks bytes.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A socket that speaks datagrams with one server.
pub(crate) fn datagrams(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(port_0().unwrap()).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends one datagram, returns the next that comes.
pub(crate) fn exchange(socket: &UdpSocket, datagram: &[u8]) -> Vec<u8> {
    socket.send(datagram).unwrap();
    let mut buffer = vec![0; 65_536];
    let len = socket.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

/// Writes `bytes` on a new connection; returns all that comes until the server closes it.
pub(crate) fn exchange_to_end(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

/// What a reply to INFO says of one thing.
pub(crate) fn info_field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let field = fields.find(|(field, _)| *field == name);
    field.unwrap_or_else(|| panic!("no {name} in {info}")).1
}

/// A request frame.
pub(crate) fn frame(id: u32, op: Op, topic: &str) -> Vec<u8> {
    let topic = Topic::new(topic.as_bytes(), usize::MAX).unwrap();
    let mut out = Vec::new();
    let call = Call::Topic(Request { op, topic });
    framed::encode_request(RequestId(id), &call, &mut out);
    out
}

/// A framed connection that reads replies one by one.
pub(crate) struct Framed {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl Framed {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self {
            stream: connect(address),
            input: Vec::new(),
            at: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply: its id and what `take` makes of it; `None` where the server closed.
    pub(crate) fn receive<T>(&mut self, take: impl Fn(Answer<'_>) -> T) -> Option<(u32, T)> {
        loop {
            if let Some(frame) = framed::decode_reply(&self.input[self.at..]).unwrap() {
                self.at += frame.len;
                return Some((frame.id.0, take(frame.answer)));
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                len => self.input.extend_from_slice(&buffer[..len]),
            }
        }
    }

    /// The next reply to something that was done to a topic.
    pub(crate) fn reply(&mut self) -> Option<(u32, Reply)> {
        self.receive(|answer| match answer {
            Answer::Reply(reply) => reply,
            other => panic!("a reply expected, not {other:?}"),
        })
    }

    /// Says HELLO, and moves to the shard's worker where it names one.
    pub(crate) fn hello(&mut self, shard: Option<u16>) -> HelloReply {
        let hello = Hello {
            shard: shard.map(ShardId::new),
            token: b"",
        };
        let mut request = Vec::new();
        framed::encode_request(RequestId(3), &Call::Hello(hello), &mut request);
        self.send(&request);
        let reply = self.receive(|answer| match answer {
            Answer::Hello(hello) => hello,
            other => panic!("a reply to HELLO expected, not {other:?}"),
        });
        let (id, hello) = reply.expect("a reply");
        assert_eq!(id, 3);
        hello
    }

    /// Asks one thing.
    pub(crate) fn ask(&mut self, op: Op, topic: &str) -> Reply {
        self.send(&frame(7, op, topic));
        let (id, reply) = self.reply().expect("a reply");
        assert_eq!(id, 7);
        reply
    }
}
