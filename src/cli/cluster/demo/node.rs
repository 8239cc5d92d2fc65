//! A node of the demo: a process of this program.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::process::{LOOK_PERIOD, Process};

/// How long a node may take to start. One that was killed before may still have a session.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Enough for a demo, and within every usual limit on open files.
const MAX_CONNECTIONS: &str = "500";

#[derive(Debug)]
pub(super) struct Node {
    name: &'static str,
    pub(super) process: Process,
    ready: Arc<Mutex<Ready>>,
}

/// What a node has printed since it is ready.
#[derive(Debug, Default)]
struct Ready {
    tcp: Option<SocketAddr>,
    /// The URL of its page, which is printed last.
    page: Option<String>,
}

impl Node {
    pub(super) fn start(name: &'static str, url: &str) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        // Settings of a server on this machine are not for the demo.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("GLOBALCOUNTER_") || text.starts_with("LISTEN_") {
                command.env_remove(&variable);
            }
        }
        command.env_remove("NOTIFY_SOCKET");
        command.args(arguments(name, url, "127.0.0.1:0", "127.0.0.1:0"));
        let ready = Arc::new(Mutex::new(Ready::default()));
        let for_lines = ready.clone();
        let process = Process::start(name, &mut command, move |line| for_lines.lock().read(line));
        Ok(Self {
            name,
            process: process.with_context(|| format!("cannot start node {name}"))?,
            ready,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the node serves.
    pub(super) async fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        while self.addresses().is_none() {
            if let Some(status) = self.process.has_just_ended()? {
                bail!(
                    "node {} did not start ({status}): the lines above say why",
                    self.name
                );
            }
            if Instant::now() > end {
                let seconds = START_TIMEOUT.as_secs();
                bail!("node {} did not start within {seconds} s", self.name);
            }
            sleep(LOOK_PERIOD).await;
        }
        Ok(())
    }

    /// Returns where the node serves, and the URL of its page, once it is ready.
    pub(super) fn addresses(&self) -> Option<(SocketAddr, String)> {
        let ready = self.ready.lock();
        Some((ready.tcp?, ready.page.clone()?))
    }

    /// Returns the URL for clients, once it is ready.
    pub(super) fn url(&self) -> Option<String> {
        let (tcp, _) = self.addresses()?;
        Some(format!("tcp://{tcp}"))
    }

    /// Returns what starts the node again, with the addresses that it had.
    pub(super) fn command_line(&self, url: &str) -> String {
        let any = || "127.0.0.1:0".to_owned();
        let (tcp, admin) = match self.addresses() {
            Some((tcp, page)) => (
                tcp.to_string(),
                page.trim_start_matches("http://")
                    .trim_end_matches('/')
                    .to_owned(),
            ),
            None => (any(), any()),
        };
        let arguments = arguments(self.name, url, &tcp, &admin);
        format!("globalcounter {}", arguments.join(" "))
    }
}

/// Returns the arguments of a node that listens on these addresses.
fn arguments<'a>(name: &'a str, url: &'a str, tcp: &'a str, admin: &'a str) -> [&'a str; 13] {
    [
        "serve",
        "--cluster",
        url,
        "--node",
        name,
        "--tcp",
        tcp,
        "--udp",
        "off",
        "--admin",
        admin,
        "--max-connections",
        MAX_CONNECTIONS,
    ]
}

impl Ready {
    /// Takes the addresses from the lines that `serve` prints for scripts.
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("serving tcp://") {
            let address = rest.split(' ').next();
            self.tcp = address.and_then(|address| address.parse().ok());
        } else if let Some(url) = line.strip_prefix("admin ") {
            self.page = Some(format!("{}/", url.trim_end_matches('/')));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_a_server_prints() {
        let mut ready = Ready::default();
        for line in [
            "2026-01-01 INFO something serving tcp://1.1.1.1:1 with",
            "serving tcp://127.0.0.1:4001 with 2 shards",
            "admin http://127.0.0.1:4002",
        ] {
            ready.read(line);
        }
        assert_eq!(ready.tcp, Some("127.0.0.1:4001".parse().unwrap()));
        assert_eq!(ready.page.as_deref(), Some("http://127.0.0.1:4002/"));
    }
}
