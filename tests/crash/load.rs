//! Clients that send requests until the server ends or the test stops them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use globalcounter::protocol::framed::{self, Answer};
use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::topic::Topic;

use crate::checker::{Checker, Skips};
use crate::support::{Framed, Random, SetOnDrop, frame};

/// How often a client that waits for a reply checks whether it must stop.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// The transport and dialect of a client.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Tcp,
    UdpFramed,
    UdpClassic,
}

const DIALECTS: [Dialect; 3] = [Dialect::Tcp, Dialect::UdpFramed, Dialect::UdpClassic];

enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Connection {
    fn open(dialect: Dialect, tcp: SocketAddr, udp: SocketAddr) -> std::io::Result<Self> {
        match dialect {
            Dialect::Tcp => {
                let stream = TcpStream::connect(tcp)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(STOP_CHECK))?;
                Ok(Self::Tcp(stream))
            }
            Dialect::UdpFramed | Dialect::UdpClassic => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(udp)?;
                socket.set_read_timeout(Some(STOP_CHECK))?;
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

/// One request of a batch that is sent together; its id is its index in the batch.
#[derive(Debug)]
struct Sent {
    topic: usize,
    op: Op,
    /// The greatest sum known when the request was sent.
    before: u64,
    answered: bool,
}

/// Sends requests until `stop` is set or the server ends.
fn run(
    dialect: Dialect,
    (tcp, udp): (SocketAddr, SocketAddr),
    checker: &Checker,
    stop: &AtomicBool,
    mut random: Random,
) {
    let Ok(mut connection) = Connection::open(dialect, tcp, udp) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        let resets = random.below(40) == 0;
        let mut batch = choose(dialect, checker, resets, &mut random);
        let (_readers, _writer);
        if resets {
            _writer = checker.topic(batch[0].topic).reset_lock.write().unwrap();
        } else {
            let topics = batch.iter().map(|sent| checker.topic(sent.topic));
            _readers = topics
                .map(|topic| topic.reset_lock.read().unwrap())
                .collect::<Vec<_>>();
        }
        let mut bytes = Vec::new();
        for (id, sent) in (0..).zip(&mut batch) {
            sent.before = checker.sending(sent.topic, sent.op);
            let name = &checker.topic(sent.topic).name;
            encode(dialect, id, sent.op, name, &mut bytes);
        }
        if connection.send(&bytes).is_err()
            || !receive_all(dialect, &mut connection, checker, &mut batch, stop)
        {
            return;
        }
    }
}

/// Chooses a batch of requests for different topics. They are sorted by topic, so that clients take
/// the topics' locks in one order and cannot deadlock.
fn choose(dialect: Dialect, checker: &Checker, resets: bool, random: &mut Random) -> Vec<Sent> {
    let count = match dialect {
        _ if resets => 1,
        Dialect::UdpClassic => 1,
        _ => 1 + random.below(12),
    };
    let mut topics: Vec<usize> = (0..count)
        .map(|_| {
            let n = checker.len() as u64;
            // Half of all requests are for one topic in eight.
            let hot = random.below(2) == 0;
            random.below(if hot { n / 8 } else { n }) as usize
        })
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let mut op = || match (random.below(20), dialect) {
        (_, Dialect::UdpClassic) if resets => Op::Reset,
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
    let request = |topic| Sent {
        topic,
        op: op(),
        before: 0,
        answered: false,
    };
    topics.into_iter().map(request).collect()
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

/// Waits for the replies to a batch and checks each as soon as it arrives. Returns false if no more
/// will come.
fn receive_all(
    dialect: Dialect,
    connection: &mut Connection,
    checker: &Checker,
    batch: &mut [Sent],
    stop: &AtomicBool,
) -> bool {
    let mut input = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let mut left = batch.len();
    while left > 0 {
        match connection.receive(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => input.extend_from_slice(&buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
            }
            Err(_) => return false,
        }
        for (id, reply) in decode(dialect, &mut input) {
            let sent = &mut batch[id as usize];
            assert!(!sent.answered, "{sent:?} got a second reply");
            if let Reply::Error(_) = reply {
                return false; // the store has failed: the round is about to end
            }
            checker.received(sent.topic, sent.op, sent.before, reply);
            sent.answered = true;
            left -= 1;
        }
    }
    true
}

/// Decodes all complete replies in `input` and removes them.
fn decode(dialect: Dialect, input: &mut Vec<u8>) -> Vec<(u32, Reply)> {
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
            other => panic!("a reply expected, not {other:?}"),
        }
    }
    input.drain(..at);
    replies
}

/// How many clients send requests at the same time.
const CLIENTS: usize = 6;

/// Lets clients of all dialects send requests until `meanwhile` has returned.
pub(crate) fn with_clients<T>(
    addresses: (SocketAddr, SocketAddr),
    checker: &Checker,
    random: &mut Random,
    meanwhile: impl FnOnce(&mut Random) -> T,
) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        for client in 0..CLIENTS {
            let random = random.fork();
            let dialect = DIALECTS[client % DIALECTS.len()];
            let stop = &stop;
            scope.spawn(move || run(dialect, addresses, checker, stop, random));
        }
        meanwhile(random)
    })
}

/// Checks the sum of every topic right after a server started. Returns how many numbers were skipped.
pub(crate) fn check_restarted(tcp: SocketAddr, checker: &Checker, skips: Skips) -> u64 {
    let sums = sums(tcp, checker).into_iter().enumerate();
    sums.map(|(index, sum)| checker.restarted(index, sum, skips))
        .sum()
}

/// Returns the sum of every topic, asked for in one pipeline.
fn sums(tcp: SocketAddr, checker: &Checker) -> Vec<u64> {
    let mut bytes = Vec::new();
    for index in 0..checker.len() {
        let name = &checker.topic(index).name;
        bytes.extend(frame(index as u32, Op::Get, name));
    }
    let mut server = Framed::connect(tcp);
    server.send(&bytes);
    let mut sums = vec![None; checker.len()];
    while sums.contains(&None) {
        let (id, reply) = server.reply().expect("a reply");
        let Reply::Get(sum) = reply else {
            panic!("{reply:?} to GET")
        };
        sums[id as usize] = Some(sum.unwrap_or(0));
    }
    sums.into_iter().map(Option::unwrap).collect()
}
