//! The server: it moves bytes and batches between sockets and shards. What a request does to a topic is
//! up to [`shard`](crate::shard), and what it looks like on the wire is up to
//! [`protocol`](crate::protocol).
//!
//! [`Server`] is the entry point. A request takes this path: [`udp`] or [`tcp`] reads it, the
//! [`exchange`] takes it to its shard, and the reply returns the same way, or through the mailbox of
//! the [`worker`] that has the connection. Changes that a shard wants durable go through the exchange
//! to the thread of [`durable`], which owns the [`store`](crate::store).

mod cluster;
mod config;
mod durable;
mod exchange;
mod net;
mod resp;
mod status;
mod tcp;
mod threads;
mod udp;
mod worker;

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::watch;
use tracing::{error, warn};

pub use cluster::MovesSnapshot;
pub use config::{
    BindError, Config, ConnectionLimits, InheritedError, ServeError, Steering, TlsConfig, TlsError,
    TlsFiles,
};
#[cfg(feature = "cluster")]
pub use config::{ClusterConfig, NodeTls, NodeToken};
pub use durable::Loaded;
pub use exchange::CommitSnapshot;
#[doc(hidden)]
pub use exchange::{inbox, reach};
pub use net::{Inherited, Tls, TlsSnapshot};
#[doc(hidden)]
pub use net::{affinity, sys};
pub use status::{
    BytesSnapshot, ClusterMap, ClusterSnapshot, CommandCalls, ErrorCount, ForwardsSnapshot,
    HotTopic, Limits, LimitsReached, LoadedSnapshot, Monitor, NodeSnapshot, RangesSnapshot,
    RequestCount, SearchError, Snapshot, State, TopicPage, TopicSum, WorkerSnapshot,
};
pub use threads::Pulse;

use crate::cluster::{Epoch, Moment, NodeName, Owner, RANGES, RangeId};
pub use crate::measure::Distribution;
use crate::shard::{Durability, LoadId};
use crate::store::Store;
use crate::topic::Shards;
use cluster::{Credentials, Membership, Owners};
use net::Group;
use status::Status;
use threads::{Beats, Prepared};

/// A server that is bound to its addresses and ready to serve.
///
/// [`serve`](Server::serve) runs it in an asynchronous program, [`run`](Server::run) in any other.
/// [`Config`] decides whether it serves UDP, TCP or both.
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
    prepared: Prepared,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.prepared.status.config)
            .field("loaded", &self.loaded())
            .finish_non_exhaustive()
    }
}

/// Stops a running [`Server`] from anywhere.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Makes the server stop accepting, answer the requests that it has read, and return.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Loads the stored topics, then binds the addresses. From here on peers can connect; they are
    /// answered once the server runs.
    ///
    /// # Errors
    ///
    /// Returns [`BindError`] if a setting is out of its range, if another process uses the data
    /// directory or the directory cannot be read, or if an address cannot be bound. An address that
    /// another process listens on is refused even if that process would share it.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_inherited(config, Inherited::default())
    }

    /// Does the same as [`bind`](Self::bind) with sockets that another process has bound and keeps open
    /// when this server ends. Their addresses are used instead of those in `config`. A transport
    /// without inherited sockets is bound as `config` says.
    ///
    /// Nothing that arrives while one server ends and the next one starts is refused or lost: when the
    /// server stops, it leaves the connections that it has not accepted, and the datagrams that it has
    /// not received, to the next server.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), and if the sockets cannot be served: see [`InheritedError`].
    pub fn bind_inherited(config: Config, inherited: Inherited) -> Result<Self, BindError> {
        config.check()?;
        let store = match &config.data_dir {
            Some(directory) if config.durability != Durability::Memory => {
                Some(durable::directory(directory, &config)?)
            }
            _ => None,
        };
        Self::bind_with(config, store, inherited)
    }

    /// Does the same as [`bind`](Self::bind) with topics kept in `store` instead of a data directory.
    /// With [`Durability::Memory`] the store is not used.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_to(config: Config, store: Box<dyn Store>) -> Result<Self, BindError> {
        config.check()?;
        let store = (config.durability != Durability::Memory).then_some(store);
        Self::bind_with(config, store, Inherited::default())
    }

    fn bind_with(
        mut config: Config,
        store: Option<Box<dyn Store>>,
        inherited: Inherited,
    ) -> Result<Self, BindError> {
        let (shared, mut durable) = durable::load(&config, store)?;
        let (tcp, udp) = (
            tcp_group(&config, inherited.tcp)?,
            udp_group(&config, inherited.udp)?,
        );
        steer(&config, &udp);
        let certificates = match &config.tls {
            Some(tls) => {
                let handshakes = config.connection_limits.handshakes;
                Some(Tls::load_for(tls.files.clone(), handshakes)?)
            }
            None => None,
        };
        let tls = tls_group(&config, inherited.tls)?;
        threads::warn_of_limits(&config, [&tcp, &tls], &udp);
        let tcp_addr = tcp
            .sockets
            .first()
            .and_then(|socket| socket.local_addr().ok());
        let udp_addr = udp
            .sockets
            .first()
            .and_then(|socket| socket.local_addr().ok()?.as_socket());
        // The ports that the system chose.
        (config.tcp, config.udp) = (tcp_addr, udp_addr);
        if let (Some(tls), Some(listener)) = (&mut config.tls, tls.sockets.first())
            && let Ok(address) = listener.local_addr()
        {
            tls.address = address;
        }
        // This comes last: a server that cannot start must not remove the mark of a clean end.
        if let Some(durable) = &mut durable {
            durable.store.begin()?;
        }
        let stop = watch::Sender::new(false);
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut))]
        let mut ask = stop.clone();
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &config.cluster {
            ask = watch::Sender::new(false);
            let advertised = config.advertised(cluster)?;
            let joined =
                durable::join(cluster, &shared, &advertised, ask.subscribe(), stop.clone())?;
            durable = Some(joined);
        }
        let loaded = durable.as_ref().and_then(|durable| durable.loaded);
        let beats = Beats::new(config.shards.count());
        let prepared = Prepared {
            status: Arc::new(Status::new(config, loaded, certificates)),
            tcp,
            tls,
            udp: udp.sockets,
            stop,
            ask,
            shared,
            durable,
            beats,
        };
        Ok(Self { prepared })
    }

    /// Makes the server a node of a cluster in which each range belongs to whom `owner_of` says,
    /// forever. It keeps the sums of its ranges in memory. For tests of what clients see.
    ///
    /// # Panics
    ///
    /// Panics if the server does not serve TCP, or is a node of a cluster already.
    #[doc(hidden)]
    pub fn join_fixed(&self, name: &str, owner_of: impl Fn(RangeId) -> Owner) {
        let address = self.tcp_addr().expect("Redis clients need TCP");
        let owners = Owners::new(RANGES, NodeName::new(name), address.to_string().into());
        owners.update(&owner_of);
        let shards = self.prepared.shared.shards();
        let credentials = Credentials::default();
        let membership = Membership::new(owners, shards, credentials, Duration::from_secs(5));
        let never = Moment::new(Duration::from_nanos(u64::MAX));
        membership.deadline.set(never);
        membership.ranges.session_lives();
        for range in RangeId::all(RANGES) {
            if owner_of(range) == Owner::ThisNode {
                membership.ranges.load(range, Epoch::default());
                let time = Duration::ZERO;
                membership.ranges.loaded(range, Epoch::default(), time);
            }
        }
        let shared = &self.prepared.shared;
        shared.join(Arc::new(membership));
        for id in shared.shards().ids() {
            shared.with_idle(id, |shard| {
                let load = LoadId::default().next();
                for range in RangeId::all(RANGES) {
                    if owner_of(range) == Owner::ThisNode {
                        shard.begin_load(range, load);
                        shard.serve_range(range, load, &mut Vec::new());
                    }
                }
            });
        }
    }

    /// Returns the address of TCP, with the port that the system chose for port 0.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.prepared.status.config.tcp
    }

    /// Returns the address of UDP, with the port that the system chose for port 0.
    #[must_use]
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.prepared.status.config.udp
    }

    /// Returns the address of TLS, with the port that the system chose for port 0.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        let tls = self.prepared.status.config.tls.as_ref();
        tls.map(|tls| tls.address)
    }

    /// Returns a handle that replaces the certificates while the server runs; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.prepared.status.tls.clone()
    }

    /// Returns what was loaded from the store; `None` for a server in memory.
    #[must_use]
    pub fn loaded(&self) -> Option<Loaded> {
        self.prepared.status.loaded
    }

    /// Returns a handle that tells how the server is doing, now and while it runs.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor::new(
            Arc::clone(&self.prepared.status),
            Arc::clone(&self.prepared.shared),
            self.prepared.stop.subscribe(),
            self.prepared.ask.subscribe(),
        )
    }

    /// Returns a handle that changes limits while the server runs.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::new(
            Arc::clone(&self.prepared.status),
            Arc::clone(&self.prepared.shared),
        )
    }

    /// Returns a handle that stops the server once it runs.
    #[must_use]
    pub fn stop_handle(&self) -> Stop {
        Stop(self.prepared.ask.clone())
    }

    /// Returns a handle that tells whether every worker runs: a watchdog asks it. From now on each
    /// worker wakes up once per `period` for it; `None` costs nothing, and tells only when every worker
    /// serves.
    pub fn pulse(&mut self, period: Option<Duration>) -> Pulse {
        self.prepared.beats.set_period(period);
        self.prepared.beats.pulse()
    }

    /// Serves on threads of its own until `shutdown` is ready or a [`Stop`] is used. Then stops
    /// accepting, answers the requests that were read, and returns. Works in any asynchronous runtime.
    /// If the future is dropped, the server stops in the background.
    ///
    /// # Errors
    ///
    /// Returns [`ServeError`] if a worker could not start or failed. The other workers are stopped then.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let stop = self.stop_handle();
        let stop_now = Stop(self.prepared.stop.clone());
        let mut ended = threads::start(self.prepared);
        // Stops the workers, also if this future is dropped.
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
                    error!(
                        error = &error as &dyn std::error::Error,
                        "shutting down after a failure"
                    );
                    stop_now.stop();
                    result = result.and(Err(error));
                }
                None => return result,
            }
        }
    }

    /// Serves on threads of its own and blocks the calling thread until a [`Stop`] is used.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// Panics on a thread of an asynchronous runtime, which must not be blocked. Use
    /// [`serve`](Self::serve) there.
    pub fn run(self) -> Result<(), ServeError> {
        let stop_now = Stop(self.prepared.stop.clone());
        let mut ended = threads::start(self.prepared);
        let mut result = Ok(());
        while let Some(worker) = ended.blocking_recv() {
            if worker.is_err() {
                stop_now.stop();
                result = result.and(worker);
            }
        }
        result
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn tcp_group(
    config: &Config,
    inherited: Vec<TcpListener>,
) -> Result<Group<TcpListener>, BindError> {
    stream_group("tcp", config.tcp, config.shards, inherited)
}

fn tls_group(
    config: &Config,
    inherited: Vec<TcpListener>,
) -> Result<Group<TcpListener>, BindError> {
    let address = config.tls.as_ref().map(|tls| tls.address);
    stream_group("tls", address, config.shards, inherited)
}

fn stream_group(
    transport: &'static str,
    address: Option<SocketAddr>,
    workers: Shards,
    inherited: Vec<TcpListener>,
) -> Result<Group<TcpListener>, BindError> {
    let workers = usize::from(workers.count());
    group(
        transport,
        address,
        inherited,
        |address| net::tcp_group(address, workers),
        |inherited| net::inherited_tcp(inherited, workers),
    )
}

fn udp_group(config: &Config, inherited: Vec<UdpSocket>) -> Result<Group<Socket>, BindError> {
    let workers = usize::from(config.shards.count());
    group(
        "udp",
        config.udp,
        inherited,
        |address| net::udp_group(address, workers),
        |inherited| net::inherited_udp(inherited, workers),
    )
}

/// Returns the sockets of a transport: the inherited ones, or if there are none, sockets that are
/// bound to `address`.
fn group<I, T>(
    transport: &'static str,
    address: Option<SocketAddr>,
    inherited: Vec<I>,
    bind: impl FnOnce(SocketAddr) -> io::Result<Vec<T>>,
    inherit: impl FnOnce(Vec<I>) -> Result<Group<T>, InheritedError>,
) -> Result<Group<T>, BindError> {
    let refuse = |source| BindError::Inherited { transport, source };
    match address {
        None if inherited.is_empty() => Ok(Group::bound(Vec::new())),
        None => Err(refuse(InheritedError::Off)),
        Some(_) if !inherited.is_empty() => inherit(inherited).map_err(refuse),
        Some(address) => bind(address)
            .map(Group::bound)
            .map_err(|source| BindError::Listen {
                transport,
                address,
                source,
            }),
    }
}

/// Steers datagrams if the settings say so and each worker has a socket of its own.
fn steer(config: &Config, udp: &Group<Socket>) {
    let shards = config.shards;
    if config
        .steering
        .applies(shards.count(), config::processors())
        && udp.distinct == usize::from(shards.count())
    {
        if let Err(error) = udp::steer(&udp.sockets, shards) {
            let source = error.source().map(ToString::to_string);
            warn!(%error, source, "cannot steer datagrams to the owners of their topics");
        }
    } else if udp.inherited && udp.distinct > 1 {
        udp::do_not_steer(&udp.sockets);
    }
}
