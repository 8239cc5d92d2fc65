//! What a client asks for and what it gets, whatever the dialect.

use std::num::{NonZeroU32, NonZeroU64};

use super::ErrorCode;
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
    /// [`MAX_SUM`](super::resp::MAX_SUM). Only [`resp`](super::resp) carries it.
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
    /// GET: the sum; `None` where there is no such topic, which [`framed`](super::framed) says, and reads back, as
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
