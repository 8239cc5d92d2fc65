//! Which processors a thread may use.

use anyhow::{Context, Result, ensure};
use globalcounter::server::affinity;
use nix::sched::CpuSet;

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
