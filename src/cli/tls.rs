//! TLS of `globalcounter serve`: its flags, and the certificates that it loads again while it runs.

use std::convert::Infallible;
use std::fs;
use std::future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use clap::builder::BoolishValueParser;
use globalcounter::server::{Tls, TlsConfig, TlsFiles};
use tokio::time::{self, Interval, MissedTickBehavior};
use tracing::{error, info};

use super::listen::Listen;
use super::settings::{Mistakes, Settings};

/// How often the files are looked at. They are loaded when two looks find the same change, because
/// certificate and key are written one after the other.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The value that names no file.
const NO_FILE: &str = "";

#[derive(Debug, Args)]
pub(super) struct TlsArguments {
    /// Address to serve TLS on, or "off". Clients speak the framed, the classic or the Redis dialect
    /// there, as over TCP
    #[arg(
        long,
        value_name = "ADDR|off",
        env = "GLOBALCOUNTER_TLS",
        default_value_t = Listen(None)
    )]
    tls: Listen,
    /// Certificate of the server, in PEM, followed by those of intermediate authorities. Read again
    /// when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "GLOBALCOUNTER_TLS_CERT",
        value_parser = parse_path,
        default_value = NO_FILE,
        hide_default_value = true
    )]
    tls_cert: PathBuf,
    /// Private key of the certificate, in PEM, not encrypted
    #[arg(
        long,
        value_name = "FILE",
        env = "GLOBALCOUNTER_TLS_KEY",
        value_parser = parse_path,
        default_value = NO_FILE,
        hide_default_value = true
    )]
    tls_key: PathBuf,
    /// Authorities of client certificates, in PEM. With it, only clients with a certificate of one
    /// of them are served over TLS
    #[arg(
        long,
        value_name = "FILE",
        env = "GLOBALCOUNTER_TLS_CA",
        value_parser = parse_path,
        default_value = NO_FILE,
        hide_default_value = true
    )]
    tls_ca: PathBuf,
    /// Serve the admin port over HTTPS, with the certificate, the key and the authorities above
    #[arg(long, env = "GLOBALCOUNTER_ADMIN_TLS", value_parser = BoolishValueParser::new())]
    admin_tls: bool,
}

/// What the settings say about TLS.
#[derive(Debug, Default)]
pub(super) struct ResolvedTls {
    /// TLS of the server; `None` if it is off.
    pub(super) server: Option<TlsConfig>,
    /// The files of the admin port; `None` if it speaks HTTP.
    pub(super) admin: Option<TlsFiles>,
}

fn parse_path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

/// Returns the file that a flag names, if it names one.
fn named(path: &Path) -> Option<PathBuf> {
    (path != Path::new(NO_FILE)).then(|| path.into())
}

impl TlsArguments {
    /// Returns the configuration. Notes in `settings` what is not used if TLS is off.
    pub(super) fn resolve(&self, settings: &mut Settings, mistakes: &mut Mistakes) -> ResolvedTls {
        let [certificate, key, clients] =
            [&self.tls_cert, &self.tls_key, &self.tls_ca].map(|path| named(path));
        let address = self.tls.0;
        if address.is_none() && !self.admin_tls {
            let files = [&certificate, &key, &clients];
            for (name, file) in ["tls_cert", "tls_key", "tls_ca"].into_iter().zip(files) {
                if file.is_some() {
                    settings.overrule(name, "tls");
                }
            }
            return ResolvedTls::default();
        }
        let (Some(certificate), Some(key)) = (certificate, key) else {
            let flag = if address.is_some() {
                "--tls"
            } else {
                "--admin-tls"
            };
            mistakes.add(format!(
                "{flag} needs a certificate and its key: --tls-cert and --tls-key"
            ));
            return ResolvedTls::default();
        };
        let files = TlsFiles {
            certificate,
            key,
            clients,
        };
        ResolvedTls {
            admin: self.admin_tls.then(|| files.clone()),
            server: address.map(|address| TlsConfig { address, files }),
        }
    }

    /// Returns the scheme of the admin port's URL.
    pub(super) fn admin_scheme(&self) -> &'static str {
        if self.admin_tls { "https" } else { "http" }
    }
}

/// The certificates of a running server and its admin port, and their files, which are the same. Without
/// TLS it does nothing.
pub(super) struct Certificates(Option<Watched>);

struct Watched {
    files: TlsFiles,
    /// Those who use the files.
    users: Vec<Tls>,
    /// The state of the files when they were last loaded, and when they were last looked at.
    loaded: Vec<Option<Stamp>>,
    seen: Vec<Option<Stamp>>,
    looks: Interval,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    inode: u64,
    len: u64,
}

impl Certificates {
    /// Watches the files of those who use them. Must be called in a runtime.
    pub(super) fn new(users: impl IntoIterator<Item = Tls>) -> Self {
        let users: Vec<Tls> = users.into_iter().collect();
        Self(users.first().map(Tls::files).map(|files| {
            let stamps = stamps(&files);
            let mut looks = time::interval(LOOK_PERIOD);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Watched {
                files,
                users,
                loaded: stamps.clone(),
                seen: stamps,
                looks,
            }
        }))
    }

    /// Waits until the files have changed.
    pub(super) async fn changed(&mut self) {
        let Some(watched) = &mut self.0 else {
            return future::pending().await;
        };
        loop {
            watched.looks.tick().await;
            let now = stamps(&watched.files);
            if now == watched.seen && now != watched.loaded {
                return;
            }
            watched.seen = now;
        }
    }

    /// Loads the files again. If that fails, the certificates that are in use stay.
    pub(super) fn reload(&mut self) {
        let Some(watched) = &mut self.0 else {
            return;
        };
        watched.loaded = stamps(&watched.files);
        let certificate = watched.files.certificate.display();
        match watched.users.iter().try_for_each(Tls::reload) {
            Ok(()) => info!(%certificate, "loaded the TLS files again, for new connections"),
            Err(error) => error!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "cannot load the TLS files again; the earlier certificate stays in use"
            ),
        }
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let clients = files.clients.as_deref();
    let all = [Some(&*files.certificate), Some(&*files.key), clients];
    all.into_iter().flatten().map(stamp).collect()
}

/// Returns the state of a file; `None` if there is no such file.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        inode: metadata.ino(),
        len: metadata.len(),
    })
}
