//! Connections of other nodes of a cluster, as the server treats them, and the map of the cluster. There is no cluster here: a
//! server alone serves what it would otherwise check for its owner.

use std::io::{Read, Write};

use globalcounter::protocol::framed::{
    self, Answer, Call, Hello, HelloReply, NodeMap, RequestId, decode_reply,
};
use globalcounter::protocol::{Condition, ErrorCode, Op, Reply, Request};
use globalcounter::server::Config;
use globalcounter::shard::Durability;
use globalcounter::topic::{ShardId, Topic};

use crate::support::{Directory, Embedded, Framed, config, datagrams, exchange, frame};

const BAD_OPCODE: Reply = Reply::Error(ErrorCode::BadOpcode);

fn forwarded(id: u32, op: Op, topic: &str) -> Vec<u8> {
    let topic = Topic::new(topic.as_bytes(), usize::MAX).unwrap();
    let mut out = Vec::new();
    framed::encode_node_request(RequestId(id), &Request { op, topic }, &mut out);
    out
}

/// Encodes the HELLO of a node.
pub(crate) fn hello(shard: Option<u16>, token: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello {
        shard: shard.map(ShardId::new),
        node: true,
        token: token.as_bytes(),
    };
    framed::encode_request(RequestId(7), &Call::Hello(hello), &mut out);
    out
}

/// Sends the HELLO of a node; returns the answer.
pub(crate) fn become_node(
    framed: &mut Framed<impl Read + Write>,
    shard: Option<u16>,
    token: &str,
) -> Result<HelloReply, ErrorCode> {
    framed.send(&hello(shard, token));
    let (id, result) = framed
        .receive(|answer| match answer {
            Answer::Hello(hello) => Ok(hello),
            Answer::Reply(Reply::Error(code)) => Err(code),
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(id, 7);
    result
}

/// Sends an operation as a node does; returns the reply.
pub(crate) fn forward(framed: &mut Framed<impl Read + Write>, op: Op, topic: &str) -> Reply {
    framed.send(&forwarded(9, op, topic));
    let (id, reply) = framed.reply().unwrap();
    assert_eq!(id, 9);
    reply
}

fn set(to: u64, when: Condition) -> Op {
    Op::Set { to, when }
}

#[test]
fn a_node_forwards_every_operation() {
    forwards_every_operation(&Embedded::start(4));
}

/// Replies wait for the store.
#[test]
fn a_node_forwards_every_operation_to_a_durable_server() {
    let directory = Directory::new("node");
    let server = Embedded::with(Config {
        data_dir: Some(directory.0.clone()),
        durability: Durability::Exact,
        ..config(4)
    });
    forwards_every_operation(&server);
}

fn forwards_every_operation(server: &Embedded) {
    let mut node = Framed::connect(server.tcp);
    become_node(&mut node, None, "").unwrap();
    let incr = Op::Incr(3.try_into().unwrap());
    let steps = [
        (Op::Get, Reply::Get(None)),
        (Op::GetDelete, Reply::Absent),
        (set(9, Condition::IfPresent), Reply::Absent),
        (set(9, Condition::IfAbsent), Reply::Created),
        (set(9, Condition::IfAbsent), Reply::Present(9)),
        (set(5, Condition::Always), Reply::SumIsHigher(9)),
        (set(10, Condition::IfPresent), Reply::Set(9)),
        (incr, Reply::Add(13)),
        (Op::Get, Reply::Get(Some(13))),
        (Op::Count, Reply::Count(14)),
        (Op::Advance(20), Reply::Advance(20)),
        (Op::GetDelete, Reply::Deleted(20)),
        (Op::Delete, Reply::Delete { existed: false }),
        (Op::Reset, Reply::Reset),
    ];
    // Of each worker, so that some requests go to another one's shard.
    for shard in 0..4 {
        let hello = become_node(&mut node, Some(shard), "").unwrap();
        assert_eq!(hello.shard, ShardId::new(shard));
        for (op, expected) in steps {
            assert_eq!(forward(&mut node, op, "a"), expected, "{op:?}");
        }
        assert_eq!(node.ask(Op::Delete, "a"), Reply::Delete { existed: true });
    }
}

/// The HELLO of a client changes nothing: replies in flight may be of those that only nodes get.
#[test]
fn a_connection_of_a_node_remains_one() {
    let server = Embedded::start(2);
    let mut node = Framed::connect(server.tcp);
    become_node(&mut node, Some(1), "").unwrap();
    assert_eq!(node.hello(None).shard, ShardId::new(1));
    assert_eq!(node.hello(Some(0)).shard, ShardId::new(0));
    assert_eq!(forward(&mut node, Op::GetDelete, "a"), Reply::Absent);
}

#[test]
fn a_client_gets_bad_opcode_for_what_only_nodes_send() {
    let server = Embedded::start(1);
    let mut client = Framed::connect(server.tcp);
    let mut requests = frame(1, Op::Count, "a");
    requests.extend(forwarded(2, Op::GetDelete, "a"));
    requests.extend([25, 0, 1, 0, 0, 0, 3, 0xff]); // not even a whole body
    requests.extend(frame(4, Op::Count, "a"));
    client.send(&requests);
    let mut replies: Vec<_> = (0..4).map(|_| client.reply().unwrap()).collect();
    replies.sort_unstable_by_key(|&(id, _)| id);
    let expected = [Reply::Count(1), BAD_OPCODE, BAD_OPCODE, Reply::Count(2)];
    assert_eq!(
        replies,
        [1, 2, 3, 4].map(|id| (id, expected[id as usize - 1]))
    );
    assert_eq!(client.ask(Op::Get, "nothing"), Reply::Get(Some(0)));
    // From the HELLO on, it is a node.
    become_node(&mut client, None, "").unwrap();
    assert_eq!(forward(&mut client, Op::GetDelete, "a"), Reply::Deleted(2));
}

/// Encodes NODES, padded with this many bytes.
pub(crate) fn nodes(padding: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let call = Call::Nodes(&vec![0; padding]);
    framed::encode_request(RequestId(5), &call, &mut out);
    out
}

/// Decodes the answer to NODES.
pub(crate) fn map(answer: Answer<'_>) -> Result<NodeMap, ErrorCode> {
    match answer {
        Answer::Nodes(body) => Ok(NodeMap::decode(body).unwrap()),
        Answer::Reply(Reply::Error(code)) => Err(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_alone_owns_all_slots() {
    let server = Embedded::start(2);
    let mut framed = Framed::connect(server.tcp);
    framed.send(&[nodes(0), frame(6, Op::Count, "a"), nodes(60_000)].concat());
    let expected = NodeMap::alone();
    assert_eq!(expected.nodes[0].slots, [(0, 16_383)]);
    for _ in 0..3 {
        let answer = framed.receive(|answer| match answer {
            Answer::Reply(Reply::Count(1)) => None,
            answer => Some(map(answer)),
        });
        let (id, answer) = answer.unwrap();
        assert_eq!(answer, (id == 5).then(|| Ok(expected.clone())));
    }
}

/// A forged source must not get much more than was sent in its name.
#[test]
fn a_datagram_gets_the_map_if_it_is_long_enough() {
    let server = Embedded::start(1);
    let socket = datagrams(server.udp);
    let enough = NodeMap::alone().encode().len() - 16;
    for (padding, expected) in [
        (0, Err(ErrorCode::BadFrame)),
        (enough - 1, Err(ErrorCode::BadFrame)),
        (enough, Ok(NodeMap::alone())),
        (1_000, Ok(NodeMap::alone())),
    ] {
        let request = nodes(padding);
        let reply = exchange(&socket, &request);
        assert!(reply.len() <= request.len() + 16);
        let frame = decode_reply(&reply).unwrap().unwrap();
        assert_eq!((frame.id, frame.len), (RequestId(5), reply.len()));
        assert_eq!(map(frame.answer), expected, "{padding}");
    }
    // Several in one datagram, beside others.
    let mut both = nodes(100);
    both.extend(frame(6, Op::Count, "a"));
    both.extend(nodes(100));
    let reply = exchange(&socket, &both);
    let (mut rest, mut ids) = (&reply[..], Vec::new());
    while let Some(frame) = decode_reply(rest).unwrap() {
        ids.push(frame.id.0);
        rest = &rest[frame.len..];
    }
    ids.sort_unstable();
    assert_eq!(ids, [5, 5, 6]);
}
