//! The settings of a client for TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::error::{Error, Failure, Kind};

/// The settings of a client for `tls://`: which authorities it trusts, and who it is. Certificates and
/// keys are PEM text. Clients with clones of the same settings resume each other's sessions.
#[derive(Clone)]
pub struct TlsOptions {
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    server_name: Option<String>,
}

impl TlsOptions {
    /// Trusts servers with a certificate of one of these authorities, and no others: those of the
    /// system are not used.
    ///
    /// # Errors
    ///
    /// There is no certificate, or one that cannot be used.
    pub fn trusting(authorities: &[u8]) -> Result<Self, Error> {
        let failed = |why| invalid("reading trusted certificates", why);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities).map_err(failed)? {
            let added = roots.add(certificate);
            added.map_err(|error| failed(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let config = builder(&roots).map_err(failed)?.with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            roots,
            server_name: None,
        })
    }

    /// Shows the server a certificate, followed by those of intermediate authorities.
    ///
    /// # Errors
    ///
    /// There is no certificate or no key, or they do not belong together.
    pub fn identity(self, certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let failed = |why| invalid("reading the client's certificate and key", why);
        let chain = certificates(certificate).map_err(failed)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => failed("no private key (PEM, not encrypted)".into()),
            error => failed(error.to_string()),
        })?;
        let config = builder(&self.roots)
            .map_err(failed)?
            .with_client_auth_cert(chain, key)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            config: Arc::new(config),
            ..self
        })
    }

    /// Sets the name that the server's certificate must have: a DNS name or an IP address. By default
    /// it is the host of the URL.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Returns what a handshake with `host`, with or without a port, needs, for a program that opens
    /// connections of its own.
    ///
    /// # Errors
    ///
    /// The host is no name of a TLS server.
    pub fn settings_for(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), Error> {
        let settings = self.prepare(host);
        settings.map_err(|failure| failure.into_error("preparing TLS".into()))
    }

    /// Returns the error of a handshake, with what to do about it where the name of the problem does not
    /// tell.
    #[must_use]
    pub fn explain(error: io::Error) -> io::Error {
        let text = error.to_string();
        let advice = if text.contains("CaUsedAsEndEntity") {
            "the server's certificate is an authority's (CA:TRUE): sign one for the server with it"
        } else if text.contains("UnknownIssuer") {
            "the server's certificate is not signed by an authority that this client trusts"
        } else if text.contains("CertificateRequired") {
            "the server wants a client certificate"
        } else {
            return error;
        };
        io::Error::new(error.kind(), format!("{text}: {advice}"))
    }

    /// Returns what a connection to `host`, with its port, needs.
    pub(super) fn prepare(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), Failure> {
        let (host, _port) = host.rsplit_once(':').unwrap_or((host, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            let why = format!("{name:?} is no name of a TLS server: {error}");
            Failure::not_applied(Kind::Invalid(why))
        })?;
        Ok((Arc::clone(&self.config), name))
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(roots: &Arc<RootCertStore>) -> Result<Builder, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(Arc::clone(roots)))
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("no certificate (PEM)".into());
    }
    Ok(all)
}

fn invalid(doing: &str, why: String) -> Error {
    Failure::not_applied(Kind::Invalid(why)).into_error(doing.into())
}
