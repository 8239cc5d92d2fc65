//! The sequence of requests of one connection or one thread.

use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;

use globalcounter::protocol::Op;

use super::distribution::Choice;
use super::mix::Mix;
use super::rng::Rng;

/// One request: the method and the number of the topic.
pub(crate) type Request = (Op, u32);

/// The requests of one connection or one thread: endless random ones, or each topic once.
#[derive(Debug)]
pub(crate) enum Requests {
    Drawn(Drawn),
    Each {
        op: Op,
        topics: Topics,
        /// Indices into `topics`.
        indices: StepBy<Range<usize>>,
    },
}

/// A set of topics.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
    /// The topics from 0 up to this number, exclusive.
    First(u32),
    These(Arc<[u32]>),
}

/// Random requests of a [`Workload`](super::Workload).
#[derive(Debug)]
pub(crate) struct Drawn {
    rng: Rng,
    choice: Choice,
    mix: Mix,
}

impl Topics {
    /// Returns the number of topics.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::First(count) => *count as usize,
            Self::These(topics) => topics.len(),
        }
    }

    fn at(&self, index: usize) -> u32 {
        match self {
            Self::First(_) => index as u32,
            Self::These(topics) => topics[index],
        }
    }
}

impl Requests {
    /// Returns endless random requests.
    pub(super) fn drawn(rng: Rng, choice: Choice, mix: Mix) -> Self {
        Self::Drawn(Drawn { rng, choice, mix })
    }

    /// Returns one request per topic, for the share of connection `number` out of `connections`.
    pub(crate) fn each(op: Op, topics: Topics, number: usize, connections: usize) -> Self {
        let indices = number.min(topics.len())..topics.len();
        Self::Each {
            op,
            topics,
            indices: indices.step_by(connections),
        }
    }

    /// Returns the next request. `None` if there are no more.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Request> {
        match self {
            Self::Drawn(Drawn { rng, choice, mix }) => Some((mix.draw(rng), choice.draw(rng))),
            Self::Each {
                op,
                topics,
                indices,
            } => Some((*op, topics.at(indices.next()?))),
        }
    }
}
