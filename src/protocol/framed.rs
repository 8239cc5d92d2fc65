//! The framed dialect: requests and replies carry ids, so that they can be pipelined on TCP and
//! batched on UDP.
//!
//! A frame is `op: u8, len: u16, id: u32, body: len bytes` in both directions, with big-endian
//! integers. A reply has the op of its request + 128, and the id of its request.

use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

use super::{ErrorCode, Op, Reply, Request};
use crate::topic::{OWNER_KEY, OWNER_MULTIPLIER, ShardId, Shards, Topic};

/// The length of a frame's header, in bytes.
pub const HEADER_LEN: usize = 7;

/// The longest frame, in bytes: a header and the longest body that a `u16` length allows.
pub const MAX_FRAME: usize = HEADER_LEN + u16::MAX as usize;

/// The protocol version sent in HELLO.
pub const VERSION: u8 = 1;

/// The lowest op of a request frame.
pub const FIRST_OP: u8 = COUNT;
/// The highest op of a request frame. Some ops below it have no method yet.
pub const LAST_OP: u8 = 31;

const COUNT: u8 = 16;
const RESET: u8 = 17;
const ADD: u8 = 18;
const GET: u8 = 19;
const DELETE: u8 = 20;
const ADVANCE: u8 = 21;
const HELLO: u8 = 22;
const PING: u8 = 23;
/// The bit that turns the op of a request into the op of its reply.
const REPLY: u8 = 128;
const ERROR: u8 = 255;

/// The shard number in a HELLO that leaves the choice to the server.
const ANY_SHARD: u16 = u16::MAX;

/// Matches a reply to its request: chosen by the client, returned by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u32);

impl RequestId {
    /// The id in an ERROR that answers bytes without a readable id.
    pub const NONE: Self = Self(0);
}

/// A method call: the meaning of a request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// An operation on a topic.
    Topic(Request<'a>),
    /// HELLO.
    Hello(Hello<'a>),
    /// PING: the reply returns this body unchanged.
    Ping(&'a [u8]),
}

/// A HELLO request. Clients need not send one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The shard whose worker should serve the connection; `None` leaves it to the server.
    pub shard: Option<ShardId>,
    /// The client's credentials; may be empty.
    pub token: &'a [u8],
}

/// Does not show the credentials.
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

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

/// The bytes are not a reply that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAReply {
    /// No reply has this op.
    #[error("op {0} does not belong to a reply")]
    Op(u8),
    /// The body is too short for its op.
    #[error("a reply with op {op} needs a longer body than {len} bytes")]
    Body {
        /// The op.
        op: u8,
        /// The length of the body, in bytes.
        len: usize,
    },
}

/// Splits a frame into op, id and body; `None` if `input` ends inside the frame.
#[inline]
fn split(input: &[u8]) -> Option<(u8, RequestId, &[u8])> {
    let (&[op, len_high, len_low, id @ ..], rest) = input.split_first_chunk::<HEADER_LEN>()?;
    let body = rest.get(..usize::from(u16::from_be_bytes([len_high, len_low])))?;
    Some((op, RequestId(u32::from_be_bytes(id)), body))
}

/// Splits a big-endian `u32` from the rest of `body`.
fn split_u32(body: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = body.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Splits a big-endian `u64` from the rest of `body`.
fn split_u64(body: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = body.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
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
        _ => return Err(ErrorCode::BadOpcode),
    };
    Ok(Call::Topic(Request {
        op,
        topic: Topic::new(topic, max_topic_len)?,
    }))
}

fn decode_hello(body: &[u8]) -> Result<Hello<'_>, ErrorCode> {
    match *body {
        [
            VERSION..=u8::MAX,
            _flags,
            shard_high,
            shard_low,
            ref token @ ..,
        ] => Ok(Hello {
            shard: match u16::from_be_bytes([shard_high, shard_low]) {
                ANY_SHARD => None,
                number => Some(ShardId::new(number)),
            },
            token,
        }),
        _ => Err(ErrorCode::BadFrame),
    }
}

/// Returns the id for the answer to an incomplete frame: its own if its header is complete, else
/// [`RequestId::NONE`].
#[must_use]
pub fn broken_id(input: &[u8]) -> RequestId {
    match input.first_chunk::<HEADER_LEN>() {
        Some(&[_op, _, _, id @ ..]) => RequestId(u32::from_be_bytes(id)),
        None => RequestId::NONE,
    }
}

/// Appends a frame: its header, then the parts of `body`.
fn encode(op: u8, id: RequestId, out: &mut Vec<u8>, body_len: usize, body: &[&[u8]]) {
    let len = u16::try_from(body_len).expect("callers keep bodies within u16");
    let mut header = [0; HEADER_LEN];
    header[0] = op;
    header[1..3].copy_from_slice(&len.to_be_bytes());
    header[3..].copy_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&header);
    for part in body {
        out.extend_from_slice(part);
    }
}

/// Appends a request frame to `out`.
///
/// # Panics
///
/// Panics for [`Op::Incr`], [`Op::Set`] and [`Op::GetDelete`], which this dialect does not carry,
/// and if the body would be longer than 65,535 bytes. Only PING and the token of HELLO can be that
/// long; a topic cannot.
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
                    unreachable!("only RESP carries {op:?}")
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
        Call::Hello(Hello { shard, token }) => {
            let [high, low] = shard.map_or(ANY_SHARD, ShardId::number).to_be_bytes();
            let fixed = [VERSION, 0, high, low];
            encode(HELLO, id, out, fixed.len() + token.len(), &[&fixed, token]);
        }
        Call::Ping(body) => encode(PING, id, out, body.len(), &[body]),
    }
}

/// Appends the reply frame of an operation on a topic, or of an error, to `out`.
///
/// # Panics
///
/// Panics for the replies to operations that this dialect does not carry.
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
        _ => unreachable!("only RESP carries {reply:?}"),
    }
}

/// Appends any reply frame to `out`.
///
/// # Panics
///
/// Panics if the body of a PING is longer than 65,535 bytes, which a decoded body never is, and like
/// [`encode_reply`].
#[inline(always)]
pub fn encode_answer(id: RequestId, answer: &Answer<'_>, out: &mut Vec<u8>) {
    match *answer {
        Answer::Reply(reply) => encode_reply(id, reply, out),
        Answer::Pong(body) => encode(PING | REPLY, id, out, body.len(), &[body]),
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

#[cfg(test)]
mod tests;
