//! What systemd and `serve` tell each other: the sockets that systemd passes (socket activation), when
//! the server is ready, that it stops, and for the watchdog that its workers run. Without systemd, all
//! of it does nothing.

use std::convert::Infallible;
use std::env;
use std::future;
use std::net::{SocketAddr, TcpListener};
use std::process;
use std::time::Duration;

use anyhow::{Result, bail};
use globalcounter::server::{Inherited, Monitor, Pulse, State};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time;
use tracing::{error, warn};

/// The names of the sockets of TLS, and of the admin port's (`FileDescriptorName=` in a socket unit). Other
/// names are not looked at.
const TLS: &str = "tls";
const ADMIN: &str = "admin";

/// How often workers beat and how often they are looked at, within the watchdog's time. A look sees at
/// least one beat of a worker that runs, and two looks fit before systemd gives up.
const BEATS: u32 = 6;
const LOOKS: u32 = 3;

/// The sockets that systemd passes to this process.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) inherited: Inherited,
    pub(super) admin: Option<TcpListener>,
}

/// The addresses of the sockets that systemd passes. They replace those of the settings.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedAddresses {
    pub(super) tcp: Vec<SocketAddr>,
    pub(super) udp: Vec<SocketAddr>,
    pub(super) tls: Vec<SocketAddr>,
    pub(super) admin: Vec<SocketAddr>,
}

impl Passed {
    /// Returns the addresses of the sockets.
    pub(super) fn addresses(&self) -> PassedAddresses {
        let listeners = |all: &[TcpListener]| {
            let addresses = all.iter().map(TcpListener::local_addr);
            addresses.filter_map(Result::ok).collect()
        };
        let udp = self.inherited.udp.iter();
        PassedAddresses {
            tcp: listeners(&self.inherited.tcp),
            udp: udp.filter_map(|socket| socket.local_addr().ok()).collect(),
            tls: listeners(&self.inherited.tls),
            admin: listeners(self.admin.as_slice()),
        }
    }

    /// Takes the sockets, as sd_listen_fds(3) describes them.
    ///
    /// # Errors
    ///
    /// One of them is neither TCP nor UDP, or several are named admin.
    pub(super) fn take() -> Result<Self> {
        let mut passed = Self::default();
        // The variables may have been meant for a parent of this process.
        let own = process::id().to_string();
        if env::var("LISTEN_PID").is_ok_and(|pid| pid == own) {
            let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
            let mut names = names.split(':');
            let mut sockets = ListenFd::from_env();
            for index in 0..sockets.len() {
                let name = names.next().unwrap_or_default();
                passed.add(&mut sockets, index, name)?;
            }
        }
        Ok(passed)
    }

    fn add(&mut self, sockets: &mut ListenFd, index: usize, name: &str) -> Result<()> {
        if let Ok(Some(listener)) = sockets.take_tcp_listener(index) {
            match name {
                TLS => self.inherited.tls.push(listener),
                ADMIN if self.admin.is_some() => {
                    bail!(
                        "systemd passed several sockets named {ADMIN:?}; the admin port needs one"
                    )
                }
                ADMIN => self.admin = Some(listener),
                _ => self.inherited.tcp.push(listener),
            }
            return Ok(());
        }
        if ![TLS, ADMIN].contains(&name)
            && let Ok(Some(socket)) = sockets.take_udp_socket(index)
        {
            self.inherited.udp.push(socket);
            return Ok(());
        }
        bail!(
            "systemd passed a socket that cannot be served (number {index}, named {name:?}): \
             ListenStream= and ListenDatagram= need an IP address and a port"
        )
    }
}

/// Returns the time after which systemd restarts a server that does not tell that it runs; `None`
/// without a watchdog.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

/// Returns how often the workers must beat for the watchdog.
pub(super) fn beat_period(watchdog: Option<Duration>) -> Option<Duration> {
    watchdog.map(|time| time / BEATS)
}

/// Tells systemd that the server loads its topics.
pub(super) fn loading() {
    notify(&[NotifyState::Status("loading the data directory")]);
}

/// Tells systemd that the server stops.
pub(super) fn stopping() {
    let status = NotifyState::Status("finishing requests already received");
    notify(&[NotifyState::Stopping, status]);
}

/// Tells systemd when the server is ready. From then on, tells the watchdog that it runs, as long as
/// each worker makes progress. A server that stops has its own time limit at systemd (TimeoutStopSec).
pub(super) async fn attend(
    mut pulse: Pulse,
    monitor: Monitor,
    watchdog: Option<Duration>,
    status: String,
) -> Infallible {
    pulse.serving().await;
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let Some(watchdog) = watchdog else {
        return future::pending().await;
    };
    let mut looks = time::interval(watchdog / LOOKS);
    looks.tick().await; // the first one is at once
    let mut advanced = true;
    loop {
        looks.tick().await;
        if monitor.state() == State::Stopping {
            notify(&[NotifyState::Watchdog]);
            continue;
        }
        let before = advanced;
        advanced = pulse.advanced();
        if advanced {
            notify(&[NotifyState::Watchdog]);
        } else if before {
            error!(
                "a worker makes no progress; unless it continues, systemd's watchdog restarts the server"
            );
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify systemd (NOTIFY_SOCKET)");
    }
}
