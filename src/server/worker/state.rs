//! The state that the tasks of one worker share: the router, the connections and the counters. The
//! tasks run on one thread, and no task holds a borrow across an await.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use slab::Slab;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

use super::datagrams::DatagramReplies;
use super::forwarder::Forwarder;
use super::limits::Limits;
use super::link::Link;
use crate::cluster::RangeId;
use crate::server::exchange::{
    Batch, ConnectionKey, Intake, LateReply, Outcome, ReadGuard, Requests, Router, SearchPart,
    Shared, Source, WorkerId,
};
use crate::server::status::{Counters, Status};
use crate::topic::{ShardId, Shards, Topic};

/// The state that the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) intake: Intake,
    pub(crate) status: Arc<Status>,
    /// Answers datagrams; `None` if the server does not serve UDP.
    datagrams: Option<Rc<dyn DatagramReplies>>,
    /// The limits of all connections.
    pub(super) limits: Rc<Limits>,
    /// Forwards requests to other nodes; `None` on a server alone.
    forwarder: Option<Forwarder>,
    shared: Arc<Shared>,
    router: RefCell<Router>,
    pub(super) connections: RefCell<Slab<Rc<Link>>>,
    /// Connections with replies that came back since the last
    /// [`finish_routing`](Self::finish_routing).
    touched: RefCell<Vec<Rc<Link>>>,
    /// The next [`ConnectionKey::serial`].
    serial: Cell<u64>,
    /// Wakers of the tasks that will read when the worker is no longer congested.
    stalled: RefCell<Vec<Waker>>,
    stopping: Cell<bool>,
    /// The number of killed clients when the worker last woke its connections to let them end.
    kills: Cell<u64>,
    /// Stops the whole server.
    stop: watch::Sender<bool>,
    panicked: Cell<bool>,
    /// Dropped when the worker stops receiving datagrams.
    read_guard: Cell<Option<ReadGuard>>,
}

/// Stops the whole server if the task that holds this guard panics.
struct StopOnPanic(Rc<Worker>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panicked.set(true);
            self.0.stop.send_replace(true);
        }
    }
}

/// Ends the turn of a task that has more to do. The task continues after all tasks that are ready,
/// and after the runtime has polled its sockets for more. If the task only woke itself, it would
/// continue before that poll, which the runtime makes only every 61 turns while tasks are ready.
pub(crate) fn yield_turn(cx: &mut Context<'_>) {
    // One poll registers the task with the runtime; the future need not complete.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl Worker {
    /// Creates a worker without connections. `stop` turns true when the server is to stop; the
    /// worker sets it to true if one of its tasks panics.
    pub(crate) fn new(
        shared: Arc<Shared>,
        intake: Intake,
        status: Arc<Status>,
        read_guard: ReadGuard,
        datagrams: Option<Rc<dyn DatagramReplies>>,
        stop: watch::Sender<bool>,
    ) -> Self {
        let id = WorkerId::of(intake.shard());
        let held = Arc::clone(status.counters(id).held());
        let limits = Limits::new(&status.config.connection_limits, held);
        let router = Router::new(id, Arc::clone(&shared));
        let forwarder = shared.membership().map(|membership| {
            let counts = Arc::clone(status.counters(id).forwards());
            let hand_overs = Arc::clone(router.hand_overs());
            Forwarder::new(id.shard(), Arc::clone(membership), counts, hand_overs)
        });
        Self {
            id,
            intake,
            status,
            datagrams,
            limits: Rc::new(limits),
            forwarder,
            router: RefCell::new(router),
            shared,
            connections: RefCell::new(Slab::new()),
            touched: RefCell::new(Vec::new()),
            serial: Cell::new(0),
            stalled: RefCell::new(Vec::new()),
            stopping: Cell::new(false),
            kills: Cell::new(0),
            stop,
            panicked: Cell::new(false),
            read_guard: Cell::new(Some(read_guard)),
        }
    }

    /// Returns the state that all workers share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns what forwards requests to other nodes; `None` on a server alone.
    pub(crate) fn forwarder(&self) -> Option<&Forwarder> {
        self.forwarder.as_ref()
    }

    /// Starts a task of this worker. If the task panics, the whole server stops; the runtime by
    /// itself would end only the task.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        task: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        let guard = StopOnPanic(Rc::clone(self));
        tokio::task::spawn_local(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Returns whether there are other workers.
    pub(crate) fn has_others(&self) -> bool {
        self.shared.shards() != Shards::ONE
    }

    /// Returns whether the worker is stopping: it receives no datagrams, and reads only from
    /// connections that have not sent anything yet.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Adds a new connection.
    pub(crate) fn connect(&self) -> (ConnectionKey, Rc<Link>) {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let index = entry.key() as u32; // there are far fewer connections than 2^32
        let key = ConnectionKey { index, serial };
        let link = entry.insert(Rc::new(Link::new(key, &self.limits)));
        (key, Rc::clone(link))
    }

    /// Removes a connection. Replies on their way to it are dropped when they arrive.
    pub(crate) fn disconnect(&self, key: ConnectionKey) {
        let link = self.connections.borrow_mut().remove(key.index as usize);
        link.remove_deadline();
    }

    /// Submits the requests of a read to their shards. Passes to `outcome` the replies that are known
    /// immediately, and each batch that came back, before its replies are queued at the [`Link`]s
    /// of their connections (the caller's own may be among them). Later replies are queued at the
    /// link. Later replies to datagrams are sent by the worker that ran the batch, or, if they
    /// waited for the store, by the worker that received the datagram.
    pub(crate) fn submit(
        &self,
        requests: &mut Requests,
        bytes: &[u8],
        source: Source<'_>,
        mut outcome: impl FnMut(&Outcome<'_>),
    ) {
        if let Some(forwarder) = &self.forwarder
            && !forwarder.all_settled()
        {
            self.keep_order(forwarder, requests, bytes, source);
        }
        let mut router = self.router.borrow_mut();
        router.submit(requests, bytes, source, |result| {
            outcome(&result);
            if let Outcome::Returned(batch) = result {
                self.deliver_replies(batch);
            }
        });
        drop(router);
        self.finish_routing();
    }

    /// Makes a step of `part` of a search through a shard. Returns the part if the shard was free;
    /// otherwise it comes later to the [`Link`] of the connection `key`.
    pub(crate) fn search(
        &self,
        shard: ShardId,
        part: Box<SearchPart>,
        key: ConnectionKey,
    ) -> Option<Box<SearchPart>> {
        let back = self.router.borrow_mut().search(shard, part, key);
        self.finish_routing();
        back
    }

    /// Returns the counters of this worker.
    pub(crate) fn counters(&self) -> &Counters {
        self.status.counters(self.id)
    }

    /// Returns the shard that this worker serves without hops.
    pub(crate) fn shard(&self) -> ShardId {
        self.id.shard()
    }

    /// Returns whether the worker is congested, so that no task may read. If so, `waker` is woken
    /// when it no longer is.
    pub(crate) fn congested(&self, waker: &Waker) -> bool {
        let congested = self.router.borrow().congested();
        if congested {
            self.counters().stalled();
            self.stalled.borrow_mut().push(waker.clone());
        }
        congested
    }

    /// Returns whether there is deferred work, or a batch that could not be handed over yet.
    pub(crate) fn busy(&self) -> bool {
        let router = self.router.borrow();
        router.has_deferred() || router.congested()
    }

    /// The task that takes batches back if no other task does, and does the deferred work. It
    /// sleeps until the mailbox or [`finish_routing`](Self::finish_routing) wakes it. It never ends.
    pub(crate) async fn run_deferred_work(self: Rc<Self>) {
        std::future::poll_fn(|cx| {
            self.shared
                .mailbox(self.id)
                .set_waker(Some(cx.waker().clone()));
            {
                let mut router = self.router.borrow_mut();
                router.collect(|batch| self.deliver_replies(batch));
                router.hand_over_messages();
                router.run_deferred();
                router.collect(|batch| self.deliver_replies(batch));
            }
            self.finish_routing();
            let kills = self.status.clients.kills();
            if self.kills.replace(kills) != kills {
                self.wake_connections();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Sends the replies to datagrams that are known by now: those of the batches that this worker
    /// ran, and those that its tasks have packed. Sends the replies to connections that came back,
    /// those of a connection with one write. Then wakes the task for deferred work if there is
    /// some, or otherwise the tasks that waited because of congestion. Must follow every use of the
    /// router.
    pub(crate) fn finish_routing(&self) {
        if let Some(forwarder) = &self.forwarder {
            self.forward(forwarder);
        }
        self.answer_datagrams();
        let mut touched = self.touched.borrow_mut();
        if !touched.is_empty() {
            for link in touched.drain(..) {
                self.counters().tcp_sent(link.pass_on());
            }
        }
        drop(touched);
        let router = self.router.borrow();
        if router.has_deferred() {
            self.shared.mailbox(self.id).wake();
        } else if !router.congested() {
            for waker in self.stalled.borrow_mut().drain(..) {
                waker.wake();
            }
        }
    }

    /// Queues requests behind earlier ones for the same topics that are on their way, and submits those
    /// that this node serves by now before the requests that are left.
    #[cold]
    fn keep_order(
        &self,
        forwarder: &Forwarder,
        requests: &mut Requests,
        bytes: &[u8],
        source: Source<'_>,
    ) {
        if let Source::Node(_) = source {
            return; // the other node keeps the order of its requests
        }
        let mut set_aside = |is: &dyn Fn(Topic<'_>) -> Option<RangeId>| {
            let set_aside = requests.set_aside(bytes, self.id, source, is);
            if let Source::Datagrams(_) = source {
                self.shared.add_datagrams_in_flight(set_aside.len());
            }
            forwarder.queue(set_aside);
        };
        set_aside(&|topic| forwarder.unsettled_range(topic));
        self.forward(forwarder);
        // What was submitted waits for room at a shard: nothing may overtake it.
        if self.router.borrow().congested() {
            set_aside(&|topic| Some(forwarder.range_of(topic)));
        }
    }

    /// Forwards the requests for other nodes that were found since the last time, and delivers the replies
    /// of other nodes.
    fn forward(&self, forwarder: &Forwarder) {
        let elsewhere = self.router.borrow_mut().take_elsewhere();
        if elsewhere.is_empty() {
            forwarder.update_routes();
        } else {
            forwarder.forward(elsewhere);
        }
        while forwarder.has_something() {
            let (replies, own) = forwarder.take();
            self.deliver_late_replies(&replies);
            if !own.is_empty() {
                let mut router = self.router.borrow_mut();
                router.resubmit(own);
                router.collect(|batch| self.deliver_replies(batch));
                let elsewhere = router.take_elsewhere();
                drop(router);
                forwarder.forward(elsewhere);
            }
        }
    }

    /// Packs the replies of the batches of datagrams that this worker ran, sends all packed
    /// replies, and returns the batches whose replies are sent.
    fn answer_datagrams(&self) {
        let Some(datagrams) = &self.datagrams else {
            return;
        };
        let mut router = self.router.borrow_mut();
        while let Some(batch) = router.take_datagrams() {
            datagrams.answer(batch);
        }
        for batch in datagrams.flush(self.counters()) {
            router.return_to_sender(batch);
        }
    }

    /// Delivers the replies of a batch that came back to its connection, if that still exists. Late
    /// replies go each to its own connection or datagram.
    fn deliver_replies(&self, batch: &mut Batch) {
        if !batch.late.is_empty() {
            self.deliver_late_replies(&batch.late);
            return;
        }
        let Some(key) = batch.connection else { return };
        match self.link(key) {
            Some(link) => {
                link.queue_replies(batch, self.counters());
                self.touch(link);
            }
            None => debug!(
                replies = batch.replies().count(),
                "dropped replies: the peer has disconnected"
            ),
        }
    }

    fn deliver_late_replies(&self, replies: &[LateReply]) {
        let mut datagram_replies = 0;
        // Replies to a connection usually come in a row: the requests of one read became durable
        // together.
        for replies in
            replies.chunk_by(|(one, _), (next, _)| one.requester.is_same(&next.requester))
        {
            match replies[0].0.requester.connection() {
                Some(key) => {
                    if let Some(link) = self.link(key) {
                        link.queue_late_replies(replies, self.counters());
                        self.touch(link);
                    }
                }
                None => datagram_replies += replies.len(),
            }
        }
        if datagram_replies > 0
            && let Some(datagrams) = &self.datagrams
        {
            datagrams.answer_late(replies);
            self.shared.sub_datagrams_in_flight(datagram_replies);
        }
    }

    /// Notes that replies to this connection came back.
    fn touch(&self, link: Rc<Link>) {
        if link.touch() {
            self.touched.borrow_mut().push(link);
        }
    }

    /// Returns the link of the connection `key`, if the connection still exists.
    fn link(&self, key: ConnectionKey) -> Option<Rc<Link>> {
        let connections = self.connections.borrow();
        let link = connections.get(key.index as usize)?;
        (link.serial() == key.serial).then(|| Rc::clone(link))
    }

    /// Returns whether a task of the worker panicked. If so, the state that its tasks share may be
    /// inconsistent.
    pub(crate) fn panicked(&self) -> bool {
        self.panicked.get()
    }

    /// Begins to stop: from now on the worker receives no datagrams, and each connection finishes
    /// the requests that it has read. A connection that has not sent anything yet may still do so
    /// for a short time.
    pub(crate) fn begin_stop(&self) {
        self.stopping.set(true);
        drop(self.read_guard.take());
        self.wake_connections();
    }

    /// Wakes all workers, so that the connections of killed clients end. Each worker wakes all its
    /// connections, and each of them checks whether its client was killed: kills are rare, and this
    /// way they cost nothing while commands are served.
    pub(crate) fn end_killed(&self) {
        self.shared.wake_workers();
    }

    fn wake_connections(&self) {
        let links: Vec<_> = {
            let connections = self.connections.borrow();
            connections
                .iter()
                .map(|(_, link)| Rc::clone(link))
                .collect()
        };
        for link in links {
            link.wake();
        }
    }

    /// Returns the number of connections of this worker.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.borrow().len()
    }
}
