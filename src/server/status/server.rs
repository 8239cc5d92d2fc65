//! What is known of the server as a whole: its settings, its age, what each worker has counted of its
//! own work, who is connected. INFO, CONFIG GET and CLIENT LIST tell it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::clients::Clients;
use super::connections::Connections;
use super::counters::{Calls, Counters};
use crate::protocol::resp::Verb;
use crate::server::config::Config;
use crate::server::durable::Loaded;
use crate::server::exchange::WorkerId;
use crate::server::net::coarse_seconds;

/// The server, as all workers know it.
#[derive(Debug)]
pub(crate) struct Status {
    /// Its settings, with the addresses that it has.
    pub(crate) config: Config,
    /// Tells this run of the server from all others: 40 hexadecimal digits.
    pub(crate) run_id: String,
    pub(crate) connections: Arc<Connections>,
    pub(crate) clients: Arc<Clients>,
    /// What was loaded of topics that are kept; `None`: none are.
    pub(crate) loaded: Option<Loaded>,
    started: u64,
    workers: Box<[CachePadded<Counters>]>,
}

impl Status {
    /// A server that starts now.
    pub(crate) fn new(
        config: Config,
        connections: Arc<Connections>,
        loaded: Option<Loaded>,
    ) -> Self {
        let hashes = [0, 1, 2].map(|n| RandomState::new().hash_one(n));
        let mut run_id: String = hashes.iter().map(|hash| format!("{hash:016x}")).collect();
        run_id.truncate(40);
        let workers = (0..config.shards.count()).map(|_| CachePadded::new(Counters::new()));
        Self {
            run_id,
            connections,
            clients: Arc::default(),
            loaded,
            started: coarse_seconds(),
            workers: workers.collect(),
            config,
        }
    }

    /// For how many seconds it has been running.
    pub(crate) fn uptime(&self) -> u64 {
        coarse_seconds().saturating_sub(self.started)
    }

    /// What a worker counts.
    pub(crate) fn counters(&self, worker: WorkerId) -> &Counters {
        &self.workers[usize::from(worker.0)]
    }

    /// What was asked of a command, of all workers.
    pub(crate) fn calls(&self, verb: Verb) -> Calls {
        let mut all = Calls::default();
        let mut nanoseconds = 0;
        for worker in &self.workers {
            let command = &worker.commands[verb.index()];
            all.calls += command.calls.load(Ordering::Relaxed);
            all.refused += command.refused.load(Ordering::Relaxed);
            nanoseconds += command.nanoseconds.load(Ordering::Relaxed);
        }
        all.microseconds = nanoseconds / 1_000;
        all
    }

    /// How many requests in datagrams arrived at their owner's worker, and at another.
    pub(crate) fn datagram_requests(&self) -> [u64; 2] {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            let count = |worker: &CachePadded<Counters>| of(worker).load(Ordering::Relaxed);
            self.workers.iter().map(count).sum()
        };
        [sum(|worker| &worker.at_owner), sum(|worker| &worker.astray)]
    }

    /// How many replies to Redis clients were errors.
    pub(crate) fn errors(&self) -> u64 {
        let errors = |worker: &CachePadded<Counters>| worker.errors.load(Ordering::Relaxed);
        self.workers.iter().map(errors).sum()
    }
}
