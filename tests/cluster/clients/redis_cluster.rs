//! Redis Cluster clients: they ask for the map, send each request to the owner of its slot, and follow
//! MOVED. One request at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::cluster::{SLOTS, Slot};
use globalcounter::topic::Topic;

use super::resp::Value;
use super::{Log, REPLY_LIMIT, TICK, Traffic, connect, until_next_tick};
use crate::checker::{Outcome, Record};
use crate::support::{Random, command};

/// How often a client follows MOVED, or tries again after CLUSTERDOWN, before it gives a request up.
const REDIRECTS: usize = 16;

/// How long it waits after CLUSTERDOWN, as ioredis does.
const PAUSE: Duration = Duration::from_millis(100);

struct Client<'a> {
    traffic: &'a Traffic,
    /// The owner of each slot.
    owners: Vec<Option<SocketAddr>>,
    connections: HashMap<SocketAddr, Connection>,
    /// The node that is asked for the map next.
    asked: usize,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

pub(super) fn run(traffic: &Traffic, home: usize, mut random: Random) -> Vec<Record> {
    let mut client = Client {
        traffic,
        owners: vec![None; SLOTS.into()],
        connections: HashMap::new(),
        asked: home,
    };
    let mut log = Log::new(traffic);
    let mut last = Instant::now();
    while !traffic.is_stopped() {
        until_next_tick(&mut last, TICK);
        let (topic, reads) = traffic.choose(&mut random);
        client.request(topic, reads, &mut log);
    }
    log.into_records()
}

impl Client<'_> {
    /// Makes a request, or none if no owner of the topic is known that can be reached.
    fn request(&mut self, topic: usize, reads: bool, log: &mut Log<'_>) {
        let name = &self.traffic.topics[topic];
        let slot = Slot::of(Topic::new(name.as_bytes(), usize::MAX).unwrap());
        let slot = usize::from(slot.number());
        let Some(mut owner) = self.owners[slot] else {
            self.learn_map();
            return;
        };
        let words = [if reads { "GET" } else { "INCR" }, name];
        let request = log.begin(topic, reads, None);
        for _ in 0..REDIRECTS {
            let Some(connection) = self.connection(owner) else {
                // Whoever got it before has redirected it.
                log.end(request, Outcome::NotSent);
                self.learn_map();
                return;
            };
            match connection.ask(&words) {
                Ok(Value::Error(text)) if text.starts_with("MOVED ") => {
                    let (_, address) = text.rsplit_once(' ').unwrap();
                    owner = address.parse().unwrap();
                    self.owners[slot] = Some(owner);
                }
                Ok(value) if value.outcome() == Outcome::Refused => {
                    self.learn_map();
                    thread::sleep(PAUSE);
                    owner = self.owners[slot].unwrap_or(owner);
                }
                Ok(value) => {
                    log.end(request, value.outcome());
                    return;
                }
                Err(_) => {
                    // It may have been applied.
                    self.connections.remove(&owner);
                    self.learn_map();
                    return;
                }
            }
        }
        log.end(request, Outcome::Refused);
    }

    /// Returns a connection that gets MOVED: one that has asked for the map.
    fn connection(&mut self, address: SocketAddr) -> Option<&mut Connection> {
        match self.connections.entry(address) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => {
                let stream = connect(address).ok()?;
                stream.set_read_timeout(Some(REPLY_LIMIT)).ok()?;
                let input = Vec::new();
                let mut connection = Connection { stream, input };
                connection.ask(&["CLUSTER", "SLOTS"]).ok()?;
                Some(entry.insert(connection))
            }
        }
    }

    /// Asks the next node for the map.
    fn learn_map(&mut self) {
        self.asked += 1;
        let node = self.traffic.node(self.asked);
        let Some(connection) = self.connection(node) else {
            return;
        };
        let Ok(slots) = connection.ask(&["CLUSTER", "SLOTS"]) else {
            self.connections.remove(&node);
            return;
        };
        if let Value::Error(_) = slots {
            return; // it knows no owner of any slot
        }
        for entry in slots.items() {
            let [first, last, node, ..] = entry.items() else {
                panic!("no entry of CLUSTER SLOTS: {entry:?}");
            };
            let (ip, port) = (node.items()[0].text(), node.items()[1].number());
            let owner = format!("{ip}:{port}").parse().unwrap();
            for slot in first.number()..=last.number() {
                self.owners[slot as usize] = Some(owner);
            }
        }
    }
}

impl Connection {
    fn ask(&mut self, words: &[&str]) -> Result<Value> {
        self.stream.write_all(&command(words))?;
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some((value, len)) = Value::read(&self.input) {
                self.input.drain(..len);
                return Ok(value);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&buffer[..len]),
            }
        }
    }
}
