//! Why a server could not start, and why a running one ended by itself.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::store::StoreError;

/// Why a server could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Neither UDP nor TCP: nobody could ever ask it.
    #[error("nothing to serve: both TCP and UDP are off")]
    NoTransport,
    /// A setting outside its range.
    #[error("{setting} must be {range}, not {value}")]
    Setting {
        /// Its name on the command line.
        setting: &'static str,
        /// What it was.
        value: usize,
        /// What it can be.
        range: String,
    },
    /// An address could not be bound.
    #[error("can't listen on {transport}://{address}")]
    Listen {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// What topics were kept can't be had.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a running server ended by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A worker's thread could not be started or set up.
    #[error("worker {worker} could not start")]
    Worker {
        /// Its number.
        worker: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The store's thread could not be started.
    #[error("the store's thread could not start")]
    StoreThread {
        /// What the system said.
        source: io::Error,
    },
    /// The last sums could not be written. Nothing is lost by that: topics go on above their
    /// ceilings, and skip what lies between.
    #[error("stopped without a clean end, so topics may skip numbers")]
    Store(#[source] StoreError),
    /// A worker panicked. Its shard may be half changed, so nothing more is served.
    #[error("worker {worker} panicked; this is a bug in globalcounter")]
    Panicked {
        /// Its number.
        worker: u16,
    },
}
