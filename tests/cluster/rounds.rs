//! Faults from a seed, alone and together, round after round.

use std::thread;
use std::time::Instant;

use crate::checker::{Skips, Summary};
use crate::cluster::{Cluster, with_cluster};
use crate::faults::{Fault, more};
use crate::support::Random;

/// In seconds; short, so that many leases end.
const LEASE: u64 = 2;

/// How many rounds `cargo test` runs.
const ROUNDS: u64 = 2;

/// Returns the number in a variable of the environment.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// Returns the seed, and prints it, so that a failure can be run again.
pub(crate) fn seed() -> u64 {
    let seed = variable("GLOBALCOUNTER_CHAOS_SEED").unwrap_or(1);
    println!("GLOBALCOUNTER_CHAOS_SEED={seed}");
    seed
}

/// Chooses one or two faults for a round.
pub(crate) fn choose(cluster: &Cluster, random: &mut Random) -> Vec<Fault> {
    let mut faults = vec![Fault::choose(cluster, random)];
    if random.below(2) == 0 {
        let second = Fault::choose(cluster, random);
        if second != faults[0] {
            faults.push(second);
            faults = faults.into_iter().map(Fault::together).collect();
            // Others may be for the leader of etcd.
            faults.sort_by_key(|fault| *fault == Fault::KillMajority);
        }
    }
    faults
}

/// Runs a round with faults, one after the other, which begin at `due`.
pub(crate) fn run(
    cluster: &mut Cluster,
    what: &str,
    faults: &[Fault],
    random: &mut Random,
    due: Instant,
) -> Summary {
    let skips = faults.iter().map(|fault| fault.skips());
    let skips = skips.fold(Skips::None, more);
    let round = cluster.round(what, skips, |cluster, _| {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for fault in faults {
            fault.inject(cluster);
        }
        Fault::last(cluster, random);
        Vec::new()
    });
    round.summary
}

#[test]
fn one_order_under_faults() {
    let rounds = variable("GLOBALCOUNTER_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    let mut random = Random::new(seed());
    with_cluster("rounds", LEASE, |cluster| {
        for round in 0..rounds {
            // Each round has numbers of its own, however many the one before it took.
            let mut random = random.fork();
            let faults = choose(cluster, &mut random);
            let what = format!("round {round}, {faults:?}");
            println!("{what}");
            run(cluster, &what, &faults, &mut random, Instant::now());
        }
    });
}
