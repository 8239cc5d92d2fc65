//! What is known of a connection outside its task: where replies go that come back later, how much
//! the peer has not taken, and whether there is room for more. Knows no socket.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::ring::Ring;
use crate::protocol::framed::{self, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Batch, Walk, empty, shrink};

/// What an emptied buffer of a connection keeps, in bytes; idle connections hold little.
pub(crate) const KEEP_LEN: usize = 4 * 1024;

/// A connection with this many bytes of replies that its peer does not take is not read from.
/// A client may well write 100,000 requests before it reads a reply; those replies are 1.5 MB.
pub(crate) const UNSENT_LIMIT: usize = 4 * 1024 * 1024;

/// When a worker's connections hold this many bytes together, of replies and of requests that have
/// not come to their end, each is held to [`TIGHT_LIMIT`].
const WORKER_LIMIT: usize = 256 * 1024 * 1024;

/// What a connection may hold where the worker has too much.
const TIGHT_LIMIT: usize = 64 * 1024;

/// A connection with this many handed-over requests is not read from: about one full read's.
const IN_FLIGHT_LIMIT: usize = 8 * 1024;

/// One connection, as its worker knows it.
pub(crate) struct Link {
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
    /// Bytes of a reply that is still being collected, or sent in pieces as there is room.
    collected: Cell<usize>,
    /// The walk of a SCAN that came back.
    walk: RefCell<Option<Box<Walk>>>,
    waker: RefCell<Option<Waker>>,
}

/// How replies are said.
#[derive(Debug)]
pub(crate) enum Spoken {
    Classic,
    Framed,
    /// In the order of the requests.
    Resp(Ring),
}

impl Link {
    /// Nothing in flight, nothing unsent. `worker_held` is kept up to date with every change.
    pub(crate) fn new(serial: u64, worker_held: &Rc<Cell<usize>>) -> Self {
        Self {
            serial,
            dialect: RefCell::new(Spoken::Framed),
            in_flight: Cell::new(0),
            replies: RefCell::default(),
            written: Cell::new(0),
            held: Cell::new(0),
            worker_held: Rc::clone(worker_held),
            unserved: Cell::new(0),
            collected: Cell::new(0),
            walk: RefCell::default(),
            waker: RefCell::new(None),
        }
    }

    /// [`ConnectionKey::serial`](crate::server::exchange::ConnectionKey::serial).
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// It speaks the classic dialect. Until it is told, a connection is taken to speak frames.
    pub(crate) fn set_classic(&self) {
        self.dialect.replace(Spoken::Classic);
    }

    /// It speaks the Redis protocol.
    pub(crate) fn set_resp(&self) {
        self.dialect.replace(Spoken::Resp(Ring::default()));
    }

    /// It speaks as it did at the worker that it comes from.
    pub(crate) fn set_spoken(&self, spoken: Spoken) {
        self.dialect.replace(spoken);
    }

    /// How it speaks, for the worker that it moves to. Nothing is in flight.
    pub(crate) fn take_spoken(&self) -> Spoken {
        self.dialect.replace(Spoken::Framed)
    }

    /// The ring of replies of a connection that speaks the Redis protocol.
    ///
    /// # Panics
    ///
    /// For any other.
    pub(crate) fn ring(&self) -> RefMut<'_, Ring> {
        RefMut::map(self.dialect.borrow_mut(), |dialect| match dialect {
            Spoken::Resp(ring) => ring,
            _ => unreachable!("a RESP session called set_resp"),
        })
    }

    /// Appends a reply in the connection's dialect to `out`, or puts it into its slot.
    pub(crate) fn encode(&self, id: RequestId, reply: Reply, out: &mut Vec<u8>) {
        match &mut *self.dialect.borrow_mut() {
            Spoken::Framed => framed::encode_reply(id, reply, out),
            Spoken::Classic => classic::encode_reply(reply, out),
            Spoken::Resp(ring) => ring.fill(id, reply),
        }
    }

    /// Appends what has to wait for nothing any more. Returns how many of these replies were errors
    /// that are counted.
    pub(crate) fn drain(&self, out: &mut Vec<u8>) -> u64 {
        match &mut *self.dialect.borrow_mut() {
            Spoken::Resp(ring) => ring.drain(out),
            _ => 0,
        }
    }

    /// How many requests are on their way to shards or back.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// That many more requests are on their way.
    pub(crate) fn departed(&self, requests: usize) {
        self.in_flight.update(|count| count + requests);
    }

    /// That many requests have their replies.
    pub(crate) fn arrived(&self, requests: usize) {
        self.in_flight.update(|count| count - requests);
    }

    /// A batch came back: takes its replies, and wakes the task to write them. Returns as
    /// [`drain`](Self::drain).
    pub(crate) fn returned(&self, batch: &mut Batch) -> u64 {
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
    pub(crate) fn returned_late(&self, id: RequestId, reply: Reply) -> u64 {
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
    pub(crate) fn take_walk(&self) -> Option<Box<Walk>> {
        self.walk.take()
    }

    /// Bytes of replies that the peer has not taken.
    pub(crate) fn unsent(&self) -> usize {
        self.replies.borrow().len() - self.written.get()
    }

    /// Whether the peer may ask more before it takes its replies. Where not, the connection's task
    /// is woken when it takes some (by the write that left them unsent) or when some come back.
    pub(crate) fn has_room(&self) -> bool {
        let ring = match &*self.dialect.borrow() {
            Spoken::Resp(ring) => ring.has_room(),
            _ => true,
        };
        ring && self.in_flight() < IN_FLIGHT_LIMIT && self.room() > 0
    }

    /// How many more bytes of replies it may hold before it is not read from.
    pub(crate) fn room(&self) -> usize {
        let limit = if self.worker_has_room() {
            UNSENT_LIMIT
        } else {
            TIGHT_LIMIT
        };
        limit.saturating_sub(self.held.get() - self.unserved.get() - self.collected.get())
    }

    /// Whether the connections of the worker hold no more than they should.
    pub(crate) fn worker_has_room(&self) -> bool {
        self.worker_held.get() < WORKER_LIMIT
    }

    /// That many bytes were read from the peer and are kept, not served.
    pub(crate) fn set_unserved(&self, len: usize) {
        self.unserved.set(len);
        self.account();
    }

    /// Sets how many bytes of a reply are collected and not appended yet. They count for what the
    /// worker's connections hold, but leave this connection room to send them.
    pub(crate) fn set_collected(&self, len: usize) {
        self.collected.set(len);
        self.account();
    }

    /// Brings what it is known to hold up to date.
    fn account(&self) {
        let text = match &*self.dialect.borrow() {
            Spoken::Resp(ring) => ring.text_len(),
            _ => 0,
        };
        let held = self.unsent() + text + self.unserved.get() + self.collected.get();
        let before = self.held.replace(held);
        self.worker_held.update(|all| all + held - before);
    }

    /// Adds to what is unsent.
    pub(crate) fn append(&self, replies: &[u8]) {
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
    pub(crate) fn write_to(
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
    pub(crate) fn take_unsent(&self) -> Vec<u8> {
        let mut replies = self.replies.take();
        replies.drain(..self.written.take());
        self.account();
        replies
    }

    /// Says which task to wake.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Has the connection's task look again.
    pub(crate) fn wake(&self) {
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
