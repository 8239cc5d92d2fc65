//! Replies to operations on topics: from a [`Reply`] to the bytes that a Redis client gets, and
//! the decoder for clients.

use thiserror::Error;

use super::refusal::text_of;
use super::{MAX_ARGUMENT, Writer};
use crate::protocol::{ErrorCode, Reply};

/// The longest line of a reply, in bytes: an error's.
const MAX_REPLY_LINE: usize = 64 * 1024;

/// How to encode the reply to an operation on a topic: depends on the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// INCR, INCRBY: the sum, as an integer.
    Sum,
    /// GET, MGET: the sum, as a string; null if the topic does not exist.
    Value,
    /// SET to 0: OK.
    Reset,
    /// SET to this number: OK, or an error if the sum is above it.
    Raise(u64),
    /// SET with NX or XX: OK, or null if the condition is not met.
    Set,
    /// SETNX: 1 if the topic was created, else 0.
    Created,
    /// SET with GET, GETSET, GETDEL: the sum before, as a string; null if the topic did not exist.
    Before,
    /// TTL and the like: -1, or -2 if the topic does not exist.
    Expiry,
    /// PERSIST: 0.
    Zero,
    /// STRLEN: the number of digits of the sum; 0 if the topic does not exist.
    Length,
    /// OBJECT ENCODING: `int`, or null if the topic does not exist.
    Encoding,
    /// This number, or null if the topic does not exist.
    IfExists(u64),
    /// TYPE: `string`, or `none` if the topic does not exist.
    Kind,
    /// DEL, UNLINK, EXISTS: after the last topic of the command, how many of its topics existed.
    Tally {
        /// Whether this is the last topic of the command.
        last: bool,
    },
}

/// The content of the reply to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A number, such as a sum.
    Integer(u64),
    /// A number that may be below 0.
    Signed(i64),
    /// This number, if the topic exists.
    IfExists(Option<u64>),
    /// The sum of a topic as a string, if the topic exists.
    Value(Option<u64>),
    /// The request is done.
    Ok,
    /// The request changed nothing.
    Null,
    /// The encoding of a topic's value: whether the topic exists.
    Encoding(bool),
    /// The type of a topic's value: whether the topic exists.
    Kind(bool),
    /// One topic of a command that counts existing topics. Nothing is sent before the last.
    Tally {
        /// Whether the topic existed.
        existed: Result<bool, ErrorCode>,
        /// Whether this is the last topic of the command.
        last: bool,
    },
    /// The request was refused.
    Error(ErrorCode),
    /// SET was refused because the sum is higher.
    SumIsHigher,
}

impl Form {
    /// Returns the content to send for `reply`.
    #[must_use]
    #[inline]
    pub fn content(self, reply: Reply) -> Content {
        // Nearly all replies, so they do not walk through the other cases.
        if let (Self::Sum, Reply::Add(sum)) = (self, reply) {
            return Content::Integer(sum);
        }
        match (self, reply) {
            (Self::Tally { last }, reply) => Content::Tally {
                existed: match reply {
                    Reply::Error(error) => Err(error),
                    Reply::Get(sum) => Ok(sum.is_some()),
                    other => Ok(other == Reply::Delete { existed: true }),
                },
                last,
            },
            (_, Reply::Error(error)) => Content::Error(error),
            (Self::Value, Reply::Get(sum)) => Content::Value(sum),
            (Self::Kind, Reply::Get(sum)) => Content::Kind(sum.is_some()),
            (Self::Raise(to), Reply::Advance(sum)) if sum > to => Content::SumIsHigher,
            (Self::Sum, Reply::Count(sum)) => Content::Integer(sum),
            (Self::Created, Reply::Created) => Content::Integer(1),
            (Self::Created, _) => Content::Integer(0),
            (_, Reply::SumIsHigher(_)) => Content::SumIsHigher,
            (Self::Before, Reply::Set(sum) | Reply::Present(sum) | Reply::Deleted(sum)) => {
                Content::Value(Some(sum))
            }
            (Self::Before, _) => Content::Value(None),
            (Self::Set, Reply::Present(_) | Reply::Absent) => Content::Null,
            (Self::Expiry, Reply::Get(Some(_))) => Content::Signed(-1),
            (Self::Expiry, _) => Content::Signed(-2),
            (Self::Zero, _) | (Self::Length, Reply::Get(None)) => Content::Integer(0),
            (Self::Length, Reply::Get(Some(sum))) => Content::Integer(digits(sum)),
            (Self::Encoding, Reply::Get(sum)) => Content::Encoding(sum.is_some()),
            (Self::IfExists(number), Reply::Get(sum)) => Content::IfExists(sum.map(|_| number)),
            _ => Content::Ok,
        }
    }
}

/// Returns the number of decimal digits of a sum.
fn digits(sum: u64) -> u64 {
    u64::from(sum.checked_ilog10().unwrap_or(0)) + 1
}

/// Encodes replies one after another, and counts the existing topics of a command with several.
#[derive(Debug, Default)]
pub struct Tally {
    existed: u64,
    error: Option<ErrorCode>,
}

impl Tally {
    /// Appends the next reply to `writer`, or counts it. Returns whether it appended an error.
    pub fn write(&mut self, content: Content, writer: &mut Writer<'_>) -> bool {
        match content {
            Content::Integer(number) | Content::IfExists(Some(number)) => writer.integer(number),
            Content::Signed(number) => writer.signed(number),
            Content::Value(Some(sum)) => writer.number(sum),
            Content::Value(None)
            | Content::IfExists(None)
            | Content::Null
            | Content::Encoding(false) => {
                writer.null();
            }
            Content::Encoding(true) => writer.bulk(b"int"),
            Content::Ok => writer.simple("OK"),
            Content::Kind(true) => writer.simple("string"),
            Content::Kind(false) => writer.simple("none"),
            Content::Tally { existed, last } => {
                match existed {
                    Ok(existed) => self.existed += u64::from(existed),
                    Err(error) => self.error = Some(error),
                }
                if last {
                    let Self { existed, error } = std::mem::take(self);
                    match error {
                        None => writer.integer(existed),
                        Some(error) => return self.write(Content::Error(error), writer),
                    }
                }
            }
            Content::Error(error) => {
                writer.error(text_of(error));
                return true;
            }
            Content::SumIsHigher => {
                writer.error("ERR counters only go up: the sum is above that");
                return true;
            }
        }
        false
    }
}

/// A reply of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word, such as OK.
    Simple(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(&'a [u8]),
    /// Null: the value does not exist.
    Null,
}

/// The bytes are not a reply of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a reply of a single value")]
pub struct NotAReply;

/// Decodes the reply at the start of `input`, and returns it with its length in bytes; `None` if
/// `input` ends inside the reply. It does not decode lists and maps: of the commands on topics,
/// only MGET returns one.
///
/// # Errors
///
/// Returns [`NotAReply`] if `input` does not start with such a reply; the rest of the stream is
/// then unreadable.
pub fn decode_reply(input: &[u8]) -> Result<Option<(Value<'_>, usize)>, NotAReply> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    if !matches!(kind, b':' | b'+' | b'-' | b'$' | b'_') {
        return Err(NotAReply);
    }
    let within = &input[..input.len().min(MAX_REPLY_LINE)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match input.len() < MAX_REPLY_LINE {
            true => Ok(None),
            false => Err(NotAReply),
        };
    };
    let (line, next) = (&input[1..end], end + 2);
    let number = || -> Result<i64, NotAReply> {
        let text = std::str::from_utf8(line).map_err(|_| NotAReply)?;
        text.parse().map_err(|_| NotAReply)
    };
    let value = match kind {
        b':' => Value::Integer(number()?),
        b'+' => Value::Simple(line),
        b'-' => Value::Error(line),
        b'$' => match number()? {
            -1 => Value::Null,
            len => {
                let len = usize::try_from(len).map_err(|_| NotAReply)?;
                if len > MAX_ARGUMENT {
                    return Err(NotAReply);
                }
                let Some(bytes) = input.get(next..next + len + 2) else {
                    return Ok(None);
                };
                let bytes = bytes.strip_suffix(b"\r\n").ok_or(NotAReply)?;
                return Ok(Some((Value::Bulk(bytes), next + len + 2)));
            }
        },
        _ => Value::Null,
    };
    Ok(Some((value, next)))
}
