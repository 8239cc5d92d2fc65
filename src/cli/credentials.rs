//! What the commands that ask a server show it, and whom they trust: a token, and certificates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use globalcounter::client::TlsOptions;

use super::secret::read_secret;

/// The token to show.
#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// File whose first line is the token, or NAME:PASSWORD; not over UDP. The variable
    /// GLOBALCOUNTER_TOKEN can hold the token instead
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token. It is hidden, because all users can see the arguments of a process: use the variable
    #[arg(
        long,
        hide = true,
        env = "GLOBALCOUNTER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
}

impl TokenArguments {
    /// Returns the token, if there is one. A file has precedence over the variable.
    pub(super) fn read(&self) -> Result<Option<String>> {
        match &self.token_file {
            Some(path) => read_secret(path).map(Some),
            None => Ok(self.token.clone().filter(|token| !token.is_empty())),
        }
    }
}

/// Whom to trust over TLS, and who the client is.
#[derive(Debug, Args)]
pub(super) struct TlsArguments {
    /// TLS: authorities that the server's certificate may be of, in PEM
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_CLIENT_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// TLS: certificate of this client, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "GLOBALCOUNTER_CLIENT_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// TLS: private key of the certificate, in PEM, not encrypted
    #[arg(
        long,
        value_name = "FILE",
        env = "GLOBALCOUNTER_CLIENT_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// TLS: name that the server's certificate must have, if it is not the host of the URL
    #[arg(long, value_name = "NAME", env = "GLOBALCOUNTER_CLIENT_TLS_NAME")]
    tls_name: Option<String>,
}

impl TlsArguments {
    /// Returns the options of TLS; `None` if nothing says whom to trust.
    pub(super) fn options(&self) -> Result<Option<TlsOptions>> {
        let Some(ca) = &self.tls_ca else {
            return Ok(None);
        };
        let mut options = TlsOptions::trusting(&read(ca)?)
            .with_context(|| format!("cannot use {}", ca.display()))?;
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            options = options
                .identity(&read(certificate)?, &read(key)?)
                .with_context(|| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("cannot use {certificate} with {key}")
                })?;
        }
        if let Some(name) = &self.tls_name {
            options = options.server_name(name);
        }
        Ok(Some(options))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
