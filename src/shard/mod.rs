//! The counters: [`Request`] to [`Reply`]. A shard owns its topics alone, as plain data; the order
//! in which it applies requests is the order of each of its topics. Knows no socket, no thread and no
//! store: who runs it, and when, is the server's business, and so is it to make durable what a shard
//! asks for ([`Change`]) and to say when that is done.
//!
//! No sum above a topic's *ceiling* is handed out, and the store knows every ceiling: so after a
//! crash a topic goes on above its ceiling, and nothing is handed out twice. Ceilings are asked for
//! ahead of need, so that hardly any request waits ([`reserve`]); those that do wait in the order
//! of their topic, and hold up no other ([`topic_state`]).

mod change;
mod counter;
mod durability;
mod ledger;
mod position;
mod quota;
mod reserve;
mod table;
mod topic_state;

pub use change::{Change, Record};
pub use durability::{Ceilings, Durability, Ticks};
pub use position::Position;
pub use quota::TopicQuota;

use std::convert::Infallible;

use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::topic::Topic;
use counter::Counter;
use ledger::{Ledger, RowAction};
use table::{Hash, Table};
use topic_state::{addend, sum_reply};

/// From this many topics on, those of some requests are looked at together before they are applied
/// one by one. Fewer are in a near cache.
const PREFETCH_MIN_TOPICS: usize = 4 * 1024;

/// How many requests' topics are looked at together: more than a processor has loads under way,
/// fewer than what it then holds in its nearest cache.
const PREFETCH_BATCH: usize = 32;

/// The topics of one owner. `W` says where a reply goes that comes later; in memory alone, none
/// does.
#[derive(Debug)]
pub struct Shard<W> {
    topics: Table<Counter>,
    quota: TopicQuota,
    ledger: Ledger<W>,
}

impl<W> Shard<W> {
    /// A shard without topics, which takes new ones from `quota`.
    #[must_use]
    pub fn new(quota: TopicQuota, ceilings: Ceilings) -> Self {
        Self {
            topics: Table::new(),
            quota,
            ledger: Ledger::new(ceilings),
        }
    }

    /// Enters a topic that the store has, also where there are too many: a topic is never forgotten.
    /// It goes on above `sum`.
    pub fn restore(&mut self, topic: Topic<'_>, sum: u64) {
        let hash = self.topics.hash(topic);
        let Self { ledger, quota, .. } = self;
        let entered = self.topics.find_or_insert(topic, hash, || {
            quota.take_anyway();
            Ok::<_, Infallible>(ledger.restore(sum))
        });
        debug_assert!(entered.is_ok());
    }

    /// Applies one request and says what became of it. A refused request changes nothing. Without a
    /// reply it waits for the store; then [`answered`](Self::answered) returns what `waiter` made,
    /// with the reply.
    pub fn apply(&mut self, request: Request<'_>, waiter: impl FnOnce() -> W) -> Option<Reply> {
        let hash = self.topics.hash(request.topic);
        self.apply_hashed(request, hash, waiter)
    }

    /// Applies requests one after another, and appends what became of each to `replies`: the same as
    /// [`apply`](Self::apply), but waits for far memory together where there are many topics.
    /// `waiter` is told which request waits, counted from 0.
    pub fn apply_all<'a>(
        &mut self,
        mut requests: impl Iterator<Item = Request<'a>> + Clone,
        mut waiter: impl FnMut(usize) -> W,
        replies: &mut Vec<Option<Reply>>,
    ) {
        let first = replies.len();
        if self.topics.len() < PREFETCH_MIN_TOPICS {
            for (i, request) in requests.enumerate() {
                replies.push(self.apply(request, || waiter(i)));
            }
            return;
        }
        let mut hashes = [Hash::default(); PREFETCH_BATCH];
        loop {
            let mut count = 0;
            for (hash, request) in hashes.iter_mut().zip(requests.clone()) {
                *hash = self.topics.hash(request.topic);
                count += 1;
            }
            self.topics.prefetch(&hashes[..count]);
            for (&hash, request) in hashes[..count].iter().zip(requests.by_ref()) {
                let i = replies.len() - first;
                replies.push(self.apply_hashed(request, hash, || waiter(i)));
            }
            if count < PREFETCH_BATCH {
                return;
            }
        }
    }

    #[inline]
    fn apply_hashed(
        &mut self,
        request: Request<'_>,
        hash: Hash,
        waiter: impl FnOnce() -> W,
    ) -> Option<Reply> {
        // Nearly all of them: below the ceiling, nothing to wait for.
        if let Some(counter) = self.topics.find_mut(request.topic, hash) {
            let op = request.op;
            if let Some((n, max_sum)) = addend(op) {
                let sum = counter
                    .take(n)
                    .or_else(|| self.ledger.take(*counter, n, max_sum));
                if let Some(sum) = sum {
                    return Some(sum_reply(op, sum));
                }
            } else if op == Op::Get
                && let Some(sum) = counter.sum()
            {
                return Some(Reply::Get(Some(sum)));
            }
        }
        self.apply_slow_path(request, hash, waiter)
    }

    #[cold]
    #[inline(never)]
    fn apply_slow_path(
        &mut self,
        request: Request<'_>,
        hash: Hash,
        waiter: impl FnOnce() -> W,
    ) -> Option<Reply> {
        let Request { op, topic } = request;
        let Self {
            topics,
            quota,
            ledger,
        } = self;
        let counter = match op {
            Op::Get | Op::Delete => match topics.find_mut(topic, hash) {
                Some(counter) => counter,
                None if op == Op::Get => return Some(Reply::Get(None)),
                None => return Some(Reply::Delete { existed: false }),
            },
            _ => {
                let found = topics.find_or_insert(topic, hash, || {
                    if quota.take() {
                        Ok(ledger.create())
                    } else {
                        Err(ErrorCode::TooManyTopics)
                    }
                });
                match found {
                    Ok(counter) => counter,
                    Err(error) => return Some(Reply::Error(error)),
                }
            }
        };
        let (reply, action) = ledger.serve(counter, request, waiter);
        if action == RowAction::Remove {
            self.remove(topic, hash);
        }
        reply
    }

    /// Moves what has to become durable to the end of `changes`. Says whether requests wait for
    /// that, or for what was fetched before; `None` where nothing is new. Each change has to be
    /// answered.
    pub fn fetch(&mut self, changes: &mut Vec<Change>) -> Option<bool> {
        self.ledger.fetch(changes)
    }

    /// Hears that these changes are durable, or never will be: then the store has failed, and
    /// nothing is asked of it any more. Appends the replies to those who waited, each topic's in
    /// order.
    pub fn answered(&mut self, changes: &[Change], durable: bool, replies: &mut Vec<(W, Reply)>) {
        let mut hashes = [Hash::default(); PREFETCH_BATCH];
        for changes in changes.chunks(PREFETCH_BATCH) {
            for (hash, change) in hashes.iter_mut().zip(changes) {
                *hash = self.topics.hash(change.topic());
            }
            let hashes = &hashes[..changes.len()];
            if self.topics.len() >= PREFETCH_MIN_TOPICS {
                self.topics.prefetch(hashes);
            }
            for (change, &hash) in changes.iter().zip(hashes) {
                self.apply_result(change, hash, durable, replies);
            }
        }
    }

    fn apply_result(
        &mut self,
        change: &Change,
        hash: Hash,
        durable: bool,
        replies: &mut Vec<(W, Reply)>,
    ) {
        let topic = change.topic();
        let Some(counter) = self.topics.find_mut(topic, hash) else {
            debug_assert!(false, "a topic stays while something is asked for it");
            return;
        };
        if self.ledger.apply_result(counter, change, durable, replies) == RowAction::Remove {
            self.remove(topic, hash);
        }
    }

    /// What the store has to have so that no topic skips a number. False, and nothing said, where
    /// something that was fetched is not answered: then nobody knows what the store has.
    #[must_use]
    pub fn settle(&self, mut settle: impl FnMut(Change)) -> bool {
        if !self.ledger.nothing_in_flight() {
            return false;
        }
        for (topic, &counter) in self.topics.iter() {
            if let Some((before, sum)) = self.ledger.unsettled(counter) {
                settle(Change::new(topic, before, Some(Record::exact(sum))));
            }
        }
        true
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
    /// use globalcounter::shard::{Ceilings, Position, Shard, TopicQuota};
    /// use globalcounter::topic::Topic;
    ///
    /// let mut shard = Shard::<()>::new(TopicQuota::new(10), Ceilings::NONE);
    /// for name in ["a", "b", "c"] {
    ///     let topic = Topic::new(name.as_bytes(), 10)?;
    ///     shard.apply(Request { op: Op::Count, topic }, || ());
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

    fn remove(&mut self, topic: Topic<'_>, hash: Hash) {
        if self.topics.remove(topic, hash).is_some() {
            self.quota.give_back(1);
        }
    }
}

impl<W> Drop for Shard<W> {
    fn drop(&mut self) {
        self.quota.give_back(self.topics.len());
    }
}

#[cfg(test)]
mod tests;
