//! One run, resolved: what [`crate::args`] makes of the flags, and what [`crate::drive`] carries
//! out. Flags that do not go together are refused before there is one.

use std::net::SocketAddr;
use std::time::Duration;

use crate::target::Target;
use crate::workload::{Spacing, Workload};

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: &'static dyn Target,
    pub(crate) server: SocketAddr,
    pub(crate) workload: Workload,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    /// Requests that go into one datagram, at most.
    pub(crate) per_datagram: usize,
    /// Whether runs of datagrams are sent and received as one (GSO, GRO).
    pub(crate) gso: bool,
    /// Whether each connection asks only for the topics of one shard.
    pub(crate) shard_aware: bool,
    pub(crate) threads: usize,
    /// The processors that the threads stay on, in turn; none: wherever the system puts them.
    pub(crate) processors: Vec<usize>,
    /// Whether every topic is counted once before, or made where counting makes none.
    pub(crate) prepare: bool,
    /// How long to go before measuring begins.
    pub(crate) warm_up: Duration,
    pub(crate) until: Until,
    /// How long a datagram's reply may take before it is lost; over TCP, how long a server may say
    /// nothing before the run fails.
    pub(crate) timeout: Duration,
    /// Whether every reply is kept and checked.
    pub(crate) verify: bool,
}

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As replies come: that many in flight on each connection.
    Closed { pipeline: usize },
    /// By the clock, whatever the server does.
    Open { rate: f64, spacing: Spacing },
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// After that many requests, which are shared out among the connections.
    Requests(u64),
}
