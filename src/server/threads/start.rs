//! Starts the threads of a server, and reports how each of them ended.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use socket2::Socket;
use tokio::sync::{mpsc, watch};

use super::pulse::Beats;
use super::run::{self, Endpoint, Plan};
use crate::server::config::ServeError;
use crate::server::durable::{self, Durable};
use crate::server::exchange::{ReadGuard, Shared, WorkerId};
use crate::server::net::{Group, affinity};
use crate::server::status::{Accepting, Status};
use crate::server::tcp::QueueAtStop;
use crate::topic::ShardId;

/// Everything that the threads of a server need. It holds the addresses and the loaded topics.
pub(crate) struct Prepared {
    /// The settings, with the ports that the system chose, and the counts of the server.
    pub(crate) status: Arc<Status>,
    /// A listener for each worker. Empty without TCP.
    pub(crate) tcp: Group<TcpListener>,
    /// A listener for TLS for each worker. Empty without TLS.
    pub(crate) tls: Group<TcpListener>,
    /// A socket for each worker. Empty without UDP.
    pub(crate) udp: Vec<Socket>,
    /// Turns true when the server is to stop.
    pub(crate) stop: watch::Sender<bool>,
    /// Turns true when the server is asked to stop. A node of a cluster leaves it first; else it is the
    /// same as `stop`.
    pub(crate) ask: watch::Sender<bool>,
    pub(crate) shared: Arc<Shared>,
    /// `None` in memory.
    pub(crate) durable: Option<Durable>,
    pub(crate) beats: Beats,
}

/// Starts the workers and the store's thread. The channel reports how each of them ended, and closes
/// after the last one.
pub(crate) fn start(mut prepared: Prepared) -> mpsc::UnboundedReceiver<Result<(), ServeError>> {
    let (ended, receiver) = mpsc::unbounded_channel();
    let shared = Arc::clone(&prepared.shared);
    if let Some(durable) = prepared.durable.take() {
        durable::spawn(durable, Arc::clone(&shared), ended.clone());
    }
    let last_worker = Arc::new(LastWorker(shared));
    for plan in plans(prepared) {
        let report = Report {
            worker: plan.id.0,
            last_worker: Arc::clone(&last_worker),
            ended: ended.clone(),
        };
        spawn(plan, report);
    }
    receiver
}

/// Shares the listeners, sockets and processors out among the workers.
fn plans(prepared: Prepared) -> Vec<Plan> {
    let Prepared {
        status,
        tcp,
        tls,
        udp,
        stop,
        shared,
        beats,
        ..
    } = prepared;
    let config = &status.config;
    let (departures, arrivals): (Vec<_>, Vec<_>) = config
        .shards
        .ids()
        .map(|_| mpsc::unbounded_channel())
        .unzip();
    let departures: Arc<[_]> = departures.into();
    let processors = match config.pin {
        true => affinity::processors(),
        false => Vec::new(),
    };
    let mut processors = processors.into_iter().cycle();
    let (ids, max_topic_len) = (config.shards.ids(), config.max_topic_len);
    let connections = Arc::clone(&status.connections);
    let (mut tcp, mut tls, mut udp) = (endpoints(tcp), endpoints(tls), udp.into_iter());
    let plan = |(id, arrivals): (ShardId, _)| Plan {
        id: WorkerId::of(id),
        shared: Arc::clone(&shared),
        max_topic_len,
        status: Arc::clone(&status),
        tcp: tcp
            .next()
            .map(|endpoint| endpoint(connections.accept(WorkerId::of(id)))),
        tls: tls
            .next()
            .map(|endpoint| endpoint(connections.accept(WorkerId::of(id)))),
        udp: udp.next(),
        beat: beats.beat(WorkerId::of(id)),
        processor: processors.next(),
        arrivals,
        departures: Arc::clone(&departures),
        reading: ReadGuard(Arc::clone(&shared)),
        stop: stop.clone(),
    };
    ids.zip(arrivals).map(plan).collect()
}

/// Returns, for each worker, what makes its endpoint.
fn endpoints(
    group: Group<TcpListener>,
) -> impl Iterator<Item = impl FnOnce(Accepting) -> Endpoint> {
    let queue_at_stop = QueueAtStop::of(group.inherited);
    group.sockets.into_iter().map(move |listener| {
        move |accepting| Endpoint {
            listener,
            accepting,
            queue_at_stop,
        }
    })
}

fn spawn(plan: Plan, report: Report) {
    let (worker, ended) = (report.worker, report.ended.clone());
    let spawned = thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || report.run(plan));
    if let Err(source) = spawned {
        // Sending fails only if the server was dropped, and with it the receiver.
        let _ = ended.send(Err(ServeError::Worker { worker, source }));
    }
}

/// Reports how a worker ended, also if it panics.
struct Report {
    worker: u16,
    /// Declared before `ended`, so that it is dropped first: when the channel closes, the change
    /// queue is already closed.
    last_worker: Arc<LastWorker>,
    ended: mpsc::UnboundedSender<Result<(), ServeError>>,
}

/// Dropped with the last worker. From then on, no shard asks for anything to be made durable.
struct LastWorker(Arc<Shared>);

impl Drop for LastWorker {
    fn drop(&mut self) {
        self.0.change_queue().close();
    }
}

impl Report {
    fn run(self, plan: Plan) {
        let worker = self.worker;
        let result = run::run(plan).map_err(|source| ServeError::Worker { worker, source });
        let _ = self.ended.send(result);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if thread::panicking() {
            let worker = self.worker;
            self.last_worker.0.change_queue().poison();
            let _ = self.ended.send(Err(ServeError::Panicked { worker }));
        }
    }
}
