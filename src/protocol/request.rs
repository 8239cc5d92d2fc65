//! Requests and replies, independent of the dialect that carries them.

use std::num::{NonZeroU32, NonZeroU64};

use super::ErrorCode;
use crate::topic::Topic;

/// An operation on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Add one to the sum and return it.
    Count,
    /// Set the sum to 0.
    Reset,
    /// Add this number, `n`, to the sum and return the sum: the caller owns the last `n` numbers.
    Add(NonZeroU32),
    /// The same as [`Op::Add`], but refused if the sum would pass
    /// [`MAX_SUM`](super::resp::MAX_SUM), the highest that a Redis client can read as an integer.
    /// Only [`resp`](super::resp) carries it.
    Incr(NonZeroU64),
    /// Return the sum without counting; never creates a topic.
    Get,
    /// Forget the topic; its next COUNT returns 1.
    Delete,
    /// Raise the sum to at least this number and return it; never lowers it.
    Advance(u64),
    /// Set the sum as [`Op::Reset`] does if `to` is 0, or else raise it to exactly `to`: refused if
    /// the sum is above that. Does nothing unless the topic meets the condition. Condition, change
    /// and reply are one step of the owner. Only [`resp`](super::resp) carries it.
    Set {
        /// The new sum.
        to: u64,
        /// The condition that the topic has to meet.
        when: Condition,
    },
    /// Forget the topic, as [`Op::Delete`] does, and return its sum. Only [`resp`](super::resp)
    /// carries it.
    GetDelete,
}

/// The method of an operation, without its arguments. The operations that only
/// [`resp`](super::resp) carries have the method that is closest to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are named like the operations
pub enum Method {
    Count,
    Reset,
    Add,
    Get,
    Delete,
    Advance,
}

impl Method {
    /// All methods, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Count,
        Self::Reset,
        Self::Add,
        Self::Get,
        Self::Delete,
        Self::Advance,
    ];

    /// Returns the method's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Reset => "reset",
            Self::Add => "add",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::Advance => "advance",
        }
    }
}

impl Op {
    /// Returns the operation's method.
    #[inline]
    #[must_use]
    pub fn method(self) -> Method {
        if self == Self::Count {
            return Method::Count; // the most frequent one, without a jump table
        }
        match self {
            Self::Count => Method::Count,
            Self::Reset | Self::Set { .. } => Method::Reset,
            Self::Add(_) | Self::Incr(_) => Method::Add,
            Self::Get => Method::Get,
            Self::Delete | Self::GetDelete => Method::Delete,
            Self::Advance(_) => Method::Advance,
        }
    }
}

/// When [`Op::Set`] sets a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Whether the topic exists or not.
    Always,
    /// Only if the topic does not exist.
    IfAbsent,
    /// Only if the topic exists.
    IfPresent,
}

// A queued request has room for 16 bytes of operation.
const _: () = assert!(size_of::<Op>() == 16);

/// One request: an operation and its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The operation.
    pub op: Op,
    /// The topic to apply it to.
    pub topic: Topic<'a>,
}

/// The result of a request. Each method has a variant of its own, because each has a reply of its
/// own on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// COUNT: the sum after this count.
    Count(u64),
    /// RESET is done.
    Reset,
    /// ADD, INCR: the sum afterwards, the last number of the range that the caller now owns.
    Add(u64),
    /// GET: the sum; `None` if the topic does not exist. [`framed`](super::framed) encodes `None`
    /// as a sum of 0, and decodes it as such.
    Get(Option<u64>),
    /// DELETE is done.
    Delete {
        /// Whether the topic existed.
        existed: bool,
    },
    /// ADVANCE: the sum afterwards.
    Advance(u64),
    /// SET changed an existing topic, whose sum was this before.
    Set(u64),
    /// SET created the topic.
    Created,
    /// SET changed nothing, because the topic exists, with this sum.
    Present(u64),
    /// SET or GETDEL changed nothing, because the topic does not exist.
    Absent,
    /// SET changed nothing, because the topic's sum is this, above the requested one.
    SumIsHigher(u64),
    /// GETDEL deleted the topic, whose sum was this.
    Deleted(u64),
    /// The request was refused.
    Error(ErrorCode),
}

// Replies wait by the thousand, for other shards or for the store.
const _: () = assert!(size_of::<Reply>() == 16);
