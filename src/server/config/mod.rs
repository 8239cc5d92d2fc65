//! The settings of a server, and the errors with which it does not start or stops by itself.

#[cfg(feature = "cluster")]
mod cluster;
mod error;
mod limits;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

#[cfg(feature = "cluster")]
pub use cluster::{ClusterConfig, NodeTls, NodeToken};
pub use error::{BindError, InheritedError, ServeError, TlsError};
pub use limits::ConnectionLimits;

use crate::access::Guard;
use crate::shard::Durability;
use crate::store::LogStore;
use crate::topic::{DEFAULT_MAX_TOPIC_LEN, Shards, TOPIC_LEN_LIMIT};

/// Upper estimates of the file descriptors that are not connections: listeners, runtimes, standard
/// streams.
const OTHER_DESCRIPTORS_PER_SHARD: u64 = 16;
const OTHER_DESCRIPTORS: u64 = 32;

/// A server's settings. The defaults are those of `globalcounter serve --in-memory`: nothing is
/// written to the disk unless a data directory is set.
///
/// ```
/// use globalcounter::server::Config;
///
/// let udp_alone = Config {
///     tcp: None,
///     ..Config::default()
/// };
/// # assert!(udp_alone.udp.is_some());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on for TCP; `None` turns TCP off. 127.0.0.1:9999 by default.
    pub tcp: Option<SocketAddr>,
    /// The address to receive UDP on; `None` turns UDP off. 127.0.0.1:9999 by default.
    pub udp: Option<SocketAddr>,
    /// Where to serve TLS, and with which certificate; `None` turns it off, as by default. It is served
    /// beside TCP, on an address of its own, and speaks the same dialects.
    pub tls: Option<TlsConfig>,
    /// The number of workers, each with a shard. By default the number of processors that the
    /// process may use.
    pub shards: Shards,
    /// Whether each worker is pinned to one processor.
    pub pin: bool,
    /// Whether the kernel delivers classic datagrams to the worker that owns their topic.
    /// [`Steering::Auto`] by default.
    pub steering: Steering,
    /// The directory that keeps topics across restarts and crashes; `None` keeps them in memory
    /// only.
    pub data_dir: Option<PathBuf>,
    /// The durability of topics in a data directory. With [`Durability::Memory`] the directory is
    /// not used. Monotonic by default.
    pub durability: Durability,
    /// After how many bytes of log the server writes a checkpoint of all topics to the data
    /// directory. [`LogStore::DEFAULT_CHECKPOINT_LOG`] by default. It waits longer if the last
    /// checkpoint was more than twice as large. A small number makes the next start faster, and the
    /// directory smaller, but writes more.
    pub checkpoint_log: u64,
    /// The most topics, over all shards. A new topic beyond it is refused; none is evicted.
    pub max_topics: usize,
    /// The longest topic name, in bytes; at most [`TOPIC_LEN_LIMIT`].
    pub max_topic_len: usize,
    /// The most open TCP connections. A connection beyond it is closed at once.
    pub max_connections: usize,
    /// The most requests a second of a TCP connection; 0, the default, is no limit. As many may come at
    /// once. A request beyond it is refused with BUSY.
    pub max_rate_per_connection: u32,
    /// The most datagrams that a worker receives before its connections are served again, rounded up to a
    /// receive call of 32. Datagrams that the kernel coalesced count as one.
    pub max_datagrams_per_turn: usize,
    /// The most errors a second that a worker sends to one source of datagrams, because it cannot decode
    /// them or must not serve them. Further ones are not sent.
    pub max_errors_per_source: u32,
    /// What a connection may use, and how long it may take.
    pub connection_limits: ConnectionLimits,
    /// Decides what each peer may do. `None`, the default: every peer may do everything.
    pub access: Option<Arc<Guard>>,
    /// How the server takes part in a cluster. `None`, the default: it serves all topics alone.
    #[cfg(feature = "cluster")]
    pub cluster: Option<ClusterConfig>,
}

/// Where a server serves TLS, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The address to listen on.
    pub address: SocketAddr,
    /// Its certificate, its key, and the certificates of its clients.
    pub files: TlsFiles,
}

/// Files of PEM blocks for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those of intermediate authorities.
    pub certificate: PathBuf,
    /// The private key of the certificate, not encrypted.
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted. Then each client needs one; with
    /// `None` no client is asked for a certificate.
    pub clients: Option<PathBuf>,
}

/// Whether the kernel delivers each classic datagram to the worker that owns its topic (steering),
/// or all datagrams of a peer to one worker, which forwards requests to their owners.
///
/// Steering saves the hop between two processors. But a peer's burst then reaches many workers, a
/// few datagrams each: if workers share a processor, every one of them has to be scheduled and to
/// make its own system calls, which costs more than the hop. docs/benchmarks.md has the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// On if there are several workers and each can have a processor of its own.
    Auto,
    /// On if there are several workers.
    On,
    /// Off.
    Off,
}

impl Steering {
    /// Returns whether a server with `workers` workers steers datagrams on a machine with
    /// `processors` processors.
    pub(super) fn applies(self, workers: u16, processors: usize) -> bool {
        workers > 1
            && match self {
                Self::Auto => usize::from(workers) <= processors,
                Self::On => true,
                Self::Off => false,
            }
    }
}

/// The number of processors that this process may use.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl Config {
    /// The default of [`max_topics`](Self::max_topics): about 1.1 GB for names of up to 24 bytes.
    pub const DEFAULT_MAX_TOPICS: usize = 20_000_000;

    /// The default of [`max_connections`](Self::max_connections).
    pub const DEFAULT_MAX_CONNECTIONS: usize = 65_536;

    /// The default of [`max_datagrams_per_turn`](Self::max_datagrams_per_turn): four receive calls. A
    /// flood of datagrams then keeps the worker's connections waiting for a few milliseconds at most.
    pub const DEFAULT_MAX_DATAGRAMS_PER_TURN: usize = 128;

    /// The default of [`max_errors_per_source`](Self::max_errors_per_source): a program with a mistake
    /// gets its errors, and a forged source gets some 40 kB a second.
    pub const DEFAULT_MAX_ERRORS_PER_SOURCE: u32 = 1_000;

    /// The default of [`tcp`](Self::tcp) and [`udp`](Self::udp).
    pub const DEFAULT_ADDRESS: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9999);

    /// The default of [`shards`](Self::shards): the number of processors that this process may use.
    #[must_use]
    pub fn default_shards() -> Shards {
        Shards::new(processors().min(Shards::MAX.into())).unwrap_or(Shards::ONE)
    }

    /// Returns how many file descriptors a server with these settings may need: one per connection,
    /// and those of its listeners and runtimes.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        let others = u64::from(self.shards.count()) * OTHER_DESCRIPTORS_PER_SHARD;
        let others = others + OTHER_DESCRIPTORS;
        (self.max_connections as u64).saturating_add(others)
    }

    /// Checks that every setting is in its range. [`Server::bind`](super::Server::bind) does the same.
    ///
    /// # Errors
    ///
    /// [`BindError::NoTransport`] or [`BindError::Setting`].
    pub fn check(&self) -> Result<(), BindError> {
        if self.tcp.is_none() && self.udp.is_none() && self.tls.is_none() {
            return Err(BindError::NoTransport);
        }
        if self.max_topic_len > TOPIC_LEN_LIMIT {
            return Err(BindError::Setting {
                setting: "--max-topic-len",
                value: self.max_topic_len,
                range: format!("at most {TOPIC_LEN_LIMIT} bytes"),
            });
        }
        if self.max_datagrams_per_turn == 0 {
            return Err(BindError::Setting {
                setting: "--max-datagrams-per-turn",
                value: 0,
                range: "at least 1".to_owned(),
            });
        }
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            cluster.check()?;
            if self.data_dir.is_some() {
                return Err(BindError::Node(
                    "a node of a cluster keeps nothing in a data directory: its ceilings are in etcd",
                ));
            }
            if self.durability == Durability::Memory {
                return Err(BindError::Node(
                    "a node of a cluster cannot keep topics in memory alone: others have to continue \
                     above what it returned",
                ));
            }
        }
        self.connection_limits.check()
    }
}

impl Config {
    /// Returns the address at which others reach this node. The addresses are those that were bound.
    #[cfg(feature = "cluster")]
    pub(super) fn advertised(&self, cluster: &ClusterConfig) -> Result<Arc<str>, BindError> {
        let tls = self.tls.as_ref().map(|tls| tls.address);
        cluster.reachable(match cluster.node_tls {
            Some(_) => tls,
            None => self.tcp,
        })
    }

    /// Returns whether the server is a node of a cluster.
    pub(in crate::server) fn is_node(&self) -> bool {
        #[cfg(feature = "cluster")]
        return self.cluster.is_some();
        #[cfg(not(feature = "cluster"))]
        return false;
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: Some(Self::DEFAULT_ADDRESS),
            udp: Some(Self::DEFAULT_ADDRESS),
            tls: None,
            shards: Self::default_shards(),
            pin: false,
            steering: Steering::Auto,
            data_dir: None,
            durability: Durability::Monotonic,
            checkpoint_log: LogStore::DEFAULT_CHECKPOINT_LOG,
            max_topics: Self::DEFAULT_MAX_TOPICS,
            max_topic_len: DEFAULT_MAX_TOPIC_LEN,
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
            max_rate_per_connection: 0,
            max_datagrams_per_turn: Self::DEFAULT_MAX_DATAGRAMS_PER_TURN,
            max_errors_per_source: Self::DEFAULT_MAX_ERRORS_PER_SOURCE,
            connection_limits: ConnectionLimits::default(),
            access: None,
            #[cfg(feature = "cluster")]
            cluster: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers that share a processor lose by steering: see docs/benchmarks.md.
    #[test]
    fn automatic_steering_needs_a_processor_per_worker() {
        for (workers, processors, steers) in [(1, 8, false), (2, 2, true), (4, 2, false)] {
            assert_eq!(Steering::Auto.applies(workers, processors), steers);
            assert_eq!(Steering::On.applies(workers, processors), workers > 1);
            assert!(!Steering::Off.applies(workers, processors));
        }
    }
}
