//! The server: workers, their sockets, the channels between them. It moves bytes and batches; what
//! a request does to a topic is [`shard`](crate::shard)'s business, what it looks like on the wire
//! [`protocol`](crate::protocol)'s.
//!
//! [`Server`] is the way in. A client's request takes this path: [`udp`] or [`connection`] reads
//! it, [`intake`] decodes it, [`router`] takes it to its shard through [`reach`], and the reply
//! goes back the same way, or through the [`inbox`] of the worker that has the connection. What a
//! shard wants made durable goes through [`commits`] to the [`store`](crate::store).

mod config;
mod connection;
mod drift;
mod durable;
mod error;
mod exchange;
mod link;
mod net;
mod resp;
mod status;
mod steering;
mod tcp;
mod udp;
mod worker;

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::{io, thread};

use socket2::Socket;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

pub use config::Config;
pub use durable::Loaded;
pub use error::{BindError, ServeError};
#[doc(hidden)]
pub use exchange::{inbox, reach};
#[doc(hidden)]
pub use net::{affinity, sys};

use crate::shard::Durability;
use crate::store::Store;
use durable::Durable;
use exchange::{Shared, WorkerId};
use link::Connections;
use net::listen;
use status::Status;

/// A server that holds its addresses and is ready to serve.
///
/// [`serve`](Server::serve) runs it for asynchronous programs, [`run`](Server::run) for others;
/// [`Config`] says whether it serves UDP, TCP or both.
///
/// A UDP server that blocks its thread:
///
/// ```
/// use globalcounter::server::{Config, Server};
///
/// let server = Server::bind(Config {
///     udp: Some(([127, 0, 0, 1], 0).into()), // 0: any free port
///     tcp: None,
///     ..Config::default()
/// })?;
/// println!("counting at udp://{}", server.udp_addr().unwrap());
/// let stop = server.stop_handle();
/// # let other_thread = std::thread::spawn(move || stop.stop());
/// server.run()?; // until someone calls `stop.stop()`
/// # other_thread.join().unwrap();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A TCP server that blocks its thread, asked by a client in another:
///
/// ```
/// use globalcounter::server::{Config, Server};
///
/// let server = Server::bind(Config {
///     tcp: Some(([127, 0, 0, 1], 0).into()),
///     udp: None,
///     ..Config::default()
/// })?;
/// let url = format!("tcp://{}", server.tcp_addr().unwrap());
/// let stop = server.stop_handle();
/// # #[cfg(feature = "client")]
/// let client = std::thread::spawn(move || {
///     let client = globalcounter::blocking::Client::connect(&url)?;
///     let sum = client.count("visits");
///     stop.stop();
///     sum
/// });
/// # #[cfg(not(feature = "client"))]
/// # stop.stop();
/// server.run()?;
/// # #[cfg(feature = "client")]
/// assert_eq!(client.join().unwrap()?, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// An asynchronous UDP server, until Ctrl-C or any other future:
///
/// ```
/// use globalcounter::server::{Config, Server};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let server = Server::bind(Config {
///     udp: Some(([127, 0, 0, 1], 0).into()),
///     tcp: None,
///     ..Config::default()
/// })?;
/// # let shutdown = async {};
/// server.serve(shutdown).await?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// An asynchronous TCP server beside other tasks:
///
/// ```
/// use globalcounter::server::{Config, Server};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let server = Server::bind(Config {
///     tcp: Some(([127, 0, 0, 1], 0).into()),
///     udp: None,
///     ..Config::default()
/// })?;
/// let stop = server.stop_handle();
/// let serving = tokio::spawn(server.serve(std::future::pending()));
/// // … and when it is time:
/// stop.stop();
/// serving.await??;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    config: Config,
    tcp: Vec<TcpListener>,
    udp: Vec<Socket>,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    durable: Option<Durable>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("loaded", &self.loaded())
            .finish_non_exhaustive()
    }
}

/// Stops a running [`Server`] from anywhere.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Has the server stop accepting, answer what it has read, and return.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Loads what topics were kept, then binds the addresses. From here on peers can connect; they
    /// are answered once it serves.
    ///
    /// # Errors
    ///
    /// [`BindError`]: a setting out of range; a data directory that somebody else has, or that can't
    /// be read; or an address that can't be had. An address that another process listens on is
    /// refused, even where that process would share it.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        config.check()?;
        let store = match &config.data_dir {
            Some(directory) if config.durability != Durability::Memory => {
                Some(durable::directory(directory, &config)?)
            }
            _ => None,
        };
        Self::bind_with(config, store)
    }

    /// The same, with topics kept in `store` instead of a directory; with [`Durability::Memory`], it
    /// is not looked at.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_to(config: Config, store: Box<dyn Store>) -> Result<Self, BindError> {
        config.check()?;
        let store = (config.durability != Durability::Memory).then_some(store);
        Self::bind_with(config, store)
    }

    fn bind_with(mut config: Config, store: Option<Box<dyn Store>>) -> Result<Self, BindError> {
        let (shared, mut durable) = durable::load(&config, store)?;
        let count = usize::from(config.shards.count());
        let tcp = bind("tcp", config.tcp, |address| listen::tcp(address, count))?;
        let udp = bind("udp", config.udp, |address| listen::udp(address, count))?;
        if config.steering
            && count > 1
            && let Err(error) = steering::steer(&udp, config.shards)
        {
            let source = error.source().map(ToString::to_string);
            warn!(%error, source, "datagrams go to the worker of their peer, not of their topic");
        }
        let tcp_addr = tcp.first().and_then(|socket| socket.local_addr().ok());
        let udp_addr = udp
            .first()
            .and_then(|socket| socket.local_addr().ok()?.as_socket());
        // With the ports that the system chose.
        (config.tcp, config.udp) = (tcp_addr, udp_addr);
        // Last: a server that can't serve leaves a clean end as it is.
        if let Some(durable) = &mut durable {
            durable.store.begin()?;
        }
        Ok(Self {
            config,
            tcp,
            udp,
            stop: watch::Sender::new(false),
            shared,
            durable,
        })
    }

    /// Where TCP clients find it, with the port that the system chose for port 0.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.config.tcp
    }

    /// Where UDP clients find it, with the port that the system chose for port 0.
    #[must_use]
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.config.udp
    }

    /// What was loaded of topics that were kept; `None` where none are.
    #[must_use]
    pub fn loaded(&self) -> Option<Loaded> {
        self.durable.as_ref().map(|durable| durable.loaded)
    }

    /// What stops it once it runs.
    #[must_use]
    pub fn stop_handle(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves on threads of its own until `shutdown` is ready, or a [`Stop`] says so; then stops
    /// accepting, answers what was read, and returns. Needs no runtime of a certain kind. Where the
    /// future is dropped, the server stops in the background.
    ///
    /// # Errors
    ///
    /// [`ServeError`], when a worker could not start or failed; the others are stopped then.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let stop = self.stop_handle();
        let mut ended = self.start();
        // Dropped at the end, in whatever way it comes.
        let _stop_all = StopOnDrop(stop.clone());

        let mut result = Ok(());
        let mut shutdown = std::pin::pin!(shutdown);
        let mut asked = false;
        loop {
            let next = std::future::poll_fn(|context| {
                if !asked && shutdown.as_mut().poll(context).is_ready() {
                    asked = true;
                    stop.stop();
                }
                ended.poll_recv(context)
            });
            match next.await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    error!(error = &error as &dyn std::error::Error, "stopping");
                    stop.stop();
                    result = result.and(Err(error));
                }
                None => return result,
            }
        }
    }

    /// Serves on threads of its own and blocks this one until a [`Stop`] says so.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// On a thread of an asynchronous runtime, which must not be blocked: use
    /// [`serve`](Self::serve) there.
    pub fn run(self) -> Result<(), ServeError> {
        let stop = self.stop_handle();
        let mut ended = self.start();
        let mut result = Ok(());
        while let Some(worker) = ended.blocking_recv() {
            if worker.is_err() {
                stop.stop();
                result = result.and(worker);
            }
        }
        result
    }

    /// Starts the workers; the channel says how each ended, and closes after the last.
    fn start(self) -> mpsc::UnboundedReceiver<Result<(), ServeError>> {
        let shared = Arc::clone(&self.shared);
        self.start_with(&shared)
    }

    fn start_with(self, shared: &Arc<Shared>) -> mpsc::UnboundedReceiver<Result<(), ServeError>> {
        let Self {
            config,
            tcp,
            udp,
            stop,
            durable,
            ..
        } = self;
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
            durable::spawn(store, Arc::clone(shared), ended.clone());
        }
        let last_worker = Arc::new(LastWorker(Arc::clone(shared)));
        for (id, arrivals) in config.shards.ids().zip(arrivals) {
            let worker = id.number();
            let plan = worker::Plan {
                id: WorkerId(worker),
                shared: Arc::clone(shared),
                max_topic_len: config.max_topic_len,
                status: Arc::clone(&status),
                tcp: tcp
                    .next()
                    .map(|listener| (listener, connections.accept(WorkerId(worker)))),
                udp: udp.next(),
                processor: processors.next(),
                arrivals,
                departures: Arc::clone(&departures),
                reading: worker::Reading(Arc::clone(shared)),
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
        self.0.commits().close();
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
            self.last_worker.0.commits().abandon();
            let _ = self.ended.send(Err(ServeError::Panicked { worker }));
        }
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn bind<T>(
    transport: &'static str,
    address: Option<SocketAddr>,
    bind: impl FnOnce(SocketAddr) -> io::Result<Vec<T>>,
) -> Result<Vec<T>, BindError> {
    let Some(address) = address else {
        return Ok(Vec::new());
    };
    bind(address).map_err(|source| BindError::Listen {
        transport,
        address,
        source,
    })
}

#[cfg(test)]
mod tests;
