//! Clients of all dialects that count and read topics at a small rate, and record what they are told. They
//! go to another node when theirs is gone.
//!
//! - `framed`: the framed dialect over TCP and UDP, pipelined
//! - `redis`: Redis clients that know of no cluster, pipelined
//! - `redis_cluster`: Redis Cluster clients, which follow the map and MOVED
//! - `classic`: the classic dialect over TCP and UDP, a message at a time
//! - `resp`: replies of the Redis protocol

mod classic;
mod framed;
mod redis;
mod redis_cluster;
mod resp;

use std::io::{ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use globalcounter::protocol::{ErrorCode, Reply};

use crate::checker::{Outcome, Record};
use crate::support::Random;

pub(crate) use framed::{Connection, Transport};

/// What is due is sent once in this time.
const TICK: Duration = Duration::from_millis(10);

/// How long connecting may take: a node that is cut off does not answer.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// How long a client waits for a reply until it gives the connection up: longer than a node holds a
/// request (5 s) and waits for another node (1 s more).
const REPLY_LIMIT: Duration = Duration::from_secs(8);

/// The most requests that a client has in flight; else a node that is stopped would have a backlog that it
/// works off for seconds.
const IN_FLIGHT_LIMIT: usize = 512;

/// One request in this many reads.
const READS: u64 = 8;

/// What all clients share.
pub(crate) struct Traffic {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) topics: Vec<String>,
    /// All times are since then.
    clock: Instant,
    connections: AtomicU64,
    /// How many requests got a number.
    counted: AtomicU64,
    stop: AtomicBool,
}

/// A running load. It has to be stopped.
pub(crate) struct Load {
    pub(crate) traffic: Arc<Traffic>,
    threads: Vec<JoinHandle<Vec<Record>>>,
}

/// The requests of one client.
pub(crate) struct Log<'a> {
    traffic: &'a Traffic,
    records: Vec<Record>,
    /// Of all its requests: see [`Record::in_order`].
    in_order: bool,
}

impl Load {
    /// Starts clients of all dialects, with about 2,000 requests per second in all.
    pub(crate) fn start(
        nodes: &[SocketAddr],
        topics: &[String],
        clock: Instant,
        seed: u64,
    ) -> Self {
        let traffic = Arc::new(Traffic {
            nodes: nodes.to_vec(),
            topics: topics.to_vec(),
            clock,
            connections: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut random = Random::new(seed);
        let mut threads = Vec::new();
        let mut spawn = |client: fn(&Traffic, usize, Random) -> Vec<Record>, number: usize| {
            for home in 0..number {
                let (traffic, random) = (Arc::clone(&traffic), random.fork());
                threads.push(thread::spawn(move || client(&traffic, home, random)));
            }
        };
        spawn(framed::over_tcp, 3);
        spawn(framed::over_udp, 2);
        spawn(redis::run, 2);
        spawn(redis_cluster::run, 2);
        spawn(classic::over_tcp, 1);
        spawn(classic::over_udp, 1);
        Self { traffic, threads }
    }

    /// Stops the clients when their requests in flight have ended. Returns all records.
    pub(crate) fn stop(self) -> Vec<Record> {
        self.traffic.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        let records = threads.map(|thread| match thread.join() {
            Ok(records) => records,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        records.flatten().collect()
    }
}

impl Traffic {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns how many requests got a number.
    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    fn node(&self, number: usize) -> SocketAddr {
        self.nodes[number % self.nodes.len()]
    }

    /// Returns a number for a connection whose replies have an order.
    pub(crate) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Chooses the topic of a request, and whether it only reads it. Some topics are hot.
    fn choose(&self, random: &mut Random) -> (usize, bool) {
        let all = self.topics.len() as u64;
        let among = if random.below(2) == 0 { all / 10 } else { all };
        (random.below(among) as usize, random.below(READS) == 0)
    }
}

impl<'a> Log<'a> {
    pub(crate) fn new(traffic: &'a Traffic) -> Self {
        Self {
            traffic,
            records: Vec::new(),
            in_order: false,
        }
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Notes that a request is about to be sent. It is lost unless it [ends](Self::end).
    pub(crate) fn begin(&mut self, topic: usize, reads: bool, connection: Option<u64>) -> usize {
        let began = self.traffic.clock.elapsed();
        self.records.push(Record {
            topic,
            outcome: match reads {
                true => Outcome::NotRead,
                false => Outcome::Lost,
            },
            began,
            ended: Duration::MAX,
            connection,
            in_order: self.in_order,
        });
        self.records.len() - 1
    }

    /// Notes what became of a request.
    pub(crate) fn end(&mut self, request: usize, outcome: Outcome) {
        if let Outcome::Number(_) = outcome {
            self.traffic.counted.fetch_add(1, Ordering::Relaxed);
        }
        let record = &mut self.records[request];
        record.ended = self.traffic.clock.elapsed();
        let reads = record.outcome == Outcome::NotRead;
        record.outcome = match (reads, outcome) {
            (true, Outcome::Sum(_) | Outcome::NotSent) | (false, _) => outcome,
            (true, _) => Outcome::NotRead,
        };
    }

    /// Notes the reply to a request.
    pub(crate) fn answered(&mut self, request: usize, reply: Reply) {
        self.end(request, outcome(reply));
    }

    /// Returns how long a request has been in flight.
    fn age(&self, request: usize) -> Duration {
        self.traffic.clock.elapsed() - self.records[request].began
    }
}

/// Opens a TCP connection. To a port of loopback at which nobody listens any more, a socket may connect to
/// itself; that is refused.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    if stream.local_addr()? == address {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a UDP socket that is connected to a node, as [`connect`] does.
fn connect_udp(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    if socket.local_addr()?.port() == address.port() {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    socket.connect(address)?;
    Ok(socket)
}

/// Returns what a reply says of its request.
fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Count(number) => Outcome::Number(number),
        Reply::Get(sum) => Outcome::Sum(sum.unwrap_or(0)),
        Reply::Error(error) if error.may_have_been_applied() => Outcome::Unknown,
        Reply::Error(ErrorCode::NotOwner | ErrorCode::Unavailable | ErrorCode::Busy) => {
            Outcome::Refused
        }
        other => panic!("no reply that the cluster may give: {other:?}"),
    }
}

/// Sleeps until the next tick of a client. Its rate is a part of the load.
fn until_next_tick(last: &mut Instant, tick: Duration) {
    *last += tick;
    let now = Instant::now();
    match last.checked_duration_since(now) {
        Some(left) => thread::sleep(left),
        None => *last = now,
    }
}
