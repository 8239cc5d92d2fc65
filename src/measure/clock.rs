//! A clock that is cheap to read.

use nix::time::{ClockId, clock_gettime};

/// Returns the seconds since some moment before this process started. Never goes back; the resolution
/// is one tick of the kernel.
pub(crate) fn coarse_seconds() -> u64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE) {
        Ok(time) => time.tv_sec().unsigned_abs(),
        Err(_) => 0, // Linux has had this clock since 2.6.32
    }
}
