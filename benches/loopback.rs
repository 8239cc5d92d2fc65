//! The time of a COUNT end to end, over loopback, with a server of one shard:
//!
//! - the asynchronous client with one request at a time, over TCP and over UDP: a round trip, spent
//!   mostly in the kernel;
//! - the same client with 64 callers that count one topic, coalesced into one request or one by one;
//! - one framed TCP connection with 64 requests in flight: the most that a connection can do.
//!
//! It shows the effect of a change to the server or the client for a user. Client and server share
//! the machine, each with a thread of its own.

#![allow(missing_docs)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use globalcounter::Client;
use globalcounter::client::Options;
use globalcounter::protocol::framed::{self, Answer, Call, RequestId};
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::server::{Config, Server};
use globalcounter::topic::{Shards, Topic};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// The only topic. The bench `table` measures the cost of many topics.
const TOPIC: &str = "topic-0000000000";

/// Requests in flight on the pipelined connection.
const IN_FLIGHT: u64 = 64;

/// The size of the receive buffer, in bytes: more than all replies in flight need.
const INPUT_LEN: usize = 4_096;

/// How long to wait for a reply: long enough that no UDP request is sent again.
const PATIENCE: Duration = Duration::from_secs(10);

fn loopback(c: &mut Criterion) {
    let any_port = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = Server::bind(Config {
        tcp: any_port,
        udp: any_port,
        shards: Shards::ONE,
        ..Config::default()
    })
    .expect("a free port");
    let tcp = server.tcp_addr().expect("TCP is on");
    let udp = server.udp_addr().expect("UDP is on");
    let stop = server.stop_handle();
    let serving = thread::spawn(|| server.run());
    // The client's task runs on the thread of its caller, so no thread switch is measured.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");

    let mut group = c.benchmark_group("loopback");
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(1));
    for (name, url) in [
        ("client, tcp", format!("tcp://{tcp}")),
        ("client, udp", format!("udp://{udp}")),
    ] {
        group.bench_function(name, |b| one_at_a_time(b, &runtime, &url));
    }
    for (name, coalesce) in [
        ("client, 64 callers, together", true),
        ("client, 64 callers, one by one", false),
    ] {
        let options = Options::default().timeout(PATIENCE).coalesce(coalesce);
        let url = format!("tcp://{tcp}");
        group.bench_function(name, |b| callers(b, &runtime, &url, options.clone()));
    }
    group.bench_function("64 in flight, tcp", |b| {
        let mut pipeline = Pipeline::connect(tcp).expect("the server listens");
        b.iter_custom(|requests| pipeline.time(requests).expect("the server answers"));
    });
    group.finish();

    stop.stop();
    let served = serving.join().expect("the server's thread does not panic");
    served.expect("every worker starts");
}

fn one_at_a_time(b: &mut Bencher<'_>, runtime: &Runtime, url: &str) {
    let options = Options::default()
        .timeout(PATIENCE)
        .attempt_timeout(PATIENCE);
    let client = runtime.block_on(Client::connect_with(url, options));
    let client = client.expect("the server listens");
    b.iter_custom(|requests| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..requests {
                client.count(TOPIC).await.expect("the server answers");
            }
            start.elapsed()
        })
    });
}

/// Runs [`IN_FLIGHT`] callers, each with one request at a time.
fn callers(b: &mut Bencher<'_>, runtime: &Runtime, url: &str, options: Options) {
    let client = runtime.block_on(Client::connect_with(url, options));
    let client = client.expect("the server listens");
    b.iter_custom(|requests| {
        runtime.block_on(async {
            let start = Instant::now();
            let mut callers = JoinSet::new();
            for caller in 0..IN_FLIGHT {
                let client = client.clone();
                // The shares differ by at most one and add up to `requests`.
                let share = (requests + caller) / IN_FLIGHT;
                callers.spawn(async move {
                    for _ in 0..share {
                        client.count(TOPIC).await.expect("the server answers");
                    }
                });
            }
            callers.join_all().await;
            start.elapsed()
        })
    });
}

/// A connection that sends a new request for each reply received, so that [`IN_FLIGHT`] requests
/// are in flight until the end.
struct Pipeline {
    stream: TcpStream,
    output: Vec<u8>,
    /// The first `received` bytes are replies; the last one may be incomplete.
    input: Vec<u8>,
    received: usize,
}

impl Pipeline {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            output: Vec::new(),
            input: vec![0; INPUT_LEN],
            received: 0,
        })
    }

    /// Returns the time until this many requests are answered.
    fn time(&mut self, requests: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let mut unanswered = requests;
        let mut unsent = requests;
        let mut room = IN_FLIGHT;
        while unanswered > 0 {
            let now = room.min(unsent);
            self.send(now)?;
            unsent -= now;
            room = self.receive()?;
            unanswered -= room;
        }
        Ok(start.elapsed())
    }

    /// Sends this many requests with one write.
    fn send(&mut self, requests: u64) -> io::Result<()> {
        let topic = Topic::new(TOPIC.as_bytes(), TOPIC.len()).expect("a topic");
        let op = Op::Count;
        let call = Call::Topic(Request { op, topic });
        self.output.clear();
        for id in 0..requests {
            framed::encode_request(RequestId(id as u32), &call, &mut self.output);
        }
        self.stream.write_all(&self.output)
    }

    /// Reads once and returns the number of complete replies.
    fn receive(&mut self) -> io::Result<u64> {
        let read = self.stream.read(&mut self.input[self.received..])?;
        assert_ne!(read, 0, "the server closed the connection");
        self.received += read;
        let input = &self.input[..self.received];
        let mut replies = 0;
        let mut at = 0;
        while let Some(frame) = framed::decode_reply(&input[at..]).expect("a reply") {
            assert!(matches!(frame.answer, Answer::Reply(Reply::Count(_))));
            replies += 1;
            at += frame.len;
        }
        self.input.copy_within(at..self.received, 0);
        self.received -= at;
        Ok(replies)
    }
}

criterion_group!(benches, loopback);
criterion_main!(benches);
