//! The counters: a [`Shard`] owns topics as plain data and turns each [`Request`] into a [`Reply`].
//! The order in which it applies requests is the order of each topic. It must not know sockets,
//! threads or stores: the server decides who runs a shard and when, makes its [`Change`]s durable
//! and reports the results.
//!
//! A shard never hands out a sum above the topic's *ceiling*, and the store knows every ceiling. So
//! after a crash a topic continues above its ceiling, and no sum is handed out twice. Ceilings are
//! raised ahead of need, so that hardly any request waits ([`reserve`]). Waiting requests keep the
//! order of their topic and delay no other topic ([`topic_state`]).

mod change;
mod counter;
mod counts;
mod durability;
mod ledger;
mod moving;
mod parked;
mod position;
mod quota;
mod ranges;
mod reserve;
mod table;
mod topic_state;
mod waiting;

pub use change::{Change, Record};
pub use counts::{ErrorCounts, ShardCounts};
pub use durability::{Ceilings, Durability, Ticks};
pub use moving::Swept;
pub use parked::Parked;
pub use position::Position;
pub use quota::TopicQuota;
pub use ranges::LoadId;

use std::sync::Arc;

use crate::access::Allowance;
use crate::protocol::{Condition, ErrorCode, Op, Reply, Request};
use crate::topic::Topic;
use counter::Counter;
use ledger::{Ledger, RowAction};
use ranges::{Absent, Ranges};
use table::{Key, Place, Table};
use topic_state::{addend_and_limit, sum_reply};

/// How many rows are found together: more than the loads that a processor has in flight, fewer than
/// its nearest cache holds.
const FIND_BATCH: usize = 32;

/// The topics of one owner. `W` says where the reply to a waiting request goes; with
/// [`Durability::Memory`] no request waits.
#[derive(Debug)]
pub struct Shard<W> {
    topics: Table<Counter>,
    quota: TopicQuota,
    ledger: Ledger<W>,
    counts: Arc<ShardCounts>,
    /// `None` if all topics of the server's shards are here for good.
    ranges: Option<Box<Ranges<W>>>,
}

impl<W> Shard<W> {
    /// Creates a shard without topics. Each new topic takes room from `quota`.
    #[must_use]
    pub fn new(quota: TopicQuota, ceilings: Ceilings) -> Self {
        Self {
            topics: Table::new(),
            quota,
            ledger: Ledger::new(ceilings),
            counts: Arc::default(),
            ranges: None,
        }
    }

    /// Makes a shard without topics one of a node of a cluster with this many ranges. None of them is here
    /// at first.
    pub fn join(&mut self, ranges: u16) {
        debug_assert_eq!(self.topics(), 0);
        self.ranges = Some(Box::new(Ranges::new(ranges, Arc::clone(&self.counts))));
    }

    /// Returns what the shard tells to those who watch it. It counts the errors among the replies of
    /// [`apply`](Self::apply); whoever passes on the replies of [`answered`](Self::answered) counts
    /// those.
    #[must_use]
    pub fn counts(&self) -> &Arc<ShardCounts> {
        &self.counts
    }

    /// Inserts a topic that the store has, even if the quota is used up: a stored topic is never
    /// dropped. The topic continues above `sum`. Returns false, and changes nothing, if the topic is
    /// in the shard already.
    pub fn restore(&mut self, topic: Topic<'_>, sum: u64) -> bool {
        let key = self.topics.key(topic);
        self.restore_with_key(topic, &key, sum)
    }

    /// Inserts topics with their sums as [`restore`](Self::restore) does, one after another, and calls
    /// `is_new` with the index of each that was not in the shard before. The loads from far memory
    /// overlap.
    pub fn restore_all(&mut self, topics: &[(Topic<'_>, u64)], mut is_new: impl FnMut(usize)) {
        let mut keys = [Key::NONE; FIND_BATCH];
        for (chunk, topics) in topics.chunks(FIND_BATCH).enumerate() {
            self.topics
                .find_all(&mut keys, topics.iter().map(|&(topic, _)| topic));
            for (i, (&(topic, sum), key)) in topics.iter().zip(&keys).enumerate() {
                if self.restore_with_key(topic, key, sum) {
                    is_new(chunk * FIND_BATCH + i);
                }
            }
        }
    }

    fn restore_with_key(&mut self, topic: Topic<'_>, key: &Key, sum: u64) -> bool {
        if self.topics.find(topic, key).is_some() {
            return false;
        }
        self.quota.take_unchecked();
        let counter = self.ledger.restore(sum);
        self.insert_new(topic, key, counter);
        true
    }

    /// Applies one request and returns its reply. A refused request changes nothing.
    ///
    /// Returns `None` if the request has to wait for the store. Then `waiter` was called, and
    /// [`answered`](Self::answered) returns its value together with the reply later. In a cluster, a
    /// request may also wait for its range, or be one for another node
    /// ([`take_elsewhere`](Self::take_elsewhere)).
    pub fn apply(&mut self, request: Request<'_>, waiter: impl FnOnce() -> W) -> Option<Reply> {
        let key = self.topics.key(request.topic);
        self.apply_at_once(request, &key)
            .or_else(|| self.apply_by_rules(request, &key, None, waiter))
    }

    /// Applies `count` requests one after another and appends the outcome of each to `replies`. The
    /// outcomes are those of [`apply`](Self::apply), but if there are many topics, the loads from
    /// far memory overlap. `request` returns the request with an index, counted from 0, each time
    /// the same. `waiter` gets the index of the request that waits.
    pub fn apply_all<'a>(
        &mut self,
        count: usize,
        request: impl Fn(usize) -> Request<'a>,
        waiter: impl FnMut(usize) -> W,
        replies: &mut Vec<Option<Reply>>,
    ) {
        self.apply_all_of(None, count, request, waiter, replies);
    }

    /// Applies requests as [`apply_all`](Self::apply_all) does. Each topic that they create is also
    /// counted in `maker`, which may refuse it.
    pub(crate) fn apply_all_of<'a>(
        &mut self,
        maker: Option<&Allowance>,
        count: usize,
        request: impl Fn(usize) -> Request<'a>,
        mut waiter: impl FnMut(usize) -> W,
        replies: &mut Vec<Option<Reply>>,
    ) {
        if !self.topics.is_far() {
            for i in 0..count {
                let key = self.topics.key(request(i).topic);
                self.apply_into(replies, &key, maker, || request(i), || waiter(i));
            }
            return;
        }
        let mut keys = [Key::NONE; FIND_BATCH];
        for start in (0..count).step_by(FIND_BATCH) {
            let batch = start..count.min(start + FIND_BATCH);
            let topics = batch.clone().map(|i| request(i).topic);
            self.topics.find_all(&mut keys, topics);
            for (i, key) in batch.zip(&keys) {
                self.apply_into(replies, key, maker, || request(i), || waiter(i));
            }
        }
    }

    /// Applies a request and appends its outcome to `replies`.
    #[inline(always)] // a call costs 40 instructions more, of 400 for a request
    fn apply_into<'a>(
        &mut self,
        replies: &mut Vec<Option<Reply>>,
        key: &Key,
        maker: Option<&Allowance>,
        request: impl Fn() -> Request<'a>,
        waiter: impl FnOnce() -> W,
    ) {
        // The request is made a second time only if need be: so it hardly ever has a place in memory.
        // An outcome is pushed where it is known, not moved to one place first.
        match self.apply_at_once(request(), key) {
            Some(reply) => replies.push(Some(reply)),
            None => replies.push(self.apply_by_rules(request(), key, maker, waiter)),
        }
    }

    /// Applies a request in the common case: its topic's row is the first that is looked at, and the
    /// sum stays below the ceiling, so nothing has to wait. Returns `None`, and changes nothing, in
    /// all other cases.
    #[inline(always)]
    fn apply_at_once(&mut self, request: Request<'_>, key: &Key) -> Option<Reply> {
        let mut slot = self.topics.first_match(request.topic, key)?;
        let mut counter = slot.get();
        if request.op == Op::Get {
            let is_coming = |ranges: &Ranges<W>| ranges.any_is_coming();
            if self.ranges.as_deref().is_some_and(is_coming) {
                return None;
            }
            return counter.sum().map(|sum| Reply::Get(Some(sum)));
        }
        // A counter's sum is far below every limit.
        let (n, _) = addend_and_limit(request.op)?;
        let sum = counter.hand_out(n)?;
        slot.set(counter);
        Some(sum_reply(request.op, sum))
    }

    /// Applies a request in any case.
    #[inline(never)]
    fn apply_by_rules(
        &mut self,
        request: Request<'_>,
        key: &Key,
        maker: Option<&Allowance>,
        waiter: impl FnOnce() -> W,
    ) -> Option<Reply> {
        let reply = self.apply_uncounted(request, key, maker, waiter);
        if let Some(Reply::Error(error)) = reply {
            self.counts.errors.count(Some(request.op.method()), error);
        }
        reply
    }

    fn apply_uncounted(
        &mut self,
        request: Request<'_>,
        key: &Key,
        maker: Option<&Allowance>,
        waiter: impl FnOnce() -> W,
    ) -> Option<Reply> {
        let Some(place) = self.topics.find(request.topic, key) else {
            return self.apply_to_absent(request, key, maker, waiter);
        };
        let mut slot = self.topics.value(place);
        let mut counter = slot.get();
        if let Some(ranges) = &mut self.ranges
            && (self.ledger.is_frozen(counter) || ranges.is_coming(request.topic))
        {
            let (absent, range) = ranges.absent(request.topic);
            if absent == Absent::Elsewhere {
                // The range could not be handed over, and is being discarded.
                ranges.send_elsewhere(request, range, waiter());
                return None;
            }
            return ranges.hold(request, range, waiter()).err();
        }
        if let Some((n, max_sum)) = addend_and_limit(request.op) {
            if let Some(sum) = counter.hand_out(n) {
                slot.set(counter);
                return Some(sum_reply(request.op, sum));
            }
            if let Some(sum) = self.ledger.hand_out(counter, n, max_sum) {
                return Some(sum_reply(request.op, sum));
            }
        }
        self.update(request.topic, key, place, |ledger, counter| {
            ledger.serve(counter, request, waiter)
        })
    }

    /// Applies a request for a topic that does not exist.
    #[cold]
    #[inline(never)]
    fn apply_to_absent(
        &mut self,
        request: Request<'_>,
        key: &Key,
        maker: Option<&Allowance>,
        waiter: impl FnOnce() -> W,
    ) -> Option<Reply> {
        let Request { op, topic } = request;
        if let Some(ranges) = &mut self.ranges {
            match ranges.absent(topic) {
                (Absent::New, _) => {}
                (Absent::Hold, range) => return ranges.hold(request, range, waiter()).err(),
                (Absent::Elsewhere, range) => {
                    ranges.send_elsewhere(request, range, waiter());
                    return None;
                }
            }
        }
        if let Some(reply) = if_absent(op) {
            return Some(reply);
        }
        if !self.may_create(maker) {
            return Some(Reply::Error(ErrorCode::TooManyTopics));
        }
        let counter = self.ledger.create();
        let place = self.insert_new(topic, key, counter);
        self.update(topic, key, place, |ledger, counter| {
            ledger.serve(counter, request, waiter)
        })
    }

    /// Takes room for a new topic: in what its maker may create, then in what the server has.
    fn may_create(&self, maker: Option<&Allowance>) -> bool {
        if maker.is_some_and(|maker| !maker.take_topic()) {
            self.counts.over_maker.add(1);
            return false;
        }
        let room = self.quota.take();
        if !room && let Some(maker) = maker {
            maker.return_topic();
        }
        room
    }

    fn insert_new(&mut self, topic: Topic<'_>, key: &Key, counter: Counter) -> Place {
        let place = self.topics.insert_new(topic, key, counter);
        self.counts.set_table_bytes(self.topics.bytes());
        place
    }

    /// Lets the ledger make a step with the counter of a topic, whose row is at `place`.
    fn update<T>(
        &mut self,
        topic: Topic<'_>,
        key: &Key,
        place: Place,
        step: impl FnOnce(&mut Ledger<W>, &mut Counter) -> (T, RowAction),
    ) -> T {
        let mut slot = self.topics.value(place);
        let mut counter = slot.get();
        let (result, action) = step(&mut self.ledger, &mut counter);
        slot.set(counter);
        if let Some(ranges) = &self.ranges {
            self.ledger.mark_changes(|| ranges.load(topic));
        }
        if action == RowAction::Remove {
            self.remove(topic, key);
        }
        result
    }

    /// Returns `None` if [`fetch`](Self::fetch) would return `None`, otherwise how many requests
    /// began to wait since the last fetch. Until then, requests for the same topic share a change.
    #[must_use]
    pub fn unfetched(&self) -> Option<usize> {
        self.ledger.unfetched()
    }

    /// Appends to `changes` what has to become durable since the last call. Returns `None` if there
    /// is nothing new, otherwise whether requests wait for these changes, or began to wait for
    /// changes that were fetched before. The result of every change has to be passed to
    /// [`answered`](Self::answered).
    pub fn fetch(&mut self, changes: &mut Vec<Change>) -> Option<bool> {
        self.ledger.fetch(changes)
    }

    /// Takes the store's result for these changes: they are durable, or the store has failed and
    /// gets no further changes. Appends the replies to the requests that waited for them, in order
    /// within each topic.
    pub fn answered(&mut self, changes: &[Change], durable: bool, replies: &mut Vec<(W, Reply)>) {
        let mut keys = [Key::NONE; FIND_BATCH];
        for changes in changes.chunks(FIND_BATCH) {
            self.topics
                .find_all(&mut keys, changes.iter().map(Change::topic));
            for (change, key) in changes.iter().zip(&keys) {
                self.apply_result(change, key, durable, replies);
            }
        }
    }

    fn apply_result(
        &mut self,
        change: &Change,
        key: &Key,
        durable: bool,
        replies: &mut Vec<(W, Reply)>,
    ) {
        let topic = change.topic();
        if let Some(ranges) = &self.ranges
            && !ranges.takes_result(topic, change.load())
        {
            return self.ledger.ignore_result();
        }
        let Some(place) = self.topics.find(topic, key) else {
            debug_assert!(false, "a topic with a change in flight stays in the table");
            return;
        };
        self.update(topic, key, place, |ledger, counter| {
            let action = ledger.apply_result(counter, change, durable, replies);
            ((), action)
        });
    }

    /// Passes to `settle` the changes that make the store's sums exact, so that no topic skips a
    /// number after a clean shutdown. Returns false and passes nothing if a change is still in
    /// flight: then it is not known what the store has.
    #[must_use]
    pub fn settle(&self, mut settle: impl FnMut(Change)) -> bool {
        if !self.ledger.nothing_in_flight() {
            return false;
        }
        for (topic, counter) in self.topics.iter() {
            if let Some((before, sum)) = self.ledger.unsettled(counter) {
                settle(Change::new(topic, before, Some(Record::exact(sum))));
            }
        }
        true
    }

    /// Makes one step of copying all topics: passes those of a bounded part of the table, from `from`
    /// on, to `found`, each with the record that the store has of it (the result of its last change
    /// that is known), and the sum that it has by now. A topic that the store does not have yet is
    /// left out. Returns the position for the next step, or `None` at the end.
    ///
    /// As in a [`scan`](Self::scan), a topic that exists from the first step to the last is passed
    /// exactly once.
    pub fn copy(
        &self,
        from: Position,
        mut found: impl FnMut(Topic<'_>, Record),
    ) -> Option<Position> {
        self.topics.visit(from, |topic, counter| {
            if let Some(record) = self.ledger.record(counter) {
                found(topic, record);
            }
        })
    }

    /// Makes one step of a walk through all topics: passes those of a bounded part of the table, from
    /// `from` on, to `found` with their sums, unordered. Returns the position for the next step, or
    /// `None` at the end. The same holds for topics as in a [`scan`](Self::scan).
    pub fn walk(&self, from: Position, mut found: impl FnMut(Topic<'_>, u64)) -> Option<Position> {
        self.topics.visit(from, |topic, counter| {
            if let Some(sum) = self.ledger.sum(counter) {
                found(topic, sum);
            }
        })
    }

    /// Returns the sum of a topic; `None` if it does not exist.
    #[must_use]
    pub fn sum(&self, topic: Topic<'_>) -> Option<u64> {
        let place = self.topics.find(topic, &self.topics.key(topic))?;
        self.ledger.sum(self.topics.value_at(place))
    }

    /// Returns the position of the topic with this name, whether it exists or not.
    #[must_use]
    pub fn position(&self, name: &[u8]) -> Position {
        self.topics.position(name)
    }

    /// Returns whether the result of every change that was fetched is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ledger.nothing_in_flight()
    }

    /// Returns the number of topics.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Makes one step of a scan through the topics, in the order of their positions. Reports topics
    /// from `from` on until it has reported `count` (at least 1) or their names add up to `bytes`
    /// bytes; the last name may exceed that. Topics that share a position are reported in the same
    /// step, whatever the limits. A step also ends after it has examined a bounded number of rows
    /// and segments, so that others do not wait for the shard for long; it may report fewer topics,
    /// or none.
    ///
    /// Returns the position for the next step, always after `from`, or `None` at the end.
    ///
    /// A topic that exists from the first step to the last is reported exactly once, whatever is
    /// inserted or removed and however the table grows between steps. A topic that is created or
    /// deleted during the scan is reported at most once for each time it exists.
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

    fn remove(&mut self, topic: Topic<'_>, key: &Key) {
        if self.topics.remove(topic, key).is_some() {
            self.quota.give_back(1);
        }
    }
}

/// Returns the reply to `op` on a topic that does not exist, or `None` if `op` creates the topic.
fn if_absent(op: Op) -> Option<Reply> {
    match op {
        Op::Get => Some(Reply::Get(None)),
        Op::Delete => Some(Reply::Delete { existed: false }),
        Op::GetDelete => Some(Reply::Absent),
        Op::Set {
            when: Condition::IfPresent,
            ..
        } => Some(Reply::Absent),
        Op::Count | Op::Reset | Op::Add(_) | Op::Incr(_) | Op::Advance(_) | Op::Set { .. } => None,
    }
}

impl<W> Drop for Shard<W> {
    fn drop(&mut self) {
        self.quota.give_back(self.topics.len());
    }
}

#[cfg(test)]
mod tests;
