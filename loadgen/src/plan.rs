//! The plan of one run: [`crate::args`] makes it from flags that go together, and [`crate::drive`]
//! carries it out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rustls::ClientConfig;

use crate::target::Target;
use crate::workload::{Spacing, Workload};

/// The plan of one run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: &'static dyn Target,
    /// The servers, which have one order together; at least one.
    pub(crate) servers: Vec<SocketAddr>,
    /// The numbers of the servers that requests are sent to.
    pub(crate) in_use: Vec<u16>,
    /// How its certificate is verified; `None` without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) workload: Workload,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    /// The most requests per datagram.
    pub(crate) per_datagram: usize,
    /// Whether the kernel splits and merges datagrams (GSO, GRO).
    pub(crate) gso: bool,
    /// Whether each connection requests only the topics of one shard.
    pub(crate) shard_aware: bool,
    /// Whether each request is sent to the owner of its topic, as a client of a Redis Cluster does.
    pub(crate) redis_cluster: bool,
    /// What each connection is authenticated with.
    pub(crate) token: Option<Token>,
    pub(crate) threads: usize,
    /// The processors to pin the threads to, in turn. If empty, threads are not pinned.
    pub(crate) processors: Vec<usize>,
    /// Whether every topic is created before the run.
    pub(crate) prepare: bool,
    /// How long requests are made before measuring begins.
    pub(crate) warm_up: Duration,
    pub(crate) until: Until,
    /// Over UDP, how long a reply may take before its request counts as lost. Over TCP, how long the
    /// server may send nothing before the run fails.
    pub(crate) timeout: Duration,
    /// How long a connection that ended is tried to be opened again. `None` if the run then fails.
    pub(crate) reconnect: Option<Duration>,
    /// What the recorded replies are checked for. `None` if they are not recorded.
    pub(crate) verify: Option<Promise>,
}

impl Plan {
    /// Returns the number of the server that connection `number` is to. The connections of each thread
    /// take turns over the servers, and threads begin with different ones.
    pub(crate) fn server_of(&self, number: usize) -> u16 {
        let turn = number / self.threads + number % self.threads;
        self.in_use[turn % self.in_use.len()]
    }

    /// Returns the address of the server that connection `number` is to.
    pub(crate) fn address_of(&self, number: usize) -> SocketAddr {
        self.servers[usize::from(self.server_of(number))]
    }

    /// Returns whether there are several servers: then the run goes on as long as one of them answers.
    pub(crate) fn has_several_servers(&self) -> bool {
        self.servers.len() > 1
    }

    /// Returns the servers as text.
    pub(crate) fn server_names(&self) -> String {
        let names: Vec<String> = self.servers.iter().map(SocketAddr::to_string).collect();
        names.join(", ")
    }
}

/// What the server promises of the numbers between two sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Promise {
    /// No number is skipped.
    Exact,
    /// Numbers may be skipped while a server is seen to fail, as by a cluster whose node dies.
    Failover,
    /// Numbers may be skipped, as by a crash of a server with --durability monotonic.
    Monotonic,
}

/// A token, or `NAME:PASSWORD`. It is not shown.
#[derive(Clone)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// When a reply arrives: `pipeline` requests are in flight on each connection.
    Closed { pipeline: usize },
    /// By the clock, however fast the server replies: `rate` requests per second.
    Open { rate: f64, spacing: Spacing },
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// After that many requests, divided among the connections.
    Requests(u64),
}
