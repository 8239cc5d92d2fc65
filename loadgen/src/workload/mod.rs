//! What is asked, request by request: which method, of which topic, and when. Everything here comes
//! from a seed: the same seed asks the same. Knows no sockets and no protocol but its methods.

mod arrivals;
mod distribution;
mod mix;
mod names;
mod requests;
mod rng;

use std::sync::Arc;

pub(crate) use arrivals::{Arrivals, Spacing};
pub(crate) use distribution::Distribution;
#[cfg(test)]
pub(crate) use mix::ADD;
pub(crate) use mix::{Mix, method_name};
pub(crate) use names::Names;
pub(crate) use requests::{Request, Requests, Topics};

/// What is asked: of which topics, how often each, by which methods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) names: Names,
    pub(crate) distribution: Distribution,
    pub(crate) mix: Mix,
    pub(crate) seed: u64,
}

impl Workload {
    /// The requests of connection or thread number `stream`: each has its own, whatever the others
    /// do and how fast the server is. With `own`, they are all of these topics.
    pub(crate) fn requests(&self, stream: usize, own: Option<Arc<[u32]>>) -> Requests {
        let rng = rng::of_stream(self.seed, stream);
        let choice = self.distribution.choice(self.names.count(), own);
        Requests::drawn(rng, choice, self.mix.clone())
    }

    /// When the requests of thread number `stream` out of `among` are due, `rate` a second of all.
    pub(crate) fn arrivals(
        &self,
        stream: usize,
        among: usize,
        rate: f64,
        spacing: Spacing,
    ) -> Arrivals {
        // Another generator than the requests': with one, the spacing would change the requests.
        let rng = rng::of_stream(self.seed, usize::MAX - stream);
        Arrivals::new(rate, stream, among, spacing, rng)
    }
}

#[cfg(test)]
mod tests;
