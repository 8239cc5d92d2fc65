//! Carries out what the node decides: every action for the shards starts here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{error, info};

use super::loading::{Loading, load};
use super::owners::Publisher;
use super::steps::{to_all, to_all_then};
use super::sweeper::{Job, Sweeper};
use crate::cluster::{Epoch, Event, Moment, Node, RangeId};
use crate::etcd::{Ceilings, Events, Shards};
use crate::server::cluster::Membership;
use crate::server::exchange::{RangeStep, Shared};
use crate::shard::LoadId;
use crate::store::Loads;

/// The most ranges that are read from etcd at a time.
const MAX_READS: usize = 16;

/// The ranges of this node.
pub(super) struct Ranges {
    shared: Arc<Shared>,
    membership: Arc<Membership>,
    publisher: Publisher,
    events: Events,
    ceilings: Ceilings,
    loads: Arc<Loads>,
    last_load: LoadId,
    reads: Arc<Semaphore>,
    sweeper: mpsc::UnboundedSender<Job>,
    /// The number of ranges that are loaded or taken out, for which requests may wait.
    moving: Arc<AtomicUsize>,
    /// Stops the server.
    stop: watch::Sender<bool>,
    has_left: bool,
}

impl Ranges {
    /// Creates the ranges of a node that has none yet. Must be called in the runtime to which the client
    /// of `ceilings` belongs.
    pub(super) fn new(
        shared: Arc<Shared>,
        membership: Arc<Membership>,
        events: Events,
        ceilings: Ceilings,
        loads: Arc<Loads>,
        stop: watch::Sender<bool>,
    ) -> Self {
        let moving = Arc::default();
        let sweeper = Sweeper::spawn(
            Arc::clone(&shared),
            Arc::clone(&membership),
            events.clone(),
            ceilings.clone(),
            Arc::clone(&moving),
        );
        tokio::spawn(expire_held(
            Arc::clone(&shared),
            Arc::clone(&membership),
            Arc::clone(&moving),
        ));
        let publisher = Publisher::new(Arc::clone(&shared), Arc::clone(&membership));
        Self {
            shared,
            membership,
            events,
            ceilings,
            loads,
            publisher,
            last_load: LoadId::NONE,
            reads: Arc::new(Semaphore::new(MAX_READS)),
            sweeper,
            moving,
            stop,
            has_left: false,
        }
    }

    fn sweep(&self, job: Job) {
        // The sweeper ends with the runtime in which this runs.
        let _ = self.sweeper.send(job);
    }
}

impl Shards for Ranges {
    fn set_deadline(&mut self, deadline: Moment) {
        self.membership.ranges.session_lives();
        self.membership.deadline.set(deadline);
    }

    fn end_deadline(&mut self) {
        self.membership.deadline.end();
        error!(
            "the lease of this node is over, and etcd has not renewed it: its topics are not served until \
             etcd answers again"
        );
    }

    fn load(&mut self, range: RangeId, epoch: Epoch) {
        self.last_load = self.last_load.next();
        let id = self.last_load;
        self.loads.set(range, Some((id, epoch)));
        self.membership.ranges.load(range, epoch);
        self.publisher.begin_load(range, id);
        let publisher = self.publisher.clone();
        let (has_begun, begun) = oneshot::channel();
        to_all_then(
            &self.shared,
            |done| RangeStep::BeginLoad(range, id, done),
            move || {
                publisher.load_begun(range, id);
                // Nobody waits if the range could not be read.
                let _ = has_begun.send(());
            },
        );
        self.moving.fetch_add(1, Ordering::AcqRel);
        let loading = Loading {
            shared: Arc::clone(&self.shared),
            membership: Arc::clone(&self.membership),
            events: self.events.clone(),
            ceilings: self.ceilings.clone(),
            reads: Arc::clone(&self.reads),
            range,
            epoch,
            id,
            begun,
            moving: Arc::clone(&self.moving),
        };
        tokio::spawn(load(loading));
    }

    fn freeze(&mut self, range: RangeId, epoch: Epoch) {
        if let Some(load) = self.loads.load_at(range, epoch) {
            to_all(&self.shared, || RangeStep::Freeze(range, load));
        }
        self.membership.ranges.freeze(range, epoch);
        self.moving.fetch_add(1, Ordering::AcqRel);
        self.sweep(Job::Freeze(range, epoch));
    }

    fn drop_range(&mut self, range: RangeId) {
        self.loads.set(range, None);
        self.membership.ranges.drop_range(range);
        to_all(&self.shared, || RangeStep::BeginDrop(range));
        self.sweep(Job::Drop(range));
    }

    fn drop_all(&mut self) {
        self.membership.deadline.end();
        self.loads.clear();
        self.membership.ranges.drop_all();
        self.sweep(Job::ForgetAll);
        let events = self.events.clone();
        to_all_then(&self.shared, RangeStep::DropAll, move || {
            events.send(Event::AllDropped);
        });
    }

    fn owners_changed(&mut self, node: &Node) {
        self.publisher.update(node);
    }

    fn left(&mut self) {
        info!("left the cluster");
        self.has_left = true;
        self.stop.send_replace(true);
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.membership.deadline.end();
        if !self.has_left && !*self.stop.borrow() {
            error!("the thread of the cluster has ended: shutting down");
            self.stop.send_replace(true);
        }
    }
}

/// Answers requests that wait for a range for too long.
async fn expire_held(shared: Arc<Shared>, membership: Arc<Membership>, moving: Arc<AtomicUsize>) {
    let timeout = membership.forward_timeout;
    let mut ticks = tokio::time::interval((timeout / 20).max(std::time::Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        if moving.load(Ordering::Acquire) > 0
            && let Some(before) = std::time::Instant::now().checked_sub(timeout)
        {
            to_all(&shared, || RangeStep::Expire(before));
        }
    }
}
