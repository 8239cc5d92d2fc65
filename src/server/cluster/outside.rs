//! Counts the requests of each range that are outside of the shards: on the way to another node or back,
//! or waiting in a worker. Before a range is served here, there must be none of it: one that another node
//! refused would be applied after later ones of the same connection, which the shards hold already.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::RangeId;
use crate::topic::{ShardId, Shards};

/// The requests that came out of each shard, or were read by its worker and not submitted; and those that
/// are in a shard again, or have a reply.
#[derive(Debug)]
pub(crate) struct Outside {
    shards: Box<[OutsideCounts]>,
    /// By the shard that a worker serves.
    workers: Box<[OutsideCounts]>,
}

/// What one shard, or one worker, has counted. Only one thread at a time may count.
#[derive(Debug)]
pub(crate) struct OutsideCounts(Box<[RangeCount]>);

#[derive(Debug, Default)]
struct RangeCount {
    out: AtomicU32,
    done: AtomicU32,
}

impl Outside {
    /// Creates the counts of a node with these shards in a cluster with this many ranges.
    pub(super) fn new(shards: Shards, ranges: u16) -> Self {
        let counts = || {
            let of_range = |_| RangeCount::default();
            OutsideCounts((0..ranges).map(of_range).collect())
        };
        Self {
            shards: shards.ids().map(|_| counts()).collect(),
            workers: shards.ids().map(|_| counts()).collect(),
        }
    }

    /// Returns what a shard counts, for the thread that has its lock.
    pub(crate) fn of_shard(&self, shard: ShardId) -> &OutsideCounts {
        &self.shards[shard.index()]
    }

    /// Returns what the worker of a shard counts, for this worker.
    pub(crate) fn of_worker(&self, shard: ShardId) -> &OutsideCounts {
        &self.workers[shard.index()]
    }

    /// Returns whether no request for a range is outside of the shards.
    pub(crate) fn is_empty(&self, range: RangeId) -> bool {
        // In this order: a request that is done by now has come out before, so it is counted in both.
        let done = self.sum(range, |count| &count.done);
        let out = self.sum(range, |count| &count.out);
        done == out
    }

    fn sum(&self, range: RangeId, number: impl Fn(&RangeCount) -> &AtomicU32) -> u32 {
        let all = self.shards.iter().chain(&self.workers);
        let numbers = all.map(|counts| number(&counts.0[range.index()]).load(Ordering::Acquire));
        numbers.fold(0, u32::wrapping_add)
    }
}

impl OutsideCounts {
    /// Counts a request that is outside from now on.
    pub(crate) fn out(&self, range: RangeId) {
        add_one(&self.0[range.index()].out);
    }

    /// Counts a request that is in a shard again, or has a reply. If it has come out of the shard once more,
    /// that comes first.
    pub(crate) fn done(&self, range: RangeId) {
        add_one(&self.0[range.index()].done);
    }
}

/// Only one thread writes at a time. Unlike [`Counter`](crate::measure::Counter), whoever sees a number also
/// sees what was counted before it, in all counts.
fn add_one(count: &AtomicU32) {
    let next = count.load(Ordering::Relaxed).wrapping_add(1);
    count.store(next, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_outside_until_it_is_done_wherever_that_is() {
        let shards = Shards::new(2).expect("2");
        let outside = Outside::new(shards, 2);
        let [range, other] = [0, 1].map(|number| RangeId::new(number, 2).expect("a range"));
        let [first, second] = [0, 1].map(ShardId::new);
        assert!(outside.is_empty(range));
        outside.of_shard(first).out(range);
        outside.of_worker(second).out(range);
        assert!(!outside.is_empty(range) && outside.is_empty(other));
        outside.of_worker(second).done(range);
        assert!(!outside.is_empty(range));
        outside.of_shard(second).done(range);
        assert!(outside.is_empty(range));
    }

    #[test]
    fn counts_go_on_after_the_largest_number() {
        let outside = Outside::new(Shards::new(1).expect("1"), 1);
        let range = RangeId::new(0, 1).expect("a range");
        let counts = outside.of_shard(ShardId::new(0));
        let of_range = &counts.0[range.index()];
        of_range.out.store(u32::MAX, Ordering::Relaxed);
        of_range.done.store(u32::MAX, Ordering::Relaxed);
        counts.out(range);
        assert!(!outside.is_empty(range));
        counts.done(range);
        assert!(outside.is_empty(range));
    }
}
