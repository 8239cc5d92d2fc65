//! The client's error type: why a call failed, and whether its request may have been applied.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::protocol::ErrorCode;
use crate::protocol::framed::NotAReply;

/// Why a call failed. The methods give a program what it needs to react; `Display` describes the
/// error.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    /// The method, its topic and the server.
    call: String,
    maybe_applied: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The request cannot be made: a bad address, or a topic that is too long.
    Invalid(String),
    /// There is no connection, or the datagrams cannot be delivered.
    Unreachable(Arc<io::Error>),
    /// The connection ended before the reply.
    Lost(Arc<io::Error>),
    /// No reply came in time. Holds what follows "no reply" in the message.
    TimedOut(String),
    /// The server answered with an error code.
    Refused(ErrorCode),
    /// The other side does not speak the protocol.
    NotAServer(String),
}

/// Returns the error for a client task that no longer answers, because its runtime has ended.
pub(super) fn runtime_ended() -> Arc<io::Error> {
    Arc::new(io::Error::other(
        "the tokio runtime that ran the client has ended",
    ))
}

/// Returns the kind for bytes that cannot be decoded as a reply.
pub(super) fn not_a_server(error: NotAReply) -> Kind {
    Kind::NotAServer(error.to_string())
}

/// A [`Kind`], and whether the request may have been applied.
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

    /// The server refused the request with `code`.
    pub(super) fn refused(code: ErrorCode) -> Self {
        Self {
            kind: Kind::Refused(code),
            maybe_applied: code.may_have_been_applied(),
        }
    }

    pub(super) fn maybe_applied(kind: Kind) -> Self {
        Self {
            kind,
            maybe_applied: true,
        }
    }

    /// Adds the call that failed: its method, its topic and the server.
    pub(super) fn into_error(self, call: String) -> Error {
        Error {
            kind: self.kind,
            call,
            maybe_applied: self.maybe_applied,
        }
    }
}

impl Error {
    /// Returns whether the request may have been applied although this call failed, for example
    /// because it was sent and no reply came. If so, a retry of a COUNT may leave a gap, but never
    /// gets a number that was handed out before. If not, the request was certainly not applied.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        self.maybe_applied
    }

    /// Returns whether no reply came in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::TimedOut(_))
    }

    /// Returns whether the server could not be reached, or the connection was lost.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.kind, Kind::Unreachable(_) | Kind::Lost(_))
    }

    /// Returns whether the request cannot be made at all: a bad address, a topic that no frame can
    /// carry, or an [`add`](crate::Client::add) of 0.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid(_))
    }

    /// Returns the code with which the server refused the request, if it did.
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
            Kind::Unreachable(error) => write!(f, "cannot reach the server: {error}")?,
            Kind::Lost(error) => write!(f, "lost the connection: {error}")?,
            Kind::TimedOut(detail) => write!(f, "no reply {detail}")?,
            Kind::Refused(code) => write!(f, "the server refused the request: {code}")?,
            Kind::NotAServer(why) => write!(f, "not a globalcounter server: {why}")?,
        }
        if self.maybe_applied {
            f.write_str("; the request may have been applied")?;
        }
        Ok(())
    }
}

// No `source`: `Display` already includes it.
impl std::error::Error for Error {}
