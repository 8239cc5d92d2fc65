//! What all workers share: the shards and the way to each, where each worker is found, the way to the
//! store, and what has to be done before the last of them may end.

use std::collections::VecDeque;
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use tracing::error;

use super::batch::{Answers, Batch, Shard, WorkerId};
use super::commits::Commits;
use super::inbox::Inbox;
use super::reach::Reach;
use crate::shard::{Ceilings, TopicQuota};
use crate::store::StoreError;
use crate::topic::{ShardId, Shards};

/// The most batches that a worker has away at one shard. Enough that a burst of small batches does
/// not congest it while another worker finishes its turn; small enough to bound what a shard can
/// be behind.
pub(super) const HAND_OVER_CREDIT: usize = 16;

/// A shard, and the way to it. Batches are boxed all along: what moves between threads is a
/// pointer.
pub(super) type ShardReach = CachePadded<Reach<Shard, Box<Batch>>>;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    ids: Shards,
    quota: TopicQuota,
    pub(super) shards: Box<[ShardReach]>,
    doors: Box<[CachePadded<Door>]>,
    /// The way to the store; unused in memory.
    commits: Commits,
    /// Requests in datagrams that are handed over, or wait for the store.
    waiting_datagrams: AtomicUsize,
    /// How many workers may still read requests.
    reading: AtomicUsize,
    /// Why the store failed, once it did.
    failure: OnceLock<String>,
}

/// Where a worker is found by the others.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) inbox: Inbox<Box<Batch>>,
    /// What the store says to the worker's shard.
    pub(super) answers: Mutex<VecDeque<Answers>>,
    /// Whom to wake; taken back when the worker ends, since it keeps the worker's runtime alive.
    waker: Mutex<Option<Waker>>,
}

impl Shared {
    /// As many shards as workers, with room for `max_topics` topics in all.
    pub(super) fn new(ids: Shards, max_topics: usize, ceilings: Ceilings) -> Self {
        let quota = TopicQuota::new(max_topics);
        let room = usize::from(ids.count()) * HAND_OVER_CREDIT;
        let reach = |_| CachePadded::new(Reach::new(Shard::new(quota.clone(), ceilings), room));
        let door = |_| {
            CachePadded::new(Door {
                inbox: Inbox::new(),
                answers: Mutex::default(),
                waker: Mutex::new(None),
            })
        };
        Self {
            ids,
            shards: ids.ids().map(reach).collect(),
            quota,
            doors: ids.ids().map(door).collect(),
            commits: Commits::new(ids),
            waiting_datagrams: AtomicUsize::new(0),
            reading: AtomicUsize::new(ids.count().into()),
            failure: OnceLock::new(),
        }
    }

    /// A worker reads no more requests.
    pub(super) fn stopped_reading(&self) {
        self.reading.fetch_sub(1, Ordering::Release);
    }

    /// Whether none reads any, and none that came in datagrams is under way: so nothing more is asked
    /// of the store for them, and no worker is needed to hear its answers.
    pub(super) fn datagrams_are_done(&self) -> bool {
        // What a worker read before it stopped is seen to be under way, or to be done.
        self.reading.load(Ordering::Acquire) == 0
            && self.waiting_datagrams.load(Ordering::Acquire) == 0
    }

    /// The store failed. What comes after the first time follows from it.
    pub(super) fn store_failed(&self, failure: &StoreError) {
        let text = chain(failure);
        if self.failure.set(text.clone()).is_ok() {
            error!(
                error = text,
                "the store failed: what it would have to keep is refused with STORE from now on, \
                 sums below their ceilings are still handed out; restart the server once the \
                 cause is gone"
            );
        }
    }

    /// Why the store failed, if it did.
    pub(super) fn store_failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The way to the store.
    pub(super) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// That many of them have their replies.
    pub(super) fn datagrams_answered(&self, requests: usize) {
        self.waiting_datagrams
            .fetch_sub(requests, Ordering::Release);
    }

    /// That many requests in datagrams are handed over, or wait for the store.
    pub(super) fn datagrams_wait(&self, requests: usize) {
        if requests > 0 {
            self.waiting_datagrams
                .fetch_add(requests, Ordering::Release);
        }
    }

    /// Has a shard's worker tell it what the store says.
    pub(super) fn deliver(&self, answers: Answers) {
        let door = self.door(WorkerId::of(answers.shard));
        door.answers.lock().push_back(answers);
        door.wake();
    }

    /// Does something with a shard that no worker runs, before the first of them is there or after
    /// the last has ended; after it was told what the store still had to say.
    pub(super) fn with_idle<T>(&self, id: ShardId, work: impl FnOnce(&mut Shard) -> T) -> T {
        let answers = mem::take(&mut *self.door(WorkerId::of(id)).answers.lock());
        let ran = self.shards[id.index()].try_run(
            |shard, mut batch| batch.run(shard, &mut Vec::new()),
            |shard| {
                for answers in answers {
                    answers.tell(shard, &mut Vec::new());
                }
                work(shard)
            },
        );
        ran.expect("nobody else runs it").0
    }

    /// Which shards there are.
    pub(super) fn shards(&self) -> Shards {
        self.ids
    }

    /// How many topics all shards have together.
    pub(super) fn topics(&self) -> usize {
        self.quota.taken()
    }

    /// The way to a shard.
    #[cfg(test)]
    pub(super) fn reach(&self, id: ShardId) -> &ShardReach {
        &self.shards[id.index()]
    }

    /// A worker's door.
    pub(super) fn door(&self, worker: WorkerId) -> &Door {
        &self.doors[usize::from(worker.0)]
    }
}

impl Door {
    /// Says whom to wake when something comes in; `None`: nobody any more.
    pub(super) fn set_waker(&self, waker: Option<Waker>) {
        *self.waker.lock() = waker;
    }

    /// Has the worker look into its inbox.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// The worker's thread is about to sleep: it looks once more, or may be woken from now on.
    pub(super) fn before_sleep(&self) {
        if !self.inbox.try_sleep() {
            self.wake();
        }
    }

    /// The worker's thread woke up.
    pub(super) fn after_sleep(&self) {
        self.inbox.woke();
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
