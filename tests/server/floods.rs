//! Floods: many peers that each use as much of the server as they can, beside one that behaves well. Its
//! counts stay fast, the memory stays within the bound of docs/operations.md, and afterwards all is as
//! before. Each flood runs here with some hundred peers, and with ten thousand by
//! `cargo test --release --test server floods -- --ignored --nocapture --test-threads 1`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::protocol::framed::{self, Call, RequestId};
use globalcounter::protocol::{Op, Reply};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::support::metrics;
use crate::support::{Framed, Process, SetOnDrop, TlsDirectory, command, eventually, frame};

const WORKERS: usize = 2;

/// The memory that a server may need for each connection, in addition to what it holds.
const EACH_CONNECTION: usize = 4 * 1024;

/// The same for a TLS connection whose handshake is in progress, of which there are 1,024 at most.
const EACH_HANDSHAKE: usize = 32 * 1024;

/// How long a flood may last.
const LONGEST: Duration = Duration::from_secs(120);

/// How many peers a flood has.
#[derive(Debug, Clone, Copy)]
enum Size {
    Small,
    Full,
}

impl Size {
    /// Returns the number of peers: `full`, as far as this process can open so many connections.
    fn peers(self, small: usize, full: usize) -> usize {
        let wanted = match self {
            Self::Small => small,
            Self::Full => full,
        };
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        }
        let possible = wanted.min((hard as usize).saturating_sub(500));
        if possible < wanted {
            println!("only {possible} connections: the limit on open files is {hard}");
        }
        possible
    }

    /// What the connections of a worker may hold together.
    fn held(self) -> usize {
        match self {
            Self::Small => 16 * 1024 * 1024,
            Self::Full => 64 * 1024 * 1024,
        }
    }

    /// The longest that the 99th percentile of the other client's counts may take. A small flood runs
    /// beside other tests, so it shows nothing about time.
    fn p99(self) -> Duration {
        match self {
            Self::Small => Duration::from_secs(5),
            Self::Full => Duration::from_millis(5),
        }
    }
}

/// Opens a connection whose buffers in the kernel are small. It may not be established yet.
fn begin_connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    socket.set_nonblocking(true).unwrap();
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => panic!("{error}"),
        _ => TcpStream::from(socket),
    }
}

/// A peer of a flood.
struct Peer {
    stream: TcpStream,
    /// What it sends, again and again.
    request: Vec<u8>,
    sent: usize,
}

impl Peer {
    fn new(address: SocketAddr, request: Vec<u8>) -> Self {
        Self {
            stream: begin_connect(address),
            request,
            sent: 0,
        }
    }

    /// Sends at most `len` bytes more, of `most` in all. Returns whether the connection is open.
    fn send(&mut self, len: usize, most: usize) -> bool {
        let mut left = len.min(most - self.sent);
        while left > 0 {
            let at = self.sent % self.request.len();
            let bytes = &self.request[at..self.request.len().min(at + left)];
            match self.stream.write(bytes) {
                Ok(written) => {
                    self.sent += written;
                    left -= written;
                }
                Err(error) => return is_open(&error),
            }
        }
        true
    }

    /// Returns whether the connection is open. What the server sends is discarded.
    fn read(&mut self) -> bool {
        match self.stream.read(&mut [0; 512]) {
            Ok(len) => len > 0,
            Err(error) => is_open(&error),
        }
    }

    /// Returns whether the connection is open. Nothing is read.
    fn is_open(&self) -> bool {
        match self.stream.take_error().unwrap() {
            Some(error) => is_open(&error),
            None => !matches!(self.stream.peek(&mut [0]), Ok(0)),
        }
    }
}

/// Returns whether a connection is open, or begins, after an error.
fn is_open(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}

/// What was observed beside a flood.
struct Observed {
    latencies: Vec<Duration>,
    before: usize,
    peak: usize,
}

/// Runs a flood beside a client that counts, until all peers are gone. Checks that the server is as before.
fn beside(server: &Process, size: Size, flood: impl FnOnce()) -> Observed {
    let mut client = Framed::connect(server.tcp);
    client.ask(Op::Count, "other");
    let before = server.resident();
    let over = AtomicBool::new(false);
    let observed = thread::scope(|scope| {
        let latencies = scope.spawn(|| {
            let mut latencies = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                assert!(matches!(client.ask(Op::Count, "other"), Reply::Count(_)));
                latencies.push(start.elapsed());
            }
            latencies
        });
        let peak = scope.spawn(|| {
            let mut peak = before;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(server.resident());
                thread::sleep(Duration::from_millis(20)); // the interval of the samples
            }
            peak
        });
        let stop = SetOnDrop(&over);
        flood();
        drop(stop);
        Observed {
            latencies: latencies.join().unwrap(),
            before,
            peak: peak.join().unwrap(),
        }
    });
    drop(client);
    eventually("all connections are closed", || {
        server.descriptors() == server.idle_descriptors
    });
    observed.report(server, size);
    observed
}

impl Observed {
    fn report(&self, server: &Process, size: Size) {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let quantile = |q: f64| sorted[((sorted.len() - 1) as f64 * q) as usize];
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        let mib = |bytes: usize| bytes / 1024 / 1024;
        println!(
            "{} counts beside it: p50 {p50:?}, p99 {p99:?}, slowest {:?}; memory {} MiB before, {} at its \
             peak, {} afterwards",
            sorted.len(),
            quantile(1.0),
            mib(self.before),
            mib(self.peak),
            mib(server.resident()),
        );
        assert!(p99 < size.p99(), "{p99:?}");
    }

    fn grown(&self) -> usize {
        self.peak - self.before
    }
}

/// Returns a PING with a body of this many bytes, which are also in the reply.
fn ping(len: usize) -> Vec<u8> {
    let mut ping = Vec::new();
    framed::encode_request(RequestId(1), &Call::Ping(&vec![0; len]), &mut ping);
    ping
}

/// Calls `step` for each peer until all are gone: it returns whether the connection is still open.
fn until_gone(mut peers: Vec<Peer>, pause: Duration, mut step: impl FnMut(&mut Peer) -> bool) {
    let start = Instant::now();
    while !peers.is_empty() {
        assert!(start.elapsed() < LONGEST, "{} peers are left", peers.len());
        peers.retain_mut(&mut step);
        thread::sleep(pause); // the pace of the flood
    }
}

/// Returns a server with short limits on times.
fn start(size: Size, arguments: &[&str]) -> Process {
    let (workers, held) = (WORKERS.to_string(), size.held().to_string());
    let all = [&["--shards", &workers, "--max-held", &held], arguments].concat();
    Process::with_admin(&all)
}

/// Returns how many connections were closed at a limit.
fn closed(server: &Process, limit: &str) -> f64 {
    let name = format!("globalcounter_connections_closed_at_limit_total{{limit=\"{limit}\"}}");
    metrics(server.admin.unwrap())[&name]
}

/// Peers that begin a handshake of TLS, or only connect, and send nothing more.
fn unfinished_handshakes(size: Size) {
    let count = size.peers(300, 10_000);
    let files = TlsDirectory::new(&format!("flood-{size:?}"));
    let flags = files.flags();
    let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    arguments.extend(["--handshake-timeout", "2"]);
    let server = start(size, &arguments);
    let address = server.tls.unwrap();
    let observed = beside(&server, size, || {
        let hello = vec![22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
        let peers = (0..count).map(|_| Peer::new(address, hello.clone()));
        until_gone(peers.collect(), Duration::from_millis(100), |peer| {
            let most = peer.request.len();
            peer.send(most, most) && peer.read()
        });
    });
    let bound = 1_024 * EACH_HANDSHAKE + count * EACH_CONNECTION;
    assert!(observed.grown() < bound, "{} bytes", observed.grown());
    assert_eq!(
        files.client().framed(address).ask(Op::Count, "a"),
        Reply::Count(1)
    );
}

#[test]
fn peers_that_never_finish_their_handshake() {
    unfinished_handshakes(Size::Small);
}

#[test]
#[ignore = "10,000 connections; run with --ignored"]
fn ten_thousand_peers_that_never_finish_their_handshake() {
    unfinished_handshakes(Size::Full);
}

/// Peers that send one byte of a request each second.
fn slow_senders(size: Size) {
    let count = size.peers(300, 10_000);
    let server = start(size, &["--request-timeout", "3"]);
    let observed = beside(&server, size, || {
        let topic = "a".repeat(1_000);
        let requests = [frame(1, Op::Count, &topic), command(&["INCR", &topic])];
        let peers = (0..count).map(|n| Peer::new(server.tcp, requests[n % 2].clone()));
        until_gone(peers.collect(), Duration::from_secs(1), |peer| {
            peer.send(1, usize::MAX) && peer.read()
        });
    });
    assert_eq!(closed(&server, "request"), count as f64);
    let bound = count * EACH_CONNECTION;
    assert!(
        observed.grown() < bound.max(8 * 1024 * 1024),
        "{} bytes",
        observed.grown()
    );
}

#[test]
fn peers_that_send_one_byte_a_second() {
    slow_senders(Size::Small);
}

#[test]
#[ignore = "10,000 connections; run with --ignored"]
fn ten_thousand_peers_that_send_one_byte_a_second() {
    slow_senders(Size::Full);
}

/// Peers that send most of the longest frame, and not the rest.
fn long_incomplete_requests(size: Size) {
    const SENT: usize = 60_000;
    let count = size.peers(700, 10_000);
    let server = start(size, &["--request-timeout", "5"]);
    let flood = || {
        let ping = ping(65_000);
        let peers = (0..count).map(|_| Peer::new(server.tcp, ping.clone()));
        until_gone(peers.collect(), Duration::from_millis(100), |peer| {
            peer.send(SENT, SENT) && peer.read()
        });
    };
    let observed = beside(&server, size, flood);
    let by_limit = ["held", "request"].map(|limit| closed(&server, limit));
    println!(
        "closed: {} that held most, {} in the end",
        by_limit[0], by_limit[1]
    );
    assert_eq!(by_limit.iter().sum::<f64>(), count as f64);
    assert!(by_limit[0] > 0.0);
    let bound = 2 * WORKERS * size.held() + count * EACH_CONNECTION;
    assert!(observed.grown() < bound, "{} bytes", observed.grown());
    // The allocator keeps what was freed between other things; the next flood uses it again.
    let again = beside(&server, size, flood);
    assert!(again.peak < observed.peak + observed.grown() / 2);
}

#[test]
fn peers_that_send_most_of_a_long_request() {
    long_incomplete_requests(Size::Small);
}

#[test]
#[ignore = "10,000 connections; run with --ignored"]
fn ten_thousand_peers_that_send_most_of_a_long_request() {
    long_incomplete_requests(Size::Full);
}

/// Peers that send 100,000 requests each and read no reply. The kernel accepts some 3 MB of replies for each,
/// over loopback; theirs are 10 MB.
fn unread_replies(size: Size) {
    const REQUESTS: usize = 100_000;
    let count = size.peers(20, 200);
    let server = start(size, &["--unread-timeout", "5"]);
    let observed = beside(&server, size, || {
        let request = ping(100);
        let most = REQUESTS * request.len();
        let requests = request.repeat(1_000);
        let peers = (0..count).map(|_| Peer::new(server.tcp, requests.clone()));
        until_gone(peers.collect(), Duration::from_millis(100), |peer| {
            peer.send(most, most) && peer.is_open()
        });
    });
    assert_eq!(
        closed(&server, "unread") + closed(&server, "held"),
        count as f64
    );
    let bound = 2 * WORKERS * size.held() + count * EACH_CONNECTION;
    assert!(observed.grown() < bound, "{} bytes", observed.grown());
}

#[test]
fn peers_that_never_read() {
    unread_replies(Size::Small);
}

#[test]
#[ignore = "200 connections with 100,000 requests each; run with --ignored"]
fn two_hundred_peers_that_never_read() {
    unread_replies(Size::Full);
}
