//! What a node makes of requests for topics of another node, and how it counts them. The other node is a
//! listener of the test, whose replies the test chooses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use globalcounter::cluster::{NodeName, Owner, RANGES, RangeId};
use globalcounter::protocol::framed::{
    self, Answer, Call, HelloReply, RequestId, decode_node_request,
};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::{ForwardsSnapshot, Server};
use globalcounter::topic::{ShardId, Shards};

use crate::support::{Embedded, Framed, PATIENCE, config, eventually, frame};

/// Another node, which owns the lower half of the ranges. Nobody owns the upper half.
struct Other(TcpListener);

/// A connection to the other node, after HELLO.
struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

// The slots of these topics are 5061 and 12182.
const LOWER: &str = "bar";
const UPPER: &str = "foo";

impl Other {
    /// Listens, and starts a node that knows of it.
    fn start() -> (Self, Embedded) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::bind(config(1)).unwrap();
        server.join_fixed("a", |range: RangeId| match range.number() < RANGES / 2 {
            true => Owner::Other(NodeName::new("b"), address.as_str().into()),
            false => Owner::Nobody,
        });
        (Self(listener), Embedded::run(server))
    }

    /// Accepts a connection, and answers its HELLO.
    fn accept(&self) -> Connection {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection {
            stream,
            input: Vec::new(),
        };
        let (id, is_hello) =
            connection.next(|call| matches!(call, Call::Hello(hello) if hello.node));
        assert!(is_hello);
        let hello = HelloReply::new(Shards::ONE, ShardId::new(0), 1_024);
        connection.answer(id, Answer::Hello(hello));
        connection
    }
}

impl Connection {
    /// Returns the next call: its id and the value that `take` extracts from it.
    fn next<T>(&mut self, take: impl Fn(Call<'_>) -> T) -> (RequestId, T) {
        loop {
            if let Some(frame) = decode_node_request(&self.input, 1_024).unwrap() {
                let next = (frame.id, take(frame.call.unwrap()));
                let len = frame.len;
                self.input.drain(..len);
                return next;
            }
            let mut buffer = [0; 1_024];
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the node closed the connection");
            self.input.extend_from_slice(&buffer[..len]);
        }
    }

    /// Returns the id of the next request, which must be to count a topic.
    fn count(&mut self) -> RequestId {
        let (id, is_count) =
            self.next(|call| matches!(call, Call::Topic(request) if request.op == Op::Count));
        assert!(is_count);
        id
    }

    fn answer(&mut self, id: RequestId, answer: Answer<'_>) {
        let mut out = Vec::new();
        framed::encode_answer(id, &answer, &mut out);
        self.stream.write_all(&out).unwrap();
    }
}

fn forwards(node: &Embedded) -> ForwardsSnapshot {
    node.monitor.cluster().unwrap().forwards
}

fn error(code: ErrorCode) -> Reply {
    Reply::Error(code)
}

#[test]
fn each_outcome_is_counted() {
    let (other, node) = Other::start();
    let mut client = Framed::connect(node.tcp);
    client.send(&frame(1, Op::Count, LOWER));
    let mut connection = other.accept();
    let id = connection.count();
    let now = forwards(&node);
    assert_eq!(
        (now.sent, now.in_flight, now.waiting, now.connections),
        (1, 1, 0, 1)
    );
    // It does not own the topic any more, and gets the request once more.
    connection.answer(id, Answer::Reply(error(ErrorCode::NotOwner)));
    let id = connection.count();
    connection.answer(id, Answer::Reply(Reply::Count(5)));
    assert_eq!(client.reply(), Some((1, Reply::Count(5))));
    // It does not know itself.
    client.send(&frame(2, Op::Count, LOWER));
    let id = connection.count();
    connection.answer(id, Answer::Reply(error(ErrorCode::Unknown)));
    assert_eq!(client.reply(), Some((2, error(ErrorCode::Unknown))));
    // It ends after it got a request.
    client.send(&frame(3, Op::Count, LOWER));
    connection.count();
    drop(connection);
    assert_eq!(client.reply(), Some((3, error(ErrorCode::Unknown))));

    let now = forwards(&node);
    assert_eq!(
        (now.sent, now.answered, now.not_applied, now.unknown),
        (4, 2, 1, 2)
    );
    assert_eq!((now.in_flight, now.waiting, now.connections), (0, 0, 0));
    assert_eq!((now.connections_opened, now.connections_failed), (1, 0));

    // Without another node, requests wait until nobody expects one any more.
    drop(other);
    client.send(&frame(4, Op::Count, LOWER));
    client.send(&frame(5, Op::Count, UPPER));
    eventually("attempts to connect fail", || {
        forwards(&node).connections_failed > 1
    });
    assert_eq!(forwards(&node).waiting, 2);
    let mut replies = [client.reply().unwrap(), client.reply().unwrap()];
    replies.sort_by_key(|&(id, _)| id);
    assert_eq!(
        replies,
        [4, 5].map(|id| (id, error(ErrorCode::Unavailable)))
    );
    let now = forwards(&node);
    assert_eq!((now.unavailable, now.waiting, now.sent), (2, 0, 4));
}

/// Such a request must not be forgotten with the connection: its client would wait for ever.
#[test]
fn a_request_whose_reply_makes_no_sense_is_answered_unknown() {
    let (other, node) = Other::start();
    let mut client = Framed::connect(node.tcp);
    client.send(&frame(1, Op::Count, LOWER));
    let mut connection = other.accept();
    let id = connection.count();
    connection.answer(id, Answer::Pong(b""));
    assert_eq!(client.reply(), Some((1, error(ErrorCode::Unknown))));
    let now = forwards(&node);
    assert_eq!((now.unknown, now.in_flight, now.waiting), (1, 0, 0));
}

/// While their owner cannot be reached, requests are queued at its link and held. Both are answered when
/// their time is over, in any order.
#[test]
fn requests_that_waited_for_too_long_are_answered_while_later_ones_wait() {
    let (other, node) = Other::start();
    drop(other);
    let mut client = Framed::connect(node.tcp);
    let mut later = Framed::connect(node.tcp);
    client.send(&frame(1, Op::Count, LOWER));
    let failed = |attempts| {
        eventually("attempts to connect fail", || {
            forwards(&node).connections_failed > attempts
        });
    };
    failed(5);
    later.send(&frame(2, Op::Count, LOWER));
    assert_eq!(client.reply(), Some((1, error(ErrorCode::Unavailable))));
    assert_eq!(forwards(&node).waiting, 1);
    assert_eq!(later.reply(), Some((2, error(ErrorCode::Unavailable))));
    assert_eq!(
        (forwards(&node).unavailable, forwards(&node).waiting),
        (2, 0)
    );
}
