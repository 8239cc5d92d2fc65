//! The members of etcd.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::network::{Network, SIZE};
use crate::support::{etcd_is_healthy, eventually, post_to_etcd};

/// The members. Dropping them kills them.
pub(crate) struct Members {
    directory: PathBuf,
    addresses: Vec<(SocketAddr, SocketAddr)>,
    /// `None`: it does not run.
    processes: Vec<Option<Child>>,
}

/// What a member says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) leads: bool,
    pub(crate) database_bytes: u64,
}

impl Members {
    /// Starts all members, and waits until they serve.
    pub(crate) fn start(directory: &Path, network: &Network) -> Self {
        let addresses = (0..SIZE).map(|member| network.member(member)).collect();
        let mut members = Self {
            directory: directory.to_owned(),
            addresses,
            processes: (0..SIZE).map(|_| None).collect(),
        };
        members.start_missing(network);
        members
    }

    /// Starts the members that do not run, and waits until all serve.
    pub(crate) fn start_missing(&mut self, network: &Network) {
        for member in 0..SIZE {
            if self.processes[member].is_none() {
                self.processes[member] = Some(self.spawn(member, network));
            }
        }
        for member in 0..SIZE {
            let (address, process) = (self.client_address(member), &mut self.processes[member]);
            eventually("a member of etcd serves", || {
                let ended = process.as_mut().unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "member {member} has ended: {ended:?}");
                etcd_is_healthy(address)
            });
        }
    }

    fn spawn(&self, member: usize, network: &Network) -> Child {
        let url = |address: SocketAddr| format!("http://{address}");
        let (clients, peers) = self.addresses[member];
        let (clients, peers) = (url(clients), url(peers));
        let all = (0..SIZE).map(|one| format!("{}={}", name(one), url(self.addresses[one].1)));
        let all = all.collect::<Vec<_>>().join(",");
        let directory = self.directory.join(name(member));
        std::fs::create_dir_all(&directory).unwrap();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join("log"));
        network
            .at_member(member, "etcd")
            .args(["--name", &name(member), "--unsafe-no-fsync", "--data-dir"])
            .arg(directory.join("data"))
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &all])
            // An hour of ceilings would be in its database.
            .args(["--auto-compaction-mode", "periodic"])
            .args(["--auto-compaction-retention", "1m"])
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap()
    }

    /// Returns the address of a member for clients.
    pub(crate) fn client_address(&self, member: usize) -> SocketAddr {
        self.addresses[member].0
    }

    /// Returns what a member says of itself; `None` if it does not answer.
    pub(crate) fn status(&self, member: usize) -> Option<Status> {
        let address = self.client_address(member);
        let answer = post_to_etcd(address, "maintenance/status", "{}").ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        let database_bytes = body["dbSize"].as_str()?.parse().ok()?;
        Some(Status {
            leads: body["header"]["member_id"] == body["leader"],
            database_bytes,
        })
    }

    /// Waits until there is a leader, and returns it.
    pub(crate) fn leader(&self) -> usize {
        let mut leader = None;
        eventually("etcd has a leader", || {
            let leads = |&member: &usize| self.status(member).is_some_and(|status| status.leads);
            leader = (0..SIZE)
                .filter(|&one| self.processes[one].is_some())
                .find(leads);
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Kills a member.
    pub(crate) fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.processes[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops a member, or continues it.
    pub(crate) fn signal(&self, member: usize, signal: Signal) {
        if let Some(child) = &self.processes[member] {
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in 0..self.processes.len() {
            if let Some(mut child) = self.processes[member].take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn name(member: usize) -> String {
    format!("member-{member}")
}
