//! The errors of a server: why it could not start, and why it stopped by itself.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::store::StoreError;

/// Why a server could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Neither UDP nor TCP is on.
    #[error("nothing to serve: both TCP and UDP are off")]
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
        /// `tcp` or `udp`.
        transport: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The stored topics cannot be loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
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
