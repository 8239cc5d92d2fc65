//! What a peer sends to prove who it is.

use std::fmt;

/// What a peer sends to prove who it is.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// A random token, or `NAME:PASSWORD`: HELLO, a bearer, and AUTH with one argument.
    Secret(&'a [u8]),
    /// A name with its random token or its password: AUTH with two arguments.
    Named {
        /// The name in the tokens file.
        name: &'a [u8],
        /// The token or the password.
        secret: &'a [u8],
    },
}

/// Shows no secret, and no name either: people type secrets into the wrong field.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
