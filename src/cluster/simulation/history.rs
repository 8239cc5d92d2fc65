//! What the clients saw, and the checks of it.

use std::collections::BTreeMap;

use super::{Micros, TopicId};

/// Identifies a request of a client.
pub(super) type OpId = u64;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was counted.
    Sum(u64),
    /// It was not applied.
    Unavailable,
    /// It may have been applied.
    Unknown,
    /// Between nodes: the receiver does not own the topic.
    NotOwner,
}

/// A COUNT of a client.
#[derive(Debug)]
pub(super) struct Op {
    topic: TopicId,
    begun_at: Micros,
    ended: Option<(Micros, Outcome)>,
    /// How often it was applied, and whether the node owned the range then.
    applied: u32,
    legitimate: bool,
}

#[derive(Debug, Default)]
pub(super) struct History {
    ops: BTreeMap<OpId, Op>,
    last: OpId,
}

impl History {
    pub(super) fn begin(&mut self, now: Micros, topic: TopicId) -> OpId {
        self.last += 1;
        let op = Op {
            topic,
            begun_at: now,
            ended: None,
            applied: 0,
            legitimate: false,
        };
        self.ops.insert(self.last, op);
        self.last
    }

    /// Notes that a request was applied. Returns what is wrong with that.
    pub(super) fn applied(&mut self, id: OpId, legitimate: bool) -> Result<(), String> {
        let op = self
            .ops
            .get_mut(&id)
            .ok_or("an unknown request was applied")?;
        op.applied += 1;
        op.legitimate = legitimate;
        match op.applied {
            1 => Ok(()),
            times => Err(format!("request {id} was applied {times} times")),
        }
    }

    /// Notes how a request ended, unless it has ended. Returns whether it did now.
    pub(super) fn end(&mut self, now: Micros, id: OpId, outcome: Outcome) -> Result<bool, String> {
        let Some(op) = self.ops.get_mut(&id).filter(|op| op.ended.is_none()) else {
            return Ok(false);
        };
        op.ended = Some((now, outcome));
        match outcome {
            Outcome::Sum(sum) if !op.legitimate => Err(format!(
                "request {id} for topic {} got {sum}, counted by a node that did not own the range",
                op.topic
            )),
            Outcome::Unavailable if op.applied > 0 => Err(format!(
                "request {id} was applied, but the client was told that it was not"
            )),
            Outcome::NotOwner => Err(format!("request {id} of a client got NOT_OWNER")),
            _ => Ok(true),
        }
    }

    /// Returns the requests that have not ended.
    pub(super) fn open(&self) -> usize {
        self.ops.values().filter(|op| op.ended.is_none()).count()
    }

    /// Returns how many requests that began at `from` or later were counted, and how many began.
    pub(super) fn counted_since(&self, from: Micros) -> (usize, usize) {
        let ops = self.ops.values().filter(|op| op.begun_at >= from);
        let counted = |op: &&Op| matches!(op.ended, Some((_, Outcome::Sum(_))));
        (ops.clone().filter(counted).count(), ops.count())
    }

    /// Checks each topic: no number twice, and a request that began after another one was answered got a
    /// larger number.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut topics: BTreeMap<TopicId, Vec<(u64, Micros, Micros)>> = BTreeMap::new();
        for op in self.ops.values() {
            if let Some((ended_at, Outcome::Sum(sum))) = op.ended {
                topics
                    .entry(op.topic)
                    .or_default()
                    .push((sum, op.begun_at, ended_at));
            }
        }
        for (topic, mut sums) in topics {
            sums.sort_unstable();
            // The earliest answer among larger numbers, from the largest number down.
            let mut earliest = Micros::MAX;
            for pair in sums.windows(2) {
                if pair[0].0 == pair[1].0 {
                    return Err(format!("topic {topic}: {} was given out twice", pair[0].0));
                }
            }
            for &(sum, begun_at, ended_at) in sums.iter().rev() {
                if begun_at > earliest {
                    return Err(format!(
                        "topic {topic}: {sum} was given out after a larger number was answered"
                    ));
                }
                earliest = earliest.min(ended_at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry: the sum, when the request began and when it was answered.
    fn history(ops: &[(u64, Micros, Micros)]) -> Result<(), String> {
        let mut history = History::default();
        for &(sum, begun_at, ended_at) in ops {
            let id = history.begin(begun_at, 0);
            history.applied(id, true)?;
            history.end(ended_at, id, Outcome::Sum(sum))?;
        }
        history.check()
    }

    #[test]
    fn broken_histories_are_found() {
        history(&[(1, 0, 10), (2, 11, 20), (3, 11, 20)]).expect("in order");
        history(&[(2, 0, 10), (1, 5, 20)]).expect("the requests overlap");
        history(&[(1, 0, 10), (7, 11, 20)]).expect("a gap");
        history(&[(1, 0, 10), (1, 11, 20)]).expect_err("a number twice");
        history(&[(2, 0, 10), (1, 11, 20)]).expect_err("back");
        history(&[(3, 0, 10), (4, 0, 100), (2, 11, 20)]).expect_err("back, with another between");
    }

    #[test]
    fn a_request_is_applied_once_and_not_against_its_answer() {
        let mut history = History::default();
        let id = history.begin(0, 0);
        history.applied(id, true).expect("the first time");
        history.applied(id, true).expect_err("the second time");
        history
            .end(1, id, Outcome::Unavailable)
            .expect_err("it was applied");
        let id = history.begin(0, 0);
        history.applied(id, false).expect("the first time");
        history
            .end(1, id, Outcome::Sum(1))
            .expect_err("by a node that does not own the range");
    }
}
