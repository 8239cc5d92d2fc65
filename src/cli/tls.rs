//! TLS of `globalcounter serve`: its flags, and the certificates that it loads again while it runs.

use std::convert::Infallible;
use std::fs;
use std::future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
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
}

fn parse_path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

/// Returns the file that a flag names, if it names one.
fn named(path: &Path) -> Option<PathBuf> {
    (path != Path::new(NO_FILE)).then(|| path.into())
}

impl TlsArguments {
    /// Returns the configuration; `None` if TLS is off. Notes in `settings` what is not used then.
    pub(super) fn resolve(
        &self,
        settings: &mut Settings,
        mistakes: &mut Mistakes,
    ) -> Option<TlsConfig> {
        let [certificate, key, clients] =
            [&self.tls_cert, &self.tls_key, &self.tls_ca].map(|path| named(path));
        let Some(address) = self.tls.0 else {
            let files = [&certificate, &key, &clients];
            for (name, file) in ["tls_cert", "tls_key", "tls_ca"].into_iter().zip(files) {
                if file.is_some() {
                    settings.overrule(name, "tls");
                }
            }
            return None;
        };
        let (Some(certificate), Some(key)) = (certificate, key) else {
            mistakes
                .add("--tls needs a certificate and its key: --tls-cert and --tls-key".to_owned());
            return None;
        };
        Some(TlsConfig {
            address,
            files: TlsFiles {
                certificate,
                key,
                clients,
            },
        })
    }
}

/// The certificates of a running server, and their files. Without TLS it does nothing.
pub(super) struct Certificates(Option<Watched>);

struct Watched {
    tls: Tls,
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
    /// Watches the files of a server. Must be called in a runtime.
    pub(super) fn new(tls: Option<Tls>) -> Self {
        Self(tls.map(|tls| {
            let stamps = stamps(&tls.files());
            let mut looks = time::interval(LOOK_PERIOD);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Watched {
                tls,
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
            let now = stamps(&watched.tls.files());
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
        let files = watched.tls.files();
        watched.loaded = stamps(&files);
        let certificate = files.certificate.display();
        match watched.tls.reload() {
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
