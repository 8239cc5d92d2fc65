//! The life of a worker's thread: it sets up a runtime and the worker's tasks, and stops them gracefully.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::{Builder, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::server::exchange::{Intake, ReadGuard, Shared, WorkerId};
use crate::server::net::affinity;
use crate::server::status::{Accepting, Connections, Status};
use crate::server::tcp::{self, Moved, TcpPort};
use crate::server::udp::{self, UdpPort};
use crate::server::worker::{DatagramReplies, Worker};

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
    pub(super) reading: ReadGuard,
    /// Turns true when the worker is to stop; a task that panics turns it, too.
    pub(super) stop: watch::Sender<bool>,
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
    let udp = plan.udp.map(UdpPort::new).transpose()?.map(Rc::new);
    let intake = Intake::new(plan.shared.shards(), plan.id.shard(), plan.max_topic_len);
    let worker = Rc::new(Worker::new(
        Arc::clone(&plan.shared),
        intake,
        Arc::clone(&plan.status),
        plan.reading,
        udp.clone().map(|udp| udp as Rc<dyn DatagramReplies>),
        plan.stop.clone(),
    ));
    let tcp = Rc::new(TcpPort::new(Rc::clone(&worker), plan.departures));

    worker.spawn(Rc::clone(&worker).run_deferred_work());
    if let Some(udp) = &udp {
        worker.spawn(udp::serve_datagrams(Rc::clone(&worker), Rc::clone(udp)));
    }
    if let Some((listener, accepting)) = plan.tcp {
        worker.spawn(tcp::accept(
            Rc::clone(&tcp),
            tokio::net::TcpListener::from_std(listener)?,
            accepting,
            plan.stop.subscribe(),
        ));
    }
    worker.spawn(tcp::take_in(tcp, plan.arrivals));

    let mut stop = plan.stop.subscribe();
    // It can't fail: this worker could send, too.
    let _ = stop.wait_for(|&stop| stop).await;
    // The shard that it had, and what the worker's tasks share, may be half changed.
    assert!(!worker.panicked(), "a task of this worker panicked");
    stop_serving(&worker, udp.as_deref(), &plan.status.connections).await;
    assert!(!worker.panicked(), "a task of this worker panicked");
    Ok(())
}

/// Lets connections answer what they read, then returns; gives up on peers that don't take it.
async fn stop_serving(worker: &Worker, udp: Option<&UdpPort>, all: &Connections) {
    worker.begin_stop();
    if let Some(udp) = udp {
        udp.wake();
    }
    let all_gone = async {
        // Those of other workers too: one may be about to move here.
        all.all_ended().await;
        // Batches that others left to this worker, or that it could not hand over yet; and no
        // reply that is not sent.
        loop {
            if let Some(udp) = udp {
                udp.flushed().await;
            }
            if !worker.busy() && worker.shared().all_datagrams_served() {
                return;
            }
            // Not a mere yield: only a thread that sleeps is told what came back.
            tokio::time::sleep(STOP_STEP).await;
        }
    };
    let in_time = tokio::time::timeout(STOP_LIMIT, all_gone).await.is_ok();
    let left = worker.open_connections();
    if !in_time && left > 0 {
        warn!(
            left,
            "gave up on connections that did not take their replies"
        );
    }
}
