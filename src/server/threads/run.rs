//! The thread of a worker: its runtime, its tasks, and its graceful stop.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::{Builder, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::pulse::Beat;
use crate::server::exchange::{Alone, Intake, NodeMaps, ReadGuard, Shared, WorkerId};
use crate::server::net::affinity;
use crate::server::status::{Accepting, Connections, Status};
use crate::server::tcp::{self, Moved, QueueAtStop, TcpContext};
use crate::server::udp::{self, DatagramSocket};
use crate::server::worker::{DatagramReplies, Worker};

/// How long a stopping worker waits for peers to read their last replies.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long it sleeps between two checks whether everything is finished.
const STOP_STEP: Duration = Duration::from_millis(1);

/// What a worker's thread starts with.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) max_topic_len: usize,
    pub(super) status: Arc<Status>,
    pub(super) tcp: Option<Endpoint>,
    pub(super) tls: Option<Endpoint>,
    pub(super) udp: Option<Socket>,
    /// Tells that it runs.
    pub(super) beat: Beat,
    /// The processor to pin the thread to.
    pub(super) processor: Option<usize>,
    /// Connections that other workers move here.
    pub(super) arrivals: mpsc::UnboundedReceiver<Moved>,
    /// The channels to every worker for such connections, in the order of the workers.
    pub(super) departures: Arc<[mpsc::UnboundedSender<Moved>]>,
    /// Held as long as the worker may receive datagrams.
    pub(super) reading: ReadGuard,
    /// Turns true when the worker is to stop. A task that panics sets it.
    pub(super) stop: watch::Sender<bool>,
}

/// Where a worker accepts connections.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) listener: TcpListener,
    /// Dropped when it accepts no more.
    pub(super) accepting: Accepting,
    /// What it does with the listener's queue when it stops.
    pub(super) queue_at_stop: QueueAtStop,
}

/// Runs a worker on this thread until it is told to stop.
///
/// # Errors
///
/// The thread cannot be set up: its runtime, its processor, or the registration of a socket.
pub(super) fn run(plan: Plan) -> io::Result<()> {
    if let Some(processor) = plan.processor {
        affinity::pin(processor)?;
    }
    let runtime = runtime(plan.id, &plan.shared, &plan.status)?;
    let (id, shared) = (plan.id, Arc::clone(&plan.shared));
    let result = runtime.block_on(serve(plan));
    shared.mailbox(id).set_waker(None);
    result
}

fn runtime(id: WorkerId, shared: &Arc<Shared>, status: &Arc<Status>) -> io::Result<LocalRuntime> {
    let (before, after) = (Arc::clone(shared), Arc::clone(shared));
    let (end, begin) = (Arc::clone(status), Arc::clone(status));
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            end.counters(id).end_turn();
            before.mailbox(id).before_sleep();
        })
        .on_thread_unpark(move || {
            after.mailbox(id).after_sleep();
            begin.counters(id).begin_turn();
        })
        .build_local(Default::default())
}

async fn serve(plan: Plan) -> io::Result<()> {
    let udp = plan.udp.map(DatagramSocket::new).transpose()?.map(Rc::new);
    let node_maps: Arc<dyn NodeMaps> = match plan.shared.membership() {
        Some(membership) => Arc::clone(membership) as _,
        None => Arc::new(Alone),
    };
    let intake = Intake::new(
        plan.shared.shards(),
        plan.id.shard(),
        plan.max_topic_len,
        node_maps,
        plan.status.request_counts(plan.id),
    );
    let worker = Rc::new(Worker::new(
        Arc::clone(&plan.shared),
        intake,
        Arc::clone(&plan.status),
        plan.reading,
        udp.clone().map(|udp| udp as Rc<dyn DatagramReplies>),
        plan.stop.clone(),
    ));
    let tcp = Rc::new(TcpContext::new(
        Rc::clone(&worker),
        plan.departures,
        plan.stop.subscribe(),
    ));

    worker.spawn(Rc::clone(&worker).run_deferred_work());
    worker.spawn(Rc::clone(&worker).enforce_limits());
    worker.spawn(tcp::forward_requests(Rc::clone(&worker)));
    if let Some(udp) = &udp {
        worker.spawn(udp::serve_datagrams(Rc::clone(&worker), Rc::clone(udp)));
    }
    let endpoints = [(plan.tcp, None), (plan.tls, plan.status.tls.clone())];
    for (endpoint, tls) in endpoints {
        if let Some(endpoint) = endpoint {
            worker.spawn(tcp::accept(
                Rc::clone(&tcp),
                tokio::net::TcpListener::from_std(endpoint.listener)?,
                endpoint.accepting,
                tls,
                endpoint.queue_at_stop,
            ));
        }
    }
    worker.spawn(tcp::serve_arrivals(tcp, plan.arrivals));
    worker.spawn(plan.beat.run());

    let mut stop = plan.stop.subscribe();
    // This cannot fail: the plan holds a sender.
    let _ = stop.wait_for(|&stop| stop).await;
    // After a panic, the shard that it ran and the state that tasks share may be inconsistent.
    assert!(!worker.panicked(), "a task of this worker panicked");
    stop_serving(&worker, udp.as_deref(), &plan.status.connections).await;
    assert!(!worker.panicked(), "a task of this worker panicked");
    Ok(())
}

/// Lets each connection finish the requests that it has read, or its first ones if it has not sent
/// anything yet, then returns. Gives up on peers that do not read their replies.
async fn stop_serving(worker: &Worker, udp: Option<&DatagramSocket>, all: &Connections) {
    worker.begin_stop();
    if let Some(udp) = udp {
        udp.wake();
    }
    let all_gone = async {
        // Also those of other workers: one of them may be about to move here.
        all.all_ended().await;
        // Then wait for batches that others left to this worker or that it could not hand over yet,
        // and until every reply to a datagram is sent.
        loop {
            if let Some(udp) = udp {
                udp.flushed().await;
            }
            if !worker.busy() && worker.shared().all_datagrams_served() {
                return;
            }
            // A mere yield does not do: only a thread that sleeps is woken for returned batches.
            tokio::time::sleep(STOP_STEP).await;
        }
    };
    let in_time = tokio::time::timeout(STOP_LIMIT, all_gone).await.is_ok();
    let left = worker.open_connections();
    if !in_time && left > 0 {
        warn!(
            left,
            "closed connections whose peers did not read their replies in time"
        );
    }
}
