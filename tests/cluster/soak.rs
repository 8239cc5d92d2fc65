//! An hour of load with a random fault each 20 s:
//! `cargo test --release --test cluster soak -- --ignored --nocapture`. `GLOBALCOUNTER_CHAOS_SECONDS` makes it
//! shorter.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, with_cluster};
use crate::network::SIZE;
use crate::rounds::{choose, run, seed, variable};
use crate::support::Random;

const SECONDS: u64 = 3_600;

/// A fault begins once in this time.
const PERIOD: Duration = Duration::from_secs(20);

/// In seconds.
const LEASE: u64 = 4;

/// What is allowed in the last quarter, compared with the second one. Processes that were started again have
/// less, and etcd's database grows until its first compactions, of 1 minute each.
const GROWTH: f64 = 1.5;

/// How much any figure may differ whatever it was: of memory and of etcd's database, and of descriptors.
const SLACK_BYTES: u64 = 32 << 20;
const SLACK_DESCRIPTORS: u64 = 64;

/// What the processes use, each the largest of three.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    resident: u64,
    descriptors: u64,
    database: u64,
}

impl Usage {
    fn of(cluster: &Cluster) -> Self {
        let mut usage = Self::default();
        for node in &cluster.nodes {
            let (resident, descriptors) = node.usage();
            usage = usage.max(Self {
                resident,
                descriptors: descriptors as u64,
                database: 0,
            });
        }
        for member in 0..SIZE {
            let status = cluster.members.status(member);
            usage.database = usage
                .database
                .max(status.map_or(0, |status| status.database_bytes));
        }
        usage
    }

    fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            database: self.database.max(other.database),
        }
    }
}

#[test]
#[ignore = "takes an hour"]
fn soak() {
    let long = Duration::from_secs(variable("GLOBALCOUNTER_CHAOS_SECONDS").unwrap_or(SECONDS));
    let mut random = Random::new(seed());
    with_cluster("soak", LEASE, |cluster| {
        let start = Instant::now();
        let mut samples = Vec::new();
        let mut round = 0;
        while start.elapsed() < long {
            // Until then there is load without a fault.
            let due = start + PERIOD * round;
            let mut random = random.fork();
            let faults = choose(cluster, &mut random);
            let what = format!("{:.0?}, round {round}, {faults:?}", start.elapsed());
            println!("{what}");
            run(cluster, &what, &faults, &mut random, due);
            let usage = Usage::of(cluster);
            println!("{usage:?}");
            samples.push(usage);
            round += 1;
        }
        assert_flat(&samples);
    });
}

fn assert_flat(samples: &[Usage]) {
    let quarter = samples.len() / 4;
    let most = |samples: &[Usage]| samples.iter().copied().fold(Usage::default(), Usage::max);
    let early = most(&samples[quarter..samples.len().min(2 * quarter.max(1))]);
    let late = most(&samples[3 * quarter..]);
    for (what, early, late, slack) in [
        ("memory", early.resident, late.resident, SLACK_BYTES),
        (
            "descriptors",
            early.descriptors,
            late.descriptors,
            SLACK_DESCRIPTORS,
        ),
        (
            "etcd's database",
            early.database,
            late.database,
            SLACK_BYTES,
        ),
    ] {
        let allowed = (early as f64 * GROWTH) as u64 + slack;
        assert!(late <= allowed, "{what} grew from {early} to {late}");
    }
}
