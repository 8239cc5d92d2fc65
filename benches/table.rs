//! The cost of the table, in shards of 10 thousand, 1 million and 10 million topics:
//!
//! - a COUNT of an existing topic, one at a time and in batches, and of a new one;
//! - the longest single insert while the table grows;
//! - the memory per topic while the table grows from 5 to 10 million;
//! - one step of a scan, since other requests wait for the shard meanwhile.
//!
//! Use it for changes to the table: its hash, its rows, how it grows.
//!
//! A table of 10 million topics takes seconds to fill, and criterion repeats everything at least
//! ten times. So its inserts and its memory are measured only once, while the table for the hits
//! fills, and printed. Criterion measures the rest.

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

const TEN_THOUSAND: usize = 10_000;
const MILLION: usize = 1_000_000;
const TEN_MILLION: usize = 10_000_000;

/// The length of a name, in bytes.
const NAME_LEN: usize = 16;

type Name = [u8; NAME_LEN];

/// The seed of the pseudo-random numbers.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The topics whose COUNTs are one batch.
const BATCH: usize = 32;

/// COUNT of existing topics in random order: one after another, each knowing the reply to the one
/// before, so that no two wait for memory together; and in batches.
fn hit(c: &mut Criterion) {
    let mut group = group(c, "hit");
    // The largest is first, so that its memory is measured before the allocator has freed memory to
    // reuse.
    for size in [TEN_MILLION, MILLION, TEN_THOUSAND] {
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
            let topics = topics(names.leak()).leak();
            (
                shard,
                topics.iter().cycle(),
                topics.chunks_exact(BATCH).cycle(),
            )
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("single", size), |b| {
            let (shard, visits, _) = &mut *table;
            let mut last = 1;
            b.iter(|| {
                // The processor cannot know that the last reply was not 0.
                let topic = *visits.nth(usize::from(last == 0))?;
                if let Some(Reply::Count(sum)) = count(shard, topic) {
                    last = sum;
                }
                Some(last)
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("batch", size), |b| {
            let (shard, _, batches) = &mut *table;
            let mut replies = Vec::with_capacity(BATCH);
            b.iter(|| {
                replies.clear();
                let batch = batches.next().map_or(&[][..], |batch| batch);
                let request = |i: usize| Request {
                    op: Op::Count,
                    topic: batch[i],
                };
                shard.apply_all(batch.len(), request, |_| (), &mut replies);
                replies.len()
            });
        });
    }
    group.finish();
}

/// COUNT of new topics, starting with an empty table. The time is that of all inserts, including
/// the growth of the table; the throughput is in inserts.
fn insert(c: &mut Criterion) {
    let mut group = group(c, "insert");
    for size in [MILLION, TEN_THOUSAND] {
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

/// Returns a shard with these topics. Prints the mean time of an insert, the longest time of one
/// and the memory per topic; the clock is read only by the second of two shards that are filled.
fn filled_and_measured(names: &[Name]) -> Shard {
    let topics = topics(names);
    let size = topics.len();
    let mut shard = empty(size);
    let memory = resident();
    let mut longest = Duration::ZERO;
    print!("bytes resident per topic:");
    for (i, &topic) in topics.iter().enumerate() {
        let before = Instant::now();
        black_box(count(&mut shard, topic));
        longest = longest.max(before.elapsed());
        let len = i + 1;
        if len.is_multiple_of(MILLION / 2) && len >= size / 2 {
            let bytes = (resident() - memory) as f64 / len as f64;
            print!(" {bytes:.1} at {:.1} million,", len as f64 / 1e6);
        }
    }
    drop(shard);
    let start = Instant::now();
    let shard = filled(empty(size), &topics);
    let mean = start.elapsed() / size as u32;
    println!(
        "\ngrowing to {size} topics of {NAME_LEN} bytes: {mean:?} per insert, longest {longest:.2?}"
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
