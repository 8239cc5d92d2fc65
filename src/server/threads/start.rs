//! Starting all threads of a server, and hearing how each ended.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use socket2::Socket;
use tokio::sync::{mpsc, watch};

use super::worker;
use crate::server::config::Config;
use crate::server::durable::{self, Durable};
use crate::server::error::ServeError;
use crate::server::exchange::{ReadGuard, Shared, WorkerId};
use crate::server::net::affinity;
use crate::server::status::{Connections, Status};

/// Everything that a server's threads are made of: it holds its addresses and what was kept.
pub(crate) struct Prepared {
    /// With the ports that the system chose.
    pub(crate) config: Config,
    /// A listener for each worker; none without TCP.
    pub(crate) tcp: Vec<TcpListener>,
    /// A socket for each worker; none without UDP.
    pub(crate) udp: Vec<Socket>,
    /// Turns true when the server is to stop.
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durable: Option<Durable>,
}

/// Starts the workers and the store's thread; the channel says how each ended, and closes after the
/// last.
pub(crate) fn start(prepared: Prepared) -> mpsc::UnboundedReceiver<Result<(), ServeError>> {
    let Prepared {
        config,
        tcp,
        udp,
        stop,
        shared,
        durable,
    } = prepared;
    let (store, loaded) = match durable {
        Some(Durable { store, loaded }) => (Some(store), Some(loaded)),
        None => (None, None),
    };
    let (departures, arrivals): (Vec<_>, Vec<_>) = config
        .shards
        .ids()
        .map(|_| mpsc::unbounded_channel())
        .unzip();
    let departures: Arc<[_]> = departures.into();
    let connections = Arc::new(Connections::new(
        config.max_connections,
        config.shards.count(),
    ));
    let status = Arc::new(Status::new(
        config.clone(),
        Arc::clone(&connections),
        loaded,
    ));
    let processors = if config.pin {
        affinity::processors()
    } else {
        Vec::new()
    };
    let mut processors = processors.into_iter().cycle();
    let (mut tcp, mut udp) = (tcp.into_iter(), udp.into_iter());
    let (ended, receiver) = mpsc::unbounded_channel();
    if let Some(store) = store {
        durable::spawn(store, Arc::clone(&shared), ended.clone());
    }
    let last_worker = Arc::new(LastWorker(Arc::clone(&shared)));
    for (id, arrivals) in config.shards.ids().zip(arrivals) {
        let worker = id.number();
        let plan = worker::Plan {
            id: WorkerId(worker),
            shared: Arc::clone(&shared),
            max_topic_len: config.max_topic_len,
            status: Arc::clone(&status),
            tcp: tcp
                .next()
                .map(|listener| (listener, connections.accept(WorkerId(worker)))),
            udp: udp.next(),
            processor: processors.next(),
            arrivals,
            departures: Arc::clone(&departures),
            reading: ReadGuard(Arc::clone(&shared)),
            stop: stop.clone(),
        };
        let report = Report {
            worker,
            ended: ended.clone(),
            last_worker: Arc::clone(&last_worker),
        };
        let spawned = thread::Builder::new()
            .name(format!("worker-{worker}"))
            .spawn(move || report.run(plan));
        if let Err(source) = spawned {
            // Nobody listens only if the server was dropped.
            let _ = ended.send(Err(ServeError::Worker { worker, source }));
        }
    }
    receiver
}

/// Says how a worker ended, also when it panics.
struct Report {
    worker: u16,
    /// Let go of before `ended`, so that whoever sees that closed finds nothing left of the workers.
    last_worker: Arc<LastWorker>,
    ended: mpsc::UnboundedSender<Result<(), ServeError>>,
}

/// Dropped with the last worker: nothing more comes for the store then.
struct LastWorker(Arc<Shared>);

impl Drop for LastWorker {
    fn drop(&mut self) {
        self.0.change_queue().close();
    }
}

impl Report {
    fn run(self, plan: worker::Plan) {
        let worker = self.worker;
        let result = worker::run(plan).map_err(|source| ServeError::Worker { worker, source });
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
