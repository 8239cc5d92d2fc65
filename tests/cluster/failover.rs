//! How soon topics count again after a node died, and that a planned move skips nothing. The tests have
//! generous bounds; the measurements are for a quiet machine:
//!
//! ```sh
//! GLOBALCOUNTER_CHAOS_ROUNDS=20 cargo test --release --test cluster measure_ -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use globalcounter::protocol::{Op, Reply};

use crate::checker::{Outcome, Record, Skips};
use crate::clients::{Connection, Load, Log, Transport};
use crate::cluster::{Cluster, NODE_AHEAD, TOPICS, with_cluster};
use crate::network::SIZE;
use crate::rounds::variable;

/// The default of `--lease`, in seconds.
const LEASE: u64 = 4;

/// How much longer than the lease a failover may take in a debug build on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// How many failovers are measured, unless `GLOBALCOUNTER_CHAOS_ROUNDS` says otherwise.
const ROUNDS: u64 = 20;

/// How long a measurement observes the load before it kills a node.
const BEFORE: Duration = Duration::from_secs(3);

/// Counts each topic at a node until it gets a number. Returns how long that took for each, and the
/// requests.
fn count_each(cluster: &Cluster, load: &Load, at: usize) -> (Vec<Duration>, Vec<Record>) {
    let traffic = &*load.traffic;
    let mut log = Log::new(traffic);
    let address = cluster.nodes[at].address();
    let mut connection = Connection::open(Transport::Tcp, address, traffic).unwrap();
    let (start, mut took) = (Instant::now(), vec![None; TOPICS]);
    let mut due: Vec<usize> = (0..TOPICS).collect();
    while took.contains(&None) {
        assert!(start.elapsed() < Duration::from_secs(60), "{took:?}");
        let mut bytes = Vec::new();
        let mut sent = BTreeMap::new();
        for topic in due.drain(..) {
            let request = log.begin(topic, false, connection.number);
            connection.encode(request, Op::Count, &traffic.topics[topic], &mut bytes);
            sent.insert(request, topic);
        }
        connection.send(&bytes).unwrap();
        while connection.in_flight() > 0 {
            let mut answered = |request, reply| {
                log.answered(request, reply);
                match reply {
                    Reply::Count(_) => took[sent[&request]] = Some(start.elapsed()),
                    _ => due.push(sent[&request]),
                }
            };
            let soon = Instant::now() + Duration::from_millis(100);
            connection.receive(soon, &mut answered).unwrap();
        }
    }
    (took.into_iter().flatten().collect(), log.into_records())
}

#[test]
#[ignore = "takes half a minute"]
fn each_topic_counts_again_soon_after_a_node_died() {
    with_cluster("failover", LEASE, |cluster| {
        for node in 0..2 {
            let mut longest = Duration::ZERO;
            cluster.round("failover", Skips::Reserves(2), |cluster, load| {
                cluster.nodes[node].kill();
                let (took, records) = count_each(cluster, load, NODE_AHEAD);
                longest = took.into_iter().max().unwrap();
                records
            });
            println!("each topic counts again after {longest:.1?}");
            assert!(longest < Duration::from_secs(LEASE) + SLACK, "{longest:?}");
        }
    });
}

/// Returns a part of sorted values: 0.5 is their median.
fn part(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len() as f64 * part) as usize;
    values
        .get(at.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Returns how long the requests for some topics took that got a number and began between these times.
fn latencies(
    records: &[Record],
    topics: &[bool],
    (from, until): (Duration, Duration),
) -> Vec<Duration> {
    let some = records.iter().filter(|record| {
        // Others wait behind requests for topics without owner.
        let counted = matches!(record.outcome, Outcome::Number(_)) && !record.in_order;
        counted && topics[record.topic] && (from..until).contains(&record.began)
    });
    some.map(|record| record.ended - record.began).collect()
}

fn rounds() -> u64 {
    variable("GLOBALCOUNTER_CHAOS_ROUNDS").unwrap_or(ROUNDS)
}

#[test]
#[ignore = "measures, on a quiet machine and in a release build"]
fn measure_failover() {
    with_cluster("measure-failover", LEASE, |cluster| {
        println!("round  node  again p50     max  others' p99 before  meanwhile  skipped");
        let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
        for number in 0..rounds() {
            let node = (number % SIZE as u64) as usize;
            let others = cluster.topics_of_others(node);
            let mut took = Vec::new();
            let (mut killed, mut again) = (Duration::ZERO, Duration::ZERO);
            let round = cluster.round("measured", Skips::Reserves(2), |cluster, load| {
                std::thread::sleep(BEFORE);
                killed = cluster.clock.elapsed();
                cluster.nodes[node].kill();
                let (each, records) = count_each(cluster, load, (node + 1) % SIZE);
                again = cluster.clock.elapsed();
                let its = each.into_iter().zip(&others).filter(|(_, other)| !**other);
                took = its.map(|(took, _)| took).collect();
                records
            });
            let max = *took.iter().max().unwrap();
            let before = (killed.saturating_sub(BEFORE), killed);
            let mut before = latencies(&round.records, &others, before);
            let mut meanwhile = latencies(&round.records, &others, (killed, again));
            println!(
                "{number:5}  {node:4}  {:7.2} s  {:4.2} s  {:15.2} ms  {:6.2} ms  {:7}",
                part(&mut took, 0.5).as_secs_f64(),
                max.as_secs_f64(),
                part(&mut before, 0.99).as_secs_f64() * 1e3,
                part(&mut meanwhile, 0.99).as_secs_f64() * 1e3,
                round.summary.skipped,
            );
            all.extend(took);
            longest = longest.max(max);
        }
        println!("all: p50 {:.2?}, max {longest:.2?}", part(&mut all, 0.5));
    });
}

#[test]
#[ignore = "measures, on a quiet machine and in a release build"]
fn measure_planned() {
    with_cluster("measure-planned", LEASE, |cluster| {
        println!("round  node  longest request  refused  unknown  lost with connections  skipped");
        for number in 0..rounds() {
            let node = (number % SIZE as u64) as usize;
            let (mut from, mut until) = (Duration::ZERO, Duration::ZERO);
            let round = cluster.round("measured", Skips::None, |cluster, _| {
                from = cluster.clock.elapsed();
                cluster.nodes[node].terminate();
                until = cluster.clock.elapsed();
                Vec::new()
            });
            let all = vec![true; TOPICS];
            let longest = latencies(&round.records, &all, (from, until));
            let summary = round.summary;
            println!(
                "{number:5}  {node:4}  {:12.1} ms  {:7}  {:7}  {:21}  {:7}",
                longest.into_iter().max().unwrap_or_default().as_secs_f64() * 1e3,
                summary.refused,
                summary.unknown,
                summary.lost,
                summary.skipped,
            );
        }
    });
}
