//! What comes of a call, whatever the transport.

use super::error::Failure;
use crate::protocol::Reply;
use crate::protocol::framed::Answer;

/// What came of a call.
pub(super) type Outcome = Result<Answered, Failure>;

/// What a server answered, of what a client asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answered {
    Reply(Reply),
    /// A PING's echo.
    Pong,
    /// To HELLO, which a call never asks.
    Hello,
}

impl From<Answer<'_>> for Answered {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Reply(reply) => Self::Reply(reply),
            Answer::Pong(_) => Self::Pong,
            Answer::Hello(_) => Self::Hello,
        }
    }
}
