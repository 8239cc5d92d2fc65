//! What one worker has counted of its own work. It alone writes, without locked instructions; anybody
//! reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::protocol::resp::{COMMANDS, Verb};

/// A worker has the time taken of one read in so many, on average: a look at the clock costs as much
/// as a count.
const SAMPLE_INTERVAL: u64 = 64;

/// What one worker has done for Redis clients, and with datagrams. It alone writes; anybody reads.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(super) commands: [CommandCounters; COMMANDS.len()],
    /// Replies that were errors.
    pub(super) errors: AtomicU64,
    /// Requests in datagrams that arrived at their owner's worker, and at another.
    pub(super) at_owner: AtomicU64,
    pub(super) astray: AtomicU64,
    reads: AtomicU64,
    /// The number of the read whose time is taken next.
    sample_at: AtomicU64,
}

/// What was asked of one command.
#[derive(Debug)]
pub(super) struct CommandCounters {
    pub(super) calls: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Estimated from samples, in nanoseconds.
    pub(super) nanoseconds: AtomicU64,
}

/// What was asked of a command, of all workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    /// How often it was done.
    pub(crate) calls: u64,
    /// How often it was refused for what it said.
    pub(crate) refused: u64,
    /// How long that took, about, in microseconds.
    pub(crate) microseconds: u64,
}

/// A read whose time is taken.
#[derive(Debug)]
pub(crate) struct Sample {
    start: Instant,
    /// How many reads it stands for.
    reads: u64,
    calls: [u64; COMMANDS.len()],
}

impl Counters {
    pub(super) fn new() -> Self {
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
    pub(crate) fn called(&self, verb: Verb) {
        add(&self.commands[verb.index()].calls, 1);
    }

    /// A command is refused for what it said.
    pub(crate) fn refused(&self, verb: Verb) {
        add(&self.commands[verb.index()].refused, 1);
    }

    /// That many more replies were errors.
    pub(crate) fn erred(&self, errors: u64) {
        if errors > 0 {
            add(&self.errors, errors);
        }
    }

    /// So many requests in datagrams arrived where their topics are owned, and elsewhere.
    pub(crate) fn datagram_requests(&self, at_owner: usize, astray: usize) {
        add(&self.at_owner, at_owner as u64);
        add(&self.astray, astray as u64);
    }

    /// A read begins to be served; some have their time taken.
    pub(crate) fn sample(&self) -> Option<Sample> {
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
    pub(crate) fn sampled(&self, sample: &Sample) {
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
