//! The processors that this process may use, and pinning a thread to one.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Returns the numbers of the processors that this process may use; empty if the system does not tell.
#[must_use]
pub fn processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|&processor| allowed.is_set(processor).unwrap_or(false))
        .collect()
}

/// Pins this thread, and the threads and processes that it starts from now on, to `processor`.
///
/// # Errors
///
/// The system's error: this process may not use that processor.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &only)?;
    Ok(())
}
