//! What a running server tells about itself, for those who watch it: a copy of its settings' limits
//! and of its counts at one time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::cluster::{ClusterMap, ClusterSnapshot};
use super::reached::LimitsReached;
use super::server::Status;
use crate::access::LoginCount;
use crate::measure::Distribution;
use crate::protocol::Method;
use crate::protocol::resp::COMMANDS;
use crate::server::exchange::{CommitSnapshot, Shared};
use crate::server::net::{Tls, TlsSnapshot};

/// Tells how a [`Server`](crate::server::Server) is doing. It costs the server nothing until it is
/// asked, and then only reads of counters, which no worker waits for.
#[derive(Debug, Clone)]
pub struct Monitor {
    pub(super) status: Arc<Status>,
    pub(super) shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// Turns true when the server is told to stop, and a node of a cluster begins to leave it.
    leave: watch::Receiver<bool>,
}

/// Whether a server can be expected to answer every request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Ready,
    /// It was told to stop, and answers only what it has read.
    Stopping,
    /// The store failed, for this reason: requests that need it are refused with STORE.
    StoreFailed(String),
    /// A node of a cluster that was told to stop: it hands over its ranges, and serves meanwhile.
    Leaving,
    /// A node of a cluster that has no session: it is about to begin one, or another process has its name.
    NoSession,
    /// A node of a cluster whose lease etcd has not renewed in time: it answers UNAVAILABLE until etcd
    /// answers again.
    LeaseOver,
    /// A node of a cluster that does not know yet which node owns which topics.
    NoMap,
}

/// The counts of a server at one time. Counts are since its start. Those of different workers are read
/// one after another, so their sum may be of no single moment.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// For how many seconds the server has been running.
    pub uptime_seconds: u64,
    /// The topics of all shards.
    pub topics: u64,
    /// The most topics that the server takes.
    pub max_topics: u64,
    /// Open TCP connections.
    pub connections: u64,
    /// The most TCP connections that may be open.
    pub max_connections: u64,
    /// TCP connections that were ever accepted, refused ones included.
    pub connections_accepted: u64,
    /// TCP connections that were closed at once because too many were open.
    pub connections_refused: u64,
    /// TCP connections that were closed at once because too many of their address were open.
    pub connections_refused_by_address: u64,
    /// TCP connections that were closed because they reached a limit while they were open, by limit:
    /// "first_byte", "request", "idle", "unread" or "held".
    pub connections_closed_at_limit: Vec<(&'static str, u64)>,
    /// Connections and handshakes of TLS; `None` if it is off.
    pub tls: Option<TlsSnapshot>,
    /// Connections that speak the Redis protocol.
    pub resp_connections: u64,
    /// Requests in the framed and the classic dialect.
    pub requests: Vec<RequestCount>,
    /// The requests that were refused: those of every dialect that a shard refused, and framed and
    /// classic ones that could not be decoded.
    pub errors: Vec<ErrorCount>,
    /// Requests of every dialect that were submitted to shards.
    pub submitted: u64,
    /// How many requests each read, or receive call of datagrams, brought.
    pub batches: Distribution,
    /// The time from a read until its requests have their replies, in nanoseconds, of a sample of
    /// reads, weighted by their requests. Datagrams whose requests were handed over, or waited for the
    /// store, are left out.
    pub latencies: Distribution,
    /// Bytes that were received and sent.
    pub bytes: BytesSnapshot,
    /// How often a connection, or the socket for datagrams, was not read for a while because it or
    /// its worker had too much to do.
    pub stalls: u64,
    /// How often limits on requests and datagrams were reached.
    pub limits_reached: LimitsReached,
    /// Commands of Redis clients, those that came at least once.
    pub commands: Vec<CommandCalls>,
    /// Replies to Redis clients that were errors.
    pub resp_errors: u64,
    /// Commands of Redis clients that were refused for lack of a right, with NOAUTH or NOPERM.
    pub resp_denied: u64,
    /// Attempts to authenticate; empty without access control.
    pub logins: Vec<LoginCount>,
    /// Requests in datagrams that arrived at the worker that owns their topic.
    pub datagram_requests_at_owner: u64,
    /// Requests in datagrams that were handed over to the worker that owns their topic.
    pub datagram_requests_handed_over: u64,
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerSnapshot>,
    /// "memory", "monotonic" or "exact".
    pub durability: String,
    /// What was loaded from the data directory; `None` in memory, and in a cluster.
    pub loaded: Option<LoadedSnapshot>,
    /// What the store has done; `None` in memory.
    pub commits: Option<CommitSnapshot>,
    /// Datagrams that the kernel dropped before the server could receive them, mostly because they
    /// came faster: as many as the last datagram that was received told of. `None` without UDP.
    pub datagrams_dropped: Option<u64>,
    /// Why the store failed; `None` as long as it works, and in memory.
    pub store_failure: Option<String>,
    /// The cluster, as this node knows it; `None` on a server alone.
    pub cluster: Option<ClusterSnapshot>,
}

/// How many requests of one kind a server has decoded, valid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestCount {
    /// "framed" or "classic".
    pub dialect: &'static str,
    /// The method in lower case, such as "count".
    pub method: &'static str,
    /// The number of requests.
    pub requests: u64,
}

/// How many requests of one method were refused with one error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ErrorCount {
    /// The method in lower case; "unknown" if the request could not be decoded.
    pub method: &'static str,
    /// The error's name in the protocol, such as "BUSY".
    pub error: &'static str,
    /// The number of requests.
    pub requests: u64,
}

/// Bytes that were received and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[allow(missing_docs)] // their names say it
#[non_exhaustive]
pub struct BytesSnapshot {
    pub tcp_received: u64,
    pub tcp_sent: u64,
    pub udp_received: u64,
    pub udp_sent: u64,
}

/// How often Redis clients called a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CommandCalls {
    /// The command in lower case, such as "incr".
    pub command: &'static str,
    /// How often it was executed.
    pub calls: u64,
    /// How often it was refused because of its arguments or because of a transaction.
    pub refused: u64,
    /// How long all calls took together, in microseconds; an estimate from samples.
    pub microseconds: u64,
}

/// One worker, and its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Its open TCP connections.
    pub connections: u64,
    /// Bytes that its connections hold: incomplete requests, and replies that are not sent.
    pub held_bytes: u64,
    /// The requests that it has read, of every dialect.
    pub requests: u64,
    /// The time from when it wakes until it sleeps again, in nanoseconds, of a sample of its turns.
    pub turns: Distribution,
    /// Batches of requests that wait for its shard.
    pub waiting_batches: u64,
    /// Bytes of memory that the topics of its shard take.
    pub table_bytes: u64,
}

/// What was loaded from a data directory at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LoadedSnapshot {
    /// The topics.
    pub topics: u64,
    /// Topics that may skip numbers, since the last server did not shut down cleanly.
    pub skipped_topics: u64,
    /// The most numbers that these skip together.
    pub skipped_numbers: u64,
}

impl Monitor {
    pub(in crate::server) fn new(
        status: Arc<Status>,
        shared: Arc<Shared>,
        stop: watch::Receiver<bool>,
        leave: watch::Receiver<bool>,
    ) -> Self {
        Self {
            status,
            shared,
            stop,
            leave,
        }
    }

    /// Returns whether the server can be expected to answer every request.
    #[must_use]
    pub fn state(&self) -> State {
        match self.shared.store_failure() {
            Some(failure) => State::StoreFailed(failure.to_owned()),
            None if *self.stop.borrow() => State::Stopping,
            None => self.state_in_cluster(),
        }
    }

    /// Returns whether a server that has not stopped can be expected to answer every request as a node of
    /// a cluster.
    fn state_in_cluster(&self) -> State {
        let Some(membership) = self.shared.membership() else {
            return State::Ready;
        };
        if *self.leave.borrow() {
            State::Leaving
        } else if !membership.ranges.in_session() {
            State::NoSession
        } else if membership.deadline.left().is_zero() {
            State::LeaseOver
        } else if membership.owners.number() == 0 {
            State::NoMap
        } else {
            State::Ready
        }
    }

    /// Returns what a node of a cluster tells, as [`snapshot`](Self::snapshot) has it; `None` on a server
    /// alone.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterSnapshot> {
        self.status.cluster(&self.shared)
    }

    /// Returns which node owns which range, as this node knows it; `None` on a server alone.
    #[must_use]
    pub fn cluster_map(&self) -> Option<ClusterMap> {
        let membership = self.shared.membership()?;
        Some(ClusterMap::read(membership))
    }

    /// Returns the counts by now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (status, shared) = (&*self.status, &*self.shared);
        let mut requests = BTreeMap::new();
        let mut workers = Vec::new();
        for counts in status.requests() {
            for (dialect, method, count) in counts {
                *requests.entry((dialect, method)).or_default() += count;
            }
        }
        let connections = status.connections.by_worker();
        let shards = connections.zip(shared.shard_counts());
        for (worker, (connections, (shard, waiting_batches))) in status.workers().zip(shards) {
            workers.push(WorkerSnapshot {
                connections: connections as u64,
                held_bytes: worker.held().load(Ordering::Relaxed) as u64,
                requests: worker.requests(),
                turns: worker.turns.read(),
                waiting_batches: waiting_batches as u64,
                table_bytes: shard.table_bytes(),
            });
        }
        let requests = requests
            .into_iter()
            .map(|((dialect, method), requests)| RequestCount {
                dialect,
                method: method.name(),
                requests,
            });
        let commands = COMMANDS.iter().map(|spec| {
            let calls = status.calls(spec.verb);
            CommandCalls {
                command: spec.name,
                calls: calls.calls,
                refused: calls.refused,
                microseconds: calls.microseconds,
            }
        });
        let mut errors: Vec<ErrorCount> = Vec::new();
        let shards = shared.shard_counts().map(|(shard, _)| &shard.errors);
        for counts in status.refusals().chain(shards) {
            for (i, (method, error, count)) in counts.all().enumerate() {
                if i == errors.len() {
                    errors.push(ErrorCount {
                        method: method.map_or("unknown", Method::name),
                        error: error.name(),
                        requests: 0,
                    });
                }
                errors[i].requests += count;
            }
        }
        let shards = shared.shard_counts().map(|(shard, _)| shard.over_maker());
        let limits_reached = LimitsReached {
            topics_over_token_limit: shards.sum(),
            ..status.limits_reached()
        };
        let [tcp_received, tcp_sent, udp_received, udp_sent] = status.bytes();
        let batches = status.distribution(|worker| &worker.batches);
        let [connections, accepted, refused, refused_by_address] = status.connections.counts();
        let [at_owner, handed_over] = status.datagram_requests();
        Snapshot {
            uptime_seconds: status.uptime(),
            topics: shared.topics() as u64,
            max_topics: shared.quota().max() as u64,
            connections,
            max_connections: status.connections.max() as u64,
            connections_accepted: accepted,
            connections_refused: refused,
            connections_refused_by_address: refused_by_address,
            connections_closed_at_limit: status.closed_at_limit().collect(),
            tls: status.tls.as_ref().map(Tls::counts),
            resp_connections: status.clients.count() as u64,
            requests: requests.collect(),
            errors,
            submitted: batches.sum(),
            batches,
            latencies: status.distribution(|worker| &worker.latencies),
            bytes: BytesSnapshot {
                tcp_received,
                tcp_sent,
                udp_received,
                udp_sent,
            },
            stalls: status.stalls(),
            limits_reached,
            commands: commands
                .filter(|command| command.calls + command.refused > 0)
                .collect(),
            resp_errors: status.errors(),
            resp_denied: status.denied(),
            logins: status
                .config
                .access
                .as_ref()
                .map_or_else(Vec::new, |guard| guard.login_counts()),
            datagram_requests_at_owner: at_owner,
            datagram_requests_handed_over: handed_over,
            workers,
            durability: status.durability().to_string(),
            loaded: status.loaded.map(|loaded| LoadedSnapshot {
                topics: loaded.topics,
                skipped_topics: loaded.skipped_topics,
                skipped_numbers: loaded.skipped_numbers,
            }),
            commits: status.is_durable().then(|| shared.commit_counts().read()),
            datagrams_dropped: status.config.udp.map(|_| status.datagrams_dropped()),
            store_failure: shared.store_failure().map(str::to_owned),
            cluster: status.cluster(shared),
        }
    }
}
