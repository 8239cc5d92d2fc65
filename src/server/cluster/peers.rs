//! How this node shows itself to others.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The credentials of this node.
#[derive(Default)]
pub(crate) struct Credentials {
    token: Vec<u8>,
}

/// A byte stream to another node.
pub(crate) trait PeerStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> PeerStream for S {}

impl Credentials {
    /// Uses a token, which may be empty.
    pub(crate) fn new(token: Vec<u8>) -> Self {
        Self { token }
    }

    /// Returns the token.
    pub(crate) fn token(&self) -> &[u8] {
        &self.token
    }

    /// Makes a connection to the node at this address secure, if that is wanted.
    pub(crate) async fn secure(
        &self,
        tcp: TcpStream,
        _address: &str,
    ) -> io::Result<Box<dyn PeerStream>> {
        Ok(Box::new(tcp))
    }
}

/// Does not show the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
