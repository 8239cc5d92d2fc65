//! TLS of the connections of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::target::{Target, Transport};

#[derive(Debug, Args)]
pub(super) struct TlsArguments {
    /// Connect over TLS (targets over TCP but classic-tcp)
    ///
    /// Sessions are not resumed, so each connection makes a whole handshake. Its cost is not measured:
    /// connections are opened before the run.
    #[arg(long, help_heading = "Target")]
    tls: bool,
    /// Trust the authorities in FILE (PEM), whose certificate must have the server's IP address
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls",
        conflicts_with = "tls_insecure",
        help_heading = "Target"
    )]
    tls_ca: Option<PathBuf>,
    /// Trust any server
    #[arg(long, requires = "tls", help_heading = "Target")]
    tls_insecure: bool,
}

impl TlsArguments {
    /// Returns the settings of TLS; `None` without TLS.
    ///
    /// # Errors
    ///
    /// The target has no TLS, nothing says whom to trust, or the file cannot be used.
    pub(super) fn config(&self, target: &dyn Target) -> Result<Option<Arc<ClientConfig>>> {
        if !self.tls {
            return Ok(None);
        }
        ensure!(
            matches!(target.transport(), Transport::Stream),
            "--tls is for targets that keep connections over TCP, not {}",
            target.name()
        );
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let mut config = match &self.tls_ca {
            Some(path) => builder
                .with_root_certificates(roots(path)?)
                .with_no_client_auth(),
            None => {
                ensure!(
                    self.tls_insecure,
                    "--tls needs --tls-ca FILE, or --tls-insecure to trust any server"
                );
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(TrustAny(provider)))
                    .with_no_client_auth()
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Some(Arc::new(config)))
    }
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let cannot = || format!("cannot use {}", path.display());
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.with_context(cannot)?;
        roots.add(certificate).with_context(cannot)?;
    }
    ensure!(
        !roots.is_empty(),
        "{} has no certificate (PEM)",
        path.display()
    );
    Ok(roots)
}

/// Accepts any certificate, but checks that the server has its key.
#[derive(Debug)]
struct TrustAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAny {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
