//! What is known of a connection outside its task: where replies go that come back later, and how
//! much the peer has not taken. Knows no socket.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::Notify;

use super::batch::{Batch, empty};
use crate::protocol::framed::{self, RequestId};
use crate::protocol::{Reply, classic};

/// What an emptied buffer of a connection keeps, in bytes; idle connections hold little.
pub(super) const KEEP_LEN: usize = 4 * 1024;

/// One connection, as its worker knows it.
pub(super) struct Link {
    serial: u64,
    classic: Cell<bool>,
    in_flight: Cell<usize>,
    /// Replies that the peer has not taken yet, in order; the first `written` bytes it has.
    replies: RefCell<Vec<u8>>,
    written: Cell<usize>,
    /// The sum of all [`unsent`](Link::unsent) of the worker.
    worker_unsent: Rc<Cell<usize>>,
    waker: RefCell<Option<Waker>>,
}

impl Link {
    /// Nothing in flight, nothing unsent. `worker_unsent` is kept up to date with every change.
    pub(super) fn new(serial: u64, worker_unsent: &Rc<Cell<usize>>) -> Self {
        Self {
            serial,
            classic: Cell::new(false),
            in_flight: Cell::new(0),
            replies: RefCell::default(),
            written: Cell::new(0),
            worker_unsent: Rc::clone(worker_unsent),
            waker: RefCell::new(None),
        }
    }

    /// [`ConnectionKey::serial`](super::batch::ConnectionKey::serial).
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// It speaks the classic dialect; otherwise it is taken to speak frames.
    pub(super) fn set_classic(&self) {
        self.classic.set(true);
    }

    /// Appends a reply in the connection's dialect to `out`.
    pub(super) fn encode(&self, id: RequestId, reply: Reply, out: &mut Vec<u8>) {
        if self.classic.get() {
            classic::encode_reply(reply, out);
        } else {
            framed::encode_reply(id, reply, out);
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

    /// A batch came back: takes its replies, and wakes the task to write them.
    pub(super) fn returned(&self, batch: &Batch) {
        let before = self.unsent();
        let mut count = 0;
        let mut replies = self.replies.borrow_mut();
        for (request, reply) in batch.replies() {
            self.encode(request.id, reply, &mut replies);
            count += 1;
        }
        drop(replies);
        self.arrived(count);
        self.worker_unsent
            .update(|all| all + self.unsent() - before);
        self.wake();
    }

    /// Bytes of replies that the peer has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.replies.borrow().len() - self.written.get()
    }

    /// Adds to what is unsent.
    pub(super) fn append(&self, replies: &[u8]) {
        if !replies.is_empty() {
            self.replies.borrow_mut().extend_from_slice(replies);
            self.worker_unsent.update(|all| all + replies.len());
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
        let mut replies = self.replies.borrow_mut();
        while self.written.get() < replies.len() {
            let Poll::Ready(taken) = write(&replies[self.written.get()..]) else {
                // What is written is forgotten once that is most of it.
                if self.written.get() > replies.len() / 2 {
                    replies.drain(..self.written.take());
                }
                return Ok(false);
            };
            let taken = taken?;
            self.written.update(|written| written + taken);
            self.worker_unsent.update(|all| all - taken);
        }
        self.written.set(0);
        empty(&mut replies, KEEP_LEN);
        Ok(true)
    }

    /// Takes out all that is unsent.
    pub(super) fn take_unsent(&self) -> Vec<u8> {
        self.worker_unsent.update(|all| all - self.unsent());
        let mut replies = self.replies.take();
        replies.drain(..self.written.take());
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
        self.worker_unsent.update(|all| all - self.unsent());
    }
}

/// The connections of all workers together.
#[derive(Debug)]
pub(super) struct Connections {
    open: AtomicUsize,
    max: usize,
    /// How many workers may still accept one.
    accepting: AtomicUsize,
    ended: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Connections>);

/// Held by a worker as long as it may accept connections.
#[derive(Debug)]
pub(super) struct Accepting(Arc<Connections>);

impl Connections {
    /// None yet, and at most `max` at a time.
    pub(super) fn new(max: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max,
            accepting: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// One worker more that may accept connections.
    pub(super) fn accept(self: &Arc<Self>) -> Accepting {
        self.accepting.fetch_add(1, Ordering::Relaxed);
        Accepting(Arc::clone(self))
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
        let open = OpenConnection(Arc::clone(&self.0));
        (self.0.open.fetch_add(1, Ordering::Relaxed) < self.0.max).then_some(open)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.one_less(&self.0.accepting);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.one_less(&self.0.open);
    }
}
