//! The wire protocol: bytes to [`Request`], [`Reply`] to bytes, and the other way round for
//! clients. Owns every fact of docs/protocol.md and nothing else: no sockets, no counters, no
//! clock, and no allocation per request. Server, client, load generator and tests share it.
//!
//! Three dialects are spoken: [`classic`], one message at a time; [`framed`], pipelined and with
//! request ids; [`resp`], that of Redis. [`Dialect::of`] tells them apart by the first byte.

pub mod classic;
mod error;
pub mod framed;
pub mod resp;

use std::num::{NonZeroU32, NonZeroU64};

pub use error::ErrorCode;

use crate::topic::Topic;

/// What to do to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Add one to the sum and return it.
    Count,
    /// Set the sum to 0.
    Reset,
    /// Add that many to the sum and return it: the caller owns the last so many numbers.
    Add(NonZeroU32),
    /// Add that many, where the sum stays one that a Redis client can read as an integer: at most
    /// [`resp::MAX_SUM`]. Only [`resp`] carries it.
    Incr(NonZeroU64),
    /// Return the sum; counts nothing, creates nothing.
    Get,
    /// Forget the topic; its next COUNT returns 1.
    Delete,
    /// Raise the sum to at least this, and return it; never lowers.
    Advance(u64),
}

/// One request: what to do, to which topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do.
    pub op: Op,
    /// To which topic.
    pub topic: Topic<'a>,
}

/// What became of a request; each method has its own, as each has its own reply on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// COUNT: the sum that this count made.
    Count(u64),
    /// RESET is done.
    Reset,
    /// ADD, INCR: the last sum of the range that the caller now owns.
    Add(u64),
    /// GET: the sum; `None` where there is no such topic, which [`framed`] says, and reads back, as
    /// a sum of 0.
    Get(Option<u64>),
    /// DELETE is done.
    Delete {
        /// Whether there was such a topic.
        existed: bool,
    },
    /// ADVANCE: the sum afterwards.
    Advance(u64),
    /// It was not applied.
    Error(ErrorCode),
}

/// Which protocol a datagram or a connection speaks: its first byte says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The original protocol, one message at a time: [`classic`].
    Classic,
    /// Request ids, pipelines, batches: [`framed`].
    Framed,
    /// The Redis protocol, on TCP alone: [`resp`].
    Resp,
    /// Another server's reply. It is never answered, so that two servers can't be made to talk to
    /// each other.
    Reply,
    /// Nothing that is spoken here; answered with one classic ERROR.
    Unknown,
}

impl Dialect {
    /// The dialect of a datagram or a connection that starts with `first`.
    #[must_use]
    pub fn of(first: u8) -> Self {
        match first {
            classic::COUNT | classic::RESET => Self::Classic,
            framed::FIRST_OP..=framed::LAST_OP => Self::Framed,
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Self::Resp,
            128..=255 => Self::Reply,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_says_the_dialect() {
        for first in 0..=255 {
            let expected = match first {
                0 | 1 => Dialect::Classic,
                16..=31 => Dialect::Framed,
                42 | 65..=90 | 97..=122 => Dialect::Resp,
                128.. => Dialect::Reply,
                _ => Dialect::Unknown,
            };
            assert_eq!(Dialect::of(first), expected, "first byte {first}");
        }
    }
}
