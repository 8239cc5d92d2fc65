//! The counts of connections, of all workers together and of each worker. They limit the number of
//! connections and decide to which worker a connection may move.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use super::sources::{Source, Sources};
use crate::server::exchange::WorkerId;

/// How many connections any worker may have in addition to one and a half times its share.
const EXTRA_CONNECTIONS: usize = 4;

/// The counts of connections of all workers.
#[derive(Debug)]
pub(crate) struct Connections {
    /// How many connections are open.
    open: AtomicUsize,
    /// How many connections may be open.
    max: AtomicUsize,
    /// How many connections each worker has, including those that are on their way to it.
    by_worker: Box<[CachePadded<AtomicUsize>]>,
    /// How many connections were ever accepted, including refused ones.
    accepted: AtomicU64,
    /// How many connections were closed at once because `max` were open.
    refused: AtomicU64,
    /// The connections of each address; `None` if they are not limited.
    sources: Option<Sources>,
    /// How many connections were closed at once because their address had too many.
    refused_by_address: AtomicU64,
    /// How many workers may still accept connections.
    accepting: AtomicUsize,
    /// Notified when `open` or `accepting` becomes 0.
    ended: Notify,
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    all: Arc<Connections>,
    /// The worker that has the connection.
    worker: WorkerId,
    /// Where it comes from, if it is counted there.
    source: Option<Source>,
}

/// Why a connection is closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many connections are open.
    Connections,
    /// Too many connections of its address are open.
    Address,
}

/// A guard that a worker holds as long as it may accept connections.
#[derive(Debug)]
pub(crate) struct Accepting {
    all: Arc<Connections>,
    worker: WorkerId,
}

impl Connections {
    /// Creates the counts for this many workers, without connections. At most `max` connections may
    /// be open at a time, and of one address at most `per_address`.
    pub(crate) fn new(max: usize, per_address: Option<usize>, workers: u16) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            by_worker: (0..workers).map(|_| CachePadded::default()).collect(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sources: per_address.map(Sources::new),
            refused_by_address: AtomicU64::new(0),
            accepting: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// Returns how many connections may be open.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Changes how many connections may be open. If more are open already, they stay open.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Counts a worker that may accept connections, and returns its guard.
    pub(crate) fn accept(self: &Arc<Self>, worker: WorkerId) -> Accepting {
        self.accepting.fetch_add(1, Ordering::Relaxed);
        let all = Arc::clone(self);
        Accepting { all, worker }
    }

    /// Returns how many connections each worker has, in the order of the workers' numbers.
    pub(crate) fn by_worker(&self) -> impl Iterator<Item = usize> {
        let counts = self.by_worker.iter();
        counts.map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the count of a worker's connections.
    fn of(&self, worker: WorkerId) -> &AtomicUsize {
        &self.by_worker[usize::from(worker.0)]
    }

    /// Returns the worker with the fewest connections, and how many it has. If several have the
    /// fewest, returns the next after `here`, so that workers that ask at the same time choose
    /// different ones.
    fn fewest(&self, here: WorkerId) -> Option<(WorkerId, usize)> {
        let workers = (0..).map(WorkerId).zip(self.by_worker());
        workers.min_by_key(|&(worker, count)| (count, worker.0 <= here.0, worker.0))
    }

    /// Returns whether another connection may move to a worker on the server's own decision. The
    /// limit is one and a half times the worker's share, plus [`EXTRA_CONNECTIONS`]. Without a
    /// limit, the owner of a topic that all clients count would get all connections, and the other
    /// processors would have nothing to do.
    fn has_room_at(&self, worker: WorkerId) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        let share = open.div_ceil(self.by_worker.len());
        self.of(worker).load(Ordering::Relaxed) < share + share / 2 + EXTRA_CONNECTIONS
    }

    /// Returns how many connections are open, how many were ever accepted, and how many were
    /// refused: because too many were open, and because too many of their address were.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [
            self.open.load(Ordering::Relaxed) as u64,
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
            self.refused_by_address.load(Ordering::Relaxed),
        ]
    }

    /// Waits until no connection is open and no worker accepts any. From then on no connection
    /// moves between workers either.
    pub(crate) async fn all_ended(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            let is_zero = |count: &AtomicUsize| count.load(Ordering::Acquire) == 0;
            if is_zero(&self.accepting) && is_zero(&self.open) {
                return;
            }
            ended.await;
        }
    }

    /// Subtracts 1 from `open` or `accepting`. Notifies [`all_ended`](Self::all_ended) if it
    /// becomes 0.
    fn decrement(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
    }
}

impl Accepting {
    /// Counts an accepted connection from `address`.
    ///
    /// # Errors
    ///
    /// The maximum number of connections is open, of all or of this address: the connection is refused.
    pub(crate) fn open(&self, address: IpAddr) -> Result<OpenConnection, Refused> {
        let Self { all, worker } = self;
        let mut open = OpenConnection {
            all: Arc::clone(all),
            worker: *worker,
            source: None,
        };
        all.accepted.fetch_add(1, Ordering::Relaxed);
        all.of(*worker).fetch_add(1, Ordering::Relaxed);
        if all.open.fetch_add(1, Ordering::Relaxed) >= all.max() {
            all.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Connections);
        }
        if let Some(sources) = &all.sources {
            let source = Source::of(address);
            if !sources.open(source) {
                all.refused_by_address.fetch_add(1, Ordering::Relaxed);
                return Err(Refused::Address);
            }
            open.source = Some(source);
        }
        Ok(open)
    }
}

impl OpenConnection {
    /// Returns the worker that has the connection.
    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Counts the connection at `worker` from now on.
    pub(crate) fn move_to(&mut self, worker: WorkerId) {
        self.all.of(worker).fetch_add(1, Ordering::Relaxed);
        self.all.of(self.worker).fetch_sub(1, Ordering::Relaxed);
        self.worker = worker;
    }

    /// Moves a new connection to the worker with the fewest connections, if that worker has at
    /// least two fewer than this one. The kernel distributes connections at random, which is good
    /// for many connections and bad for few.
    pub(crate) fn move_to_fewest(&mut self) {
        let here = self.all.of(self.worker).load(Ordering::Relaxed);
        if let Some((worker, fewest)) = self.all.fewest(self.worker)
            && fewest + 1 < here
        {
            self.move_to(worker);
        }
    }

    /// Returns whether the connection may move to `worker` on the server's own decision.
    pub(crate) fn may_move_to(&self, worker: WorkerId) -> bool {
        self.all.has_room_at(worker)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.all.decrement(&self.all.accepting);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let (Some(sources), Some(source)) = (&self.all.sources, self.source) {
            sources.close(source);
        }
        self.all.of(self.worker).fetch_sub(1, Ordering::Relaxed);
        self.all.decrement(&self.all.open);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn accepting(workers: u16) -> Vec<Accepting> {
        let all = Arc::new(Connections::new(1_000, None, workers));
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
            let mut newcomer = accepting[1].open(PEER).unwrap();
            newcomer.move_to_fewest();
            open.push(newcomer);
        }
        assert_eq!(by_worker(&open[0]), [3, 3, 3]);
        open.retain(|open| open.worker() != WorkerId(2));
        let mut newcomer = accepting[0].open(PEER).unwrap();
        newcomer.move_to_fewest();
        assert_eq!(newcomer.worker(), WorkerId(2));
        assert_eq!(by_worker(&newcomer), [3, 3, 1]);
    }

    #[test]
    fn connections_move_to_a_worker_only_up_to_a_limit_above_its_share() {
        for (workers, connections, most) in
            [(2, 8, 8), (2, 64, 52), (4, 6, 6), (4, 100, 41), (8, 18, 8)]
        {
            let accepting = accepting(workers);
            let here = |n| &accepting[n % usize::from(workers)];
            let mut open: Vec<_> = (0..connections)
                .map(|n| here(n).open(PEER).unwrap())
                .collect();
            for open in &mut open {
                if open.worker() != WorkerId(0) && open.may_move_to(WorkerId(0)) {
                    open.move_to(WorkerId(0));
                }
            }
            let counts = by_worker(&open[0]);
            assert_eq!(
                counts[0], most,
                "of {connections} connections, {workers} workers"
            );
            assert_eq!(counts.iter().sum::<usize>(), connections);
        }
    }

    #[test]
    fn connections_of_one_address_are_limited() {
        let all = Arc::new(Connections::new(3, Some(1), 1));
        let accepting = all.accept(WorkerId(0));
        let address = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let one = accepting.open(address(1)).unwrap();
        assert_eq!(accepting.open(address(1)).unwrap_err(), Refused::Address);
        let _two = accepting.open(address(2)).unwrap();
        let _three = accepting.open(address(3)).unwrap();
        assert_eq!(
            accepting.open(address(4)).unwrap_err(),
            Refused::Connections
        );
        drop(one);
        let _one = accepting.open(address(1)).unwrap();
        assert_eq!(all.counts(), [3, 6, 1, 1]);
    }
}
