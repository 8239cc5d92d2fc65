//! Forwards requests to the nodes that own their topics. Each worker forwards what it read, over
//! connections of its own, so requests of one connection for one topic keep their order.
//!
//! A request that was not sent, or that its receiver did not apply, waits for an owner until
//! [`Membership::forward_timeout`], and is then answered UNAVAILABLE. One that was sent and has no answer
//! is never sent again: it is answered UNKNOWN.

mod held;
mod link;
mod pending;
mod request;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cluster::{RangeId, Slot};
use crate::protocol::{ErrorCode, Reply};
use crate::server::cluster::{Membership, PeerId, RangeOwner};
use crate::server::exchange::LateReply;
use held::Held;
pub(crate) use link::PeerLink;
pub(crate) use request::Request;

/// The most requests that a worker forwards or holds at a time; further ones are answered BUSY.
const LIMIT: usize = 64 * 1024;

/// How often requests that wait are looked at, if nothing else happens. It bounds how late they are
/// answered.
const TICK: Duration = Duration::from_millis(20);

/// How long a request waits before it is tried again although the map of owners has not changed: the
/// owner may learn of its range a little later than this node.
const RETRY_DELAY: Duration = Duration::from_millis(5);

/// How much longer than [`Membership::forward_timeout`] a reply may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The forwarder of one worker.
pub(crate) struct Forwarder {
    membership: Arc<Membership>,
    /// The ways to other nodes, by [`PeerId::index`].
    links: RefCell<Vec<Option<Rc<PeerLink>>>>,
    /// Links whose task is not started yet.
    new_links: RefCell<Vec<Rc<PeerLink>>>,
    held: RefCell<Held>,
    /// The requests that are held, queued at links, or sent.
    count: Cell<usize>,
    /// The number of the map when held requests were last tried.
    tried_at: Cell<u64>,
    /// Replies for this worker's connections and datagrams.
    replies: RefCell<Vec<LateReply>>,
    /// Requests to submit to this node's shards.
    own: RefCell<Vec<Request>>,
    /// Wakes the forwarder's task: there is a new link, or the first request is held.
    wake: Notify,
}

impl Forwarder {
    pub(super) fn new(membership: Arc<Membership>) -> Self {
        Self {
            membership,
            links: RefCell::default(),
            new_links: RefCell::default(),
            held: RefCell::default(),
            count: Cell::new(0),
            tried_at: Cell::new(0),
            replies: RefCell::default(),
            own: RefCell::default(),
            wake: Notify::new(),
        }
    }

    /// Takes requests whose topics this node's shards do not have, in the order in which they were read.
    pub(super) fn forward(&self, requests: Vec<Request>) {
        self.retry_if_map_changed();
        for request in requests {
            if request.waiter.requester.is_node() {
                self.reply(request, ErrorCode::NotOwner);
            } else if self.count.get() >= LIMIT {
                self.reply(request, ErrorCode::Busy);
            } else {
                self.count.update(|count| count + 1);
                let range = self.range_of(&request);
                let mut held = self.held.borrow_mut();
                if held.has(range) {
                    held.push(range, request); // behind those that came before it
                    continue;
                }
                drop(held);
                // A shard that is about to load the range did not know it yet.
                match self.membership.owners.owner(range) {
                    RangeOwner::Other(peer) => self.link(peer).push(request),
                    RangeOwner::ThisNode | RangeOwner::Nobody => self.hold(range, request),
                }
            }
        }
    }

    /// Returns the replies that are due, and the requests to submit to this node's shards.
    pub(super) fn take(&self) -> (Vec<LateReply>, Vec<Request>) {
        (self.replies.take(), self.own.take())
    }

    /// Returns whether [`take`](Self::take) would return something.
    pub(super) fn has_something(&self) -> bool {
        !self.replies.borrow().is_empty() || !self.own.borrow().is_empty()
    }

    /// Tries the requests that are held if the map of owners has changed.
    pub(super) fn retry_if_map_changed(&self) {
        let number = self.membership.owners.number();
        if self.tried_at.replace(number) != number {
            let links: Vec<_> = self.links.borrow().iter().flatten().cloned().collect();
            links.iter().for_each(|link| self.take_back(link));
            self.retry(true);
        }
    }

    /// Takes back what a link without connection has queued.
    pub(crate) fn take_back(&self, link: &PeerLink) {
        for request in link.take_unsent() {
            self.not_applied(request);
        }
    }

    /// Tries the requests of ranges that have waited long enough, or of all.
    fn retry(&self, all: bool) {
        let due = self.held.borrow_mut().take_due(all, Instant::now());
        for (range, requests) in due {
            match self.membership.owners.owner(range) {
                RangeOwner::Other(peer) => {
                    let link = self.link(peer);
                    requests.into_iter().for_each(|request| link.push(request));
                }
                RangeOwner::ThisNode => {
                    self.count.update(|count| count - requests.len());
                    self.own.borrow_mut().extend(requests);
                }
                RangeOwner::Nobody => {
                    let mut held = self.held.borrow_mut();
                    held.put_back(range, requests, Instant::now() + RETRY_DELAY);
                }
            }
        }
    }

    /// Holds a request that was not applied.
    fn hold(&self, range: RangeId, request: Request) {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            self.wake.notify_one();
        }
        held.add(range, request, Instant::now() + RETRY_DELAY);
    }

    /// Takes back a request that a link did not send, or that its receiver refused because it does not
    /// serve the topic.
    pub(crate) fn not_applied(&self, request: Request) {
        let range = self.range_of(&request);
        self.hold(range, request);
    }

    /// Passes on the reply of another node.
    pub(crate) fn answered(&self, request: Request, reply: Reply) {
        self.count.update(|count| count - 1);
        self.replies.borrow_mut().push((request.waiter, reply));
    }

    fn reply(&self, request: Request, error: ErrorCode) {
        let reply = Reply::Error(error);
        self.replies.borrow_mut().push((request.waiter, reply));
    }

    /// Answers the requests that have waited for too long.
    fn expire(&self) {
        let Some(before) = Instant::now().checked_sub(self.membership.forward_timeout) else {
            return;
        };
        let mut older = self.held.borrow_mut().take_older(before);
        for link in self.links.borrow().iter().flatten() {
            older.extend(link.take_older(before));
            // The receiver holds a request as long, and its answer says that it was not applied.
            if let Some(before) = before.checked_sub(ANSWER_TIME) {
                link.expire(before);
            }
        }
        for request in older {
            self.answered(request, Reply::Error(ErrorCode::Unavailable));
        }
    }

    /// Returns the server's part in the cluster.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Waits until there is something to do: a new link, or requests that wait have to be looked at.
    pub(crate) async fn due(&self) {
        if self.count.get() == 0 {
            self.wake.notified().await;
        } else {
            let held = !self.held.borrow().is_empty();
            let tick = if held { RETRY_DELAY } else { TICK };
            let _ = tokio::time::timeout(tick, self.wake.notified()).await;
        }
    }

    /// Takes the links whose tasks are not started yet.
    pub(crate) fn take_new_links(&self) -> Vec<Rc<PeerLink>> {
        self.new_links.take()
    }

    /// Tries requests that have waited long enough, and answers those that have waited for too long.
    pub(crate) fn look_at_waiting(&self) {
        self.retry(false);
        self.expire();
    }

    fn range_of(&self, request: &Request) -> RangeId {
        let slot = Slot::of(request.request().topic);
        slot.range(self.membership.owners.ranges())
    }

    /// Returns the way to a node. Its task is started when it is needed first.
    fn link(&self, peer: PeerId) -> Rc<PeerLink> {
        let mut links = self.links.borrow_mut();
        if links.len() <= peer.index() {
            links.resize(peer.index() + 1, None);
        }
        let link = links[peer.index()].get_or_insert_with(|| {
            let link = Rc::new(PeerLink::new(self.membership.owners.peer(peer)));
            self.new_links.borrow_mut().push(Rc::clone(&link));
            self.wake.notify_one();
            link
        });
        Rc::clone(link)
    }
}
