//! The result of checking credentials.

use std::sync::Arc;

use thiserror::Error;

use super::policy::Token;

/// The result of a check: the token, or why there is none.
pub type Verdict = Result<Arc<Token>, Denied>;

/// Why credentials are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Denied {
    /// There is no such token, or the password is wrong.
    #[error("wrong token, or wrong name or password")]
    Wrong,
    /// Too many attempts of this address have failed; the credentials were not checked.
    #[error("too many failed attempts from this address: try again in a second")]
    TooManyFailures,
    /// Too many passwords wait to be checked; this one was not.
    #[error("too many passwords are being checked: try again")]
    Busy,
}
