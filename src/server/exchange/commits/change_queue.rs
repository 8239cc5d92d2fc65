//! The queue of changes on their way from the shards to the store's thread. Workers push the
//! changes that their shards need to be durable, and go on; the thread takes the changes of all
//! shards when a commit is due. The queue knows no store.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::shard::Change;
use crate::topic::{ShardId, Shards};

/// How long changes are collected before a commit, if no request waits for them. These are ceilings
/// that are raised ahead of need, while numbers for about half a second are left. Each commit costs
/// a sync, however many changes it has.
const LINGER: Duration = Duration::from_millis(50);

/// An empty buffer keeps room for at most this many changes.
const KEEP_CHANGES: usize = 64 * 1024;

/// What the store's thread has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextCommit {
    /// Commit the changes that were taken.
    Due,
    /// Nothing: no change came for the given time.
    Idle,
    /// End: no more changes come.
    Closed,
}

/// Changes that shards need to be durable, until the store's thread takes them.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    pending: Mutex<Pending>,
    /// Wakes the store's thread.
    arrived: Condvar,
}

#[derive(Debug)]
struct Pending {
    by_shard: Vec<Vec<Change>>,
    /// When the first of the pending changes was pushed; `None` if no change is pending. A change
    /// that no request waits for is collected with others from then on.
    since: Option<Instant>,
    /// Whether a request waits for one of the pending changes.
    urgent: bool,
    /// Whether the last worker has ended, so that no more changes come.
    closed: bool,
    /// Whether a worker panicked. Its shard may be in an inconsistent state.
    poisoned: bool,
}

impl ChangeQueue {
    /// Creates an empty queue for the changes of these shards.
    pub(crate) fn new(shards: Shards) -> Self {
        Self {
            pending: Mutex::new(Pending {
                by_shard: shards.ids().map(|_| Vec::new()).collect(),
                since: None,
                urgent: false,
                closed: false,
                poisoned: false,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Moves `changes` of a shard into the queue. `urgent` says that a request waits for one of
    /// them, or for one that was pushed before.
    pub(crate) fn push(&self, shard: ShardId, changes: &mut Vec<Change>, urgent: bool) {
        let mut pending = self.pending.lock();
        let queued = &mut pending.by_shard[shard.index()];
        if queued.is_empty() {
            // Swapping saves the copy, and leaves the caller a buffer that has grown before.
            mem::swap(queued, changes);
        } else {
            queued.append(changes);
        }
        let is_first = pending.since.is_none();
        if is_first {
            if pending.by_shard[shard.index()].is_empty() {
                // Nothing to commit: the store's thread has already taken the change that a
                // request waits for.
                return;
            }
            pending.since = Some(Instant::now());
        }
        let is_new = is_first || urgent && !pending.urgent;
        pending.urgent |= urgent;
        drop(pending);
        if is_new {
            self.arrived.notify_one();
        }
    }

    /// Closes the queue: no more changes come.
    pub(crate) fn close(&self) {
        self.pending.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Marks that a worker panicked, so that its shard cannot be trusted.
    pub(crate) fn poison(&self) {
        self.pending.lock().poisoned = true;
    }

    /// Returns whether a worker panicked.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.pending.lock().poisoned
    }

    /// Waits until a commit is due, then takes its changes, at most `limit`: appends them to `changes`, and to `shards`
    /// each shard with its number of changes, in the same order. If `idle_after` is given, it waits no
    /// longer than that for the first change. `taken` holds changes that were taken from the queue, but
    /// are for a later commit.
    pub(crate) fn next_commit(
        &self,
        taken: &mut TakenChanges,
        limit: usize,
        changes: &mut Vec<Change>,
        shards: &mut Vec<(ShardId, usize)>,
        idle_after: Option<Duration>,
    ) -> NextCommit {
        if taken.is_empty() {
            let mut pending = self.pending.lock();
            let next = self.wait_until_due(&mut pending, idle_after);
            if next != NextCommit::Due {
                return next;
            }
            pending.take(taken);
        }
        taken.cut_commit(limit, changes, shards);
        NextCommit::Due
    }

    /// Waits until a commit is due: a request waits for it, the changes were collected for
    /// [`LINGER`], or the queue is closed.
    fn wait_until_due(
        &self,
        pending: &mut MutexGuard<'_, Pending>,
        idle_after: Option<Duration>,
    ) -> NextCommit {
        let idle_at = idle_after.map(|after| Instant::now() + after);
        loop {
            match (pending.since, idle_at) {
                (None, _) if pending.closed => return NextCommit::Closed,
                (None, None) => self.arrived.wait(pending),
                (None, Some(at)) => {
                    if self.arrived.wait_until(pending, at).timed_out() && pending.since.is_none() {
                        return NextCommit::Idle;
                    }
                }
                (Some(_), _) if pending.urgent || pending.closed => return NextCommit::Due,
                (Some(since), _) => {
                    let waited = self.arrived.wait_until(pending, since + LINGER);
                    if waited.timed_out() {
                        return NextCommit::Due;
                    }
                }
            }
        }
    }
}

impl Pending {
    /// Moves all changes out. Only the buffers move: workers wait for the lock meanwhile.
    fn take(&mut self, taken: &mut TakenChanges) {
        for (number, queued) in self.by_shard.iter_mut().enumerate() {
            if !queued.is_empty() {
                let buffer = taken.spare.pop().unwrap_or_default();
                let changes = mem::replace(queued, buffer);
                taken
                    .by_shard
                    .push_back((ShardId::new(number as u16), changes));
            }
        }
        (self.since, self.urgent) = (None, false);
    }
}

/// Changes that the store's thread has taken from the queue, but not committed yet.
#[derive(Debug, Default)]
pub(crate) struct TakenChanges {
    by_shard: VecDeque<(ShardId, Vec<Change>)>,
    /// Empty buffers, which the queue gets in exchange for full ones.
    spare: Vec<Vec<Change>>,
}

impl TakenChanges {
    fn is_empty(&self) -> bool {
        self.by_shard.is_empty()
    }

    /// Moves at most `limit` changes out, as [`ChangeQueue::next_commit`] says.
    fn cut_commit(
        &mut self,
        limit: usize,
        changes: &mut Vec<Change>,
        shards: &mut Vec<(ShardId, usize)>,
    ) {
        while changes.len() < limit
            && let Some((shard, queued)) = self.by_shard.front_mut()
        {
            let count = queued.len().min(limit - changes.len());
            changes.extend(queued.drain(..count));
            shards.push((*shard, count));
            if queued.is_empty()
                && let Some((_, buffer)) = self.by_shard.pop_front()
                && buffer.capacity() <= KEEP_CHANGES
            {
                self.spare.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Record;
    use crate::topic::Topic;

    const LIMIT: usize = 1_000;

    fn changes(first: usize, count: usize) -> Vec<Change> {
        let change = |n: usize| {
            let name = n.to_string();
            let topic = Topic::new(name.as_bytes(), 100).expect("a topic");
            Change::new(topic, None, Some(Record::exact(n as u64)))
        };
        (first..first + count).map(change).collect()
    }

    /// Returns the next commit: the ceilings, and the shards with their numbers of changes.
    fn next(queue: &ChangeQueue, taken: &mut TakenChanges) -> (Vec<u64>, Vec<(u16, usize)>) {
        let (mut changes, mut shards) = (Vec::new(), Vec::new());
        let next = queue.next_commit(taken, LIMIT, &mut changes, &mut shards, None);
        assert_eq!(next, NextCommit::Due);
        let ceilings = changes
            .iter()
            .filter_map(|change| Some(change.after()?.ceiling));
        let shards = shards
            .into_iter()
            .map(|(shard, count)| (shard.number(), count));
        (ceilings.collect(), shards.collect())
    }

    #[test]
    fn a_commit_is_limited_and_keeps_the_order_of_each_shard() {
        let queue = ChangeQueue::new(Shards::new(2).expect("2"));
        let mut taken = TakenChanges::default();
        queue.push(ShardId::new(0), &mut changes(0, LIMIT - 1), false);
        queue.push(ShardId::new(1), &mut changes(100_000, 3), true);
        let (ceilings, shards) = next(&queue, &mut taken);
        assert_eq!(ceilings.len(), LIMIT);
        assert_eq!(shards, [(0, LIMIT - 1), (1, 1)]);
        // What came later follows what was taken before.
        queue.push(ShardId::new(1), &mut changes(200_000, 1), true);
        assert_eq!(
            next(&queue, &mut taken),
            (vec![100_001, 100_002], vec![(1, 2)])
        );
        assert_eq!(next(&queue, &mut taken), (vec![200_000], vec![(1, 1)]));
        queue.close();
        let idle = Some(Duration::ZERO);
        let end = queue.next_commit(&mut taken, LIMIT, &mut Vec::new(), &mut Vec::new(), idle);
        assert_eq!(end, NextCommit::Closed);
    }

    #[test]
    fn a_queue_without_changes_is_idle() {
        let queue = ChangeQueue::new(Shards::ONE);
        let idle = Some(Duration::ZERO);
        let next = queue.next_commit(
            &mut TakenChanges::default(),
            LIMIT,
            &mut Vec::new(),
            &mut Vec::new(),
            idle,
        );
        assert_eq!(next, NextCommit::Idle);
    }
}
