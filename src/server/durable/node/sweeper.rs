//! Walks through the topics of all shards, in steps, to take out or discard those of ranges that leave.
//! One walk serves all ranges that leave at the time.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::exact_sums::ExactSums;
use super::steps::to_all;
use crate::cluster::{Epoch, Event, RangeId, Slot};
use crate::etcd::{Ceilings, Events};
use crate::server::cluster::Membership;
use crate::server::exchange::{Done, RangeMessage, RangeStep, Report, ShardMessage, Shared};
use crate::shard::{Change, Position};
use crate::topic::ShardId;

/// How long to wait before the next walk if some topics could not be taken out yet.
const PAUSE: Duration = Duration::from_millis(1);

/// What is to be done. The shards were told before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    /// Take out the topics of a range.
    Freeze(RangeId, Epoch),
    /// Discard those of a range.
    Drop(RangeId),
    /// All ranges are dropped: earlier jobs concern nobody any more.
    ForgetAll,
}

/// See the [module](self).
pub(super) struct Sweeper {
    shared: Arc<Shared>,
    membership: Arc<Membership>,
    events: Events,
    ceilings: Ceilings,
    jobs: mpsc::UnboundedReceiver<Job>,
    freezing: BTreeMap<RangeId, Freezing>,
    dropping: BTreeSet<RangeId>,
    walk: Walk,
    moving: Arc<AtomicUsize>,
}

/// The ranges that had begun to leave before a walk began, so that it misses none of their topics.
#[derive(Debug, Default)]
struct Walk {
    freezing: BTreeSet<RangeId>,
    dropping: BTreeSet<RangeId>,
}

/// A range whose topics are being taken out.
struct Freezing {
    epoch: Epoch,
    /// The changes that make its sums in etcd exact, of the topics that were taken out so far.
    exact: Vec<Change>,
}

impl Sweeper {
    /// Starts the task, in the current runtime.
    pub(super) fn spawn(
        shared: Arc<Shared>,
        membership: Arc<Membership>,
        events: Events,
        ceilings: Ceilings,
        moving: Arc<AtomicUsize>,
    ) -> mpsc::UnboundedSender<Job> {
        let (sender, jobs) = mpsc::unbounded_channel();
        let sweeper = Self {
            shared,
            membership,
            events,
            ceilings,
            jobs,
            freezing: BTreeMap::new(),
            dropping: BTreeSet::new(),
            walk: Walk::default(),
            moving,
        };
        tokio::spawn(sweeper.run());
        sender
    }

    async fn run(mut self) {
        loop {
            if self.freezing.is_empty() && self.dropping.is_empty() {
                let Some(job) = self.jobs.recv().await else {
                    return;
                };
                self.take(job);
            }
            self.take_jobs();
            // What is begun during the walk may be missed by it, so it takes part in the next one.
            self.walk = Walk {
                freezing: self.freezing.keys().copied().collect(),
                dropping: mem::take(&mut self.dropping),
            };
            let Some(left) = self.walk().await else {
                return;
            };
            self.take_jobs();
            let walk = mem::take(&mut self.walk);
            for range in walk.dropping {
                to_all(&self.shared, || RangeStep::EndDrop(range));
                self.events.send(Event::Dropped(range));
            }
            for range in walk.freezing {
                if !left.contains(&range)
                    && let Some(Freezing { epoch, exact }) = self.remove(range)
                {
                    let exact = ExactSums {
                        range,
                        epoch,
                        changes: exact,
                    };
                    let (ceilings, events) = (self.ceilings.clone(), self.events.clone());
                    let membership = Arc::clone(&self.membership);
                    tokio::spawn(exact.write(ceilings, membership, events));
                }
            }
            if !self.freezing.is_empty() {
                sleep(PAUSE).await;
            }
        }
    }

    fn take_jobs(&mut self) {
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job);
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Freeze(range, epoch) => {
                let exact = Vec::new();
                self.freezing.insert(range, Freezing { epoch, exact });
            }
            Job::Drop(range) => {
                self.remove(range);
                self.walk.freezing.remove(&range);
                self.dropping.insert(range);
            }
            Job::ForgetAll => {
                self.moving.fetch_sub(self.freezing.len(), Ordering::AcqRel);
                self.freezing.clear();
                self.dropping.clear();
                // The next session may load these ranges before the walk ends.
                self.walk = Walk::default();
            }
        }
    }

    fn remove(&mut self, range: RangeId) -> Option<Freezing> {
        let removed = self.freezing.remove(&range);
        self.moving
            .fetch_sub(usize::from(removed.is_some()), Ordering::AcqRel);
        removed
    }

    /// Walks through all shards. Returns the ranges of which topics are left that could not be taken out
    /// yet; `None` if the workers have ended.
    async fn walk(&mut self) -> Option<BTreeSet<RangeId>> {
        let ranges = self.membership.owners.ranges();
        let mut left = BTreeSet::new();
        for shard in self.shared.shards().ids() {
            let mut next = Some(Position::START);
            while let Some(from) = next {
                let report = self.step(shard, from).await?;
                next = report.next;
                left.extend(report.swept.left);
                // The shards take out topics of a range as soon as they are told to, which may be during
                // this walk: its job came before the report.
                self.take_jobs();
                for change in report.swept.exact {
                    let range = Slot::of(change.topic()).range(ranges);
                    if let Some(freezing) = self.freezing.get_mut(&range) {
                        freezing.exact.push(change);
                    }
                }
            }
        }
        Some(left)
    }

    async fn step(&self, shard: ShardId, from: Position) -> Option<Report> {
        let (sender, report) = oneshot::channel();
        let done = Done::new(move |report| {
            // Nobody waits for it if the runtime has ended.
            let _ = sender.send(report);
        });
        let step = RangeStep::Sweep(from, done);
        self.shared
            .deliver(ShardMessage::Range(RangeMessage { shard, step }));
        report.await.ok()
    }
}
