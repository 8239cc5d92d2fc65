//! The load: connections that each keep a fixed number of requests in flight. Knows the wire
//! protocol only through `globalcounter::protocol`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use globalcounter::protocol::framed::{self, Answer, Call, RequestId};
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::topic::Topic;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take to open, and a server to say anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes that one read takes: more than a pipeline's replies.
const READ_LEN: usize = 64 * 1024;

/// The longest latency that is told apart from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) pipeline: u32,
    pub(crate) topics: usize,
    /// How long to go before measuring begins.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// One value for each request that was answered in the measured time, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) elapsed: Duration,
}

/// Runs the plan.
///
/// # Errors
///
/// A server that is not there, refuses a count, answers nonsense or goes away.
pub(crate) async fn measure(plan: &Plan) -> Result<Measured> {
    let mut connections = Vec::new();
    for number in 0..plan.connections {
        let connecting = timeout(PATIENCE, TcpStream::connect(plan.server)).await;
        let stream = connecting
            .context("no answer")
            .and_then(|connected| Ok(connected?))
            .with_context(|| format!("connecting to {}", plan.server))?;
        stream.set_nodelay(true)?;
        connections.push(Connection::new(stream, number, plan));
    }
    let start = Instant::now() + plan.warm_up;
    let end = start + plan.duration;
    let running: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(connection.run(start, end)))
        .collect();
    let mut latency = new_histogram()?;
    for connection in running {
        let seen = connection
            .await?
            .with_context(|| format!("measuring {}", plan.server))?;
        latency.add(seen)?;
    }
    Ok(Measured {
        latency,
        elapsed: plan.duration,
    })
}

fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
}

struct Connection {
    stream: TcpStream,
    plan: Plan,
    /// The next topic's number; each connection goes through them from another start.
    topic: usize,
    /// When the request with each id was made; ids are reused as replies come.
    began: Vec<Instant>,
    output: Vec<u8>,
    input: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream, number: usize, plan: &Plan) -> Self {
        Self {
            stream,
            topic: number * plan.topics / plan.connections,
            began: vec![Instant::now(); plan.pipeline as usize],
            output: Vec::new(),
            input: Vec::new(),
            plan: plan.clone(),
        }
    }

    async fn run(mut self, start: Instant, end: Instant) -> Result<Histogram<u64>> {
        let mut latency = new_histogram()?;
        for id in 0..self.plan.pipeline {
            self.ask(id, Instant::now());
        }
        loop {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            self.input.reserve(READ_LEN);
            let reading = timeout(PATIENCE, self.stream.read_buf(&mut self.input));
            let Ok(read) = reading.await else {
                bail!("no reply within {PATIENCE:?}");
            };
            if read? == 0 {
                bail!("the server closed the connection");
            }
            let now = Instant::now();
            if now >= end {
                return Ok(latency);
            }
            self.take_replies(now, start, &mut latency)?;
        }
    }

    /// Takes every whole reply, and asks anew for each.
    fn take_replies(
        &mut self,
        now: Instant,
        start: Instant,
        latency: &mut Histogram<u64>,
    ) -> Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(frame) = framed::decode_reply(&input[at..])? {
            at += frame.len;
            match frame.answer {
                Answer::Reply(Reply::Count(_)) => {}
                Answer::Reply(Reply::Error(code)) => bail!("the server refused: {code}"),
                other => bail!("the server answered COUNT with {other:?}"),
            }
            let id = frame.id.0;
            let Some(&began) = self.began.get(id as usize) else {
                bail!("a reply with id {id}, which was never asked");
            };
            if now >= start {
                latency.saturating_record((now - began).as_nanos() as u64);
            }
            self.ask(id, now);
        }
        self.input = input;
        self.input.drain(..at);
        Ok(())
    }

    fn ask(&mut self, id: u32, now: Instant) {
        self.began[id as usize] = now;
        let name = format!("topic-{:08}", self.topic);
        self.topic = (self.topic + 1) % self.plan.topics;
        let topic = Topic::new(name.as_bytes(), name.len()).expect("digits are UTF-8");
        let call = Call::Topic(Request {
            op: Op::Count,
            topic,
        });
        framed::encode_request(RequestId(id), &call, &mut self.output);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use globalcounter::server::{Config, Server};

    use super::*;

    fn plan(server: SocketAddr) -> Plan {
        Plan {
            server,
            connections: 3,
            pipeline: 8,
            topics: 10,
            warm_up: Duration::from_millis(10),
            duration: Duration::from_millis(100),
        }
    }

    fn run(server: SocketAddr) -> Result<Measured> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(measure(&plan(server)))
    }

    #[test]
    fn it_measures_a_server() {
        let config = Config {
            tcp: Some(([127, 0, 0, 1], 0).into()),
            udp: None,
            ..Config::default()
        };
        let server = Server::bind(config).unwrap();
        let address = server.tcp_addr().unwrap();
        let stop = server.stop_handle();
        let serving = std::thread::spawn(|| server.run());
        let measured = run(address).unwrap();
        assert!(measured.latency.len() > 24, "more than the first pipelines");
        assert!(measured.latency.max() > 0);
        stop.stop();
        serving.join().unwrap().unwrap();
    }

    /// What happens when the server reads a request and then says `answer` and no more.
    fn against(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let peers: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            for mut peer in peers {
                let mut buffer = [0; 10];
                peer.read_exact(&mut buffer).unwrap();
                // It may have given up on all of us by now.
                let _ = peer.write_all(answer);
            }
        });
        let error = run(address).unwrap_err();
        server.join().unwrap();
        format!("{error:#}")
    }

    #[test]
    fn servers_that_fail_are_told_apart() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(format!("{:#}", run(nobody).unwrap_err()).contains("refused"));
        let gone = against(b"");
        assert!(gone.contains("closed") || gone.contains("reset"), "{gone}");
        assert!(against(b"HTTP/1.1 400 Bad Request\r\n").contains("no reply"));
        let refusal = b"\xff\x00\x01\x00\x00\x00\x00\x06";
        assert!(against(refusal).contains("too many topics"));
        let unasked = b"\x90\x00\x08\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00\x01";
        assert!(against(unasked).contains("id 99"));
    }
}
