//! Counts a worker's batches of requests that were handed over and came back. A node of a cluster has to
//! know that those which it handed over earlier came back before it sends later requests elsewhere.

use crate::measure::Counter;
use crate::topic::{ShardId, Shards};

/// The counts of one worker, which alone writes and reads them. A shard returns batches in the order in
/// which it got them.
#[derive(Debug)]
pub(crate) struct HandOvers {
    shards: Box<[Counts]>,
}

#[derive(Debug, Default)]
struct Counts {
    handed_over: Counter,
    returned: Counter,
}

/// How many batches had been handed over to each shard at some moment.
#[derive(Debug)]
pub(crate) struct Mark(Box<[u64]>);

impl HandOvers {
    pub(super) fn new(shards: Shards) -> Self {
        Self {
            shards: shards.ids().map(|_| Counts::default()).collect(),
        }
    }

    pub(super) fn handed_over(&self, shard: ShardId) {
        self.shards[shard.index()].handed_over.add(1);
    }

    pub(super) fn returned(&self, shard: ShardId) {
        self.shards[shard.index()].returned.add(1);
    }

    /// Marks this moment.
    pub(crate) fn mark(&self) -> Mark {
        let shards = self.shards.iter();
        Mark(shards.map(|counts| counts.handed_over.get()).collect())
    }

    /// Returns whether all batches have returned that were handed over before a mark.
    pub(crate) fn have_returned(&self, mark: &Mark) -> bool {
        let mut shards = self.shards.iter().zip(&mark.0);
        shards.all(|(counts, marked)| counts.returned.get() >= *marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_passed_when_all_earlier_batches_have_returned() {
        let shards = Shards::new(2).expect("2");
        let counts = HandOvers::new(shards);
        let [first, second] = [0, 1].map(ShardId::new);
        assert!(counts.have_returned(&counts.mark()));
        counts.handed_over(first);
        counts.handed_over(second);
        let mark = counts.mark();
        counts.handed_over(second);
        counts.returned(second);
        assert!(!counts.have_returned(&mark));
        counts.returned(first);
        assert!(counts.have_returned(&mark));
        assert!(!counts.have_returned(&counts.mark()));
    }
}
