//! A worker's half of reaching shards: sorts requests by owner, runs what it can, hands over what
//! it can't, takes back what was handed over. Owns no counters and no sockets, and never blocks.
//!
//! Bounds: a worker has at most [`HAND_OVER_CREDIT`] batches away at a shard. A shard's channel has
//! room for all of them, so it is never full. A batch over the credit waits in the overflow, and while
//! one does the worker is [`congested`](Router::congested) and reads nothing, so the overflow never
//! holds more than one read's requests.
//!
//! What a shard wants made durable goes to [`change_queue`](super::change_queue) whenever it was run, and the
//! store's results come back like requests. Whoever runs a shard with them sends the replies to those
//! who waited, before it lets go of the shard: so they keep their order, as all others do.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::batch::Batch;
use super::origin::{ConnectionKey, LateReply, Shard, WorkerId};
use super::requests::{self, Queued, Requests, Source};
use super::shared::{HAND_OVER_CREDIT, Shared};
use super::sync::inbox::Owner;
use super::sync::reach::Backlog;
use super::walk::Walk;
use crate::protocol::Reply;
use crate::shard::Change;
use crate::topic::ShardId;

/// How many returned batches a worker keeps to fill again.
const SPARE_BATCHES: usize = 64;

/// What [`Router::submit`] comes to, piece by piece.
pub(crate) enum Outcome<'a> {
    /// The reply to one of the requests.
    Reply(&'a Queued, Reply),
    /// Replies of earlier requests, or of some of these that had to wait.
    Returned(&'a mut Batch),
}

/// One worker's way to the shards.
#[derive(Debug)]
pub(crate) struct Router {
    me: WorkerId,
    shared: Arc<Shared>,
    /// How many more batches may be away, by shard.
    credit: Vec<usize>,
    overflow: VecDeque<Box<Batch>>,
    /// Shards where a visit ended at its limit.
    backlog: Vec<ShardId>,
    spare: Vec<Box<Batch>>,
    replies: Vec<Option<Reply>>,
    /// What a shard wants made durable of this worker's own requests.
    changes: Vec<Change>,
    /// What came back until that shard was let go of.
    older: Vec<Box<Batch>>,
    after: AfterRun,
}

/// What running a shard leaves to do after letting go of it.
#[derive(Debug, Default)]
struct AfterRun {
    /// Batches of datagrams: whoever ran them answers them.
    datagrams: Vec<Box<Batch>>,
    /// Workers that sleep over what was put into their inbox.
    sleepers: Vec<WorkerId>,
    /// What the shard wants made durable, and whether anybody waits; `None`: nothing.
    changes: Vec<Change>,
    urgent: Option<bool>,
    /// Where replies are, for a moment, that come late.
    late: Vec<LateReply>,
}

impl AfterRun {
    /// Runs a batch. Replies to a connection are on their way before the shard is let go of, so
    /// its worker finds them before it can run anything later for the same topics.
    fn run_batch(&mut self, shared: &Shared, shard: &mut Shard, mut batch: Box<Batch>) {
        batch.run(shard, &mut self.late);
        self.ran(shared, shard);
        if !batch.datagrams.is_empty() {
            shared.sub_datagrams_in_flight(batch.len() - batch.waiting());
            self.datagrams.push(batch);
            return;
        }
        self.put(shared, batch);
    }

    /// The shard was run: takes along what it wants made durable, and sends late replies.
    fn ran(&mut self, shared: &Shared, shard: &mut Shard) {
        if let Some(urgent) = shard.fetch(&mut self.changes) {
            self.urgent = Some(urgent | self.urgent.unwrap_or_default());
        }
        let mut batches: Vec<Box<Batch>> = Vec::new();
        for (origin, reply) in self.late.drain(..) {
            let known = batches.iter_mut().find(|batch| batch.from == origin.worker);
            let late = match known {
                Some(batch) => &mut batch.late,
                None => {
                    batches.push(Box::new(Batch::new(origin.worker)));
                    &mut batches.last_mut().expect("just pushed").late
                }
            };
            late.push((origin, reply));
        }
        for batch in batches {
            self.put(shared, batch);
        }
    }

    /// Puts a batch into the inbox of the worker that it is for.
    fn put(&mut self, shared: &Shared, batch: Box<Batch>) {
        let from = batch.from;
        if shared.mailbox(from).inbox.put(batch) == Owner::Asleep {
            self.sleepers.push(from);
        }
    }
}

impl Router {
    pub(crate) fn new(me: WorkerId, shared: Arc<Shared>) -> Self {
        let shards = shared.shards.len();
        Self {
            me,
            credit: vec![HAND_OVER_CREDIT; shards],
            shared,
            overflow: VecDeque::new(),
            backlog: Vec::new(),
            spare: Vec::new(),
            replies: Vec::new(),
            changes: Vec::new(),
            older: Vec::new(),
            after: AfterRun::default(),
        }
    }

    /// Whether something must be handed over that could not be yet: nothing more may be read.
    pub(crate) fn congested(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// Takes all of `requests` to their shards; their topics lie in `bytes`. `outcome` gets the replies
    /// of those that ran here, and every batch that came back meanwhile, in an order that keeps each
    /// topic's.
    ///
    /// The caller must look after [`take_datagrams`](Self::take_datagrams) and
    /// [`has_deferred`](Self::has_deferred) afterwards.
    pub(crate) fn submit(
        &mut self,
        requests: &mut Requests,
        bytes: &[u8],
        source: Source<'_>,
        mut outcome: impl FnMut(Outcome<'_>),
    ) {
        debug_assert!(
            requests.count() == 0 || !self.congested(),
            "a congested worker reads nothing"
        );
        requests.drain(|shard, list| {
            if self.try_run(shard, list, bytes, source) {
                // What came back before the shard was let go of is older than what just ran; what comes
                // later may wait for that.
                for batch in mem::take(&mut self.older) {
                    self.take_back(batch, |batch| outcome(Outcome::Returned(batch)));
                }
                for (request, reply) in list.iter().zip(self.replies.drain(..)) {
                    if let Some(reply) = reply {
                        outcome(Outcome::Reply(request, reply));
                    }
                }
            } else {
                let mut batch = self.spare_batch();
                batch.fill(shard, list, bytes, source);
                if let Source::Datagrams(_) = source {
                    self.shared.add_datagrams_in_flight(batch.len());
                }
                self.hand_over(batch);
            }
        });
        self.collect(|batch| outcome(Outcome::Returned(batch)));
    }

    /// Has `walk` look at a shard: returned where that could be done at once. Otherwise it comes back
    /// in a batch, to the connection of that key.
    ///
    /// The caller must look after what [`submit`](Self::submit) leaves behind, too.
    pub(crate) fn walk(
        &mut self,
        id: ShardId,
        mut walk: Box<Walk>,
        key: ConnectionKey,
    ) -> Option<Box<Walk>> {
        let Self { shared, after, .. } = self;
        let ran = shared.shards[id.index()].try_run(
            |shard, batch| after.run_batch(shared, shard, batch),
            |shard| walk.step(shard),
        );
        if let Some(((), backlog)) = ran {
            self.finish_run(id, backlog);
            return Some(walk);
        }
        let mut batch = self.spare_batch();
        batch.fill(id, &[], &[], Source::Connection(key));
        batch.walk = Some(walk);
        self.hand_over(batch);
        None
    }

    /// Takes back the batches that came back; `returned` sees those of connections, and those of
    /// late replies.
    pub(crate) fn collect(&mut self, mut returned: impl FnMut(&mut Batch)) {
        while let Some(batch) = self.shared.mailbox(self.me).inbox.take() {
            self.take_back(batch, &mut returned);
        }
    }

    fn take_back(&mut self, mut batch: Box<Batch>, returned: impl FnOnce(&mut Batch)) {
        if !batch.late.is_empty() {
            returned(&mut batch);
            return;
        }
        self.credit[batch.shard.index()] += 1;
        if batch.connection.is_some() {
            returned(&mut batch);
        }
        if self.spare.len() < SPARE_BATCHES {
            self.spare.push(batch);
        }
    }

    /// Tells this worker's shard what the store said meanwhile, as far as the credit goes: what is left
    /// stays in the mailbox, where it is found when credit comes back, or at the end.
    pub(crate) fn hand_over_commit_results(&mut self) {
        let id = self.me.shard();
        loop {
            if self.credit[id.index()] == 0 {
                return;
            }
            let next = self
                .shared
                .mailbox(self.me)
                .commit_results
                .lock()
                .pop_front();
            let Some(result) = next else { return };
            let mut batch = self.spare_batch();
            batch.fill(id, &[], &[], Source::Datagrams(&[]));
            batch.commit_result = Some(result);
            self.hand_over(batch);
        }
    }

    /// Runs `meanwhile` while this worker has that shard, then lets it go, as [`submit`](Self::submit)
    /// does.
    #[cfg(test)]
    pub(crate) fn while_taken(&mut self, id: ShardId, meanwhile: impl FnOnce()) {
        let Self { shared, after, .. } = self;
        let ran = shared.shards[id.index()].try_run(
            |shard, batch| after.run_batch(shared, shard, batch),
            |_| meanwhile(),
        );
        let ((), backlog) = ran.expect("nobody has it");
        self.finish_run(id, backlog);
    }

    fn spare_batch(&mut self) -> Box<Batch> {
        match self.spare.pop() {
            Some(batch) => batch,
            None => Box::new(Batch::new(self.me)),
        }
    }

    /// Does what had to be put off: hands over the overflow, visits shards again.
    pub(crate) fn run_deferred(&mut self) {
        for _ in 0..self.overflow.len() {
            if let Some(batch) = self.overflow.pop_front() {
                self.hand_over(batch);
            }
        }
        for shard in mem::take(&mut self.backlog) {
            let Self { shared, after, .. } = self;
            let backlog = shared.shards[shard.index()]
                .visit(|shard, batch| after.run_batch(shared, shard, batch));
            self.finish_run(shard, backlog);
        }
    }

    /// Whether [`run_deferred`](Self::run_deferred) can get something done now.
    pub(crate) fn has_deferred(&self) -> bool {
        !self.backlog.is_empty()
            || self
                .overflow
                .iter()
                .any(|batch| self.credit[batch.shard.index()] > 0)
    }

    /// A batch of datagrams that ran here: the caller answers it, then returns it with
    /// [`give_back`](Self::give_back).
    pub(crate) fn take_datagrams(&mut self) -> Option<Box<Batch>> {
        self.after.datagrams.pop()
    }

    /// Returns a batch of datagrams, answered, to the worker that it came from.
    pub(crate) fn give_back(&mut self, batch: Box<Batch>) {
        let mailbox = self.shared.mailbox(batch.from);
        if !batch.awaited {
            mailbox.inbox.put_quietly(batch);
        } else if mailbox.inbox.put(batch) == Owner::Asleep {
            mailbox.wake();
        }
    }

    /// Runs `list` if nobody runs the shard, leaving the outcomes in `self.replies`.
    fn try_run(&mut self, id: ShardId, list: &[Queued], bytes: &[u8], source: Source<'_>) -> bool {
        let Self {
            me,
            shared,
            replies,
            changes,
            older,
            after,
            ..
        } = self;
        let inbox = &shared.mailbox(*me).inbox;
        let ran = shared.shards[id.index()].try_run(
            |shard, batch| after.run_batch(shared, shard, batch),
            |shard| {
                requests::run(list, bytes, *me, source, shard, replies);
                older.extend(std::iter::from_fn(|| inbox.take()));
                shard.fetch(changes)
            },
        );
        let Some((urgent, backlog)) = ran else {
            return false;
        };
        if let Some(urgent) = urgent {
            shared.change_queue().push(id, changes, urgent);
            if let Source::Datagrams(_) = source {
                shared.add_datagrams_in_flight(requests::waiting(replies));
            }
        }
        self.finish_run(id, backlog);
        true
    }

    fn hand_over(&mut self, mut batch: Box<Batch>) {
        let id = batch.shard;
        let credit = &mut self.credit[id.index()];
        if *credit == 0 {
            self.overflow.push_back(batch);
            return;
        }
        *credit -= 1;
        // With its last credit gone the worker may get stuck until one comes back.
        batch.awaited = *credit == 0;
        let Self { shared, after, .. } = self;
        let backlog = shared.shards[id.index()].hand_over(batch, |shard, batch| {
            after.run_batch(shared, shard, batch);
        });
        self.finish_run(id, backlog);
    }

    /// After letting go of a shard: notes what is left there, asks the store for what it wants, wakes
    /// whom it put something in for.
    fn finish_run(&mut self, shard: ShardId, backlog: Backlog) {
        if backlog == Backlog::Left {
            self.backlog.push(shard);
        }
        let AfterRun {
            sleepers,
            changes,
            urgent,
            ..
        } = &mut self.after;
        if let Some(urgent) = urgent.take() {
            self.shared.change_queue().push(shard, changes, urgent);
        }
        for worker in sleepers.drain(..) {
            self.shared.mailbox(worker).wake();
        }
    }
}

#[cfg(test)]
mod tests;
