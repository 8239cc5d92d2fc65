//! The machine that a measurement is made on.

use std::time::SystemTime;

use globalcounter::server::affinity;
use procfs::{CpuInfo, Current};
use serde::Serialize;

/// The environment of a measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environment {
    /// The processor's name.
    pub(crate) processor: String,
    /// How many processors this process may use.
    pub(crate) processors: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// When the measurement was made: UTC, RFC 3339.
    pub(crate) date: String,
    /// The version of this program.
    pub(crate) version: &'static str,
    /// The command line.
    pub(crate) command: String,
}

impl Environment {
    /// Returns this machine's, now.
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

/// Returns the command line without the program's folder.
fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
