//! The etcd of the demo: one member.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use globalcounter::etcd::{Location, Operator, Settings};
use tokio::time::{Instant, sleep};

use super::directory::Directory;
use super::process::{LOOK_PERIOD, Process};

/// How long etcd may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The prefix of the demo's keys.
const PREFIX: &str = "/demo";

#[derive(Debug)]
pub(super) struct Etcd {
    pub(super) process: Process,
    port: u16,
}

impl Etcd {
    /// Starts etcd. Of its log, it prints errors.
    pub(super) fn start(directory: &Directory) -> Result<Self> {
        // Another process may take one of them first; then etcd says so and ends.
        let (port, peer_port) = free_ports().context("cannot find free ports")?;
        let clients = format!("http://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{peer_port}");
        let mut command = Command::new("etcd");
        command
            .args(["--name", "demo", "--data-dir"])
            .arg(directory.path().join("etcd"))
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("demo={peers}")])
            .args(["--logger", "zap", "--log-level", "error"])
            .args(["--log-outputs", "stderr"]);
        match Process::start("etcd", &mut command, |_| {}) {
            Ok(process) => Ok(Self { process, port }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "the demo needs etcd, and there is no program of this name: install it (Debian: \
                 apt-get install etcd-server), or put it into the PATH"
            ),
            Err(error) => Err(error).context("cannot start etcd"),
        }
    }

    /// Returns the URL of the demo's cluster.
    pub(super) fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}{PREFIX}", self.port)
    }

    /// Waits until etcd answers.
    pub(super) async fn wait_until_ready(&mut self) -> Result<()> {
        let location: Location = self.url().parse()?;
        let end = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.has_just_ended()? {
                bail!("etcd did not start ({status}): the lines above say why");
            }
            match Operator::open(Settings::new(location.clone())).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    let seconds = START_TIMEOUT.as_secs();
                    return Err(error)
                        .with_context(|| format!("etcd did not answer within {seconds} s"));
                }
                Err(_) => sleep(LOOK_PERIOD).await,
            }
        }
    }
}

fn free_ports() -> io::Result<(u16, u16)> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (free()?, free()?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}
