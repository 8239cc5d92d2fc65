//! The way of changes from the shards to the store's thread: workers leave what their shards want made
//! durable and go on; the thread takes what all of them left, when it is time. Knows no store.

use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::shard::Change;
use crate::topic::{ShardId, Shards};

/// How long changes that nobody waits for may be collected: ceilings that are asked for ahead of
/// need, while half a second's worth or so is left. Each commit costs a sync, whatever is in it.
const LINGER: Duration = Duration::from_millis(50);

/// The most changes of a commit: those behind it wait no longer than that takes.
const COMMIT_CHANGES: usize = 64 * 1024;

/// What shards want made durable.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    pending: Mutex<Pending>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Pending {
    by_shard: Vec<Vec<Change>>,
    /// Since when there are any. One that is left alone is written with others.
    since: Option<Instant>,
    /// Whether a request waits for one of them.
    urgent: bool,
    /// Whether the last worker has ended, so that nothing more comes.
    closed: bool,
    /// Whether a worker panicked, so that its shard may be half changed.
    poisoned: bool,
}

impl ChangeQueue {
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

    /// Leaves `changes` of a shard. `urgent`: a request waits for one of them, or for one that was
    /// left before.
    pub(crate) fn push(&self, shard: ShardId, changes: &mut Vec<Change>, urgent: bool) {
        let mut pending = self.pending.lock();
        let known = &mut pending.by_shard[shard.index()];
        if known.is_empty() {
            // The other way round, the batch's buffer would have to grow anew each time.
            mem::swap(known, changes);
        } else {
            known.append(changes);
        }
        let is_first = pending.since.is_none();
        if is_first {
            if pending.by_shard[shard.index()].is_empty() {
                return; // what somebody waits for is being written
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

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.pending.lock().closed = true;
        self.arrived.notify_one();
    }

    /// A worker panicked: what its shard says can't be trusted.
    pub(crate) fn poison(&self) {
        self.pending.lock().poisoned = true;
    }

    /// Whether a worker panicked.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.pending.lock().poisoned
    }

    /// Waits until it is time for a commit, then moves its changes to `changes`, and how many are of
    /// which shard to `shards`. False where nothing more comes.
    pub(crate) fn next_commit(
        &self,
        changes: &mut Vec<Change>,
        shards: &mut Vec<(ShardId, usize)>,
    ) -> bool {
        let mut pending = self.pending.lock();
        loop {
            match pending.since {
                None if pending.closed => return false,
                None => self.arrived.wait(&mut pending),
                Some(_) if pending.urgent || pending.closed => break,
                Some(since) => {
                    if self
                        .arrived
                        .wait_until(&mut pending, since + LINGER)
                        .timed_out()
                    {
                        break;
                    }
                }
            }
        }
        let mut room = COMMIT_CHANGES;
        let mut rest = false;
        for (number, known) in pending.by_shard.iter_mut().enumerate() {
            let taken = known.len().min(room);
            if taken > 0 {
                changes.extend(known.drain(..taken));
                shards.push((ShardId::new(number as u16), taken));
                room -= taken;
            }
            rest |= !known.is_empty();
        }
        if !rest {
            (pending.since, pending.urgent) = (None, false);
        }
        true
    }
}
