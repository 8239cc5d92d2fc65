//! The error codes of the protocol: the one place that gives each its number and its text.

use std::fmt;

use crate::topic::TopicError;

/// Why a request was refused. Unless a variant says otherwise, the request was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1: the method does not exist.
    BadOpcode,
    /// 2: the topic is not UTF-8.
    BadTopic,
    /// 3: the topic is longer than the server allows.
    TopicTooLong,
    /// 4: the body does not fit its method.
    BadFrame,
    /// 5: the sum would pass `u64::MAX`; sums never wrap.
    Overflow,
    /// 6: a new topic would exceed the server's limit; no topic is evicted.
    TooManyTopics,
    /// 7: a queue is full; it is safe to send the request again.
    Busy,
    /// 8: the durable store failed; the server no longer hands out numbers that it cannot make
    /// durable.
    Store,
    /// 9: the client is not authenticated, or not allowed to do this.
    Denied,
    /// 10: a request that a node forwarded reached a node that does not own its topic (any more).
    NotOwner,
    /// 11: nobody can serve the topic at the moment, because its owner is gone or the lease has
    /// ended; it is safe to send the request again.
    Unavailable,
    /// 12: the request was forwarded, or applied, and its outcome cannot be told in time. It may have
    /// been applied; nobody else gets its number.
    Unknown,
    /// A code that this version does not know. A server never sends it.
    Other(u8),
}

/// The longest message that a server sends with a code, in bytes. On UDP, a reply may be at most
/// 16 bytes larger than its request: a classic ERROR is 2 bytes and the message, and answers at
/// least 1 byte; a framed ERROR is 8 bytes and the message, and answers at least 7 bytes.
const MESSAGE_LEN_LIMIT: usize = 15;

impl ErrorCode {
    /// All codes that a server sends.
    pub const ALL: [Self; 12] = [
        Self::BadOpcode,
        Self::BadTopic,
        Self::TopicTooLong,
        Self::BadFrame,
        Self::Overflow,
        Self::TooManyTopics,
        Self::Busy,
        Self::Store,
        Self::Denied,
        Self::NotOwner,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// Returns whether the request that it refuses may have been applied all the same. After STORE, a
    /// change that waited for the failed store may be durable.
    #[must_use]
    pub const fn may_have_been_applied(self) -> bool {
        matches!(self, Self::Store | Self::Unknown)
    }

    /// Returns its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::BadOpcode => 1,
            Self::BadTopic => 2,
            Self::TopicTooLong => 3,
            Self::BadFrame => 4,
            Self::Overflow => 5,
            Self::TooManyTopics => 6,
            Self::Busy => 7,
            Self::Store => 8,
            Self::Denied => 9,
            Self::NotOwner => 10,
            Self::Unavailable => 11,
            Self::Unknown => 12,
            Self::Other(code) => code,
        }
    }

    /// Returns the error with the number `code` on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match Self::ALL.iter().find(|known| known.code() == code) {
            Some(&known) => known,
            None => Self::Other(code),
        }
    }

    /// Returns its name in docs/protocol.md; "OTHER" if it has none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadOpcode => "BAD_OPCODE",
            Self::BadTopic => "BAD_TOPIC",
            Self::TopicTooLong => "TOPIC_TOO_LONG",
            Self::BadFrame => "BAD_FRAME",
            Self::Overflow => "OVERFLOW",
            Self::TooManyTopics => "TOO_MANY_TOPICS",
            Self::Busy => "BUSY",
            Self::Store => "STORE",
            Self::Denied => "DENIED",
            Self::NotOwner => "NOT_OWNER",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
            Self::Other(_) => "OTHER",
        }
    }

    /// Returns the text sent with it on the wire: at most 15 bytes.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::BadOpcode => "no method",
            Self::BadTopic => "topic not UTF-8",
            Self::TopicTooLong => "topic too long",
            Self::BadFrame => "bad frame",
            Self::Overflow => "sum at maximum",
            Self::TooManyTopics => "too many topics",
            Self::Busy => "busy, try again",
            Self::Store => "store failed",
            Self::Denied => "denied",
            Self::NotOwner => "not the owner",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown outcome",
            Self::Other(_) => "error",
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < ErrorCode::ALL.len() {
        assert!(ErrorCode::ALL[i].message().len() <= MESSAGE_LEN_LIMIT);
        i += 1;
    }
    // These two may answer input shorter than a header: 1 byte of a frame, or an empty datagram.
    assert!(8 + ErrorCode::BadFrame.message().len() <= 1 + 16);
    assert!(8 + ErrorCode::BadOpcode.message().len() <= 1 + 16);
    assert!(2 + ErrorCode::BadOpcode.message().len() <= 16);
};

impl From<TopicError> for ErrorCode {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::NotUtf8 => Self::BadTopic,
            TopicError::TooLong { .. } => Self::TopicTooLong,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(code) => write!(f, "error code {code}"),
            known => write!(f, "{} ({})", known.message(), known.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_numbered_from_one_and_round_trip() {
        for (number, code) in (1u8..).zip(ErrorCode::ALL) {
            assert_eq!(code.code(), number);
            assert_eq!(ErrorCode::from_code(number), code);
        }
        assert_eq!(ErrorCode::from_code(0), ErrorCode::Other(0));
        assert_eq!(ErrorCode::from_code(200).code(), 200);
        let names: HashSet<_> = ErrorCode::ALL.map(ErrorCode::name).into();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(!names.contains(ErrorCode::Other(200).name()));
    }
}
