//! The error codes of the protocol: the one place where each has its number and its words.

use std::fmt;

use crate::topic::TopicError;

/// Why a request was refused. Unless a variant says otherwise, it was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1: no such method.
    BadOpcode,
    /// 2: the topic is not UTF-8.
    BadTopic,
    /// 3: the topic is over the server's limit.
    TopicTooLong,
    /// 4: a body that does not fit its method.
    BadFrame,
    /// 5: the sum would pass `u64::MAX`; it never wraps.
    Overflow,
    /// 6: a new topic over the server's limit; nothing is evicted.
    TooManyTopics,
    /// 7: a queue is full; safe to send again.
    Busy,
    /// 8: the durable store failed; the server no longer hands out what it can't keep.
    Store,
    /// 9: not authenticated, or not allowed.
    Denied,
    /// A code that this version does not know. Servers never send it.
    Other(u8),
}

/// The longest message that a server sends with a code, in bytes. On UDP no reply may be larger
/// than its request by more than 16 bytes: a classic ERROR is 2 bytes and the message, and answers
/// at least 1 byte; a framed one is 8 bytes and the message, and answers at least 7.
const MESSAGE_LEN_LIMIT: usize = 15;

impl ErrorCode {
    /// Every code that a server sends.
    pub const ALL: [Self; 9] = [
        Self::BadOpcode,
        Self::BadTopic,
        Self::TopicTooLong,
        Self::BadFrame,
        Self::Overflow,
        Self::TooManyTopics,
        Self::Busy,
        Self::Store,
        Self::Denied,
    ];

    /// Its number on the wire.
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
            Self::Other(code) => code,
        }
    }

    /// The error with that number on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match Self::ALL.iter().find(|known| known.code() == code) {
            Some(&known) => known,
            None => Self::Other(code),
        }
    }

    /// Its name in docs/protocol.md.
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
            Self::Other(_) => "UNKNOWN",
        }
    }

    /// The words that go with it on the wire: at most 15 bytes.
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
    // These two answer what may be shorter than a header: 1 byte of a frame, or no byte at all.
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
    use super::*;

    #[test]
    fn codes_are_one_to_nine_and_back() {
        for (number, code) in (1u8..).zip(ErrorCode::ALL) {
            assert_eq!(code.code(), number);
            assert_eq!(ErrorCode::from_code(number), code);
        }
        assert_eq!(ErrorCode::from_code(0), ErrorCode::Other(0));
        assert_eq!(ErrorCode::from_code(200).code(), 200);
    }
}
