//! How to reach etcd: the flags that `serve` and the commands of a cluster share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use globalcounter::etcd::{Location, Settings, Tls};

use super::secret::read_secret;

/// What `--cluster` accepts, as its parser says it.
const EXPECTED: &str =
    "expected etcd://HOST:PORT/PREFIX, as in etcd://10.0.0.1:2379,10.0.0.2:2379/globalcounter";

/// TLS and login of etcd.
#[derive(Debug, Args)]
pub(super) struct EtcdArguments {
    /// TLS of etcd: authorities that the certificates of its members may be of, in PEM. Without it, the
    /// connection is not encrypted
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_ETCD_CA")]
    etcd_ca: Option<PathBuf>,
    /// Certificate to show etcd, in PEM
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_ETCD_CERT")]
    etcd_cert: Option<PathBuf>,
    /// Private key of this certificate, in PEM, not encrypted
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_ETCD_KEY")]
    etcd_key: Option<PathBuf>,
    /// Name that the certificates of etcd's members must have, if it is not the host in the URL
    #[arg(
        long,
        value_name = "NAME",
        env = "GLOBALCOUNTER_ETCD_TLS_NAME",
        value_parser = parse_name
    )]
    etcd_tls_name: Option<String>,
    /// User of etcd
    #[arg(
        long,
        value_name = "NAME",
        env = "GLOBALCOUNTER_ETCD_USER",
        value_parser = parse_name
    )]
    etcd_user: Option<String>,
    /// File whose first line is the password of the user of etcd
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_ETCD_PASSWORD_FILE")]
    etcd_password_file: Option<PathBuf>,
}

/// Parses the value of `--cluster`.
pub(super) fn parse_location(text: &str) -> Result<Location, String> {
    text.parse().map_err(|_| EXPECTED.to_owned())
}

/// Parses a name: text without control characters.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains(char::is_control) {
        return Err(format!(
            "expected a name of 1 to {MAX_NAME} bytes without control characters"
        ));
    }
    Ok(text.to_owned())
}

/// The longest name, in bytes: of a user of etcd, of a host, of a node.
const MAX_NAME: usize = 255;

impl EtcdArguments {
    /// Returns the keys of the arguments that are given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("etcd_ca", self.etcd_ca.is_some()),
            ("etcd_cert", self.etcd_cert.is_some()),
            ("etcd_key", self.etcd_key.is_some()),
            ("etcd_tls_name", self.etcd_tls_name.is_some()),
            ("etcd_user", self.etcd_user.is_some()),
            ("etcd_password_file", self.etcd_password_file.is_some()),
        ];
        all.into_iter()
            .filter_map(|(key, given)| given.then_some(key))
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or an argument is missing.
    pub(super) fn settings(&self, location: Location) -> Result<Settings> {
        let mut settings = Settings::new(location);
        if let Some(tls) = self.tls()? {
            settings = settings.tls(tls);
        }
        match (&self.etcd_user, &self.etcd_password_file) {
            (Some(user), Some(file)) => Ok(settings.login(user, &read_secret(file)?)),
            (None, None) => Ok(settings),
            (Some(_), None) => bail!("--etcd-user needs a password: --etcd-password-file"),
            (None, Some(_)) => bail!("--etcd-password-file needs a user: --etcd-user"),
        }
    }

    fn tls(&self) -> Result<Option<Tls>> {
        let Some(authorities) = &self.etcd_ca else {
            let needless = ["etcd_cert", "etcd_key", "etcd_tls_name"];
            if let Some(key) = self.given().find(|key| needless.contains(key)) {
                let flag = key.replace('_', "-");
                bail!(
                    "--{flag} is for TLS, which needs the authorities of etcd's certificates: --etcd-ca"
                );
            }
            return Ok(None);
        };
        let mut tls = Tls::trusting(&read(authorities)?);
        match (&self.etcd_cert, &self.etcd_key) {
            (Some(certificate), Some(key)) => {
                tls = tls.identity(&read(certificate)?, &read(key)?);
            }
            (None, None) => {}
            _ => bail!("--etcd-cert and --etcd-key need each other"),
        }
        if let Some(name) = &self.etcd_tls_name {
            tls = tls.server_name(name);
        }
        Ok(Some(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
