//! What all workers share: the shards and the way to each, where each worker is found, the way to the
//! store, and what has to be done before the last of them may end.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;
use tracing::error;

use super::batch::Batch;
use super::change_queue::ChangeQueue;
use super::commit_result::CommitResult;
use super::mailbox::Mailbox;
use super::origin::{Shard, WorkerId};
use super::sync::reach::Reach;
use crate::shard::{Ceilings, TopicQuota};
use crate::store::StoreError;
use crate::topic::{ShardId, Shards};

/// The most batches that a worker has away at one shard. Enough that a burst of small batches does
/// not congest it while another worker finishes its turn; small enough to bound what a shard can
/// be behind.
pub(crate) const HAND_OVER_CREDIT: usize = 16;

/// A shard, and the way to it. Batches are boxed all along: what moves between threads is a
/// pointer.
pub(crate) type ShardReach = CachePadded<Reach<Shard, Box<Batch>>>;

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    ids: Shards,
    quota: TopicQuota,
    pub(crate) shards: Box<[ShardReach]>,
    mailboxes: Box<[CachePadded<Mailbox>]>,
    /// The way to the store; unused in memory.
    change_queue: ChangeQueue,
    /// Requests in datagrams that are handed over, or wait for the store.
    datagrams_in_flight: AtomicUsize,
    /// How many workers may still read requests.
    reading_workers: AtomicUsize,
    /// Why the store failed, once it did.
    failure: OnceLock<String>,
}

impl Shared {
    /// As many shards as workers, with room for `max_topics` topics in all.
    pub(crate) fn new(ids: Shards, max_topics: usize, ceilings: Ceilings) -> Self {
        let quota = TopicQuota::new(max_topics);
        let room = usize::from(ids.count()) * HAND_OVER_CREDIT;
        let reach = |_| CachePadded::new(Reach::new(Shard::new(quota.clone(), ceilings), room));
        Self {
            ids,
            shards: ids.ids().map(reach).collect(),
            quota,
            mailboxes: ids
                .ids()
                .map(|_| CachePadded::new(Mailbox::new()))
                .collect(),
            change_queue: ChangeQueue::new(ids),
            datagrams_in_flight: AtomicUsize::new(0),
            reading_workers: AtomicUsize::new(ids.count().into()),
            failure: OnceLock::new(),
        }
    }

    /// Whether none reads any, and none that came in datagrams is under way: so nothing more is asked
    /// of the store for them, and no worker is needed to hear its answers.
    pub(crate) fn all_datagrams_served(&self) -> bool {
        // What a worker read before it stopped is seen to be under way, or to be done.
        self.reading_workers.load(Ordering::Acquire) == 0
            && self.datagrams_in_flight.load(Ordering::Acquire) == 0
    }

    /// The store failed. What comes after the first time follows from it.
    pub(crate) fn store_failed(&self, failure: &StoreError) {
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
    pub(crate) fn store_failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The way to the store.
    pub(crate) fn change_queue(&self) -> &ChangeQueue {
        &self.change_queue
    }

    /// That many of them have their replies.
    pub(crate) fn sub_datagrams_in_flight(&self, requests: usize) {
        self.datagrams_in_flight
            .fetch_sub(requests, Ordering::Release);
    }

    /// That many requests in datagrams are handed over, or wait for the store.
    pub(crate) fn add_datagrams_in_flight(&self, requests: usize) {
        if requests > 0 {
            self.datagrams_in_flight
                .fetch_add(requests, Ordering::Release);
        }
    }

    /// Has a shard's worker tell it what the store says.
    pub(crate) fn deliver(&self, answers: CommitResult) {
        let mailbox = self.mailbox(WorkerId::of(answers.shard));
        mailbox.commit_results.lock().push_back(answers);
        mailbox.wake();
    }

    /// Does something with a shard that no worker runs, before the first of them is there or after
    /// the last has ended; after it was told what the store still had to say.
    pub(crate) fn with_idle<T>(&self, id: ShardId, work: impl FnOnce(&mut Shard) -> T) -> T {
        let answers = mem::take(&mut *self.mailbox(WorkerId::of(id)).commit_results.lock());
        let ran = self.shards[id.index()].try_run(
            |shard, mut batch| batch.run(shard, &mut Vec::new()),
            |shard| {
                for answers in answers {
                    answers.apply_to(shard, &mut Vec::new());
                }
                work(shard)
            },
        );
        ran.expect("nobody else runs it").0
    }

    /// Which shards there are.
    pub(crate) fn shards(&self) -> Shards {
        self.ids
    }

    /// How many topics all shards have together.
    pub(crate) fn topics(&self) -> usize {
        self.quota.taken()
    }

    /// The way to a shard.
    #[cfg(test)]
    pub(crate) fn reach(&self, id: ShardId) -> &ShardReach {
        &self.shards[id.index()]
    }

    /// A worker's mailbox.
    pub(crate) fn mailbox(&self, worker: WorkerId) -> &Mailbox {
        &self.mailboxes[usize::from(worker.0)]
    }
}

/// Says, when it is dropped, that its worker reads no more: whether it stopped, failed, or never was.
#[derive(Debug)]
pub(crate) struct ReadGuard(pub(crate) Arc<Shared>);

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.0.reading_workers.fetch_sub(1, Ordering::Release);
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
