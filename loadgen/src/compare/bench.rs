//! Measures one row: starts its servers, measures each in turn, round by round, and summarises the
//! rounds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::results::{EntryResult, Round, RowResult, median};
use super::rows::{Entry, Load, Measure, Row};
use super::servers::{Installed, Running};
use crate::drive;
use crate::measure;
use crate::observe::Process;
use crate::plan::{Pace, Plan, Until};
use crate::report::{Latency, Rounds};
use crate::target;
use crate::workload::{Distribution, Names, Workload};

/// How long a server is warmed up before each measurement.
const WARM_UP: Duration = Duration::from_millis(200);

/// The length of topic names: the targets were set for this length.
const TOPIC_LEN: usize = 16;

/// How long a server may send nothing over TCP.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After how long a datagram counts as lost and its slot is used again. A small part of a round, so
/// that a loss does not leave a socket idle; long compared with the latency of any reply.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(100);

/// What all rows are measured with.
pub(super) struct Bench<'a> {
    pub(super) servers: &'a Installed,
    pub(super) server_processor: usize,
    pub(super) load_processor: usize,
    pub(super) rounds: u32,
    pub(super) duration: Duration,
}

/// An entry while its row is measured.
struct Contender<'a> {
    entry: &'a Entry,
    running: Result<(Running, Plan)>,
    rounds: Vec<Round>,
    bytes_per_topic: Option<f64>,
}

impl Bench<'_> {
    pub(super) fn row(&self, row: &'static Row) -> RowResult {
        let mut contenders: Vec<Contender<'_>> = row
            .entries
            .iter()
            .map(|entry| self.start(row, entry))
            .collect();
        if row.measure == Measure::Processor {
            let bar = Rounds::of(row.name, u64::from(self.rounds) * row.entries.len() as u64);
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            for _ in 0..self.rounds {
                for &number in &order {
                    let contender = &mut contenders[number];
                    if let Ok((running, plan)) = &contender.running {
                        match measure_once(plan, running.process()) {
                            Ok(measured) => contender.rounds.push(measured),
                            Err(error) => contender.running = Err(error),
                        }
                    }
                    bar.inc();
                }
                // Each round starts with another server, so that each follows every other's load.
                order.rotate_left(1);
            }
        }
        self.summarise(row, contenders)
    }

    /// Starts a server and creates the row's topics on it.
    fn start<'e>(&self, row: &Row, entry: &'e Entry) -> Contender<'e> {
        let mut bytes_per_topic = None;
        let mut start = || -> Result<(Running, Plan)> {
            let running = self.servers.start(&entry.server, self.server_processor)?;
            let plan = self.plan(&entry.load, &running)?;
            let resident =
                |running: &Running| running.process().usage().map_or(0, |usage| usage.resident);
            let before = resident(&running);
            measure::prepare(&plan)?;
            if row.measure == Measure::Memory {
                let grown = resident(&running).saturating_sub(before);
                bytes_per_topic = Some(grown as f64 / f64::from(entry.load.topics));
            }
            Ok((running, plan))
        };
        let running = start();
        Contender {
            entry,
            running,
            rounds: Vec::new(),
            bytes_per_topic,
        }
    }

    fn plan(&self, load: &Load, running: &Running) -> Result<Plan> {
        let target =
            target::named(load.target).context("a row names a target that does not exist")?;
        Ok(Plan {
            target,
            server: running.address(target.transport()),
            workload: Workload {
                names: Names::new(load.topics, TOPIC_LEN)?,
                distribution: Distribution::Uniform,
                mix: "count".parse().map_err(anyhow::Error::msg)?,
                seed: 1,
            },
            pace: Pace::Closed {
                pipeline: load.pipeline,
            },
            connections: load.connections,
            per_datagram: load.per_datagram,
            gso: load.gso,
            shard_aware: load.shard_aware,
            threads: 1,
            processors: vec![self.load_processor],
            prepare: true,
            warm_up: WARM_UP,
            until: Until::Elapsed(self.duration),
            timeout: if target.transport().is_udp() {
                DATAGRAM_TIMEOUT
            } else {
                TIMEOUT
            },
            verify: false,
        })
    }

    fn summarise(&self, row: &'static Row, contenders: Vec<Contender<'_>>) -> RowResult {
        let costs: Vec<Vec<f64>> = contenders
            .iter()
            .map(|contender| match contender.bytes_per_topic {
                Some(bytes) => vec![bytes],
                None => contender
                    .rounds
                    .iter()
                    .map(|round| round.nanos_per_reply)
                    .collect(),
            })
            .collect();
        let measured: Vec<bool> = contenders
            .iter()
            .zip(&costs)
            .map(|(contender, costs)| contender.running.is_ok() && !costs.is_empty())
            .collect();
        let summarise = |(number, contender): (usize, Contender<'_>)| {
            let entry = contender.entry;
            // Rounds are compared in pairs: a disturbance in a round affected both servers.
            let base = entry.bases.iter().copied().find(|&base| measured[base]);
            let base_costs = base.map_or(&[][..], |base| &costs[base]);
            let pairs = costs[number].iter().zip(base_costs);
            let ratios: Vec<f64> = pairs.map(|(own, base)| own / base).collect();
            let of =
                |value: fn(&Round) -> f64| median(contender.rounds.iter().map(value).collect());
            EntryResult {
                server: self.servers.name(&entry.server),
                ours: number == row.ours,
                base,
                missing: contender
                    .running
                    .as_ref()
                    .err()
                    .map(|error| format!("{error:#}")),
                rate: of(|round| round.rate),
                nanos_per_reply: of(|round| round.nanos_per_reply),
                p50: of(|round| round.p50),
                p99: of(|round| round.p99),
                bytes_per_topic: contender.bytes_per_topic,
                lost: contender.rounds.iter().map(|round| round.lost).sum(),
                ratio: median(ratios),
                rounds: contender.rounds,
            }
        };
        RowResult {
            name: row.name,
            about: row.about,
            target_at_most: row.target_at_most,
            entries: contenders.into_iter().enumerate().map(summarise).collect(),
        }
    }
}

fn measure_once(plan: &Plan, process: &Process) -> Result<Round> {
    let measured = drive::run(plan, Some(process), &mut |_| {})?;
    ensure!(
        measured.refused.is_empty(),
        "requests were refused: {:?}",
        measured.refused
    );
    let latency = Latency::of(&measured.latency);
    Ok(Round {
        rate: measured.rate(),
        nanos_per_reply: measured
            .processor_nanos()
            .context("the server answered nothing")?,
        p50: latency.p50,
        p99: latency.p99,
        lost: measured.lost + measured.late,
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::ROWS;
    use super::*;

    #[test]
    fn rows_name_targets_that_exist() {
        for row in ROWS {
            assert!(row.ours < row.entries.len());
            for entry in row.entries {
                assert!(
                    entry.bases.iter().all(|&base| base < row.entries.len()),
                    "{}",
                    row.name
                );
                assert!(target::named(entry.load.target).is_some(), "{}", row.name);
                assert!(Names::new(entry.load.topics, TOPIC_LEN).is_ok());
            }
        }
    }
}
