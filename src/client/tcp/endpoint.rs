//! Where the connections of a client go, and whether they are encrypted.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;

use super::stream::Stream;
#[cfg(feature = "tls")]
use crate::client::{
    error::{Failure, Kind},
    options::Options,
    tls::TlsOptions,
};

/// See the [module](self).
#[derive(Debug, Clone)]
pub(in crate::client) struct Endpoint {
    /// `host:port`; resolved again for each connection.
    host: String,
    #[cfg(feature = "tls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// Returns the endpoint of `tcp://`.
    pub(in crate::client) fn tcp(host: &str) -> Self {
        Self {
            host: host.into(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Returns the endpoint of `tls://`.
    ///
    /// # Errors
    ///
    /// The options do not say whom to trust, or the name of the server is none.
    #[cfg(feature = "tls")]
    pub(in crate::client) fn tls(host: &str, options: &Options) -> Result<Self, Failure> {
        let Some(tls) = &options.tls else {
            let why = "tls:// needs the authorities to trust: Options::tls, or --tls-ca";
            return Err(Failure::not_applied(Kind::Invalid(why.into())));
        };
        let tls = tls.prepare(host)?;
        Ok(Self {
            host: host.into(),
            tls: Some(tls),
        })
    }

    /// Opens a connection. With TLS its handshake is complete.
    pub(super) async fn open(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(&self.host).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some((config, name)) = &self.tls {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await;
            let stream = stream.map_err(TlsOptions::explain)?;
            return Ok(Stream::Tls(Box::new(stream)));
        }
        Ok(Stream::Plain(stream))
    }
}
