//! Redis clients that know of no cluster: pipelined, replies in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::resp::Value;
use super::{IN_FLIGHT_LIMIT, Log, REPLY_LIMIT, TICK, Traffic, connect, until_next_tick};
use crate::checker::Record;
use crate::support::{Random, command};

/// Requests per tick.
const PER_TICK: u64 = 2;

pub(super) fn run(traffic: &Traffic, home: usize, mut random: Random) -> Vec<Record> {
    let mut log = Log::new(traffic);
    log.in_order = true;
    let (mut node, mut last) = (home + 1, Instant::now());
    while !traffic.is_stopped() {
        let address = traffic.node(node);
        let counted =
            connect(address).and_then(|stream| use_connection(stream, &mut log, &mut random));
        if counted.is_err() {
            node += 1;
            until_next_tick(&mut last, TICK);
        }
    }
    log.into_records()
}

/// Counts until the load is stopped.
fn use_connection(mut stream: TcpStream, log: &mut Log<'_>, random: &mut Random) -> Result<()> {
    let traffic = log.traffic;
    let number = Some(traffic.connection());
    let mut in_flight = VecDeque::new();
    let mut input = Vec::new();
    let mut next = Instant::now();
    while !traffic.is_stopped() || !in_flight.is_empty() {
        next += TICK;
        if !traffic.is_stopped() && in_flight.len() < IN_FLIGHT_LIMIT {
            let mut bytes = Vec::new();
            for _ in 0..PER_TICK {
                let (topic, reads) = traffic.choose(random);
                let name = if reads { "GET" } else { "INCR" };
                in_flight.push_back(log.begin(topic, reads, number));
                bytes.extend(command(&[name, &traffic.topics[topic]]));
            }
            stream.write_all(&bytes)?;
        }
        receive(&mut stream, next, &mut input, &mut in_flight, log)?;
        if let Some(left) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        if in_flight
            .front()
            .is_some_and(|&oldest| log.age(oldest) > REPLY_LIMIT)
        {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Takes replies until `until`, or until none is missing.
fn receive(
    stream: &mut TcpStream,
    until: Instant,
    input: &mut Vec<u8>,
    in_flight: &mut VecDeque<usize>,
    log: &mut Log<'_>,
) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    while !in_flight.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => input.extend_from_slice(&buffer[..len]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        while let Some((value, len)) = Value::read(input) {
            input.drain(..len);
            let request = in_flight.pop_front().expect("a request has one reply");
            log.end(request, value.outcome());
        }
    }
    Ok(())
}
