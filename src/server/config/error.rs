//! The errors of a server: why it could not start, and why it stopped by itself.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::store::StoreError;

/// Why a server could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// No transport is on.
    #[error("nothing to serve: both TCP and UDP are off, and so is TLS")]
    NoTransport,
    /// A setting is out of its range.
    #[error("{setting} must be {range}, not {value}")]
    Setting {
        /// Its name on the command line.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The allowed range.
        range: String,
    },
    /// An address could not be bound.
    #[error("cannot listen on {transport}://{address}")]
    Listen {
        /// `tcp`, `udp` or `tls`.
        transport: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Sockets that this process was started with cannot be served.
    #[error("cannot serve the {transport} sockets that this process was started with")]
    Inherited {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// What is wrong with them.
        source: InheritedError,
    },
    /// The stored topics cannot be loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate or the key of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cluster cannot be joined.
    #[cfg(feature = "cluster")]
    #[error("cannot join the cluster")]
    Cluster(#[from] crate::etcd::StartError),
    /// The settings of a node contradict each other.
    #[cfg(feature = "cluster")]
    #[error("{0}")]
    Node(&'static str),
}

/// Why certificates or keys cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file has no certificate.
    #[error("{} has no certificate (a PEM block CERTIFICATE)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key.
    #[error("{} has no private key (a PEM block PRIVATE KEY that is not encrypted)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The contents of a file cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl TlsError {
    pub(in crate::server) fn new(path: &Path, reason: &impl ToString) -> Self {
        Self::Unusable {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}

/// Why inherited sockets cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritedError {
    /// A socket is of another kind.
    #[error("socket {index} of them is not {expected}")]
    Unsuitable {
        /// Its place among the sockets of its transport, from 0.
        index: usize,
        /// The kind that is needed.
        expected: &'static str,
    },
    /// The sockets are not all bound to one address.
    #[error("they have different addresses, {first} and {other}; all must have the same")]
    Addresses {
        /// The address of the first socket.
        first: SocketAddr,
        /// The address of another one.
        other: SocketAddr,
    },
    /// There are more sockets than workers, so nobody would serve some of them.
    #[error("{sockets} sockets for {workers} workers; pass fewer, or raise --shards")]
    TooMany {
        /// The number of sockets.
        sockets: usize,
        /// The number of workers.
        workers: usize,
    },
    /// The transport is off, so nobody would serve the sockets.
    #[error("the transport is off")]
    Off,
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Why a running server stopped by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A worker's thread could not be started or set up.
    #[error("worker {worker} could not start")]
    Worker {
        /// Its number.
        worker: u16,
        /// The system's error.
        source: io::Error,
    },
    /// The store's thread could not be started.
    #[error("the store's thread could not start")]
    StoreThread {
        /// The system's error.
        source: io::Error,
    },
    /// The final sums could not be written. No order is lost: topics continue above their ceilings
    /// and skip the numbers in between.
    #[error("stopped without a clean shutdown: after the next start, topics may skip numbers")]
    Store(#[source] StoreError),
    /// A worker panicked. Its shard may be inconsistent, so the server stops.
    #[error("worker {worker} panicked; this is a bug in globalcounter")]
    Panicked {
        /// Its number.
        worker: u16,
    },
}
