//! The limits at which open connections are closed.

use std::fmt;

/// The limit that a connection has reached, so that it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// It has not sent its first byte (`--first-byte-timeout`).
    FirstByte,
    /// It has not sent the rest of a request (`--request-timeout`).
    Request,
    /// It was silent between requests (`--idle-timeout`).
    Idle,
    /// Its peer does not read its replies (`--unread-timeout`).
    Unread,
    /// It held most when the connections of its worker held too much together (`--max-held`).
    Held,
}

impl CloseReason {
    pub(super) const ALL: [Self; 5] = [
        Self::FirstByte,
        Self::Request,
        Self::Idle,
        Self::Unread,
        Self::Held,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FirstByte => "first_byte",
            Self::Request => "request",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Held => "held",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
