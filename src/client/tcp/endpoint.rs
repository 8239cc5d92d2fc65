//! Where the connections of a client go, and whether they are encrypted.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;

use super::stream::Stream;
use crate::client::address::Scheme;
use crate::client::error::{Failure, Kind};
use crate::client::options::Options;
#[cfg(feature = "tls")]
use crate::client::tls::TlsOptions;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(in crate::client) struct Endpoint {
    /// `host:port`; resolved again for each connection.
    host: String,
    #[cfg(feature = "tls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// Returns the endpoint of a host with this scheme, which is not that of UDP.
    ///
    /// # Errors
    ///
    /// Those of [`tls`](Self::tls), or this program was built without TLS.
    pub(in crate::client) fn new(
        scheme: Scheme,
        host: &str,
        options: &Options,
    ) -> Result<Self, Failure> {
        match scheme {
            #[cfg(feature = "tls")]
            Scheme::Tls => Self::tls(host, options),
            #[cfg(not(feature = "tls"))]
            Scheme::Tls => {
                let _ = options;
                let why = "this program was built without TLS (feature `tls`)";
                Err(Failure::not_applied(Kind::Invalid(why.into())))
            }
            Scheme::Tcp | Scheme::Udp => Ok(Self::tcp(host)),
        }
    }

    /// Returns the endpoint of `tcp://`.
    fn tcp(host: &str) -> Self {
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
    fn tls(host: &str, options: &Options) -> Result<Self, Failure> {
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
