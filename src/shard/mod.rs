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
use table::{Hash, Table};

/// From this many topics on, those of some requests are looked at together before they are applied
/// one by one. Fewer are in a near cache.
const FAR_TOPICS: usize = 4 * 1024;

/// How many requests' topics are looked at together: more than a processor has loads under way,
/// fewer than what it then holds in its nearest cache.
const TOGETHER: usize = 32;

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
        let hash = self.topics.hash(request.topic);
        self.apply_hashed(request, hash)
    }

    /// Applies requests one after another, and appends what became of each to `replies`: the same as
    /// [`apply`](Self::apply), but waits for far memory together where there are many topics.
    pub fn apply_all<'a>(
        &mut self,
        mut requests: impl Iterator<Item = Request<'a>> + Clone,
        replies: &mut Vec<Reply>,
    ) {
        if self.topics.len() < FAR_TOPICS {
            replies.extend(requests.map(|request| self.apply(request)));
            return;
        }
        let mut hashes = [Hash::default(); TOGETHER];
        loop {
            let mut count = 0;
            for (hash, request) in hashes.iter_mut().zip(requests.clone()) {
                *hash = self.topics.hash(request.topic);
                count += 1;
            }
            self.topics.touch(&hashes[..count]);
            for (&hash, request) in hashes[..count].iter().zip(requests.by_ref()) {
                replies.push(self.apply_hashed(request, hash));
            }
            if count < TOGETHER {
                return;
            }
        }
    }

    fn apply_hashed(&mut self, request: Request<'_>, hash: Hash) -> Reply {
        let Request { op, topic } = request;
        let applied = match op {
            Op::Count => self.raise(topic, hash, 1, u64::MAX).map(Reply::Count),
            Op::Add(n) => {
                let added = self.raise(topic, hash, n.get().into(), u64::MAX);
                added.map(Reply::Add)
            }
            Op::Incr(n) => {
                let added = self.raise(topic, hash, n.get(), resp::MAX_SUM);
                added.map(Reply::Add)
            }
            Op::Get => {
                let counter = self.topics.find(topic, hash);
                Ok(Reply::Get(counter.map(|counter| counter.sum)))
            }
            Op::Reset => self.counter(topic, hash).map(|counter| {
                counter.sum = 0;
                Reply::Reset
            }),
            Op::Advance(floor) => self.counter(topic, hash).map(|counter| {
                counter.sum = counter.sum.max(floor);
                Reply::Advance(counter.sum)
            }),
            Op::Delete => Ok(Reply::Delete {
                existed: self.delete(topic, hash),
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
    fn raise(&mut self, topic: Topic<'_>, hash: Hash, n: u64, most: u64) -> Result<u64, ErrorCode> {
        // A topic that is only now made must not stay when it is refused.
        if n > most {
            return Err(ErrorCode::Overflow);
        }
        let counter = self.counter(topic, hash)?;
        let raised = counter.sum.checked_add(n).filter(|&sum| sum <= most);
        counter.sum = raised.ok_or(ErrorCode::Overflow)?;
        Ok(counter.sum)
    }

    /// The topic's counter, made where there is none yet.
    fn counter(&mut self, topic: Topic<'_>, hash: Hash) -> Result<&mut Counter, ErrorCode> {
        let quota = &self.quota;
        self.topics.find_or_insert(topic, hash, || {
            if quota.take() {
                Ok(Counter::default())
            } else {
                Err(ErrorCode::TooManyTopics)
            }
        })
    }

    fn delete(&mut self, topic: Topic<'_>, hash: Hash) -> bool {
        let existed = self.topics.remove(topic, hash).is_some();
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
