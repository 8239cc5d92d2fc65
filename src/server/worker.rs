//! One worker: a thread with a runtime of its own, its sockets, its connections. Owns what the
//! tasks of that thread share, and the thread's life from start to graceful stop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use slab::Slab;
use socket2::Socket;
use tokio::runtime::{Builder, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::connection::{Connection, Moved, Scratch};
use super::exchange::{Asker, Batch, ConnectionKey, Intake, LateReply, Outcome, Requests, Router};
use super::exchange::{Shared, Source, Walk, WorkerId};
use super::link::{Accepting, Connections, Link};
use super::net::affinity;
use super::status::{Counters, Status};
use super::tcp;
use super::udp::UdpPort;
use crate::topic::{ShardId, Shards};

/// How long a stopping worker waits for peers to take their last replies.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long it sleeps between two looks whether all is done.
const STOP_STEP: Duration = Duration::from_millis(1);

/// What a worker's thread is started with.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) max_topic_len: usize,
    pub(super) status: Arc<Status>,
    /// Where it accepts connections; the second is dropped when it accepts no more.
    pub(super) tcp: Option<(TcpListener, Accepting)>,
    pub(super) udp: Option<Socket>,
    /// The processor to stay on.
    pub(super) processor: Option<usize>,
    /// Connections that other workers moved here.
    pub(super) arrivals: mpsc::UnboundedReceiver<Moved>,
    /// Where every worker gets those. No more can be on their way than may be open.
    pub(super) departures: Arc<[mpsc::UnboundedSender<Moved>]>,
    /// Held as long as it may read requests.
    pub(super) reading: Reading,
    /// Turns true when the worker is to stop; a task that panics turns it, too.
    pub(super) stop: watch::Sender<bool>,
}

/// Says, when it is dropped, that its worker reads no more: whether it stopped, failed, or never was.
#[derive(Debug)]
pub(super) struct Reading(pub(super) Arc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.stopped_reading();
    }
}

/// What the tasks of one worker share. They run on one thread, and none holds a borrow of it while
/// it waits.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) intake: Intake,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) udp: Option<UdpPort>,
    pub(super) status: Arc<Status>,
    /// Bytes that connections hold: replies that are not taken, requests that are not whole.
    held: Rc<Cell<usize>>,
    shared: Arc<Shared>,
    departures: Arc<[mpsc::UnboundedSender<Moved>]>,
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
    reading: Cell<Option<Reading>>,
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

/// Runs a worker on this thread until it is told to stop.
///
/// # Errors
///
/// Where the thread can't be set up: a runtime, a processor to stay on, a socket to register.
pub(super) fn run(plan: Plan) -> io::Result<()> {
    if let Some(processor) = plan.processor {
        affinity::pin(processor)?;
    }
    let runtime = runtime(plan.id, &plan.shared)?;
    let (id, shared) = (plan.id, Arc::clone(&plan.shared));
    let result = runtime.block_on(serve(plan));
    shared.mailbox(id).set_waker(None);
    result
}

fn runtime(id: WorkerId, shared: &Arc<Shared>) -> io::Result<LocalRuntime> {
    let (before, after) = (Arc::clone(shared), Arc::clone(shared));
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || before.mailbox(id).before_sleep())
        .on_thread_unpark(move || after.mailbox(id).after_sleep())
        .build_local(Default::default())
}

async fn serve(plan: Plan) -> io::Result<()> {
    let udp = plan.udp.map(UdpPort::new).transpose()?;
    let shards = plan.shared.shards();
    let worker = Rc::new(Worker {
        id: plan.id,
        intake: Intake::new(shards, plan.id.shard(), plan.max_topic_len),
        scratch: RefCell::new(Scratch::new(shards)),
        udp,
        held: Rc::default(),
        status: Arc::clone(&plan.status),
        router: RefCell::new(Router::new(plan.id, Arc::clone(&plan.shared))),
        shared: plan.shared,
        departures: plan.departures,
        connections: RefCell::new(Slab::new()),
        serial: Cell::new(0),
        stalled: RefCell::new(Vec::new()),
        stopping: Cell::new(false),
        stop: plan.stop.clone(),
        panicked: Cell::new(false),
        reading: Cell::new(Some(plan.reading)),
    });

    worker.spawn(Rc::clone(&worker).errands());
    if worker.udp.is_some() {
        worker.spawn(Rc::clone(&worker).serve_datagrams());
    }
    let acceptor = match plan.tcp {
        Some((listener, accepting)) => Some(worker.spawn(tcp::accept(
            Rc::clone(&worker),
            tokio::net::TcpListener::from_std(listener)?,
            accepting,
        ))),
        None => None,
    };

    worker.spawn(take_in(Rc::clone(&worker), plan.arrivals));

    let mut stop = plan.stop.subscribe();
    // It can't fail: this worker could send, too.
    let _ = stop.wait_for(|&stop| stop).await;
    // The shard that it had, and what the worker's tasks share, may be half changed.
    assert!(!worker.panicked.get(), "a task of this worker panicked");
    if let Some(acceptor) = acceptor {
        acceptor.abort();
        let _ = acceptor.await; // until its listener is closed; it was aborted, as it says
    }
    worker.stop(&plan.status.connections).await;
    assert!(!worker.panicked.get(), "a task of this worker panicked");
    Ok(())
}

/// Ends a task's turn, which has more to do: it goes on after everybody else who is ready, and after
/// a look at who has become so. A mere wake-up would put it before that look, which the runtime
/// makes only every 61 turns.
pub(super) fn give_way(context: &mut Context<'_>) {
    // Polled once, it has the runtime do all that; it need not live to the end.
    let _ = pin!(tokio::task::yield_now()).poll(context);
}

/// Serves the connections that other workers moved here.
async fn take_in(worker: Rc<Worker>, mut arrivals: mpsc::UnboundedReceiver<Moved>) {
    while let Some(moved) = arrivals.recv().await {
        match Connection::arrive(Rc::clone(&worker), moved) {
            Ok(connection) => drop(worker.spawn(connection.serve())),
            Err(error) => warn!(%error, "lost a connection that was moved here"),
        }
    }
}

impl Worker {
    /// The shards there are, and where the others are found.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Starts a task of this worker. If it panics, the whole server ends: the runtime alone would
    /// only end the task.
    pub(super) fn spawn(
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
    pub(super) fn has_others(&self) -> bool {
        self.shared.shards() != Shards::ONE
    }

    /// Whether to answer what was read, and read no more.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Has the worker that a connection moves to serve it from now on.
    pub(super) fn move_away(&self, moved: Moved) {
        // Where that worker is gone, the connection is dropped here, which closes it.
        let _ = self.departures[usize::from(moved.to().0)].send(moved);
    }

    /// Enters a new connection.
    pub(super) fn connect(&self) -> (ConnectionKey, Rc<Link>) {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let link = Rc::new(Link::new(serial, &self.held));
        let index = self.connections.borrow_mut().insert(Rc::clone(&link));
        (ConnectionKey { index, serial }, link)
    }

    /// Forgets a connection; replies still on their way to it are dropped when they arrive.
    pub(super) fn disconnect(&self, key: ConnectionKey) {
        self.connections.borrow_mut().remove(key.index);
    }

    /// Takes a read's requests to their shards. `outcome` gets the replies that are there at once, and
    /// sees what came back meanwhile before that goes to where it belongs: to the connections'
    /// [`Link`]s, this one's perhaps among them. What comes later goes there as well, or is answered by
    /// whoever gets it.
    pub(super) fn submit(
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
    pub(super) fn walk(
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
    pub(super) fn counters(&self) -> &Counters {
        self.status.counters(self.id)
    }

    /// The shard that this worker serves without hops.
    pub(super) fn shard(&self) -> ShardId {
        self.id.shard()
    }

    /// Whether nothing may be read now. If so, `waker` is woken when that is over.
    pub(super) fn congested(&self, waker: &Waker) -> bool {
        let congested = self.router.borrow().congested();
        if congested {
            self.stalled.borrow_mut().push(waker.clone());
        }
        congested
    }

    /// Whether something is put off that the errands task must still do.
    fn busy(&self) -> bool {
        let router = self.router.borrow();
        router.has_errands() || router.congested()
    }

    /// The task that takes back batches when nobody else does, and does what was put off. It sleeps
    /// until the mailbox or [`after_routing`](Self::after_routing) wakes it.
    async fn errands(self: Rc<Self>) {
        std::future::poll_fn(|context| {
            self.shared
                .mailbox(self.id)
                .set_waker(Some(context.waker().clone()));
            {
                let mut router = self.router.borrow_mut();
                router.collect(|batch| self.returned(batch));
                router.pass_on_answers();
                router.run_errands();
                router.collect(|batch| self.returned(batch));
            }
            self.after_routing();
            Poll::<()>::Pending
        })
        .await;
    }

    /// What every use of the router ends with: answers datagrams that ran here, sees to errands, or
    /// lets those read that waited.
    pub(super) fn after_routing(&self) {
        if let Some(udp) = &self.udp {
            let mut router = self.router.borrow_mut();
            while let Some(batch) = router.take_datagrams() {
                udp.answer(batch);
            }
            for batch in udp.flush() {
                router.give_back(batch);
            }
        }
        let router = self.router.borrow();
        if router.has_errands() {
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
        let mut datagrams = 0;
        for &(origin, reply) in replies {
            match origin.asker {
                Asker::Connection(key) => {
                    if let Some(link) = self.link(key) {
                        self.counters().erred(link.returned_late(origin.id, reply));
                    }
                }
                Asker::Datagram(_) => datagrams += 1,
            }
        }
        if datagrams > 0
            && let Some(udp) = &self.udp
        {
            udp.answer_late(replies);
            self.shared.datagrams_answered(datagrams);
        }
    }

    /// The connection of that key, if it is still there.
    fn link(&self, key: ConnectionKey) -> Option<Rc<Link>> {
        let connections = self.connections.borrow();
        let link = connections.get(key.index)?;
        (link.serial() == key.serial).then(|| Rc::clone(link))
    }

    /// Lets connections answer what they read, then returns; gives up on peers that don't take it.
    async fn stop(&self, all: &Connections) {
        self.stopping.set(true);
        drop(self.reading.take());
        if let Some(udp) = &self.udp {
            udp.wake();
        }
        let connections: Vec<_> = {
            let connections = self.connections.borrow();
            connections
                .iter()
                .map(|(_, link)| Rc::clone(link))
                .collect()
        };
        for link in connections {
            link.wake();
        }
        let all_gone = async {
            // Those of other workers too: one may be about to move here.
            all.all_ended().await;
            // Batches that others left to this worker, or that it could not hand over yet; and no
            // reply that is not sent.
            loop {
                if let Some(udp) = &self.udp {
                    udp.flushed().await;
                }
                if !self.busy() && self.shared.datagrams_are_done() {
                    return;
                }
                // Not a mere yield: only a thread that sleeps is told what came back.
                tokio::time::sleep(STOP_STEP).await;
            }
        };
        let in_time = tokio::time::timeout(STOP_LIMIT, all_gone).await.is_ok();
        let left = self.connections.borrow().len();
        if !in_time && left > 0 {
            warn!(
                left,
                "gave up on connections that did not take their replies"
            );
        }
    }
}
