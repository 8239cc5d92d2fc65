//! The connections of all workers together: how many there may be and are, which worker has how many,
//! and so where one may go.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use crate::server::exchange::WorkerId;

/// So many more connections than that any worker may have.
const FEW_CONNECTIONS: usize = 4;

/// The connections of all workers together.
#[derive(Debug)]
pub(crate) struct Connections {
    open: AtomicUsize,
    max: usize,
    /// How many of the open ones each worker has, or will have in a moment.
    by_worker: Box<[CachePadded<AtomicUsize>]>,
    /// How many were ever accepted, and how many of these were closed for being over `max`.
    accepted: AtomicU64,
    refused: AtomicU64,
    /// How many workers may still accept one.
    accepting: AtomicUsize,
    ended: Notify,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    all: Arc<Connections>,
    /// Whose it is.
    worker: WorkerId,
}

/// Held by a worker as long as it may accept connections.
#[derive(Debug)]
pub(crate) struct Accepting {
    all: Arc<Connections>,
    worker: WorkerId,
}

impl Connections {
    /// None yet, and at most `max` at a time, for so many workers.
    pub(crate) fn new(max: usize, workers: u16) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max,
            by_worker: (0..workers).map(|_| CachePadded::default()).collect(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            accepting: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// One worker more that may accept connections.
    pub(crate) fn accept(self: &Arc<Self>, worker: WorkerId) -> Accepting {
        self.accepting.fetch_add(1, Ordering::Relaxed);
        let all = Arc::clone(self);
        Accepting { all, worker }
    }

    /// How many each worker has, in the order of their numbers.
    pub(crate) fn by_worker(&self) -> impl Iterator<Item = usize> {
        let counts = self.by_worker.iter();
        counts.map(|count| count.load(Ordering::Relaxed))
    }

    /// How many connections a worker has.
    fn of(&self, worker: WorkerId) -> &AtomicUsize {
        &self.by_worker[usize::from(worker.0)]
    }

    /// The worker with the fewest connections, and how many it has. Of several, the next after
    /// `here`: workers that look at the same time then take different ones.
    fn fewest(&self, here: WorkerId) -> Option<(WorkerId, usize)> {
        let workers = (0..).map(WorkerId).zip(self.by_worker());
        workers.min_by_key(|&(worker, count)| (count, worker.0 <= here.0, worker.0))
    }

    /// Whether a worker may have another connection that comes by itself. One that owns what everybody
    /// counts would else have them all, and the other processors nothing to do: so it gets no more
    /// than one and a half times its share, and a few.
    fn has_room_at(&self, worker: WorkerId) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        let share = open.div_ceil(self.by_worker.len());
        self.of(worker).load(Ordering::Relaxed) < share + share / 2 + FEW_CONNECTIONS
    }

    /// How many are open, were ever accepted, and were refused for being too many.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [
            self.open.load(Ordering::Relaxed) as u64,
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        ]
    }

    /// Returns when there is no connection left and none can come: nothing moves between workers
    /// any more either.
    pub(crate) async fn all_ended(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            let left = |count: &AtomicUsize| count.load(Ordering::Acquire) > 0;
            if !left(&self.accepting) && !left(&self.open) {
                return;
            }
            ended.await;
        }
    }

    fn one_less(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
    }
}

impl Accepting {
    /// Counts one more connection; `None` where that would be one too many.
    pub(crate) fn open(&self) -> Option<OpenConnection> {
        let Self { all, worker } = self;
        let open = OpenConnection {
            all: Arc::clone(all),
            worker: *worker,
        };
        all.accepted.fetch_add(1, Ordering::Relaxed);
        all.of(*worker).fetch_add(1, Ordering::Relaxed);
        if all.open.fetch_add(1, Ordering::Relaxed) < all.max {
            return Some(open);
        }
        all.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl OpenConnection {
    /// Whose it is.
    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// It is that worker's from now on.
    pub(crate) fn move_to(&mut self, worker: WorkerId) {
        self.all.of(worker).fetch_add(1, Ordering::Relaxed);
        self.all.of(self.worker).fetch_sub(1, Ordering::Relaxed);
        self.worker = worker;
    }

    /// A new one goes to the worker with the fewest. The system spreads them by chance, which serves
    /// many well and few badly.
    pub(crate) fn move_to_fewest(&mut self) {
        let here = self.all.of(self.worker).load(Ordering::Relaxed);
        if let Some((worker, fewest)) = self.all.fewest(self.worker)
            && fewest + 1 < here
        {
            self.move_to(worker);
        }
    }

    /// Whether it may go to that worker by itself.
    pub(crate) fn may_move_to(&self, worker: WorkerId) -> bool {
        self.all.has_room_at(worker)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.all.one_less(&self.all.accepting);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.of(self.worker).fetch_sub(1, Ordering::Relaxed);
        self.all.one_less(&self.all.open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(workers: u16) -> Vec<Accepting> {
        let all = Arc::new(Connections::new(1_000, workers));
        (0..workers)
            .map(|worker| all.accept(WorkerId(worker)))
            .collect()
    }

    fn by_worker(open: &OpenConnection) -> Vec<usize> {
        open.all.by_worker().collect()
    }

    #[test]
    fn new_connections_go_to_the_worker_with_the_fewest() {
        let accepting = accepting(3);
        let mut open = Vec::new();
        for _ in 0..9 {
            let mut newcomer = accepting[1].open().unwrap();
            newcomer.move_to_fewest();
            open.push(newcomer);
        }
        assert_eq!(by_worker(&open[0]), [3, 3, 3]);
        open.retain(|open| open.worker() != WorkerId(2));
        let mut newcomer = accepting[0].open().unwrap();
        newcomer.move_to_fewest();
        assert_eq!(newcomer.worker(), WorkerId(2));
        assert_eq!(by_worker(&newcomer), [3, 3, 1]);
    }

    #[test]
    fn no_worker_gets_many_more_than_its_share_by_itself() {
        for (workers, connections, most) in
            [(2, 8, 8), (2, 64, 52), (4, 6, 6), (4, 100, 41), (8, 18, 8)]
        {
            let accepting = accepting(workers);
            let here = |n| &accepting[n % usize::from(workers)];
            let mut open: Vec<_> = (0..connections).map(|n| here(n).open().unwrap()).collect();
            for open in &mut open {
                if open.worker() != WorkerId(0) && open.may_move_to(WorkerId(0)) {
                    open.move_to(WorkerId(0));
                }
            }
            let counts = by_worker(&open[0]);
            assert_eq!(counts[0], most, "of {connections} at {workers} workers");
            assert_eq!(counts.iter().sum::<usize>(), connections);
        }
    }
}
