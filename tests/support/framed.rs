//! A connection that speaks the framed dialect.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use globalcounter::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply, Request};
use globalcounter::topic::{ShardId, Topic};

use super::{connect, eventually};

/// The reply to a request whose change could not be made durable.
pub(crate) const STORE: Reply = Reply::Error(ErrorCode::Store);

/// Returns the operation that adds `n`, which must not be 0.
pub(crate) fn add(n: u32) -> Op {
    Op::Add(n.try_into().unwrap())
}

/// Encodes a request frame.
pub(crate) fn frame(id: u32, op: Op, topic: &str) -> Vec<u8> {
    let topic = Topic::new(topic.as_bytes(), usize::MAX).unwrap();
    let mut out = Vec::new();
    let call = Call::Topic(Request { op, topic });
    framed::encode_request(RequestId(id), &call, &mut out);
    out
}

/// A framed connection that reads replies one by one.
pub(crate) struct Framed<S = TcpStream> {
    pub(crate) stream: S,
    input: Vec<u8>,
    at: usize,
}

impl Framed {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }

    /// Opens a connection as soon as the server has room for it: it may not know yet that an earlier
    /// connection has ended.
    pub(crate) fn admitted(address: SocketAddr) -> Self {
        let mut admitted = None;
        eventually("a connection is admitted", || {
            let mut framed = Self::connect(address);
            let request = frame(1, Op::Get, "");
            let answered = framed.stream.write_all(&request).is_ok()
                && framed.stream.peek(&mut [0]).is_ok_and(|len| len > 0);
            if answered {
                framed.reply();
                admitted = Some(framed);
            }
            answered
        });
        admitted.unwrap()
    }
}

impl<S: Read + Write> Framed<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            at: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Returns the next reply: its id and the value that `take` extracts from it. `None` if the
    /// server closed the connection.
    pub(crate) fn receive<T>(&mut self, take: impl Fn(Answer<'_>) -> T) -> Option<(u32, T)> {
        loop {
            if let Some(frame) = framed::decode_reply(&self.input[self.at..]).unwrap() {
                self.at += frame.len;
                return Some((frame.id.0, take(frame.answer)));
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                len => self.input.extend_from_slice(&buffer[..len]),
            }
        }
    }

    /// Returns the next reply, which must be one to a request for a topic. `None` if the server
    /// closed the connection.
    pub(crate) fn reply(&mut self) -> Option<(u32, Reply)> {
        self.receive(|answer| match answer {
            Answer::Reply(reply) => reply,
            other => panic!("a reply expected, not {other:?}"),
        })
    }

    /// Sends HELLO and returns the reply. If `shard` is given, the connection moves to that shard's
    /// worker.
    pub(crate) fn hello(&mut self, shard: Option<u16>) -> HelloReply {
        let hello = Hello {
            shard: shard.map(ShardId::new),
            node: false,
            token: b"",
        };
        let mut request = Vec::new();
        framed::encode_request(RequestId(3), &Call::Hello(hello), &mut request);
        self.send(&request);
        let reply = self.receive(|answer| match answer {
            Answer::Hello(hello) => hello,
            other => panic!("a reply to HELLO expected, not {other:?}"),
        });
        let (id, hello) = reply.expect("a reply");
        assert_eq!(id, 3);
        hello
    }

    /// Sends one request and returns its reply.
    pub(crate) fn ask(&mut self, op: Op, topic: &str) -> Reply {
        self.send(&frame(7, op, topic));
        let (id, reply) = self.reply().expect("a reply");
        assert_eq!(id, 7);
        reply
    }

    /// Sends the same operation for each topic, in pipelines of 1,000 requests, and ignores what
    /// the replies say.
    pub(crate) fn ask_each(&mut self, op: Op, topics: &[String]) {
        for topics in topics.chunks(1_000) {
            let frames = topics.iter().flat_map(|topic| frame(1, op, topic));
            self.send(&frames.collect::<Vec<u8>>());
            for _ in topics {
                self.reply().expect("a reply");
            }
        }
    }
}
