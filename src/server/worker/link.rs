//! The part of a connection that the other tasks of its worker use. It queues replies that come
//! back later, counts the bytes that are not written yet, and decides whether more may be read from
//! the connection. It knows no socket.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::deadlines::Tick;
use super::limits::Limits;
use super::ring::Ring;
use super::waiting::{Awaited, Task, Verdict, Waiting};
use crate::protocol::framed::{self, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Batch, ConnectionKey, LateReply, SearchPart, empty, shrink};
use crate::server::status::{CloseReason, Counters};

/// How many bytes of capacity an emptied buffer of a connection keeps, so that idle connections
/// hold little memory.
pub(crate) const KEEP_LEN: usize = 4 * 1024;

/// The socket of a connection, for replies.
pub(crate) trait ReplySocket {
    /// Writes bytes, and returns how many the socket accepted.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it accepts none now, or any error of the socket.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The part of one connection that its worker's tasks share.
pub(crate) struct Link {
    key: ConnectionKey,
    encoder: RefCell<ReplyEncoder>,
    /// The number of requests on their way to shards or back.
    in_flight: Cell<usize>,
    /// The number of requests that were ever submitted.
    submitted: Cell<usize>,
    /// A read whose latency is measured.
    measured: Cell<Option<MeasuredRead>>,
    /// Encoded replies, in order. The first `written` bytes are written to the socket.
    replies: RefCell<Vec<u8>>,
    written: Cell<usize>,
    /// The number of bytes that this connection holds: unsent replies, text in the ring, unserved
    /// input, and a reply that is being collected.
    held: Cell<usize>,
    /// The limits of all connections of the worker.
    limits: Rc<Limits>,
    waiting: Waiting,
    /// How many bytes were read and not served yet.
    unserved: Cell<usize>,
    /// The number of bytes of a KEYS reply that are collected but not appended to the ring yet.
    collected: Cell<usize>,
    /// The number of bytes of an incomplete record of TLS.
    record: Cell<usize>,
    /// The part of a search that was handed over, after it came back.
    search_part: RefCell<Option<Box<SearchPart>>>,
    /// The socket, unless the connection has ended or moved away.
    socket: RefCell<Option<Rc<dyn ReplySocket>>>,
    /// Whether the connection's task waits for nothing but input. Then replies that come back are
    /// written without it.
    idle: Cell<bool>,
    /// Whether replies came back that are neither written nor left to the task yet.
    touched: Cell<bool>,
    /// The waker of the connection's task.
    waker: RefCell<Option<Waker>>,
}

/// A read whose requests do not all have their replies yet.
#[derive(Debug, Clone, Copy)]
struct MeasuredRead {
    start: Instant,
    requests: usize,
    /// The replies that are still to come, those to earlier requests included. Replies can overtake
    /// one another, so the time that is measured may be that of others.
    left: usize,
}

/// Encodes the replies of a connection, in its dialect.
#[derive(Debug)]
pub(crate) enum ReplyEncoder {
    Classic,
    Framed,
    /// Framed, to another node: carries every reply.
    Node,
    /// The ring holds replies back until all earlier requests have theirs.
    Resp(Ring),
}

impl Link {
    /// Creates the link of a new connection. Its dialect is framed until a setter changes it.
    /// `limits` are those of the worker; they are told of every change of the bytes that the connection
    /// holds.
    pub(super) fn new(key: ConnectionKey, limits: &Rc<Limits>) -> Self {
        Self {
            key,
            encoder: RefCell::new(ReplyEncoder::Framed),
            in_flight: Cell::new(0),
            submitted: Cell::new(0),
            measured: Cell::new(None),
            replies: RefCell::default(),
            written: Cell::new(0),
            held: Cell::new(0),
            limits: Rc::clone(limits),
            waiting: Waiting::default(),
            unserved: Cell::new(0),
            collected: Cell::new(0),
            record: Cell::new(0),
            search_part: RefCell::default(),
            socket: RefCell::new(None),
            idle: Cell::new(false),
            touched: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Returns the connection's
    /// [`ConnectionKey::serial`](crate::server::exchange::ConnectionKey::serial).
    pub(crate) fn serial(&self) -> u64 {
        self.key.serial
    }

    /// Makes the connection speak the classic dialect.
    pub(crate) fn set_classic(&self) {
        self.encoder.replace(ReplyEncoder::Classic);
    }

    /// Makes the connection one of another node, which it stays.
    pub(crate) fn set_node(&self) {
        self.encoder.replace(ReplyEncoder::Node);
    }

    /// Returns whether the connection is of another node.
    pub(crate) fn is_node(&self) -> bool {
        matches!(*self.encoder.borrow(), ReplyEncoder::Node)
    }

    /// Makes the connection speak the Redis protocol.
    pub(crate) fn set_resp(&self) {
        self.encoder.replace(ReplyEncoder::Resp(Ring::default()));
    }

    /// Sets the encoder that the connection had at the worker that it comes from.
    pub(crate) fn set_encoder(&self, encoder: ReplyEncoder) {
        self.encoder.replace(encoder);
    }

    /// Takes the encoder, for the worker that the connection moves to. No request is in flight.
    pub(crate) fn take_encoder(&self) -> ReplyEncoder {
        self.encoder.replace(ReplyEncoder::Framed)
    }

    /// Returns the ring of replies of a connection that speaks the Redis protocol.
    ///
    /// # Panics
    ///
    /// Panics if the connection speaks another dialect.
    pub(crate) fn ring(&self) -> RefMut<'_, Ring> {
        RefMut::map(self.encoder.borrow_mut(), |encoder| match encoder {
            ReplyEncoder::Resp(ring) => ring,
            _ => unreachable!("a RESP session called set_resp"),
        })
    }

    /// Appends replies in the connection's dialect to `out`, or puts them into their slots of the ring.
    /// Returns their number.
    pub(crate) fn encode_all(
        &self,
        replies: impl Iterator<Item = (RequestId, Reply)>,
        out: &mut Vec<u8>,
    ) -> usize {
        match &mut *self.encoder.borrow_mut() {
            ReplyEncoder::Framed => replies.fold(0, |count, (id, reply)| {
                framed::encode_reply(id, reply, out);
                count + 1
            }),
            ReplyEncoder::Node => replies.fold(0, |count, (id, reply)| {
                framed::encode_node_reply(id, reply, out);
                count + 1
            }),
            ReplyEncoder::Classic => replies.fold(0, |count, (_, reply)| {
                classic::encode_reply(reply, out);
                count + 1
            }),
            ReplyEncoder::Resp(ring) => replies.fold(0, |count, (id, reply)| {
                ring.fill(id, reply);
                count + 1
            }),
        }
    }

    /// Appends to `out` the replies in the ring before the first unknown one. Returns the number of
    /// new error replies; 0 for a dialect without a ring.
    pub(crate) fn drain(&self, out: &mut Vec<u8>) -> u64 {
        match &mut *self.encoder.borrow_mut() {
            ReplyEncoder::Resp(ring) => ring.drain(out),
            _ => 0,
        }
    }

    /// Returns the number of requests on their way to shards or back.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Adds requests that are submitted to shards.
    pub(crate) fn add_in_flight(&self, requests: usize) {
        self.in_flight.update(|count| count + requests);
        self.submitted.update(|count| count + requests);
    }

    /// Subtracts requests whose replies are known.
    pub(crate) fn sub_in_flight(&self, requests: usize) {
        self.in_flight.update(|count| count - requests);
    }

    /// Returns the number of requests that were ever submitted.
    pub(crate) fn submitted(&self) -> usize {
        self.submitted.get()
    }

    /// Measures how long the `requests` of a read take that began at `start`: now if they have their
    /// replies, or else when these come back.
    pub(crate) fn measure(&self, start: Instant, requests: usize, counters: &Counters) {
        if requests > 0 {
            self.measured.set(Some(MeasuredRead {
                start,
                requests,
                left: self.in_flight(),
            }));
            self.end_measurement(0, counters);
        }
    }

    /// Ends a measurement if the last of its replies are among these that came back.
    fn end_measurement(&self, replies: usize, counters: &Counters) {
        let Some(mut read) = self.measured.get() else {
            return;
        };
        read.left = read.left.saturating_sub(replies);
        let ended = read.left == 0;
        if ended {
            counters.answered(read.start, read.requests);
        }
        self.measured.set((!ended).then_some(read));
    }

    /// Queues the replies of a batch that came back, or takes its part of a search. Counts those that
    /// are errors. [`pass_on`](Self::pass_on) must follow.
    pub(crate) fn queue_replies(&self, batch: &mut Batch, counters: &Counters) {
        self.queue_with(counters, |replies| {
            let known = batch.replies().map(|(request, reply)| (request.id, reply));
            let mut count = self.encode_all(known, replies);
            if let Some(part) = batch.search_part.take() {
                *self.search_part.borrow_mut() = Some(part);
                count += 1;
            }
            count
        });
    }

    /// Queues replies to this connection that waited for the store, as
    /// [`queue_replies`](Self::queue_replies) does.
    pub(crate) fn queue_late_replies(&self, late: &[LateReply], counters: &Counters) {
        self.queue_with(counters, |replies| {
            self.encode_all(
                late.iter().map(|(origin, reply)| (origin.id, *reply)),
                replies,
            )
        });
    }

    /// Calls `encode` with the buffer of unsent replies. `encode` appends replies and returns the
    /// number of requests that they answer.
    fn queue_with(&self, counters: &Counters, encode: impl FnOnce(&mut Vec<u8>) -> usize) {
        let mut replies = self.replies.borrow_mut();
        let count = encode(&mut replies);
        counters.count_errors(self.drain(&mut replies));
        drop(replies);
        self.sub_in_flight(count);
        self.end_measurement(count, counters);
        self.update_held();
    }

    /// Notes that replies came back. Returns false if that was noted before.
    pub(crate) fn touch(&self) -> bool {
        !self.touched.replace(true)
    }

    /// Writes the replies that came back, or wakes the connection's task if it has to do more than
    /// that or if the socket does not accept everything. Returns how many bytes it wrote.
    pub(crate) fn pass_on(&self) -> usize {
        self.touched.set(false);
        let socket = self.socket.borrow();
        if self.idle.get()
            && let Some(socket) = &*socket
        {
            let unsent = self.unsent();
            let written = self.write_to(|replies| match socket.try_write(replies) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                result => Poll::Ready(result),
            });
            if !matches!(written, Ok(true)) {
                self.wake();
            }
            return unsent - self.unsent();
        }
        self.wake();
        0
    }

    /// Sets the connection's socket; `None` when it ends or moves away.
    pub(crate) fn set_socket(&self, socket: Option<Rc<dyn ReplySocket>>) {
        self.socket.replace(socket);
    }

    /// Sets whether the connection's task waits for nothing but input.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// Takes the part of a search that came back, if there is one.
    pub(crate) fn take_search_part(&self) -> Option<Box<SearchPart>> {
        self.search_part.take()
    }

    /// Returns the number of reply bytes that are not written to the socket yet.
    pub(crate) fn unsent(&self) -> usize {
        self.replies.borrow().len() - self.written.get()
    }

    /// Returns whether more requests of this connection may be served now. If not, its task is
    /// woken when the socket is writable again (the write that left replies unsent has registered
    /// this) or when replies come back.
    pub(crate) fn has_room(&self) -> bool {
        let ring_has_room = match &*self.encoder.borrow() {
            ReplyEncoder::Resp(ring) => ring.has_room(self.max_in_flight()),
            _ => true,
        };
        ring_has_room && self.in_flight() < self.max_in_flight() && self.room() > 0
    }

    /// Returns how many requests may be in flight.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.limits.in_flight
    }

    /// Returns how many more bytes of replies the connection may hold before reading from it stops.
    pub(crate) fn room(&self) -> usize {
        let others = self.unserved.get() + self.collected.get() + self.record.get();
        let unsent = self.held.get() - others;
        self.limits.unsent().saturating_sub(unsent)
    }

    /// Returns whether the connections of the worker together hold less than half of what they may.
    pub(crate) fn worker_has_room(&self) -> bool {
        self.limits.has_room()
    }

    /// Returns whether the connections of the worker together hold too much, so that nothing may be read
    /// from this one. If so, `waker` is woken when that has changed.
    pub(crate) fn worker_is_full(&self, waker: &Waker) -> bool {
        self.limits.exceeded(waker)
    }

    /// Sets the number of input bytes that were read but not served yet.
    pub(crate) fn set_unserved(&self, len: usize) {
        self.unserved.set(len);
        self.update_held();
    }

    /// Sets the number of bytes of a reply that are collected but not appended yet. They count
    /// towards the limit of the worker, but not towards that of this connection, so that it can
    /// still send them.
    pub(crate) fn set_collected(&self, len: usize) {
        self.collected.set(len);
        self.update_held();
    }

    /// Sets the number of bytes of an incomplete record of TLS.
    pub(crate) fn set_record(&self, len: usize) {
        if self.record.replace(len) != len {
            self.update_held();
        }
    }

    /// Returns the number of bytes that the connection holds.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

    /// Updates the number of bytes that the connection holds, and the worker's sum.
    fn update_held(&self) {
        let text = match &*self.encoder.borrow() {
            ReplyEncoder::Resp(ring) => ring.text_len(),
            _ => 0,
        };
        let others = self.unserved.get() + self.collected.get() + self.record.get();
        let held = self.unsent() + text + others;
        let before = self.held.replace(held);
        self.limits.change_held(before, held);
    }

    /// Appends encoded replies to the unsent ones.
    pub(crate) fn append(&self, replies: &[u8]) {
        if !replies.is_empty() {
            self.replies.borrow_mut().extend_from_slice(replies);
            self.update_held();
        }
    }

    /// Passes the unsent replies to `write`. Returns true if all are written, false if `write`
    /// accepts no more.
    ///
    /// # Errors
    ///
    /// Returns the error of `write`.
    pub(crate) fn write_to(
        &self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> io::Result<bool> {
        let before = self.unsent();
        if before == 0 {
            return Ok(true);
        }
        while self.unsent() > 0 {
            let replies = self.replies.borrow();
            let Poll::Ready(taken) = write(&replies[self.written.get()..]) else {
                break;
            };
            let taken = taken?;
            self.written.update(|written| written + taken);
        }
        self.drop_written();
        self.update_held();
        let unsent = self.unsent();
        if unsent == 0 {
            self.waiting.unblock();
        } else {
            self.block(unsent < before);
        }
        Ok(unsent == 0)
    }

    /// Notes that something cannot be written until the peer reads; `some` says whether a part was
    /// written just now.
    pub(crate) fn block(&self, some: bool) {
        let (timeouts, deadlines) = (&self.limits.timeouts, &self.limits.deadlines);
        if let Some(due) = self.waiting.block(some, timeouts, || deadlines.now()) {
            self.set_deadline(due);
        }
    }

    /// Notes that the connection's task begins to wait for input.
    pub(crate) fn wait_for(&self, input: Awaited) {
        let (timeouts, deadlines) = (&self.limits.timeouts, &self.limits.deadlines);
        if let Some(due) = self.waiting.wait_for(input, timeouts, || deadlines.now()) {
            self.set_deadline(due);
        }
    }

    /// Returns what the connection's task waited for last.
    pub(crate) fn awaited(&self) -> Awaited {
        self.waiting.awaited()
    }

    /// Makes sure that the worker looks at the connection at `due`, or earlier.
    fn set_deadline(&self, due: Tick) {
        let earlier = self.waiting.due.get();
        if earlier.is_none_or(|earlier| due < earlier) {
            self.remove_deadline();
            self.waiting.due.set(Some(due));
            self.limits.insert_deadline(due, self.key.index);
        }
    }

    /// Removes its deadline, if it has one.
    pub(super) fn remove_deadline(&self) {
        if let Some(due) = self.waiting.due.take() {
            self.limits.deadlines.remove(due, self.key.index);
        }
    }

    /// Closes the connection if it has reached a limit on its time, or sets its next deadline. The worker
    /// has removed the one that was due.
    pub(super) fn meet_deadline(&self) {
        self.waiting.due.set(None);
        let task = match self.idle.get() {
            true if self.in_flight() == 0 && self.unsent() == 0 => Task::Quiet,
            true => Task::Reading,
            false => Task::Busy,
        };
        let now = self.limits.deadlines.now();
        match self.waiting.check(now, task, &self.limits.timeouts) {
            Verdict::Close(reason) => self.reach(reason),
            Verdict::WaitUntil(due) => self.set_deadline(due),
            Verdict::WaitForEver => {}
        }
    }

    /// Makes the connection's task close it.
    pub(super) fn reach(&self, reason: CloseReason) {
        self.waiting.reached.set(Some(reason));
        self.wake();
    }

    /// Returns the limit that the connection has reached, once.
    pub(crate) fn take_reached(&self) -> Option<CloseReason> {
        let reached = self.waiting.reached.get()?;
        self.waiting.reached.set(None);
        Some(reached)
    }

    /// Removes the written replies from the buffer if they are all of it, or more than half.
    fn drop_written(&self) {
        let mut replies = self.replies.borrow_mut();
        if self.written.get() == replies.len() {
            self.written.set(0);
            empty(&mut replies, KEEP_LEN);
        } else if self.written.get() > replies.len() / 2 {
            replies.drain(..self.written.take());
            shrink(&mut replies, KEEP_LEN);
        }
    }

    /// Takes all unsent replies.
    pub(crate) fn take_unsent(&self) -> Vec<u8> {
        let mut replies = self.replies.take();
        replies.drain(..self.written.take());
        self.update_held();
        replies
    }

    /// Sets the waker of the connection's task.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Returns the waker of the connection's task.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waker.borrow().clone()
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.limits.change_held(self.held.get(), 0);
    }
}

#[cfg(test)]
mod tests;
