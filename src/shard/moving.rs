//! How ranges of topics come to a shard of a cluster and leave it: loaded from the store, taken out with
//! their exact sums, or discarded. The server decides when; docs/cluster.md has the rules.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Shard;
use super::change::Change;
use super::parked::Parked;
use super::position::Position;
use super::ranges::{Absent, LoadId, Sweep};
use super::table::Table;
use crate::cluster::RangeId;
use crate::protocol::{ErrorCode, Reply};
use crate::topic::Topic;

/// What a step of a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// The changes that make the store's sums exact, of the topics that were taken out.
    pub exact: Vec<Change>,
    /// The ranges of which topics are still here that are to be taken out, because a change of them is
    /// pending.
    pub left: BTreeSet<RangeId>,
}

impl<W> Shard<W> {
    /// Begins to load a range: from now on, requests for its topics wait.
    pub fn begin_load(&mut self, range: RangeId, load: LoadId) {
        if let Some(ranges) = &mut self.ranges {
            ranges.begin_load(range, load);
        }
    }

    /// Inserts topics of a range that is being loaded, as [`restore_all`](Self::restore_all) does. Does
    /// nothing if this load was given up.
    pub fn restore_range(&mut self, range: RangeId, load: LoadId, topics: &[(Topic<'_>, u64)]) {
        let ranges = self.ranges.as_mut();
        if ranges.is_some_and(|ranges| ranges.is_loading(range, load)) {
            self.restore_all(topics, |_| {});
        }
    }

    /// Serves a range from now on, of which all topics were restored. Applies the requests that waited
    /// for it, and appends their replies to `replies`. Does nothing if this load was given up.
    pub fn serve_range(&mut self, range: RangeId, load: LoadId, replies: &mut Vec<(W, Reply)>) {
        let Some(ranges) = self.ranges.as_mut() else {
            return;
        };
        if ranges.is_loading(range, load) {
            for parked in ranges.serve(range) {
                self.apply_parked(parked, replies);
            }
        }
    }

    /// Applies a request that was parked. Appends its reply to `replies`, if it has one by now.
    pub fn apply_parked(&mut self, parked: Parked<W>, replies: &mut Vec<(W, Reply)>) {
        let key = self.topics.key(parked.request().topic);
        match self.apply_at_once(parked.request(), &key) {
            Some(reply) => replies.push((parked.waiter, reply)),
            None => self.apply_parked_by_rules(parked, replies),
        }
    }

    fn apply_parked_by_rules(&mut self, parked: Parked<W>, replies: &mut Vec<(W, Reply)>) {
        let (kept, waiter) = parked.split();
        let mut waiter = Some(waiter);
        self.set_since(Some(kept.since()));
        let reply = self.apply(kept.request(), || {
            waiter.take().expect("a request waits once")
        });
        self.set_since(None);
        if let (Some(reply), Some(waiter)) = (reply, waiter) {
            replies.push((waiter, reply));
        }
    }

    /// Sets when the requests that are applied from now on were read, or were parked first; `None`: now.
    pub(crate) fn set_since(&mut self, since: Option<Instant>) {
        if let Some(ranges) = &mut self.ranges {
            ranges.set_since(since);
        }
    }

    /// Begins to take out the topics of a range: further requests for those that are not here, or no
    /// longer, wait. [`sweep`](Self::sweep) does it.
    pub fn freeze_range(&mut self, range: RangeId, load: LoadId) {
        if let Some(ranges) = &mut self.ranges {
            ranges.freeze(range, load);
        }
    }

    /// Notes that a commit of this load was refused, or its outcome is unknown: no result of the load
    /// counts from now on.
    pub fn fail_range(&mut self, range: RangeId, load: LoadId) {
        if let Some(ranges) = &mut self.ranges {
            ranges.fail(range, load);
        }
    }

    /// Begins to discard the topics of a range. Requests for those that are not here, or no longer, are
    /// for other nodes. [`sweep`](Self::sweep) does it.
    pub fn begin_drop(&mut self, range: RangeId) {
        if let Some(ranges) = &mut self.ranges {
            ranges.begin_drop(range);
        }
    }

    /// Ends what [`begin_drop`](Self::begin_drop) began, after a whole sweep.
    pub fn end_drop(&mut self, range: RangeId) {
        if let Some(ranges) = &mut self.ranges {
            ranges.end_drop(range);
        }
    }

    /// Makes one step of a walk through all topics, as [`walk`](Self::walk) does, that takes out and
    /// discards those of ranges for which that was begun. Requests that wait in a topic that is discarded
    /// are answered UNKNOWN: see `replies`.
    pub fn sweep(
        &mut self,
        from: Position,
        swept: &mut Swept,
        replies: &mut Vec<(W, Reply)>,
    ) -> Option<Position> {
        let ranges = self.ranges.as_ref()?;
        let mut rows: Vec<(Box<[u8]>, Sweep)> = Vec::new();
        let next = self.topics.visit(from, |topic, _| {
            let sweep = ranges.sweep(topic);
            if sweep != Sweep::Keep {
                rows.push((topic.as_bytes().into(), sweep));
            }
        });
        for (name, sweep) in rows {
            self.sweep_topic(Topic::checked_before(&name), sweep, swept, replies);
        }
        next
    }

    fn sweep_topic(
        &mut self,
        topic: Topic<'_>,
        sweep: Sweep,
        swept: &mut Swept,
        replies: &mut Vec<(W, Reply)>,
    ) {
        let key = self.topics.key(topic);
        let Some(place) = self.topics.find(topic, &key) else {
            return;
        };
        let counter = self.topics.value_at(place);
        match sweep {
            Sweep::Keep => return,
            Sweep::Discard => self.ledger.discard(counter, replies),
            Sweep::TakeOut => match self.ledger.take_out(topic, counter) {
                Ok(change) => swept.exact.extend(change),
                Err(frozen) => {
                    self.topics.value(place).set(frozen);
                    if let Some(ranges) = &self.ranges {
                        swept.left.insert(ranges.range_of(topic));
                    }
                    return;
                }
            },
        }
        self.remove(topic, &key);
        self.counts.set_table_bytes(self.topics.bytes());
    }

    /// Discards all topics of all ranges. Requests that wait in them are answered UNKNOWN; those that
    /// wait for a range are for other nodes.
    pub fn drop_all_ranges(&mut self, replies: &mut Vec<(W, Reply)>) {
        let Some(ranges) = &mut self.ranges else {
            return;
        };
        ranges.drop_all();
        self.ledger.discard_all(replies);
        self.quota.give_back(self.topics.len());
        self.topics = Table::new();
        self.counts.set_table_bytes(self.topics.bytes());
    }

    /// Answers the requests that have waited for a range since before `before` with UNAVAILABLE.
    pub fn expire_held(&mut self, before: Instant, replies: &mut Vec<(W, Reply)>) {
        let expired = self
            .ranges
            .as_mut()
            .map(|ranges| ranges.expire(before))
            .unwrap_or_default();
        let unavailable = Reply::Error(ErrorCode::Unavailable);
        replies.extend(
            expired
                .into_iter()
                .map(|parked| (parked.waiter, unavailable)),
        );
    }

    /// Moves out the requests that are for other nodes, in order.
    pub fn take_elsewhere(&mut self, taken: &mut Vec<Parked<W>>) {
        if let Some(ranges) = &mut self.ranges {
            ranges.take_elsewhere(taken);
        }
    }

    /// Returns whether this node may have the topic: it has, or is about to have, or just had its range.
    #[must_use]
    pub fn may_have(&self, topic: Topic<'_>) -> bool {
        let ranges = self.ranges.as_deref();
        ranges.is_none_or(|ranges| ranges.absent(topic).0 != Absent::Elsewhere)
            || self.topics.find(topic, &self.topics.key(topic)).is_some()
    }
}
