//! Clients that count until the server is gone, or until they are told to stop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use globalcounter::protocol::framed::{self, Answer};
use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::topic::Topic;

use crate::support::{Framed, Random, frame};
use crate::topics::Topics;

/// A client looks so often whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What a client speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    Tcp,
    UdpFramed,
    UdpClassic,
}

pub(crate) const DIALECTS: [Dialect; 3] = [Dialect::Tcp, Dialect::UdpFramed, Dialect::UdpClassic];

/// One client's way to the server.
pub(crate) enum Line {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// What was asked together: topic and op, what the reply has to be above, the reply.
type Asked = Vec<(usize, Op, u64, Option<Reply>)>;

impl Line {
    pub(crate) fn open(
        dialect: Dialect,
        tcp: SocketAddr,
        udp: SocketAddr,
    ) -> std::io::Result<Self> {
        match dialect {
            Dialect::Tcp => {
                let stream = TcpStream::connect(tcp)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LOOK))?;
                Ok(Self::Tcp(stream))
            }
            Dialect::UdpFramed | Dialect::UdpClassic => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(udp)?;
                socket.set_read_timeout(Some(LOOK))?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Udp(socket) => socket.send(bytes).map(drop),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Udp(socket) => socket.recv(buffer),
        }
    }
}

/// Counts until `stop`, or until the server is gone.
pub(crate) fn run(
    dialect: Dialect,
    (tcp, udp): (SocketAddr, SocketAddr),
    topics: &Topics,
    stop: &AtomicBool,
    mut random: Random,
) {
    let Ok(mut line) = Line::open(dialect, tcp, udp) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        let resets = random.below(40) == 0;
        let mut asked = choose(dialect, topics, resets, &mut random);
        let (_readers, _writer);
        if resets {
            _writer = topics.at(asked[0].0).turn.write().unwrap();
        } else {
            let turns = asked.iter().map(|&(topic, ..)| topics.at(topic));
            _readers = turns
                .map(|topic| topic.turn.read().unwrap())
                .collect::<Vec<_>>();
        }
        let mut bytes = Vec::new();
        for (id, (topic, op, above, _)) in (0..).zip(&mut asked) {
            *above = topics.asks(*topic, *op);
            encode(dialect, id, *op, &topics.at(*topic).name, &mut bytes);
        }
        if line.send(&bytes).is_err() || !collect(dialect, &mut line, topics, &mut asked, stop) {
            return;
        }
    }
}

/// Some topics, in order and each once, so that nobody waits for another in a circle.
fn choose(dialect: Dialect, topics: &Topics, resets: bool, random: &mut Random) -> Asked {
    let count = match dialect {
        _ if resets => 1,
        Dialect::UdpClassic => 1,
        _ => 1 + random.below(12),
    };
    let mut chosen: Vec<usize> = (0..count)
        .map(|_| {
            let n = topics.len() as u64;
            // Half of all requests for one topic in eight.
            let hot = random.below(2) == 0;
            random.below(if hot { n / 8 } else { n }) as usize
        })
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    let op = |random: &mut Random| match (random.below(20), dialect) {
        (n, Dialect::UdpClassic) if resets && n < 20 => Op::Reset,
        (n, _) if resets => match n % 2 {
            0 => Op::Reset,
            _ => Op::Delete,
        },
        (_, Dialect::UdpClassic) => Op::Count,
        (0..3, _) => Op::Get,
        (3..6, _) => Op::Add(NonZeroU32::new(1 + random.below(30) as u32).unwrap()),
        (6, _) => Op::Advance(random.below(3_000)),
        _ => Op::Count,
    };
    chosen
        .into_iter()
        .map(|topic| (topic, op(random), 0, None))
        .collect()
}

fn encode(dialect: Dialect, id: u32, op: Op, topic: &str, out: &mut Vec<u8>) {
    match dialect {
        Dialect::UdpClassic => {
            let topic = Topic::new(topic.as_bytes(), 100).unwrap();
            classic::encode_request(Request { op, topic }, out).unwrap();
        }
        _ => out.extend(frame(id, op, topic)),
    }
}

/// Waits for all replies, and holds each against what is known as soon as it is there. False where
/// there is nothing more to come.
fn collect(
    dialect: Dialect,
    line: &mut Line,
    topics: &Topics,
    asked: &mut Asked,
    stop: &AtomicBool,
) -> bool {
    let mut input = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let mut left = asked.len();
    while left > 0 {
        match line.receive(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => input.extend_from_slice(&buffer[..len]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
            }
            Err(_) => return false,
        }
        for (id, reply) in decode(dialect, &mut input, asked) {
            let (topic, op, above, got) = &mut asked[id as usize];
            assert!(got.is_none(), "answered twice");
            if let Reply::Error(_) = reply {
                return false; // the store has failed: the power is about to go
            }
            topics.answered(*topic, *op, *above, reply);
            *got = Some(reply);
            left -= 1;
        }
    }
    true
}

fn decode(dialect: Dialect, input: &mut Vec<u8>, asked: &Asked) -> Vec<(u32, Reply)> {
    let mut replies = Vec::new();
    if let Dialect::UdpClassic = dialect {
        if !input.is_empty() {
            let reply = classic::decode_reply(input).unwrap();
            replies.push((0, reply));
            input.clear();
        }
        return replies;
    }
    let mut at = 0;
    while let Some(frame) = framed::decode_reply(&input[at..]).unwrap() {
        at += frame.len;
        match frame.answer {
            Answer::Reply(reply) => replies.push((frame.id.0, reply)),
            other => panic!("{other:?} to {asked:?}"),
        }
    }
    input.drain(..at);
    replies
}

/// Where every topic is, asked in one pipeline.
pub(crate) fn sums(tcp: SocketAddr, topics: &Topics) -> Vec<u64> {
    let mut bytes = Vec::new();
    for number in 0..topics.len() {
        let name = &topics.at(number).name;
        bytes.extend(frame(number as u32, Op::Get, name));
    }
    let mut server = Framed::connect(tcp);
    server.send(&bytes);
    let mut sums = vec![None; topics.len()];
    while sums.contains(&None) {
        let (id, reply) = server.reply().expect("a reply");
        let Reply::Get(sum) = reply else {
            panic!("{reply:?} to GET")
        };
        sums[id as usize] = Some(sum.unwrap_or(0));
    }
    sums.into_iter().map(Option::unwrap).collect()
}
