//! Clocks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::cluster::Moment;

/// Returns the moment by `CLOCK_BOOTTIME`, which never jumps and runs while the machine is suspended.
/// Deadlines in a cluster are compared with it.
#[cfg_attr(not(feature = "cluster"), allow(unreachable_pub))]
pub fn boot_time() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock since 2.6.39");
    Moment::new(Duration::from(time))
}

/// Returns the seconds since some moment before this process started. Never goes back; the resolution
/// is one tick of the kernel.
pub(crate) fn coarse_seconds() -> u64 {
    coarse_time().as_secs()
}

/// Returns the nanoseconds on the same clock.
pub(crate) fn coarse_nanoseconds() -> u64 {
    coarse_time().as_nanos() as u64 // enough for centuries
}

fn coarse_time() -> Duration {
    // Linux has had this clock since 2.6.32.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}
