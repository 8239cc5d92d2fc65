//! Counting and measuring for those who watch a server. Each counter and histogram has one writer, so
//! adding to it needs no locked instruction; any thread may read it. Also has clocks,
//! and a limit on log lines. Knows nothing of what is measured.

mod clock;
mod counter;
mod heavy_hitters;
mod histogram;
mod log_limit;
mod sampler;

#[cfg_attr(not(feature = "cluster"), allow(unreachable_pub))]
pub use clock::boot_time;
pub(crate) use clock::{coarse_nanoseconds, coarse_seconds};
pub(crate) use counter::Counter;
pub(crate) use heavy_hitters::{HeavyHitters, Occurrences};
pub use histogram::Distribution;
pub(crate) use histogram::Histogram;
pub(crate) use log_limit::LogLimit;
pub(crate) use sampler::Sampler;
