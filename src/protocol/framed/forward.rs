//! FORWARD, which only nodes of a cluster send one another: the operations and the outcomes that this
//! dialect does not carry for clients. With it, each [`Op`] and each [`Reply`] arrives as it was sent.

use std::num::NonZeroU64;

use super::frame::{FORWARD, REPLY, RequestId, encode, split_u64};
use crate::protocol::{Condition, ErrorCode, Op, Reply, Request};
use crate::topic::Topic;

// The kinds of operations.
const INCR: u8 = 0;
const SET_ALWAYS: u8 = 1;
const SET_IF_ABSENT: u8 = 2;
const SET_IF_PRESENT: u8 = 3;
const GET_DELETE: u8 = 4;

// The kinds of outcomes.
const ABSENT: u8 = 0;
const SET: u8 = 1;
const CREATED: u8 = 2;
const PRESENT: u8 = 3;
const SUM_IS_HIGHER: u8 = 4;
const DELETED: u8 = 5;
const NOTHING_TO_GET: u8 = 6;

/// Decodes the body of a request.
///
/// # Errors
///
/// BAD_FRAME if the body is too short, its kind is unknown, or it increments by 0; or the error of its
/// topic.
pub(super) fn decode_request(body: &[u8], max_topic_len: usize) -> Result<Request<'_>, ErrorCode> {
    let (&kind, rest) = body.split_first().ok_or(ErrorCode::BadFrame)?;
    let (argument, topic) = split_u64(rest).ok_or(ErrorCode::BadFrame)?;
    let set = |when| Op::Set { to: argument, when };
    let op = match kind {
        INCR => Op::Incr(NonZeroU64::new(argument).ok_or(ErrorCode::BadFrame)?),
        SET_ALWAYS => set(Condition::Always),
        SET_IF_ABSENT => set(Condition::IfAbsent),
        SET_IF_PRESENT => set(Condition::IfPresent),
        GET_DELETE => Op::GetDelete,
        _ => return Err(ErrorCode::BadFrame),
    };
    let topic = Topic::new(topic, max_topic_len)?;
    Ok(Request { op, topic })
}

/// Appends the frame of a request to `out`, if it is of those that need FORWARD. Returns whether it is.
pub(super) fn encode_request(id: RequestId, request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let (kind, argument) = match request.op {
        Op::Incr(n) => (INCR, n.get()),
        Op::Set { to, when } => match when {
            Condition::Always => (SET_ALWAYS, to),
            Condition::IfAbsent => (SET_IF_ABSENT, to),
            Condition::IfPresent => (SET_IF_PRESENT, to),
        },
        Op::GetDelete => (GET_DELETE, 0),
        Op::Count | Op::Reset | Op::Add(_) | Op::Get | Op::Delete | Op::Advance(_) => return false,
    };
    let topic = request.topic.as_bytes();
    let parts = [&[kind][..], &argument.to_be_bytes(), topic];
    encode(FORWARD, id, out, 9 + topic.len(), &parts);
    true
}

/// Decodes the body of a reply; `None` if it is too short, or its kind is unknown.
pub(super) fn decode_reply(body: &[u8]) -> Option<Reply> {
    let (&kind, rest) = body.split_first()?;
    let (sum, _) = split_u64(rest)?;
    Some(match kind {
        ABSENT => Reply::Absent,
        SET => Reply::Set(sum),
        CREATED => Reply::Created,
        PRESENT => Reply::Present(sum),
        SUM_IS_HIGHER => Reply::SumIsHigher(sum),
        DELETED => Reply::Deleted(sum),
        NOTHING_TO_GET => Reply::Get(None),
        _ => return None,
    })
}

/// Appends the frame of a reply to `out`, if it is of those that need FORWARD. Returns whether it is.
pub(super) fn encode_reply(id: RequestId, reply: Reply, out: &mut Vec<u8>) -> bool {
    let (kind, sum) = match reply {
        Reply::Absent => (ABSENT, 0),
        Reply::Set(before) => (SET, before),
        Reply::Created => (CREATED, 0),
        Reply::Present(sum) => (PRESENT, sum),
        Reply::SumIsHigher(sum) => (SUM_IS_HIGHER, sum),
        Reply::Deleted(sum) => (DELETED, sum),
        Reply::Get(None) => (NOTHING_TO_GET, 0),
        Reply::Count(_)
        | Reply::Reset
        | Reply::Add(_)
        | Reply::Get(Some(_))
        | Reply::Delete { .. }
        | Reply::Advance(_)
        | Reply::Error(_) => return false,
    };
    let parts = [&[kind][..], &sum.to_be_bytes()];
    encode(FORWARD | REPLY, id, out, 9, &parts);
    true
}
