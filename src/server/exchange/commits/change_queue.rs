//! The queue of changes on their way from the shards to the store's thread. Workers push the
//! changes that their shards need to be durable, and go on; the thread takes the changes of all
//! shards when a commit is due. The queue knows no store.

use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::shard::Change;
use crate::topic::{ShardId, Shards};

/// How long changes are collected before a commit, if no request waits for them. These are ceilings
/// that are raised ahead of need, while numbers for about half a second are left. Each commit costs
/// a sync, however many changes it has.
const LINGER: Duration = Duration::from_millis(50);

/// The maximum number of changes in a commit. It bounds how long the changes behind it wait.
const COMMIT_CHANGES: usize = 64 * 1024;

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

    /// Waits until a commit is due, then appends its changes to `changes`, and to `shards` each
    /// shard with its number of changes, in the same order. If `idle_after` is given, it waits no
    /// longer than that for the first change.
    pub(crate) fn next_commit(
        &self,
        changes: &mut Vec<Change>,
        shards: &mut Vec<(ShardId, usize)>,
        idle_after: Option<Duration>,
    ) -> NextCommit {
        let mut pending = self.pending.lock();
        let next = self.wait_until_due(&mut pending, idle_after);
        if next == NextCommit::Due {
            pending.take_commit(changes, shards);
        }
        next
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
    /// Moves at most [`COMMIT_CHANGES`] changes out, as [`ChangeQueue::next_commit`] says. If some
    /// are left, the next commit is due at once.
    fn take_commit(&mut self, changes: &mut Vec<Change>, shards: &mut Vec<(ShardId, usize)>) {
        let mut room = COMMIT_CHANGES;
        let mut some_left = false;
        for (number, queued) in self.by_shard.iter_mut().enumerate() {
            let taken = queued.len().min(room);
            if taken > 0 {
                changes.extend(queued.drain(..taken));
                shards.push((ShardId::new(number as u16), taken));
                room -= taken;
            }
            some_left |= !queued.is_empty();
        }
        if !some_left {
            (self.since, self.urgent) = (None, false);
        }
    }
}
