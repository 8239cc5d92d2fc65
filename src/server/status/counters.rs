//! The counters and measurements of one worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::closings::CloseReason;
use super::cluster::ForwardCounts;
use super::reached::Reached;
use crate::measure::{Counter, HeavyHitters, Histogram, Sampler};
use crate::protocol::resp::{COMMANDS, Verb};
use crate::server::exchange::Requests;
use crate::server::net::coarse_seconds;

/// One read, or turn, of this many is measured: reading the clock twice costs as much as a count.
const MEASURED_ONE_IN: u64 = 64;

/// The topic of one request of this many is noted, which takes some 100 ns.
const TOPIC_ONE_IN: u64 = 256;

/// What one worker has done. Only that worker writes it; any thread may read it.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(super) commands: [CommandCounters; COMMANDS.len()],
    /// Replies to Redis clients that were errors.
    pub(super) errors: Counter,
    /// Commands of Redis clients that were refused for lack of a right.
    pub(super) denied: Counter,
    /// Requests in datagrams whose topics this worker owns.
    pub(super) at_owner: Counter,
    /// Requests in datagrams whose topics another worker owns.
    pub(super) forwarded: Counter,
    /// Datagrams that the kernel dropped at this worker's socket.
    pub(super) dropped: Counter,
    pub(super) tcp_received: Counter,
    pub(super) tcp_sent: Counter,
    pub(super) udp_received: Counter,
    pub(super) udp_sent: Counter,
    /// How often a connection was not read because it, or the worker, had too much to do.
    pub(super) stalls: Counter,
    pub(crate) reached: Reached,
    /// What the worker forwards to other nodes of a cluster.
    forwards: Arc<ForwardCounts>,
    /// How many bytes the worker's connections hold.
    held: Arc<CachePadded<AtomicUsize>>,
    /// Open connections that were closed at each limit.
    closed: [Counter; CloseReason::ALL.len()],
    /// The requests of each read or receive call that had any.
    pub(super) batches: Histogram,
    /// The times from a read to the last of its replies, in nanoseconds, of sampled reads; each counts
    /// once for each of its requests.
    pub(super) latencies: Histogram,
    /// The times from when the worker wakes until it sleeps again, in nanoseconds, of sampled turns.
    pub(super) turns: Histogram,
    /// When the turn that is measured began, in nanoseconds from `created`; 0 if none is.
    turn_start: AtomicU64,
    created: Instant,
    next_read: Sampler,
    next_command_read: Sampler,
    next_turn: Sampler,
    next_topic: Sampler,
    /// Only locked for a topic that is chosen, and by those who ask.
    pub(super) hot_topics: Mutex<HeavyHitters>,
}

/// The counters of one command.
#[derive(Debug, Default)]
pub(super) struct CommandCounters {
    pub(super) calls: Counter,
    pub(super) refused: Counter,
    /// The time of all calls, in nanoseconds, estimated from samples.
    pub(super) nanoseconds: Counter,
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

/// A measurement of the time that the commands of one read take.
#[derive(Debug)]
pub(crate) struct CommandSample {
    start: Instant,
    /// How many reads it stands for.
    reads: u64,
    /// The calls of each command before the read.
    calls: [u64; COMMANDS.len()],
}

impl Counters {
    /// Creates counters that are all 0.
    pub(crate) fn new() -> Self {
        Self {
            commands: std::array::from_fn(|_| CommandCounters::default()),
            errors: Counter::new(),
            denied: Counter::new(),
            at_owner: Counter::new(),
            forwarded: Counter::new(),
            dropped: Counter::new(),
            tcp_received: Counter::new(),
            tcp_sent: Counter::new(),
            udp_received: Counter::new(),
            udp_sent: Counter::new(),
            stalls: Counter::new(),
            reached: Reached::default(),
            forwards: Arc::default(),
            held: Arc::default(),
            closed: std::array::from_fn(|_| Counter::new()),
            batches: Histogram::new(),
            latencies: Histogram::new(),
            turns: Histogram::new(),
            turn_start: AtomicU64::new(0),
            created: Instant::now(),
            next_read: Sampler::new(MEASURED_ONE_IN),
            next_command_read: Sampler::new(MEASURED_ONE_IN),
            next_turn: Sampler::new(MEASURED_ONE_IN),
            next_topic: Sampler::new(TOPIC_ONE_IN),
            hot_topics: Mutex::new(HeavyHitters::new()),
        }
    }

    /// Counts a command that is executed.
    pub(crate) fn called(&self, verb: Verb) {
        self.commands[verb.index()].calls.add(1);
    }

    /// Counts a command that is refused.
    pub(crate) fn refused(&self, verb: Verb) {
        self.commands[verb.index()].refused.add(1);
    }

    /// Counts a command that is refused for lack of a right, in addition to
    /// [`refused`](Self::refused).
    pub(crate) fn denied(&self) {
        self.denied.add(1);
    }

    /// Adds replies that were errors.
    pub(crate) fn count_errors(&self, errors: u64) {
        if errors > 0 {
            self.errors.add(errors);
        }
    }

    /// Adds requests in datagrams: those whose topics this worker owns, and those whose topics
    /// another worker owns.
    pub(crate) fn datagram_requests(&self, at_owner: usize, forwarded: usize) {
        self.at_owner.add(at_owner as u64);
        self.forwarded.add(forwarded as u64);
    }

    /// Updates the number of dropped datagrams from the kernel's, which is modulo 2^32.
    pub(crate) fn datagrams_dropped(&self, dropped: u32) {
        let counted = self.dropped.get() as u32;
        if dropped != counted {
            self.dropped.add(dropped.wrapping_sub(counted).into());
        }
    }

    /// Adds bytes that were read from connections.
    pub(crate) fn tcp_received(&self, bytes: usize) {
        self.tcp_received.add(bytes as u64);
    }

    /// Adds bytes that were written to connections.
    pub(crate) fn tcp_sent(&self, bytes: usize) {
        self.tcp_sent.add(bytes as u64);
    }

    /// Adds bytes of datagrams that were received.
    pub(crate) fn udp_received(&self, bytes: usize) {
        self.udp_received.add(bytes as u64);
    }

    /// Adds bytes of datagrams that were sent.
    pub(crate) fn udp_sent(&self, bytes: usize) {
        self.udp_sent.add(bytes as u64);
    }

    /// Counts that a connection, or the socket for datagrams, is not read for now.
    pub(crate) fn stalled(&self) {
        self.stalls.add(1);
    }

    /// Returns how many bytes the worker's connections hold. The worker updates it.
    pub(crate) fn held(&self) -> &Arc<CachePadded<AtomicUsize>> {
        &self.held
    }

    /// Returns what the worker forwards to other nodes, and takes from them.
    pub(crate) fn forwards(&self) -> &Arc<ForwardCounts> {
        &self.forwards
    }

    /// Counts an open connection that is closed at a limit.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Returns how many connections were closed at a limit.
    pub(super) fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].get()
    }

    /// Counts the requests of a read or a receive call, and notes the topics of a few of them. The
    /// topics lie in `bytes`.
    pub(crate) fn batch(&self, requests: &Requests, bytes: &[u8]) {
        let count = requests.count();
        if count == 0 {
            return;
        }
        self.batches.add(count as u64, 1);
        let mut seen = 0;
        while let Some(before) = self.next_topic.among(count - seen) {
            seen += before + 1;
            if let Some(topic) = requests.topic(seen - 1, bytes) {
                let (now, events) = (coarse_seconds(), self.requests());
                self.hot_topics.lock().count(topic, now, events);
            }
        }
    }

    /// Returns how many requests were read.
    pub(super) fn requests(&self) -> u64 {
        self.batches.sum()
    }

    /// Counts a read or a receive call. Returns the time if its latency is to be measured.
    #[inline]
    pub(crate) fn sample_read(&self) -> Option<Instant> {
        self.next_read.next().map(|_| Instant::now())
    }

    /// Ends a measurement: all requests of the read have their replies.
    pub(crate) fn answered(&self, read: Instant, requests: usize) {
        let elapsed = read.elapsed().as_nanos() as u64;
        self.latencies.add(elapsed, requests as u64);
    }

    /// Begins a turn of the worker.
    pub(crate) fn begin_turn(&self) {
        if self.next_turn.next().is_some() {
            // Never 0, which stands for no measurement.
            self.turn_start.store(self.clock() | 1, Ordering::Relaxed);
        }
    }

    /// Ends a turn of the worker.
    pub(crate) fn end_turn(&self) {
        let start = self.turn_start.load(Ordering::Relaxed);
        if start != 0 {
            self.turn_start.store(0, Ordering::Relaxed);
            self.turns.add(self.clock().saturating_sub(start), 1);
        }
    }

    fn clock(&self) -> u64 {
        self.created.elapsed().as_nanos() as u64
    }

    /// Counts a read from a Redis client. Begins to measure its commands if it is time for that.
    pub(crate) fn sample_commands(&self) -> Option<CommandSample> {
        let reads = self.next_command_read.next()?;
        Some(CommandSample {
            start: Instant::now(),
            reads,
            calls: self.calls(),
        })
    }

    /// Ends a measurement, after the read was served. Its time stands for the time of all reads
    /// until the next measurement. It is divided among the commands of the measured read.
    pub(crate) fn commands_served(&self, sample: &CommandSample) {
        let elapsed = sample.start.elapsed().as_nanos() as u64 * sample.reads;
        let calls = self.calls();
        let calls_of_read = |i: usize| calls[i] - sample.calls[i];
        let all: u64 = (0..calls.len()).map(calls_of_read).sum();
        for (i, command) in self.commands.iter().enumerate() {
            let own = calls_of_read(i);
            if own > 0 {
                command.nanoseconds.add(elapsed / all * own);
            }
        }
    }

    /// Returns how often each command was executed.
    fn calls(&self) -> [u64; COMMANDS.len()] {
        std::array::from_fn(|i| self.commands[i].calls.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_dropped_datagrams_goes_on_when_the_kernels_starts_again() {
        let counters = Counters::new();
        for dropped in [7, 7, u32::MAX, 2] {
            counters.datagrams_dropped(dropped);
        }
        assert_eq!(counters.dropped.get(), (1 << 32) + 2);
    }

    #[test]
    fn turns_are_measured_now_and_then() {
        let counters = Counters::new();
        counters.end_turn();
        for _ in 0..1_000 {
            counters.begin_turn();
            counters.end_turn();
        }
        let turns = counters.turns.read();
        assert!((5..100).contains(&turns.count()), "{turns:?}");
    }

    #[test]
    fn the_time_of_a_sample_is_divided_among_its_commands() {
        let counters = Counters::new();
        let sample = CommandSample {
            start: Instant::now() - std::time::Duration::from_millis(4),
            reads: 10,
            calls: counters.calls(),
        };
        for _ in 0..3 {
            counters.called(Verb::Incr);
        }
        counters.called(Verb::Get);
        counters.commands_served(&sample);
        let nanoseconds = |verb: Verb| counters.commands[verb.index()].nanoseconds.get();
        assert!(nanoseconds(Verb::Get) >= 10_000_000);
        assert_eq!(nanoseconds(Verb::Incr), 3 * nanoseconds(Verb::Get));
        assert_eq!(nanoseconds(Verb::Ping), 0);
    }
}
