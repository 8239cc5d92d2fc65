//! The requests of one connection or one thread, one after another.

use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;

use globalcounter::protocol::Op;

use super::distribution::Choice;
use super::mix::Mix;
use super::rng::Rng;

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

/// Requests as a [`Workload`](super::Workload) says, from its seed.
#[derive(Debug)]
pub(crate) struct Drawn {
    rng: Rng,
    choice: Choice,
    mix: Mix,
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
    /// Endless requests that are drawn at random.
    pub(super) fn drawn(rng: Rng, choice: Choice, mix: Mix) -> Self {
        Self::Drawn(Drawn { rng, choice, mix })
    }

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
