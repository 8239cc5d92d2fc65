//! What a client does after an attempt at a call has failed.

use crate::client::error::{Failure, Kind};
use crate::protocol::ErrorCode;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The call fails: the request may have been applied, or another attempt would fail as well.
    Fail,
    /// Another node may serve the request: this one could not be reached.
    Elsewhere,
    /// The topic cannot be served at the moment. The map may be old.
    Unserved,
    /// The node has too much to do.
    Busy,
}

impl Next {
    /// Returns what follows this failure.
    pub(super) fn after(failure: &Failure) -> Self {
        if failure.maybe_applied {
            return Self::Fail;
        }
        match failure.kind {
            Kind::Refused(ErrorCode::NotOwner | ErrorCode::Unavailable) => Self::Unserved,
            Kind::Refused(ErrorCode::Busy) => Self::Busy,
            Kind::Refused(_) | Kind::Invalid(_) => Self::Fail,
            Kind::Unreachable(_) | Kind::Lost(_) | Kind::TimedOut(_) | Kind::NotAServer(_) => {
                Self::Elsewhere
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_what_was_certainly_not_applied_is_tried_again() {
        for code in ErrorCode::ALL {
            let expected = match code {
                ErrorCode::NotOwner | ErrorCode::Unavailable => Next::Unserved,
                ErrorCode::Busy => Next::Busy,
                _ => Next::Fail,
            };
            assert_eq!(Next::after(&Failure::refused(code)), expected, "{code}");
        }
        let error = || Arc::new(io::Error::other("a test"));
        let kinds = [
            Kind::Unreachable(error()),
            Kind::Lost(error()),
            Kind::TimedOut(String::new()),
            Kind::NotAServer(String::new()),
        ];
        for kind in kinds {
            let not_applied = Failure::not_applied(kind.clone());
            assert_eq!(Next::after(&not_applied), Next::Elsewhere, "{kind:?}");
            let maybe_applied = Failure::maybe_applied(kind.clone());
            assert_eq!(Next::after(&maybe_applied), Next::Fail, "{kind:?}");
        }
        let invalid = Failure::not_applied(Kind::Invalid(String::new()));
        assert_eq!(Next::after(&invalid), Next::Fail);
    }
}
