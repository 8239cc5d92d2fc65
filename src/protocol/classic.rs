//! The classic dialect: a message is one byte of op code, then data up to the end of the message.
//! It carries COUNT and RESET, as the original Python project defined them.

use super::{ErrorCode, Op, Reply, Request};
use crate::topic::Topic;

/// Op code of COUNT.
pub const COUNT: u8 = 0;
/// Op code of RESET.
pub const RESET: u8 = 1;
/// Op code of the reply to COUNT.
pub const COUNT_REPLY: u8 = 128;
/// Op code of the reply to RESET.
pub const RESET_REPLY: u8 = 129;
/// Op code of an ERROR reply.
pub const ERROR: u8 = 255;

/// The longest message that a server accepts, in bytes: the most that one read of a TCP connection
/// returns.
pub const MAX_MESSAGE: usize = 65_536;

/// Decodes a whole message as a request.
///
/// # Errors
///
/// Returns the code to answer with, if the op code is unknown or missing (an empty message has
/// none), or if the topic is not UTF-8 or longer than `max_topic_len` bytes.
#[inline]
pub fn decode_request(message: &[u8], max_topic_len: usize) -> Result<Request<'_>, ErrorCode> {
    let (op, topic) = match message {
        [COUNT, topic @ ..] => (Op::Count, topic),
        [RESET, topic @ ..] => (Op::Reset, topic),
        _ => return Err(ErrorCode::BadOpcode),
    };
    Ok(Request {
        op,
        topic: Topic::new(topic, max_topic_len)?,
    })
}

/// Appends the message of a request to `out`.
///
/// # Errors
///
/// Returns BAD_OPCODE and appends nothing if this dialect does not carry the method.
pub fn encode_request(request: Request<'_>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    let op = match request.op {
        Op::Count => COUNT,
        Op::Reset => RESET,
        _ => return Err(ErrorCode::BadOpcode),
    };
    out.push(op);
    out.extend_from_slice(request.topic.as_bytes());
    Ok(())
}

/// Appends the message of a reply to `out`. A sum is encoded in the fewest big-endian bytes that
/// hold it, at least one.
///
/// Replies to methods that this dialect does not carry cannot occur here, since their requests
/// cannot be decoded. Such a reply would be encoded as the sum that it holds, or as the reply to
/// RESET.
#[inline(always)]
pub fn encode_reply(reply: Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Count(sum) => encode_sum(sum, out),
        other => encode_other(other, out),
    }
}

/// Appends any reply; not inlined, so that the loop around [`encode_reply`] is small.
#[inline(never)]
fn encode_other(reply: Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Count(sum)
        | Reply::Add(sum)
        | Reply::Get(Some(sum))
        | Reply::Advance(sum)
        | Reply::Set(sum)
        | Reply::Present(sum)
        | Reply::SumIsHigher(sum)
        | Reply::Deleted(sum) => encode_sum(sum, out),
        Reply::Get(None) => encode_sum(0, out),
        Reply::Reset | Reply::Delete { .. } | Reply::Created | Reply::Absent => {
            out.push(RESET_REPLY);
        }
        Reply::Error(error) => {
            out.extend_from_slice(&[ERROR, error.code()]);
            out.extend_from_slice(error.message().as_bytes());
        }
    }
}

/// Appends a sum: one write of 9 bytes, of which the unused ones are dropped. A write of as many bytes
/// as are used is a call of `memcpy`.
#[inline]
fn encode_sum(sum: u64, out: &mut Vec<u8>) {
    let unused = (sum.leading_zeros() / 8).min(7);
    let mut message = [COUNT_REPLY; 9];
    message[1..].copy_from_slice(&(sum << (8 * unused)).to_be_bytes());
    out.extend_from_slice(&message);
    out.truncate(out.len() - unused as usize);
}

/// Decodes a whole message as a reply; `None` if it is not one. The text of an error is dropped,
/// since its code has the same meaning.
#[must_use]
pub fn decode_reply(message: &[u8]) -> Option<Reply> {
    match message {
        [COUNT_REPLY, sum @ ..] if (1..=8).contains(&sum.len()) => {
            let sum = sum.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
            Some(Reply::Count(sum))
        }
        [RESET_REPLY] => Some(Reply::Reset),
        [ERROR, code, ..] => Some(Reply::Error(ErrorCode::from_code(*code))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(reply: Reply) -> Vec<u8> {
        let mut out = Vec::new();
        encode_reply(reply, &mut out);
        out
    }

    #[test]
    fn examples_of_the_protocol_decode_and_encode() {
        let count = |topic| {
            Ok(Request {
                op: Op::Count,
                topic: Topic::new(topic, 9).expect("a topic"),
            })
        };
        assert_eq!(decode_request(b"\x00a", 9), count(b"a"));
        assert_eq!(decode_request(b"\x00", 9), count(b""));
        assert_eq!(
            decode_request(b"\x01a", 9).map(|request| request.op),
            Ok(Op::Reset)
        );
        assert_eq!(decode_request(b"\x00\xff", 9), Err(ErrorCode::BadTopic));
        assert_eq!(decode_request(b"\x07a", 9), Err(ErrorCode::BadOpcode));
        assert_eq!(decode_request(b"", 9), Err(ErrorCode::BadOpcode));
        assert_eq!(
            decode_request(b"\x000123456789", 9),
            Err(ErrorCode::TopicTooLong)
        );

        assert_eq!(encoded(Reply::Count(1)), [0x80, 1]);
        assert_eq!(encoded(Reply::Count(255)), [0x80, 255]);
        assert_eq!(encoded(Reply::Count(256)), [0x80, 1, 0]);
        assert_eq!(encoded(Reply::Reset), [0x81]);
        assert_eq!(
            encoded(Reply::Error(ErrorCode::BadTopic)),
            b"\xff\x02topic not UTF-8"
        );
    }

    #[test]
    fn a_message_that_is_not_a_reply_decodes_to_none() {
        for message in [
            &b""[..],
            b"\x80",
            b"\x80123456789",
            b"\x81\x00",
            b"\xff",
            b"\x00a",
        ] {
            assert_eq!(decode_reply(message), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn sums_round_trip_in_the_fewest_bytes(sum: u64) {
            let message = encoded(Reply::Count(sum));
            prop_assert_eq!(decode_reply(&message), Some(Reply::Count(sum)));
            prop_assert!(message.len() == 2 || message[1] != 0);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(message: Vec<u8>) {
            if let Ok(request) = decode_request(&message, 1024) {
                let mut out = Vec::new();
                encode_request(request, &mut out).expect("a method of this dialect");
                prop_assert_eq!(out, message);
            }
        }
    }
}
