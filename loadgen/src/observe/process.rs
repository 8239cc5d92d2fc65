//! The server's process: how to find it by its port, and what it uses.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use procfs::process::{FDTarget, all_processes};
use serde::Serialize;

use super::threads::Threads;

/// A process of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pid: i32,
    name: String,
}

/// The resources that a process used.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Usage {
    /// CPU time of all its threads.
    pub(crate) processor: Duration,
    /// The part of it outside the kernel, in whole clock ticks. Most kernels sample it at every tick.
    pub(crate) user: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// Returns what was used since `earlier`; the memory is that of now.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(earlier.processor),
            user: self.user.saturating_sub(earlier.user),
            resident: self.resident,
        }
    }
}

impl Process {
    /// Returns the process with this id.
    ///
    /// # Errors
    ///
    /// There is none, or it may not be observed.
    pub(crate) fn with_pid(pid: i32) -> Result<Self> {
        let process = procfs::process::Process::new(pid);
        let stat = process.and_then(|process| process.stat());
        let stat =
            stat.with_context(|| format!("there is no process {pid} that can be observed"))?;
        Ok(Self {
            pid,
            name: stat.comm,
        })
    }

    /// Returns the process that listens at `server`, if it is on this machine and may be observed.
    pub(crate) fn listening_at(server: SocketAddr, udp: bool) -> Option<Self> {
        let sockets = listeners(server, udp);
        if sockets.is_empty() {
            return None;
        }
        let owns = |process: &procfs::process::Process| {
            process.fd().is_ok_and(|descriptors| {
                descriptors.flatten().any(|descriptor| {
                    matches!(descriptor.target, FDTarget::Socket(inode) if sockets.contains(&inode))
                })
            })
        };
        let process = all_processes().ok()?.flatten().find(owns)?;
        Self::with_pid(process.pid).ok()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns its current threads.
    pub(crate) fn threads(&self) -> Threads {
        Threads::of(self.pid)
    }

    /// Returns what it has used since it started. `None` if it is gone.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let process = procfs::process::Process::new(self.pid).ok()?;
        let stat = process.stat().ok()?;
        // In nanoseconds, of all threads, also those that have ended. If the kernel does not support
        // that, in ticks of a hundredth of a second.
        let exact = || {
            let clock = clock_getcpuclockid(Pid::from_raw(self.pid)).ok()?;
            Some(Duration::from(clock.now().ok()?))
        };
        let in_ticks =
            |ticks: u64| Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
        Some(Usage {
            processor: exact().unwrap_or_else(|| in_ticks(stat.utime + stat.stime)),
            user: in_ticks(stat.utime),
            resident: stat.rss * procfs::page_size(),
        })
    }
}

/// Returns the inodes of this machine's sockets that receive what is sent to `server`.
fn listeners(server: SocketAddr, udp: bool) -> HashSet<u64> {
    let receives = |local: SocketAddr| {
        let any = local.ip().is_unspecified() && server.ip().is_loopback();
        local.port() == server.port() && (local.ip() == server.ip() || any)
    };
    if udp {
        let tables = [procfs::net::udp(), procfs::net::udp6()];
        // Connected sockets belong to clients.
        let entries = tables.into_iter().flatten().flatten();
        let bound = entries.filter(|entry| entry.remote_address.port() == 0);
        bound
            .filter(|entry| receives(entry.local_address))
            .map(|entry| entry.inode)
            .collect()
    } else {
        let tables = [procfs::net::tcp(), procfs::net::tcp6()];
        let entries = tables.into_iter().flatten().flatten();
        let listening = entries.filter(|entry| entry.state == procfs::net::TcpState::Listen);
        listening
            .filter(|entry| receives(entry.local_address))
            .map(|entry| entry.inode)
            .collect()
    }
}

#[cfg(test)]
mod tests;
