//! What became of a request for a topic, as a Redis client is told; and reading it, for clients.

use thiserror::Error;

use super::refusal::text_of;
use super::{MAX_ARGUMENT, Writer};
use crate::protocol::{ErrorCode, Reply};

/// The longest line of a reply, in bytes: an error's.
const MAX_REPLY_LINE: usize = 64 * 1024;

/// How the reply to a request for a topic will be said: which command asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// INCR, INCRBY: the sum, as an integer.
    Sum,
    /// GET, MGET: the sum, as a string; nothing where there is no such topic.
    Value,
    /// SET to 0: OK.
    Reset,
    /// SET to this: OK, or that the sum is above it.
    Raise(u64),
    /// TYPE: which kind of value it has.
    Kind,
    /// DEL, UNLINK, EXISTS: whether there was such a topic. The last key of a command tells how many
    /// there were of all.
    Tally {
        /// Whether it is the last.
        last: bool,
    },
}

/// What a client is told of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A sum.
    Sum(u64),
    /// The value of a topic, if it exists.
    Value(Option<u64>),
    /// It is done.
    Ok,
    /// The kind of a topic's value, if it exists.
    Kind(bool),
    /// One more, or none more, of those that a command counts. Nothing is said before the last.
    Tally {
        /// Whether there was such a topic.
        existed: Result<bool, ErrorCode>,
        /// Whether it is the last.
        last: bool,
    },
    /// It was not applied.
    Error(ErrorCode),
    /// SET would have gone down.
    Below,
}

impl Form {
    /// What is said of `reply`.
    #[must_use]
    pub fn said(self, reply: Reply) -> Said {
        match (self, reply) {
            (Self::Tally { last }, reply) => Said::Tally {
                existed: match reply {
                    Reply::Error(error) => Err(error),
                    Reply::Get(sum) => Ok(sum.is_some()),
                    other => Ok(other == Reply::Delete { existed: true }),
                },
                last,
            },
            (_, Reply::Error(error)) => Said::Error(error),
            (Self::Value, Reply::Get(sum)) => Said::Value(sum),
            (Self::Kind, Reply::Get(sum)) => Said::Kind(sum.is_some()),
            (Self::Raise(to), Reply::Advance(sum)) if sum > to => Said::Below,
            (Self::Sum, Reply::Add(sum) | Reply::Count(sum)) => Said::Sum(sum),
            _ => Said::Ok,
        }
    }
}

/// Says replies one after another: what a command counts over its keys is counted here.
#[derive(Debug, Default)]
pub struct Tally {
    existed: u64,
    error: Option<ErrorCode>,
}

impl Tally {
    /// Says the next reply, or counts it; whether it was an error.
    pub fn say(&mut self, said: Said, writer: &mut Writer<'_>) -> bool {
        match said {
            Said::Sum(sum) => writer.integer(sum),
            Said::Value(Some(sum)) => writer.number(sum),
            Said::Value(None) => writer.null(),
            Said::Ok => writer.simple("OK"),
            Said::Kind(true) => writer.simple("string"),
            Said::Kind(false) => writer.simple("none"),
            Said::Tally { existed, last } => {
                match existed {
                    Ok(existed) => self.existed += u64::from(existed),
                    Err(error) => self.error = Some(error),
                }
                if last {
                    let Self { existed, error } = std::mem::take(self);
                    match error {
                        None => writer.integer(existed),
                        Some(error) => return self.say(Said::Error(error), writer),
                    }
                }
            }
            Said::Error(error) => {
                writer.error(text_of(error));
                return true;
            }
            Said::Below => {
                writer.error("ERR counters only go up: the sum is above that");
                return true;
            }
        }
        false
    }
}

/// A reply that holds no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word, as OK.
    Simple(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(&'a [u8]),
    /// Nothing there.
    Null,
}

/// The bytes are no reply that holds no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a reply of one value")]
pub struct NotAReply;

/// Reads the reply that `input` begins with, and how many bytes it takes; `None` where it breaks off.
/// Lists and maps are not read: nothing that counts returns one, but MGET.
///
/// # Errors
///
/// [`NotAReply`]; the connection is of no more use.
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
