//! The classic dialect: a message at a time. It only counts, and has no request ids, so a socket is given
//! up when a reply does not come.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::topic::Topic;

use super::{Log, REPLY_LIMIT, Traffic, until_next_tick};
use crate::checker::Record;
use crate::support::Random;

/// A request is due once in this time.
const TICK: Duration = Duration::from_millis(20);

/// How long a client waits for a reply over UDP. A forwarded request may be answered later.
const DATAGRAM_LIMIT: Duration = Duration::from_secs(1);

pub(super) fn over_tcp(traffic: &Traffic, home: usize, random: Random) -> Vec<Record> {
    run(traffic, home + 2, random, |address| {
        let stream = super::connect(address)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        Ok(move |message: &[u8]| {
            let mut stream = &stream;
            stream.write_all(message)?;
            stream.shutdown(Shutdown::Write)?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply)?;
            Ok(reply)
        })
    })
}

pub(super) fn over_udp(traffic: &Traffic, home: usize, random: Random) -> Vec<Record> {
    run(traffic, home, random, |address| {
        let socket = super::connect_udp(address)?;
        socket.set_read_timeout(Some(DATAGRAM_LIMIT))?;
        Ok(move |message: &[u8]| {
            socket.send(message)?;
            let mut reply = vec![0; 64];
            let len = socket.recv(&mut reply)?;
            reply.truncate(len);
            Ok(reply)
        })
    })
}

/// Counts until the load is stopped, with a new socket for each request.
fn run<E: FnOnce(&[u8]) -> Result<Vec<u8>>>(
    traffic: &Traffic,
    home: usize,
    mut random: Random,
    connect: impl Fn(SocketAddr) -> Result<E>,
) -> Vec<Record> {
    let mut log = Log::new(traffic);
    let (mut node, mut last) = (home, Instant::now());
    while !traffic.is_stopped() {
        until_next_tick(&mut last, TICK);
        let Ok(exchange) = connect(traffic.node(node)) else {
            node += 1;
            continue;
        };
        let (at, _) = traffic.choose(&mut random);
        let topic = Topic::new(traffic.topics[at].as_bytes(), usize::MAX).unwrap();
        let mut message = Vec::new();
        let op = Op::Count;
        classic::encode_request(Request { op, topic }, &mut message).unwrap();
        let request = log.begin(at, false, None);
        match exchange(&message).and_then(|reply| decode(&reply)) {
            Ok(reply) => log.answered(request, reply),
            Err(_) => node += 1, // it may have been applied
        }
    }
    log.into_records()
}

fn decode(reply: &[u8]) -> Result<Reply> {
    match reply {
        [] => Err(ErrorKind::UnexpectedEof.into()),
        reply => Ok(classic::decode_reply(reply).expect("a classic reply")),
    }
}
