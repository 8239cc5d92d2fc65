//! The state that all workers share: the way to each shard, the mailbox of each worker, the queue
//! of changes for the store, and the counts that decide when the workers may end.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;
use tracing::error;

use super::batch::Batch;
use super::commits::{ChangeQueue, CommitCounts};
use super::mailbox::Mailbox;
use super::origin::{Origin, Shard, WorkerId};
use super::shard_message::ShardMessage;
use super::sync::reach::Reach;
use crate::cluster::RangeId;
use crate::server::cluster::{Deadline, Membership, Owners};
use crate::shard::{Ceilings, Parked, ShardCounts, TopicQuota};
use crate::store::StoreError;
use crate::topic::{ShardId, Shards};

/// The maximum number of batches that a worker has in flight at one shard. It is large enough that
/// a burst of small batches does not congest the worker while another worker finishes its turn, and
/// small enough to bound how far a shard can be behind.
pub(crate) const HAND_OVER_CREDIT: usize = 16;

/// A shard and the way to it. Batches are always boxed, so only a pointer moves between threads.
pub(crate) type ShardReach = CachePadded<Reach<Shard, Box<Batch>>>;

/// The state that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    ids: Shards,
    quota: TopicQuota,
    /// What each shard tells.
    counts: Box<[Arc<ShardCounts>]>,
    pub(crate) shards: Box<[ShardReach]>,
    mailboxes: Box<[CachePadded<Mailbox>]>,
    /// Changes for the store; unused if topics are only kept in memory.
    change_queue: ChangeQueue,
    commit_counts: CommitCounts,
    /// The number of requests from datagrams that are handed over, or wait for the store.
    datagrams_in_flight: AtomicUsize,
    /// The number of workers that may still receive datagrams, each with a [`ReadGuard`].
    reading_workers: AtomicUsize,
    /// Why the store failed, if it did.
    failure: OnceLock<String>,
    /// The server's part in a cluster; empty on a server alone.
    membership: OnceLock<Arc<Membership>>,
}

impl Shared {
    /// Creates one shard for each worker. All shards together have room for `max_topics` topics.
    pub(crate) fn new(ids: Shards, max_topics: usize, ceilings: Ceilings) -> Self {
        let quota = TopicQuota::new(max_topics);
        let room = usize::from(ids.count()) * HAND_OVER_CREDIT;
        let shards: Vec<Shard> = ids
            .ids()
            .map(|_| Shard::new(quota.clone(), ceilings))
            .collect();
        Self {
            ids,
            counts: shards
                .iter()
                .map(|shard| Arc::clone(shard.counts()))
                .collect(),
            shards: shards
                .into_iter()
                .map(|shard| CachePadded::new(Reach::new(shard, room)))
                .collect(),
            quota,
            mailboxes: ids
                .ids()
                .map(|_| CachePadded::new(Mailbox::new()))
                .collect(),
            change_queue: ChangeQueue::new(ids),
            commit_counts: CommitCounts::default(),
            datagrams_in_flight: AtomicUsize::new(0),
            reading_workers: AtomicUsize::new(ids.count().into()),
            failure: OnceLock::new(),
            membership: OnceLock::new(),
        }
    }

    /// Makes the server a node of a cluster. The address of the node is known only when its sockets
    /// are bound, so this comes after [`new`](Self::new), and before the first worker starts.
    ///
    /// # Panics
    ///
    /// Panics if it is one already.
    pub(crate) fn join(&self, membership: Arc<Membership>) {
        for id in self.ids.ids() {
            self.with_idle(id, |shard| shard.join(membership.owners.ranges()));
        }
        let set = self.membership.set(membership);
        set.expect("a server joins one cluster");
    }

    /// Returns the server's part in a cluster; `None` on a server alone.
    pub(crate) fn membership(&self) -> Option<&Arc<Membership>> {
        self.membership.get()
    }

    /// Returns which node owns what; `None` on a server alone.
    pub(crate) fn owners(&self) -> Option<&Owners> {
        self.membership().map(|membership| &membership.owners)
    }

    /// Returns until when replies may leave; `None` on a server alone.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<&Deadline> {
        self.membership().map(|membership| &membership.deadline)
    }

    /// Counts requests that have come out of a shard, for the thread that has its lock.
    pub(super) fn count_out(&self, shard: ShardId, requests: &[Parked<Origin>]) {
        if let Some(membership) = self.membership() {
            let counts = membership.outside.of_shard(shard);
            requests
                .iter()
                .for_each(|parked| counts.out(parked.range()));
        }
    }

    /// Counts requests for these ranges that have come back to a shard, for the thread that has its lock.
    pub(super) fn count_done(&self, shard: ShardId, ranges: &[RangeId]) {
        if let Some(membership) = self.membership() {
            let counts = membership.outside.of_shard(shard);
            ranges.iter().for_each(|&range| counts.done(range));
        }
    }

    /// Wakes all workers, so that they look at what has changed.
    pub(crate) fn wake_workers(&self) {
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
    }

    /// Returns whether no worker receives datagrams any more and no request from a datagram is in
    /// flight. From then on no request from a datagram needs the store, and no worker is needed to
    /// receive the store's results.
    pub(crate) fn all_datagrams_served(&self) -> bool {
        // In this order: once no worker receives datagrams, every request from a datagram is in the
        // count, or is served already.
        self.reading_workers.load(Ordering::Acquire) == 0
            && self.datagrams_in_flight.load(Ordering::Acquire) == 0
    }

    /// Records that the store failed. Only the first failure is kept and logged; later ones follow
    /// from it.
    pub(crate) fn store_failed(&self, failure: &StoreError) {
        let text = failure.with_causes();
        if self.failure.set(text.clone()).is_ok() {
            error!(
                error = text,
                "the store failed: requests that need it are refused with STORE from now on, sums \
                 below their ceilings are still handed out; remove the cause, then restart the \
                 server"
            );
        }
    }

    /// Returns why the store failed, if it did.
    pub(crate) fn store_failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Returns what each shard tells, with the number of batches that wait for it.
    pub(crate) fn shard_counts(&self) -> impl Iterator<Item = (&ShardCounts, usize)> {
        let counts = self.counts.iter().map(|counts| &**counts);
        counts.zip(self.shards.iter().map(|reach| reach.waiting()))
    }

    /// Returns the counts of what the store's thread has done.
    pub(crate) fn commit_counts(&self) -> &CommitCounts {
        &self.commit_counts
    }

    /// Returns the queue of changes for the store.
    pub(crate) fn change_queue(&self) -> &ChangeQueue {
        &self.change_queue
    }

    /// Subtracts requests from datagrams that have their replies.
    pub(crate) fn sub_datagrams_in_flight(&self, requests: usize) {
        self.datagrams_in_flight
            .fetch_sub(requests, Ordering::Release);
    }

    /// Adds requests from datagrams that are handed over, or wait for the store.
    pub(crate) fn add_datagrams_in_flight(&self, requests: usize) {
        if requests > 0 {
            self.datagrams_in_flight
                .fetch_add(requests, Ordering::Release);
        }
    }

    /// Puts a message into the mailbox of its shard's worker, and wakes that worker.
    pub(crate) fn deliver(&self, message: ShardMessage) {
        let mailbox = self.mailbox(WorkerId::of(message.shard()));
        mailbox.messages.lock().push_back(message);
        mailbox.wake();
    }

    /// Runs `work` on a shard while no worker exists: before the first has started or after the
    /// last has ended. First delivers to the shard the messages that are still in the
    /// mailbox.
    ///
    /// # Panics
    ///
    /// Panics if another thread runs the shard.
    pub(crate) fn with_idle<T>(&self, id: ShardId, work: impl FnOnce(&mut Shard) -> T) -> T {
        let messages = mem::take(&mut *self.mailbox(WorkerId::of(id)).messages.lock());
        let ran = self.shards[id.index()].try_run(
            |shard, mut batch| batch.run(shard, self.deadline(), &mut Vec::new()),
            |shard| {
                for message in messages {
                    message.apply_to(shard, &mut Vec::new());
                }
                work(shard)
            },
        );
        ran.expect("no worker runs the shard").0
    }

    /// Returns the shards of the server.
    pub(crate) fn shards(&self) -> Shards {
        self.ids
    }

    /// Returns the number of topics in all shards together.
    pub(crate) fn topics(&self) -> usize {
        self.quota.taken()
    }

    /// Returns the limit on the topics of all shards together.
    pub(crate) fn quota(&self) -> &TopicQuota {
        &self.quota
    }

    /// Returns the way to a shard.
    #[cfg(test)]
    pub(crate) fn reach(&self, id: ShardId) -> &ShardReach {
        &self.shards[id.index()]
    }

    /// Returns a worker's mailbox.
    pub(crate) fn mailbox(&self, worker: WorkerId) -> &Mailbox {
        &self.mailboxes[usize::from(worker.0)]
    }
}

/// Counts a worker that may still receive datagrams. It is dropped when the worker begins to stop,
/// and also if the worker fails or never starts. TCP connections may still be read after that: see
/// `Phase::LateOpening` and `Acceptor::drain`.
#[derive(Debug)]
pub(crate) struct ReadGuard(pub(crate) Arc<Shared>);

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.0.reading_workers.fetch_sub(1, Ordering::Release);
    }
}
