//! Pins threads to processors.

use anyhow::{Context, Result, ensure};
use globalcounter::server::affinity;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Pins this thread, and the threads and processes that it starts later, to `processor`.
///
/// # Errors
///
/// This process may not use it.
pub(crate) fn pin(processor: usize) -> Result<()> {
    ensure!(processor < CpuSet::count(), "there is no CPU {processor}");
    affinity::pin(processor).with_context(|| format!("pinning a thread to CPU {processor}"))
}

/// Like [`pin`], but lets them use any of `processors`.
///
/// # Errors
///
/// This process may not use them.
pub(crate) fn pin_to(processors: &[usize]) -> Result<()> {
    let mut allowed = CpuSet::new();
    for &processor in processors {
        let set = allowed.set(processor);
        set.with_context(|| format!("there is no CPU {processor}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &allowed)
        .with_context(|| format!("pinning a thread to CPUs {processors:?}"))
}
