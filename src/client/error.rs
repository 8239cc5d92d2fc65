//! The client's one error: what failed, and whether the request may have been counted.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::protocol::ErrorCode;
use crate::protocol::framed::NotAReply;

/// Why a call failed. The predicates say what a program needs to decide; `Display` says the rest.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    /// What was asked, of whom.
    call: String,
    maybe_applied: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Not something that can be asked: a bad address, a topic that is too long.
    Invalid(String),
    Unreachable(Arc<io::Error>),
    /// The connection ended before the reply.
    Lost(Arc<io::Error>),
    /// No reply in time.
    TimedOut(String),
    Refused(ErrorCode),
    /// The other side does not speak the protocol.
    NotAServer(String),
}

/// What became of a client's task when nobody answers for it any more.
pub(super) fn runtime_ended() -> Arc<io::Error> {
    Arc::new(io::Error::other("the client's runtime has ended"))
}

/// Bytes that are no reply of this protocol.
pub(super) fn not_a_server(error: NotAReply) -> Kind {
    Kind::NotAServer(error.to_string())
}

/// A [`Kind`], and whether the request may have reached the server.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) maybe_applied: bool,
}

impl Failure {
    pub(super) fn not_applied(kind: Kind) -> Self {
        Self {
            kind,
            maybe_applied: false,
        }
    }

    /// The server refused it. What waited for a store that failed may be durable all the same.
    pub(super) fn refused(code: ErrorCode) -> Self {
        Self {
            kind: Kind::Refused(code),
            maybe_applied: code == ErrorCode::Store,
        }
    }

    pub(super) fn maybe_applied(kind: Kind) -> Self {
        Self {
            kind,
            maybe_applied: true,
        }
    }

    pub(super) fn of(self, call: String) -> Error {
        Error {
            kind: self.kind,
            call,
            maybe_applied: self.maybe_applied,
        }
    }
}

impl Error {
    /// Whether the request may have been applied although this call failed: it was sent, and no
    /// reply came. A COUNT that is asked again then may leave a gap; it never gets a number twice.
    /// Where this is false, the request was certainly not applied.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        self.maybe_applied
    }

    /// Whether no reply came in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::TimedOut(_))
    }

    /// Whether there was no connection, or it was lost.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.kind, Kind::Unreachable(_) | Kind::Lost(_))
    }

    /// Whether what was asked can't be asked: a bad address, a topic that no frame can carry.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid(_))
    }

    /// The code that the server refused the request with.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self.kind {
            Kind::Refused(code) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        match &self.kind {
            Kind::Invalid(why) => write!(f, "{why}")?,
            Kind::Unreachable(error) => write!(f, "can't reach the server: {error}")?,
            Kind::Lost(error) => write!(f, "lost the connection: {error}")?,
            Kind::TimedOut(after) => write!(f, "no reply {after}")?,
            Kind::Refused(code) => write!(f, "the server refused: {code}")?,
            Kind::NotAServer(why) => write!(f, "not a globalcounter server: {why}")?,
        }
        if self.maybe_applied {
            f.write_str("; it may have been applied")?;
        }
        Ok(())
    }
}

// No `source`: `Display` has said it already.
impl std::error::Error for Error {}
