//! What is asked, request by request: which method, of which topic, and when. Everything here comes
//! from a seed: the same seed asks the same. Knows no sockets and no protocol but its methods.

mod arrivals;
mod distribution;
mod mix;
mod names;

use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;

use globalcounter::protocol::Op;
use rand::{RngExt, SeedableRng};
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
    Each {
        op: Op,
        topics: Topics,
        /// Which of `topics`.
        places: StepBy<Range<usize>>,
    },
}

/// Topics, each once.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
    /// The first so many.
    First(u32),
    These(Arc<[u32]>),
}

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

    /// When the requests of thread number `stream` out of `among` are due, `rate` a second of all.
    pub(crate) fn arrivals(
        &self,
        stream: usize,
        among: usize,
        rate: f64,
        spacing: Spacing,
    ) -> Arrivals {
        // Another generator than the requests': with one, the spacing would change the requests.
        let rng = self.rng(usize::MAX - stream);
        Arrivals::new(rate, stream, among, spacing, rng)
    }

    fn rng(&self, stream: usize) -> Rng {
        // Scattered first: or a seed's second stream would be the next seed's first.
        let scattered: u64 = Rng::seed_from_u64(self.seed).random();
        Rng::seed_from_u64(scattered.wrapping_add(stream as u64))
    }
}

impl Topics {
    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::First(count) => *count as usize,
            Self::These(topics) => topics.len(),
        }
    }

    fn at(&self, place: usize) -> u32 {
        match self {
            Self::First(_) => place as u32,
            Self::These(topics) => topics[place],
        }
    }
}

impl Requests {
    /// Each topic once: of all `topics`, those of connection `number` out of `connections`.
    pub(crate) fn each(op: Op, topics: Topics, number: usize, connections: usize) -> Self {
        let places = number.min(topics.len())..topics.len();
        Self::Each {
            op,
            topics,
            places: places.step_by(connections),
        }
    }

    /// The next request; `None` where there are no more.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Request> {
        match self {
            Self::Drawn(Drawn { rng, choice, mix }) => Some((mix.draw(rng), choice.draw(rng))),
            Self::Each { op, topics, places } => Some((*op, topics.at(places.next()?))),
        }
    }
}

#[cfg(test)]
mod tests;
