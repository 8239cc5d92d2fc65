//! The counters: [`Request`] to [`Reply`]. A shard owns its topics alone, as plain data; the order
//! in which it applies requests is the order of each of its topics. Knows no socket, no clock and
//! no thread: who runs it, and when, is the server's business.

mod position;
mod quota;
mod table;

pub use position::Position;
pub use quota::TopicQuota;

use crate::protocol::{ErrorCode, Op, Reply, Request, resp};
use crate::topic::Topic;
use table::Table;

/// The topics of one owner.
#[derive(Debug)]
pub struct Shard {
    topics: Table<Counter>,
    quota: TopicQuota,
}

/// What is kept of a topic.
#[derive(Debug, Default)]
struct Counter {
    /// The last sum handed out, or the floor that the topic was advanced to.
    sum: u64,
}

impl Shard {
    /// A shard without topics, which takes new ones from `quota`.
    #[must_use]
    pub fn new(quota: TopicQuota) -> Self {
        Self {
            topics: Table::new(),
            quota,
        }
    }

    /// Applies one request and says what became of it. A refused request changes nothing.
    pub fn apply(&mut self, request: Request<'_>) -> Reply {
        let Request { op, topic } = request;
        let applied = match op {
            Op::Count => self.raise(topic, 1, u64::MAX).map(Reply::Count),
            Op::Add(n) => self.raise(topic, n.get().into(), u64::MAX).map(Reply::Add),
            Op::Incr(n) => self.raise(topic, n.get(), resp::MAX_SUM).map(Reply::Add),
            Op::Get => Ok(Reply::Get(self.sum(topic))),
            Op::Reset => self.counter(topic).map(|counter| {
                counter.sum = 0;
                Reply::Reset
            }),
            Op::Advance(floor) => self.counter(topic).map(|counter| {
                counter.sum = counter.sum.max(floor);
                Reply::Advance(counter.sum)
            }),
            Op::Delete => Ok(Reply::Delete {
                existed: self.delete(topic),
            }),
        };
        applied.unwrap_or_else(Reply::Error)
    }

    /// How many topics there are.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// One step of a scan through the topics, in order of their positions: reports those from
    /// `from` on, until there were `count` (at least 1) or their names came to `bytes` bytes; the
    /// last one may go beyond that. Topics that share a position are all reported, whatever the
    /// limits. A step also ends after so many topics and places looked at that others don't wait
    /// for the shard long, so it may report fewer, or none.
    ///
    /// Returns where to go on, always after `from`, or `None` where there are no more.
    ///
    /// A topic that is there from the first step to the last is reported exactly once, whatever
    /// else comes, goes and grows between steps; one that comes or goes meanwhile at most once a
    /// stay.
    ///
    /// ```
    /// use globalcounter::protocol::{Op, Request};
    /// use globalcounter::shard::{Position, Shard, TopicQuota};
    /// use globalcounter::topic::Topic;
    ///
    /// let mut shard = Shard::new(TopicQuota::new(10));
    /// for name in ["a", "b", "c"] {
    ///     let topic = Topic::new(name.as_bytes(), 10)?;
    ///     shard.apply(Request { op: Op::Count, topic });
    /// }
    /// let mut names = Vec::new();
    /// let mut from = Some(Position::START);
    /// while let Some(position) = from {
    ///     from = shard.scan(position, 2, 1_000, |topic| names.push(topic.as_bytes().to_vec()));
    /// }
    /// names.sort();
    /// assert_eq!(names, [b"a", b"b", b"c"]);
    /// # Ok::<_, globalcounter::topic::TopicError>(())
    /// ```
    pub fn scan(
        &self,
        from: Position,
        count: usize,
        bytes: usize,
        found: impl FnMut(Topic<'_>),
    ) -> Option<Position> {
        self.topics.scan(from, count, bytes, found)
    }

    /// Adds `n`, where that makes no more than `most`.
    fn raise(&mut self, topic: Topic<'_>, n: u64, most: u64) -> Result<u64, ErrorCode> {
        // A topic that is only now made must not stay when it is refused.
        if n > most {
            return Err(ErrorCode::Overflow);
        }
        let counter = self.counter(topic)?;
        let raised = counter.sum.checked_add(n).filter(|&sum| sum <= most);
        counter.sum = raised.ok_or(ErrorCode::Overflow)?;
        Ok(counter.sum)
    }

    fn sum(&self, topic: Topic<'_>) -> Option<u64> {
        self.topics.find(topic).map(|counter| counter.sum)
    }

    /// The topic's counter, made where there is none yet.
    fn counter(&mut self, topic: Topic<'_>) -> Result<&mut Counter, ErrorCode> {
        let quota = &self.quota;
        self.topics.find_or_insert(topic, || {
            if quota.take() {
                Ok(Counter::default())
            } else {
                Err(ErrorCode::TooManyTopics)
            }
        })
    }

    fn delete(&mut self, topic: Topic<'_>) -> bool {
        let existed = self.topics.remove(topic).is_some();
        if existed {
            self.quota.give_back(1);
        }
        existed
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.quota.give_back(self.topics.len());
    }
}

#[cfg(test)]
mod tests;
