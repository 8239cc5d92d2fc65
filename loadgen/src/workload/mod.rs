//! The requests of a run: the method, topic and time of each. All of it comes from a seed: the same
//! seed makes the same requests. Knows no sockets, and of the protocol only its methods.

mod arrivals;
mod distribution;
mod mix;
mod names;
mod requests;
mod rng;

use std::sync::Arc;

pub(crate) use arrivals::{Arrivals, Spacing};
pub(crate) use distribution::Distribution;
pub(crate) use mix::{ADD, Mix, method_name};
pub(crate) use names::Names;
pub(crate) use requests::{Request, Requests, Topics};

/// The topics, how often each is requested, and by which methods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) names: Names,
    pub(crate) distribution: Distribution,
    pub(crate) mix: Mix,
    pub(crate) seed: u64,
}

impl Workload {
    /// Returns the requests of connection or thread number `stream`. They do not depend on other
    /// streams or on the server's speed. With `own`, only these topics are requested.
    pub(crate) fn requests(&self, stream: usize, own: Option<Arc<[u32]>>) -> Requests {
        let rng = rng::of_stream(self.seed, stream);
        let choice = self.distribution.choice(self.names.count(), own);
        Requests::drawn(rng, choice, self.mix.clone())
    }

    /// Returns when the requests of thread number `stream` out of `among` are due. All threads
    /// together make `rate` requests per second.
    pub(crate) fn arrivals(
        &self,
        stream: usize,
        among: usize,
        rate: f64,
        spacing: Spacing,
    ) -> Arrivals {
        // A generator of its own: with the requests' one, the spacing would change the requests.
        let rng = rng::of_stream(self.seed, usize::MAX - stream);
        Arrivals::new(rate, stream, among, spacing, rng)
    }
}

#[cfg(test)]
mod tests;
