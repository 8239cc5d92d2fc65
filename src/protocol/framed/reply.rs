//! Replies: what a server sends.

use thiserror::Error;

use super::forward;
use super::frame::{
    ADD, ADVANCE, COUNT, DELETE, ERROR, FORWARD, GET, HEADER_LEN, HELLO, NODES, PING, REPLY, RESET,
    RequestId, VERSION, encode, split, split_u64,
};
use crate::protocol::{ErrorCode, Reply};
use crate::topic::{OWNER_KEY, OWNER_MULTIPLIER, ShardId, Shards};

/// A HELLO reply: the values from which a client computes the owner of any topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloReply {
    /// The number of shards.
    pub shards: u16,
    /// The shard whose worker serves this connection.
    pub shard: ShardId,
    /// [`OWNER_KEY`] of the server.
    pub key: u32,
    /// [`OWNER_MULTIPLIER`] of the server.
    pub multiplier: u32,
    /// The longest topic that the server accepts, in bytes.
    pub max_topic_len: u16,
}

impl HelloReply {
    /// Returns the HELLO reply of a server of this version.
    #[must_use]
    pub fn new(shards: Shards, shard: ShardId, max_topic_len: u16) -> Self {
        Self {
            shards: shards.count(),
            shard,
            key: OWNER_KEY,
            multiplier: OWNER_MULTIPLIER,
            max_topic_len,
        }
    }
}

/// A whole reply frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyFrame<'a> {
    /// The length of the frame, in bytes.
    pub len: usize,
    /// The id of the request that this answers.
    pub id: RequestId,
    /// The content of the reply.
    pub answer: Answer<'a>,
}

/// The content of a reply frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The result of an operation on a topic, or an error.
    Reply(Reply),
    /// The reply to HELLO.
    Hello(HelloReply),
    /// The reply to PING: the body of the request.
    Pong(&'a [u8]),
    /// The reply to NODES: an encoded [`NodeMap`](super::NodeMap).
    Nodes(&'a [u8]),
}

/// The bytes are not a reply that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAReply {
    /// No reply has this op.
    #[error("op {0} does not belong to a reply")]
    Op(u8),
    /// The body is too short for its op, or its kind is unknown.
    #[error("the body of a reply with op {op}, of {len} bytes, is too short or unknown")]
    Body {
        /// The op.
        op: u8,
        /// The length of the body, in bytes.
        len: usize,
    },
}

/// Appends the reply frame of an operation on a topic, or of an error, to `out`.
///
/// # Panics
///
/// Panics for the replies to operations that this dialect does not carry for clients.
#[inline(always)]
pub fn encode_reply(id: RequestId, reply: Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Count(sum) => encode_sum(COUNT, id, sum, out),
        other => encode_other(id, other, out),
    }
}

/// Appends a reply that holds a sum, as nearly every reply does: one write of 16 bytes, of which the
/// last is dropped. That takes fewer instructions than a write of each field.
#[inline]
fn encode_sum(op: u8, id: RequestId, sum: u64, out: &mut Vec<u8>) {
    let header = u64::from(op | REPLY) << 48 | 8 << 32 | u64::from(id.0);
    let frame = u128::from(header) << 72 | u128::from(sum) << 8;
    out.extend_from_slice(&frame.to_be_bytes());
    out.truncate(out.len() - 1);
}

/// Appends any reply frame; not inlined, so that the loop around [`encode_reply`] is small.
#[inline(never)]
fn encode_other(id: RequestId, reply: Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Count(sum) => encode_sum(COUNT, id, sum, out),
        Reply::Add(last) => encode_sum(ADD, id, last, out),
        Reply::Get(sum) => encode_sum(GET, id, sum.unwrap_or(0), out),
        Reply::Advance(sum) => encode_sum(ADVANCE, id, sum, out),
        Reply::Reset => encode(RESET | REPLY, id, out, 0, &[]),
        Reply::Delete { existed } => {
            encode(DELETE | REPLY, id, out, 1, &[&[u8::from(existed)]]);
        }
        Reply::Error(error) => {
            let message = error.message().as_bytes();
            encode(
                ERROR,
                id,
                out,
                1 + message.len(),
                &[&[error.code()], message],
            );
        }
        _ => unreachable!("only RESP and FORWARD carry {reply:?}"),
    }
}

/// Appends the reply frame of an operation on a topic, or of an error, to `out`, for a connection
/// between nodes, which carries every reply.
pub fn encode_node_reply(id: RequestId, reply: Reply, out: &mut Vec<u8>) {
    if !forward::encode_reply(id, reply, out) {
        encode_reply(id, reply, out);
    }
}

/// Appends any reply frame to `out`.
///
/// # Panics
///
/// Panics if the body of a PING or of NODES is longer than 65,535 bytes, which a decoded body and an
/// encoded map never are, and like
/// [`encode_reply`].
#[inline(always)]
pub fn encode_answer(id: RequestId, answer: &Answer<'_>, out: &mut Vec<u8>) {
    match *answer {
        Answer::Reply(reply) => encode_reply(id, reply, out),
        Answer::Pong(body) => encode(PING | REPLY, id, out, body.len(), &[body]),
        Answer::Nodes(body) => encode(NODES | REPLY, id, out, body.len(), &[body]),
        Answer::Hello(hello) => encode(
            HELLO | REPLY,
            id,
            out,
            16,
            &[
                &[VERSION, 0],
                &hello.shards.to_be_bytes(),
                &hello.shard.number().to_be_bytes(),
                &hello.key.to_be_bytes(),
                &hello.multiplier.to_be_bytes(),
                &hello.max_topic_len.to_be_bytes(),
            ],
        ),
    }
}

/// Decodes the reply frame at the start of `input`; `None` if `input` ends inside the frame. Bytes
/// after the known fields of a body are ignored: a later version may have added them.
///
/// # Errors
///
/// Returns [`NotAReply`] if `input` does not start with a reply; the rest of the stream is then
/// unreadable.
pub fn decode_reply(input: &[u8]) -> Result<Option<ReplyFrame<'_>>, NotAReply> {
    match input.first() {
        Some(REPLY..) | None => {}
        Some(&op) => return Err(NotAReply::Op(op)),
    }
    let Some((op, id, body)) = split(input) else {
        return Ok(None);
    };
    let short = NotAReply::Body {
        op,
        len: body.len(),
    };
    let sum = || split_u64(body).map(|(sum, _)| sum).ok_or(short);
    let answer = if op == ERROR {
        let &code = body.first().ok_or(short)?;
        Answer::Reply(Reply::Error(ErrorCode::from_code(code)))
    } else {
        match op & !REPLY {
            COUNT => Answer::Reply(Reply::Count(sum()?)),
            RESET => Answer::Reply(Reply::Reset),
            ADD => Answer::Reply(Reply::Add(sum()?)),
            GET => Answer::Reply(Reply::Get(Some(sum()?))),
            DELETE => Answer::Reply(Reply::Delete {
                existed: *body.first().ok_or(short)? != 0,
            }),
            ADVANCE => Answer::Reply(Reply::Advance(sum()?)),
            HELLO => Answer::Hello(decode_hello_reply(body).ok_or(short)?),
            PING => Answer::Pong(body),
            NODES => Answer::Nodes(body),
            FORWARD => Answer::Reply(forward::decode_reply(body).ok_or(short)?),
            _ => return Err(NotAReply::Op(op)),
        }
    };
    Ok(Some(ReplyFrame {
        len: HEADER_LEN + body.len(),
        id,
        answer,
    }))
}

fn decode_hello_reply(body: &[u8]) -> Option<HelloReply> {
    let &[_version, _flags, ref fields @ ..] = body.first_chunk::<16>()?;
    let u16_at = |at: usize| u16::from_be_bytes([fields[at], fields[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) << 16 | u32::from(u16_at(at + 2));
    Some(HelloReply {
        shards: u16_at(0),
        shard: ShardId::new(u16_at(2)),
        key: u32_at(4),
        multiplier: u32_at(8),
        max_topic_len: u16_at(12),
    })
}
