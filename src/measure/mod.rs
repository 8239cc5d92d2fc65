//! Counting and measuring for those who watch a server. Each counter and histogram has one writer, so
//! adding to it needs no locked instruction; any thread may read it. Knows nothing of what is
//! measured.

mod counter;
mod heavy_hitters;
mod histogram;
mod sampler;

pub(crate) use counter::Counter;
pub(crate) use heavy_hitters::{HeavyHitters, Occurrences};
pub use histogram::Distribution;
pub(crate) use histogram::Histogram;
pub(crate) use sampler::Sampler;
