//! What is known of the server as a whole: its settings, its age, what each worker has counted of its
//! own work, who is connected. INFO, CONFIG GET and CLIENT LIST tell it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use nix::time::{ClockId, clock_gettime};

use super::exchange::WorkerId;
use super::link::Connections;
use super::resp::Clients;
use super::{Config, Loaded};
use crate::protocol::resp::{COMMANDS, Verb};

/// A worker has the time taken of one read in so many, on average: a look at the clock costs as much
/// as a count.
const SAMPLE_INTERVAL: u64 = 64;

/// The server, as all workers know it.
#[derive(Debug)]
pub(super) struct Status {
    /// Its settings, with the addresses that it has.
    pub(super) config: Config,
    /// Tells this run of the server from all others: 40 hexadecimal digits.
    pub(super) run_id: String,
    pub(super) connections: Arc<Connections>,
    pub(super) clients: Clients,
    /// What was loaded of topics that are kept; `None`: none are.
    pub(super) loaded: Option<Loaded>,
    started: u64,
    workers: Box<[CachePadded<Counters>]>,
}

/// What one worker has done for Redis clients, and with datagrams. It alone writes; anybody reads.
#[derive(Debug)]
pub(super) struct Counters {
    commands: [CommandCounters; COMMANDS.len()],
    /// Replies that were errors.
    errors: AtomicU64,
    /// Requests in datagrams that arrived at their owner's worker, and at another.
    at_owner: AtomicU64,
    astray: AtomicU64,
    reads: AtomicU64,
    /// The number of the read whose time is taken next.
    sample_at: AtomicU64,
}

/// What was asked of one command.
#[derive(Debug)]
struct CommandCounters {
    calls: AtomicU64,
    refused: AtomicU64,
    /// Estimated from samples, in nanoseconds.
    nanoseconds: AtomicU64,
}

/// What was asked of a command, of all workers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    /// How often it was done.
    pub(super) calls: u64,
    /// How often it was refused for what it said.
    pub(super) refused: u64,
    /// How long that took, about, in microseconds.
    pub(super) microseconds: u64,
}

/// A read whose time is taken.
#[derive(Debug)]
pub(super) struct Sample {
    start: Instant,
    /// How many reads it stands for.
    reads: u64,
    calls: [u64; COMMANDS.len()],
}

impl Status {
    /// A server that starts now.
    pub(super) fn new(
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
            clients: Clients::default(),
            loaded,
            started: now(),
            workers: workers.collect(),
            config,
        }
    }

    /// For how many seconds it has been running.
    pub(super) fn uptime(&self) -> u64 {
        now().saturating_sub(self.started)
    }

    /// What a worker counts.
    pub(super) fn counters(&self, worker: WorkerId) -> &Counters {
        &self.workers[usize::from(worker.0)]
    }

    /// What was asked of a command, of all workers.
    pub(super) fn calls(&self, verb: Verb) -> Calls {
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
    pub(super) fn datagram_requests(&self) -> [u64; 2] {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            let count = |worker: &CachePadded<Counters>| of(worker).load(Ordering::Relaxed);
            self.workers.iter().map(count).sum()
        };
        [sum(|worker| &worker.at_owner), sum(|worker| &worker.astray)]
    }

    /// How many replies to Redis clients were errors.
    pub(super) fn errors(&self) -> u64 {
        let errors = |worker: &CachePadded<Counters>| worker.errors.load(Ordering::Relaxed);
        self.workers.iter().map(errors).sum()
    }
}

impl Counters {
    fn new() -> Self {
        Self {
            commands: std::array::from_fn(|_| CommandCounters {
                calls: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                nanoseconds: AtomicU64::new(0),
            }),
            errors: AtomicU64::new(0),
            at_owner: AtomicU64::new(0),
            astray: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            sample_at: AtomicU64::new(SAMPLE_INTERVAL),
        }
    }

    /// A command is done.
    pub(super) fn called(&self, verb: Verb) {
        add(&self.commands[verb.index()].calls, 1);
    }

    /// A command is refused for what it said.
    pub(super) fn refused(&self, verb: Verb) {
        add(&self.commands[verb.index()].refused, 1);
    }

    /// That many more replies were errors.
    pub(super) fn erred(&self, errors: u64) {
        if errors > 0 {
            add(&self.errors, errors);
        }
    }

    /// So many requests in datagrams arrived where their topics are owned, and elsewhere.
    pub(super) fn datagram_requests(&self, at_owner: usize, astray: usize) {
        add(&self.at_owner, at_owner as u64);
        add(&self.astray, astray as u64);
    }

    /// A read begins to be served; some have their time taken.
    pub(super) fn sample(&self) -> Option<Sample> {
        add(&self.reads, 1);
        let reads = self.reads.load(Ordering::Relaxed);
        if reads < self.sample_at.load(Ordering::Relaxed) {
            return None;
        }
        // At irregular intervals, which clients' own rhythms don't fall in with: bits of a product
        // with the golden ratio, up to twice the interval.
        let irregular = reads.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let next = 1 + irregular % (2 * SAMPLE_INTERVAL);
        self.sample_at.store(reads + next, Ordering::Relaxed);
        Some(Sample {
            start: Instant::now(),
            reads: next,
            calls: self.calls(),
        })
    }

    /// It is served. Its time stands for that of all reads until the next one whose is taken, and is
    /// shared out among what it called.
    pub(super) fn sampled(&self, sample: &Sample) {
        let elapsed = sample.start.elapsed().as_nanos() as u64 * sample.reads;
        let calls = self.calls();
        let since = |i: usize| calls[i] - sample.calls[i];
        let all: u64 = (0..calls.len()).map(since).sum();
        for (i, command) in self.commands.iter().enumerate() {
            if since(i) > 0 {
                add(&command.nanoseconds, elapsed / all * since(i));
            }
        }
    }

    fn calls(&self) -> [u64; COMMANDS.len()] {
        std::array::from_fn(|i| self.commands[i].calls.load(Ordering::Relaxed))
    }
}

/// Adds to what only this thread writes: no locked instruction is needed.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// Seconds by a clock that only goes forward, and that costs next to nothing to look at.
pub(super) fn now() -> u64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE) {
        Ok(time) => time.tv_sec().unsigned_abs(),
        Err(_) => 0, // Linux has had this clock since 2.6.32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients whose reads come in a rhythm are sampled as often as others, at every beat.
    #[test]
    fn samples_are_irregular_and_as_many_as_they_stand_for() {
        let counters = Counters::new();
        let (mut samples, mut stood_for, mut odd) = (0, 0, 0);
        for read in 0..100_000 {
            if let Some(sample) = counters.sample() {
                samples += 1;
                stood_for += sample.reads;
                odd += read % 2;
            }
        }
        let mean: u64 = 100_000 / samples;
        assert!(mean.abs_diff(SAMPLE_INTERVAL) < 8, "one in {mean}");
        assert!((90_000..110_000).contains(&stood_for), "{stood_for}");
        assert!(
            (samples / 3..2 * samples / 3).contains(&odd),
            "{odd} of {samples}"
        );
    }

    #[test]
    fn the_time_of_a_sample_is_shared_out_among_what_it_called() {
        let counters = Counters::new();
        let sample = Sample {
            start: Instant::now() - std::time::Duration::from_millis(4),
            reads: 10,
            calls: counters.calls(),
        };
        for _ in 0..3 {
            counters.called(Verb::Incr);
        }
        counters.called(Verb::Get);
        counters.sampled(&sample);
        let nanoseconds = |verb: Verb| {
            let command = &counters.commands[verb.index()];
            command.nanoseconds.load(Ordering::Relaxed)
        };
        assert!(nanoseconds(Verb::Get) >= 10_000_000);
        assert_eq!(nanoseconds(Verb::Incr), 3 * nanoseconds(Verb::Get));
        assert_eq!(nanoseconds(Verb::Ping), 0);
    }
}
