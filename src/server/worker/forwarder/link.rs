//! The way to another node: the requests that are queued for it, and those that were sent and have no
//! reply yet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use super::pending::Pending;
use super::request::Request;
use crate::cluster::RangeId;
use crate::protocol::framed::{self, RequestId};
use crate::server::cluster::Peer;
use crate::server::status::ForwardCounts;

/// While this many bytes wait to be written, no further requests are encoded.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// See the [module](self).
pub(crate) struct PeerLink {
    peer: Arc<Peer>,
    /// Requests that are not sent.
    queue: RefCell<VecDeque<(RangeId, Request)>>,
    pending: RefCell<Pending>,
    connected: Cell<bool>,
    /// Whether the reply to a request is overdue, so that the connection is given up.
    overdue: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl PeerLink {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            queue: RefCell::default(),
            pending: RefCell::default(),
            connected: Cell::new(false),
            overdue: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// Queues a request. It is sent with all that are queued in this turn of the worker.
    pub(super) fn push(&self, range: RangeId, request: Request) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back((range, request));
        if queue.len() == 1 {
            self.wake();
        }
    }

    /// Takes back what is queued while there is no connection.
    pub(super) fn take_unsent(&self) -> VecDeque<(RangeId, Request)> {
        match self.connected.get() {
            true => VecDeque::new(),
            false => self.queue.take(),
        }
    }

    /// Gives the connection up if a request that was parked before `before` has no reply.
    pub(super) fn expire(&self, before: Instant) {
        if self.pending.borrow().has_older(before) {
            self.give_up();
        }
    }

    /// Gives the connection up, if there is one: requests without a reply get none.
    pub(super) fn give_up(&self) {
        if self.connected.get() {
            self.overdue.set(true);
            self.wake();
        }
    }

    /// Takes the requests that were parked before `before` out of the queue.
    pub(super) fn take_older(&self, before: Instant) -> VecDeque<(RangeId, Request)> {
        let mut queue = self.queue.borrow_mut();
        let (older, kept) = std::mem::take(&mut *queue)
            .into_iter()
            .partition(|(_, request)| request.since() < before);
        *queue = kept;
        older
    }

    /// Returns the node.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns whether requests are queued.
    pub(crate) fn has_requests(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Sets whether there is a connection. Without one, what is queued may be taken back.
    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.set(connected);
    }

    /// Takes the request that a reply belongs to; `None` if there is none.
    pub(crate) fn take_answered(&self, id: RequestId) -> Option<(RangeId, Request)> {
        self.pending.borrow_mut().take(id)
    }

    /// Takes the requests that were sent and have no reply, after the connection ended.
    pub(crate) fn take_unanswered(&self) -> Vec<(RangeId, Request)> {
        self.pending.borrow_mut().take_all().collect()
    }

    /// Returns whether the connection is to be given up, once.
    pub(crate) fn take_overdue(&self) -> bool {
        self.overdue.take()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Wakes this task when a request is queued, or the connection is to be given up.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.replace(Some(cx.waker().clone()));
    }

    /// Appends the frames of queued requests to `output`, as many as have room.
    pub(crate) fn encode(&self, output: &mut Vec<u8>, counts: &ForwardCounts) {
        let mut queue = self.queue.borrow_mut();
        let mut pending = self.pending.borrow_mut();
        let before = queue.len();
        while output.len() < UNWRITTEN_LIMIT
            && let Some((range, request)) = queue.pop_front()
        {
            framed::encode_node_request(pending.next_id(), &request.request(), output);
            pending.add(range, request);
        }
        let sent = (before - queue.len()) as u64;
        counts.sent.add(sent);
        counts.in_flight.add(sent);
    }
}
