//! A round: faults under load, then the check.

use std::thread;
use std::time::{Duration, Instant};

use crate::checker::{Outcome, Record, Skips, Summary};
use crate::clients::Load;
use crate::cluster::Cluster;
use crate::node::Node;

/// How many requests have to get a number before something fails, and again after all is well.
const ENOUGH: u64 = 400;

/// How long that may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What may be skipped if etcd did not answer in time: ranges are loaded again, or their owner loses them.
const LATE_SKIPS: Skips = Skips::Reserves(3);

/// What a round found, and all its requests.
pub(crate) struct Round {
    pub(crate) summary: Summary,
    pub(crate) records: Vec<Record>,
    /// Whether etcd answered in time, as far as nothing was wrong with it.
    undisturbed: bool,
}

impl Round {
    /// Panics if a request was refused, or its outcome is unknown, though nothing was wrong. Requests that
    /// were lost with a connection are not meant.
    pub(crate) fn assert_nothing_failed(&self) {
        let failed = |outcome| [Outcome::Refused, Outcome::Unknown].contains(&outcome);
        let failed = self.records.iter().find(|record| failed(record.outcome));
        assert!(failed.is_none() || !self.undisturbed, "{failed:?}");
    }
}

impl Cluster {
    /// Runs a round: `faults` gets the cluster under load. Then all that is wrong is healed, and the
    /// cluster has to become whole and to count on.
    pub(crate) fn round(
        &mut self,
        what: &str,
        skips: Skips,
        faults: impl FnOnce(&mut Self, &Load) -> Vec<Record>,
    ) -> Round {
        let nodes: Vec<_> = self.nodes.iter().map(Node::address).collect();
        let seed = self.clock.elapsed().as_nanos() as u64;
        let late = self.late_answers();
        let load = Load::start(&nodes, &self.topics, self.clock, seed);
        count_on(&load);
        let mut records = faults(self, &load);
        let healing = Instant::now();
        self.heal();
        self.wait_until_whole();
        let healed = healing.elapsed();
        count_on(&load);
        records.extend(load.stop());
        // What was lost in a connection may still be on its way between nodes until here.
        let sums = self.sums();
        let undisturbed = self.late_answers() == late;
        assert_eq!(
            self.served_too_early(),
            0,
            "{what}: logs in {}",
            self.logs()
        );
        if skips == Skips::None && !undisturbed {
            println!(
                "{what}: etcd did not answer in time on this machine, so reserves may be skipped"
            );
        }
        let skips = match skips {
            Skips::None if !undisturbed => LATE_SKIPS,
            skips => skips,
        };
        let checked = self.checker.check(&records, &sums, skips);
        let summary = checked.unwrap_or_else(|broken| {
            let number = broken.len();
            let first = &broken[..number.min(20)];
            panic!(
                "{what}: {number} broken promises, logs in {}\n{first:#?}",
                self.logs()
            );
        });
        println!("{what}: whole after {healed:.1?}, {summary:?}");
        Round {
            summary,
            records,
            undisturbed,
        }
    }
}

/// Waits until further requests got numbers.
pub(crate) fn count_on(load: &Load) {
    let (start, before) = (Instant::now(), load.traffic.counted());
    while load.traffic.counted() < before + ENOUGH {
        assert!(start.elapsed() < LIMIT, "nothing is counted");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until no request has got a number for a while.
pub(crate) fn wait_until_nothing_counts(load: &Load) {
    const WHILE: Duration = Duration::from_secs(1);
    let (start, mut last, mut since) = (Instant::now(), load.traffic.counted(), Instant::now());
    while since.elapsed() < WHILE {
        assert!(start.elapsed() < LIMIT, "it still counts");
        thread::sleep(Duration::from_millis(5));
        let now = load.traffic.counted();
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}
