//! The cost of the table, in shards of 1 thousand, 1 million and 10 million topics:
//!
//! - a COUNT of an existing topic, and of a new one;
//! - the longest single insert while the table grows;
//! - the memory per topic;
//! - one step of a scan, since other requests wait for the shard meanwhile.
//!
//! Use it for changes to the table: its hash, its rows, how it grows.
//!
//! A table of 10 million topics takes seconds to fill, and criterion repeats everything at least
//! ten times. So the longest insert and the memory are measured only once, while the table for the
//! hits fills, and printed in one line. Criterion measures the rest.

#![allow(missing_docs)]

use std::cell::LazyCell;
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::shard::{Ceilings, Position, TopicQuota};
use globalcounter::topic::Topic;

const THOUSAND: usize = 1_000;
const MILLION: usize = 1_000_000;
const TEN_MILLION: usize = 10_000_000;

/// The length of a name, in bytes.
const NAME_LEN: usize = 16;

type Name = [u8; NAME_LEN];

/// The seed of the pseudo-random numbers.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// COUNT of existing topics in random order. They are counted back to back, so that waits for
/// memory overlap as in a batch.
fn hit(c: &mut Criterion) {
    let mut group = group(c, "hit");
    group.throughput(Throughput::Elements(1));
    // The largest is first, so that its memory is measured before the allocator has freed memory to
    // reuse.
    for size in [TEN_MILLION, MILLION, THOUSAND] {
        // Made on first use, because the command line may leave this size out.
        let mut table = LazyCell::new(|| {
            let mut names = names(size);
            let shard = if size == TEN_MILLION {
                filled_and_measured(&names)
            } else {
                filled(empty(size), &topics(&names))
            };
            shuffle(&mut names);
            // The topics borrow from the names, so both are leaked; the program ends soon.
            (shard, topics(names.leak()).leak().iter().cycle())
        });
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let (shard, visits) = &mut *table;
            b.iter(|| visits.next().map(|&topic| count(shard, topic)));
        });
    }
    group.finish();
}

/// COUNT of new topics, starting with an empty table. The time is that of all inserts, including
/// the growth of the table; the throughput is in inserts.
fn insert(c: &mut Criterion) {
    let mut group = group(c, "insert");
    for size in [MILLION, THOUSAND] {
        let names = names(size);
        let topics = topics(&names);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            // The routine returns the shard, so that freeing it is not measured.
            b.iter_batched(
                || empty(size),
                |shard| filled(shard, &topics),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// One step of a scan through a million topics, which looks for 10 or 1,000 of them. Each step
/// starts at a random position, so that its data is in no cache, as between requests.
fn scan(c: &mut Criterion) {
    let mut group = group(c, "scan");
    let shard = LazyCell::new(|| filled(empty(MILLION), &topics(&names(MILLION))));
    let mut random = SEED;
    for count in [10, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let from = Position::new(xorshift(&mut random) >> 19).expect("45 bits");
                shard.scan(from, count, usize::MAX, |topic| {
                    black_box(topic);
                })
            });
        });
    }
    group.finish();
}

/// Returns a benchmark group with few and short samples.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    group
}

/// Returns a shard with these topics. Prints the mean and the longest time of an insert, and the
/// memory per topic. The mean includes reading the clock, 35 ns of about 700.
fn filled_and_measured(names: &[Name]) -> Shard {
    let topics = topics(names);
    let size = topics.len();
    let mut shard = empty(size);
    let memory = resident();
    let mut longest = Duration::ZERO;
    let start = Instant::now();
    let mut before = start;
    for &topic in &topics {
        black_box(count(&mut shard, topic));
        let after = Instant::now();
        longest = longest.max(after - before);
        before = after;
    }
    let mean = (before - start) / size as u32;
    let bytes = (resident() - memory) / size;
    println!(
        "growing to {size} topics of {NAME_LEN} bytes: {mean:?} per insert, longest {longest:.2?}, \
         {bytes} bytes resident per topic"
    );
    shard
}

fn filled(mut shard: Shard, topics: &[Topic<'_>]) -> Shard {
    for &topic in topics {
        black_box(count(&mut shard, topic));
    }
    assert_eq!(shard.topics(), topics.len());
    shard
}

type Shard = globalcounter::shard::Shard<()>;

fn empty(room: usize) -> Shard {
    Shard::new(TopicQuota::new(room), Ceilings::NONE)
}

fn count(shard: &mut Shard, topic: Topic<'_>) -> Option<Reply> {
    let op = Op::Count;
    shard.apply(Request { op, topic }, || ())
}

/// Returns names that are adjacent in memory, so that reading them in order costs no more than in a
/// receive buffer.
fn names(count: usize) -> Vec<Name> {
    let mut names = vec![[0; NAME_LEN]; count];
    for (i, name) in names.iter_mut().enumerate() {
        write!(&mut name[..], "topic-{i:010}").expect("6 letters and 10 digits");
    }
    names
}

fn topics(names: &[Name]) -> Vec<Topic<'_>> {
    names
        .iter()
        .map(|name| Topic::new(name, NAME_LEN).expect("a topic"))
        .collect()
}

/// Shuffles the names (Fisher–Yates) with a fixed seed, so that each run has the same order.
fn shuffle(names: &mut [Name]) {
    let mut random = SEED;
    for i in (1..names.len()).rev() {
        names.swap(i, xorshift(&mut random) as usize % (i + 1));
    }
}

/// Returns the next pseudo-random number.
fn xorshift(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Returns the resident memory of the process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: Option<usize> = kib.and_then(|kib| kib.parse().ok());
    kib.expect("a number of kB") * 1_024
}

criterion_group!(benches, hit, insert, scan);
criterion_main!(benches);
