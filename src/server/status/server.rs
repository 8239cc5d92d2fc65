//! The state of the server as a whole, which INFO, CONFIG GET and CLIENT LIST report.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::clients::Clients;
use super::closings::CloseReason;
use super::cluster::{ClusterSnapshot, ForwardsSnapshot};
use super::connections::Connections;
use super::counters::{Calls, Counters};
use super::reached::LimitsReached;
use super::request_limits::RequestLimits;
use crate::measure::{Counter, Distribution, Histogram};
use crate::protocol::Method;
use crate::protocol::resp::Verb;
use crate::server::config::Config;
use crate::server::durable::Loaded;
use crate::server::exchange::{RequestCounts, Shared, WorkerId};
use crate::server::net::{Tls, coarse_seconds};
use crate::shard::{Durability, ErrorCounts};

/// The state of the server as a whole. All workers share it.
#[derive(Debug)]
pub(crate) struct Status {
    /// The settings, with the addresses that are bound.
    pub(crate) config: Config,
    /// Identifies this run of the server: 40 hexadecimal digits.
    pub(crate) run_id: String,
    pub(crate) connections: Arc<Connections>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) request_limits: RequestLimits,
    /// What was loaded from the store; `None` if topics are only kept in memory.
    pub(crate) loaded: Option<Loaded>,
    /// The certificates and the counts of TLS; `None` if it is off.
    pub(crate) tls: Option<Tls>,
    /// When the server started, by [`coarse_seconds`].
    started: u64,
    workers: Box<[CachePadded<Counters>]>,
    /// What each worker decoded.
    requests: Box<[Arc<CachePadded<RequestCounts>>]>,
}

impl Status {
    /// Creates the state of a server that starts now.
    pub(crate) fn new(config: Config, loaded: Option<Loaded>, tls: Option<Tls>) -> Self {
        let connections = Connections::new(
            config.max_connections,
            config.connection_limits.per_address,
            config.shards.count(),
        );
        let hashes = [0, 1, 2].map(|n| RandomState::new().hash_one(n));
        let mut run_id: String = hashes.iter().map(|hash| format!("{hash:016x}")).collect();
        run_id.truncate(40);
        let requests = (0..config.shards.count()).map(|_| Arc::default());
        let workers = (0..config.shards.count()).map(|_| CachePadded::new(Counters::new()));
        Self {
            run_id,
            connections: Arc::new(connections),
            clients: Arc::default(),
            request_limits: RequestLimits::new(&config),
            loaded,
            tls,
            started: coarse_seconds(),
            workers: workers.collect(),
            requests: requests.collect(),
            config,
        }
    }

    /// Returns for how many seconds the server has been running.
    pub(crate) fn uptime(&self) -> u64 {
        coarse_seconds().saturating_sub(self.started)
    }

    /// Returns how durable topics are.
    pub(crate) fn durability(&self) -> Durability {
        match self.is_durable() {
            true => self.config.durability,
            false => Durability::Memory,
        }
    }

    /// Returns whether there is a store: a data directory, or etcd.
    pub(crate) fn is_durable(&self) -> bool {
        self.loaded.is_some() || self.config.is_node()
    }

    /// Returns what a node of a cluster tells; `None` on a server alone.
    pub(crate) fn cluster(&self, shared: &Shared) -> Option<ClusterSnapshot> {
        let membership = shared.membership()?;
        let mut forwards = ForwardsSnapshot::default();
        for worker in &self.workers {
            worker.forwards().add_to(&mut forwards);
        }
        let held = shared.shard_counts().map(|(shard, _)| shard.held());
        forwards.held_by_shards = held.sum();
        Some(ClusterSnapshot::read(membership, forwards))
    }

    /// Returns the counters of a worker.
    pub(crate) fn counters(&self, worker: WorkerId) -> &Counters {
        &self.workers[usize::from(worker.0)]
    }

    /// Returns the counts of the requests that a worker decodes.
    pub(crate) fn request_counts(&self, worker: WorkerId) -> Arc<CachePadded<RequestCounts>> {
        Arc::clone(&self.requests[usize::from(worker.0)])
    }

    /// Returns the dialect, the method and the number of each kind of requests, for each worker.
    pub(super) fn requests(
        &self,
    ) -> impl Iterator<Item = impl Iterator<Item = (&'static str, Method, u64)>> {
        self.requests.iter().map(|counts| counts.all())
    }

    /// Returns the errors with which each worker refused requests that it could not decode.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &ErrorCounts> {
        self.requests.iter().map(|counts| counts.errors())
    }

    /// Returns the calls of a command, summed over all workers.
    pub(crate) fn calls(&self, verb: Verb) -> Calls {
        let commands = self.workers.iter().map(|w| &w.commands[verb.index()]);
        let mut sum = Calls::default();
        let mut nanoseconds = 0;
        for command in commands {
            sum.calls += command.calls.get();
            sum.refused += command.refused.get();
            nanoseconds += command.nanoseconds.get();
        }
        sum.microseconds = nanoseconds / 1_000;
        sum
    }

    /// Returns how many requests in datagrams arrived at their owner's worker, and how many at
    /// another worker.
    pub(crate) fn datagram_requests(&self) -> [u64; 2] {
        [
            self.sum(|worker| &worker.at_owner),
            self.sum(|worker| &worker.forwarded),
        ]
    }

    /// Returns the bytes that were received and sent: over TCP, and over UDP.
    pub(super) fn bytes(&self) -> [u64; 4] {
        [
            self.sum(|worker| &worker.tcp_received),
            self.sum(|worker| &worker.tcp_sent),
            self.sum(|worker| &worker.udp_received),
            self.sum(|worker| &worker.udp_sent),
        ]
    }

    /// Returns how many open connections were closed at each limit.
    pub(super) fn closed_at_limit(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = CloseReason::ALL.into_iter();
        reasons.map(|reason| {
            let closed = self.workers.iter().map(|worker| worker.closed(reason));
            (reason.name(), closed.sum())
        })
    }

    /// Returns how often a connection was not read because it, or its worker, had too much to do.
    pub(super) fn stalls(&self) -> u64 {
        self.sum(|worker| &worker.stalls)
    }

    /// Returns how often limits were reached, as far as workers know.
    pub(super) fn limits_reached(&self) -> LimitsReached {
        let mut sum = LimitsReached::default();
        for worker in &self.workers {
            worker.reached.add_to(&mut sum);
        }
        sum
    }

    /// Returns what one histogram of all workers has counted.
    pub(super) fn distribution(&self, histogram: fn(&Counters) -> &Histogram) -> Distribution {
        let mut sum = Distribution::default();
        for worker in &self.workers {
            sum.merge(&histogram(worker).read());
        }
        sum
    }

    /// Returns the counters of each worker.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Counters> {
        self.workers.iter().map(|worker| &**worker)
    }

    /// Returns how many datagrams the kernel dropped at all workers' sockets.
    pub(crate) fn datagrams_dropped(&self) -> u64 {
        self.sum(|worker| &worker.dropped)
    }

    /// Returns how many replies to Redis clients were errors.
    pub(crate) fn errors(&self) -> u64 {
        self.sum(|worker| &worker.errors)
    }

    /// Returns how many commands of Redis clients were refused for lack of a right.
    pub(super) fn denied(&self) -> u64 {
        self.sum(|worker| &worker.denied)
    }

    /// Returns the sum of one counter over all workers.
    fn sum(&self, counter: fn(&Counters) -> &Counter) -> u64 {
        let counts = self.workers.iter().map(|worker| counter(worker));
        counts.map(Counter::get).sum()
    }
}
