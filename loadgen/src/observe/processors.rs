//! Pins threads to processors.

use anyhow::{Context, Result, ensure};
use globalcounter::server::affinity;
use nix::sched::CpuSet;

/// Pins this thread, and the threads and processes that it starts later, to `processor`.
///
/// # Errors
///
/// This process may not use it.
pub(crate) fn pin(processor: usize) -> Result<()> {
    ensure!(processor < CpuSet::count(), "there is no CPU {processor}");
    affinity::pin(processor).with_context(|| format!("pinning a thread to CPU {processor}"))
}
