//! Nodes under a seeded scheduler, against a plain model of etcd: messages are delayed, lost and
//! reordered; nodes are paused at any step, killed, cut off and told to leave; etcd stops and changes
//! its leader. The same seed gives the same run.

mod etcd;
mod faults;
mod history;
mod host;
mod machine;
mod network;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::RangeId;
use super::fault::{Fault, plant};
use world::{Statistics, World};

/// The world's time, in microseconds.
type Micros = u64;

const SECOND: Micros = 1_000_000;
const MILLISECOND: Micros = 1_000;

/// The number of a topic.
type TopicId = u64;

/// Few ranges and topics, so that faults hit what is in use.
const RANGE_COUNT: u16 = 4;
const TOPIC_COUNT: u64 = 8;

/// The most seeds that are tried to find a planted fault.
const SEEDS_FOR_A_FAULT: u64 = 3_000;

fn micros(time: Duration) -> Micros {
    time.as_micros() as Micros
}

/// Returns the range of a topic; here, ranges need no slots.
fn range_of(topic: TopicId) -> RangeId {
    let number = (topic % u64::from(RANGE_COUNT)) as u16;
    RangeId::new(number, RANGE_COUNT).expect("a range")
}

/// The seeds that run: as many as `GLOBALCOUNTER_SIMULATION_SEEDS` says, or `count`, from
/// `GLOBALCOUNTER_TEST_SEED` or 1 on.
fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let first = number("GLOBALCOUNTER_TEST_SEED").unwrap_or(1);
    let count = number("GLOBALCOUNTER_SIMULATION_SEEDS").unwrap_or(count);
    first..first + count
}

/// What seeds did together, and the lowest one that failed, with its problem.
type Results = (Statistics, Option<(u64, String)>);

/// Runs seeds on all processors, until one fails.
fn run_all(seeds: Range<u64>, fault: Option<Fault>) -> Results {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let results: Vec<Results> = thread::scope(|scope| {
        let work = || run_some(&next, seeds.end, &failed, fault);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(ScopedJoinHandle::join);
        results
            .map(|result| result.expect("the simulation does not panic"))
            .collect()
    });
    let mut total = Statistics::default();
    for (statistics, _) in &results {
        total.add(*statistics);
    }
    let failures = results.into_iter().filter_map(|(_, failure)| failure);
    (total, failures.min())
}

/// Runs the next seeds, until one fails or a lower one has failed.
fn run_some(next: &AtomicU64, end: u64, failed: &AtomicU64, fault: Option<Fault>) -> Results {
    plant(fault);
    let mut total = Statistics::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || seed > failed.load(Ordering::Relaxed) {
            return (total, None);
        }
        match World::new(seed).run() {
            Ok(statistics) => total.add(statistics),
            Err(problem) => {
                failed.fetch_min(seed, Ordering::Relaxed);
                return (total, Some((seed, problem)));
            }
        }
    }
}

#[test]
fn one_order_under_every_failure() {
    let seeds = seeds(200);
    println!("seeds {seeds:?}");
    let (total, failure) = run_all(seeds, None);
    println!("{total:?}");
    if let Some((seed, problem)) = failure {
        panic!(
            "{problem}\nrun it again: GLOBALCOUNTER_TEST_SEED={seed} GLOBALCOUNTER_SIMULATION_SEEDS=1 \
             cargo test --lib one_order"
        );
    }
}

/// Plants a fault and expects that a seed finds it.
fn expect_found(fault: Fault) {
    expect_found_from(1, fault);
}

/// As [`expect_found`], from a seed on: tests of faults that few seeds find begin shortly before one.
fn expect_found_from(seed: u64, fault: Fault) {
    let (_, failure) = run_all(seed..seed + SEEDS_FOR_A_FAULT, Some(fault));
    let (seed, problem) = failure.unwrap_or_else(|| panic!("no seed finds {fault:?}"));
    println!("{fault:?}: seed {seed}: {problem}");
}

#[test]
fn a_deadline_that_counts_from_the_answer_is_found() {
    expect_found(Fault::DeadlineFromArrival);
}

#[test]
fn a_renewal_by_a_deposed_leader_is_found() {
    expect_found_from(260, Fault::RenewalByAnyLeader);
}

#[test]
fn a_clock_that_is_read_before_applying_is_found() {
    expect_found(Fault::ClockBeforeApply);
}

#[test]
fn a_deadline_that_is_read_after_applying_is_found() {
    expect_found(Fault::DeadlineAfterApply);
}

#[test]
fn memory_that_is_kept_over_a_lost_range_is_found() {
    expect_found(Fault::MemoryKept);
}

#[test]
fn a_range_that_is_served_before_it_is_loaded_is_found() {
    expect_found(Fault::ServedBeforeLoaded);
}

#[test]
fn a_commit_without_its_guard_is_found() {
    expect_found(Fault::CommitUnguarded);
}

#[test]
fn a_range_that_is_served_again_after_an_unknown_outcome_is_found() {
    expect_found(Fault::UnknownOutcomeIgnored);
}

#[test]
fn a_frozen_range_that_thaws_is_found() {
    expect_found_from(270, Fault::FrozenRangeThaws);
}

#[test]
fn a_request_that_is_forwarded_again_is_found() {
    expect_found(Fault::ForwardedTwice);
}

#[test]
fn a_held_request_that_is_applied_twice_is_found() {
    expect_found(Fault::HeldAppliedTwice);
}

#[test]
fn placement_that_differs_between_nodes_is_found() {
    expect_found(Fault::PlacementDiffers);
}
