//! What can be seen of this machine: the server's process, its processor time and memory, and what
//! the machine is. Also who runs where.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use globalcounter::server::affinity;
use nix::sched::CpuSet;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use procfs::process::{FDTarget, all_processes};
use procfs::{CpuInfo, Current};
use serde::Serialize;

/// A process of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pid: i32,
    name: String,
}

/// What a process used.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Usage {
    /// Processor time of all its threads.
    pub(crate) processor: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Process {
    /// The process with that number.
    ///
    /// # Errors
    ///
    /// There is none, or it can't be looked at.
    pub(crate) fn with_pid(pid: i32) -> Result<Self> {
        let process = procfs::process::Process::new(pid);
        let stat = process.and_then(|process| process.stat());
        let stat = stat.with_context(|| format!("there is no process {pid} to look at"))?;
        Ok(Self {
            pid,
            name: stat.comm,
        })
    }

    /// The process that listens at `server`, where it is one of this machine and may be looked at.
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

    /// What it has used since it began; `None` when it is gone.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let process = procfs::process::Process::new(self.pid).ok()?;
        let stat = process.stat().ok()?;
        // To the nanosecond, of all its threads, those that have ended too; where the kernel does
        // not tell it, in ticks of a hundredth of a second.
        let exact = || {
            let clock = clock_getcpuclockid(Pid::from_raw(self.pid)).ok()?;
            Some(Duration::from(clock.now().ok()?))
        };
        let in_ticks = || {
            let ticks = stat.utime + stat.stime;
            Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
        };
        Some(Usage {
            processor: exact().unwrap_or_else(in_ticks),
            resident: stat.rss * procfs::page_size(),
        })
    }
}

/// The sockets of this machine that receive what is sent to `server`, by their inodes.
fn listeners(server: SocketAddr, udp: bool) -> HashSet<u64> {
    let hears = |local: SocketAddr| {
        let any = local.ip().is_unspecified() && server.ip().is_loopback();
        local.port() == server.port() && (local.ip() == server.ip() || any)
    };
    if udp {
        let tables = [procfs::net::udp(), procfs::net::udp6()];
        // Connected ones belong to clients.
        let entries = tables.into_iter().flatten().flatten();
        let bound = entries.filter(|entry| entry.remote_address.port() == 0);
        bound
            .filter(|entry| hears(entry.local_address))
            .map(|entry| entry.inode)
            .collect()
    } else {
        let tables = [procfs::net::tcp(), procfs::net::tcp6()];
        let entries = tables.into_iter().flatten().flatten();
        let listening = entries.filter(|entry| entry.state == procfs::net::TcpState::Listen);
        listening
            .filter(|entry| hears(entry.local_address))
            .map(|entry| entry.inode)
            .collect()
    }
}

/// Keeps this thread, and what it starts from now on, on `processor`.
///
/// # Errors
///
/// It is none that this process may use.
pub(crate) fn pin(processor: usize) -> Result<()> {
    ensure!(
        processor < CpuSet::count(),
        "there is no processor {processor}"
    );
    affinity::pin(processor)
        .with_context(|| format!("keeping a thread on processors [{processor}]"))
}

/// What a measurement was made on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environment {
    /// The processor's name.
    pub(crate) processor: String,
    /// How many of them this process may use.
    pub(crate) processors: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// When it was made: UTC, RFC 3339.
    pub(crate) date: String,
    /// The version of this program.
    pub(crate) version: &'static str,
    /// The command line.
    pub(crate) command: String,
}

impl Environment {
    /// This machine, now.
    pub(crate) fn here() -> Self {
        let cpu = CpuInfo::current().ok();
        let model = cpu.and_then(|cpu| cpu.model_name(0).map(str::to_owned));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let memory = procfs::Meminfo::current().map_or(0, |memory| memory.mem_total);
        Self {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: affinity::processors().len(),
            kernel: kernel.trim().to_owned(),
            memory,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            version: env!("CARGO_PKG_VERSION"),
            command: command_line(),
        }
    }
}

/// The command line without the folder that the program lies in.
fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
