//! Forwards requests to the nodes that own their topics. Each worker forwards what it read, over
//! connections of its own, and later requests do not overtake earlier ones while a range moves
//! ([`routes`]).
//!
//! A request that was not sent, or that its receiver did not apply, waits for an owner until
//! [`Membership::forward_timeout`], and is then answered UNAVAILABLE. One that was sent and has no answer
//! is never sent again: it is answered UNKNOWN.

mod held;
mod link;
mod links;
mod pending;
mod request;
mod routes;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cluster::{RangeId, Slot};
use crate::protocol::{ErrorCode, Reply};
use crate::server::cluster::{Membership, OutsideCounts, PeerId, RangeOwner};
use crate::server::exchange::{HandOvers, LateReply, Mark};
use crate::server::status::ForwardCounts;
use crate::topic::{ShardId, Topic};
use held::Held;
pub(crate) use link::PeerLink;
use links::Links;
pub(crate) use request::Request;
use routes::Routes;

/// The most requests that a worker forwards or holds at a time; further ones are answered BUSY.
const LIMIT: u64 = 64 * 1024;

/// How often requests that wait are looked at, if nothing else happens. It bounds how late they are
/// answered.
const TICK: Duration = Duration::from_millis(20);

/// How long a request waits before it is tried again although the map of owners has not changed: the
/// owner may learn of its range a little later than this node.
const RETRY_DELAY: Duration = Duration::from_millis(5);

/// How long a node that has lost a range may keep requests for it. A node that has died or is paused has
/// lost its ranges a second before others claim them, so this delays nobody.
const RETURN_TIME: Duration = Duration::from_millis(800);

/// How much longer than [`Membership::forward_timeout`] a reply may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The forwarder of one worker.
pub(crate) struct Forwarder {
    /// The worker, by its shard.
    worker: ShardId,
    membership: Arc<Membership>,
    links: Links,
    held: RefCell<Held>,
    routes: RefCell<Routes>,
    /// When later requests began to queue up behind earlier ones, for each range in which they do: what
    /// was handed over to a shard before that comes first.
    marks: RefCell<BTreeMap<RangeId, Mark>>,
    hand_overs: Arc<HandOvers>,
    /// Has the number of requests that are held, queued at links, or sent.
    counts: Arc<ForwardCounts>,
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
    pub(super) fn new(
        worker: ShardId,
        membership: Arc<Membership>,
        counts: Arc<ForwardCounts>,
        hand_overs: Arc<HandOvers>,
    ) -> Self {
        let routes = Routes::new(membership.owners.ranges());
        Self {
            worker,
            membership,
            links: Links::default(),
            held: RefCell::default(),
            routes: RefCell::new(routes),
            marks: RefCell::default(),
            hand_overs,
            counts,
            tried_at: Cell::new(0),
            replies: RefCell::default(),
            own: RefCell::default(),
            wake: Notify::new(),
        }
    }

    /// Returns whether requests may be applied as they come. If not, those for topics that are
    /// unsettled have to be [queued](Self::queue) behind earlier ones, and what this
    /// node serves by now has to be submitted first.
    #[inline]
    pub(super) fn all_settled(&self) -> bool {
        self.update_routes();
        self.routes.borrow().all_settled() && self.own.borrow().is_empty()
    }

    /// Returns the range of a topic if earlier requests for it are on their way.
    pub(super) fn unsettled_range(&self, topic: Topic<'_>) -> Option<RangeId> {
        let range = self.range_of(topic);
        let unsettled = self.routes.borrow().is_unsettled(range);
        unsettled.then_some(range)
    }

    /// Queues requests behind earlier ones for the same ranges.
    pub(super) fn queue(&self, requests: Vec<Request>) {
        for request in requests {
            let range = request.range();
            self.outside().out(range);
            if self.take_room() {
                let mut marks = self.marks.borrow_mut();
                marks.entry(range).or_insert_with(|| self.hand_overs.mark());
                drop(marks);
                self.hold(range, request);
            } else {
                self.reply(request, Reply::Error(ErrorCode::Busy));
            }
        }
    }

    /// Takes requests whose topics this node's shards do not have, in the order in which they were read.
    pub(super) fn forward(&self, requests: Vec<Request>) {
        self.update_routes();
        for request in requests {
            if request.waiter.requester.is_node() {
                self.reply(request, Reply::Error(ErrorCode::NotOwner));
            } else if !self.take_room() {
                self.reply(request, Reply::Error(ErrorCode::Busy));
            } else {
                let range = request.range();
                let peer = match self.membership.owners.owner(range) {
                    RangeOwner::Other(peer) if !self.held.borrow().has(range) => peer,
                    // A shard that is about to load the range did not know it yet.
                    _ => {
                        self.hold(range, request);
                        continue;
                    }
                };
                let may_send = self.routes.borrow_mut().send(range, peer);
                match may_send {
                    true => self.link(peer).push(range, request),
                    false => self.hold(range, request),
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

    /// Looks at the map of owners if it has changed: requests are tried where they belong now.
    pub(super) fn update_routes(&self) {
        let number = self.membership.owners.number();
        if self.tried_at.replace(number) != number {
            self.routes
                .borrow_mut()
                .unsettle_stale(&self.membership.owners, Instant::now());
            self.links
                .all()
                .iter()
                .for_each(|link| self.take_back(link));
            self.retry(true);
        }
    }

    /// Takes back what a link without connection has queued.
    pub(crate) fn take_back(&self, link: &PeerLink) {
        for (range, request) in link.take_unsent() {
            self.take_again(range, request);
        }
    }

    /// Tries the requests of ranges that have waited long enough, or of all.
    fn retry(&self, all: bool) {
        let due = self.held.borrow_mut().take_due(all, Instant::now());
        for (range, requests) in due {
            self.route(range, requests);
        }
    }

    /// Sends held requests for a range where they belong now. Those that have to wait longer are held
    /// again.
    fn route(&self, range: RangeId, mut requests: VecDeque<Request>) {
        if self.earlier_are_back(range) {
            self.route_now(range, &mut requests);
        }
        if requests.is_empty() {
            self.settle(range);
        } else {
            let mut held = self.held.borrow_mut();
            held.put_back(range, requests, Instant::now() + RETRY_DELAY);
        }
    }

    /// Returns whether all batches have returned that may have requests for a range from before later ones
    /// began to queue up.
    fn earlier_are_back(&self, range: RangeId) -> bool {
        let marks = self.marks.borrow();
        let mark = marks.get(&range);
        mark.is_none_or(|mark| self.hand_overs.have_returned(mark))
    }

    /// Takes those of `requests` out that may be sent to the range's owner now, and sends them.
    fn route_now(&self, range: RangeId, requests: &mut VecDeque<Request>) {
        let mut routes = self.routes.borrow_mut();
        match self.membership.owners.owner(range) {
            RangeOwner::Other(peer) => {
                let link = self.link(peer);
                while !requests.is_empty() && routes.send(range, peer) {
                    if let Some(request) = requests.pop_front() {
                        link.push(range, request);
                    }
                }
            }
            RangeOwner::ThisNode if routes.is_idle(range) => {
                self.sub_pending(requests.len());
                self.own.borrow_mut().extend(requests.drain(..));
            }
            RangeOwner::ThisNode | RangeOwner::Nobody => {}
        }
    }

    /// Holds a request that was not applied.
    fn hold(&self, range: RangeId, request: Request) {
        self.routes.borrow_mut().unsettle(range);
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            self.wake.notify_one();
        }
        held.add(range, request, Instant::now() + RETRY_DELAY);
    }

    /// Lets later requests for a range be applied as they come, if no earlier one is on its way to
    /// somewhere else.
    fn settle(&self, range: RangeId) {
        let mut routes = self.routes.borrow_mut();
        if routes.is_unsettled(range) && !self.held.borrow().has(range) {
            routes.settle(range, self.membership.owners.owner(range));
            if !routes.is_unsettled(range) {
                self.marks.borrow_mut().remove(&range);
            }
        }
    }

    /// Takes back a request that a link did not send, or that its receiver refused because it does not
    /// serve the topic.
    fn take_again(&self, range: RangeId, request: Request) {
        self.routes.borrow_mut().answered(range, false);
        self.hold(range, request);
    }

    /// Takes the reply of another node.
    pub(crate) fn replied(&self, range: RangeId, request: Request, reply: Reply) {
        self.counts.in_flight.sub(1);
        match reply {
            // It was not applied.
            Reply::Error(ErrorCode::NotOwner | ErrorCode::Unavailable) => {
                self.counts.not_applied.add(1);
                self.take_again(range, request);
            }
            reply => {
                self.counts.answered.add(1);
                if reply == Reply::Error(ErrorCode::Unknown) {
                    self.counts.unknown.add(1);
                }
                self.answer(range, request, reply);
            }
        }
    }

    /// Answers requests that were sent, and have no reply: the connection has failed.
    pub(crate) fn lost(&self, requests: Vec<(RangeId, Request)>) {
        self.counts.in_flight.sub(requests.len() as u64);
        self.counts.unknown.add(requests.len() as u64);
        for (range, request) in requests {
            self.answer(range, request, Reply::Error(ErrorCode::Unknown));
        }
    }

    /// Answers a request that is at a link.
    fn answer(&self, range: RangeId, request: Request, reply: Reply) {
        let served = !matches!(
            reply,
            Reply::Error(ErrorCode::Unknown | ErrorCode::Unavailable)
        );
        let mut routes = self.routes.borrow_mut();
        routes.answered(range, served);
        let all_settled = routes.all_settled();
        drop(routes);
        self.end(request, reply);
        if all_settled {
            return; // then nothing is held either
        }
        let waiting = self.held.borrow_mut().take(range);
        match waiting {
            Some(requests) => self.route(range, requests),
            None => self.settle(range),
        }
    }

    /// Takes room for a request. Returns false if there is none.
    fn take_room(&self) -> bool {
        let room = self.counts.pending.get() < LIMIT;
        match room {
            true => self.counts.pending.add(1),
            false => self.counts.busy.add(1),
        }
        room
    }

    /// Ends a request that had taken room.
    fn end(&self, request: Request, reply: Reply) {
        self.sub_pending(1);
        self.reply(request, reply);
    }

    fn sub_pending(&self, requests: usize) {
        self.counts.pending.sub(requests as u64);
    }

    /// Answers a request.
    fn reply(&self, request: Request, reply: Reply) {
        self.outside().done(request.range());
        self.replies.borrow_mut().push((request.waiter, reply));
    }

    /// Returns the counts of this worker's requests that are outside of the shards.
    fn outside(&self) -> &OutsideCounts {
        self.membership.outside.of_worker(self.worker)
    }

    /// Answers the requests that have waited for too long.
    fn expire(&self) {
        let Some(before) = Instant::now().checked_sub(self.membership.forward_timeout) else {
            return;
        };
        let unavailable = Reply::Error(ErrorCode::Unavailable);
        let older = self.held.borrow_mut().take_older(before);
        self.counts.unavailable.add(older.len() as u64);
        for (range, request) in older {
            self.end(request, unavailable);
            self.settle(range);
        }
        // Requests that wait behind these may be sent over a new link.
        for link in self.links.all() {
            for (range, request) in link.take_older(before) {
                self.counts.unavailable.add(1);
                self.answer(range, request, unavailable);
            }
            // The receiver holds a request as long, and its answer says that it was not applied.
            if let Some(before) = before.checked_sub(ANSWER_TIME) {
                link.expire(before);
            }
        }
    }

    /// Gives up the connections to nodes that do not return requests for ranges which they have lost: the
    /// new owners are not to wait for them.
    fn give_up_silent(&self) {
        if let Some(before) = Instant::now().checked_sub(RETURN_TIME) {
            for peer in self.routes.borrow().silent(before) {
                self.link(peer).give_up();
            }
        }
    }

    /// Returns the server's part in the cluster.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Returns what this worker has forwarded.
    pub(crate) fn counts(&self) -> &ForwardCounts {
        &self.counts
    }

    /// Waits until there is something to do: a new link, or requests that wait have to be looked at.
    pub(crate) async fn due(&self) {
        if self.counts.pending.get() == 0 {
            self.wake.notified().await;
        } else {
            let held = !self.held.borrow().is_empty();
            let tick = if held { RETRY_DELAY } else { TICK };
            let _ = tokio::time::timeout(tick, self.wake.notified()).await;
        }
    }

    /// Takes the links whose tasks are not started yet.
    pub(crate) fn take_new_links(&self) -> Vec<Rc<PeerLink>> {
        self.links.take_new()
    }

    /// Tries requests that have waited long enough, and answers those that have waited for too long.
    pub(crate) fn look_at_waiting(&self) {
        self.retry(false);
        self.expire();
        self.give_up_silent();
    }

    /// Returns the range of a topic.
    pub(super) fn range_of(&self, topic: Topic<'_>) -> RangeId {
        Slot::of(topic).range(self.membership.owners.ranges())
    }

    /// Returns the way to a node. Its task is started when it is needed first.
    fn link(&self, peer: PeerId) -> Rc<PeerLink> {
        let owners = &self.membership.owners;
        self.links.to(peer, owners, || self.wake.notify_one())
    }
}
