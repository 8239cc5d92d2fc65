//! What is known of a connection outside its task: where replies go that come back later, how much
//! the peer has not taken, and whether there is room for more. Knows no socket.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use super::exchange::{Batch, Walk, WorkerId, empty, shrink};
use super::resp::Ring;
use crate::protocol::framed::{self, RequestId};
use crate::protocol::{Reply, classic};

/// What an emptied buffer of a connection keeps, in bytes; idle connections hold little.
pub(super) const KEEP_LEN: usize = 4 * 1024;

/// A connection with this many bytes of replies that its peer does not take is not read from.
/// A client may well write 100,000 requests before it reads a reply; those replies are 1.5 MB.
pub(super) const UNSENT_LIMIT: usize = 4 * 1024 * 1024;

/// When a worker's connections hold this many bytes together, of replies and of requests that have
/// not come to their end, each is held to [`TIGHT_LIMIT`].
const WORKER_LIMIT: usize = 256 * 1024 * 1024;

/// What a connection may hold where the worker has too much.
const TIGHT_LIMIT: usize = 64 * 1024;

/// A connection with this many handed-over requests is not read from: about one full read's.
const IN_FLIGHT_LIMIT: usize = 8 * 1024;

/// So many more connections than that any worker may have.
const FEW_CONNECTIONS: usize = 4;

/// One connection, as its worker knows it.
pub(super) struct Link {
    serial: u64,
    dialect: RefCell<Spoken>,
    in_flight: Cell<usize>,
    /// Replies that the peer has not taken yet, in order; the first `written` bytes it has.
    replies: RefCell<Vec<u8>>,
    written: Cell<usize>,
    /// Bytes that this connection holds, and the sum of those of all of the worker.
    held: Cell<usize>,
    worker_held: Rc<Cell<usize>>,
    /// Bytes of requests that were read and not served.
    unserved: Cell<usize>,
    /// The walk of a SCAN that came back.
    walk: RefCell<Option<Box<Walk>>>,
    waker: RefCell<Option<Waker>>,
}

/// How replies are said.
#[derive(Debug)]
pub(super) enum Spoken {
    Classic,
    Framed,
    /// In the order of the requests.
    Resp(Ring),
}

impl Link {
    /// Nothing in flight, nothing unsent. `worker_held` is kept up to date with every change.
    pub(super) fn new(serial: u64, worker_held: &Rc<Cell<usize>>) -> Self {
        Self {
            serial,
            dialect: RefCell::new(Spoken::Framed),
            in_flight: Cell::new(0),
            replies: RefCell::default(),
            written: Cell::new(0),
            held: Cell::new(0),
            worker_held: Rc::clone(worker_held),
            unserved: Cell::new(0),
            walk: RefCell::default(),
            waker: RefCell::new(None),
        }
    }

    /// [`ConnectionKey::serial`](super::exchange::ConnectionKey::serial).
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// It speaks the classic dialect. Until it is told, a connection is taken to speak frames.
    pub(super) fn set_classic(&self) {
        self.dialect.replace(Spoken::Classic);
    }

    /// It speaks the Redis protocol.
    pub(super) fn set_resp(&self) {
        self.dialect.replace(Spoken::Resp(Ring::default()));
    }

    /// It speaks as it did at the worker that it comes from.
    pub(super) fn set_spoken(&self, spoken: Spoken) {
        self.dialect.replace(spoken);
    }

    /// How it speaks, for the worker that it moves to. Nothing is in flight.
    pub(super) fn take_spoken(&self) -> Spoken {
        self.dialect.replace(Spoken::Framed)
    }

    /// The ring of replies of a connection that speaks the Redis protocol.
    ///
    /// # Panics
    ///
    /// For any other.
    pub(super) fn ring(&self) -> RefMut<'_, Ring> {
        RefMut::map(self.dialect.borrow_mut(), |dialect| match dialect {
            Spoken::Resp(ring) => ring,
            _ => unreachable!("a RESP session called set_resp"),
        })
    }

    /// Appends a reply in the connection's dialect to `out`, or puts it into its slot.
    pub(super) fn encode(&self, id: RequestId, reply: Reply, out: &mut Vec<u8>) {
        match &mut *self.dialect.borrow_mut() {
            Spoken::Framed => framed::encode_reply(id, reply, out),
            Spoken::Classic => classic::encode_reply(reply, out),
            Spoken::Resp(ring) => ring.fill(id, reply),
        }
    }

    /// Appends what has to wait for nothing any more. Returns how many of these replies were errors
    /// that are counted.
    pub(super) fn drain(&self, out: &mut Vec<u8>) -> u64 {
        match &mut *self.dialect.borrow_mut() {
            Spoken::Resp(ring) => ring.drain(out),
            _ => 0,
        }
    }

    /// How many requests are on their way to shards or back.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// That many more requests are on their way.
    pub(super) fn departed(&self, requests: usize) {
        self.in_flight.update(|count| count + requests);
    }

    /// That many requests have their replies.
    pub(super) fn arrived(&self, requests: usize) {
        self.in_flight.update(|count| count - requests);
    }

    /// A batch came back: takes its replies, and wakes the task to write them. Returns as
    /// [`drain`](Self::drain).
    pub(super) fn returned(&self, batch: &mut Batch) -> u64 {
        self.came_back(|replies| {
            let mut count = 0;
            for (request, reply) in batch.replies() {
                self.encode(request.id, reply, replies);
                count += 1;
            }
            if let Some(walk) = batch.walk.take() {
                *self.walk.borrow_mut() = Some(walk);
                count += 1;
            }
            count
        })
    }

    /// A reply came that waited for the store: as [`returned`](Self::returned).
    pub(super) fn returned_late(&self, id: RequestId, reply: Reply) -> u64 {
        self.came_back(|replies| {
            self.encode(id, reply, replies);
            1
        })
    }

    /// Appends what `encode` has to say to the unsent, of as many requests as it tells.
    fn came_back(&self, encode: impl FnOnce(&mut Vec<u8>) -> usize) -> u64 {
        let mut replies = self.replies.borrow_mut();
        let count = encode(&mut replies);
        let errors = self.drain(&mut replies);
        drop(replies);
        self.arrived(count);
        self.account();
        self.wake();
        errors
    }

    /// The walk that came back, if one did.
    pub(super) fn take_walk(&self) -> Option<Box<Walk>> {
        self.walk.take()
    }

    /// Bytes of replies that the peer has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.replies.borrow().len() - self.written.get()
    }

    /// Whether the peer may ask more before it takes its replies. Where not, the connection's task
    /// is woken when it takes some (by the write that left them unsent) or when some come back.
    pub(super) fn has_room(&self) -> bool {
        let ring = match &*self.dialect.borrow() {
            Spoken::Resp(ring) => ring.has_room(),
            _ => true,
        };
        ring && self.in_flight() < IN_FLIGHT_LIMIT && self.room() > 0
    }

    /// How many more bytes of replies it may hold before it is not read from.
    pub(super) fn room(&self) -> usize {
        let limit = if self.worker_has_room() {
            UNSENT_LIMIT
        } else {
            TIGHT_LIMIT
        };
        limit.saturating_sub(self.held.get() - self.unserved.get())
    }

    /// Whether the connections of the worker hold no more than they should.
    pub(super) fn worker_has_room(&self) -> bool {
        self.worker_held.get() < WORKER_LIMIT
    }

    /// That many bytes were read from the peer and are kept, not served.
    pub(super) fn set_unserved(&self, len: usize) {
        self.unserved.set(len);
        self.account();
    }

    /// Brings what it is known to hold up to date.
    fn account(&self) {
        let text = match &*self.dialect.borrow() {
            Spoken::Resp(ring) => ring.text_len(),
            _ => 0,
        };
        let held = self.unsent() + text + self.unserved.get();
        let before = self.held.replace(held);
        self.worker_held.update(|all| all + held - before);
    }

    /// Adds to what is unsent.
    pub(super) fn append(&self, replies: &[u8]) {
        if !replies.is_empty() {
            self.replies.borrow_mut().extend_from_slice(replies);
            self.account();
        }
    }

    /// Passes what is unsent to `write`, until all is written (true) or no more is taken (false).
    ///
    /// # Errors
    ///
    /// What `write` fails with.
    pub(super) fn write_to(
        &self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> io::Result<bool> {
        if self.unsent() == 0 {
            return Ok(true);
        }
        let mut replies = self.replies.borrow_mut();
        let mut all = true;
        while self.written.get() < replies.len() {
            let Poll::Ready(taken) = write(&replies[self.written.get()..]) else {
                // What is written is forgotten once that is most of it.
                if self.written.get() > replies.len() / 2 {
                    replies.drain(..self.written.take());
                    shrink(&mut replies, KEEP_LEN);
                }
                all = false;
                break;
            };
            let taken = taken?;
            self.written.update(|written| written + taken);
        }
        if all {
            self.written.set(0);
            empty(&mut replies, KEEP_LEN);
        }
        drop(replies);
        self.account();
        Ok(all)
    }

    /// Takes out all that is unsent.
    pub(super) fn take_unsent(&self) -> Vec<u8> {
        let mut replies = self.replies.take();
        replies.drain(..self.written.take());
        self.account();
        replies
    }

    /// Says which task to wake.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Has the connection's task look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.worker_held.update(|all| all - self.held.get());
    }
}

/// The connections of all workers together.
#[derive(Debug)]
pub(super) struct Connections {
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
pub(super) struct OpenConnection {
    all: Arc<Connections>,
    /// Whose it is.
    worker: WorkerId,
}

/// Held by a worker as long as it may accept connections.
#[derive(Debug)]
pub(super) struct Accepting {
    all: Arc<Connections>,
    worker: WorkerId,
}

impl Connections {
    /// None yet, and at most `max` at a time, for so many workers.
    pub(super) fn new(max: usize, workers: u16) -> Self {
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
    pub(super) fn accept(self: &Arc<Self>, worker: WorkerId) -> Accepting {
        self.accepting.fetch_add(1, Ordering::Relaxed);
        let all = Arc::clone(self);
        Accepting { all, worker }
    }

    /// How many each worker has, in the order of their numbers.
    pub(super) fn by_worker(&self) -> impl Iterator<Item = usize> {
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
    pub(super) fn counts(&self) -> [u64; 3] {
        [
            self.open.load(Ordering::Relaxed) as u64,
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        ]
    }

    /// Returns when there is no connection left and none can come: nothing moves between workers
    /// any more either.
    pub(super) async fn all_ended(&self) {
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
    pub(super) fn open(&self) -> Option<OpenConnection> {
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
    pub(super) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// It is that worker's from now on.
    pub(super) fn move_to(&mut self, worker: WorkerId) {
        self.all.of(worker).fetch_add(1, Ordering::Relaxed);
        self.all.of(self.worker).fetch_sub(1, Ordering::Relaxed);
        self.worker = worker;
    }

    /// A new one goes to the worker with the fewest. The system spreads them by chance, which serves
    /// many well and few badly.
    pub(super) fn move_to_fewest(&mut self) {
        let here = self.all.of(self.worker).load(Ordering::Relaxed);
        if let Some((worker, fewest)) = self.all.fewest(self.worker)
            && fewest + 1 < here
        {
            self.move_to(worker);
        }
    }

    /// Whether it may go to that worker by itself.
    pub(super) fn may_move_to(&self, worker: WorkerId) -> bool {
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
