//! Running batches on a shard, and the work that is left once the shard is released.

use std::mem;

use crate::server::exchange::batch::Batch;
use crate::server::exchange::origin::{LateReply, Origin, Shard, WorkerId};
use crate::server::exchange::shared::Shared;
use crate::server::exchange::sync::inbox::Owner;
use crate::shard::{Change, Parked};
use crate::topic::ShardId;

/// How many delivered batches of late replies a worker keeps for reuse. One is in use for each
/// result of the store that is on its way to the connections.
const SPARE_LATE: usize = 8;

/// Collects, while a worker runs a shard, the work that is left to do after the shard is released.
#[derive(Debug, Default)]
pub(super) struct AfterRun {
    /// Batches of datagrams that ran here, and whose replies are sent from here.
    datagrams: Vec<Box<Batch>>,
    /// Workers to wake: they were asleep when a batch was put into their inbox.
    to_wake: Vec<WorkerId>,
    /// Changes of the shard for the store.
    changes: Vec<Change>,
    /// Whether a request waits for the store; `None` if there is nothing for the change queue.
    urgent: Option<bool>,
    /// Late replies of the current batch; empty between two batches.
    late: Vec<LateReply>,
    /// Requests of the current batch for other nodes; empty between two batches.
    elsewhere: Vec<Parked<Origin>>,
    /// Emptied batches, for late replies.
    spare: Vec<Box<Batch>>,
}

impl AfterRun {
    /// Runs a batch on its shard. Puts the replies to connections into the inboxes of their workers
    /// before the shard is released. So a worker finds them before it can run later requests for
    /// the same topics.
    pub(super) fn run_batch(&mut self, shared: &Shared, shard: &mut Shard, mut batch: Box<Batch>) {
        let come_back = batch.come_back();
        batch.run(shard, shared.deadline(), &mut self.late);
        self.fetch_changes(shard);
        self.put_late_replies(shared);
        self.put_elsewhere(shared, shard, batch.shard);
        shared.count_done(batch.shard, &come_back);
        if batch.datagrams.is_empty() {
            self.put(shared, batch);
        } else {
            shared.sub_datagrams_in_flight(batch.len() - batch.count_waiting());
            self.datagrams.push(batch);
        }
    }

    /// Takes a batch of datagrams that ran here.
    pub(super) fn take_datagrams(&mut self) -> Option<Box<Batch>> {
        self.datagrams.pop()
    }

    /// Pushes the changes that were fetched from `shard` into the change queue. The shard is
    /// released by now.
    pub(super) fn push_changes(&mut self, shared: &Shared, shard: ShardId) {
        if let Some(urgent) = self.urgent.take() {
            let changes = &mut self.changes;
            shared.change_queue().push(shard, changes, urgent);
        }
    }

    /// Wakes the workers that got a batch while they were asleep. The shard is released by now.
    pub(super) fn wake_workers(&mut self, shared: &Shared) {
        for worker in self.to_wake.drain(..) {
            shared.mailbox(worker).wake();
        }
    }

    /// Fetches the changes that the shard needs to be durable.
    fn fetch_changes(&mut self, shard: &mut Shard) {
        if let Some(urgent) = shard.fetch(&mut self.changes) {
            self.urgent = Some(urgent | self.urgent.unwrap_or_default());
        }
    }

    /// Puts the late replies into the inboxes of their workers, in one batch for each worker.
    fn put_late_replies(&mut self, shared: &Shared) {
        let Some((first, _)) = self.late.first() else {
            return;
        };
        let mut batch = self.spare_batch(first.worker);
        if self
            .late
            .iter()
            .all(|(origin, _)| origin.worker == batch.from)
        {
            mem::swap(&mut batch.late, &mut self.late);
            self.put(shared, batch);
            return;
        }
        let mut batches = vec![batch];
        for (origin, reply) in mem::take(&mut self.late) {
            let known = batches.iter_mut().find(|batch| batch.from == origin.worker);
            let batch = match known {
                Some(batch) => batch,
                None => {
                    batches.push(self.spare_batch(origin.worker));
                    batches.last_mut().expect("just pushed")
                }
            };
            batch.late.push((origin, reply));
        }
        for batch in batches {
            self.put(shared, batch);
        }
    }

    /// Puts the requests for other nodes into the inboxes of the workers that read them: these forward
    /// them, in the order in which they read them.
    fn put_elsewhere(&mut self, shared: &Shared, shard: &mut Shard, id: ShardId) {
        shard.take_elsewhere(&mut self.elsewhere);
        shared.count_out(id, &self.elsewhere);
        let mut batches: Vec<Box<Batch>> = Vec::new();
        for parked in mem::take(&mut self.elsewhere) {
            let worker = parked.waiter.worker;
            let known = batches.iter_mut().find(|batch| batch.from == worker);
            let batch = match known {
                Some(batch) => batch,
                None => {
                    batches.push(self.spare_batch(worker));
                    batches.last_mut().expect("just pushed")
                }
            };
            batch.elsewhere.push(parked);
        }
        for batch in batches {
            self.put(shared, batch);
        }
    }

    /// Returns an empty batch for late replies to `worker`.
    fn spare_batch(&mut self, worker: WorkerId) -> Box<Batch> {
        let Some(mut batch) = self.spare.pop() else {
            return Box::new(Batch::new(worker));
        };
        batch.from = worker;
        batch
    }

    /// Keeps a batch whose late replies were delivered, for reuse.
    pub(super) fn reuse(&mut self, mut batch: Box<Batch>) {
        if self.spare.len() < SPARE_LATE {
            batch.clear_late();
            self.spare.push(batch);
        }
    }

    /// Puts a batch into the inbox of worker `from`.
    fn put(&mut self, shared: &Shared, batch: Box<Batch>) {
        let from = batch.from;
        if shared.mailbox(from).inbox.put(batch) == Owner::Asleep {
            self.to_wake.push(from);
        }
    }
}
