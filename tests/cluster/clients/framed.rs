//! The framed dialect.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use globalcounter::protocol::framed::{self, Answer};
use globalcounter::protocol::{Op, Reply};

use super::{
    IN_FLIGHT_LIMIT, Log, REPLY_LIMIT, TICK, Traffic, connect, connect_udp, until_next_tick,
};
use crate::checker::Record;
use crate::support::{Random, frame};

/// Requests per tick.
const PER_TICK: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// A connection with requests in flight.
pub(crate) struct Connection {
    socket: Socket,
    /// The number of the connection; `None` if its replies have no order.
    pub(crate) number: Option<u64>,
    input: Vec<u8>,
    /// Requests without a reply, by their ids.
    in_flight: BTreeMap<u32, usize>,
    next_id: u32,
}

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Connection {
    pub(crate) fn open(
        transport: Transport,
        address: SocketAddr,
        traffic: &Traffic,
    ) -> Result<Self> {
        let socket = match transport {
            Transport::Tcp => Socket::Tcp(connect(address)?),
            Transport::Udp => Socket::Udp(connect_udp(address)?),
        };
        Ok(Self {
            socket,
            number: (transport == Transport::Tcp).then(|| traffic.connection()),
            input: Vec::new(),
            in_flight: BTreeMap::new(),
            next_id: 1,
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the request that was sent first of those without a reply.
    fn oldest(&self) -> Option<usize> {
        self.in_flight.values().next().copied()
    }

    /// Adds a request to `bytes`.
    pub(crate) fn encode(&mut self, request: usize, op: Op, topic: &str, bytes: &mut Vec<u8>) {
        bytes.extend(frame(self.next_id, op, topic));
        self.in_flight.insert(self.next_id, request);
        self.next_id += 1;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Udp(socket) => socket.send(bytes).map(drop),
        }
    }

    /// Takes replies until `until`, or until none is missing.
    pub(crate) fn receive(
        &mut self,
        until: Instant,
        answered: &mut impl FnMut(usize, Reply),
    ) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        while !self.in_flight.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let left = Some(left.max(Duration::from_millis(1)));
            let read = match &mut self.socket {
                Socket::Tcp(stream) => {
                    stream.set_read_timeout(left)?;
                    stream.read(&mut buffer)
                }
                Socket::Udp(socket) => {
                    socket.set_read_timeout(left)?;
                    socket.recv(&mut buffer)
                }
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error)
                    if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.take_replies(answered);
        }
        Ok(())
    }

    fn take_replies(&mut self, answered: &mut impl FnMut(usize, Reply)) {
        let mut at = 0;
        while let Some(frame) = framed::decode_reply(&self.input[at..]).unwrap() {
            at += frame.len;
            let Answer::Reply(reply) = frame.answer else {
                panic!("a reply expected, not {:?}", frame.answer);
            };
            let request = self.in_flight.remove(&frame.id.0);
            answered(request.expect("a request has one reply"), reply);
        }
        self.input.drain(..at);
    }
}

pub(super) fn over_tcp(traffic: &Traffic, home: usize, random: Random) -> Vec<Record> {
    run(Transport::Tcp, traffic, home, random)
}

pub(super) fn over_udp(traffic: &Traffic, home: usize, random: Random) -> Vec<Record> {
    run(Transport::Udp, traffic, home, random)
}

fn run(transport: Transport, traffic: &Traffic, home: usize, mut random: Random) -> Vec<Record> {
    let mut log = Log::new(traffic);
    let (mut node, mut last) = (home, Instant::now());
    while !traffic.is_stopped() {
        let Ok(mut connection) = Connection::open(transport, traffic.node(node), traffic) else {
            node += 1;
            until_next_tick(&mut last, TICK);
            continue;
        };
        // It ends with an error when the node is gone.
        if use_connection(&mut connection, &mut log, &mut random).is_err() {
            node += 1;
            until_next_tick(&mut last, TICK);
        }
    }
    log.into_records()
}

/// Counts until the load is stopped.
fn use_connection(
    connection: &mut Connection,
    log: &mut Log<'_>,
    random: &mut Random,
) -> Result<()> {
    let traffic = log.traffic;
    let mut next = Instant::now();
    while !traffic.is_stopped() {
        next += TICK;
        if connection.in_flight() < IN_FLIGHT_LIMIT {
            let mut bytes = Vec::new();
            for _ in 0..PER_TICK {
                let (topic, reads) = traffic.choose(random);
                let op = if reads { Op::Get } else { Op::Count };
                let request = log.begin(topic, reads, connection.number);
                connection.encode(request, op, &traffic.topics[topic], &mut bytes);
            }
            connection.send(&bytes)?;
        }
        connection.receive(next, &mut |request, reply| log.answered(request, reply))?;
        if let Some(left) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        give_up_if_silent(connection, log)?;
    }
    while connection.in_flight() > 0 {
        let soon = Instant::now() + TICK;
        connection.receive(soon, &mut |request, reply| log.answered(request, reply))?;
        give_up_if_silent(connection, log)?;
    }
    Ok(())
}

fn give_up_if_silent(connection: &Connection, log: &Log<'_>) -> Result<()> {
    match connection.oldest() {
        Some(oldest) if log.age(oldest) > REPLY_LIMIT => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
