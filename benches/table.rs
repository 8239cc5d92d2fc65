//! What COUNT costs in a shard of 1 thousand, 1 million and 10 million topics: one that is there and
//! a new one; the longest that a single new one waits while the table grows; the memory that a
//! topic takes; and what a step of a scan costs, since others wait for the shard meanwhile. It judges changes to the table: its hash, its rows, how it grows.
//!
//! A table of 10 million takes seconds to fill, and criterion wants everything done ten times. So
//! the one that the hits need is watched while it fills, and a line says what came of it; the rest
//! is criterion's.

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

/// Bytes a name.
const NAME_LEN: usize = 16;

type Name = [u8; NAME_LEN];

/// Where what looks random begins.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// COUNT of topics that are there, in random order; back to back, so that waits for memory overlap
/// as they do in a batch.
fn hit(c: &mut Criterion) {
    let mut group = group(c, "hit");
    group.throughput(Throughput::Elements(1));
    // The largest is first: its memory is measured before others have left any to the allocator.
    for size in [TEN_MILLION, MILLION, THOUSAND] {
        // Made when first used: the command line may leave this size out.
        let mut table = LazyCell::new(|| {
            let mut names = names(size);
            let shard = if size == TEN_MILLION {
                watched_filling(&names)
            } else {
                filled(empty(size), &topics(&names))
            };
            shuffle(&mut names);
            // Leaked, since one borrows from the other; the program ends soon.
            (shard, topics(names.leak()).leak().iter().cycle())
        });
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let (shard, visits) = &mut *table;
            b.iter(|| visits.next().map(|&topic| count(shard, topic)));
        });
    }
    group.finish();
}

/// COUNT of new topics, from none to all: the time is that of all, growing included, the throughput
/// is inserts.
fn insert(c: &mut Criterion) {
    let mut group = group(c, "insert");
    for size in [MILLION, THOUSAND] {
        let names = names(size);
        let topics = topics(&names);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            // The shard is returned, so that freeing it is not measured.
            b.iter_batched(
                || empty(size),
                |shard| filled(shard, &topics),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// One step of a scan through a million topics, for so many of them; from a place of its own each,
/// so that what it looks at is in no cache, as between requests.
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

/// A group that takes the fewest and shortest samples there can be.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    group
}

/// A shard that has those topics; prints what an insert took, what the longest took, and how much
/// memory each has. The mean includes a look at the clock, 35 ns of some 700.
fn watched_filling(names: &[Name]) -> Shard {
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
        "growing to {size} topics of {NAME_LEN} bytes: {mean:?} an insert, the longest {longest:.2?}; \
         {bytes} bytes resident a topic"
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

/// Names, one after the other in memory: visited like that, they cost no more to read than in a
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

/// Fisher and Yates' shuffle, from a fixed seed: the same in each run.
fn shuffle(names: &mut [Name]) {
    let mut random = SEED;
    for i in (1..names.len()).rev() {
        names.swap(i, xorshift(&mut random) as usize % (i + 1));
    }
}

/// The next of a series of numbers that look random.
fn xorshift(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// The process's resident memory, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: Option<usize> = kib.and_then(|kib| kib.parse().ok());
    kib.expect("a number of kB") * 1_024
}

criterion_group!(benches, hit, insert, scan);
criterion_main!(benches);
