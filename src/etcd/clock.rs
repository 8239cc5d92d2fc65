//! The clock that measures deadlines.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::cluster::Moment;

/// Returns the moment by `CLOCK_BOOTTIME`, which never jumps and runs while the machine is suspended. A
/// deadline of [`Shards::set_deadline`](super::Shards::set_deadline) is compared with it.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock since 2.6.39");
    Moment::new(Duration::from(time))
}
