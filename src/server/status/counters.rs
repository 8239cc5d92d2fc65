//! The counters of one worker. Only that worker writes them, so it needs no locked instructions;
//! any thread may read them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::protocol::resp::{COMMANDS, Verb};
use crate::server::exchange::add_unshared;

/// A worker measures the time of one read in this many, on average, because reading the clock costs
/// as much as a count.
const SAMPLE_INTERVAL: u64 = 64;

/// Counts what one worker has done for Redis clients and with datagrams. Only that worker writes;
/// any thread may read.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(super) commands: [CommandCounters; COMMANDS.len()],
    /// Replies to Redis clients that were errors.
    pub(super) errors: AtomicU64,
    /// Requests in datagrams whose topics this worker owns.
    pub(super) at_owner: AtomicU64,
    /// Requests in datagrams whose topics another worker owns.
    pub(super) forwarded: AtomicU64,
    /// Datagrams that the kernel dropped at this worker's socket.
    pub(super) dropped: AtomicU64,
    /// Reads from Redis clients.
    reads: AtomicU64,
    /// The number of the next read to measure.
    sample_at: AtomicU64,
}

/// The counters of one command.
#[derive(Debug)]
pub(super) struct CommandCounters {
    pub(super) calls: AtomicU64,
    pub(super) refused: AtomicU64,
    /// The time of all calls, in nanoseconds, estimated from samples.
    pub(super) nanoseconds: AtomicU64,
}

/// The calls of one command, summed over all workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    /// How often the command was executed.
    pub(crate) calls: u64,
    /// How often it was refused because of its arguments or because of a transaction.
    pub(crate) refused: u64,
    /// How long the calls took, in microseconds; an estimate.
    pub(crate) microseconds: u64,
}

/// A measurement of the time that one read takes.
#[derive(Debug)]
pub(crate) struct Sample {
    start: Instant,
    /// How many reads it stands for.
    reads: u64,
    /// The calls of each command before the read.
    calls: [u64; COMMANDS.len()],
}

impl Counters {
    /// Creates counters that are all 0.
    pub(super) fn new() -> Self {
        Self {
            commands: std::array::from_fn(|_| CommandCounters {
                calls: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                nanoseconds: AtomicU64::new(0),
            }),
            errors: AtomicU64::new(0),
            at_owner: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            sample_at: AtomicU64::new(SAMPLE_INTERVAL),
        }
    }

    /// Counts a command that is executed.
    pub(crate) fn called(&self, verb: Verb) {
        add_unshared(&self.commands[verb.index()].calls, 1);
    }

    /// Counts a command that is refused.
    pub(crate) fn refused(&self, verb: Verb) {
        add_unshared(&self.commands[verb.index()].refused, 1);
    }

    /// Adds replies that were errors.
    pub(crate) fn count_errors(&self, errors: u64) {
        if errors > 0 {
            add_unshared(&self.errors, errors);
        }
    }

    /// Adds requests in datagrams: those whose topics this worker owns, and those whose topics
    /// another worker owns.
    pub(crate) fn datagram_requests(&self, at_owner: usize, forwarded: usize) {
        add_unshared(&self.at_owner, at_owner as u64);
        add_unshared(&self.forwarded, forwarded as u64);
    }

    /// Updates the number of dropped datagrams from the kernel's, which is modulo 2^32.
    pub(crate) fn datagrams_dropped(&self, dropped: u32) {
        let counted = self.dropped.load(Ordering::Relaxed) as u32;
        if dropped != counted {
            add_unshared(&self.dropped, dropped.wrapping_sub(counted).into());
        }
    }

    /// Counts a read. Begins a measurement if it is time for one.
    pub(crate) fn sample(&self) -> Option<Sample> {
        add_unshared(&self.reads, 1);
        let reads = self.reads.load(Ordering::Relaxed);
        if reads < self.sample_at.load(Ordering::Relaxed) {
            return None;
        }
        // The intervals are irregular, so that they do not coincide with a rhythm of the clients.
        // They are bits of a product with the golden ratio, and at most twice SAMPLE_INTERVAL.
        let irregular = reads.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let next = 1 + irregular % (2 * SAMPLE_INTERVAL);
        self.sample_at.store(reads + next, Ordering::Relaxed);
        Some(Sample {
            start: Instant::now(),
            reads: next,
            calls: self.calls(),
        })
    }

    /// Ends a measurement, after the read was served. Its time stands for the time of all reads
    /// until the next measurement. It is divided among the commands of the measured read.
    pub(crate) fn sampled(&self, sample: &Sample) {
        let elapsed = sample.start.elapsed().as_nanos() as u64 * sample.reads;
        let calls = self.calls();
        let calls_of_read = |i: usize| calls[i] - sample.calls[i];
        let all: u64 = (0..calls.len()).map(calls_of_read).sum();
        for (i, command) in self.commands.iter().enumerate() {
            let own = calls_of_read(i);
            if own > 0 {
                add_unshared(&command.nanoseconds, elapsed / all * own);
            }
        }
    }

    /// Returns how often each command was executed.
    fn calls(&self) -> [u64; COMMANDS.len()] {
        std::array::from_fn(|i| self.commands[i].calls.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads that alternate are sampled evenly: neither odd nor even reads are preferred.
    #[test]
    fn samples_are_irregular_and_stand_for_all_reads() {
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
    fn the_number_of_dropped_datagrams_goes_on_when_the_kernels_starts_again() {
        let counters = Counters::new();
        for dropped in [7, 7, u32::MAX, 2] {
            counters.datagrams_dropped(dropped);
        }
        let counted = counters.dropped.load(Ordering::Relaxed);
        assert_eq!(counted, (1 << 32) + 2);
    }

    #[test]
    fn the_time_of_a_sample_is_divided_among_its_commands() {
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
