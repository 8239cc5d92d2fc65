//! Certificates and keys in files of PEM blocks: reads them, and turns them into the settings of TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "cluster")]
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use tracing::warn;
use webpki::{EndEntityCert, KeyUsage};

use crate::access::warn_of_readers;
#[cfg(feature = "cluster")]
use crate::server::config::NodeTls;
use crate::server::config::TlsError;
use crate::server::config::TlsFiles;

/// Reads the files, and returns settings that use them.
///
/// # Errors
///
/// A file cannot be read, or its contents cannot be used.
pub(super) fn load(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    warn_of_validity(&files.certificate, &chain);
    warn_of_readers(&files.key, "the TLS key");
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&files.certificate, &error))?;
    let builder = match &files.clients {
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, &provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            },
            Error::InvalidCertificate(_) => TlsError::new(&files.certificate, &error),
            error => TlsError::new(&files.key, &error),
        })?;
    // Tickets keep a session's state at the client, so every worker can resume it. Their keys are
    // new for each load: a session cannot outlive the certificates that admitted its client.
    config.ticketer =
        ring::Ticketer::new().map_err(|error| TlsError::new(&files.certificate, &error))?;
    Ok(config)
}

/// Reads the files, and returns the settings of connections to other nodes.
///
/// # Errors
///
/// As [`load`].
#[cfg(feature = "cluster")]
pub(crate) fn load_for_peers(files: &NodeTls) -> Result<ClientConfig, TlsError> {
    let path = &files.authorities;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(path, &error))?
        .with_root_certificates(roots(path)?);
    let Some((certificate, key)) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    warn_of_readers(key, "the TLS key of this node");
    builder
        .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
        .map_err(|error| TlsError::new(key, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.into(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(TlsError::NoCertificate { path: path.into() }),
        Ok(all) => Ok(all),
        Err(error) => Err(TlsError::new(path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.into() },
        error => TlsError::new(path, &error),
    })
}

fn client_verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(roots(path)?);
    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| TlsError::new(path, &error))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::new(path, &error))?;
    }
    Ok(roots)
}

/// Logs a warning if the server's certificate is not valid now. It is used all the same: a client may
/// not care, and the clock may be wrong.
fn warn_of_validity(path: &Path, chain: &[CertificateDer<'_>]) {
    let Some(Ok(certificate)) = chain.first().map(EndEntityCert::try_from) else {
        return; // reported by `with_single_cert`
    };
    // Without a root no chain is complete. But the dates are checked first.
    let result = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[],
        &chain[1..],
        UnixTime::now(),
        KeyUsage::server_auth(),
        None,
        None,
    );
    let file = path.display();
    match result.err() {
        Some(webpki::Error::CertExpired { .. }) => {
            warn!(%file, "the TLS certificate has expired; clients will refuse it");
        }
        Some(webpki::Error::CertNotValidYet { .. }) => {
            warn!(%file, "the TLS certificate is not valid yet; clients will refuse it");
        }
        _ => {}
    }
}
