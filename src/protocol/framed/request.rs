//! Requests: what a client sends, or a node that forwards.

use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

use super::forward;
use super::frame::{
    ADD, ADVANCE, ANY_SHARD, COUNT, DELETE, FIRST_OP, FORWARD, FROM_NODE, GET, HEADER_LEN, HELLO,
    LAST_OP, NODES, PING, REPLY, RESET, RequestId, VERSION, encode, split, split_u32, split_u64,
};
use crate::protocol::{ErrorCode, Op, Request};
use crate::topic::{ShardId, Topic};

/// A method call: the meaning of a request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// An operation on a topic.
    Topic(Request<'a>),
    /// HELLO.
    Hello(Hello<'a>),
    /// PING: the reply returns this body unchanged.
    Ping(&'a [u8]),
    /// NODES: the reply is the map of the cluster. The body is ignored: over UDP, a client makes it as long
    /// as the reply may be.
    Nodes(&'a [u8]),
}

/// A HELLO request. Clients need not send one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The shard whose worker should serve the connection; `None` leaves it to the server.
    pub shard: Option<ShardId>,
    /// Whether the connection is of another node of the cluster. Its requests are never forwarded.
    pub node: bool,
    /// The client's credentials; may be empty.
    pub token: &'a [u8],
}

/// Does not show the credentials.
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("shard", &self.shard)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// A whole request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFrame<'a> {
    /// The length of the frame, in bytes.
    pub len: usize,
    /// The id to reply with.
    pub id: RequestId,
    /// The call, or the error code to reply with.
    pub call: Result<Call<'a>, ErrorCode>,
}

/// The bytes are not a request frame, so the start of the next frame is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotARequest {
    /// The op of a reply: the peer is a server, or is out of step with its own stream. Never
    /// answered.
    #[error("op {0} belongs to a reply")]
    Reply(u8),
    /// An op that begins no frame. Answered with one BAD_OPCODE.
    #[error("op {0} does not begin a frame")]
    Op(u8),
}

/// Decodes the request frame at the start of `input`; `None` if `input` ends inside the frame.
///
/// # Errors
///
/// Returns [`NotARequest`] if `input` does not start with a frame; the rest of the stream is then
/// unreadable. A whole frame with invalid content is no such error: its `call` holds the error.
// As a call, it adds 65 instructions to the 436 of a COUNT in the server.
#[inline(always)]
pub fn decode_request(
    input: &[u8],
    max_topic_len: usize,
) -> Result<Option<RequestFrame<'_>>, NotARequest> {
    match input.first() {
        Some(FIRST_OP..=LAST_OP) | None => {}
        Some(&op @ REPLY..) => return Err(NotARequest::Reply(op)),
        Some(&op) => return Err(NotARequest::Op(op)),
    }
    Ok(split(input).map(|(op, id, body)| RequestFrame {
        len: HEADER_LEN + body.len(),
        id,
        call: decode_call(op, body, max_topic_len),
    }))
}

#[inline(always)]
fn decode_call(op: u8, body: &[u8], max_topic_len: usize) -> Result<Call<'_>, ErrorCode> {
    let (op, topic) = match op {
        COUNT => (Op::Count, body),
        RESET => (Op::Reset, body),
        ADD => {
            let (n, topic) = split_u32(body).ok_or(ErrorCode::BadFrame)?;
            let n = NonZeroU32::new(n).ok_or(ErrorCode::BadFrame)?;
            (Op::Add(n), topic)
        }
        GET => (Op::Get, body),
        DELETE => (Op::Delete, body),
        ADVANCE => {
            let (floor, topic) = split_u64(body).ok_or(ErrorCode::BadFrame)?;
            (Op::Advance(floor), topic)
        }
        HELLO => return decode_hello(body).map(Call::Hello),
        PING => return Ok(Call::Ping(body)),
        NODES => return Ok(Call::Nodes(body)),
        _ => return Err(ErrorCode::BadOpcode),
    };
    Ok(Call::Topic(Request {
        op,
        topic: Topic::new(topic, max_topic_len)?,
    }))
}

/// Decodes a request frame as [`decode_request`] does, on a connection between nodes, which carries
/// every operation.
///
/// # Errors
///
/// Those of [`decode_request`].
pub fn decode_node_request(
    input: &[u8],
    max_topic_len: usize,
) -> Result<Option<RequestFrame<'_>>, NotARequest> {
    let Some(frame) = decode_request(input, max_topic_len)? else {
        return Ok(None);
    };
    let call = match input {
        &[FORWARD, ..] => {
            forward::decode_request(&input[HEADER_LEN..frame.len], max_topic_len).map(Call::Topic)
        }
        _ => frame.call,
    };
    Ok(Some(RequestFrame { call, ..frame }))
}

fn decode_hello(body: &[u8]) -> Result<Hello<'_>, ErrorCode> {
    match *body {
        [
            VERSION..=u8::MAX,
            flags,
            shard_high,
            shard_low,
            ref token @ ..,
        ] => Ok(Hello {
            shard: match u16::from_be_bytes([shard_high, shard_low]) {
                ANY_SHARD => None,
                number => Some(ShardId::new(number)),
            },
            node: flags & FROM_NODE != 0,
            token,
        }),
        _ => Err(ErrorCode::BadFrame),
    }
}

/// Appends a request frame to `out`.
///
/// # Panics
///
/// Panics for [`Op::Incr`], [`Op::Set`] and [`Op::GetDelete`], which this dialect does not carry for
/// clients, and if the body would be longer than 65,535 bytes. Only PING, NODES and the token of HELLO can be
/// that long; a topic cannot.
pub fn encode_request(id: RequestId, call: &Call<'_>, out: &mut Vec<u8>) {
    match *call {
        Call::Topic(Request { op, topic }) => {
            let topic = topic.as_bytes();
            match op {
                Op::Count => encode(COUNT, id, out, topic.len(), &[topic]),
                Op::Reset => encode(RESET, id, out, topic.len(), &[topic]),
                Op::Add(n) => {
                    let n = n.get().to_be_bytes();
                    encode(ADD, id, out, n.len() + topic.len(), &[&n, topic]);
                }
                Op::Incr(_) | Op::Set { .. } | Op::GetDelete => {
                    unreachable!("only RESP and FORWARD carry {op:?}")
                }
                Op::Get => encode(GET, id, out, topic.len(), &[topic]),
                Op::Delete => encode(DELETE, id, out, topic.len(), &[topic]),
                Op::Advance(floor) => {
                    let floor = floor.to_be_bytes();
                    encode(
                        ADVANCE,
                        id,
                        out,
                        floor.len() + topic.len(),
                        &[&floor, topic],
                    );
                }
            }
        }
        Call::Hello(Hello { shard, node, token }) => {
            let [high, low] = shard.map_or(ANY_SHARD, ShardId::number).to_be_bytes();
            let flags = if node { FROM_NODE } else { 0 };
            let fixed = [VERSION, flags, high, low];
            encode(HELLO, id, out, fixed.len() + token.len(), &[&fixed, token]);
        }
        Call::Ping(body) => encode(PING, id, out, body.len(), &[body]),
        Call::Nodes(body) => encode(NODES, id, out, body.len(), &[body]),
    }
}

/// Appends the frame of a request to `out`, for a connection between nodes, which carries every
/// operation.
pub fn encode_node_request(id: RequestId, request: &Request<'_>, out: &mut Vec<u8>) {
    if !forward::encode_request(id, request, out) {
        encode_request(id, &Call::Topic(*request), out);
    }
}
