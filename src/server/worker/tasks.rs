//! What the tasks of one worker share: its way to the shards, its connections, its counters. They run
//! on one thread, and none holds a borrow of it while it waits.

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
use super::link::Link;
use crate::server::exchange::{
    Batch, ConnectionKey, Intake, LateReply, Outcome, ReadGuard, Requester, Requests, Router,
    Shared, Source, Walk, WorkerId,
};
use crate::server::status::{Counters, Status};
use crate::topic::{ShardId, Shards};

/// See the [module](self).
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) intake: Intake,
    pub(crate) status: Arc<Status>,
    /// Where datagrams are answered from; `None`: nowhere, this server has no UDP.
    datagrams: Option<Rc<dyn DatagramReplies>>,
    /// Bytes that connections hold: replies that are not taken, requests that are not whole.
    held: Rc<Cell<usize>>,
    shared: Arc<Shared>,
    router: RefCell<Router>,
    connections: RefCell<Slab<Rc<Link>>>,
    /// Counts connections; see [`ConnectionKey::serial`].
    serial: Cell<u64>,
    /// Tasks that would read if the worker were not congested.
    stalled: RefCell<Vec<Waker>>,
    stopping: Cell<bool>,
    stop: watch::Sender<bool>,
    /// Whether a task panicked.
    panicked: Cell<bool>,
    /// Until it stops.
    read_guard: Cell<Option<ReadGuard>>,
}

/// Ends the whole server when a task of a worker panics.
struct EndsOnPanic(Rc<Worker>);

impl Drop for EndsOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panicked.set(true);
            self.0.stop.send_replace(true);
        }
    }
}

/// Ends a task's turn, which has more to do: it goes on after everybody else who is ready, and after
/// a look at who has become so. A mere wake-up would put it before that look, which the runtime
/// makes only every 61 turns.
pub(crate) fn give_way(context: &mut Context<'_>) {
    // Polled once, it has the runtime do all that; it need not live to the end.
    let _ = pin!(tokio::task::yield_now()).poll(context);
}

impl Worker {
    /// A worker without connections. `stop` turns true when it is to stop, or has a task that panics
    /// turn it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        intake: Intake,
        status: Arc<Status>,
        read_guard: ReadGuard,
        datagrams: Option<Rc<dyn DatagramReplies>>,
        stop: watch::Sender<bool>,
    ) -> Self {
        let id = WorkerId::of(intake.shard());
        Self {
            id,
            intake,
            status,
            datagrams,
            held: Rc::default(),
            router: RefCell::new(Router::new(id, Arc::clone(&shared))),
            shared,
            connections: RefCell::new(Slab::new()),
            serial: Cell::new(0),
            stalled: RefCell::new(Vec::new()),
            stopping: Cell::new(false),
            stop,
            panicked: Cell::new(false),
            read_guard: Cell::new(Some(read_guard)),
        }
    }

    /// The shards there are, and where the others are found.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Starts a task of this worker. If it panics, the whole server ends: the runtime alone would
    /// only end the task.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        task: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        let guard = EndsOnPanic(Rc::clone(self));
        tokio::task::spawn_local(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Whether there are other workers.
    pub(crate) fn has_others(&self) -> bool {
        self.shared.shards() != Shards::ONE
    }

    /// Whether to answer what was read, and read no more.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Enters a new connection.
    pub(crate) fn connect(&self) -> (ConnectionKey, Rc<Link>) {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let link = Rc::new(Link::new(serial, &self.held));
        let index = self.connections.borrow_mut().insert(Rc::clone(&link));
        (ConnectionKey { index, serial }, link)
    }

    /// Forgets a connection; replies still on their way to it are dropped when they arrive.
    pub(crate) fn disconnect(&self, key: ConnectionKey) {
        self.connections.borrow_mut().remove(key.index);
    }

    /// Takes a read's requests to their shards. `outcome` gets the replies that are there at once, and
    /// sees what came back meanwhile before that goes to where it belongs: to the connections'
    /// [`Link`]s, this one's perhaps among them. What comes later goes there as well, or is answered by
    /// whoever gets it.
    pub(crate) fn submit(
        &self,
        requests: &mut Requests,
        bytes: &[u8],
        source: Source<'_>,
        mut outcome: impl FnMut(&Outcome<'_>),
    ) {
        let mut router = self.router.borrow_mut();
        router.submit(requests, bytes, source, |what| {
            outcome(&what);
            if let Outcome::Returned(batch) = what {
                self.returned(batch);
            }
        });
        drop(router);
        self.after_routing();
    }

    /// Has a walk of the connection of that key look at a shard: returned where that could be done at
    /// once, otherwise it comes to the connection's [`Link`].
    pub(crate) fn walk(
        &self,
        shard: ShardId,
        walk: Box<Walk>,
        key: ConnectionKey,
    ) -> Option<Box<Walk>> {
        let back = self.router.borrow_mut().walk(shard, walk, key);
        self.after_routing();
        back
    }

    /// What it counts of its work.
    pub(crate) fn counters(&self) -> &Counters {
        self.status.counters(self.id)
    }

    /// The shard that this worker serves without hops.
    pub(crate) fn shard(&self) -> ShardId {
        self.id.shard()
    }

    /// Whether nothing may be read now. If so, `waker` is woken when that is over.
    pub(crate) fn congested(&self, waker: &Waker) -> bool {
        let congested = self.router.borrow().congested();
        if congested {
            self.stalled.borrow_mut().push(waker.clone());
        }
        congested
    }

    /// Whether something is put off that the errands task must still do.
    pub(crate) fn busy(&self) -> bool {
        let router = self.router.borrow();
        router.has_deferred() || router.congested()
    }

    /// The task that takes back batches when nobody else does, and does what was put off. It sleeps
    /// until the mailbox or [`after_routing`](Self::after_routing) wakes it.
    pub(crate) async fn run_deferred_work(self: Rc<Self>) {
        std::future::poll_fn(|context| {
            self.shared
                .mailbox(self.id)
                .set_waker(Some(context.waker().clone()));
            {
                let mut router = self.router.borrow_mut();
                router.collect(|batch| self.returned(batch));
                router.hand_over_commit_results();
                router.run_deferred();
                router.collect(|batch| self.returned(batch));
            }
            self.after_routing();
            Poll::<()>::Pending
        })
        .await;
    }

    /// What every use of the router ends with: answers datagrams that ran here, sees to errands, or
    /// lets those read that waited.
    pub(crate) fn after_routing(&self) {
        if let Some(datagrams) = &self.datagrams {
            let mut router = self.router.borrow_mut();
            while let Some(batch) = router.take_datagrams() {
                datagrams.answer(batch);
            }
            for batch in datagrams.flush() {
                router.give_back(batch);
            }
        }
        let router = self.router.borrow();
        if router.has_deferred() {
            self.shared.mailbox(self.id).wake();
        } else if !router.congested() {
            for waker in self.stalled.borrow_mut().drain(..) {
                waker.wake();
            }
        }
    }

    /// A batch came back with replies: they go to its connection, if that is still there. Late ones
    /// go to whoever waits for each.
    fn returned(&self, batch: &mut Batch) {
        if !batch.late.is_empty() {
            self.returned_late(&batch.late);
            return;
        }
        let Some(key) = batch.connection else { return };
        match self.link(key) {
            Some(link) => self.counters().erred(link.returned(batch)),
            None => debug!(
                requests = batch.replies().count(),
                "peer left before its replies"
            ),
        }
    }

    fn returned_late(&self, replies: &[LateReply]) {
        let mut count = 0;
        for &(origin, reply) in replies {
            match origin.requester {
                Requester::Connection(key) => {
                    if let Some(link) = self.link(key) {
                        self.counters().erred(link.returned_late(origin.id, reply));
                    }
                }
                Requester::Datagram(_) => count += 1,
            }
        }
        if count > 0
            && let Some(datagrams) = &self.datagrams
        {
            datagrams.answer_late(replies);
            self.shared.sub_datagrams_in_flight(count);
        }
    }

    /// The connection of that key, if it is still there.
    fn link(&self, key: ConnectionKey) -> Option<Rc<Link>> {
        let connections = self.connections.borrow();
        let link = connections.get(key.index)?;
        (link.serial() == key.serial).then(|| Rc::clone(link))
    }

    /// Whether a task of it panicked: then what its tasks share may be half changed.
    pub(crate) fn panicked(&self) -> bool {
        self.panicked.get()
    }

    /// Reads nothing more, and has each connection answer what it read.
    pub(crate) fn begin_stop(&self) {
        self.stopping.set(true);
        drop(self.read_guard.take());
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

    /// How many connections it has.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.borrow().len()
    }
}
