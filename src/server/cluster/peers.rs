//! How this node shows itself to others.

use std::fmt;
use std::io;
#[cfg(feature = "cluster")]
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "cluster")]
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// The credentials of this node.
#[derive(Default)]
pub(crate) struct Credentials {
    token: Vec<u8>,
    /// `None`: plain TCP.
    #[cfg(feature = "cluster")]
    tls: Option<Arc<ClientConfig>>,
}

/// A byte stream to another node.
pub(crate) trait PeerStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> PeerStream for S {}

impl Credentials {
    /// Uses a token, which may be empty, and TLS with these settings, or plain TCP.
    #[cfg(feature = "cluster")]
    pub(crate) fn new(token: Vec<u8>, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { token, tls }
    }

    /// Returns the token.
    pub(crate) fn token(&self) -> &[u8] {
        &self.token
    }

    /// Makes a connection to the node at this address secure, if that is wanted.
    pub(crate) async fn secure(
        &self,
        tcp: TcpStream,
        address: &str,
    ) -> io::Result<Box<dyn PeerStream>> {
        #[cfg(feature = "cluster")]
        if let Some(tls) = &self.tls {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let connector = TlsConnector::from(Arc::clone(tls));
            return Ok(Box::new(connector.connect(name, tcp).await?));
        }
        let _ = address;
        Ok(Box::new(tcp))
    }
}

/// Does not show the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
