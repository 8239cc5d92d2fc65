//! What is asked, request by request: which method, of which topic, and when. Everything here comes
//! from a seed: the same seed asks the same. Knows no sockets and no protocol but its methods.

mod arrivals;
mod distribution;
mod mix;
mod names;

use std::sync::Arc;

use globalcounter::protocol::Op;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub(crate) use arrivals::{Arrivals, Spacing};
pub(crate) use distribution::Distribution;
#[cfg(test)]
pub(crate) use mix::ADD;
pub(crate) use mix::{Mix, method_name};
pub(crate) use names::Names;

/// The generator behind every draw: small, fast, and the same on every machine and in every
/// version, so that a seed keeps its meaning.
type Rng = Xoshiro256PlusPlus;

/// What is asked: of which topics, how often each, by which methods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) names: Names,
    pub(crate) distribution: Distribution,
    pub(crate) mix: Mix,
    pub(crate) seed: u64,
}

/// One request: what to do to the topic of that number.
pub(crate) type Request = (Op, u32);

/// The requests of one connection, or of one thread: endless and drawn, or each topic once.
#[derive(Debug)]
pub(crate) enum Requests {
    Drawn(Drawn),
    Each { op: Op, topics: TopicRange },
}

/// Which topics out of all.
pub(crate) type TopicRange = std::iter::StepBy<std::ops::Range<u32>>;

/// Requests as a [`Workload`] says, from its seed.
#[derive(Debug)]
pub(crate) struct Drawn {
    rng: Rng,
    choice: distribution::Choice,
    mix: Mix,
}

impl Workload {
    /// The requests of connection or thread number `stream`: each has its own, whatever the others
    /// do and how fast the server is. With `own`, they are all of these topics.
    pub(crate) fn requests(&self, stream: usize, own: Option<Arc<[u32]>>) -> Requests {
        Requests::Drawn(Drawn {
            rng: self.rng(stream),
            choice: self.distribution.choice(self.names.count(), own),
            mix: self.mix.clone(),
        })
    }

    /// When the requests of thread number `stream` are due, `rate` a second.
    pub(crate) fn arrivals(&self, stream: usize, rate: f64, spacing: Spacing) -> Arrivals {
        // Another generator than the requests': with one, the spacing would change the requests.
        Arrivals::new(rate, spacing, self.rng(usize::MAX - stream))
    }

    fn rng(&self, stream: usize) -> Rng {
        Rng::seed_from_u64(self.seed.wrapping_add(stream as u64))
    }
}

impl Requests {
    /// Each topic once: of all `topics`, those of connection `number` out of `connections`.
    pub(crate) fn each(op: Op, topics: u32, number: usize, connections: usize) -> Self {
        let first = u32::try_from(number).unwrap_or(topics).min(topics);
        Self::Each {
            op,
            topics: (first..topics).step_by(connections),
        }
    }

    /// The next request; `None` where there are no more.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Request> {
        match self {
            Self::Drawn(Drawn { rng, choice, mix }) => Some((mix.draw(rng), choice.draw(rng))),
            Self::Each { op, topics } => Some((*op, topics.next()?)),
        }
    }
}

#[cfg(test)]
mod tests;
